/*
 * winograd_tiles.h - what the two backward passes share: the transforms of their tiles, of which winograd_map.h tells
 * the places.
 *
 * With the 1-D matrices
 *
 *         | 1  0 -1  0 |        | 2  0  0 |          | 1  0 |
 *   B^T = | 0  1  1  0 |   2G = | 1  1  1 |      A = | 1  1 |
 *         | 0 -1  1  0 |        | 1 -1  1 |          | 1 -1 |
 *         | 0 -1  0  1 |        | 0  0  2 |          | 0  1 |
 *
 * a tile d of 4x4 inputs and a filter g give the 2x2 outputs A^T [(G g G^T) . (B^T d B)] A, where . multiplies element
 * by element. The last rows of B^T and A have the opposite sign of the paper's, which cancels.
 *
 * Source: Lavin, Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section 4.1.
 */
#ifndef DT_WINOGRAD_TILES_H
#define DT_WINOGRAD_TILES_H

#include "winograd.h"
#include "winograd_map.h"
#include "words512.h"

#define DT_TILES        __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#define DT_TILES_INLINE static inline __attribute__((always_inline)) DT_TILES

enum { DT_LANES = 16, DT_TILE_SIDE = 2 };

/* Returns 1 if these passes are faster than oneDNN, as was measured: there are fewer products than in the definition
 * (not so for a map of one pixel, which is mostly padding), and enough of them to pay for the transforms (not so with
 * 16 channels and 16 filters). */
static inline int dt_tile_saves(const dt_conv_shape *s)
{
    const int64_t tiles = (s->H + 1) / 2 * ((s->W + 1) / 2);

    return DT_WINOGRAD_POINTS * tiles < 9 * s->H * s->W && s->C * s->K >= 512;
}

/* Returns values i .. i + 15 of a pixel as f32. */
DT_TILES_INLINE __m512 dt_tile_load(const char *pixel, int64_t i, dt_dtype type)
{
    switch (type) {
    case DT_U8: return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(pixel + i))));
    case DT_I8: return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(pixel + i))));
    case DT_BF16: {
        const __m512i bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(pixel + 2 * i)));
        return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
    }
    default: return _mm512_loadu_ps(pixel + 4 * i);
    }
}

/* Computes y = B^T d of a column whose values are `step` apart; y may be d. */
DT_TILES_INLINE void dt_tile_bt(const __m512 *d, __m512 *y, int step)
{
    const __m512 d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step];

    y[0] = _mm512_sub_ps(d0, d2);
    y[step] = _mm512_add_ps(d1, d2);
    y[2 * step] = _mm512_sub_ps(d2, d1);
    y[3 * step] = _mm512_sub_ps(d3, d1);
}

/* Computes y = B^T d B of 4x4 pixels, for 16 channels. */
DT_TILES_INLINE void dt_tile_inputs(const char *const *pixel, int64_t i, dt_dtype type, __m512 *y)
{
#pragma GCC unroll 16
    for (int p = 0; p < 16; p++) y[p] = dt_tile_load(pixel[p], i, type);
#pragma GCC unroll 4
    for (int t = 0; t < 4; t++) dt_tile_bt(y + t, y + t, 4);
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) dt_tile_bt(y + 4 * r, y + 4 * r, 1);
}

/* Computes y = A g of a column of two values; the results are `step` apart. */
DT_TILES_INLINE void dt_tile_a(__m512 g0, __m512 g1, __m512 *y, int step)
{
    y[0] = g0;
    y[step] = _mm512_add_ps(g0, g1);
    y[2 * step] = _mm512_sub_ps(g0, g1);
    y[3 * step] = g1;
}

/* Computes y = A g A^T of 2x2 pixels, for 16 channels. */
DT_TILES_INLINE void dt_tile_outputs(const char *const *pixel, int64_t i, dt_dtype type, __m512 *y)
{
    __m512 left[4], right[4];

    dt_tile_a(dt_tile_load(pixel[0], i, type), dt_tile_load(pixel[2], i, type), left, 1);
    dt_tile_a(dt_tile_load(pixel[1], i, type), dt_tile_load(pixel[3], i, type), right, 1);
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) dt_tile_a(left[r], right[r], y + 4 * r, 1);
}

#endif /* DT_WINOGRAD_TILES_H */
