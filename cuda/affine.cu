/*
 * affine.cu - CUDA kernels of a line for each channel; see layers/affine.c.
 *
 * Sums over rows: a block for each channel adds up its column, thread by thread.
 */
#include "reduce.h"

#include "../core/grid_facts.h"

enum { X, A, B };

/* one thread for each element; a and b: [channels] */
__global__ static void affine_kernel(const float *x, const float *a, const float *b, float *y, int64_t count,
                                     int64_t channels)
{
    const int64_t i = dt_thread();
    if (i >= count) return;
    const int64_t c = i % channels;

    y[i] = a[c] * x[i] + b[c];
}

/* one thread for each element; gives to dx */
__global__ static void affine_pass_kernel(const float *a, const float *scale, int n_scale, const float *dy, float *dx,
                                          int fresh, int64_t count, int64_t channels)
{
    const int64_t i = dt_thread();
    if (i >= count) return;
    const int64_t c = i % channels;

    dt_give(&dx[i], a[c] / dt_scale_at(scale, n_scale, c) * dy[i], fresh);
}

/* A block for each channel. Gives to da and db where they are not NULL; fresh has the bits of A and B. */
__global__ static void affine_sums_kernel(const float *x, const float *dy, int64_t rows, int64_t channels, float *da,
                                          float *db, unsigned fresh)
{
    const int64_t c = blockIdx.x;
    double sum_a = 0.0, sum_b = 0.0;

    for (int64_t r = threadIdx.x; r < rows; r += DT_BLOCK) {
        const double g = (double)dy[r * channels + c];
        sum_a += g * (double)x[r * channels + c];
        sum_b += g;
    }
    sum_a = dt_block_sum(sum_a);
    sum_b = dt_block_sum(sum_b);
    if (threadIdx.x > 0) return;
    if (da) dt_give(&da[c], (float)sum_a, (int)(fresh & 1u << A));
    if (db) dt_give(&db[c], (float)sum_b, (int)(fresh & 1u << B));
}

static dt_status affine_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    DT_LAUNCH(affine_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[X]),
              dt_values(node->in[A]), dt_values(node->in[B]), dt_values(node->out), count,
              dt_channels(&node->out->shape));
    return DT_OK;
}

static dt_status affine_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->in[X];
    const int64_t count = dt_count(&x->shape), channels = dt_channels(&x->shape);
    float *dx = dt_grads(x), *da = dt_grads(node->in[A]), *db = dt_grads(node->in[B]);

    if (dx) {
        DT_LAUNCH(affine_pass_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[A]),
                  x->scale, x->n_scale, dt_grads(node->out), dx, (int)(node->fresh & 1u << X), count, channels);
    }
    if (!da && !db) return DT_OK;
    DT_LAUNCH(affine_sums_kernel, (unsigned)channels, DT_BLOCK, 0, dt_stream_of(ex), dt_values(x), dt_grads(node->out),
              count / channels, channels, da, db, node->fresh);
    return DT_OK;
}

const dt_kernel dt_cuda_affine = { NULL, affine_forward, affine_backward, NULL, 1u << X | 1u << A | 1u << B };
