/*
 * winograd_dw.h - how the filter gradients by minimal filtering cut their work: into items, each a block of filters and
 *                 channels for a part of the tiles. Parts depend on the shape alone and are summed in order, so that
 *                 results do not depend on the number of threads.
 */
#ifndef DT_WINOGRAD_DW_H
#define DT_WINOGRAD_DW_H

#include "winograd_map.h"

typedef struct {
    int64_t K, C;                              /* of dw, [K][3][3][C] */
    int64_t tiles;                             /* of the batch */
    int64_t filters, channels;                 /* of a block; the last may have fewer */
    int64_t n_filter_blocks, n_channel_blocks; /* blocks along K and C */
    int64_t part, n_parts;                     /* tiles of a part; parts of the tiles */
} dt_dw_blocks;

/* An item's filters k and on, channels c and on, and tiles. */
typedef struct {
    int64_t k, filters, c, channels, tile, end;
} dt_dw_span;

/* Cuts the work of a convolution with so many tiles into blocks of at most `filters` and `channels`, and its tiles into
 * parts of at least `part` tiles, a multiple of `step`, so that there are about `items` items. */
dt_dw_blocks dt_dw_blocks_of(const dt_conv_shape *s, int64_t tiles, int64_t filters, int64_t channels, int64_t part,
                             int64_t step, int64_t items);
/* Returns the number of items. */
int64_t dt_dw_items(const dt_dw_blocks *b);
/* Returns what item 0..dt_dw_items - 1 has to do. */
dt_dw_span dt_dw_span_of(const dt_dw_blocks *b, int64_t item);

/* Returns the bytes that parts take until all are there: 0 where there is one. */
size_t dt_dw_parts_bytes(const dt_dw_blocks *b);
/* Returns where an item leaves its dw, laid out as the whole: in its part of `parts`, or in dw if there is one part. */
float *dt_dw_part(const dt_dw_blocks *b, int64_t item, float *parts, float *dw);
/* Computes dw = scale * (sum of the parts), or adds that to dw, on at most that many threads. */
void dt_dw_sum_parts(const dt_dw_blocks *b, const float *parts, float scale, int add, float *dw, int threads);

#endif /* DT_WINOGRAD_DW_H */
