/*
 * cuda_bf16.h (SIMT shim) - bfloat16, the upper half of a float: storage and conversions, no arithmetic of its own.
 *
 * Conversion to bfloat16 rounds to nearest, half to even.
 */
#ifndef SIMT_CUDA_BF16_H
#define SIMT_CUDA_BF16_H

#include "cuda_runtime.h"

struct __nv_bfloat16 {
    uint16_t bits;

    __nv_bfloat16() = default;
    __nv_bfloat16(float x)
    {
        const uint32_t wide = simt_bits<uint32_t>(x);
        bits = x != x ? 0x7fff : static_cast<uint16_t>((wide + 0x7fffu + (wide >> 16 & 1u)) >> 16);
    }
    operator float() const
    {
        return simt_bits<float>(static_cast<uint32_t>(bits) << 16);
    }
};
typedef __nv_bfloat16 nv_bfloat16;

struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};
typedef __nv_bfloat162 nv_bfloat162;

static inline __nv_bfloat16 __float2bfloat16_rn(float x)
{
    return __nv_bfloat16(x);
}

static inline __nv_bfloat16 __float2bfloat16(float x)
{
    return __nv_bfloat16(x);
}

static inline float __bfloat162float(__nv_bfloat16 x)
{
    return x;
}

static inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y)
{
    return { __nv_bfloat16(x), __nv_bfloat16(y) };
}

static inline __nv_bfloat162 __float22bfloat162_rn(float2 v)
{
    return { __nv_bfloat16(v.x), __nv_bfloat16(v.y) };
}

static inline float2 __bfloat1622float2(__nv_bfloat162 v)
{
    return { v.x, v.y };
}

static inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits)
{
    return simt_bits<__nv_bfloat16>(bits);
}

static inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x)
{
    return x.bits;
}

#endif /* SIMT_CUDA_BF16_H */
