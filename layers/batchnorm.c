/*
 * batchnorm.c - batch normalisation over every axis but the last.
 *
 *   xhat = (x - mean) / sqrt(var + epsilon),  y = gamma * xhat + beta
 *   training:   mean and var of the batch (var divided by n)
 *               running = (1 - momentum) * running + momentum * batch (var divided by n - 1 here, as PyTorch does)
 *               dbeta = sum dy,  dgamma = sum dy * xhat
 *               dx = gamma / sqrt(var + epsilon) * (dy - dbeta / n - xhat * dgamma / n)
 *   evaluation: the running mean and var;  dx = gamma / sqrt(var + epsilon) * dy
 *
 * x may be a grid tensor (a psum). The sums are then those of its integers, and y leaves the grid. All sums are in
 * double. The sum of integers is exact, and so is that of their squares below 2^53 (2^17 rows of magnitudes below
 * 2^18). On the CPU double costs nothing, because reading x from memory takes longer. The order of the sums depends on
 * the shape alone.
 *
 * Source: Ioffe, Szegedy, "Batch normalization", ICML 2015, algorithms 1 and 2.
 * Shapes: x and y any with channels C last; gamma, beta, mean, var: C.  aux: mean[C], 1/sqrt(var + epsilon)[C], f32.
 * Arithmetic per channel: batchnorm.h.  CUDA: cuda/batchnorm.cu.  Tests: tests/layers/test_batchnorm.c.
 */
#include "batchnorm.h"

#include "../core/op.h"
#include "../core/grid_facts.h"
#include "column_sums.h"
#include "cpu_backend.h"

#include <assert.h>

enum { X, GAMMA, BETA, MEAN, VAR, N_IN };

static dt_status batchnorm_infer(dt_node *node)
{
    static const char *const names[N_IN] = { "x", "gamma", "beta", "mean", "var" };
    const dt_batchnorm_params *p = node->params;
    const dt_shape *x = &node->in[X]->shape;
    const int64_t channels = dt_channels(x);
    char text[64];
    assert(node->in[X]->type == DT_F32);

    for (int k = GAMMA; k < N_IN; k++) {
        DT_CHECK(dt_count(&node->in[k]->shape) == channels, DT_ERR_SHAPE,
                 "%s: batchnorm: %s has %lld values, x has %lld channels", node->name, names[k],
                 (long long)dt_count(&node->in[k]->shape), (long long)channels);
    }
    DT_CHECK(!node->purpose.training || dt_norm_rows(node, dt_rows(x)) > 1, DT_ERR_SHAPE,
             "%s: batchnorm: x is %s, and one value a channel has no variance; train with a larger batch", node->name,
             dt_shape_text(x, text, sizeof text));
    DT_CHECK(p->epsilon > 0.0f, DT_ERR_ARGUMENT, "%s: batchnorm: epsilon is %g, must be above 0", node->name,
             (double)p->epsilon);
    node->out->shape = *x;
    node->aux_bytes = (size_t)(2 * channels) * sizeof(float);
    return DT_OK;
}

static const dt_field batchnorm_fields[] = {
    { DT_MEMBER(dt_batchnorm_params, epsilon), DT_FLOAT(0, 1) },
    { DT_MEMBER(dt_batchnorm_params, momentum), DT_FLOAT(0, 1) },
};

static const dt_batchnorm_params batchnorm_defaults = { .epsilon = 1e-5f, .momentum = 0.1f };

const dt_op dt_op_batchnorm = {
    .name = "batchnorm",
    .min_in = N_IN,
    .max_in = N_IN,
    DT_OP_PARAMS(dt_batchnorm_params, batchnorm_fields),
    .defaults = &batchnorm_defaults,
    .backward_reads = DT_READS_IN(X) | DT_READS_IN(GAMMA) | DT_READS_AUX,
    .infer = batchnorm_infer,
};

/* Scratch: the column sums, then four numbers a channel. */
static dt_status batchnorm_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_shape *x = &node->in[X]->shape;
    const size_t channels = (size_t)dt_channels(x);
    (void)ex;
    *scratch_bytes = dt_column_sums_room(dt_rows(x), (int64_t)channels) * sizeof(double) + 4 * channels * sizeof(float);
    return DT_OK;
}

/* Batch statistics from their sums; the running ones move. */
static void take_batch_statistics(const dt_node *node, const double *sums, float *mean, float *inv)
{
    const dt_batchnorm_params *p = node->params;
    const dt_tensor *x = node->in[X];
    const int64_t channels = dt_channels(&x->shape), rows = dt_norm_rows(node, dt_rows(&x->shape));
    float *running_mean = node->in[MEAN]->data, *running_var = node->in[VAR]->data;

    for (int64_t c = 0; c < channels; c++) {
        const float scale = dt_scale_at(x->scale, x->n_scale, c);
        const dt_batchnorm_moments m = dt_batchnorm_moments_of(sums[c], sums[channels + c], rows, scale);
        mean[c] = m.mean;
        inv[c] = dt_batchnorm_inv(m.var, p->epsilon);
        running_mean[c] = dt_batchnorm_move(running_mean[c], m.mean, p->momentum);
        running_var[c] = dt_batchnorm_move(running_var[c], m.var_unbiased, p->momentum);
    }
}

static void take_running_statistics(const dt_node *node, float *mean, float *inv)
{
    const dt_batchnorm_params *p = node->params;
    const float *running_mean = node->in[MEAN]->data, *running_var = node->in[VAR]->data;
    const int64_t channels = dt_channels(&node->in[X]->shape);

    for (int64_t c = 0; c < channels; c++) {
        mean[c] = running_mean[c];
        inv[c] = dt_batchnorm_inv(running_var[c], p->epsilon);
    }
}

/* y may be q. */
static void map_row(const float *q, const float *restrict a, const float *restrict b, int64_t channels, float *y)
{
#pragma omp simd
    for (int64_t c = 0; c < channels; c++) y[c] = a[c] * q[c] + b[c];
}

static dt_status batchnorm_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->in[X];
    const int64_t channels = dt_channels(&x->shape), rows = dt_rows(&x->shape);
    const float *q = x->data, *gamma = node->in[GAMMA]->data, *beta = node->in[BETA]->data;
    float *y = node->out->data, *mean = node->aux, *inv = mean + channels;
    double *sums = ex->scratch;
    float *a = (float *)(sums + dt_column_sums_room(rows, channels)), *b = a + channels;

    if (node->purpose.training) {
        dt_column_sums(q, q, rows, channels, sums);
        DT_TRY(dt_cpu_norm_sums(node, ex, sums, 2 * channels));
        take_batch_statistics(node, sums, mean, inv);
    } else {
        take_running_statistics(node, mean, inv);
    }
    for (int64_t c = 0; c < channels; c++) {
        const float scale = dt_scale_at(x->scale, x->n_scale, c);
        const dt_batchnorm_line line = dt_batchnorm_fold(gamma[c], beta[c], mean[c], inv[c], scale);
        a[c] = line.a;
        b[c] = line.b;
    }
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) map_row(q + r * channels, a, b, channels, y + r * channels);
    return DT_OK;
}

/* What one pass over dx needs: [C] each, the fields of dt_batchnorm_slope. */
typedef struct {
    float *a, *mean_dy, *centre, *slope;
} slope_arrays;

/* The sum of dy * xhat over channel c. */
static double slope_sum(const dt_node *node, const double *sums, int64_t c)
{
    const dt_tensor *x = node->in[X];
    const int64_t channels = dt_channels(&x->shape);
    const float *mean = node->aux, *inv = mean + channels;
    const float scale = dt_scale_at(x->scale, x->n_scale, c);

    return dt_batchnorm_dgamma(sums[c], sums[channels + c], mean[c], inv[c], scale);
}

/* dgamma and dbeta: of this rank's sums, since all ranks' gradients are summed later. */
static void give_gradients(const dt_node *node, const double *sums)
{
    const int64_t channels = dt_channels(&node->in[X]->shape);
    float *dgamma = node->in[GAMMA]->grad, *dbeta = node->in[BETA]->grad;

    for (int64_t c = 0; c < channels; c++) {
        if (dgamma) dgamma[c] = (float)slope_sum(node, sums, c) + (node->fresh & 1u << GAMMA ? 0.0f : dgamma[c]);
        if (dbeta) dbeta[c] = (float)sums[c] + (node->fresh & 1u << BETA ? 0.0f : dbeta[c]);
    }
}

static void take_slopes(const dt_node *node, const double *sums, slope_arrays out)
{
    const dt_tensor *x = node->in[X];
    const int64_t channels = dt_channels(&x->shape), rows = dt_norm_rows(node, dt_rows(&x->shape));
    const float *gamma = node->in[GAMMA]->data, *mean = node->aux, *inv = mean + channels;

    for (int64_t c = 0; c < channels; c++) {
        const float scale = dt_scale_at(x->scale, x->n_scale, c);
        const dt_batchnorm_slope k =
            dt_batchnorm_slope_of(sums[c], slope_sum(node, sums, c), rows, gamma[c], mean[c], inv[c], scale);
        out.a[c] = k.a;
        out.mean_dy[c] = node->purpose.training ? k.mean_dy : 0.0f;
        out.centre[c] = k.centre;
        out.slope[c] = node->purpose.training ? k.slope : 0.0f;
    }
}

/* dx may be dy. */
static void slope_row(const float *q, const float *dy, slope_arrays k, int64_t channels, int fresh, float *dx)
{
    const float *restrict a = k.a, *restrict mean_dy = k.mean_dy, *restrict centre = k.centre,
                          *restrict slope = k.slope;

#pragma omp simd
    for (int64_t c = 0; c < channels; c++) {
        const float g = a[c] * (dy[c] - mean_dy[c] - (q[c] - centre[c]) * slope[c]);
        dx[c] = fresh ? g : dx[c] + g;
    }
}

static dt_status batchnorm_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_shape *shape = &node->in[X]->shape;
    const int64_t channels = dt_channels(shape), rows = dt_rows(shape);
    const float *q = node->in[X]->data, *dy = node->out->grad;
    float *dx = node->in[X]->grad;
    double *sums = ex->scratch;
    float *room = (float *)(sums + dt_column_sums_room(rows, channels));
    const slope_arrays k = { room, room + channels, room + 2 * channels, room + 3 * channels };

    dt_column_sums(dy, q, rows, channels, sums);
    give_gradients(node, sums);
    if (node->purpose.training) DT_TRY(dt_cpu_norm_sums(node, ex, sums, 2 * channels));
    take_slopes(node, sums, k);
    if (!dx) return DT_OK;
    const int fresh = node->fresh & 1u << X;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        slope_row(q + r * channels, dy + r * channels, k, channels, fresh, dx + r * channels);
    }
    return DT_OK;
}

const dt_kernel dt_cpu_batchnorm = {
    .prepare = batchnorm_prepare,
    .forward = batchnorm_forward,
    .backward = batchnorm_backward,
    .overwrites = 1u << X | 1u << GAMMA | 1u << BETA,
    .in_place = 1,
};
