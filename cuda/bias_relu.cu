/*
 * bias_relu.cu - CUDA kernels of a bias and the ReLU behind it; see layers/bias_relu.c.
 *
 * Scratch of backward: the sums of bias_sums.h, then what passes of dy, where it is added to a gradient or dx is
 * nobody's.
 */
#include "bias_sums.h"

#include "../layers/activation.h"

enum { X, B };

/* one thread for each element; x's real value is scale * q */
__global__ static void bias_relu_kernel(const float *q, const float *scale, int n_scale, const float *b,
                                        dt_limits limits, dt_bias_values y, int64_t count, int64_t channels)
{
    const int64_t i = dt_thread();
    if (i >= count) return;
    const int64_t c = i % channels;

    dt_value_store(y.at, y.type, i, dt_limited(dt_scale_at(scale, n_scale, c) * q[i] + b[c], limits));
}

/* one thread for each element; overwrites `passed` */
__global__ static void bias_relu_pass_kernel(dt_bias_values y, dt_bias_values dy, dt_limits limits,
                                             dt_bias_values passed, int64_t count)
{
    const int64_t i = dt_thread();
    if (i >= count) return;
    const int passes = dt_limit_passes(dt_value_load(y.at, y.type, i), limits);

    dt_value_store(passed.at, passed.type, i, passes ? dt_value_load(dy.at, dy.type, i) : 0.0f);
}

/* The limits of y as it is stored. */
static dt_limits limits_of(const dt_node *node)
{
    dt_limits limits = dt_relu_limits((const dt_relu_params *)node->params);

    if (node->out->type == DT_BF16) limits.high = dt_from_bf16(dt_to_bf16(limits.high));
    return limits;
}

static dt_status bias_relu_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->in[X];
    const dt_bias_values y = { node->out->data, node->out->type };
    const int64_t count = dt_count(&x->shape);

    DT_LAUNCH(bias_relu_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(x), x->scale,
              x->n_scale, dt_values(node->in[B]), limits_of(node), y, count, dt_channels(&x->shape));
    return DT_OK;
}

static dt_status bias_relu_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_shape *shape = &node->in[X]->shape;
    const dt_bias_values y = { node->out->data, node->out->type }, dy = { node->out->grad, node->out->grad_type };
    const dt_bias_values dx = { node->in[X]->grad, node->in[X]->grad_type };
    const int64_t count = dt_count(shape);
    const unsigned blocks = dt_blocks(count, DT_BLOCK);
    dt_bias_values passed = dx;
    float *db = dt_grads(node->in[B]);

    if (!dt_bias_has_own_dx(node)) passed = { (char *)ex->scratch + dt_bias_sums_bytes(shape), DT_F32 };
    DT_LAUNCH(bias_relu_pass_kernel, blocks, DT_BLOCK, 0, dt_stream_of(ex), y, dy, limits_of(node), passed, count);
    if (dx.at && !dt_bias_has_own_dx(node))
        DT_LAUNCH(dt_bias_pass_kernel, blocks, DT_BLOCK, 0, dt_stream_of(ex), passed, dx, 0, count);
    if (!db) return DT_OK;
    return dt_bias_sums(passed, shape, (double *)ex->scratch, (int)(node->fresh & 1u << B), db, dt_stream_of(ex));
}

const dt_kernel dt_cuda_bias_relu = { dt_bias_prepare_behind, bias_relu_forward, bias_relu_backward,           NULL,
                                      1u << X | 1u << B,      DT_READS_OUT,      DT_READS_OUT | DT_READS_IN(X) };
