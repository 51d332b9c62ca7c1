/*
 * activation.cu - CUDA kernels of ReLU and sigmoid; see layers/activation.c.
 */
#include "kernel.h"

/* one thread for each element */
__global__ static void relu_forward_kernel(const float *x, float *y, int64_t count)
{
    const int64_t i = dt_thread();

    if (i < count) y[i] = x[i] < 0.0f ? 0.0f : x[i]; /* a NaN is passed on */
}

/* one thread for each element; gives to dx */
__global__ static void relu_backward_kernel(const float *y, const float *dy, float *dx, int fresh, int64_t count)
{
    const int64_t i = dt_thread();

    if (i < count) dt_give(&dx[i], y[i] > 0.0f ? dy[i] : 0.0f, fresh);
}

/* one thread for each element */
__global__ static void sigmoid_forward_kernel(const float *x, float *y, int64_t count)
{
    const int64_t i = dt_thread();

    if (i < count) y[i] = 1.0f / (1.0f + expf(-x[i]));
}

/* one thread for each element; gives to dx */
__global__ static void sigmoid_backward_kernel(const float *y, const float *dy, float *dx, int fresh, int64_t count)
{
    const int64_t i = dt_thread();

    if (i < count) dt_give(&dx[i], dy[i] * (y[i] * (1.0f - y[i])), fresh);
}

static dt_status relu_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    DT_LAUNCH(relu_forward_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[0]),
              dt_values(node->out), count);
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

static dt_status relu_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    if (!dt_grads(node->in[0])) return DT_OK;
    DT_LAUNCH(relu_backward_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->out),
              dt_grads(node->out), dt_grads(node->in[0]), (int)(node->fresh & 1u), count);
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

static dt_status sigmoid_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    DT_LAUNCH(sigmoid_forward_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[0]),
              dt_values(node->out), count);
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

static dt_status sigmoid_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    if (!dt_grads(node->in[0])) return DT_OK;
    DT_LAUNCH(sigmoid_backward_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->out),
              dt_grads(node->out), dt_grads(node->in[0]), (int)(node->fresh & 1u), count);
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

extern "C" const dt_kernel dt_cuda_relu, dt_cuda_sigmoid;
const dt_kernel dt_cuda_relu = { NULL, relu_forward, relu_backward, NULL, 1u };
const dt_kernel dt_cuda_sigmoid = { NULL, sigmoid_forward, sigmoid_backward, NULL, 1u };
