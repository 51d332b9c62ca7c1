/*
 * winograd_dw.h - how the filter gradients by minimal filtering cut their work: into items, each a block of filters and
 *                 channels for a part of the tiles, which pass in chunks. Parts depend on the shape alone and are
 *                 summed in order, so that results do not depend on the number of threads.
 */
#ifndef DT_WINOGRAD_DW_H
#define DT_WINOGRAD_DW_H

#include "winograd_map.h"

typedef struct {
    const dt_node *node;
    dt_conv_shape s;
    dt_tile_map map;
    int64_t filters, channels;                 /* of a block; the last may have fewer */
    int64_t n_filter_blocks, n_channel_blocks; /* blocks along K and C */
    int64_t part, n_parts;                     /* tiles of a part; parts of the tiles */
    int64_t x_words, dy_words, sums_words;     /* of one point, of 4 bytes */
    size_t zeros_bytes, room_bytes;            /* a thread's scratch */
} dt_dw_plan;

/* An item's filters k and on, channels c and on, and tiles. */
typedef struct {
    int64_t k, filters, c, channels, tile, end;
} dt_dw_span;

/* A thread's scratch: the transformed tiles of a chunk, x [points][chunk][channels] and dy [points][chunk][filters],
 * and sums, [points][filters][channels]. What one point has of each is a cache line longer than it needs, so that the
 * points, which would else be a multiple of 4,096 bytes apart, do not fall into the same cache set. zeros stand for a
 * pixel outside of the map. */
typedef struct {
    char *zeros;
    void *x, *dy;
    float *sums;
} dt_dw_room;

/* Where an item leaves its dw, laid out as the whole: scale * dw, which is added to what is there if add is 1. */
typedef struct {
    float *dw;
    float scale;
    int add;
} dt_dw_target;

/* A way to compute dw: its sizes, and its parts of an item. */
typedef struct {
    int64_t side, points;      /* outputs along a side of a tile; values of a transformed tile */
    int64_t filters, channels; /* of a block at most */
    int64_t chunk;             /* tiles that are transformed at a time */
    int64_t step;              /* tiles whose values make a word; a part is a multiple */
    int64_t part;              /* tiles that a part is worth at least */
    /* Set room->x, and room->dy, to tiles first .. end - 1. */
    void (*x)(const dt_dw_plan *b, const dt_dw_span *a, int64_t first, int64_t end, const dt_dw_room *room);
    void (*dy)(const dt_dw_plan *b, const dt_dw_span *a, int64_t first, int64_t end, const dt_dw_room *room);
    /* Adds the products of these tiles to room->sums, or sets it where they are the item's first. */
    void (*multiply)(const dt_dw_plan *b, const dt_dw_span *a, int64_t first, int64_t end, const dt_dw_room *room);
    /* Gives what the sums are to dw. */
    void (*give)(const dt_dw_plan *b, const dt_dw_span *a, const float *sums, const dt_dw_target *to);
} dt_dw_kernel;

/* Returns the bytes of scratch that dt_dw_run needs. */
size_t dt_dw_scratch(const dt_dw_kernel *kernel, const dt_node *node, int threads);
/* Computes a node's dw on at most that many threads. It is added to a gradient that is not fresh. */
void dt_dw_run(const dt_dw_kernel *kernel, const dt_node *node, void *scratch, int threads);

#endif /* DT_WINOGRAD_DW_H */
