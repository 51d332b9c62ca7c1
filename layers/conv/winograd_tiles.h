/*
 * winograd_tiles.h - what the two backward passes share: the places of tiles in a map, and their transforms.
 *
 * With the 1-D matrices
 *
 *         | 1  0 -1  0 |        | 2  0  0 |          | 1  0 |
 *   B^T = | 0  1  1  0 |   2G = | 1  1  1 |      A = | 1  1 |
 *         | 0 -1  1  0 |        | 1 -1  1 |          | 1 -1 |
 *         | 0 -1  0  1 |        | 0  0  2 |          | 0  1 |
 *
 * a tile d of 4x4 inputs and a filter g give the 2x2 outputs A^T [(G g G^T) . (B^T d B)] A, where . multiplies element
 * by element. The last rows of B^T and A have the opposite sign of the paper's, which cancels. Tile (i, j) covers rows
 * 2i..2i+1 and columns 2j..2j+1 of the map. Its 4x4 inputs begin one row and one column earlier. Pixels outside of the
 * map are 0.
 *
 * Source: Lavin, Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section 4.1.
 */
#ifndef DT_WINOGRAD_TILES_H
#define DT_WINOGRAD_TILES_H

#include "winograd.h"
#include "words512.h"

#define DT_TILES        __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#define DT_TILES_INLINE static inline __attribute__((always_inline)) DT_TILES

enum { DT_LANES = 16 };

static inline int64_t dt_tile_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* a / b, rounded up */
static inline int64_t dt_tile_ceiling(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Returns 1 if these passes are faster than oneDNN, as was measured: there are fewer products than in the definition
 * (not so for a map of one pixel, which is mostly padding), and enough of them to pay for the transforms (not so with
 * 16 channels and 16 filters). */
static inline int dt_tile_saves(const dt_conv_shape *s)
{
    const int64_t tiles = (s->H + 1) / 2 * ((s->W + 1) / 2);

    return DT_WINOGRAD_POINTS * tiles < 9 * s->H * s->W && s->C * s->K >= 512;
}

typedef struct {
    int64_t H, W;
    int64_t down, across; /* tiles along H and W */
    int64_t count;        /* tiles of the batch */
} dt_tile_map;

/* Returns the tiles of a convolution's map. */
static inline dt_tile_map dt_tile_map_of(const dt_conv_shape *s)
{
    const int64_t down = (s->H + 1) / 2, across = (s->W + 1) / 2;
    const dt_tile_map map = { s->H, s->W, down, across, s->N * down * across };
    return map;
}

/* A tensor from one of its channels on: pixel (n, h, w) lies at data + ((n * H + h) * W + w) * pixel_bytes. */
typedef struct {
    const char *data;
    int64_t pixel_bytes;
    const char *outside; /* zeros, which stand for the pixels outside of the map */
} dt_tile_source;

/* Sets pixel, [size][size], to the pixels of a tile. They begin at row and column `first` (-1 or 0), counted from the
 * tile's own first. The pixels of a tile behind the last one lie outside. */
static inline void dt_tile_pixels(const dt_tile_map *map, const dt_tile_source *from, int64_t tile, int first, int size,
                                  const char **pixel)
{
    const int64_t n = tile / (map->down * map->across), at = tile - n * map->down * map->across;
    const int64_t i = at / map->across, h0 = 2 * i + first, w0 = 2 * (at - i * map->across) + first;
    const uint64_t H = tile < map->count ? (uint64_t)map->H : 0, W = (uint64_t)map->W;

    for (int r = 0; r < size; r++) {
        const int64_t row = ((n * map->H + h0 + r) * map->W + w0) * from->pixel_bytes;
        for (int t = 0; t < size; t++) {
            /* As unsigned numbers, those below 0 are large. There is no branch, because it would be predicted badly. */
            const int inside = ((uint64_t)(h0 + r) < H) & ((uint64_t)(w0 + t) < W);
            pixel[r * size + t] = inside ? from->data + row + t * from->pixel_bytes : from->outside;
        }
    }
}

/* Returns the index of a tile's first pixel in the batch. */
static inline int64_t dt_tile_corner(const dt_tile_map *map, int64_t tile)
{
    const int64_t n = tile / (map->down * map->across), at = tile - n * map->down * map->across;

    return (n * map->H + at / map->across * 2) * map->W + at % map->across * 2;
}

/* Memory that is to be fetched into the caches: `bytes` of each pixel from `at` to `end`. */
typedef struct {
    const char *at, *end;
    int64_t pixel_bytes, bytes;
} dt_tile_ahead;

/* Returns the memory that tiles tile .. end - 1 read and earlier tiles do not. */
static inline dt_tile_ahead dt_tile_ahead_of(const dt_tile_map *map, const dt_tile_source *from, int64_t bytes,
                                             int64_t tile, int64_t end)
{
    const int64_t n_pixels = map->count / (map->down * map->across) * map->H * map->W;
    const int64_t first = dt_tile_corner(map, tile) + 2 * map->W, last = dt_tile_corner(map, end) + 2 * map->W;
    const dt_tile_ahead ahead = { from->data + first * from->pixel_bytes,
                                  from->data + (last < n_pixels ? last : n_pixels) * from->pixel_bytes,
                                  from->pixel_bytes, bytes };
    return ahead;
}

/* Fetches the next `pixels` pixels. */
static inline void dt_tile_fetch(dt_tile_ahead *ahead, int64_t pixels)
{
    for (; pixels > 0 && ahead->at < ahead->end; pixels--, ahead->at += ahead->pixel_bytes) {
        for (int64_t i = 0; i < ahead->bytes; i += 64) __builtin_prefetch(ahead->at + i);
    }
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
