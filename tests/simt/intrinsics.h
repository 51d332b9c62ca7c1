/*
 * intrinsics.h (SIMT shim) - the arithmetic that CUDA has and C has not: min, max, bits, conversions, rounded
 * operations, dot products of bytes. Results are the GPU's bit for bit, except for rsqrtf.
 */
#ifndef SIMT_INTRINSICS_H
#define SIMT_INTRINSICS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define SIMT_MIN_MAX(type)                 \
    static inline type min(type a, type b) \
    {                                      \
        return b < a ? b : a;              \
    }                                      \
    static inline type max(type a, type b) \
    {                                      \
        return a < b ? b : a;              \
    }

SIMT_MIN_MAX(int)
SIMT_MIN_MAX(unsigned)
SIMT_MIN_MAX(long)
SIMT_MIN_MAX(unsigned long)
SIMT_MIN_MAX(long long)
SIMT_MIN_MAX(unsigned long long)
#undef SIMT_MIN_MAX

static inline float min(float a, float b)
{
    return fminf(a, b);
}

static inline float max(float a, float b)
{
    return fmaxf(a, b);
}

static inline double min(double a, double b)
{
    return fmin(a, b);
}

static inline double max(double a, double b)
{
    return fmax(a, b);
}

template <class To, class From> static inline To simt_bits(From from)
{
    static_assert(sizeof(To) == sizeof(From), "bits are copied, not converted");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

static inline int __float_as_int(float x)
{
    return simt_bits<int>(x);
}

static inline unsigned __float_as_uint(float x)
{
    return simt_bits<unsigned>(x);
}

static inline float __int_as_float(int x)
{
    return simt_bits<float>(x);
}

static inline float __uint_as_float(unsigned x)
{
    return simt_bits<float>(x);
}

/* cvt.rni.s32.f32 and its kin: half to even or toward zero, then clamped to the range; NaN gives 0 */
static inline int __float2int_rn(float x)
{
    if (x != x) return 0;
    return x >= 2147483648.0f ? INT32_MAX : x < -2147483648.0f ? INT32_MIN : static_cast<int>(rintf(x));
}

static inline int __float2int_rz(float x)
{
    if (x != x) return 0;
    return x >= 2147483648.0f ? INT32_MAX : x < -2147483648.0f ? INT32_MIN : static_cast<int>(x);
}

static inline unsigned __float2uint_rn(float x)
{
    if (!(x > 0.0f)) return 0;
    return x >= 4294967296.0f ? UINT32_MAX : static_cast<unsigned>(rintf(x));
}

static inline float __int2float_rn(int x)
{
    return static_cast<float>(x);
}

static inline float __uint2float_rn(unsigned x)
{
    return static_cast<float>(x);
}

static inline float __double2float_rn(double x)
{
    return static_cast<float>(x);
}

/* the rounded operations that nvcc never contracts into a fused multiply-add */
static inline float __fadd_rn(float a, float b)
{
    return a + b;
}

static inline float __fsub_rn(float a, float b)
{
    return a - b;
}

static inline float __fmul_rn(float a, float b)
{
    return a * b;
}

static inline float __fdiv_rn(float a, float b)
{
    return a / b;
}

static inline float __fsqrt_rn(float x)
{
    return sqrtf(x);
}

static inline float __fmaf_rn(float a, float b, float c)
{
    return fmaf(a, b, c);
}

static inline double __dadd_rn(double a, double b)
{
    return a + b;
}

static inline double __dmul_rn(double a, double b)
{
    return a * b;
}

static inline float __saturatef(float x)
{
    return fminf(fmaxf(x, 0.0f), 1.0f); /* NaN gives 0, as on the GPU */
}

/* within 2 units in the last place of the GPU's, not equal to it */
static inline float rsqrtf(float x)
{
    return 1.0f / sqrtf(x);
}

static inline unsigned __umulhi(unsigned a, unsigned b)
{
    return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32);
}

static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}

static inline int __clz(int x)
{
    return x ? __builtin_clz(static_cast<unsigned>(x)) : 32;
}

static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}

/* four products of 8-bit lanes, added to c, which wraps */
static inline int __dp4a(int a, int b, int c)
{
    unsigned sum = static_cast<unsigned>(c);
    for (int shift = 0; shift < 32; shift += 8) {
        sum += static_cast<unsigned>(static_cast<int8_t>(a >> shift) * static_cast<int8_t>(b >> shift));
    }
    return static_cast<int>(sum);
}

static inline unsigned __dp4a(unsigned a, unsigned b, unsigned c)
{
    for (int shift = 0; shift < 32; shift += 8) c += (a >> shift & 0xff) * (b >> shift & 0xff);
    return c;
}

#endif /* SIMT_INTRINSICS_H */
