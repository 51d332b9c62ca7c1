/*
 * tflite_case.h - TensorFlow Lite files for tests, built tensor by tensor. There is room for a few of each; running out
 *                 of it, or of memory, aborts.
 */
#ifndef TFLITE_CASE_H
#define TFLITE_CASE_H

#include <stdlib.h>
#include <string.h>

#include "../../formats/tflite/tflite.h"

enum { TFLITE_CASE_ROOM = 128, TFLITE_CASE_FREE = -1 /* a first dimension: any, 1 in the file */ };

static inline void *tflite_case_copy(const void *from, size_t bytes)
{
    void *copy = malloc(bytes + 1);

    if (!copy) abort();
    if (from) memcpy(copy, from, bytes);
    return copy;
}

static inline dt_tflite *tflite_case_begin(const char *description)
{
    dt_tflite *m = calloc(1, sizeof *m);

    if (!m) abort();
    m->description = strdup(description);
    m->tensor = calloc(TFLITE_CASE_ROOM, sizeof *m->tensor);
    m->op = calloc(TFLITE_CASE_ROOM, sizeof *m->op);
    m->in = calloc(TFLITE_CASE_ROOM, sizeof *m->in);
    m->out = calloc(TFLITE_CASE_ROOM, sizeof *m->out);
    if (!m->description || !m->tensor || !m->op || !m->in || !m->out) abort();
    return m;
}

/* Adds a tensor; dim ends with 0. Returns its index. */
static inline int tflite_case_tensor(dt_tflite *m, const char *name, dt_tflite_type type, const int *dim)
{
    if (m->n_tensors == TFLITE_CASE_ROOM) abort();
    dt_tflite_tensor *t = &m->tensor[m->n_tensors];

    t->name = strdup(name);
    t->type = type;
    for (; t->n_dims < DT_TFLITE_MAX_DIMS && dim[t->n_dims] != 0; t->n_dims++) t->dim[t->n_dims] = dim[t->n_dims];
    if (t->n_dims > 0 && t->dim[0] == TFLITE_CASE_FREE) {
        t->any_batch = 1;
        t->dim[0] = 1;
    }
    return m->n_tensors++;
}

/* Gives a tensor n scales along an axis; zero is NULL where all are 0. */
static inline void tflite_case_scale(dt_tflite *m, int tensor, int n, int axis, const float *scale, const int32_t *zero)
{
    dt_tflite_tensor *t = &m->tensor[tensor];

    t->n_scales = n;
    t->axis = axis;
    t->scale = tflite_case_copy(scale, (size_t)n * sizeof *scale);
    t->zero = calloc((size_t)n + 1, sizeof *t->zero);
    if (!t->zero) abort();
    if (zero) memcpy(t->zero, zero, (size_t)n * sizeof *zero);
}

/* Makes a tensor a constant. */
static inline void tflite_case_data(dt_tflite *m, int tensor, const void *data)
{
    dt_tflite_tensor *t = &m->tensor[tensor];

    t->bytes = (size_t)dt_tflite_count(t) * dt_tflite_type_bytes(t->type);
    t->data = tflite_case_copy(data, t->bytes);
}

/* Adds an operator that reads n tensors; the caller fills its options. */
static inline dt_tflite_operator *tflite_case_op(dt_tflite *m, dt_tflite_code code, int version, const int *in, int n,
                                                 int out)
{
    if (m->n_ops == TFLITE_CASE_ROOM) abort();
    dt_tflite_operator *o = &m->op[m->n_ops++];

    o->code = code;
    o->version = version;
    o->in = tflite_case_copy(in, (size_t)n * sizeof *in);
    o->n_in = n;
    o->out = out;
    return o;
}

/* A file in which every operator of the list is once, with options that differ from their defaults. Its shapes do not
 * fit its operators: it is for reading and writing. */
static inline dt_tflite *tflite_case_all_ops(void)
{
    static const struct {
        dt_tflite_code code;
        int table, n_in;
    } ops[] = {
#define XX(name, code, table, from, to) { DT_TFLITE_##name, table, to < 6 ? to : 5 },
        DT_TFLITE_OP_MAP(XX)
#undef XX
    };
    dt_tflite *m = tflite_case_begin("every operator");
    const int n_ops = (int)(sizeof ops / sizeof ops[0]);
    const int constant = tflite_case_tensor(m, "constant", DT_TFLITE_INT16, (int[]){ 3, 2, 0 });
    int last = tflite_case_tensor(m, "in", DT_TFLITE_FLOAT32, (int[]){ TFLITE_CASE_FREE, 5, 0 });

    tflite_case_data(m, constant, (int16_t[]){ 1, -2, 3, -4, 5, -32768 });
    tflite_case_scale(m, constant, 2, 1, (float[]){ 0.5f, 1e-9f }, (int32_t[]){ 7, -32768 });
    m->in[m->n_in++] = last;
    for (int i = 0; i < n_ops; i++) {
        const int in[] = { last, constant, i % 2 ? -1 : constant, last, constant };
        last = tflite_case_tensor(m, i == 0 ? "" : "made", i % 2 ? DT_TFLITE_INT8 : DT_TFLITE_INT64,
                                  (int[]){ 4, i + 1, 0 });
        dt_tflite_options *o = &tflite_case_op(m, ops[i].code, i + 1, in, ops[i].n_in, last)->options;
        const int is_conv = ops[i].table == 1 || ops[i].table == 2, is_pool = ops[i].table == 5;
        const int has_fused = is_conv || is_pool || ops[i].table == 8 || ops[i].table == 10 || ops[i].table == 11 ||
                              ops[i].table == 21 || ops[i].table == 28;
        if (is_conv || is_pool) {
            o->padding = DT_TFLITE_VALID;
            o->stride[0] = 2 + i;
            o->stride[1] = 300;
        }
        if (is_conv) o->dilation[0] = 4, o->dilation[1] = 5;
        if (is_pool) o->window[0] = 6, o->window[1] = 7;
        if (ops[i].table == 2) o->multiplier = 8;
        if (has_fused) o->fused = i % 2 ? DT_TFLITE_FUSED_RELU : DT_TFLITE_FUSED_RELU6;
        if (ops[i].table == 8 || ops[i].table == 27) o->keep_dims = 1;
        if (ops[i].table == 8 || ops[i].table == 101) o->per_row = 1;
        if (ops[i].table == 9) o->beta = 0.75f;
        if (ops[i].table == 10) o->axis = -1;
        if (ops[i].table == 101) o->transpose[1] = 1;
        if (ops[i].table == 17 || ops[i].table == 30) o->n_shape = 2, o->shape[0] = -1, o->shape[1] = 9;
    }
    m->out[m->n_out++] = last;
    return m;
}

#endif /* TFLITE_CASE_H */
