/*
 * bias.cu - CUDA kernels of a bias for each channel; see layers/bias.c.
 *
 * Sums over rows have two stages. Blocks of LANES channels x BLOCK_ROWS rows add up slices of the rows; then one thread
 * for each channel adds the slices. The number of slices depends on the shape alone.
 * Scratch: [slices][C] sums in double.
 */
#include "kernel.h"

#include "../core/grid_facts.h"

enum { X, B };
enum { LANES = 32, BLOCK_ROWS = DT_BLOCK / LANES, MAX_SLICES = 64 };

static int64_t n_slices(int64_t rows)
{
    const int64_t n = (rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
    return n < MAX_SLICES ? n : (int64_t)MAX_SLICES;
}

/* one thread for each element; x's real value is scale * q */
__global__ static void bias_forward_kernel(const float *q, const float *scale, int n_scale, const float *b, float *y,
                                           int64_t count, int64_t channels)
{
    const int64_t i = dt_thread();
    if (i >= count) return;
    const int64_t c = i % channels;

    y[i] = dt_scale_at(scale, n_scale, c) * q[i] + b[c];
}

/* one thread for each element; gives to dx */
__global__ static void pass_kernel(const float *dy, float *dx, int fresh, int64_t count)
{
    const int64_t i = dt_thread();

    if (i < count) dt_give(&dx[i], dy[i], fresh);
}

/* Grid: x channels / LANES, y slices. Thread t owns channel t % LANES of its block and every BLOCK_ROWS-th row of its
 * slice. sums[slice][c] = sum of dy over the slice. */
__global__ static void column_sums_kernel(const float *dy, int64_t rows, int64_t channels, double *sums)
{
    __shared__ double part[DT_BLOCK];
    const int64_t c = (int64_t)blockIdx.x * LANES + threadIdx.x % LANES, step = (int64_t)gridDim.y * BLOCK_ROWS;
    double sum = 0.0;

    for (int64_t r = (int64_t)blockIdx.y * BLOCK_ROWS + threadIdx.x / LANES; c < channels && r < rows; r += step) {
        sum += (double)dy[r * channels + c];
    }
    part[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x >= LANES || c >= channels) return;
    for (int i = 1; i < BLOCK_ROWS; i++) sum += part[i * LANES + threadIdx.x];
    sums[blockIdx.y * channels + c] = sum;
}

/* one thread for each channel; gives to db */
__global__ static void add_slices_kernel(const double *sums, int64_t slices, int64_t channels, float *db, int fresh)
{
    const int64_t c = dt_thread();
    if (c >= channels) return;
    double sum = 0.0;

    for (int64_t s = 0; s < slices; s++) sum += sums[s * channels + c];
    dt_give(&db[c], (float)sum, fresh);
}

static dt_status bias_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_shape *x = &node->in[X]->shape;
    (void)ex;

    *scratch_bytes = (size_t)(n_slices(dt_rows(x)) * dt_channels(x)) * sizeof(double);
    return DT_OK;
}

static dt_status bias_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->in[X];
    const int64_t count = dt_count(&x->shape);

    DT_LAUNCH(bias_forward_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(x), x->scale,
              x->n_scale, dt_values(node->in[B]), dt_values(node->out), count, dt_channels(&x->shape));
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

static dt_status bias_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_shape *shape = &node->in[X]->shape;
    const int64_t count = dt_count(shape), channels = dt_channels(shape), rows = dt_rows(shape);
    const dim3 grid(dt_blocks(channels, LANES), (unsigned)n_slices(rows));
    float *dx = dt_grads(node->in[X]), *db = dt_grads(node->in[B]);
    double *sums = (double *)ex->scratch;

    if (dx) {
        DT_LAUNCH(pass_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_grads(node->out), dx,
                  (int)(node->fresh & 1u << X), count);
        DT_CUDA_LAUNCHED();
    }
    if (!db) return DT_OK;
    DT_LAUNCH(column_sums_kernel, grid, DT_BLOCK, 0, dt_stream_of(ex), dt_grads(node->out), rows, channels, sums);
    DT_CUDA_LAUNCHED();
    DT_LAUNCH(add_slices_kernel, dt_blocks(channels, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), sums, n_slices(rows),
              channels, db, (int)(node->fresh & 1u << B));
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

extern "C" const dt_kernel dt_cuda_bias;
const dt_kernel dt_cuda_bias = { bias_prepare, bias_forward, bias_backward, NULL, 1u << X | 1u << B };
