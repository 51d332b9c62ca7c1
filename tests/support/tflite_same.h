/*
 * tflite_same.h - compares two descriptions of TensorFlow Lite files.
 */
#ifndef TFLITE_SAME_H
#define TFLITE_SAME_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "../../formats/tflite/tflite.h"

static inline void expect_equal_tensors(const char *why, int i, const dt_tflite_tensor *a, const dt_tflite_tensor *b)
{
    cr_assert(eq(str, a->name, b->name), "%s: tensor %d", why, i);
    cr_assert(a->type == b->type && a->any_batch == b->any_batch && a->n_dims == b->n_dims &&
                  memcmp(a->dim, b->dim, (size_t)a->n_dims * sizeof *a->dim) == 0,
              "%s: tensor %d: type %d and %d, %d and %d dimensions", why, i, (int)a->type, (int)b->type, a->n_dims,
              b->n_dims);
    cr_assert(a->n_scales == b->n_scales && a->axis == b->axis, "%s: tensor %d: %d and %d scales of axis %d and %d",
              why, i, a->n_scales, b->n_scales, a->axis, b->axis);
    for (int k = 0; k < a->n_scales; k++) {
        cr_assert(a->scale[k] == b->scale[k] && a->zero[k] == b->zero[k], "%s: tensor %d: scale %d: %g and %g", why, i,
                  k, (double)a->scale[k], (double)b->scale[k]);
    }
    cr_assert(a->bytes == b->bytes && (a->bytes == 0 || memcmp(a->data, b->data, a->bytes) == 0),
              "%s: tensor %d: data of %zu and %zu bytes", why, i, a->bytes, b->bytes);
}

static inline void expect_equal_ops(const char *why, int i, const dt_tflite_operator *a, const dt_tflite_operator *b)
{
    cr_assert(a->code == b->code && a->version == b->version && a->out == b->out && a->n_in == b->n_in,
              "%s: operator %d: %d and %d", why, i, (int)a->code, (int)b->code);
    for (int k = 0; k < a->n_in; k++) cr_assert(eq(int, a->in[k], b->in[k]), "%s: operator %d, input %d", why, i, k);
    cr_assert(memcmp(&a->options, &b->options, sizeof a->options) == 0, "%s: options of operator %d, %s", why, i,
              dt_tflite_op_name((int)a->code));
}

static inline void expect_equal(const char *why, const dt_tflite *a, const dt_tflite *b)
{
    cr_assert(eq(str, a->description, b->description), "%s", why);
    cr_assert(a->n_tensors == b->n_tensors && a->n_ops == b->n_ops && a->n_in == b->n_in && a->n_out == b->n_out,
              "%s: %d and %d tensors, %d and %d operators", why, a->n_tensors, b->n_tensors, a->n_ops, b->n_ops);
    for (int i = 0; i < a->n_tensors; i++) expect_equal_tensors(why, i, &a->tensor[i], &b->tensor[i]);
    for (int i = 0; i < a->n_ops; i++) expect_equal_ops(why, i, &a->op[i], &b->op[i]);
    for (int i = 0; i < a->n_in; i++) cr_assert(eq(int, a->in[i], b->in[i]), "%s", why);
    for (int i = 0; i < a->n_out; i++) cr_assert(eq(int, a->out[i], b->out[i]), "%s", why);
}

#endif /* TFLITE_SAME_H */
