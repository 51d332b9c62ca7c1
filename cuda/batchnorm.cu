/*
 * batchnorm.cu - CUDA kernels of batch normalisation; see layers/batchnorm.c, and layers/batchnorm.h for the
 *                arithmetic.
 *
 * Sums over rows have two stages. Blocks of LANES channels x BLOCK_ROWS rows add up slices of the rows; then one thread
 * for each channel adds the slices. The number of slices depends on the shape alone.
 * Scratch: [slices][2][C] sums in double, then [C] slopes.
 */
#include "kernel.h"

#include "../layers/batchnorm.h"
#include "../core/grid_facts.h"

enum { X, GAMMA, BETA, MEAN, VAR };
enum { LANES = 32, BLOCK_ROWS = DT_BLOCK / LANES, MAX_SLICES = 64 };

/* What the kernels need to know of x: q[rows][channels], real value scale * q. */
typedef struct {
    const float *q, *scale;
    int n_scale;
    int64_t rows, channels;
} batchnorm_view;

static batchnorm_view batchnorm_look(const dt_node *node)
{
    const dt_tensor *x = node->in[X];
    const batchnorm_view v = { dt_values(x), x->scale, x->n_scale, dt_rows(&x->shape), dt_channels(&x->shape) };
    return v;
}

static int64_t n_slices(int64_t rows)
{
    const int64_t n = (rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
    return n < MAX_SLICES ? n : (int64_t)MAX_SLICES;
}

static dt_batchnorm_slope *slopes_at(double *sums, const batchnorm_view *v)
{
    return (dt_batchnorm_slope *)(sums + 2 * n_slices(v->rows) * v->channels);
}

/* Grid: x channels / LANES, y slices. Thread t owns channel t % LANES of its block and every BLOCK_ROWS-th row of its
 * slice. sums[slice][0][c] = sum of u over the slice, sums[slice][1][c] = sum of u * v. */
__global__ static void column_sums_kernel(const float *u, const float *v, int64_t rows, int64_t channels, double *sums)
{
    __shared__ double part[2][DT_BLOCK];
    const int64_t c = (int64_t)blockIdx.x * LANES + threadIdx.x % LANES, step = (int64_t)gridDim.y * BLOCK_ROWS;
    double sum = 0.0, product = 0.0;

    for (int64_t r = (int64_t)blockIdx.y * BLOCK_ROWS + threadIdx.x / LANES; c < channels && r < rows; r += step) {
        const double value = (double)u[r * channels + c];
        sum += value;
        product += value * (double)v[r * channels + c];
    }
    part[0][threadIdx.x] = sum;
    part[1][threadIdx.x] = product;
    __syncthreads();
    if (threadIdx.x >= LANES || c >= channels) return;
    for (int i = 1; i < BLOCK_ROWS; i++) {
        sum += part[0][i * LANES + threadIdx.x];
        product += part[1][i * LANES + threadIdx.x];
    }
    sums[2 * blockIdx.y * channels + c] = sum;
    sums[(2 * blockIdx.y + 1) * channels + c] = product;
}

/* the two sums of a channel over all slices, in order */
__device__ static void add_slices(const double *sums, int64_t slices, int64_t channels, int64_t c, double *sum,
                                  double *product)
{
    *sum = *product = 0.0;
    for (int64_t s = 0; s < slices; s++) {
        *sum += sums[2 * s * channels + c];
        *product += sums[(2 * s + 1) * channels + c];
    }
}

/* One thread for each channel: mean and inv of the batch, and the running statistics move. */
__global__ static void batch_statistics_kernel(const double *sums, int64_t slices, batchnorm_view v,
                                               dt_batchnorm_params p, float *running_mean, float *running_var,
                                               float *mean, float *inv)
{
    const int64_t c = dt_thread();
    if (c >= v.channels) return;
    double sum, squares;

    add_slices(sums, slices, v.channels, c, &sum, &squares);
    const dt_batchnorm_moments m = dt_batchnorm_moments_of(sum, squares, v.rows, dt_scale_at(v.scale, v.n_scale, c));
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
                                        const float *inv, float *y)
{
    const int64_t i = dt_thread();
    if (i >= v.rows * v.channels) return;
    const int64_t c = i % v.channels;

    const dt_batchnorm_line line =
        dt_batchnorm_fold(gamma[c], beta[c], mean[c], inv[c], dt_scale_at(v.scale, v.n_scale, c));
    y[i] = line.a * v.q[i] + line.b;
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

    add_slices(sums, slices, v.channels, c, &sum_dy, &sum_dyq);
    const double sum_dyx = dt_batchnorm_dgamma(sum_dy, sum_dyq, mean[c], inv[c], scale);
    dt_batchnorm_slope k = dt_batchnorm_slope_of(sum_dy, sum_dyx, v.rows, gamma[c], mean[c], inv[c], scale);
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
    const size_t sums = (size_t)(2 * n_slices(v.rows) * v.channels);
    (void)ex;

    *scratch_bytes = sums * sizeof(double) + (size_t)v.channels * sizeof(dt_batchnorm_slope);
    return DT_OK;
}

static dt_status column_sums(const float *u, const float *v, const batchnorm_view *view, double *sums,
                             cudaStream_t stream)
{
    const dim3 grid(dt_blocks(view->channels, LANES), (unsigned)n_slices(view->rows));

    DT_LAUNCH(column_sums_kernel, grid, DT_BLOCK, 0, stream, u, v, view->rows, view->channels, sums);
    DT_CUDA_LAUNCHED();
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
        DT_TRY(column_sums(v.q, v.q, &v, sums, stream));
        DT_LAUNCH(batch_statistics_kernel, channel_blocks, DT_BLOCK, 0, stream, sums, n_slices(v.rows), v, *p,
                  dt_values(node->in[MEAN]), dt_values(node->in[VAR]), mean, inv);
    } else {
        DT_LAUNCH(running_statistics_kernel, channel_blocks, DT_BLOCK, 0, stream, dt_values(node->in[MEAN]),
                  dt_values(node->in[VAR]), p->epsilon, v.channels, mean, inv);
    }
    DT_CUDA_LAUNCHED();
    DT_LAUNCH(normalise_kernel, dt_blocks(v.rows * v.channels, DT_BLOCK), DT_BLOCK, 0, stream, v,
              dt_values(node->in[GAMMA]), dt_values(node->in[BETA]), mean, inv, dt_values(node->out));
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

static dt_status batchnorm_backward(const dt_node *node, const dt_exec *ex)
{
    const batchnorm_view v = batchnorm_look(node);
    const cudaStream_t stream = dt_stream_of(ex);
    const float *mean = (const float *)node->aux, *inv = mean + v.channels, *dy = dt_grads(node->out);
    double *sums = (double *)ex->scratch;
    dt_batchnorm_slope *slopes = slopes_at(sums, &v);

    DT_TRY(column_sums(dy, v.q, &v, sums, stream));
    DT_LAUNCH(slopes_kernel, dt_blocks(v.channels, DT_BLOCK), DT_BLOCK, 0, stream, sums, n_slices(v.rows), v,
              node->purpose.training, dt_values(node->in[GAMMA]), mean, inv, slopes, dt_grads(node->in[GAMMA]),
              dt_grads(node->in[BETA]), node->fresh);
    DT_CUDA_LAUNCHED();
    if (!dt_grads(node->in[X])) return DT_OK;
    DT_LAUNCH(batchnorm_backward_kernel, dt_blocks(v.rows * v.channels, DT_BLOCK), DT_BLOCK, 0, stream, v, slopes, dy,
              dt_grads(node->in[X]), (int)(node->fresh & 1u << X));
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

extern "C" const dt_kernel dt_cuda_batchnorm;
const dt_kernel dt_cuda_batchnorm = { batchnorm_prepare, batchnorm_forward, batchnorm_backward, NULL,
                                      1u << X | 1u << GAMMA | 1u << BETA };
