/*
 * bias.cu - CUDA kernels of a bias for each channel; see layers/bias.c.
 */
#include "bias_sums.h"

enum { X, B };

/* one thread for each element; x's real value is scale * q */
__global__ static void bias_forward_kernel(const float *q, const float *scale, int n_scale, const float *b,
                                           dt_bias_values y, int64_t count, int64_t channels)
{
    const int64_t i = dt_thread();
    if (i >= count) return;
    const int64_t c = i % channels;

    dt_value_store(y.at, y.type, i, dt_scale_at(scale, n_scale, c) * q[i] + b[c]);
}

static dt_status bias_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)ex;
    *scratch_bytes = dt_bias_sums_bytes(&node->in[X]->shape);
    return DT_OK;
}

static dt_status bias_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->in[X];
    const dt_bias_values y = { node->out->data, node->out->type };
    const int64_t count = dt_count(&x->shape);

    DT_LAUNCH(bias_forward_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(x), x->scale,
              x->n_scale, dt_values(node->in[B]), y, count, dt_channels(&x->shape));
    return DT_OK;
}

static dt_status bias_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_shape *shape = &node->in[X]->shape;
    const int64_t count = dt_count(shape);
    const dt_bias_values dy = { node->out->grad, node->out->grad_type };
    const dt_bias_values dx = { node->in[X]->grad, node->in[X]->grad_type };
    float *db = dt_grads(node->in[B]);

    if (dx.at) {
        DT_LAUNCH(dt_bias_pass_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dy, dx,
                  (int)(node->fresh & 1u << X), count);
    }
    if (!db) return DT_OK;
    return dt_bias_sums(dy, shape, (double *)ex->scratch, (int)(node->fresh & 1u << B), db, dt_stream_of(ex));
}

const dt_kernel dt_cuda_bias = {
    bias_prepare, bias_forward, bias_backward, NULL, 1u << X | 1u << B, DT_READS_OUT, DT_READS_OUT | DT_READS_IN(X)
};
