/*
 * activation.cu - CUDA kernels of ReLU, clip and sigmoid; see layers/activation.c.
 */
#include "kernel.h"

#include "../core/grid_facts.h"
#include "../layers/activation.h"

/* one thread for each element; x with n_scale 0 is real, or codes that stay codes */
__global__ static void limit_forward_kernel(const float *x, const float *scale, int n_scale, int64_t channels, float *y,
                                            dt_limits limits, int64_t count)
{
    const int64_t i = dt_thread();

    if (i < count) y[i] = dt_limited(dt_scale_at(scale, n_scale, n_scale > 1 ? i % channels : 0) * x[i], limits);
}

/* one thread for each element; gives to dx */
__global__ static void limit_backward_kernel(const float *y, const float *dy, float *dx, int fresh, dt_limits limits,
                                             int64_t count)
{
    const int64_t i = dt_thread();

    if (i < count) dt_give(&dx[i], dt_limit_passes(y[i], limits) ? dy[i] : 0.0f, fresh);
}

/* one thread for each element */
__global__ static void sigmoid_forward_kernel(const float *x, float *y, int64_t count)
{
    const int64_t i = dt_thread();

    if (i < count) y[i] = dt_sigmoid(x[i]);
}

/* one thread for each element; gives to dx */
__global__ static void sigmoid_backward_kernel(const float *y, const float *dy, float *dx, int fresh, int64_t count)
{
    const int64_t i = dt_thread();

    if (i < count) dt_give(&dx[i], dy[i] * (y[i] * (1.0f - y[i])), fresh);
}

static dt_status limit_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->in[0];
    const int64_t count = dt_count(&node->out->shape);
    const int n_scale = node->out->n_scale == 0 ? x->n_scale : 0;

    DT_LAUNCH(limit_forward_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(x), x->scale,
              n_scale, dt_channels(&x->shape), dt_values(node->out), dt_limits_of(node), count);
    return DT_OK;
}

static dt_status limit_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    if (!dt_grads(node->in[0])) return DT_OK;
    DT_LAUNCH(limit_backward_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->out),
              dt_grads(node->out), dt_grads(node->in[0]), (int)(node->fresh & 1u), dt_limits_of(node), count);
    return DT_OK;
}

static dt_status sigmoid_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    DT_LAUNCH(sigmoid_forward_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[0]),
              dt_values(node->out), count);
    return DT_OK;
}

static dt_status sigmoid_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    if (!dt_grads(node->in[0])) return DT_OK;
    DT_LAUNCH(sigmoid_backward_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->out),
              dt_grads(node->out), dt_grads(node->in[0]), (int)(node->fresh & 1u), count);
    return DT_OK;
}

const dt_kernel dt_cuda_relu = { NULL, limit_forward, limit_backward, NULL, 1u };
const dt_kernel dt_cuda_clip = { NULL, limit_forward, limit_backward, NULL, 1u };
const dt_kernel dt_cuda_sigmoid = { NULL, sigmoid_forward, sigmoid_backward, NULL, 1u };
