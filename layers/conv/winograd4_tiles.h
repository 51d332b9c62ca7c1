/*
 * winograd4_tiles.h - what the two backward passes of winograd4.h share: the transforms of their tiles, of which
 *                     winograd_map.h tells the places. A vector holds 8 channels.
 *
 * With the 1-D matrices
 *
 *         | 4  0 -5  0  1  0 |             |  6  0  0 |          | 1  0  0  0 |
 *         | 0 -4 -4  1  1  0 |             | -4 -4 -4 |          | 1  1  1  1 |
 *   B^T = | 0  4 -4 -1  1  0 |   24 G  =   | -4  4 -4 |      A = | 1 -1  1 -1 |
 *         | 0 -2 -1  2  1  0 |             |  1  2  4 |          | 1  2  4  8 |
 *         | 0  2 -1 -2  1  0 |             |  1 -2  4 |          | 1 -2  4 -8 |
 *         | 0  4  0 -5  0  1 |             |  0  0 24 |          | 0  0  0  1 |
 *
 * a tile d of 6x6 inputs and a filter g give the 4x4 outputs A^T [(G g G^T) . (B^T d B)] A, where . multiplies element
 * by element.
 *
 * Source: Lavin, Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section 4.3.
 */
#ifndef DT_WINOGRAD4_TILES_H
#define DT_WINOGRAD4_TILES_H

#include "winograd4.h"
#include "winograd_map.h"

#include <immintrin.h>

#define DT_TILES4        __attribute__((target("avx2,fma")))
#define DT_TILES4_INLINE static inline __attribute__((always_inline)) DT_TILES4

enum { DT_TILES4_LANES = 8 };

/* Returns values i .. i + 7 of a pixel as f32. */
DT_TILES4_INLINE __m256 dt_tile4_load(const char *pixel, int64_t i, dt_dtype type)
{
    switch (type) {
    case DT_U8: return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(pixel + i))));
    case DT_I8: return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(pixel + i))));
    default: return _mm256_loadu_ps((const float *)(const void *)pixel + i);
    }
}

/* Computes y = B^T d of a column whose values are `step` apart; y may be d. */
DT_TILES4_INLINE void dt_tile4_bt(const __m256 *d, __m256 *y, int step)
{
    const __m256 two = _mm256_set1_ps(2.0f), four = _mm256_set1_ps(4.0f), five = _mm256_set1_ps(5.0f);
    const __m256 d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    const __m256 even = _mm256_fnmadd_ps(four, d2, d4), odd = _mm256_fnmadd_ps(four, d1, d3);
    const __m256 near = _mm256_sub_ps(d4, d2), far = _mm256_mul_ps(two, _mm256_sub_ps(d3, d1));

    y[0] = _mm256_fmadd_ps(four, d0, _mm256_fnmadd_ps(five, d2, d4));
    y[step] = _mm256_add_ps(even, odd);
    y[2 * step] = _mm256_sub_ps(even, odd);
    y[3 * step] = _mm256_add_ps(near, far);
    y[4 * step] = _mm256_sub_ps(near, far);
    y[5 * step] = _mm256_fmadd_ps(four, d1, _mm256_fnmadd_ps(five, d3, d5));
}

/* Computes y = B^T d B of 6x6 pixels, for 8 channels. */
DT_TILES4_INLINE void dt_tile4_inputs(const char *const *pixel, int64_t i, dt_dtype type, __m256 *y)
{
    for (int t = 0; t < 6; t++) {
        __m256 d[6];
#pragma GCC unroll 6
        for (int r = 0; r < 6; r++) d[r] = dt_tile4_load(pixel[6 * r + t], i, type);
        dt_tile4_bt(d, d, 1);
#pragma GCC unroll 6
        for (int r = 0; r < 6; r++) y[6 * r + t] = d[r];
    }
    for (int r = 0; r < 6; r++) dt_tile4_bt(y + 6 * r, y + 6 * r, 1);
}

/* Computes y = A g of a column of four values. */
DT_TILES4_INLINE void dt_tile4_a(const __m256 *g, __m256 *y)
{
    const __m256 two = _mm256_set1_ps(2.0f), four = _mm256_set1_ps(4.0f);
    const __m256 even = _mm256_add_ps(g[0], g[2]), odd = _mm256_add_ps(g[1], g[3]);
    const __m256 far_even = _mm256_fmadd_ps(four, g[2], g[0]);
    const __m256 far_odd = _mm256_mul_ps(two, _mm256_fmadd_ps(four, g[3], g[1]));

    y[0] = g[0];
    y[1] = _mm256_add_ps(even, odd);
    y[2] = _mm256_sub_ps(even, odd);
    y[3] = _mm256_add_ps(far_even, far_odd);
    y[4] = _mm256_sub_ps(far_even, far_odd);
    y[5] = g[3];
}

/* Computes y = A g A^T of 4x4 pixels, for 8 channels. */
DT_TILES4_INLINE void dt_tile4_outputs(const char *const *pixel, int64_t i, __m256 *y)
{
    __m256 half[6][4];

    for (int t = 0; t < 4; t++) {
        __m256 g[4], column[6];
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++) g[r] = dt_tile4_load(pixel[4 * r + t], i, DT_F32);
        dt_tile4_a(g, column);
#pragma GCC unroll 6
        for (int r = 0; r < 6; r++) half[r][t] = column[r];
    }
    for (int r = 0; r < 6; r++) dt_tile4_a(half[r], y + 6 * r);
}

#endif /* DT_WINOGRAD4_TILES_H */
