/*
 * onnx_float_transpose.c - ConvTranspose of reals. Interface: onnx_float.h.
 *
 *   H = (P - 1) stride + R - before - after + more      before, after: pads;   more: output_padding
 *
 * detent's CONV_TRANSPOSE (layers/conv_transpose.c) cuts `pad` cells at each of the four sides, and then adds
 * `output_pad` at the bottom and right: pad is the least `before`, and output_pad what the sides need then, which must
 * lie below the stride. What one side has too much is cut off by a view (onnx_view.c). With output_shape, or auto_pad
 * SAME_*, the pads follow from the output's size.
 */
#include "onnx_float.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What a file says of the rows or columns: [0] rows, [1] columns. */
typedef struct {
    int64_t groups;
    int stride[2], dilation[2], more[2], pad[4];
} sides;

/* Sets the pads so that the output has a given size. Of an odd number SAME_UPPER cuts the larger half behind. */
static dt_status pads_of_size(const dt_onnx_import *imp, const dt_onnx_node *n, const int64_t size[2],
                              const int64_t taps[2], sides *s)
{
    const int upper = strcmp(dt_onnx_string(n, "auto_pad", "NOTSET"), "SAME_UPPER") == 0;
    int given[2] = { 0 };

    if (dt_onnx_find(n, "output_shape")) DT_TRY(dt_onnx_ints(imp, n, "output_shape", 2, 1, 1, given));
    for (int i = 0; i < 2; i++) {
        const int64_t wanted = given[i] ? given[i] : s->stride[i] * size[i];
        const int64_t all = s->stride[i] * (size[i] - 1) + s->more[i] + taps[i] - wanted;
        DT_ONNX_CHECK(all >= 0 && all <= INT16_MAX, DT_ERR_UNSUPPORTED, imp, n,
                      "for an output of %" PRId64 " rows or columns, %" PRId64 " would be cut off; understood are 0 to "
                      "%d",
                      wanted, all, INT16_MAX);
        s->pad[i] = (int)(upper ? all / 2 : all - all / 2);
        s->pad[i + 2] = (int)all - s->pad[i];
    }
    return DT_OK;
}

static dt_status read_sides(const dt_onnx_import *imp, const dt_onnx_node *n, int x, const int64_t taps[2], sides *s)
{
    const dt_shape *map = dt_graph_shape(imp->graph, x);
    const char *automatic = dt_onnx_string(n, "auto_pad", "NOTSET");

    DT_TRY(dt_onnx_ints(imp, n, "strides", 2, 1, 1, s->stride));
    DT_TRY(dt_onnx_ints(imp, n, "dilations", 2, 1, 1, s->dilation));
    DT_TRY(dt_onnx_ints(imp, n, "output_padding", 2, 0, 0, s->more));
    DT_TRY(dt_onnx_int(imp, n, "group", 1, &s->groups));
    memset(s->pad, 0, sizeof s->pad);
    if (dt_onnx_find(n, "output_shape") || strncmp(automatic, "SAME", 4) == 0)
        return pads_of_size(imp, n, map->dim + 1, taps, s);
    return strcmp(automatic, "VALID") == 0 ? DT_OK : dt_onnx_ints(imp, n, "pads", 4, 0, 0, s->pad);
}

/* Refuses what CONV_TRANSPOSE cannot compute. */
static dt_status make_params(const dt_onnx_import *imp, const dt_onnx_node *n, const sides *s,
                             dt_conv_transpose_params *p)
{
    const int pad = s->pad[0] < s->pad[1] ? s->pad[0] : s->pad[1];
    int more = 0;

    DT_ONNX_CHECK(s->groups == 1, DT_ERR_UNSUPPORTED, imp, n, "%" PRId64 " groups; understood is 1", s->groups);
    DT_ONNX_CHECK(s->dilation[0] == 1 && s->dilation[1] == 1, DT_ERR_UNSUPPORTED, imp, n,
                  "dilations are %d,%d; understood are 1,1", s->dilation[0], s->dilation[1]);
    DT_ONNX_CHECK(s->stride[0] == s->stride[1], DT_ERR_UNSUPPORTED, imp, n,
                  "strides are %d,%d; understood are equal ones", s->stride[0], s->stride[1]);
    for (int i = 0; i < 2; i++) {
        const int behind = s->more[i] + pad - s->pad[i + 2];
        more = behind > more ? behind : more;
    }
    DT_ONNX_CHECK(more < s->stride[0], DT_ERR_UNSUPPORTED, imp, n,
                  "%d rows or columns behind those that it makes; understood are fewer than the stride, %d", more,
                  s->stride[0]);
    *p = (dt_conv_transpose_params){ s->stride[0], pad, more };
    return DT_OK;
}

/* Makes a map the output, less what the sides of the file have cut off. */
static dt_status set_cut(dt_onnx_import *imp, const dt_onnx_node *n, const sides *s, const dt_conv_transpose_params *p,
                         int value)
{
    const dt_shape *map = dt_graph_shape(imp->graph, value);
    int64_t from[2], count[2];

    DT_TRY(dt_onnx_set_map(imp, n, value));
    for (int i = 0; i < 2; i++) {
        from[i] = s->pad[i] - p->pad;
        count[i] = map->dim[i + 1] + 2 * p->pad - p->output_pad + s->more[i] - s->pad[i] - s->pad[i + 2];
        DT_ONNX_CHECK(count[i] >= 1, DT_ERR_UNSUPPORTED, imp, n, "pads of %d and %d cut off all that it makes",
                      s->pad[i], s->pad[i + 2]);
    }
    if (count[0] == map->dim[1] && count[1] == map->dim[2]) return DT_OK;
    return dt_onnx_crop(imp, n, from, count);
}

/* Filters C,K,R,S of the file read the channels C and make K. */
static dt_status check_filters(const dt_onnx_import *imp, const dt_onnx_node *n, int64_t channels)
{
    const dt_onnx_place *w = dt_onnx_in(imp, n, 1);

    DT_ONNX_CHECK(w && w->kind == DT_ONNX_CONSTANT, DT_ERR_UNSUPPORTED, imp, n,
                  "the filters, input %d, are %s; understood are constants", 1, w ? "computed" : "missing");
    const int n_dims = dt_onnx_in(imp, n, 0)->n_dims;
    DT_ONNX_CHECK(w->n_dims == 4 && n_dims != 3, DT_ERR_UNSUPPORTED, imp, n,
                  "filters of %d dimensions beside a map of %d; understood are c,k,r,s beside n,c,h,w", w->n_dims,
                  n_dims);
    DT_ONNX_CHECK(w->dim[0] == channels && w->dim[1] >= 1, DT_ERR_FORMAT, imp, n,
                  "filters of %" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 " do not fit %" PRId64 " channels",
                  w->dim[0], w->dim[1], w->dim[2], w->dim[3], channels);
    DT_ONNX_CHECK(w->dim[2] >= 1 && w->dim[2] <= INT16_MAX && w->dim[3] >= 1 && w->dim[3] <= INT16_MAX,
                  DT_ERR_UNSUPPORTED, imp, n, "filters of %" PRId64 " x %" PRId64 " taps", w->dim[2], w->dim[3]);
    return DT_OK;
}

dt_status dt_onnx_add_conv_transpose(dt_onnx_import *imp, const dt_onnx_node *n)
{
    char name[DT_ONNX_NAME];
    dt_conv_transpose_params params;
    int in[2], y;
    float *filters;
    sides s;

    DT_TRY(dt_onnx_map(imp, n, 0, &in[0]));
    DT_TRY(check_filters(imp, n, dt_graph_shape(imp->graph, in[0])->dim[3]));
    const int64_t *dim = dt_onnx_in(imp, n, 1)->dim;
    DT_TRY(read_sides(imp, n, in[0], dim + 2, &s));
    DT_TRY(make_params(imp, n, &s, &params));
    dt_onnx_name(imp, n, 1, name);
    const dt_shape shape = { 4, { dim[0], dim[2], dim[3], dim[1] } };
    DT_TRY(dt_onnx_reals(imp, n, 1, dt_count(&shape), &filters));
    float *turned = dt_onnx_channels_last(filters, dim, sizeof *filters);
    free(filters);
    const dt_onnx_param w = { dt_onnx_in_name(imp, n, 1), name, ".weight", dt_onnx_trained(&shape), DT_F32, turned };
    DT_TRY(dt_onnx_add_param(imp, &w, &in[1]));
    DT_TRY(dt_onnx_node_add(imp, DT_OP_CONV_TRANSPOSE, name, "", &params, in, 2, &y));
    DT_TRY(dt_onnx_add_layer_bias(imp, n, name, dim[1], &y));
    return set_cut(imp, n, &s, &params, y);
}
