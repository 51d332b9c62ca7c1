/*
 * bias_squash.cu - CUDA kernels of a bias and the capsules' non-linearity behind it; see layers/caps/bias_squash.c.
 *
 * Scratch of backward: the sums of bias_sums.h, then ds, where it is added to a gradient or dx is nobody's.
 */
#include "bias_sums.h"

extern "C" {
#include "../layers/caps/squash.h"
}

enum { X, B };

/* The input of BIAS_SQUASH: real values, or codes with their scale. */
typedef struct {
    const float *q, *scale, *b;
    int n_scale, dim;
    int64_t channels, n; /* n: capsules */
} biased;

static biased biased_of(const dt_node *node)
{
    const dt_tensor *x = node->in[X];
    const dt_caps_params *p = (const dt_caps_params *)node->params;

    return { dt_values(x),
             x->scale,
             dt_values(node->in[B]),
             x->n_scale,
             p->dim,
             dt_channels(&x->shape),
             dt_count(&x->shape) / p->dim };
}

/* Sets s to capsule i with its bias. */
__device__ static void biased_capsule(const biased *x, int64_t i, float *s)
{
    const int64_t first = i * x->dim % x->channels;

    for (int d = 0; d < x->dim; d++) {
        s[d] = dt_scale_at(x->scale, x->n_scale, first + d) * x->q[i * x->dim + d] + x->b[first + d];
    }
}

/* One thread for each capsule, which lies in v before it is squashed there. */
__global__ static void bias_squash_kernel(const __grid_constant__ biased x, float *v)
{
    const int64_t i = dt_thread();
    float *s = v + i * x.dim;
    if (i >= x.n) return;

    biased_capsule(&x, i, s);
    const float factor = dt_squash_factor(s, x.dim);
    for (int d = 0; d < x.dim; d++) s[d] = factor * s[d];
}

/* One thread for each capsule, which lies in ds before its gradient does. */
__global__ static void bias_squash_slope_kernel(const __grid_constant__ biased x, const float *dv, float *ds)
{
    const int64_t i = dt_thread();
    float *s = ds + i * x.dim;
    if (i >= x.n) return;

    biased_capsule(&x, i, s);
    dt_squash_backward(s, dv + i * x.dim, x.dim, 1, s);
}

/* 1: ds is computed in dx itself */
static int has_own_dx(const dt_node *node)
{
    return dt_grads(node->in[X]) && node->fresh & 1u << X;
}

static dt_status bias_squash_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_shape *x = &node->in[X]->shape;

    *scratch_bytes = dt_bias_sums_bytes(x);
    if (ex->training && !has_own_dx(node)) *scratch_bytes += (size_t)dt_count(x) * sizeof(float);
    return DT_OK;
}

static dt_status bias_squash_forward(const dt_node *node, const dt_exec *ex)
{
    const biased x = biased_of(node);

    DT_LAUNCH(bias_squash_kernel, dt_blocks(x.n, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), x, dt_values(node->out));
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

static dt_status bias_squash_backward(const dt_node *node, const dt_exec *ex)
{
    const biased x = biased_of(node);
    const dt_shape *shape = &node->in[X]->shape;
    float *dx = dt_grads(node->in[X]), *db = dt_grads(node->in[B]);
    float *ds = has_own_dx(node) ? dx : (float *)((char *)ex->scratch + dt_bias_sums_bytes(shape));

    DT_LAUNCH(bias_squash_slope_kernel, dt_blocks(x.n, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), x, dt_grads(node->out),
              ds);
    DT_CUDA_LAUNCHED();
    if (dx && dx != ds) {
        DT_LAUNCH(dt_bias_pass_kernel, dt_blocks(dt_count(shape), DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), ds, dx, 0,
                  dt_count(shape));
        DT_CUDA_LAUNCHED();
    }
    if (!db) return DT_OK;
    return dt_bias_sums(ds, shape, (double *)ex->scratch, (int)(node->fresh & 1u << B), db, dt_stream_of(ex));
}

extern "C" const dt_kernel dt_cuda_bias_squash;
const dt_kernel dt_cuda_bias_squash = { bias_squash_prepare, bias_squash_forward, bias_squash_backward, NULL,
                                        1u << X | 1u << B };
