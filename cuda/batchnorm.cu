/*
 * batchnorm.cu - CUDA kernels of batch normalisation; see layers/batchnorm.c, and layers/batchnorm.h for the
 *                arithmetic, and column_sums.h for the sums over rows.
 *
 * Scratch: [slices][2][C] sums in double, then [2][C] of them where ranks share the statistics, then [C] slopes.
 */
#include "column_sums.h"
#include "norm_sums.h"
#include "pack.h"

#include "../layers/batchnorm.h"
#include "../core/grid_facts.h"

enum { X, GAMMA, BETA, MEAN, VAR };

/* What the kernels need to know of x: q[rows][channels], real value scale * q. */
typedef struct {
    const float *q, *scale;
    int n_scale;
    int64_t rows, channels;
    int64_t norm_rows; /* over which the statistics are: rows of all ranks, where they share them */
} batchnorm_view;

static batchnorm_view batchnorm_look(const dt_node *node)
{
    const dt_tensor *x = node->in[X];
    const int64_t rows = dt_rows(&x->shape);
    const batchnorm_view v = {
        dt_values(x), x->scale, x->n_scale, rows, dt_channels(&x->shape), dt_norm_rows(node, rows)
    };
    return v;
}

static double *total_at(double *sums, const batchnorm_view *v)
{
    return sums + dt_column_sums_room(v->rows, v->channels);
}

static dt_batchnorm_slope *slopes_at(double *sums, const dt_node *node, const batchnorm_view *v)
{
    return (dt_batchnorm_slope *)(total_at(sums, v) + dt_norm_room(node, v->channels));
}

/* One thread for each channel: mean and inv of the batch, and the running statistics move. */
__global__ static void batch_statistics_kernel(const double *sums, int64_t slices, batchnorm_view v,
                                               dt_batchnorm_params p, float *running_mean, float *running_var,
                                               float *mean, float *inv)
{
    const int64_t c = dt_thread();
    if (c >= v.channels) return;
    double sum, squares;

    dt_column_sums_add(sums, slices, v.channels, c, &sum, &squares);
    const dt_batchnorm_moments m =
        dt_batchnorm_moments_of(sum, squares, v.norm_rows, dt_scale_at(v.scale, v.n_scale, c));
    mean[c] = m.mean;
    inv[c] = dt_batchnorm_inv(m.var, p.epsilon);
    running_mean[c] = dt_batchnorm_move(running_mean[c], m.mean, p.momentum);
    running_var[c] = dt_batchnorm_move(running_var[c], m.var_unbiased, p.momentum);
}

/* one thread for each channel */
__global__ static void running_statistics_kernel(const float *running_mean, const float *running_var, float epsilon,
                                                 int64_t channels, float *mean, float *inv)
{
    const int64_t c = dt_thread();
    if (c >= channels) return;

    mean[c] = running_mean[c];
    inv[c] = dt_batchnorm_inv(running_var[c], epsilon);
}

/* one thread for each element */
__global__ static void normalise_kernel(batchnorm_view v, const float *gamma, const float *beta, const float *mean,
                                        const float *inv, void *y, dt_dtype type)
{
    const int64_t i = dt_thread();
    if (i >= v.rows * v.channels) return;
    const int64_t c = i % v.channels;

    const dt_batchnorm_line line =
        dt_batchnorm_fold(gamma[c], beta[c], mean[c], inv[c], dt_scale_at(v.scale, v.n_scale, c));
    dt_value_store(y, type, i, line.a * v.q[i] + line.b);
}

/* One thread for each channel: what dx needs; gives to dgamma and dbeta where they are not NULL. fresh: the node's. */
__global__ static void slopes_kernel(const double *sums, int64_t slices, batchnorm_view v, int training,
                                     const float *gamma, const float *mean, const float *inv,
                                     dt_batchnorm_slope *slopes, float *dgamma, float *dbeta, unsigned fresh)
{
    const int64_t c = dt_thread();
    if (c >= v.channels) return;
    const float scale = dt_scale_at(v.scale, v.n_scale, c);
    double sum_dy, sum_dyq;

    dt_column_sums_add(sums, slices, v.channels, c, &sum_dy, &sum_dyq);
    const double sum_dyx = dt_batchnorm_dgamma(sum_dy, sum_dyq, mean[c], inv[c], scale);
    dt_batchnorm_slope k = dt_batchnorm_slope_of(sum_dy, sum_dyx, v.norm_rows, gamma[c], mean[c], inv[c], scale);
    if (!training) k.mean_dy = k.slope = 0.0f;
    slopes[c] = k;
    if (dgamma) dt_give(&dgamma[c], (float)sum_dyx, (int)(fresh & 1u << GAMMA));
    if (dbeta) dt_give(&dbeta[c], (float)sum_dy, (int)(fresh & 1u << BETA));
}

/* one thread for each element; gives to dx */
__global__ static void batchnorm_backward_kernel(batchnorm_view v, const dt_batchnorm_slope *slopes, const float *dy,
                                                 float *dx, int fresh)
{
    const int64_t i = dt_thread();
    if (i >= v.rows * v.channels) return;
    const dt_batchnorm_slope k = slopes[i % v.channels];

    dt_give(&dx[i], k.a * (dy[i] - k.mean_dy - (v.q[i] - k.centre) * k.slope), fresh);
}

static dt_status batchnorm_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const batchnorm_view v = batchnorm_look(node);
    const size_t sums = (size_t)(dt_column_sums_room(v.rows, v.channels) + dt_norm_room(node, v.channels));
    (void)ex;

    *scratch_bytes = sums * sizeof(double) + (size_t)v.channels * sizeof(dt_batchnorm_slope);
    return DT_OK;
}

static dt_status batchnorm_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_batchnorm_params *p = (const dt_batchnorm_params *)node->params;
    const batchnorm_view v = batchnorm_look(node);
    const cudaStream_t stream = dt_stream_of(ex);
    const unsigned channel_blocks = dt_blocks(v.channels, DT_BLOCK);
    float *mean = (float *)node->aux, *inv = mean + v.channels;
    double *sums = (double *)ex->scratch;

    if (node->purpose.training) {
        int64_t slices = dt_column_slices(v.rows);
        DT_TRY(dt_column_sums(v.q, v.q, v.rows, v.channels, sums, stream));
        if (dt_norm_is_shared(node)) {
            double *total = total_at(sums, &v);
            DT_TRY(dt_fold_slices(sums, slices, v.channels, total, stream));
            DT_TRY(dt_norm_reduce(ex, total, 2 * v.channels));
            sums = total;
            slices = 1;
        }
        DT_LAUNCH(batch_statistics_kernel, channel_blocks, DT_BLOCK, 0, stream, sums, slices, v, *p,
                  dt_values(node->in[MEAN]), dt_values(node->in[VAR]), mean, inv);
    } else {
        DT_LAUNCH(running_statistics_kernel, channel_blocks, DT_BLOCK, 0, stream, dt_values(node->in[MEAN]),
                  dt_values(node->in[VAR]), p->epsilon, v.channels, mean, inv);
    }
    DT_LAUNCH(normalise_kernel, dt_blocks(v.rows * v.channels, DT_BLOCK), DT_BLOCK, 0, stream, v,
              dt_values(node->in[GAMMA]), dt_values(node->in[BETA]), mean, inv, node->out->data, node->out->type);
    return DT_OK;
}

/* gives: to dgamma and dbeta too */
static dt_status slopes(const dt_node *node, const dt_exec *ex, const double *sums, int64_t slices, int gives)
{
    const batchnorm_view v = batchnorm_look(node);
    const float *mean = (const float *)node->aux, *inv = mean + v.channels;

    DT_LAUNCH(slopes_kernel, dt_blocks(v.channels, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), sums, slices, v,
              node->purpose.training, dt_values(node->in[GAMMA]), mean, inv, slopes_at((double *)ex->scratch, node, &v),
              gives ? dt_grads(node->in[GAMMA]) : NULL, gives ? dt_grads(node->in[BETA]) : NULL, node->fresh);
    return DT_OK;
}

/* dgamma and dbeta are of this rank's sums, since all ranks' gradients are summed later. */
static dt_status take_slopes(const dt_node *node, const dt_exec *ex, const batchnorm_view *v)
{
    double *sums = (double *)ex->scratch, *total = total_at(sums, v);

    DT_TRY(slopes(node, ex, sums, dt_column_slices(v->rows), 1));
    if (!node->purpose.training || !dt_norm_is_shared(node)) return DT_OK;
    DT_TRY(dt_fold_slices(sums, dt_column_slices(v->rows), v->channels, total, dt_stream_of(ex)));
    DT_TRY(dt_norm_reduce(ex, total, 2 * v->channels));
    return slopes(node, ex, total, 1, 0);
}

static dt_status batchnorm_backward(const dt_node *node, const dt_exec *ex)
{
    const batchnorm_view v = batchnorm_look(node);
    const cudaStream_t stream = dt_stream_of(ex);
    const float *dy = dt_grads(node->out);

    DT_TRY(dt_column_sums(dy, v.q, v.rows, v.channels, (double *)ex->scratch, stream));
    DT_TRY(take_slopes(node, ex, &v));
    if (!dt_grads(node->in[X])) return DT_OK;
    DT_LAUNCH(batchnorm_backward_kernel, dt_blocks(v.rows * v.channels, DT_BLOCK), DT_BLOCK, 0, stream, v,
              slopes_at((double *)ex->scratch, node, &v), dy, dt_grads(node->in[X]), (int)(node->fresh & 1u << X));
    return DT_OK;
}

const dt_kernel dt_cuda_batchnorm = {
    batchnorm_prepare, batchnorm_forward, batchnorm_backward, NULL, 1u << X | 1u << GAMMA | 1u << BETA, DT_READS_OUT, 0
};
