/*
 * caps_class.cu - CUDA kernels of capsules' lengths and of the labelled capsule; see layers/caps/caps_class.c.
 */
#include "kernel.h"

/* one thread for each capsule */
__global__ static void caps_length_forward_kernel(const float *v, int dim, float *y, int64_t count)
{
    const int64_t i = dt_thread();
    if (i >= count) return;
    float squares = 0.0f;

    for (int d = 0; d < dim; d++) squares += v[i * dim + d] * v[i * dim + d];
    y[i] = sqrtf(squares);
}

/* one thread for each value of a capsule, [count][dim]; adds into dv */
__global__ static void caps_length_backward_kernel(const float *v, const float *y, const float *dy, int dim, float *dv,
                                                   int64_t count)
{
    const int64_t i = dt_thread();
    if (i >= count * dim || y[i / dim] == 0.0f) return;

    dv[i] += dy[i / dim] * (v[i] / y[i / dim]);
}

/* offset into v [N][channels] of what becomes element i of y [N][dim] */
__device__ static int64_t labelled(int64_t i, const int32_t *labels, int dim, int64_t channels)
{
    return i / dim * channels + labels[i / dim] * dim + i % dim;
}

/* one thread for each element of y */
__global__ static void caps_mask_forward_kernel(const float *v, const int32_t *labels, int dim, int64_t channels,
                                                float *y, int64_t count)
{
    const int64_t i = dt_thread();

    if (i < count) y[i] = v[labelled(i, labels, dim, channels)];
}

/* one thread for each element of v; gives to dv, 0 where the capsule is not the labelled one */
__global__ static void caps_mask_backward_kernel(const float *dy, const int32_t *labels, int dim, int64_t channels,
                                                 float *dv, int fresh, int64_t count)
{
    const int64_t i = dt_thread();
    if (i >= count) return;
    const int64_t n = i / channels, c = i % channels;

    dt_give(&dv[i], c / dim == labels[n] ? dy[n * dim + c % dim] : 0.0f, fresh);
}

static int dim_of(const dt_node *node)
{
    return ((const dt_caps_params *)node->params)->dim;
}

static dt_status caps_length_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    DT_LAUNCH(caps_length_forward_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              dt_values(node->in[0]), dim_of(node), dt_values(node->out), count);
    return DT_OK;
}

static dt_status caps_length_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *v = node->in[0], *y = node->out;

    if (!dt_grads(v)) return DT_OK;
    DT_LAUNCH(caps_length_backward_kernel, dt_blocks(dt_count(&v->shape), DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              dt_values(v), dt_values(y), dt_grads(y), dim_of(node), dt_grads(v), dt_count(&y->shape));
    return DT_OK;
}

static dt_status caps_mask_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    DT_LAUNCH(caps_mask_forward_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              dt_values(node->in[0]), (const int32_t *)node->in[1]->data, dim_of(node), node->in[0]->shape.dim[1],
              dt_values(node->out), count);
    return DT_OK;
}

static dt_status caps_mask_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->in[0]->shape);

    if (!dt_grads(node->in[0])) return DT_OK;
    DT_LAUNCH(caps_mask_backward_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_grads(node->out),
              (const int32_t *)node->in[1]->data, dim_of(node), node->in[0]->shape.dim[1], dt_grads(node->in[0]),
              (int)(node->fresh & 1u), count);
    return DT_OK;
}

const dt_kernel dt_cuda_caps_length = { NULL, caps_length_forward, caps_length_backward, NULL, 0 };
const dt_kernel dt_cuda_caps_mask = { NULL, caps_mask_forward, caps_mask_backward, NULL, 1u };
