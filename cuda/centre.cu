/*
 * centre.cu - CUDA kernel that takes the mean image away; see layers/centre.c.
 */
#include "kernel.h"

enum { X, MEAN };

/* one thread for each value */
__global__ static void centre_kernel(const float *x, const float *mean, dt_centre_params p, int64_t each, int64_t count,
                                     float *y)
{
    const int64_t i = dt_thread();

    if (i < count) y[i] = x[i] * p.factor / p.divisor - mean[i % each];
}

static dt_status centre_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    DT_LAUNCH(centre_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[X]),
              dt_values(node->in[MEAN]), *(const dt_centre_params *)node->params, dt_count(&node->in[MEAN]->shape),
              count, dt_values(node->out));
    return DT_OK;
}

const dt_kernel dt_cuda_centre = { NULL, centre_forward };
