/*
 * pass.h - backward of the operators whose gradient is that of their output: dx += dy. CUDA: cuda/pass.h.
 */
#ifndef DT_PASS_H
#define DT_PASS_H

#include "../core/op.h"

/* Gives dy to input k. Where dx lies in the memory of dy, it is there already. */
static inline void dt_pass_gradient(const dt_node *node, int k)
{
    const int64_t count = dt_count(&node->out->shape);
    const int fresh = (int)(node->fresh & 1u << k);
    const float *dy = dt_grads(node->out);
    float *dx = dt_grads(node->in[k]);

    if (!dx || dx == dy) return;
#pragma omp parallel for simd
    for (int64_t i = 0; i < count; i++) dx[i] = fresh ? dy[i] : dx[i] + dy[i];
}

/* Is backward of an operator that passes dy to its first input alone. */
static inline dt_status dt_pass_backward(const dt_node *node, const dt_exec *ex)
{
    (void)ex;
    dt_pass_gradient(node, 0);
    return DT_OK;
}

#endif /* DT_PASS_H */
