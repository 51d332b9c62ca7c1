/*
 * winograd_map.h - the places of tiles in the maps of a batch, which the kernels by minimal filtering share. A tile is
 * a square of outputs. Tile (i, j) begins at row side * i and column side * j of the map; the inputs of a 3x3
 * convolution with pad 1 begin one row and one column earlier. Pixels outside of the map are 0.
 */
#ifndef DT_WINOGRAD_MAP_H
#define DT_WINOGRAD_MAP_H

#include "conv.h"

static inline int64_t dt_tile_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* a / b, rounded up */
static inline int64_t dt_tile_ceiling(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

typedef struct {
    int64_t H, W;
    int64_t side;         /* pixels along a side of a tile */
    int64_t down, across; /* tiles along H and W */
    int64_t count;        /* tiles of the batch */
} dt_tile_map;

/* Returns the tiles of a convolution's map. */
static inline dt_tile_map dt_tile_map_of(const dt_conv_shape *s, int64_t side)
{
    const int64_t down = dt_tile_ceiling(s->H, side), across = dt_tile_ceiling(s->W, side);
    const dt_tile_map map = { s->H, s->W, side, down, across, s->N * down * across };
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
    const int64_t i = at / map->across, h0 = map->side * i + first, w0 = map->side * (at - i * map->across) + first;
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

    return (n * map->H + at / map->across * map->side) * map->W + at % map->across * map->side;
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
    const int64_t first = dt_tile_corner(map, tile) + map->side * map->W;
    const int64_t last = dt_tile_corner(map, end) + map->side * map->W;
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

#endif /* DT_WINOGRAD_MAP_H */
