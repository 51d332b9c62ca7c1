/*
 * norm_fold.c - a batch norm folded into its layer while it trains: the weights' part, and the bias's.
 *
 *   fold_weight: w'[k,..] = gamma[k] / sqrt(var[k] + epsilon) * w[k,..]
 *   fold_bias:   y = x * correction + gamma / sqrt(var + epsilon) * (b - mean) + beta,  of each channel
 *                correction = sqrt(folded + epsilon) / sqrt(var + epsilon) where params.corrects is 1, else 1
 *
 * mean and var are those of stats; folded is the variance by which the weights of x were folded. So x may be the sums
 * of codes of weights that were folded by running statistics, and y is normalised by the batch's all the same. Where
 * the two statistics are equal, the correction is 1 to the bit, and y is what BIAS computes.
 *
 * Gradients, with inv = 1 / sqrt(var + epsilon):
 *   fold_weight: dw = gamma inv dw',  dgamma = inv sum dw' w,  dvar = -1/2 inv^2 gamma inv sum dw' w
 *   fold_bias:   dx = correction dy,  dbeta = sum dy,  db = gamma inv sum dy,  dmean = -db,
 *                dgamma = inv (b - mean) sum dy,  dvar = -1/2 inv^2 (correction sum dy x + gamma inv (b - mean) sum dy)
 * The fifth input of fold_bias gets no gradient: running statistics have none.
 *
 * Source: QKeras, QConv2DBatchnorm (folding_mode); Jacob et al., "Quantization and Training of Neural Networks for
 * Efficient Integer-Arithmetic-Only Inference", 2018, section 3.2; Krishnamoorthi, "Quantizing deep convolutional
 * networks", 2018, section 3.2.2.
 * Shapes: w K,..; x and y ..,C, where x may be psums; gamma, beta, b C; stats and folded 2,C (layers/batch_stats.c).
 * CUDA: cuda/norm_fold.cu.  Tests: tests/quant/test_norm_fold.c.
 */
#include "norm_fold.h"

#include "../core/grid_facts.h"
#include "../core/op.h"
#include "../layers/column_sums.h"

#include <assert.h>
#include <math.h>

enum { W, W_GAMMA, W_STATS };
enum { X, GAMMA, BETA, STATS, FOLDED /* or, where x is not corrected, the layer's own bias */ };

/* ---- weights ---- */

static dt_status fold_weight_infer(dt_node *node)
{
    const dt_tensor *w = node->in[W];
    const int64_t filters = w->shape.dim[0];
    const dt_fold_weight_params *p = node->params;
    assert(w->type == DT_F32);

    DT_CHECK(w->shape.ndim >= 2 && w->n_scale == 0, DT_ERR_SHAPE, "%s: fold_weight wants real filters K,..",
             node->name);
    DT_CHECK(dt_count(&node->in[W_GAMMA]->shape) == filters && dt_count(&node->in[W_STATS]->shape) == 2 * filters,
             DT_ERR_SHAPE, "%s: fold_weight: gamma has %lld values and stats %lld, for %lld filters", node->name,
             (long long)dt_count(&node->in[W_GAMMA]->shape), (long long)dt_count(&node->in[W_STATS]->shape),
             (long long)filters);
    DT_CHECK(p->epsilon > 0.0f, DT_ERR_ARGUMENT, "%s: fold_weight: epsilon is %g, must be above 0", node->name,
             (double)p->epsilon);
    node->out->shape = w->shape;
    return DT_OK;
}

static const dt_field fold_weight_fields[] = { { DT_MEMBER(dt_fold_weight_params, epsilon), DT_FLOAT(0, 1) } };
static const dt_fold_weight_params fold_weight_defaults = { .epsilon = 1e-5f };

const dt_op dt_op_fold_weight = {
    .name = "fold_weight",
    .min_in = 3,
    .max_in = 3,
    DT_OP_PARAMS(dt_fold_weight_params, fold_weight_fields),
    .defaults = &fold_weight_defaults,
    .backward_reads = DT_READS_IN(W) | DT_READS_IN(W_GAMMA) | DT_READS_IN(W_STATS),
    .infer = fold_weight_infer,
};

static dt_status fold_weight_forward(const dt_node *node, const dt_exec *ex)
{
    const float epsilon = ((const dt_fold_weight_params *)node->params)->epsilon;
    const int64_t filters = node->out->shape.dim[0], n = dt_count(&node->out->shape) / filters;
    const float *w = node->in[W]->data, *gamma = node->in[W_GAMMA]->data;
    const float *var = (const float *)node->in[W_STATS]->data + filters;
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t k = 0; k < filters; k++) {
        const float factor = dt_fold_factor(gamma[k], var[k], epsilon);
        for (int64_t i = k * n; i < (k + 1) * n; i++) y[i] = factor * w[i];
    }
    return DT_OK;
}

static double dot(const float *a, const float *b, int64_t n)
{
    double sum = 0.0;

    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

static dt_status fold_weight_backward(const dt_node *node, const dt_exec *ex)
{
    const float epsilon = ((const dt_fold_weight_params *)node->params)->epsilon;
    const int64_t filters = node->out->shape.dim[0], n = dt_count(&node->out->shape) / filters;
    const float *w = node->in[W]->data, *gamma = node->in[W_GAMMA]->data, *dy = node->out->grad;
    const float *var = (const float *)node->in[W_STATS]->data + filters;
    float *dw = node->in[W]->grad, *dgamma = node->in[W_GAMMA]->grad, *dstats = node->in[W_STATS]->grad;
    const int fresh_w = (int)(node->fresh & 1u << W), fresh_gamma = (int)(node->fresh & 1u << W_GAMMA);
    (void)ex;

#pragma omp parallel for
    for (int64_t k = 0; k < filters; k++) {
        const float factor = dt_fold_factor(gamma[k], var[k], epsilon);
        const dt_fold_weight_gradient d =
            dt_fold_weight_gradient_of(gamma[k], var[k], epsilon, dot(dy + k * n, w + k * n, n));
        for (int64_t i = k * n; dw && i < (k + 1) * n; i++) dw[i] = factor * dy[i] + (fresh_w ? 0.0f : dw[i]);
        if (dgamma) dgamma[k] = d.gamma + (fresh_gamma ? 0.0f : dgamma[k]);
        if (dstats) dstats[filters + k] += d.var;
    }
    return DT_OK;
}

const dt_kernel dt_cpu_fold_weight = { .forward = fold_weight_forward,
                                       .backward = fold_weight_backward,
                                       .overwrites = 1u << W | 1u << W_GAMMA };

/* ---- bias ---- */

static dt_status fold_bias_infer(dt_node *node)
{
    static const char *const names[] = { "x", "gamma", "beta", "stats", "the fifth input", "bias" };
    const dt_fold_bias_params *p = node->params;
    const dt_tensor *x = node->in[X];
    const int64_t channels = dt_channels(&x->shape);
    const int most = 5 + p->corrects;
    assert(x->type == DT_F32);

    DT_CHECK(node->n_in == most || node->n_in == most - 1, DT_ERR_ARGUMENT,
             "%s: fold_bias takes %d inputs, or %d with a bias, got %d", node->name, most - 1, most, node->n_in);
    for (int k = GAMMA; k < node->n_in; k++) {
        const int is_stats = k == STATS || (k == FOLDED && p->corrects);
        const int64_t n = dt_count(&node->in[k]->shape);
        DT_CHECK(n == (is_stats ? 2 : 1) * channels && node->in[k]->n_scale == 0, DT_ERR_SHAPE,
                 "%s: fold_bias: %s has %lld real values, expected %lld for %lld channels", node->name, names[k],
                 node->in[k]->n_scale ? 0LL : (long long)n, (long long)((is_stats ? 2 : 1) * channels),
                 (long long)channels);
    }
    DT_CHECK(!p->corrects || !node->in[FOLDED]->wants_grad, DT_ERR_UNSUPPORTED,
             "%s: fold_bias: the fifth input is trained, and must be running statistics", node->name);
    DT_CHECK(x->n_scale <= 1 || x->n_scale == channels, DT_ERR_SHAPE, "%s: fold_bias: %d scales for %lld channels",
             node->name, x->n_scale, (long long)channels);
    DT_CHECK(p->epsilon > 0.0f, DT_ERR_ARGUMENT, "%s: fold_bias: epsilon is %g, must be above 0", node->name,
             (double)p->epsilon);
    node->out->shape = x->shape;
    return DT_OK;
}

static const dt_field fold_bias_fields[] = {
    { DT_MEMBER(dt_fold_bias_params, epsilon), DT_FLOAT(0, 1) },
    { DT_MEMBER(dt_fold_bias_params, corrects), DT_INT(0, 1) },
};
static const dt_fold_bias_params fold_bias_defaults = { .epsilon = 1e-5f };

const dt_op dt_op_fold_bias = {
    .name = "fold_bias",
    .min_in = 4,
    .max_in = 6,
    DT_OP_PARAMS(dt_fold_bias_params, fold_bias_fields),
    .defaults = &fold_bias_defaults,
    .backward_reads =
        DT_READS_IN(X) | DT_READS_IN(GAMMA) | DT_READS_IN(STATS) | DT_READS_IN(FOLDED) | DT_READS_IN(FOLDED + 1),
    .infer = fold_bias_infer,
};

/* The index of the layer's own bias; 0: it has none. */
static int bias_at(const dt_node *node)
{
    const int at = FOLDED + ((const dt_fold_bias_params *)node->params)->corrects;

    return node->n_in > at ? at : 0;
}

static dt_fold_channel channel_at(const dt_node *node, int64_t c)
{
    const dt_fold_bias_params *p = node->params;
    const int64_t channels = dt_channels(&node->in[X]->shape);
    const float *stats = node->in[STATS]->data;
    const int bias = bias_at(node);

    return (dt_fold_channel){ .gamma = ((const float *)node->in[GAMMA]->data)[c],
                              .mean = stats[c],
                              .var = stats[channels + c],
                              .folded_var = p->corrects ? ((const float *)node->in[FOLDED]->data)[channels + c] : NAN,
                              .bias = bias ? ((const float *)node->in[bias]->data)[c] : 0.0f,
                              .epsilon = p->epsilon };
}

/* Scratch: the column sums, then two numbers a channel. */
static dt_status fold_bias_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_shape *x = &node->in[X]->shape;
    const int64_t channels = dt_channels(x);
    (void)ex;

    *scratch_bytes = dt_column_sums_room(dt_rows(x), channels) * sizeof(double) + 2 * (size_t)channels * sizeof(float);
    return DT_OK;
}

static void map_row(const dt_tensor *x, const float *restrict q, const float *restrict correction,
                    const float *restrict offset, int64_t channels, float *restrict y)
{
    for (int64_t c = 0; c < channels; c++) {
        y[c] = dt_fold_line(dt_scale_at(x->scale, x->n_scale, c), q[c], correction[c], offset[c]);
    }
}

static dt_status fold_bias_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->in[X];
    const int64_t channels = dt_channels(&x->shape), rows = dt_rows(&x->shape);
    const float *q = x->data, *beta = node->in[BETA]->data;
    float *y = node->out->data;
    float *correction = ex->scratch, *offset = correction + channels;

    for (int64_t c = 0; c < channels; c++) {
        const dt_fold_channel k = channel_at(node, c);
        correction[c] = dt_fold_correction_of(&k);
        offset[c] = dt_fold_offset(dt_fold_factor(k.gamma, k.var, k.epsilon), k.bias, k.mean, beta[c]);
    }
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) map_row(x, q + r * channels, correction, offset, channels, y + r * channels);
    return DT_OK;
}

static void pass_row(const float *restrict dy, const float *restrict correction, int64_t channels, int fresh,
                     float *restrict dx)
{
    for (int64_t c = 0; c < channels; c++) dx[c] = correction[c] * dy[c] + (fresh ? 0.0f : dx[c]);
}

/* *at becomes value, or grows by it. */
static void give(float *at, float value, int fresh)
{
    *at = fresh ? value : *at + value;
}

static void give_channel(const dt_node *node, int64_t c, const dt_fold_gradient *d)
{
    const int64_t channels = dt_channels(&node->in[X]->shape);
    float *dgamma = node->in[GAMMA]->grad, *dbeta = node->in[BETA]->grad, *dstats = node->in[STATS]->grad;
    const int bias = bias_at(node);
    float *db = bias ? node->in[bias]->grad : NULL;

    if (dgamma) give(&dgamma[c], d->gamma, (int)(node->fresh & 1u << GAMMA));
    if (dbeta) give(&dbeta[c], d->beta, (int)(node->fresh & 1u << BETA));
    if (dstats) give(&dstats[c], d->mean, (int)(node->fresh & 1u << STATS));
    if (dstats) give(&dstats[channels + c], d->var, (int)(node->fresh & 1u << STATS));
    if (db) give(&db[c], d->bias, (int)(node->fresh & 1u << bias));
}

static dt_status fold_bias_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->in[X];
    const int64_t channels = dt_channels(&x->shape), rows = dt_rows(&x->shape);
    const float *q = x->data, *dy = node->out->grad;
    float *dx = x->grad;
    double *sums = ex->scratch;
    float *correction = (float *)(sums + dt_column_sums_room(rows, channels));
    const int fresh = (int)(node->fresh & 1u << X);

    dt_column_sums(dy, q, rows, channels, sums);
    for (int64_t c = 0; c < channels; c++) {
        const dt_fold_channel k = channel_at(node, c);
        const double scale = (double)dt_scale_at(x->scale, x->n_scale, c);
        const dt_fold_gradient d = dt_fold_gradient_of(&k, sums[c], scale * sums[channels + c]);
        correction[c] = dt_fold_correction_of(&k);
        give_channel(node, c, &d);
    }
    if (!dx) return DT_OK;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        pass_row(dy + r * channels, correction, channels, fresh, dx + r * channels);
    }
    return DT_OK;
}

const dt_kernel dt_cpu_fold_bias = { .prepare = fold_bias_prepare,
                                     .forward = fold_bias_forward,
                                     .backward = fold_bias_backward,
                                     .overwrites = 1u << X | 1u << GAMMA | 1u << BETA | 1u << STATS | 1u << FOLDED |
                                                   1u << (FOLDED + 1) };
