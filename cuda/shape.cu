/*
 * shape.cu - CUDA kernels of flatten, identity and add; see layers/shape.c.
 */
#include "kernel.h"

#include "../core/grid_facts.h"

/* a grid tensor's codes with their scales, or real values */
typedef struct {
    const float *data, *scale;
    int n_scale;
} operand;

/* one thread for each element */
__global__ static void add_kernel(operand a, operand b, float *y, int64_t count, int64_t channels)
{
    const int64_t i = dt_thread();
    if (i >= count) return;
    const int64_t c = i % channels;

    y[i] = dt_scale_at(a.scale, a.n_scale, c) * a.data[i] + dt_scale_at(b.scale, b.n_scale, c) * b.data[i];
}

/* one thread for each element; adds into dx */
__global__ static void pass_backward_kernel(const float *dy, float *dx, int64_t count)
{
    const int64_t i = dt_thread();

    if (i < count) dx[i] += dy[i];
}

static dt_status copy_forward(const dt_node *node, const dt_exec *ex)
{
    DT_CUDA(cudaMemcpyAsync(node->out->data, node->in[0]->data, dt_tensor_bytes(node->out), cudaMemcpyDeviceToDevice,
                            dt_stream_of(ex)));
    return DT_OK;
}

static operand operand_of(const dt_tensor *t)
{
    const operand o = { dt_values(t), t->scale, t->n_scale };
    return o;
}

static dt_status add_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    DT_LAUNCH(add_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), operand_of(node->in[0]),
              operand_of(node->in[1]), dt_values(node->out), count, dt_channels(&node->out->shape));
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

/* Every input has dy as its gradient; a tensor added to itself gets it twice. */
static dt_status pass_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    for (int k = 0; k < node->n_in; k++) {
        if (!node->in[k]->grad) continue;
        DT_LAUNCH(pass_backward_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), node->out->grad,
                  node->in[k]->grad, count);
        DT_CUDA_LAUNCHED();
    }
    return DT_OK;
}

extern "C" const dt_kernel dt_cuda_flatten, dt_cuda_identity, dt_cuda_add;
const dt_kernel dt_cuda_flatten = { NULL, copy_forward, pass_backward, NULL, 0 };
const dt_kernel dt_cuda_identity = { NULL, copy_forward, pass_backward, NULL, 0 };
const dt_kernel dt_cuda_add = { NULL, add_forward, pass_backward, NULL, 0 };
