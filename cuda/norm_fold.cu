/*
 * norm_fold.cu - CUDA kernels of a batch norm that is folded while it trains; see quant/norm_fold.c.
 *
 * Scratch of FOLD_BIAS: [slices][2][C] sums in double, for its backward.
 */
#include "column_sums.h"
#include "reduce.h"

#include "../core/grid_facts.h"
#include "../quant/norm_fold.h"

enum { W, W_GAMMA, W_STATS };
enum { X, GAMMA, BETA, STATS, FOLDED };

/* ---- weights ---- */

/* one thread for each weight */
__global__ static void fold_weight_kernel(const float *w, const float *gamma, const float *var, float epsilon,
                                          int64_t n, int64_t count, float *y)
{
    const int64_t i = dt_thread();
    if (i >= count) return;
    const int64_t k = i / n;

    y[i] = dt_fold_factor(gamma[k], var[k], epsilon) * w[i];
}

/* One block for each filter, whose threads share its n weights. Gives to what is not NULL. */
__global__ static void fold_weight_backward_kernel(const float *w, const float *gamma, const float *var, float epsilon,
                                                   int64_t n, const float *dy, float *dw, float *dgamma, float *dvar,
                                                   unsigned fresh)
{
    const int64_t k = blockIdx.x;
    const float factor = dt_fold_factor(gamma[k], var[k], epsilon);
    double sum = 0.0;

    for (int64_t i = threadIdx.x; i < n; i += DT_BLOCK) {
        sum += (double)dy[k * n + i] * (double)w[k * n + i];
        if (dw) dt_give(&dw[k * n + i], factor * dy[k * n + i], (int)(fresh & 1u << W));
    }
    sum = dt_block_sum(sum);
    if (threadIdx.x > 0) return;
    const dt_fold_weight_gradient d = dt_fold_weight_gradient_of(gamma[k], var[k], epsilon, sum);
    if (dgamma) dt_give(&dgamma[k], d.gamma, (int)(fresh & 1u << W_GAMMA));
    if (dvar) dvar[k] += d.var;
}

static dt_status fold_weight_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t filters = node->out->shape.dim[0], count = dt_count(&node->out->shape);

    DT_LAUNCH(fold_weight_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[W]),
              dt_values(node->in[W_GAMMA]), dt_values(node->in[W_STATS]) + filters,
              ((const dt_fold_weight_params *)node->params)->epsilon, count / filters, count, dt_values(node->out));
    return DT_OK;
}

static dt_status fold_weight_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t filters = node->out->shape.dim[0], n = dt_count(&node->out->shape) / filters;
    float *dstats = dt_grads(node->in[W_STATS]);

    DT_LAUNCH(fold_weight_backward_kernel, (unsigned)filters, DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[W]),
              dt_values(node->in[W_GAMMA]), dt_values(node->in[W_STATS]) + filters,
              ((const dt_fold_weight_params *)node->params)->epsilon, n, dt_grads(node->out), dt_grads(node->in[W]),
              dt_grads(node->in[W_GAMMA]), dstats ? dstats + filters : NULL, node->fresh);
    return DT_OK;
}

const dt_kernel dt_cuda_fold_weight = { NULL, fold_weight_forward, fold_weight_backward, NULL,
                                        1u << W | 1u << W_GAMMA };

/* ---- bias ---- */

/* What the kernels need to know of a node; a pointer is NULL where there is no such input. */
typedef struct {
    const float *q, *scale, *gamma, *beta, *stats, *folded, *bias;
    int n_scale;
    float epsilon;
    int64_t rows, channels;
} fold_view;

/* The index of the layer's own bias; 0: it has none. */
static int bias_at(const dt_node *node)
{
    const int at = FOLDED + ((const dt_fold_bias_params *)node->params)->corrects;

    return node->n_in > at ? at : 0;
}

static fold_view fold_look(const dt_node *node)
{
    const dt_fold_bias_params *p = (const dt_fold_bias_params *)node->params;
    const dt_tensor *x = node->in[X];
    const int bias = bias_at(node);
    fold_view v;

    v.q = dt_values(x);
    v.scale = x->scale;
    v.n_scale = x->n_scale;
    v.gamma = dt_values(node->in[GAMMA]);
    v.beta = dt_values(node->in[BETA]);
    v.stats = dt_values(node->in[STATS]);
    v.folded = p->corrects ? dt_values(node->in[FOLDED]) : NULL;
    v.bias = bias ? dt_values(node->in[bias]) : NULL;
    v.epsilon = p->epsilon;
    v.rows = dt_rows(&x->shape);
    v.channels = dt_channels(&x->shape);
    return v;
}

__device__ static dt_fold_channel channel_at(const fold_view &v, int64_t c)
{
    dt_fold_channel k;
    k.gamma = v.gamma[c];
    k.mean = v.stats[c];
    k.var = v.stats[v.channels + c];
    k.folded_var = v.folded ? v.folded[v.channels + c] : NAN;
    k.bias = v.bias ? v.bias[c] : 0.0f;
    k.epsilon = v.epsilon;
    return k;
}

/* one thread for each element */
__global__ static void fold_bias_kernel(fold_view v, float *y)
{
    const int64_t i = dt_thread();
    if (i >= v.rows * v.channels) return;
    const int64_t c = i % v.channels;
    const dt_fold_channel k = channel_at(v, c);

    const float offset = dt_fold_offset(dt_fold_factor(k.gamma, k.var, k.epsilon), k.bias, k.mean, v.beta[c]);
    y[i] = dt_fold_line(dt_scale_at(v.scale, v.n_scale, c), v.q[i], dt_fold_correction_of(&k), offset);
}

/* Gradients of the inputs that have one number a channel; NULL: none is wanted. */
typedef struct {
    float *gamma, *beta, *stats, *bias;
    unsigned fresh;
    int bias_at;
} fold_grads;

/* one thread for each channel */
__global__ static void fold_channels_kernel(fold_view v, const double *sums, int64_t slices, fold_grads to)
{
    const int64_t c = dt_thread();
    if (c >= v.channels) return;
    const dt_fold_channel k = channel_at(v, c);
    double sum_dy, sum_dyq;

    dt_column_sums_add(sums, slices, v.channels, c, &sum_dy, &sum_dyq);
    const dt_fold_gradient d = dt_fold_gradient_of(&k, sum_dy, (double)dt_scale_at(v.scale, v.n_scale, c) * sum_dyq);
    if (to.gamma) dt_give(&to.gamma[c], d.gamma, (int)(to.fresh & 1u << GAMMA));
    if (to.beta) dt_give(&to.beta[c], d.beta, (int)(to.fresh & 1u << BETA));
    if (to.stats) dt_give(&to.stats[c], d.mean, (int)(to.fresh & 1u << STATS));
    if (to.stats) dt_give(&to.stats[v.channels + c], d.var, (int)(to.fresh & 1u << STATS));
    if (to.bias) dt_give(&to.bias[c], d.bias, (int)(to.fresh & 1u << to.bias_at));
}

/* one thread for each element; gives to dx */
__global__ static void fold_pass_kernel(fold_view v, const float *dy, float *dx, int fresh)
{
    const int64_t i = dt_thread();
    if (i >= v.rows * v.channels) return;
    const dt_fold_channel k = channel_at(v, i % v.channels);

    dt_give(&dx[i], dt_fold_correction_of(&k) * dy[i], fresh);
}

static dt_status fold_bias_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_shape *x = &node->in[X]->shape;
    (void)ex;

    *scratch_bytes = (size_t)dt_column_sums_room(dt_rows(x), dt_channels(x)) * sizeof(double);
    return DT_OK;
}

static dt_status fold_bias_forward(const dt_node *node, const dt_exec *ex)
{
    const fold_view v = fold_look(node);

    DT_LAUNCH(fold_bias_kernel, dt_blocks(v.rows * v.channels, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), v,
              dt_values(node->out));
    return DT_OK;
}

static dt_status fold_bias_backward(const dt_node *node, const dt_exec *ex)
{
    const fold_view v = fold_look(node);
    const int bias = bias_at(node);
    const float *dy = dt_grads(node->out);
    float *dx = dt_grads(node->in[X]);
    double *sums = (double *)ex->scratch;
    const fold_grads to = { dt_grads(node->in[GAMMA]),
                            dt_grads(node->in[BETA]),
                            dt_grads(node->in[STATS]),
                            bias ? dt_grads(node->in[bias]) : NULL,
                            node->fresh,
                            bias };

    DT_TRY(dt_column_sums(dy, v.q, v.rows, v.channels, sums, dt_stream_of(ex)));
    DT_LAUNCH(fold_channels_kernel, dt_blocks(v.channels, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), v, sums,
              dt_column_slices(v.rows), to);
    if (!dx) return DT_OK;
    DT_LAUNCH(fold_pass_kernel, dt_blocks(v.rows * v.channels, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), v, dy, dx,
              (int)(node->fresh & 1u << X));
    return DT_OK;
}

const dt_kernel dt_cuda_fold_bias = { fold_bias_prepare, fold_bias_forward, fold_bias_backward, NULL,
                                      1u << X | 1u << GAMMA | 1u << BETA | 1u << STATS | 1u << FOLDED |
                                          1u << (FOLDED + 1) };
