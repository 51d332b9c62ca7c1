/*
 * tflite_export_maps.c - windows, pads, pools, means and transposes of an export, whether a file computes on codes or
 * on reals. Interface: tflite_build.h.
 *
 * Tests: tests/formats/test_tflite_export.c, test_tflite_export_float.c.
 */
#include "tflite_build.h"

#include "../../core/conv_params.h"
#include "tflite_layers.h"

#include <stdlib.h>
#include <string.h>

/* SAME or VALID, if that gives these pads: top, left, bottom, right; else -1. */
static int padding_of(const int pad[4], const int64_t size[2], const int64_t span[2], const int stride[2])
{
    int is_same = 1;

    if (!pad[0] && !pad[1] && !pad[2] && !pad[3]) return DT_TFLITE_VALID;
    for (int axis = 0; axis < 2; axis++) {
        int before, after;
        dt_tflite_same_pads(size[axis], span[axis], stride[axis], &before, &after);
        is_same &= before == pad[axis] && after == pad[axis + 2];
    }
    return is_same ? DT_TFLITE_SAME : -1;
}

/* Adds a PAD of the map *x, which is that of `value`; *x becomes what it makes. */
static dt_status add_pad(dt_tflite_export *e, int value, const int pad[4], int *x)
{
    const int32_t cells[8] = { 0, 0, pad[0], pad[2], pad[1], pad[3], 0, 0 };
    const dt_tflite_tensor *t = &e->m->tensor[*x];
    const char *name = dt_graph_name(e->g, value);
    const dt_tflite_new_tensor constant = {
        .name = name, .part = ".pad_cells", .type = DT_TFLITE_INT32, .n_dims = 2, .dim = { 4, 2 }, .data = cells
    };
    const dt_tflite_new_tensor padded = { name,
                                          ".padded",
                                          t->type,
                                          4,
                                          { 1, t->dim[1] + pad[0] + pad[2], t->dim[2] + pad[1] + pad[3], t->dim[3] },
                                          1,
                                          t->n_scales,
                                          0,
                                          t->scale,
                                          t->n_scales > 0 ? t->zero[0] : 0,
                                          NULL };
    int in[2] = { *x }, out;

    DT_TRY(dt_tflite_add_tensor(e, &constant, &in[1]));
    DT_TRY(dt_tflite_add_tensor(e, &padded, &out));
    DT_TRY(dt_tflite_add_op(e, DT_TFLITE_PAD, in, 2, out, NULL));
    *x = out;
    return DT_OK;
}

int dt_tflite_is_depthwise(const dt_graph_node *conv, const dt_shape *filters)
{
    return ((const dt_conv_params *)conv->params)->groups > 1 && filters->dim[3] == 1;
}

dt_status dt_tflite_set_window(dt_tflite_export *e, const dt_graph_node *conv, const dt_shape *filters,
                               dt_tflite_options *o, int *x)
{
    const dt_conv_params *p = conv->params;
    const int64_t *map = dt_graph_shape(e->g, conv->in[0])->dim;
    const int64_t span[2] = { dt_conv_span(p, 0, filters->dim[1]), dt_conv_span(p, 1, filters->dim[2]) };

    for (int axis = 0; axis < 2; axis++) {
        o->stride[axis] = p->stride[axis];
        o->dilation[axis] = p->dilation[axis];
    }
    if (dt_tflite_is_depthwise(conv, filters)) o->multiplier = (int)(filters->dim[0] / map[3]);
    o->padding = padding_of(p->pad, map + 1, span, p->stride);
    if (o->padding < 0) {
        o->padding = DT_TFLITE_VALID;
        DT_TRY(add_pad(e, conv->in[0], p->pad, x));
    }
    return DT_OK;
}

void *dt_tflite_taps_first(const void *w, int64_t filters, int64_t taps, size_t each)
{
    const size_t n = (size_t)filters, n_taps = (size_t)taps;
    char *to = malloc(n * n_taps * each + 1);

    for (size_t k = 0; to && k < n; k++) {
        for (size_t i = 0; i < n_taps; i++)
            memcpy(to + (i * n + k) * each, (const char *)w + (k * n_taps + i) * each, each);
    }
    return to;
}

dt_status dt_tflite_set_pool(const dt_tflite_export *e, const dt_graph_node *n, dt_tflite_options *o)
{
    const dt_pool_params *p = n->params; /* the first member of a QAVGPOOL's, too */
    const int64_t *map = dt_graph_shape(e->g, n->in[0])->dim;
    const int is_whole = p->window[0] == 0;

    *o = (dt_tflite_options){ .window = { p->window[0], p->window[1] }, .stride = { p->stride[0], p->stride[1] } };
    if (is_whole) *o = (dt_tflite_options){ .window = { (int)map[1], (int)map[2] }, .stride = { 1, 1 } };
    const int64_t span[2] = { o->window[0], o->window[1] };
    o->padding = padding_of(p->pad, map + 1, span, o->stride);
    DT_TFLITE_EXPECT(o->padding >= 0, e, n,
                     "pads of %d,%d,%d,%d; a file has none, or those of SAME; 'detent export --to program' writes what "
                     "'detent quantize' makes of any",
                     p->pad[0], p->pad[1], p->pad[2], p->pad[3]);
    return DT_OK;
}

dt_status dt_tflite_add_mean(dt_tflite_export *e, const dt_graph_node *pool, int keep_dims, int out)
{
    const dt_tflite_options options = { .keep_dims = keep_dims };
    const dt_tflite_new_tensor axes = { .name = dt_graph_name(e->g, pool->out),
                                        .part = ".axes",
                                        .type = DT_TFLITE_INT32,
                                        .n_dims = 1,
                                        .dim = { 2 },
                                        .data = (const int32_t[]){ 1, 2 } };
    int in[2];

    DT_TRY(dt_tflite_as_map(e, pool, pool->in[0], &in[0]));
    DT_TRY(dt_tflite_add_tensor(e, &axes, &in[1]));
    DT_TRY(dt_tflite_add_op(e, DT_TFLITE_MEAN, in, 2, out, &options));
    return DT_OK;
}

/* ---- transposes ---- */

/* 1 if a tensor has the dimensions 1,a,b,c. */
static int has_dims(const dt_tflite_tensor *t, const int64_t dim[3])
{
    return t->n_dims == 4 && t->dim[1] == dim[0] && t->dim[2] == dim[1] && t->dim[3] == dim[2];
}

/* Adds a tensor NAME and `part` of the dimensions 1,a,b,c, with the type and the scale of another. */
static dt_status add_like(dt_tflite_export *e, int like, const char *part, const int64_t dim[3], int *out)
{
    const dt_tflite_tensor *t = &e->m->tensor[like];
    const dt_tflite_new_tensor to = { .name = t->name,
                                      .part = part,
                                      .type = t->type,
                                      .n_dims = 4,
                                      .dim = { 1, (int)dim[0], (int)dim[1], (int)dim[2] },
                                      .any_batch = 1,
                                      .n_scales = t->n_scales,
                                      .scale = t->scale,
                                      .zero = t->n_scales > 0 ? t->zero[0] : 0 };

    DT_TRY(dt_tflite_add_tensor(e, &to, out));
    return DT_OK;
}

/* Adds TRANSPOSE of the tensor x, 1,rows,columns,inner, to y. */
static dt_status add_exchange(dt_tflite_export *e, int x, int y)
{
    const dt_tflite_new_tensor axes = { .name = e->m->tensor[y].name,
                                        .part = ".axes",
                                        .type = DT_TFLITE_INT32,
                                        .n_dims = 1,
                                        .dim = { 4 },
                                        .data = (const int32_t[]){ 0, 2, 1, 3 } };
    int in[2] = { x };

    DT_TRY(dt_tflite_add_tensor(e, &axes, &in[1]));
    DT_TRY(dt_tflite_add_op(e, DT_TFLITE_TRANSPOSE, in, 2, y, NULL));
    return DT_OK;
}

/* Rows and columns are seen, exchanged, and seen in the shape asked for. What is seen so already needs no RESHAPE. */
dt_status dt_tflite_export_transpose(dt_tflite_export *e, const dt_graph_node *n)
{
    const dt_transpose_params *p = n->params;
    const int is_flat = dt_graph_shape(e->g, n->out)->ndim != 4;
    const int64_t inner = dt_graph_count(e->g, n->out) / p->rows / p->columns;
    const int64_t seen[3] = { p->rows, p->columns, inner }, turned[3] = { p->columns, p->rows, inner };
    int x, y, out;

    DT_TFLITE_EXPECT(dt_graph_rows(e->g, n->out) == 1, e, n, "an image becomes %d maps, and in a file it is one",
                     dt_graph_rows(e->g, n->out));
    DT_TRY(dt_tflite_as_form(e, n, n->in[0], dt_tflite_is_flat(e, n->in[0]), &x));
    e->zero[n->out] = e->zero[n->in[0]];
    DT_TRY(dt_tflite_add_value(e, n->out, is_flat, &out));
    if (p->rows == 1 || p->columns == 1) return dt_tflite_add_reshape_op(e, x, out);
    if (!has_dims(&e->m->tensor[x], seen)) {
        const int from = x;
        DT_TRY(add_like(e, out, ".seen", seen, &x));
        DT_TRY(dt_tflite_add_reshape_op(e, from, x));
    }
    if (has_dims(&e->m->tensor[out], turned)) return add_exchange(e, x, out);
    DT_TRY(add_like(e, out, ".turned", turned, &y));
    DT_TRY(add_exchange(e, x, y));
    return dt_tflite_add_reshape_op(e, y, out);
}
