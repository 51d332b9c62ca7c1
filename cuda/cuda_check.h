/*
 * cuda_check.h - turns CUDA failures into dt_status, and computes the size of grids.
 */
#ifndef DT_CUDA_CHECK_H
#define DT_CUDA_CHECK_H

#include <stdint.h>

#include <cuda_runtime.h>

#include "detent/status.h"

/* Returns from the calling function with DT_ERR_DEVICE if a call of the CUDA runtime fails. The runtime keeps the error
 * of a failed call, so it is cleared here; else the next launch would report it as its own. */
#define DT_CUDA(call)                                                                                        \
    do {                                                                                                     \
        const cudaError_t dt_cuda_ = (call);                                                                 \
        if (dt_cuda_ != cudaSuccess) (void)cudaGetLastError();                                               \
        DT_CHECK(dt_cuda_ == cudaSuccess, DT_ERR_DEVICE, "%s: %s (%s)", #call, cudaGetErrorString(dt_cuda_), \
                 cudaGetErrorName(dt_cuda_));                                                                \
    } while (0)

/* Stands behind every launch, in DT_LAUNCH, and reports a bad launch configuration where it was made. */
#define DT_CUDA_LAUNCHED() DT_CUDA(cudaGetLastError())

/* Returns the number of blocks of `block` threads that cover `threads` threads. threads must be > 0, because a launch
 * of no blocks fails. */
static inline unsigned dt_blocks(int64_t threads, int block)
{
    return (unsigned)((threads + block - 1) / block);
}

#endif /* DT_CUDA_CHECK_H */
