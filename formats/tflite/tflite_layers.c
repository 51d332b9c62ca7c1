/*
 * tflite_layers.c - see tflite_layers.h.
 *
 * SAME pads so that P = ceil(H / stride): in all max((P - 1) stride + span - H, 0) cells, half of them, rounded down,
 * before the map and the rest behind it. VALID pads nothing, and a PAD before it is added.
 */
#include "tflite_layers.h"

#include "../../core/conv_params.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const dt_tflite_tensor *dt_tflite_in(const dt_tflite_import *imp, const dt_tflite_operator *o, int k)
{
    return k < o->n_in && o->in[k] >= 0 ? &imp->m->tensor[o->in[k]] : NULL;
}

const dt_tflite_tensor *dt_tflite_out(const dt_tflite_import *imp, const dt_tflite_operator *o)
{
    return &imp->m->tensor[o->out];
}

dt_status dt_tflite_call(dt_tflite_import *imp, const dt_tflite_operator *o, const dt_tflite_row *row, size_t n,
                         const char *numbers)
{
    for (size_t i = 0; i < n; i++) {
        if (row[i].code == o->code) return row[i].add(imp, o);
    }
    DT_TFLITE_CHECK(0, DT_ERR_UNSUPPORTED, imp, o, "detent has no operator for it on %s", numbers);
}

/* ---- nodes and parameters ---- */

dt_status dt_tflite_node(dt_tflite_import *imp, dt_op_kind kind, const char *part, const void *params, const int *in,
                         int n, int *out)
{
    char whole[DT_TFLITE_NAME + 32];

    snprintf(whole, sizeof whole, "%s%s", imp->name, part);
    DT_TRY(dt_graph_add(imp->graph, kind, whole, params, in, n, out));
    return DT_OK;
}

dt_status dt_tflite_add_param(dt_tflite_import *imp, const char *part, const dt_param_spec *spec, dt_dtype type,
                              void *data, int *out)
{
    char whole[DT_TFLITE_NAME + 32];

    snprintf(whole, sizeof whole, "%s%s", imp->name, part);
    if (dt_graph_find(imp->graph, whole) >= 0) {
        free(data);
        return dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__, "%s: two tensors would be called '%s'", imp->path, whole);
    }
    DT_TRY(dt_graph_param_with(imp->graph, whole, spec, type, data, out));
    return DT_OK;
}

void *dt_tflite_copy(const dt_tflite_tensor *t)
{
    void *copy = malloc(t->bytes);

    if (copy) memcpy(copy, t->data, t->bytes);
    return copy;
}

/* DEPTHWISE_CONV_2D has its filters in the order R,S,K. */
void *dt_tflite_filters(const dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const dt_tflite_tensor *w = dt_tflite_in(imp, o, 1);
    const size_t each = dt_tflite_type_bytes(w->type), n_taps = (size_t)w->dim[1] * (size_t)w->dim[2];
    char *to = dt_tflite_copy(w);

    if (!to || o->code != DT_TFLITE_DEPTHWISE_CONV_2D) return to;
    const size_t n_filters = (size_t)w->dim[3];
    for (size_t k = 0; k < n_filters; k++) {
        for (size_t i = 0; i < n_taps; i++) {
            memcpy(to + (k * n_taps + i) * each, (const char *)w->data + (i * n_filters + k) * each, each);
        }
    }
    return to;
}

/* ---- filters that are codes ---- */

dt_status dt_tflite_check_filters(const dt_tflite_import *imp, const dt_tflite_operator *o, int axis, int64_t n)
{
    const dt_tflite_tensor *w = dt_tflite_in(imp, o, 1);

    DT_TFLITE_CHECK(w->type == DT_TFLITE_INT8 && w->data, DT_ERR_UNSUPPORTED, imp, o,
                    "weights are %s and %s; needed are constant INT8", dt_tflite_type_name((int)w->type),
                    w->data ? "constant" : "computed");
    DT_TFLITE_CHECK(w->n_scales == 1 || (w->n_scales == n && w->axis == axis), DT_ERR_UNSUPPORTED, imp, o,
                    "weights have %d scales along axis %d; needed are 1, or %" PRId64 " along axis %d", w->n_scales,
                    w->axis, n, axis);
    for (int k = 0; k < w->n_scales; k++) {
        DT_TFLITE_CHECK(w->zero[k] == 0, DT_ERR_UNSUPPORTED, imp, o,
                        "weights of filter %d have the zero point %" PRId32 ", understood is 0", k, w->zero[k]);
    }
    return DT_OK;
}

dt_codes_params dt_tflite_weight_range(const dt_tflite_tensor *w)
{
    return (dt_codes_params){ .low = memchr(w->data, INT8_MIN & 0xff, w->bytes) ? INT8_MIN : -INT8_MAX,
                              .high = INT8_MAX };
}

float *dt_tflite_copy_scales(const dt_tflite_tensor *w)
{
    float *scale = malloc((size_t)w->n_scales * sizeof *scale);

    if (scale) memcpy(scale, w->scale, (size_t)w->n_scales * sizeof *scale);
    return scale;
}

/* ---- inputs and outputs ---- */

dt_status dt_tflite_flatten(dt_tflite_import *imp, int tensor, int *value)
{
    const int map = imp->value[tensor];
    char name[DT_NAME_MAX + 1];

    if (dt_graph_shape(imp->graph, map)->ndim == 2) imp->flat[tensor] = map;
    if (imp->flat[tensor] < 0) {
        snprintf(name, sizeof name, "%.*s.flatten", DT_NAME_MAX - 16, dt_graph_name(imp->graph, map));
        imp->flat[tensor] = dt_graph_find(imp->graph, name); /* of another tensor that is the same value */
    }
    if (imp->flat[tensor] < 0) {
        DT_TRY(dt_graph_add(imp->graph, DT_OP_FLATTEN, name, NULL, &map, 1, &imp->flat[tensor]));
    }
    *value = imp->flat[tensor];
    return DT_OK;
}

dt_status dt_tflite_map(dt_tflite_import *imp, const dt_tflite_operator *o, int k, int *value)
{
    const dt_tflite_tensor *t = dt_tflite_in(imp, o, k);

    DT_TFLITE_CHECK(t && !t->data, DT_ERR_UNSUPPORTED, imp, o,
                    "input %d is %s; only one that is computed is understood", k, t ? "constant" : "missing");
    *value = imp->value[o->in[k]];
    return DT_OK;
}

/* 1 for the dimensions 1,n: such a tensor may stand as any map of n numbers. */
static int is_row(const dt_tflite_tensor *t)
{
    return t->n_dims == 2 && t->dim[0] == 1;
}

dt_status dt_tflite_input(dt_tflite_import *imp, const dt_tflite_operator *o, int k, int *value)
{
    DT_TRY(dt_tflite_map(imp, o, k, value));
    DT_TFLITE_CHECK(imp->padded[o->in[k]] < 0, DT_ERR_UNSUPPORTED, imp, o,
                    "input %d comes from a PAD, which is understood before a convolution alone", k);
    if (is_row(dt_tflite_in(imp, o, k))) DT_TRY(dt_tflite_flatten(imp, o->in[k], value));
    return DT_OK;
}

dt_shape dt_tflite_map_shape(const dt_tflite_tensor *t)
{
    const int n = t->n_dims;
    dt_shape s = { 4, { 1, 1, n > 1 ? t->dim[n - 2] : 1, n > 0 ? t->dim[n - 1] : 1 } };

    for (int k = 0; k < n - 2; k++) s.dim[1] *= t->dim[k];
    return s;
}

/* 1 if a value has the shape of a map, whatever the number of its images. */
static int has_shape(const dt_graph *g, int value, const dt_shape *map)
{
    const dt_shape *s = dt_graph_shape(g, value);

    return s->ndim == 4 && s->dim[1] == map->dim[1] && s->dim[2] == map->dim[2] && s->dim[3] == map->dim[3];
}

/* 1 if a value stands for a tensor: as many numbers for one image, and maps of equal sides. */
static int fits(const dt_graph *g, int value, const dt_tflite_tensor *t)
{
    const dt_shape map = dt_tflite_map_shape(t);

    if (t->n_dims < 2 || dt_graph_count(g, value) != dt_tflite_count(t)) return 0;
    return is_row(t) || has_shape(g, value, &map);
}

dt_status dt_tflite_as_shape(dt_tflite_import *imp, const char *part, const dt_shape *map, int *value)
{
    const dt_transpose_params same = { 1, 1, 4, { 0, map->dim[1], map->dim[2], map->dim[3] } };

    if (has_shape(imp->graph, *value, map)) return DT_OK;
    DT_TRY(dt_tflite_node(imp, DT_OP_TRANSPOSE, part, &same, value, 1, value));
    return DT_OK;
}

dt_status dt_tflite_reshape(dt_tflite_import *imp, const dt_tflite_operator *o, int x)
{
    const dt_tflite_tensor *t = dt_tflite_out(imp, o);
    const dt_shape map = dt_tflite_map_shape(t);

    if (!is_row(t) && t->n_dims >= 2 && dt_graph_count(imp->graph, x) == dt_tflite_count(t))
        DT_TRY(dt_tflite_as_shape(imp, "", &map, &x));
    DT_TRY(dt_tflite_output(imp, o, x));
    return DT_OK;
}

dt_status dt_tflite_output(dt_tflite_import *imp, const dt_tflite_operator *o, int value)
{
    const dt_tflite_tensor *t = dt_tflite_out(imp, o);
    dt_shape one = *dt_graph_shape(imp->graph, value), is = { .ndim = t->n_dims };
    char made[64], stands[64];

    one.dim[0] = dt_graph_rows(imp->graph, value);
    for (int k = 0; k < t->n_dims; k++) is.dim[k] = t->dim[k];
    DT_TFLITE_CHECK(fits(imp->graph, value, t), DT_ERR_FORMAT, imp, o,
                    "the output is %s, which the file has as %s; understood are 1,n and 1,h,w,c, and ..,h,w,c that "
                    "RESHAPE, TRANSPOSE and BATCH_MATMUL make",
                    dt_shape_text(&one, made, sizeof made), dt_shape_text(&is, stands, sizeof stands));
    imp->value[o->out] = value;
    return DT_OK;
}

/* ---- windows ---- */

void dt_tflite_same_pads(int64_t size, int64_t span, int stride, int *before, int *after)
{
    const int64_t out = (size + stride - 1) / stride, all = (out - 1) * stride + span - size;

    *before = all > 0 ? (int)(all / 2) : 0;
    *after = all > 0 ? (int)(all - *before) : 0;
}

/* The cells that the PAD before input 0 adds to axis 0 or 1 of the map; 0 where there is none. dt_tflite_add_pad has
 * checked its numbers. */
static void explicit_pads(const dt_tflite_import *imp, const dt_tflite_operator *o, int axis, int *before, int *after)
{
    const int pad = imp->padded[o->in[0]];
    int32_t cells[4][2] = { 0 };

    if (pad >= 0) memcpy(cells, imp->m->tensor[imp->m->op[pad].in[1]].data, sizeof cells);
    *before = cells[axis + 1][0];
    *after = cells[axis + 1][1];
}

/* K,R,S,C/groups and the groups: of DEPTHWISE_CONV_2D, whose filter is 1,R,S,(C multiplier), each channel is one. */
static dt_status filter_shape(const dt_tflite_import *imp, const dt_tflite_operator *o, int64_t channels,
                              dt_shape *shape, int *groups)
{
    const dt_tflite_tensor *w = dt_tflite_in(imp, o, 1);
    const int is_depthwise = o->code == DT_TFLITE_DEPTHWISE_CONV_2D;

    DT_TFLITE_CHECK(w->n_dims == 4 && w->data, DT_ERR_UNSUPPORTED, imp, o,
                    "the filter has %d dimensions and %s data; needed are 4, constant", w->n_dims,
                    w->data ? "constant" : "no");
    const int64_t each = is_depthwise ? 1 : w->dim[3], outputs = is_depthwise ? w->dim[3] : w->dim[0];
    DT_TFLITE_CHECK(channels % each == 0 && outputs % (channels / each) == 0 && (!is_depthwise || w->dim[0] == 1),
                    DT_ERR_FORMAT, imp, o, "a filter of %d,%d,%d,%d does not fit %" PRId64 " channels", w->dim[0],
                    w->dim[1], w->dim[2], w->dim[3], channels);
    *groups = (int)(channels / each);
    *shape = (dt_shape){ 4, { outputs, w->dim[1], w->dim[2], each } };
    return DT_OK;
}

/* Checks that input k is a map, 1,h,w,c, or less: not one of several images. */
static dt_status check_map(const dt_tflite_import *imp, const dt_tflite_operator *o, int k)
{
    const dt_tflite_tensor *t = dt_tflite_in(imp, o, k);

    DT_TFLITE_CHECK(t->dim[0] == 1 && t->n_dims <= 4, DT_ERR_UNSUPPORTED, imp, o,
                    "input %d has %d dimensions, of which the first is %d; understood are 1,h,w,c", k, t->n_dims,
                    t->dim[0]);
    return DT_OK;
}

dt_status dt_tflite_window(const dt_tflite_import *imp, const dt_tflite_operator *o, int x, dt_conv_params *params,
                           dt_shape *shape)
{
    const dt_shape *in = dt_graph_shape(imp->graph, x);
    const dt_tflite_options *opt = &o->options;

    DT_TFLITE_CHECK(in->ndim == 4, DT_ERR_FORMAT, imp, o, "the input has %d dimensions, needed are n,h,w,c", in->ndim);
    DT_TRY(check_map(imp, o, 0));
    DT_TRY(filter_shape(imp, o, in->dim[3], shape, &params->groups));
    DT_TFLITE_CHECK(opt->padding == DT_TFLITE_VALID || imp->padded[o->in[0]] < 0, DT_ERR_UNSUPPORTED, imp, o,
                    "the padding is SAME, and operator %d before it is a PAD; understood is one of them",
                    imp->padded[o->in[0]]);
    for (int axis = 0; axis < 2; axis++) {
        params->stride[axis] = opt->stride[axis];
        params->dilation[axis] = opt->dilation[axis];
        int *before = &params->pad[axis], *after = &params->pad[axis + 2];
        if (opt->padding == DT_TFLITE_SAME)
            dt_tflite_same_pads(in->dim[axis + 1], dt_conv_span(params, axis, shape->dim[axis + 1]), opt->stride[axis],
                                before, after);
        else
            explicit_pads(imp, o, axis, before, after);
    }
    return DT_OK;
}

dt_status dt_tflite_pool(const dt_tflite_import *imp, const dt_tflite_operator *o, int x, dt_pool_params *params)
{
    const dt_shape *in = dt_graph_shape(imp->graph, x);
    const dt_tflite_options *opt = &o->options;

    DT_TRY(check_map(imp, o, 0));
    *params = (dt_pool_params){ .count_include_pad = 0 };
    for (int axis = 0; axis < 2; axis++) {
        params->window[axis] = opt->window[axis];
        params->stride[axis] = opt->stride[axis];
        if (opt->padding == DT_TFLITE_SAME && in->ndim == 4)
            dt_tflite_same_pads(in->dim[axis + 1], opt->window[axis], opt->stride[axis], &params->pad[axis],
                                &params->pad[axis + 2]);
    }
    return DT_OK;
}

/* ---- what makes no node ---- */

dt_status dt_tflite_check_mean(const dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const dt_tflite_tensor *x = dt_tflite_in(imp, o, 0), *axes = dt_tflite_in(imp, o, 1);
    unsigned seen = 0;

    DT_TFLITE_CHECK(axes && axes->data && axes->type == DT_TFLITE_INT32 && x->n_dims == 4, DT_ERR_UNSUPPORTED, imp, o,
                    "a mean of %d dimensions; understood is that of the constant axes 1 and 2 of 4", x->n_dims);
    DT_TRY(check_map(imp, o, 0));
    for (int64_t i = 0; i < dt_tflite_count(axes); i++) {
        const int32_t axis = ((const int32_t *)axes->data)[i];
        DT_TFLITE_CHECK(axis >= -4 && axis < 4, DT_ERR_FORMAT, imp, o, "a mean over axis %" PRId32 " of 4", axis);
        seen |= 1u << (axis < 0 ? axis + 4 : axis);
    }
    DT_TFLITE_CHECK(seen == 6u, DT_ERR_UNSUPPORTED, imp, o,
                    "a mean over the axes of the bits %#x; understood are 1 and 2, bits 0x6", seen);
    return DT_OK;
}

dt_status dt_tflite_add_pad(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const dt_tflite_tensor *cells = dt_tflite_in(imp, o, 1);
    int x;

    DT_TRY(dt_tflite_input(imp, o, 0, &x));
    DT_TFLITE_CHECK(cells->data && cells->type == DT_TFLITE_INT32 && cells->n_dims == 2 && cells->dim[0] == 4 &&
                        cells->dim[1] == 2,
                    DT_ERR_UNSUPPORTED, imp, o, "cells in %s; understood are constant INT32 of the shape 4,2",
                    dt_tflite_type_name((int)cells->type));
    const int32_t *n = cells->data;
    for (int i = 0; i < 8; i++) {
        const int is_inside = i >= 2 && i < 6;
        DT_TFLITE_CHECK(n[i] >= 0 && n[i] <= (is_inside ? INT16_MAX : 0), DT_ERR_UNSUPPORTED, imp, o,
                        "%" PRId32 " cells beside axis %d; understood are 0 or more, of axes 1 and 2", n[i], i / 2);
    }
    imp->value[o->out] = x;
    for (int i = 0; i < imp->m->n_ops; i++) {
        if (&imp->m->op[i] == o) imp->padded[o->out] = i;
    }
    return DT_OK;
}

dt_status dt_tflite_add_reshape(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    int x = -1;

    DT_TRY(dt_tflite_map(imp, o, 0, &x));
    DT_TFLITE_CHECK(imp->padded[o->in[0]] < 0, DT_ERR_UNSUPPORTED, imp, o,
                    "input %d comes from a PAD, which is understood before a convolution alone", 0);
    return dt_tflite_reshape(imp, o, x);
}

dt_status dt_tflite_concat_axis(const dt_tflite_import *imp, const dt_tflite_operator *o, int *axis)
{
    const int n_dims = dt_tflite_out(imp, o)->n_dims, at = o->options.axis;

    *axis = at < 0 ? at + n_dims : at;
    DT_TFLITE_CHECK(*axis >= 1 && *axis < n_dims, DT_ERR_UNSUPPORTED, imp, o,
                    "along axis %d of %d; understood are 1 and more", at, n_dims);
    DT_TFLITE_CHECK(o->n_in >= 2 && o->n_in <= DT_MAX_IN, DT_ERR_UNSUPPORTED, imp, o,
                    "%d inputs; understood are 2 to %d", o->n_in, DT_MAX_IN);
    for (int k = 0; k < o->n_in; k++) DT_TRY(check_map(imp, o, k));
    if (n_dims == 3) ++*axis; /* 1,h,w stands as the map 1,1,h,w */
    return DT_OK;
}
