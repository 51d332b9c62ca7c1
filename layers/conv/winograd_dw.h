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
/* Where an item leaves its dw, laid out as the whole: scale * dw, which is added to what is there if add is 1. */
typedef struct {
    float *dw;
    float scale;
    int add;
} dt_dw_target;

/* A kernel's part of the work: it computes an item in a thread's room. */
typedef void dt_dw_item(const void *user, const dt_dw_span *item, const dt_dw_target *to, char *room);

/* Returns the bytes of scratch that dt_dw_run needs with rooms of room_bytes. */
size_t dt_dw_scratch(const dt_dw_blocks *b, size_t room_bytes, int threads);
/* Computes all items of a node's dw on at most that many threads, each in a room of its own, and sums the parts. It is
 * added to a gradient that is not fresh. */
void dt_dw_run(const dt_dw_blocks *b, const dt_node *node, dt_dw_item *item, const void *user, size_t room_bytes,
               void *scratch, int threads);

#endif /* DT_WINOGRAD_DW_H */
