/*
 * cuda_runtime.h (SIMT shim) - lets g++ compile our .cu kernels and run them on the CPU, so that every kernel is
 * tested on every machine: g++ -std=c++17 -x c++ -I tests/simt.
 *
 * Blocks run one after another; the threads of a block run in turn from one wait to the next. So shared memory,
 * barriers, warp operations, returned threads and the order of additions are as on a GPU. Static __shared__ variables
 * keep what the last block left in them. Not modelled: races inside a barrier interval (set_order() in simt.h shows
 * many), threads that spin for each other, __activemask(), approximate intrinsics, inline PTX (but see tensor_cores.h),
 * clusters, textures.
 *
 * This file: the words of the device language. intrinsics.h: its arithmetic. cuda_runtime_api.h: the host functions.
 * simt.h: launches and the scheduler.
 */
#ifndef SIMT_CUDA_RUNTIME_H
#define SIMT_CUDA_RUNTIME_H

#include "cuda_runtime_api.h"

#ifdef __cplusplus

#include <type_traits>

#include "intrinsics.h"
#include "simt.h"
#include "tensor_cores.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__  inline
#define __shared__       static
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define __grid_constant__

/* cuda/launch.h has nvcc's side of the first. A kernel with commas of its own goes in parentheses. */
#define DT_START(kernel, grid, block, shared_bytes, stream, ...) \
    simt::launcher<(kernel)>(#kernel, grid, block, shared_bytes, stream)(__VA_ARGS__)
#define DT_DYNAMIC_SHARED(type, name) type *const name = static_cast<type *>(simt::dynamic_shared())

/* Threads: the block, then the warp. */

#define SIMT_TEXT_OF(x) #x
#define SIMT_TEXT(x)    SIMT_TEXT_OF(x)
#define __syncthreads() simt::barrier(__FILE__ ":" SIMT_TEXT(__LINE__))

static const int warpSize = simt::WARP;

/* nothing is reordered here: each thread's writes are seen as soon as they are made */
static inline void __threadfence()
{
}

static inline void __threadfence_block()
{
}

static inline void __syncwarp(unsigned mask = 0xffffffffu)
{
    simt::warp_sync(mask);
}

static inline unsigned __ballot_sync(unsigned mask, int predicate)
{
    return simt::warp_ballot(mask, predicate != 0);
}

static inline int __any_sync(unsigned mask, int predicate)
{
    return simt::warp_ballot(mask, predicate != 0) != 0;
}

static inline int __all_sync(unsigned mask, int predicate)
{
    return simt::warp_ballot(mask, predicate == 0) == 0;
}

/* Shuffles. The warp is cut in segments of `width` lanes, a power of two; a lane whose source lies outside its own
 * segment gets its own value (xor may reach back into an earlier segment). */

template <class T> static inline T __shfl_sync(unsigned mask, T value, int source, int width = simt::WARP)
{
    const unsigned in_segment = static_cast<unsigned>(width) - 1;
    return simt::shuffle(mask, value, (simt::lane() & ~in_segment) | (static_cast<unsigned>(source) & in_segment));
}

template <class T> static inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = simt::WARP)
{
    const unsigned l = simt::lane(), in_segment = l & (static_cast<unsigned>(width) - 1);
    return simt::shuffle(mask, value, delta > in_segment ? l : l - delta);
}

template <class T> static inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = simt::WARP)
{
    const unsigned l = simt::lane(), in_segment = l & (static_cast<unsigned>(width) - 1);
    return simt::shuffle(mask, value, in_segment + delta >= static_cast<unsigned>(width) ? l : l + delta);
}

template <class T> static inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = simt::WARP)
{
    const unsigned l = simt::lane(), source = l ^ static_cast<unsigned>(lane_mask);
    return simt::shuffle(mask, value, source > (l | (static_cast<unsigned>(width) - 1)) ? l : source);
}

/* Atomics: one thread runs at a time, so reading and writing is enough. All return the old value. */

template <class T> struct simt_operand {
    static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long> ||
                      std::is_same_v<T, float> || std::is_same_v<T, double>,
                  "CUDA has no atomic operation on this type");
    using type = T; /* not deduced: atomicAdd(&counter, 1) works whatever the counter's type */
};

#define SIMT_ATOMIC(name, result)                                                        \
    template <class T> static inline T name(T *at, typename simt_operand<T>::type value) \
    {                                                                                    \
        const T old = *at;                                                               \
        *at = result;                                                                    \
        return old;                                                                      \
    }

SIMT_ATOMIC(atomicAdd, static_cast<T>(old + value))
SIMT_ATOMIC(atomicSub, static_cast<T>(old - value))
SIMT_ATOMIC(atomicMax, old < value ? value : old)
SIMT_ATOMIC(atomicMin, value < old ? value : old)
SIMT_ATOMIC(atomicOr, (old | value))
SIMT_ATOMIC(atomicAnd, (old & value))
SIMT_ATOMIC(atomicExch, value)
#undef SIMT_ATOMIC

template <class T>
static inline T atomicCAS(T *at, typename simt_operand<T>::type expected, typename simt_operand<T>::type value)
{
    const T old = *at;
    if (old == expected) *at = value;
    return old;
}

template <class T> static inline T __ldg(const T *at)
{
    return *at;
}

/* The runtime API's C++ overloads. */

template <class T> static inline cudaError_t cudaMalloc(T **at, size_t size)
{
    return cudaMalloc(reinterpret_cast<void **>(at), size);
}

template <class T> static inline cudaError_t cudaMallocHost(T **at, size_t size)
{
    return cudaMallocHost(reinterpret_cast<void **>(at), size);
}

template <class... P>
static inline cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), enum cudaFuncAttribute attr, int value)
{
    return cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel), attr, value);
}

#endif /* __cplusplus */

#endif /* SIMT_CUDA_RUNTIME_H */
