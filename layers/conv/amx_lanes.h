/*
 * amx_lanes.h - vectors of the kernels by tiles, of which some lanes may be missing.
 */
#ifndef DT_AMX_LANES_H
#define DT_AMX_LANES_H

#include "../../core/tensor.h"
#include "../gemm/amx.h"
#include "words512.h"

#include <math.h>

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

/* Tiles 0 to 3 begin at 0, or else at the four tiles of sums. */
DT_AMX_INLINE void dt_amx_begin_sums(const float *sums, int starts)
{
    if (starts) {
        DT_AMX_ZERO(0);
        DT_AMX_ZERO(1);
        DT_AMX_ZERO(2);
        DT_AMX_ZERO(3);
    } else {
        DT_AMX_LOAD(0, sums, DT_AMX_ROW_BYTES);
        DT_AMX_LOAD(1, sums + DT_AMX_WORDS, DT_AMX_ROW_BYTES);
        DT_AMX_LOAD(2, sums + 2 * DT_AMX_WORDS, DT_AMX_ROW_BYTES);
        DT_AMX_LOAD(3, sums + 3 * DT_AMX_WORDS, DT_AMX_ROW_BYTES);
    }
}

/* Returns f32 values that bf16 can hold a part of: one that is finite, and past bf16's largest, becomes that. */
DT_AMX_INLINE __m512 dt_amx_holdable(__m512 value)
{
    const __m512 most = _mm512_set1_ps(0x1.fep127f), size = _mm512_abs_ps(value);
    const __mmask16 is_past =
        _mm512_cmp_ps_mask(size, most, _CMP_GT_OQ) & _mm512_cmp_ps_mask(size, _mm512_set1_ps(INFINITY), _CMP_LT_OQ);

    return _mm512_mask_mov_ps(value, is_past,
                              _mm512_min_ps(_mm512_max_ps(value, _mm512_sub_ps(_mm512_setzero_ps(), most)), most));
}

/* Returns what the first part in bf16 takes from f32 values. It is exact. */
DT_AMX_INLINE __m512 dt_amx_rest(__m512 value)
{
    const __m512i bits = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(dt_amx_holdable(value)));

    return _mm512_sub_ps(value, _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16)));
}

#endif /* DT_AMX_LANES_H */
