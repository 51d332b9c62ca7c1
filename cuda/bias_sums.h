/*
 * bias_sums.h - the gradient of a bias for each channel, and passing a gradient on; BIAS, BIAS_RELU and BIAS_SQUASH
 *               share them.
 *
 * Sums over rows have two stages. Blocks of DT_BIAS_LANES channels x DT_BIAS_ROWS rows add up slices of the rows; then
 * one thread for each channel adds the slices. The number of slices depends on the shape alone.
 */
#ifndef DT_BIAS_SUMS_H
#define DT_BIAS_SUMS_H

#include "pack.h"

#include "../core/grid_facts.h"

enum { DT_BIAS_LANES = 32, DT_BIAS_ROWS = DT_BLOCK / DT_BIAS_LANES, DT_BIAS_SLICES = 64 /* at most */ };

/* Returns the number of slices of that many rows. */
static inline int64_t dt_bias_slices(int64_t rows)
{
    const int64_t n = (rows + DT_BIAS_ROWS - 1) / DT_BIAS_ROWS;
    return n < DT_BIAS_SLICES ? n : (int64_t)DT_BIAS_SLICES;
}

/* Returns the bytes of scratch that dt_bias_sums needs: [slices][C] sums in double. */
static inline size_t dt_bias_sums_bytes(const dt_shape *shape)
{
    return (size_t)(dt_bias_slices(dt_rows(shape)) * dt_channels(shape)) * sizeof(double);
}

/* Returns 1 if the gradient behind the bias is computed in dx itself. */
static inline int dt_bias_has_own_dx(const dt_node *node)
{
    return node->in[0]->grad && node->fresh & 1u;
}

/* Is prepare of a bias with an operation behind it: room for the sums, and for the gradient where dx cannot hold it. */
static inline dt_status dt_bias_prepare_behind(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_shape *x = &node->in[0]->shape;

    *scratch_bytes = dt_bias_sums_bytes(x);
    if (ex->training && !dt_bias_has_own_dx(node)) *scratch_bytes += (size_t)dt_count(x) * sizeof(float);
    return DT_OK;
}

/* Values of F32 or BF16. */
typedef struct {
    void *at;
    dt_dtype type;
} dt_bias_values;

/* One thread for each element; gives to dx. */
__global__ static void dt_bias_pass_kernel(dt_bias_values dy, dt_bias_values dx, int fresh, int64_t count)
{
    const int64_t i = dt_thread();

    if (i < count) dt_value_give(dx.at, dx.type, i, dt_value_load(dy.at, dy.type, i), fresh);
}

/* Grid: x channels / LANES, y slices. Thread t owns channel t % LANES of its block and every ROWS-th row of its slice.
 * sums[slice][c] = sum of dy over the slice. */
__global__ static void dt_bias_slices_kernel(dt_bias_values dy, int64_t rows, int64_t channels, double *sums)
{
    __shared__ double part[DT_BLOCK];
    const int64_t c = (int64_t)blockIdx.x * DT_BIAS_LANES + threadIdx.x % DT_BIAS_LANES;
    const int64_t step = (int64_t)gridDim.y * DT_BIAS_ROWS;
    double sum = 0.0;

    for (int64_t r = (int64_t)blockIdx.y * DT_BIAS_ROWS + threadIdx.x / DT_BIAS_LANES; c < channels && r < rows;
         r += step) {
        sum += (double)dt_value_load(dy.at, dy.type, r * channels + c);
    }
    part[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x >= DT_BIAS_LANES || c >= channels) return;
    for (int i = 1; i < DT_BIAS_ROWS; i++) sum += part[i * DT_BIAS_LANES + threadIdx.x];
    sums[blockIdx.y * channels + c] = sum;
}

/* One thread for each channel; gives to db. */
__global__ static void dt_bias_give_kernel(const double *sums, int64_t slices, int64_t channels, float *db, int fresh)
{
    const int64_t c = dt_thread();
    if (c >= channels) return;
    double sum = 0.0;

    for (int64_t s = 0; s < slices; s++) sum += sums[s * channels + c];
    dt_give(&db[c], (float)sum, fresh);
}

/* Gives the column sums of dy to db. */
static inline dt_status dt_bias_sums(dt_bias_values dy, const dt_shape *shape, double *sums, int fresh, float *db,
                                     cudaStream_t stream)
{
    const int64_t channels = dt_channels(shape), rows = dt_rows(shape), slices = dt_bias_slices(rows);
    const dim3 grid(dt_blocks(channels, DT_BIAS_LANES), (unsigned)slices);

    DT_LAUNCH(dt_bias_slices_kernel, grid, DT_BLOCK, 0, stream, dy, rows, channels, sums);
    DT_LAUNCH(dt_bias_give_kernel, dt_blocks(channels, DT_BLOCK), DT_BLOCK, 0, stream, sums, slices, channels, db,
              fresh);
    return DT_OK;
}

#endif /* DT_BIAS_SUMS_H */
