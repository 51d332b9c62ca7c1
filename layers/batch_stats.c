/*
 * batch_stats.c - mean and variance of a map's channels as values, by which a layer is folded while it trains.
 *
 *   training:   stats = mean and var of the batch (var divided by n)
 *               running = (1 - momentum) * running + momentum * batch (var divided by n - 1 here, as PyTorch does)
 *               dx = dmean / n + dvar * 2 (x - mean) / n
 *   evaluation, and training after params.freeze steps: stats = running, and dx = 0
 *
 * Without x it gives the running statistics as they are when it runs: behind the node that moves them, those after the
 * batch. Sums are in double, in an order that depends on the shape alone.
 *
 * Source: QKeras, QConv2DBatchnorm, whose ema_freeze_delay is params.freeze.
 * Shapes: mean and var C, which are state; x any with channels C last; stats 2,C: the means, then the variances.
 * CUDA: cuda/batch_stats.cu.  Tests: tests/layers/test_batch_stats.c.
 */
#include "batch_stats.h"

#include "../core/grid_facts.h"
#include "../core/op.h"
#include "batchnorm.h"
#include "column_sums.h"
#include "cpu_backend.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

enum { MEAN, VAR, X, N_IN };

static dt_status batch_stats_infer(dt_node *node)
{
    const int64_t channels = dt_count(&node->in[MEAN]->shape);
    const dt_shape *x = node->n_in > X ? &node->in[X]->shape : NULL;
    assert(node->in[MEAN]->type == DT_F32 && node->in[VAR]->type == DT_F32);

    DT_CHECK(dt_count(&node->in[VAR]->shape) == channels, DT_ERR_SHAPE,
             "%s: batch_stats: mean has %lld values, var has %lld", node->name, (long long)channels,
             (long long)dt_count(&node->in[VAR]->shape));
    node->out->shape = (dt_shape){ 2, { 2, channels } };
    if (!x) return DT_OK;
    DT_CHECK(dt_channels(x) == channels, DT_ERR_SHAPE, "%s: batch_stats: x has %lld channels, mean has %lld values",
             node->name, (long long)dt_channels(x), (long long)channels);
    DT_CHECK(node->in[X]->n_scale == 0, DT_ERR_UNSUPPORTED,
             "%s: batch_stats: x is on the grid; take what the layer gives by its real weights", node->name);
    DT_CHECK(!node->purpose.training || dt_norm_rows(node, dt_rows(x)) > 1, DT_ERR_SHAPE,
             "%s: batch_stats: one value a channel has no variance; train with a larger batch", node->name);
    return DT_OK;
}

static const dt_field batch_stats_fields[] = {
    { DT_MEMBER(dt_batch_stats_params, momentum), DT_FLOAT(0, 1) },
    { DT_MEMBER(dt_batch_stats_params, freeze), DT_INT(0, INT_MAX) },
};

static const dt_batch_stats_params batch_stats_defaults = { .momentum = 0.1f };

const dt_op dt_op_batch_stats = {
    .name = "batch_stats",
    .min_in = X,
    .max_in = N_IN,
    .n_in_eval = X,
    DT_OP_PARAMS(dt_batch_stats_params, batch_stats_fields),
    .defaults = &batch_stats_defaults,
    .backward_reads = DT_READS_IN(X) | DT_READS_OUT,
    .infer = batch_stats_infer,
};

/* 1: stats are those of the batch. */
static int moves(const dt_node *node, const dt_exec *ex)
{
    return node->n_in > X && node->purpose.training && dt_batch_stats_move(&ex->step->in, node->params);
}

static dt_status batch_stats_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_shape *x = node->n_in > X ? &node->in[X]->shape : NULL;
    (void)ex;

    if (x) *scratch_bytes = dt_column_sums_room(dt_rows(x), dt_channels(x)) * sizeof(double);
    return DT_OK;
}

static dt_status batch_stats_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_batch_stats_params *p = node->params;
    const int64_t channels = node->out->shape.dim[1];
    float *mean = node->out->data, *var = mean + channels;
    float *running_mean = node->in[MEAN]->data, *running_var = node->in[VAR]->data;
    double *sums = ex->scratch;

    if (!moves(node, ex)) {
        memcpy(mean, running_mean, (size_t)channels * sizeof *mean);
        memcpy(var, running_var, (size_t)channels * sizeof *var);
        return DT_OK;
    }
    const int64_t rows = dt_rows(&node->in[X]->shape), of = dt_norm_rows(node, rows);
    dt_column_sums(node->in[X]->data, node->in[X]->data, rows, channels, sums);
    DT_TRY(dt_cpu_norm_sums(node, ex, sums, 2 * channels));
    for (int64_t c = 0; c < channels; c++) {
        const dt_batchnorm_moments m = dt_batchnorm_moments_of(sums[c], sums[channels + c], of, 1.0f);
        mean[c] = m.mean;
        var[c] = m.var;
        running_mean[c] = dt_batchnorm_move(running_mean[c], m.mean, p->momentum);
        running_var[c] = dt_batchnorm_move(running_var[c], m.var_unbiased, p->momentum);
    }
    return DT_OK;
}

/* The gradients of the statistics: where these are of several ranks, so are those. */
static dt_status take_slopes(const dt_node *node, const dt_exec *ex, int64_t rows, double *slope)
{
    const int64_t channels = node->out->shape.dim[1], of = dt_norm_rows(node, rows);
    const float *dstats = node->out->grad;

    for (int64_t i = 0; i < 2 * channels; i++) slope[i] = (double)dstats[i];
    DT_TRY(dt_cpu_norm_sums(node, ex, slope, 2 * channels));
    for (int64_t c = 0; c < channels; c++) {
        const dt_batch_stats_slope k = dt_batch_stats_slope_of((float)slope[c], (float)slope[channels + c], of);
        slope[c] = (double)k.a;
        slope[channels + c] = (double)k.b;
    }
    return DT_OK;
}

static dt_status batch_stats_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->n_in > X ? node->in[X] : NULL;
    const int64_t channels = node->out->shape.dim[1], rows = x ? dt_rows(&x->shape) : 0;
    const float *mean = node->out->data;
    const float *v = x ? x->data : NULL;
    float *dx = x ? x->grad : NULL;
    double *slope = ex->scratch;
    const int fresh = (int)(node->fresh & 1u << X), live = moves(node, ex);

    if (live) DT_TRY(take_slopes(node, ex, rows, slope));
    if (!dx || (!live && !fresh)) return DT_OK;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < channels; c++) {
            const int64_t i = r * channels + c;
            const float g = live ? (float)slope[c] + (float)slope[channels + c] * (v[i] - mean[c]) : 0.0f;
            dx[i] = fresh ? g : dx[i] + g;
        }
    }
    return DT_OK;
}

const dt_kernel dt_cpu_batch_stats = {
    .prepare = batch_stats_prepare,
    .forward = batch_stats_forward,
    .backward = batch_stats_backward,
    .overwrites = 1u << X,
};
