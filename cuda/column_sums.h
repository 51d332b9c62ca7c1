/*
 * column_sums.h - sums over all rows of a map, in double; see layers/column_sums.h.
 *
 * They have two stages. Blocks of DT_COLUMN_LANES channels x DT_COLUMN_ROWS rows add up slices of the rows; then one
 * thread for each channel adds the slices, in a kernel of the reader's. The number of slices depends on the shape
 * alone.
 */
#ifndef DT_CUDA_COLUMN_SUMS_H
#define DT_CUDA_COLUMN_SUMS_H

#include "kernel.h"

enum { DT_COLUMN_LANES = 32, DT_COLUMN_ROWS = DT_BLOCK / DT_COLUMN_LANES, DT_COLUMN_SLICES = 64 /* at most */ };

/* Returns the number of slices of that many rows. */
static inline int64_t dt_column_slices(int64_t rows)
{
    const int64_t n = (rows + DT_COLUMN_ROWS - 1) / DT_COLUMN_ROWS;
    return n < DT_COLUMN_SLICES ? n : (int64_t)DT_COLUMN_SLICES;
}

/* Returns the number of doubles that dt_column_sums needs. */
static inline int64_t dt_column_sums_room(int64_t rows, int64_t channels)
{
    return 2 * dt_column_slices(rows) * channels;
}

/* Grid: x channels / LANES, y slices. Thread t owns channel t % LANES of its block and every ROWS-th row of its slice.
 * sums[slice][0][c] = sum of u over the slice, sums[slice][1][c] = sum of u * v. */
__global__ static void dt_column_sums_kernel(const float *u, const float *v, int64_t rows, int64_t channels,
                                             double *sums)
{
    __shared__ double part[2][DT_BLOCK];
    const int64_t c = (int64_t)blockIdx.x * DT_COLUMN_LANES + threadIdx.x % DT_COLUMN_LANES;
    const int64_t step = (int64_t)gridDim.y * DT_COLUMN_ROWS;
    double sum = 0.0, product = 0.0;

    for (int64_t r = (int64_t)blockIdx.y * DT_COLUMN_ROWS + threadIdx.x / DT_COLUMN_LANES; c < channels && r < rows;
         r += step) {
        const double value = (double)u[r * channels + c];
        sum += value;
        product += value * (double)v[r * channels + c];
    }
    part[0][threadIdx.x] = sum;
    part[1][threadIdx.x] = product;
    __syncthreads();
    if (threadIdx.x >= DT_COLUMN_LANES || c >= channels) return;
    for (int i = 1; i < DT_COLUMN_ROWS; i++) {
        sum += part[0][i * DT_COLUMN_LANES + threadIdx.x];
        product += part[1][i * DT_COLUMN_LANES + threadIdx.x];
    }
    sums[2 * blockIdx.y * channels + c] = sum;
    sums[(2 * blockIdx.y + 1) * channels + c] = product;
}

/* Adds the two sums of a channel over all slices, in order. */
__device__ static inline void dt_column_sums_add(const double *sums, int64_t slices, int64_t channels, int64_t c,
                                                 double *sum, double *product)
{
    *sum = *product = 0.0;
    for (int64_t s = 0; s < slices; s++) {
        *sum += sums[2 * s * channels + c];
        *product += sums[(2 * s + 1) * channels + c];
    }
}

/* Sums u and u * v of each slice into sums, dt_column_sums_room doubles. */
static inline dt_status dt_column_sums(const float *u, const float *v, int64_t rows, int64_t channels, double *sums,
                                       cudaStream_t stream)
{
    const dim3 grid(dt_blocks(channels, DT_COLUMN_LANES), (unsigned)dt_column_slices(rows));

    DT_LAUNCH(dt_column_sums_kernel, grid, DT_BLOCK, 0, stream, u, v, rows, channels, sums);
    return DT_OK;
}

#endif /* DT_CUDA_COLUMN_SUMS_H */
