/*
 * bias_relu.c - BIAS and the RELU that alone reads it, in one sweep over memory. The tape merges them
 * (core/tape/fuse.c).
 *
 *   y = min(max(x + b, 0), most);  dx += dy where 0 < y < most,  db += column sums of that
 *
 * The arithmetic and the order of sums are those of the two operators, so that all bits are the same.
 *
 * Shapes: x and y ..,C; b any of C values.
 * Mathematics: bias.c, activation.c.  CUDA: cuda/bias_relu.cu.  Tests: tests/layers/test_bias_relu.c.
 */
#include "activation.h"
#include "bias.h"

#include "../core/threads.h"

#include <assert.h>

enum { X, B, N_IN };

static dt_status bias_relu_infer(dt_node *node)
{
    const dt_tensor *x = node->in[X], *b = node->in[B];
    const int64_t channels = dt_channels(&x->shape);
    assert(x->type == DT_F32 && b->type == DT_F32 && (x->n_scale <= 1 || x->n_scale == channels));

    DT_CHECK(dt_count(&b->shape) == channels && b->n_scale == 0, DT_ERR_SHAPE,
             "%s: bias_relu: x has %lld channels, b %lld values; needed are as many real ones", node->name,
             (long long)channels, (long long)dt_count(&b->shape));
    node->out->shape = x->shape;
    return DT_OK;
}

static const dt_field bias_relu_fields[] = { { DT_MEMBER(dt_relu_params, most), DT_FLOAT(0, 1e30) } };

const dt_op dt_op_bias_relu = {
    .name = "bias_relu",
    .min_in = N_IN,
    .max_in = N_IN,
    DT_OP_PARAMS(dt_relu_params, bias_relu_fields),
    .backward_reads = DT_READS_OUT,
    .infer = bias_relu_infer,
};

/* Scratch: a sum for each channel of each block, then a row for each thread. */
static dt_status bias_relu_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_shape *x = &node->in[X]->shape;
    const size_t channels = (size_t)dt_channels(x);
    (void)ex;

    *scratch_bytes = channels * (size_t)dt_bias_blocks(dt_rows(x)) * sizeof(double) +
                     channels * (size_t)dt_threads_now() * sizeof(float);
    return DT_OK;
}

static dt_status bias_relu_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->in[X];
    const int64_t rows = dt_rows(&x->shape), channels = dt_channels(&x->shape);
    const dt_limits limits = dt_relu_limits(node->params);
    const float *q = x->data, *b = node->in[B]->data;
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) {
        float *row = y + r * channels;
        dt_bias_row(x, q + r * channels, b, channels, row);
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) row[c] = dt_limited(row[c], limits);
    }
    return DT_OK;
}

/* What passes of a row of dy: in dx, or where that is nobody's or not fresh in a row of the thread's own, from which it
 * is added. */
static const float *passed_row(const dt_node *node, const dt_exec *ex, int64_t r)
{
    const int64_t channels = dt_channels(&node->out->shape), blocks = dt_bias_blocks(dt_rows(&node->out->shape));
    const int64_t at = r * channels;
    const dt_limits limits = dt_relu_limits(node->params);
    const float *y = node->out->data, *dy = node->out->grad;
    float *own = (float *)((double *)ex->scratch + blocks * channels) + channels * dt_thread_number();
    float *dx = node->in[X]->grad, *to = dx && node->fresh & 1u << X ? dx + at : own;

#pragma omp simd
    for (int64_t c = 0; c < channels; c++) to[c] = dt_limit_passes(y[at + c], limits) ? dy[at + c] : 0.0f;
    for (int64_t c = 0; dx && to == own && c < channels; c++) dx[at + c] += own[c];
    return to;
}

static dt_status bias_relu_backward(const dt_node *node, const dt_exec *ex)
{
    return dt_bias_backward(node, ex, passed_row);
}

const dt_kernel dt_cpu_bias_relu = {
    .prepare = bias_relu_prepare,
    .forward = bias_relu_forward,
    .backward = bias_relu_backward,
    .overwrites = 1u << X | 1u << B,
    .in_place = 1,
};
