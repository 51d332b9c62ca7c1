/*
 * mma.h - products of small matrices of bytes on tensor cores. A warp computes C [16][8] += A [16][16] B [16][8], with
 *         sums of 32 bits.
 *
 * Each lane holds parts of the matrices. With group = lane / 4 and quad = lane % 4, and the first of four elements in
 * the low byte, they are
 *   a[0], a[1]     A[group][4 quad ... 4 quad + 3], A[group + 8][the same]
 *   b              B[4 quad ... 4 quad + 3][group]
 *   c[0] ... c[3]  C[group][2 quad], C[group][2 quad + 1], C[group + 8][2 quad], C[group + 8][2 quad + 1]
 * All 32 lanes must call the functions. They need sm_80 or later. Source: PTX ISA, "Matrix fragments for mma.m16n8k16
 * with integer type".
 *
 * Tests: the SIMT shim has a model of these (tests/simt/tensor_cores.h), which simt/test_intrinsics.cc checks.
 */
#ifndef DT_MMA_H
#define DT_MMA_H

#include <stdint.h>

#include <cuda_runtime.h>

#ifndef SIMT_TENSOR_CORES_H

#define DT_MMA(type)                                                           \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.s32." type                 \
                 ".s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};" \
                 : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])              \
                 : "r"(a[0]), "r"(a[1]), "r"(b))

/* Adds the product of unsigned A and signed B to c. */
__device__ static inline void dt_mma_u8(int32_t c[4], const uint32_t a[2], uint32_t b)
{
    DT_MMA("u8");
}

/* Adds the product of signed A and signed B to c. */
__device__ static inline void dt_mma_s8(int32_t c[4], const uint32_t a[2], uint32_t b)
{
    DT_MMA("s8");
}

#undef DT_MMA

#endif

#endif /* DT_MMA_H */
