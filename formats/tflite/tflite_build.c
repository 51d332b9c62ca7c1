/*
 * tflite_build.c - see tflite_build.h.
 */
#include "tflite_build.h"

#include "../../core/names.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- tensors and operators ---- */

static void *copy_of(const void *from, size_t bytes)
{
    void *copy = malloc(bytes + 1);

    if (copy && bytes > 0) memcpy(copy, from, bytes);
    return copy;
}

static int set_scales(dt_tflite_tensor *to, const dt_tflite_new_tensor *t)
{
    to->scale = copy_of(t->scale, (size_t)t->n_scales * sizeof *t->scale);
    to->zero = malloc(((size_t)t->n_scales + 1) * sizeof *to->zero);
    if (!to->scale || !to->zero) return 0;
    to->n_scales = t->n_scales;
    for (int k = 0; k < t->n_scales; k++) to->zero[k] = t->zero;
    return 1;
}

dt_status dt_tflite_add_tensor(dt_tflite_export *e, const dt_tflite_new_tensor *t, int *out)
{
    const size_t name_bytes = strlen(t->name) + strlen(t->part) + 1;
    dt_tflite_tensor *to = &e->m->tensor[e->m->n_tensors];

    to->type = t->type;
    to->n_dims = t->n_dims;
    memcpy(to->dim, t->dim, sizeof to->dim);
    to->any_batch = t->any_batch;
    to->axis = t->n_scales > 1 ? t->axis : 0;
    *out = e->m->n_tensors++;
    to->name = malloc(name_bytes);
    int is_done = to->name != NULL;
    if (is_done) snprintf(to->name, name_bytes, "%s%s", t->name, t->part);
    if (is_done && t->n_scales > 0) is_done = set_scales(to, t);
    if (is_done && t->data) {
        to->bytes = (size_t)dt_tflite_count(to) * dt_tflite_type_bytes(t->type);
        to->data = copy_of(t->data, to->bytes);
        is_done = to->data != NULL;
    }
    DT_CHECK(is_done, DT_ERR_MEMORY, "no memory for the tensor %s%s", t->name, t->part);
    return DT_OK;
}

/* The first version of an operator whose int8 kernels scale each channel; of reals, the first of all. */
static int version_of(const dt_tflite_export *e, dt_tflite_code code)
{
    if (!e->p) return 1;
    switch (code) {
    case DT_TFLITE_FULLY_CONNECTED: return 4;
    case DT_TFLITE_CONV_2D:
    case DT_TFLITE_DEPTHWISE_CONV_2D: return 3;
    case DT_TFLITE_QUANTIZE:
    case DT_TFLITE_RESHAPE: return 1;
    default: return 2;
    }
}

dt_status dt_tflite_add_op(dt_tflite_export *e, dt_tflite_code code, const int *in, int n, int out,
                           const dt_tflite_options *options)
{
    dt_tflite_operator *o = &e->m->op[e->m->n_ops++];

    o->code = code;
    o->version = version_of(e, code);
    o->out = out;
    if (options) o->options = *options;
    o->in = copy_of(in, (size_t)n * sizeof *in);
    DT_CHECK(o->in, DT_ERR_MEMORY, "no memory for the inputs of %s", dt_tflite_op_name((int)code));
    o->n_in = n;
    return DT_OK;
}

/* ---- values ---- */

dt_status dt_tflite_add_named(dt_tflite_export *e, int value, const char *name, const char *part, int is_flat, int *out)
{
    const dt_shape *s = dt_graph_shape(e->g, value);
    const int is_map = s->ndim == 4;
    const float scale = e->p ? dt_program_scale(e->p, value) : 0.0f;
    dt_tflite_new_tensor t = { .name = name,
                               .part = part,
                               .type = e->p ? DT_TFLITE_INT8 : DT_TFLITE_FLOAT32,
                               .n_dims = 4,
                               .dim = { 1, is_map ? (int)s->dim[1] : 1, is_map ? (int)s->dim[2] : 1,
                                        (int)s->dim[s->ndim - 1] },
                               .any_batch = 1,
                               .n_scales = e->p != NULL,
                               .scale = &scale,
                               .zero = e->zero[value] };

    if (is_flat) {
        t.n_dims = 2;
        t.dim[1] *= t.dim[2] * t.dim[3];
        t.dim[2] = t.dim[3] = 0;
    }
    DT_TRY(dt_tflite_add_tensor(e, &t, out));
    (is_flat ? e->flat : e->map)[value] = *out;
    return DT_OK;
}

/* A value's tensor is called after its layer: "conv0" for "conv0.act_quant". */
static dt_status add_form(dt_tflite_export *e, int value, int is_flat, const char *part, int *out)
{
    char name[DT_NAME_MAX + 1];

    snprintf(name, sizeof name, "%s", dt_graph_name(e->g, value));
    name[dt_layer_name_bytes(name)] = '\0';
    DT_TRY(dt_tflite_add_named(e, value, name, part, is_flat, out));
    return DT_OK;
}

dt_status dt_tflite_add_value(dt_tflite_export *e, int value, int is_flat, int *out)
{
    DT_TRY(add_form(e, value, is_flat, "", out));
    return DT_OK;
}

/* The shape is a constant, as converters have it. */
dt_status dt_tflite_add_reshape_op(dt_tflite_export *e, int from, int to)
{
    const dt_tflite_tensor *t = &e->m->tensor[to];
    int32_t shape[DT_TFLITE_MAX_DIMS] = { -1 };
    int in[2] = { from };

    for (int k = 1; k < t->n_dims; k++) shape[k] = t->dim[k];
    const dt_tflite_new_tensor constant = {
        .name = t->name, .part = ".shape", .type = DT_TFLITE_INT32, .n_dims = 1, .dim = { t->n_dims }, .data = shape
    };
    DT_TRY(dt_tflite_add_tensor(e, &constant, &in[1]));
    DT_TRY(dt_tflite_add_op(e, DT_TFLITE_RESHAPE, in, 2, to, NULL));
    return DT_OK;
}

/* Adds a RESHAPE from one form of a value to the other. */
static dt_status reshape(dt_tflite_export *e, int value, int is_flat, int *tensor)
{
    const int from = (is_flat ? e->map : e->flat)[value];

    DT_TRY(add_form(e, value, is_flat, is_flat ? ".flat" : ".map", tensor));
    DT_TRY(dt_tflite_add_reshape_op(e, from, *tensor));
    return DT_OK;
}

int dt_tflite_is_flat(const dt_tflite_export *e, int value)
{
    return e->map[value] < 0;
}

dt_status dt_tflite_as_form(dt_tflite_export *e, const dt_graph_node *n, int value, int is_flat, int *tensor)
{
    const int is = (is_flat ? e->flat : e->map)[value], other = (is_flat ? e->map : e->flat)[value];

    DT_TFLITE_EXPECT(is >= 0 || other >= 0, e, n, "reads %s, which has no %s in a file", dt_graph_name(e->g, value),
                     e->p ? "codes of 8 bits" : "reals");
    if (is < 0) return reshape(e, value, is_flat, tensor);
    *tensor = is;
    return DT_OK;
}

dt_status dt_tflite_as_map(dt_tflite_export *e, const dt_graph_node *n, int value, int *tensor)
{
    DT_TRY(dt_tflite_as_form(e, n, value, 0, tensor));
    return DT_OK;
}

dt_status dt_tflite_as_flat(dt_tflite_export *e, const dt_graph_node *n, int value, int *tensor)
{
    DT_TRY(dt_tflite_as_form(e, n, value, 1, tensor));
    return DT_OK;
}

/* ---- zero points ---- */

/* 1 if int8 codes around `zero` have the range low..high under that activation, which *fused is set to. */
static int has_range(int32_t zero, int can_fuse, const dt_value *v, float scale, int *fused)
{
    const int least = INT8_MIN - zero, most = INT8_MAX - zero, low = least < 0 ? 0 : least;
    const float six = roundf(6.0f / scale);
    const int limited = six < (float)most ? (int)six : most;

    *fused = DT_TFLITE_FUSED_NONE;
    if (v->low == least && v->high == most) return 1;
    *fused = DT_TFLITE_FUSED_RELU;
    if (can_fuse && v->low == low && v->high == most) return 1;
    *fused = DT_TFLITE_FUSED_RELU6;
    return can_fuse && v->low == low && v->high == limited;
}

dt_status dt_tflite_set_zero(dt_tflite_export *e, const dt_graph_node *n, int zero, int can_fuse, int *fused)
{
    const dt_value v = dt_program_value(e->p, n->out);
    const float scale = dt_program_scale(e->p, n->out);

    DT_TFLITE_EXPECT(zero >= INT8_MIN && zero <= INT8_MAX && has_range(zero, can_fuse, &v, scale, fused), e, n,
                     "its codes are %d..%d and its zero point %d; a file has -128 - zero .. 127 - zero%s", v.low,
                     v.high, zero, can_fuse ? ", or what a ReLU leaves of them" : "");
    e->zero[n->out] = zero;
    return DT_OK;
}
