/*
 * cuda_check.h - turns CUDA failures into dt_status, and sizes grids.
 */
#ifndef DT_CUDA_CHECK_H
#define DT_CUDA_CHECK_H

#include <stdint.h>

#include <cuda_runtime.h>

#include "detent/status.h"

/* The runtime keeps the error of a failed call; it is taken here, or the next launch would report it as its own. */
#define DT_CUDA(call)                                                                                        \
    do {                                                                                                     \
        const cudaError_t dt_cuda_ = (call);                                                                 \
        if (dt_cuda_ != cudaSuccess) (void)cudaGetLastError();                                               \
        DT_CHECK(dt_cuda_ == cudaSuccess, DT_ERR_DEVICE, "%s: %s (%s)", #call, cudaGetErrorString(dt_cuda_), \
                 cudaGetErrorName(dt_cuda_));                                                                \
    } while (0)

/* After every launch: catches a bad launch configuration where it was made. */
#define DT_CUDA_LAUNCHED() DT_CUDA(cudaGetLastError())

/* Blocks of `block` threads that cover `threads`, which is > 0: a grid of no blocks is a failed launch. */
static inline unsigned dt_blocks(int64_t threads, int block)
{
    return (unsigned)((threads + block - 1) / block);
}

#endif /* DT_CUDA_CHECK_H */
