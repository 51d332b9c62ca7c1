/*
 * half.h - 16-bit floats as bits: bf16 (the upper half of an f32) and fp16 (IEEE binary16), rounded half to even.
 *
 * CPU and CUDA share this header. Equal inputs give equal bits on both, but for a NaN, which stays a NaN. A GPU
 * converts in one instruction, which is written here in PTX, so that core includes no header of CUDA. Integers are
 * exact up to 256 in bf16 and up to 2,048 in fp16. fp16 overflows to infinity from 65,520 on and is subnormal below
 * 2^-14. Tests: tests/core/test_half.c.
 */
#ifndef DT_HALF_H
#define DT_HALF_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "rng.h" /* DT_HD */

/* Returns the bits of x. */
static inline DT_HD uint32_t dt_float_bits(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Returns the float with these bits. */
static inline DT_HD float dt_float_of_bits(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Rounds x to bf16, half to even, and returns its bits. */
static inline DT_HD uint16_t dt_to_bf16(float x)
{
#ifdef __CUDA_ARCH__
    uint16_t half;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(half) : "f"(x));
    return half;
#else
    const uint32_t bits = dt_float_bits(x);

    if (x != x) return (uint16_t)(bits >> 16 | 0x40); /* a quiet NaN: rounding could make it infinity */
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
#endif
}

/* Returns the value of a bf16, exactly. */
static inline DT_HD float dt_from_bf16(uint16_t x)
{
    return dt_float_of_bits((uint32_t)x << 16);
}

/* Rounds x to fp16, half to even, and returns its bits. */
static inline DT_HD uint16_t dt_to_fp16(float x)
{
#ifdef __CUDA_ARCH__
    uint16_t half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(x));
    return half;
#else
    const uint32_t bits = dt_float_bits(x), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;

    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65,520 and above */
    if (magnitude < 0x38800000u) {
        /* The last bit of 0.5 is worth 2^-24, as that of a subnormal fp16; so adding 0.5 rounds to one. */
        const float sum = dt_float_of_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (dt_float_bits(sum) - 0x3f000000u));
    }
    return (uint16_t)(sign | (magnitude - 0x38000000u + 0xfff + (magnitude >> 13 & 1)) >> 13);
#endif
}

/* Returns the value of an fp16, exactly. */
static inline DT_HD float dt_from_fp16(uint16_t x)
{
#ifdef __CUDA_ARCH__
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x));
    return wide;
#else
    const uint32_t sign = (uint32_t)(x & 0x8000u) << 16, magnitude = x & 0x7fffu;

    if (magnitude >= 0x7c00u) return dt_float_of_bits(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    if (magnitude >= 0x400u) return dt_float_of_bits(sign | ((magnitude << 13) + 0x38000000u));
    const float value = (float)magnitude * 0x1p-24f;
    return sign ? -value : value;
#endif
}

#endif /* DT_HALF_H */
