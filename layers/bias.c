/*
 * bias.c - adds a number for each channel.
 *
 *   y = x + b,  dx += dy,  db += column sums of dy
 *
 * If x is a grid tensor, scale * code is taken, and y leaves the grid. The column sums are in double, which costs
 * nothing beside reading dy. Their order depends on the shape alone. Where dx lies in the memory of dy, it is there
 * already.
 *
 * Shapes: x and y .., C; b any of C values.  CUDA: cuda/bias.cu.  Tests: tests/layers/test_bias.c.
 */
#include "bias.h"

#include <assert.h>

enum { X, B, N_IN };

static dt_status bias_infer(dt_node *node)
{
    const dt_tensor *x = node->in[X], *b = node->in[B];
    const int64_t channels = dt_channels(&x->shape);
    assert(x->type == DT_F32 && b->type == DT_F32 && (x->n_scale <= 1 || x->n_scale == channels));

    DT_CHECK(dt_count(&b->shape) == channels, DT_ERR_SHAPE, "%s: bias: b has %lld values, x has %lld channels",
             node->name, (long long)dt_count(&b->shape), (long long)channels);
    DT_CHECK(b->n_scale == 0, DT_ERR_UNSUPPORTED,
             "%s: bias: b is a grid tensor, and a bias is real; quantize it to real values", node->name);
    node->out->shape = x->shape;
    return DT_OK;
}

const dt_op dt_op_bias = { .name = "bias", .min_in = N_IN, .max_in = N_IN, .infer = bias_infer };

/* Scratch: a sum for each channel of each block. */
static dt_status bias_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_shape *x = &node->in[X]->shape;
    (void)ex;
    *scratch_bytes = (size_t)(dt_bias_blocks(dt_rows(x)) * dt_channels(x)) * sizeof(double);
    return DT_OK;
}

static dt_status bias_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->in[X];
    const int64_t channels = dt_channels(&x->shape), rows = dt_rows(&x->shape);
    const float *q = x->data, *b = node->in[B]->data;
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) dt_bias_row(x, q + r * channels, b, channels, y + r * channels);
    return DT_OK;
}

static const float *pass_row(const dt_node *node, const dt_exec *ex, int64_t r)
{
    const int64_t channels = dt_channels(&node->out->shape), at = r * channels;
    const int fresh = (int)(node->fresh & 1u << X);
    const float *restrict dy = (const float *)node->out->grad + at;
    float *restrict dx = node->in[X]->grad;
    (void)ex;

    if (!dx || dx == node->out->grad) return dy;
    for (int64_t c = 0; c < channels; c++) dx[at + c] = fresh ? dy[c] : dx[at + c] + dy[c];
    return dy;
}

static dt_status bias_backward(const dt_node *node, const dt_exec *ex)
{
    return dt_bias_backward(node, ex, pass_row);
}

const dt_kernel dt_cpu_bias = {
    .prepare = bias_prepare,
    .forward = bias_forward,
    .backward = bias_backward,
    .overwrites = 1u << X | 1u << B,
    .in_place = 1,
};
