/*
 * pass.h - backward of the operators whose gradient is that of their output; see layers/pass.h.
 */
#ifndef DT_CUDA_PASS_H
#define DT_CUDA_PASS_H

#include "kernel.h"

/* one thread for each of count elements; gives dy to dx */
__global__ static void dt_pass_kernel(const float *dy, float *dx, int fresh, int64_t count)
{
    const int64_t i = dt_thread();

    if (i < count) dt_give(&dx[i], dy[i], fresh);
}

/* Gives dy to dx. */
static inline dt_status dt_pass_gradient(const float *dy, float *dx, int fresh, int64_t count, cudaStream_t stream)
{
    DT_LAUNCH(dt_pass_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, stream, dy, dx, fresh, count);
    return DT_OK;
}

/* Is backward of an operator that passes dy to its first input alone. */
static inline dt_status dt_pass_backward(const dt_node *node, const dt_exec *ex)
{
    float *dx = dt_grads(node->in[0]);

    if (!dx) return DT_OK;
    return dt_pass_gradient(dt_grads(node->out), dx, (int)(node->fresh & 1u), dt_count(&node->out->shape),
                            dt_stream_of(ex));
}

#endif /* DT_CUDA_PASS_H */
