/*
 * reduce.h - one value of those of a block's threads, and sums in double whose order depends on the shapes alone, so
 *            that two runs, and two kinds of GPU, give equal bits. Each block of a fixed grid writes one partial sum;
 *            then one block, or one thread, adds those.
 */
#ifndef DT_REDUCE_H
#define DT_REDUCE_H

#include "kernel.h"

enum { DT_REDUCE_BLOCKS = 256 }; /* blocks of a fixed grid: a few for each multiprocessor of the largest GPUs */

/* Returns the values of the DT_BLOCK threads of a block, joined two by two. Every thread of the block must call it. */
template <typename T, T (*JOIN)(T, T)> __device__ static inline T dt_block_join(T value)
{
    __shared__ T part[DT_BLOCK];

    part[threadIdx.x] = value;
    __syncthreads();
    for (unsigned half = DT_BLOCK / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) part[threadIdx.x] = JOIN(part[threadIdx.x], part[threadIdx.x + half]);
        __syncthreads();
    }
    const T joined = part[0];
    __syncthreads(); /* part may be used again by the next call */
    return joined;
}

__device__ static inline double dt_sum_of_two(double a, double b)
{
    return a + b;
}

/* Returns the sum over the DT_BLOCK threads of a block. Every thread of the block must call it. */
__device__ static inline double dt_block_sum(double value)
{
    return dt_block_join<double, dt_sum_of_two>(value);
}

#endif /* DT_REDUCE_H */
