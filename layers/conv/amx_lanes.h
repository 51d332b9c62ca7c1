/*
 * amx_lanes.h - vectors of the kernels by tiles: part of a vector, transposing, pairs of bf16.
 */
#ifndef DT_AMX_LANES_H
#define DT_AMX_LANES_H

#include "../../core/tensor.h"
#include "../gemm/amx.h"

#include <immintrin.h>

#define DT_AMX_INLINE static inline __attribute__((always_inline)) DT_AMX_CODE

enum { DT_AMX_LANES = 16 };

/* Returns the least number. */
static inline int64_t dt_amx_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Returns a / b, rounded up. */
static inline int64_t dt_amx_ceiling(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Returns the bytes from row to row of at least `bytes`: an odd number of cache lines, so that the rows of a tile fall
 * into different sets of the cache. */
static inline int64_t dt_amx_pitch(int64_t bytes)
{
    return (dt_amx_ceiling(bytes, 64) | 1) * 64;
}

/* Returns the mask of the first n of 64, 32 or 16 lanes; of all if n is larger. */
DT_AMX_INLINE __mmask64 dt_amx_mask64(int64_t n)
{
    return n >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << n) - 1;
}

DT_AMX_INLINE __mmask32 dt_amx_mask32(int64_t n)
{
    return n >= 32 ? ~(__mmask32)0 : ((__mmask32)1 << n) - 1;
}

DT_AMX_INLINE __mmask16 dt_amx_mask16(int64_t n)
{
    return (__mmask16)(n >= 16 ? 0xffff : (1 << n) - 1);
}

/* Returns up to 16 values as f32; 0 behind them. */
DT_AMX_INLINE __m512 dt_amx_floats(const void *from, int64_t i, dt_dtype type, __mmask16 mask)
{
    switch (type) {
    case DT_U8: return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, (const char *)from + i)));
    case DT_I8: return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, (const char *)from + i)));
    case DT_BF16: {
        const __m512i bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, (const uint16_t *)from + i));
        return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
    }
    default: return _mm512_maskz_loadu_ps(mask, (const float *)from + i);
    }
}

/* Returns words of two bf16, of which the lower one is that of `low`. */
DT_AMX_INLINE __m512i dt_amx_pairs(__m512 low, __m512 high)
{
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, both);
}

/* Transposes 16x16 words: within blocks of 4x4, then the blocks, which are 128 bits each, among themselves. */
DT_AMX_INLINE void dt_amx_transpose(__m512i r[DT_AMX_LANES])
{
    __m512i t[DT_AMX_LANES];

#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        /* blocks 0 1 0 1 and 2 3 2 3 of two rows each */
        const __m512i low_a = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x44);
        const __m512i high_a = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xee);
        const __m512i low_b = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x44);
        const __m512i high_b = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xee);
        t[i] = _mm512_shuffle_i32x4(low_a, low_b, 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(low_a, low_b, 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(high_a, high_b, 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(high_a, high_b, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) r[i] = t[i];
}

#endif /* DT_AMX_LANES_H */
