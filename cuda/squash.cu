/*
 * squash.cu - CUDA kernels of the capsules' non-linearity; see layers/caps/squash.c.
 */
#include "kernel.h"

extern "C" {
#include "../layers/caps/squash.h"
}

/* one thread for each capsule */
__global__ static void squash_forward_kernel(const float *s, float *v, int dim, int64_t n)
{
    const int64_t i = dt_thread();

    if (i < n) dt_squash(s + i * dim, dim, v + i * dim);
}

/* one thread for each capsule; gives to ds */
__global__ static void squash_backward_kernel(const float *s, const float *dv, float *ds, int fresh, int dim, int64_t n)
{
    const int64_t i = dt_thread();

    if (i < n) dt_squash_backward(s + i * dim, dv + i * dim, dim, fresh, ds + i * dim);
}

static dt_status squash_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_caps_params *p = (const dt_caps_params *)node->params;
    const int64_t n = dt_count(&node->out->shape) / p->dim;

    DT_LAUNCH(squash_forward_kernel, dt_blocks(n, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[0]),
              dt_values(node->out), p->dim, n);
    return DT_OK;
}

static dt_status squash_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_caps_params *p = (const dt_caps_params *)node->params;
    const dt_tensor *s = node->in[0];
    const int64_t n = dt_count(&s->shape) / p->dim;

    if (!dt_grads(s)) return DT_OK;
    DT_LAUNCH(squash_backward_kernel, dt_blocks(n, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(s),
              dt_grads(node->out), dt_grads(s), (int)(node->fresh & 1u), p->dim, n);
    return DT_OK;
}

const dt_kernel dt_cuda_squash = { NULL, squash_forward, squash_backward, NULL, 1u };
