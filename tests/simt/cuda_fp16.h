/*
 * cuda_fp16.h (SIMT shim) - IEEE half precision: storage and conversions, no arithmetic of its own.
 *
 * 1 sign, 5 exponent, 10 fraction bits; conversion to half rounds to nearest, half to even, and overflows to infinity.
 */
#ifndef SIMT_CUDA_FP16_H
#define SIMT_CUDA_FP16_H

#include "cuda_runtime.h"

static inline uint16_t simt_half_of_float(float x)
{
    const uint32_t bits = simt_bits<uint32_t>(x), magnitude = bits & 0x7fffffffu;
    const uint32_t sign = bits >> 16 & 0x8000u;

    if (magnitude > 0x7f800000u) return 0x7fff;                                 /* NaN: CUDA drops its sign */
    if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u); /* from 65520 on: infinity */
    if (magnitude < 0x38800000u) {                                              /* below 2^-14: subnormal */
        /* a float in 0.5..1 counts in steps of 2^-24, and so does a subnormal half: the addition rounds for us */
        const float shifted = simt_bits<float>(magnitude) + 0.5f;
        return static_cast<uint16_t>(sign | (simt_bits<uint32_t>(shifted) - 0x3f000000u));
    }
    const uint32_t rebiased = magnitude - (112u << 23); /* exponent bias 127 -> 15 */
    return static_cast<uint16_t>(sign | (rebiased + 0xfffu + (rebiased >> 13 & 1u)) >> 13);
}

static inline float simt_float_of_half(uint16_t half)
{
    const uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31u, fraction = half & 0x3ffu;

    if (exponent == 31) return simt_bits<float>(sign | 0x7f800000u | fraction << 13);
    if (exponent == 0) return (sign ? -0x1p-24f : 0x1p-24f) * static_cast<float>(fraction);
    return simt_bits<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

struct __half {
    uint16_t bits;

    __half() = default;
    __half(float x) : bits(simt_half_of_float(x))
    {
    }
    operator float() const
    {
        return simt_float_of_half(bits);
    }
};
typedef __half half;

struct alignas(4) __half2 {
    __half x, y;
};
typedef __half2 half2;

static inline __half __float2half_rn(float x)
{
    return __half(x);
}

static inline __half __float2half(float x)
{
    return __half(x);
}

static inline float __half2float(__half x)
{
    return x;
}

static inline __half2 __floats2half2_rn(float x, float y)
{
    return { __half(x), __half(y) };
}

static inline __half2 __float22half2_rn(float2 v)
{
    return { __half(v.x), __half(v.y) };
}

static inline float2 __half22float2(__half2 v)
{
    return { v.x, v.y };
}

static inline __half __ushort_as_half(unsigned short bits)
{
    return simt_bits<__half>(bits);
}

static inline unsigned short __half_as_ushort(__half x)
{
    return x.bits;
}

#endif /* SIMT_CUDA_FP16_H */
