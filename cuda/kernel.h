/*
 * kernel.h - what every .cu file needs: the headers of core/, launches, and the number of a thread.
 *
 * Kernels run on blocks of DT_BLOCK threads. Where a kernel's comment says "one thread for each", the surplus threads
 * of the last block return.
 */
#ifndef DT_KERNEL_H
#define DT_KERNEL_H

#include "cuda_check.h"
#include "launch.h"

extern "C" {
#include "../core/op.h"

/* The kernels that the files of this folder define, for the table of cuda_backend.c. */
#define XX(upper, lower, stem) extern const dt_kernel dt_cuda_##lower;
DT_OP_MAP(XX)
#undef XX
}

enum { DT_BLOCK = 256 };

/* Stands before a loop with a large body, because several rounds at once would take too many registers. */
#ifdef __CUDACC__
#define DT_NO_UNROLL _Pragma("unroll 1")
#else
#define DT_NO_UNROLL
#endif

/* Returns the stream of ex. */
static inline cudaStream_t dt_stream_of(const dt_exec *ex)
{
    return (cudaStream_t)ex->stream;
}

/* Returns the data of an F32 tensor. */
static inline float *dt_values(const dt_tensor *t)
{
    return (float *)t->data;
}

/* Returns the number of the thread in a one-dimensional launch. */
__device__ static inline int64_t dt_thread()
{
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

/* Adds value to the gradient *at, or overwrites it where it is fresh. */
__device__ static inline void dt_give(float *at, float value, int fresh)
{
    *at = fresh ? value : *at + value;
}

/* Elements that a thread loads before it works on the first. With one at a time, it would mostly wait for memory. */
enum { DT_AT_ONCE = 4 };

/* Sets to[k] = from[i + k * DT_BLOCK], or 0 where that index is n or above. */
__device__ static inline void dt_load_some(float to[DT_AT_ONCE], const float *from, int i, int n)
{
    for (int k = 0; k < DT_AT_ONCE; k++) to[k] = i + k * DT_BLOCK < n ? from[i + k * DT_BLOCK] : 0.0f;
}

/* Returns the number of threads of a one-dimensional launch, which is the step of a loop that a fixed grid shares. */
__device__ static inline int64_t dt_threads()
{
    return (int64_t)gridDim.x * blockDim.x;
}

#endif /* DT_KERNEL_H */
