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

/* Value d of capsule i, with its bias. */
__device__ static inline float biased_value(const biased &x, int64_t i, int d)
{
    const int64_t c = i * x.dim % x.channels + d;

    return dt_scale_at(x.scale, x.n_scale, c) * x.q[i * x.dim + d] + x.b[c];
}

/* Sets s to the values first .. first + n - 1 of capsule i, of which there are DT_CAPS_LANES or what is left, and
 * returns n. */
__device__ static inline int biased_part(const biased &x, int64_t i, int first, float s[DT_CAPS_LANES])
{
    const int n = min(x.dim - first, (int)DT_CAPS_LANES);

    DT_UNROLL
    for (int l = 0; l < DT_CAPS_LANES; l++) s[l] = l < n ? biased_value(x, i, first + l) : 0.0f;
    return n;
}

/* One thread for each capsule, which is read twice: for its length, and to be squashed. */
__global__ static void bias_squash_kernel(const __grid_constant__ biased x, dt_bias_values v)
{
    const int64_t i = dt_thread();
    float square[DT_CAPS_LANES] = { 0.0f }, s[DT_CAPS_LANES];
    if (i >= x.n) return;

    for (int first = 0; first < x.dim; first += DT_CAPS_LANES) {
        const int n = biased_part(x, i, first, s);
        dt_caps_add(square, s, 1.0f, s, n);
    }
    const float factor = dt_squash_factor(dt_caps_sum(square));
    for (int d = 0; d < x.dim; d++) dt_value_store(v.at, v.type, i * x.dim + d, factor * biased_value(x, i, d));
}

/* One thread for each capsule; its gradient overwrites ds. */
__global__ static void bias_squash_slope_kernel(const __grid_constant__ biased x, dt_bias_values dv, dt_bias_values ds)
{
    const int64_t i = dt_thread();
    float square[DT_CAPS_LANES] = { 0.0f }, along[DT_CAPS_LANES] = { 0.0f }, s[DT_CAPS_LANES], g[DT_CAPS_LANES];
    if (i >= x.n) return;

    for (int first = 0; first < x.dim; first += DT_CAPS_LANES) {
        const int n = biased_part(x, i, first, s);
        DT_UNROLL
        for (int l = 0; l < DT_CAPS_LANES; l++) {
            g[l] = l < n ? dt_value_load(dv.at, dv.type, i * x.dim + first + l) : 0.0f;
        }
        dt_caps_add(square, s, 1.0f, s, n);
        dt_caps_add(along, s, 1.0f, g, n);
    }
    const dt_squash_slope k = dt_squash_slope_of(dt_caps_sum(square), dt_caps_sum(along));
    for (int d = 0; d < x.dim; d++) {
        const int64_t at = i * x.dim + d;
        dt_value_store(ds.at, ds.type, at,
                       k.of_dv * dt_value_load(dv.at, dv.type, at) + k.of_s * biased_value(x, i, d));
    }
}

static dt_status bias_squash_forward(const dt_node *node, const dt_exec *ex)
{
    const biased x = biased_of(node);
    const dt_bias_values v = { node->out->data, node->out->type };

    DT_LAUNCH(bias_squash_kernel, dt_blocks(x.n, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), x, v);
    return DT_OK;
}

static dt_status bias_squash_backward(const dt_node *node, const dt_exec *ex)
{
    const biased x = biased_of(node);
    const dt_shape *shape = &node->in[X]->shape;
    const dt_bias_values dv = { node->out->grad, node->out->grad_type };
    const dt_bias_values dx = { node->in[X]->grad, node->in[X]->grad_type };
    dt_bias_values ds = dx;
    float *db = dt_grads(node->in[B]);

    if (!dt_bias_has_own_dx(node)) ds = { (char *)ex->scratch + dt_bias_sums_bytes(shape), DT_F32 };
    DT_LAUNCH(bias_squash_slope_kernel, dt_blocks(x.n, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), x, dv, ds);
    if (dx.at && !dt_bias_has_own_dx(node)) {
        DT_LAUNCH(dt_bias_pass_kernel, dt_blocks(dt_count(shape), DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), ds, dx, 0,
                  dt_count(shape));
    }
    if (!db) return DT_OK;
    return dt_bias_sums(ds, shape, (double *)ex->scratch, (int)(node->fresh & 1u << B), db, dt_stream_of(ex));
}

const dt_kernel dt_cuda_bias_squash = { dt_bias_prepare_behind, bias_squash_forward, bias_squash_backward,         NULL,
                                        1u << X | 1u << B,      DT_READS_OUT,        DT_READS_OUT | DT_READS_IN(X) };
