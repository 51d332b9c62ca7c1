/*
 * kernel.h - what every .cu file needs: the contracts of core/, launches, and the place of a thread.
 *
 * Kernels run on blocks of DT_BLOCK threads. Where a kernel says "one thread for each", the last block is ragged and
 * its surplus threads return.
 */
#ifndef DT_KERNEL_H
#define DT_KERNEL_H

#include "cuda_check.h"
#include "launch.h"

extern "C" {
#include "../core/op.h"
}

enum { DT_BLOCK = 256 };

/* Before a loop with a large body: several rounds at once would take too many registers. */
#ifdef __CUDACC__
#define DT_NO_UNROLL _Pragma("unroll 1")
#else
#define DT_NO_UNROLL
#endif

static inline cudaStream_t dt_stream_of(const dt_exec *ex)
{
    return (cudaStream_t)ex->stream;
}

static inline float *dt_values(const dt_tensor *t)
{
    return (float *)t->data;
}

/* place of the thread in the whole of a one-dimensional launch */
__device__ static inline int64_t dt_thread()
{
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

/* For a gradient of which the kernel may be the first part: *at += value, or *at = value where it is fresh. */
__device__ static inline void dt_give(float *at, float value, int fresh)
{
    *at = fresh ? value : *at + value;
}

/* Elements that a thread loads before it works on the first: one at a time, it would mostly wait for memory. */
enum { DT_AT_ONCE = 4 };

/* to[k] = from[i + k * DT_BLOCK], 0 from n on */
__device__ static inline void dt_load_some(float to[DT_AT_ONCE], const float *from, int i, int n)
{
    for (int k = 0; k < DT_AT_ONCE; k++) to[k] = i + k * DT_BLOCK < n ? from[i + k * DT_BLOCK] : 0.0f;
}

/* threads in the whole of a one-dimensional launch: the step of a loop that a fixed grid shares */
__device__ static inline int64_t dt_threads()
{
    return (int64_t)gridDim.x * blockDim.x;
}

#endif /* DT_KERNEL_H */
