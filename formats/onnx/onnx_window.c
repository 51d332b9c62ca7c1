/*
 * onnx_window.c - windows of convolutions and pools. Interface: onnx_layers.h.
 *
 * SAME_UPPER pads so that P = ceil(H / stride): in all max((P - 1) stride + span - H, 0) cells, half of them, rounded
 * down, before the map and the rest behind it; SAME_LOWER has the larger half before it. ceil_mode adds cells behind
 * the map, so that a window that begins within it is not dropped.
 */
#include "onnx_layers.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int taps[2], stride[2], dilation[2], pad[4];
} window;

static dt_status same_pads(const dt_onnx_import *imp, const dt_onnx_node *n, int lower, const int64_t size[2],
                           window *w)
{
    for (int axis = 0; axis < 2; axis++) {
        const int64_t span = (int64_t)w->dilation[axis] * (w->taps[axis] - 1) + 1;
        const int64_t outputs = (size[axis] + w->stride[axis] - 1) / w->stride[axis];
        const int64_t all = (outputs - 1) * w->stride[axis] + span - size[axis];
        DT_ONNX_CHECK(all <= INT16_MAX, DT_ERR_UNSUPPORTED, imp, n,
                      "the padding needs %" PRId64 " cells; understood are at most %d", all, INT16_MAX);
        w->pad[axis] = all > 0 ? (int)(lower ? all - all / 2 : all / 2) : 0;
        w->pad[axis + 2] = all > 0 ? (int)all - w->pad[axis] : 0;
    }
    return DT_OK;
}

/* Sets stride, dilation and pads of a node with a window of taps[0] x taps[1], which reads the map x. */
static dt_status read_window(const dt_onnx_import *imp, const dt_onnx_node *n, int x, const int taps[2], window *w)
{
    const int64_t *size = dt_graph_shape(imp->graph, x)->dim + 1;
    const char *automatic = dt_onnx_string(n, "auto_pad", "NOTSET");

    memcpy(w->taps, taps, sizeof w->taps);
    DT_TRY(dt_onnx_ints(imp, n, "strides", 2, 1, 1, w->stride));
    DT_TRY(dt_onnx_ints(imp, n, "dilations", 2, 1, 1, w->dilation));
    memset(w->pad, 0, sizeof w->pad);
    if (strcmp(automatic, "NOTSET") == 0) return dt_onnx_ints(imp, n, "pads", 4, 0, 0, w->pad);
    if (strcmp(automatic, "VALID") == 0) return DT_OK;
    const int lower = strcmp(automatic, "SAME_LOWER") == 0;
    DT_ONNX_CHECK(lower || strcmp(automatic, "SAME_UPPER") == 0, DT_ERR_FORMAT, imp, n,
                  "auto_pad is '%.40s'; understood are NOTSET, VALID, SAME_UPPER and SAME_LOWER", automatic);
    return same_pads(imp, n, lower, size, w);
}

/* Adds cells behind the map, where the last window that begins within it or before it would be dropped. */
static void round_up(const int64_t size[2], window *w)
{
    for (int axis = 0; axis < 2; axis++) {
        const int64_t room = size[axis] + w->pad[axis] + w->pad[axis + 2] - w->taps[axis];
        const int64_t rest = room < 0 ? 0 : room % w->stride[axis], begin = room - rest + w->stride[axis];
        if (rest > 0 && begin < size[axis] + w->pad[axis]) w->pad[axis + 2] += (int)(w->stride[axis] - rest);
    }
}

dt_status dt_onnx_pool(const dt_onnx_import *imp, const dt_onnx_node *n, int x, dt_pool_params *params)
{
    const int is_max = dt_onnx_is_op(n, "MaxPool");
    const dt_onnx_attribute *shape = dt_onnx_find(n, "kernel_shape");
    const int64_t *size = dt_graph_shape(imp->graph, x)->dim + 1;
    int64_t ceil_mode, counts_pad;
    window w;
    int taps[2];

    DT_ONNX_CHECK(shape, DT_ERR_FORMAT, imp, n, "attribute '%s' is missing", "kernel_shape");
    DT_TRY(dt_onnx_ints(imp, n, "kernel_shape", 2, 1, 1, taps));
    DT_TRY(read_window(imp, n, x, taps, &w));
    DT_ONNX_CHECK(w.dilation[0] == 1 && w.dilation[1] == 1, DT_ERR_UNSUPPORTED, imp, n,
                  "dilations are %d,%d; understood are 1,1", w.dilation[0], w.dilation[1]);
    DT_TRY(dt_onnx_int(imp, n, "ceil_mode", 0, &ceil_mode));
    DT_TRY(dt_onnx_int(imp, n, "count_include_pad", 0, &counts_pad));
    const int behind[2] = { w.pad[2], w.pad[3] };
    if (ceil_mode) round_up(size, &w);
    DT_ONNX_CHECK(
        is_max || !counts_pad || (behind[0] == w.pad[2] && behind[1] == w.pad[3]), DT_ERR_UNSUPPORTED, imp, n,
        "ceil_mode adds %d,%d cells to windows whose divisor counts padding; understood is without one of them",
        w.pad[2] - behind[0], w.pad[3] - behind[1]);
    *params = (dt_pool_params){ .count_include_pad = !is_max && counts_pad != 0 };
    memcpy(params->window, w.taps, sizeof params->window);
    memcpy(params->stride, w.stride, sizeof params->stride);
    memcpy(params->pad, w.pad, sizeof params->pad);
    return DT_OK;
}

/* The filters of input 1 fit the channels of x in groups. */
static dt_status check_filters(const dt_onnx_import *imp, const dt_onnx_node *n, int64_t channels, int64_t *groups)
{
    const dt_onnx_place *w = dt_onnx_in(imp, n, 1);

    DT_ONNX_CHECK(w && w->kind == DT_ONNX_CONSTANT, DT_ERR_UNSUPPORTED, imp, n,
                  "the filters, input %d, are %s; understood are constants", 1, w ? "computed" : "missing");
    const int n_dims = dt_onnx_in(imp, n, 0)->n_dims;
    DT_ONNX_CHECK(w->n_dims == (n_dims == 3 ? 3 : 4), DT_ERR_UNSUPPORTED, imp, n,
                  "filters of %d dimensions beside a map of %d; understood are k,c,r,s beside four, k,c,s beside three",
                  w->n_dims, n_dims);
    int64_t dim[4];
    dt_onnx_filter_dims(w, dim);
    DT_TRY(dt_onnx_int(imp, n, "group", 1, groups));
    DT_ONNX_CHECK(*groups >= 1 && *groups <= channels && channels % *groups == 0 && dim[1] == channels / *groups &&
                      dim[0] >= 1 && dim[0] % *groups == 0,
                  DT_ERR_FORMAT, imp, n,
                  "filters of %" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 " in %" PRId64 " groups do not fit %" PRId64
                  " channels",
                  dim[0], dim[1], dim[2], dim[3], *groups, channels);
    DT_ONNX_CHECK(dim[2] >= 1 && dim[2] <= INT16_MAX && dim[3] >= 1 && dim[3] <= INT16_MAX, DT_ERR_UNSUPPORTED, imp, n,
                  "filters of %" PRId64 " x %" PRId64 " taps", dim[2], dim[3]);
    return DT_OK;
}

dt_status dt_onnx_conv(const dt_onnx_import *imp, const dt_onnx_node *n, int x, const int pad[4],
                       dt_conv_params *params, dt_shape *shape)
{
    const dt_onnx_place *filters = dt_onnx_in(imp, n, 1);
    const int has_pad = pad[0] || pad[1] || pad[2] || pad[3];
    window w;
    int64_t groups;
    int given[2];

    DT_TRY(check_filters(imp, n, dt_graph_shape(imp->graph, x)->dim[3], &groups));
    int64_t dim[4];
    dt_onnx_filter_dims(filters, dim);
    const int taps[2] = { (int)dim[2], (int)dim[3] };
    if (dt_onnx_find(n, "kernel_shape")) {
        DT_TRY(dt_onnx_ints(imp, n, "kernel_shape", 2, 1, 1, given));
        DT_ONNX_CHECK(given[0] == taps[0] && given[1] == taps[1], DT_ERR_FORMAT, imp, n,
                      "kernel_shape is %d,%d, and the filters have %d,%d", given[0], given[1], taps[0], taps[1]);
    }
    DT_TRY(read_window(imp, n, x, taps, &w));
    DT_ONNX_CHECK(!has_pad || strncmp(dt_onnx_string(n, "auto_pad", "NOTSET"), "SAME", 4) != 0, DT_ERR_UNSUPPORTED, imp,
                  n, "auto_pad is '%s', behind a Pad; understood is one of them",
                  dt_onnx_string(n, "auto_pad", "NOTSET"));
    params->groups = (int)groups;
    for (int k = 0; k < 4; k++) params->pad[k] = w.pad[k] + pad[k];
    memcpy(params->stride, w.stride, sizeof params->stride);
    memcpy(params->dilation, w.dilation, sizeof params->dilation);
    *shape = (dt_shape){ 4, { dim[0], dim[2], dim[3], dim[1] } };
    return DT_OK;
}

dt_status dt_onnx_mean(const dt_onnx_import *imp, const dt_onnx_node *n, int *n_dims, int64_t *dim)
{
    const dt_onnx_place *x = dt_onnx_in(imp, n, 0);
    int64_t *axes, keeps;
    unsigned seen = 0;
    int count;

    DT_ONNX_CHECK(x && dt_onnx_is_map(x->n_dims), DT_ERR_UNSUPPORTED, imp, n,
                  "a mean of %d dimensions; understood is that of the axes 2 and 3 of 4, or 2 of 3", x ? x->n_dims : 0);
    DT_TRY(dt_onnx_int(imp, n, "keepdims", 1, &keeps));
    DT_TRY(dt_onnx_list(imp, n, 1, "axes", &axes, &count));
    for (int i = 0; i < count; i++) {
        const int64_t axis = axes[i] < 0 ? axes[i] + x->n_dims : axes[i];
        seen |= axis >= 0 && axis < 4 ? 1u << axis : 1u << 4;
    }
    free(axes);
    DT_ONNX_CHECK(seen == (x->n_dims == 4 ? 0xcu : 0x4u), DT_ERR_UNSUPPORTED, imp, n,
                  "a mean over the axes of the bits %#x; understood are 2 and 3, bits 0xc, and 2 of three", seen);
    *n_dims = keeps ? x->n_dims : 2;
    const int64_t made[4] = { imp->batch, x->dim[1], 1, 1 };
    memcpy(dim, made, sizeof made);
    return DT_OK;
}
