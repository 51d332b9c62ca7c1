/*
 * batch_stats.cu - CUDA kernels of the statistics of channels; see layers/batch_stats.c.
 *
 * The sums are taken in a frozen step too, because a captured step launches what it launched when it was captured.
 * Scratch: [slices][2][C] sums in double, then, where ranks share the statistics, [2][C] of them and [2][C] floats.
 */
#include "column_sums.h"
#include "norm_sums.h"

#include "../layers/batch_stats.h"
#include "../layers/batchnorm.h"
#include "../core/grid_facts.h"

enum { MEAN, VAR, X };

/* one thread for each channel; sums is NULL where the statistics are the running ones */
__global__ static void statistics_kernel(const dt_step *step, const double *sums, int64_t rows, int64_t slices,
                                         int64_t channels, dt_batch_stats_params p, float *running_mean,
                                         float *running_var, float *stats)
{
    const int64_t c = dt_thread();
    if (c >= channels) return;
    double sum, squares;

    if (!sums || !dt_batch_stats_move(&step->in, &p)) {
        stats[c] = running_mean[c];
        stats[channels + c] = running_var[c];
        return;
    }
    dt_column_sums_add(sums, slices, channels, c, &sum, &squares);
    const dt_batchnorm_moments m = dt_batchnorm_moments_of(sum, squares, rows, 1.0f);
    stats[c] = m.mean;
    stats[channels + c] = m.var;
    running_mean[c] = dt_batchnorm_move(running_mean[c], m.mean, p.momentum);
    running_var[c] = dt_batchnorm_move(running_var[c], m.var_unbiased, p.momentum);
}

/* one thread for each element; gives to dx */
__global__ static void batch_stats_backward_kernel(const dt_step *step, const float *x, const float *stats,
                                                   const float *dstats, int64_t rows, int64_t norm_rows,
                                                   int64_t channels, dt_batch_stats_params p, int training, float *dx,
                                                   int fresh)
{
    const int64_t i = dt_thread();
    if (i >= rows * channels) return;
    const int64_t c = i % channels;

    const dt_batch_stats_slope k = dt_batch_stats_slope_of(dstats[c], dstats[channels + c], norm_rows);
    const float g = training && dt_batch_stats_move(&step->in, &p) ? k.a + k.b * (x[i] - stats[c]) : 0.0f;
    dt_give(&dx[i], g, fresh);
}

/* one thread for each value */
__global__ static void widen_kernel(const float *from, int64_t n, double *to)
{
    const int64_t i = dt_thread();
    if (i < n) to[i] = (double)from[i];
}

/* one thread for each value */
__global__ static void narrow_kernel(const double *from, int64_t n, float *to)
{
    const int64_t i = dt_thread();
    if (i < n) to[i] = (float)from[i];
}

static dt_status batch_stats_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_shape *x = node->n_in > X ? &node->in[X]->shape : NULL;
    (void)ex;

    if (!x) return DT_OK;
    const int64_t shared = dt_norm_room(node, dt_channels(x));
    *scratch_bytes = (size_t)(dt_column_sums_room(dt_rows(x), dt_channels(x)) + shared) * sizeof(double) +
                     (size_t)shared * sizeof(float);
    return DT_OK;
}

static dt_status batch_stats_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t channels = node->out->shape.dim[1], rows = node->n_in > X ? dt_rows(&node->in[X]->shape) : 1;
    const cudaStream_t stream = dt_stream_of(ex);
    double *sums = node->n_in > X && node->purpose.training ? (double *)ex->scratch : NULL;

    int64_t slices = dt_column_slices(rows);
    if (sums) {
        const float *x = dt_values(node->in[X]);
        DT_TRY(dt_column_sums(x, x, rows, channels, sums, stream));
    }
    if (sums && dt_norm_is_shared(node)) {
        double *total = sums + dt_column_sums_room(rows, channels);
        DT_TRY(dt_fold_slices(sums, slices, channels, total, stream));
        DT_TRY(dt_norm_reduce(ex, total, 2 * channels));
        sums = total;
        slices = 1;
    }
    DT_LAUNCH(statistics_kernel, dt_blocks(channels, DT_BLOCK), DT_BLOCK, 0, stream, ex->step, sums,
              dt_norm_rows(node, rows), slices, channels, *(const dt_batch_stats_params *)node->params,
              dt_values(node->in[MEAN]), dt_values(node->in[VAR]), dt_values(node->out));
    return DT_OK;
}

/* The gradients of the statistics: where these are of several ranks, so are those. */
static dt_status share_slopes(const dt_node *node, const dt_exec *ex, int64_t rows, const float **dstats)
{
    const int64_t channels = node->out->shape.dim[1], n = 2 * channels;
    double *total = (double *)ex->scratch + dt_column_sums_room(rows, channels);
    float *narrow = (float *)(total + n);

    DT_LAUNCH(widen_kernel, dt_blocks(n, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), *dstats, n, total);
    DT_TRY(dt_norm_reduce(ex, total, n));
    DT_LAUNCH(narrow_kernel, dt_blocks(n, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), total, n, narrow);
    *dstats = narrow;
    return DT_OK;
}

static dt_status batch_stats_backward(const dt_node *node, const dt_exec *ex)
{
    float *dx = node->n_in > X ? dt_grads(node->in[X]) : NULL;

    if (!dx) return DT_OK;
    const int64_t channels = node->out->shape.dim[1], rows = dt_rows(&node->in[X]->shape);
    const float *dstats = dt_grads(node->out);
    if (node->purpose.training && dt_norm_is_shared(node)) DT_TRY(share_slopes(node, ex, rows, &dstats));
    DT_LAUNCH(batch_stats_backward_kernel, dt_blocks(rows * channels, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              ex->step, dt_values(node->in[X]), dt_values(node->out), dstats, rows, dt_norm_rows(node, rows), channels,
              *(const dt_batch_stats_params *)node->params, node->purpose.training, dx, (int)(node->fresh & 1u << X));
    return DT_OK;
}

const dt_kernel dt_cuda_batch_stats = { batch_stats_prepare, batch_stats_forward, batch_stats_backward, NULL, 1u << X };
