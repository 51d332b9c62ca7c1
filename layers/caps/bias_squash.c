/*
 * bias_squash.c - BIAS and the SQUASH that alone reads it, in one sweep over memory. The tape merges them
 * (core/tape/fuse.c).
 *
 *   s = x + b,  v = squash(s);  dx += ds,  db += column sums of ds
 *
 * The arithmetic and the order of sums are those of the two operators, so that all bits are the same. s is computed
 * again in backward, one row at a time, which costs less than to store it.
 *
 * Shapes: x and v ..,C of capsules of `dim` values; b any of C values.
 * Mathematics: bias.c, squash.c.  CUDA: cuda/bias_squash.cu.  Tests: tests/layers/test_bias_squash.c.
 */
#include "../../core/threads.h"
#include "../bias.h"
#include "caps_lanes.h"

#include <assert.h>

enum { X, B, N_IN };

static dt_status bias_squash_infer(dt_node *node)
{
    const dt_caps_params *p = node->params;
    const dt_tensor *x = node->in[X], *b = node->in[B];
    const int64_t channels = dt_channels(&x->shape);
    assert(x->type == DT_F32 && b->type == DT_F32 && (x->n_scale <= 1 || x->n_scale == channels));

    DT_CHECK(p->dim >= 1 && channels % p->dim == 0 && dt_count(&b->shape) == channels && b->n_scale == 0, DT_ERR_SHAPE,
             "%s: bias_squash: x has %lld channels, b %lld values; needed are as many real ones, in capsules of %d",
             node->name, (long long)channels, (long long)dt_count(&b->shape), p->dim);
    node->out->shape = x->shape;
    return DT_OK;
}

static const dt_field bias_squash_fields[] = {
    { DT_MEMBER(dt_caps_params, dim), DT_INT(1, 1 << 20) },
};

const dt_op dt_op_bias_squash = {
    .name = "bias_squash",
    .min_in = N_IN,
    .max_in = N_IN,
    DT_OP_PARAMS(dt_caps_params, bias_squash_fields),
    .backward_reads = DT_READS_IN(X) | DT_READS_IN(B),
    .infer = bias_squash_infer,
};

/* Scratch: a sum for each channel of each block, then two rows for each thread. */
static dt_status bias_squash_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_shape *x = &node->in[X]->shape;
    const size_t channels = (size_t)dt_channels(x);
    (void)ex;

    *scratch_bytes = channels * (size_t)dt_bias_blocks(dt_rows(x)) * sizeof(double) +
                     channels * 2 * (size_t)dt_threads_now() * sizeof(float);
    return DT_OK;
}

/* A thread's two rows. */
static float *rows_of_thread(const dt_node *node, const dt_exec *ex)
{
    const int64_t channels = dt_channels(&node->in[X]->shape), blocks = dt_bias_blocks(dt_rows(&node->in[X]->shape));

    return (float *)((double *)ex->scratch + blocks * channels) + 2 * channels * dt_thread_number();
}

static dt_status bias_squash_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_caps_params *p = node->params;
    const dt_tensor *x = node->in[X];
    const int64_t rows = dt_rows(&x->shape), channels = dt_channels(&x->shape);
    const dt_caps_lanes *lanes = dt_caps_lanes_now();
    const float *q = x->data, *b = node->in[B]->data;
    float *v = node->out->data;

#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) {
        float *s = rows_of_thread(node, ex);
        dt_bias_row(x, q + r * channels, b, channels, s);
        lanes->squash(s, channels / p->dim, p->dim, v + r * channels);
    }
    return DT_OK;
}

/* ds of row r: in dx, or where that is nobody's or not fresh in a row of the thread's own, from which it is added. */
static const float *backward_row(const dt_node *node, const dt_exec *ex, int64_t r)
{
    const dt_caps_params *p = node->params;
    const dt_tensor *x = node->in[X];
    const int64_t channels = dt_channels(&x->shape), at = r * channels;
    const dt_caps_lanes *lanes = dt_caps_lanes_now();
    const float *q = x->data, *dv = node->out->grad;
    float *dx = x->grad, *s = rows_of_thread(node, ex), *ds = dx && node->fresh & 1u << X ? dx + at : s + channels;

    dt_bias_row(x, q + at, node->in[B]->data, channels, s);
    lanes->squash_backward(s, dv + at, channels / p->dim, p->dim, 1, ds);
    for (int64_t c = 0; dx && ds != dx + at && c < channels; c++) dx[at + c] += ds[c];
    return ds;
}

static dt_status bias_squash_backward(const dt_node *node, const dt_exec *ex)
{
    return dt_bias_backward(node, ex, backward_row);
}

const dt_kernel dt_cpu_bias_squash = {
    .prepare = bias_squash_prepare,
    .forward = bias_squash_forward,
    .backward = bias_squash_backward,
    .overwrites = 1u << X | 1u << B,
    .in_place = 1,
};
