/*
 * reduce.h - sums in double whose order depends on the shapes alone, so that two runs, and two kinds of GPU, give equal
 *            bits. Each block of a fixed grid writes one partial sum; then one block, or one thread, adds those.
 */
#ifndef DT_REDUCE_H
#define DT_REDUCE_H

#include "kernel.h"

enum { DT_REDUCE_BLOCKS = 256 }; /* blocks of a fixed grid: a few for each multiprocessor of the largest GPUs */

/* Returns the sum over the DT_BLOCK threads of a block. Every thread of the block must call it. */
__device__ static inline double dt_block_sum(double value)
{
    __shared__ double part[DT_BLOCK];

    part[threadIdx.x] = value;
    __syncthreads();
    for (unsigned half = DT_BLOCK / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
        __syncthreads();
    }
    const double sum = part[0];
    __syncthreads(); /* part may be used again by the next call */
    return sum;
}

#endif /* DT_REDUCE_H */
