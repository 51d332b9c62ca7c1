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

#include "../core/op.h"

#include <assert.h>
#include <string.h>

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

static void pass_row(const float *restrict dy, int64_t channels, int fresh, float *restrict dx)
{
    for (int64_t c = 0; c < channels; c++) dx[c] = fresh ? dy[c] : dx[c] + dy[c];
}

/* One pass over dy; sums has room for every block's. */
static dt_status bias_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_shape *shape = &node->in[X]->shape;
    const int64_t channels = dt_channels(shape), rows = dt_rows(shape), blocks = dt_bias_blocks(rows);
    const int fresh = (int)(node->fresh & 1u << X);
    const float *dy = node->out->grad;
    float *dx = node->in[X]->grad, *db = node->in[B]->grad;
    double *sums = ex->scratch;

#pragma omp parallel for
    for (int64_t block = 0; block < blocks; block++) {
        double *sum = sums + block * channels;
        memset(sum, 0, (size_t)channels * sizeof *sum);
        for (int64_t r = rows * block / blocks; r < rows * (block + 1) / blocks; r++) {
            if (dx && dx != dy) pass_row(dy + r * channels, channels, fresh, dx + r * channels);
            if (db) dt_bias_sum_row(dy + r * channels, channels, sum);
        }
    }
    if (db) dt_bias_give(sums, blocks, channels, (int)(node->fresh & 1u << B), db);
    return DT_OK;
}

const dt_kernel dt_cpu_bias = {
    .prepare = bias_prepare,
    .forward = bias_forward,
    .backward = bias_backward,
    .overwrites = 1u << X | 1u << B,
    .in_place = 1,
};
