/*
 * affine.cu - CUDA kernel of a line for each channel; see layers/affine.c.
 */
#include "kernel.h"

#include "../core/grid_facts.h"

/* one thread for each element; a and b: [channels] */
__global__ static void affine_kernel(const float *x, const float *a, const float *b, float *y, int64_t count,
                                     int64_t channels)
{
    const int64_t i = dt_thread();
    if (i >= count) return;
    const int64_t c = i % channels;

    y[i] = a[c] * x[i] + b[c];
}

static dt_status affine_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    DT_LAUNCH(affine_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[0]),
              dt_values(node->in[1]), dt_values(node->in[2]), dt_values(node->out), count,
              dt_channels(&node->out->shape));
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

extern "C" const dt_kernel dt_cuda_affine;
const dt_kernel dt_cuda_affine = { NULL, affine_forward, NULL, NULL, 0 };
