/*
 * winograd_dx.h - how the input gradients by minimal filtering cut their work: into items, each a block of columns
 *                 (channels of x) for a range of tiles. An item transforms its filters once. Then, a chunk of tiles
 *                 after the other, it transforms dy, multiplies, and transforms the products to dx. Nothing is summed
 *                 across items.
 *
 * U' are the transformed filters, V the transformed tiles of dy, and M their products, [points][chunk][columns] f32.
 * What one point has of each is a cache line longer than it needs, so that the points, which would else be a multiple
 * of 4,096 bytes apart, do not fall into the same cache set.
 */
#ifndef DT_WINOGRAD_DX_H
#define DT_WINOGRAD_DX_H

#include "winograd_map.h"

typedef struct {
    const dt_node *node;
    dt_conv_shape s;
    dt_tile_map map;
    int64_t columns, n_blocks;         /* channels of x in a block, the last may have fewer; blocks */
    int64_t chunk;                     /* tiles whose products are held at a time */
    int64_t range, n_ranges;           /* tiles of an item; items a block */
    int64_t v_words, u_words, m_words; /* of one point, of 4 bytes */
    size_t zeros_bytes, room_bytes;    /* a thread's scratch */
} dt_dx_plan;

/* A thread's scratch; zeros stand for a pixel of dy outside of the map. */
typedef struct {
    char *zeros;
    void *V, *U;
    float *M;
} dt_dx_room;

/* A way to compute dx: its sizes, and its parts of an item. */
typedef struct {
    int64_t side, points; /* outputs along a side of a tile; values of a transformed tile */
    int64_t value_bytes;  /* of a value of U' and of V */
    int64_t filter_bytes; /* that one point has of U' at most, if 64 columns do not need more */
    int64_t chunk_bytes;  /* of a chunk's V and M */
    int64_t item_tiles;   /* at least, so that transforming the filters costs little beside their products */
    /* Sets U to U' of columns first and on. */
    void (*filters)(const dt_dx_plan *b, int64_t first, int64_t columns, void *U);
    /* Sets room->V to tiles first .. first + n - 1. */
    void (*tiles)(const dt_dx_plan *b, int64_t first, int64_t n, const dt_dx_room *room);
    /* Sets room->M to the products of n tiles. Tiles next .. end - 1 follow, and may be fetched meanwhile. */
    void (*multiply)(const dt_dx_plan *b, int64_t n, int64_t columns, int64_t next, int64_t end,
                     const dt_dx_room *room);
    /* Gives what M has for tiles first .. first + n - 1 to dx, columns `from` and on. */
    void (*give)(const dt_dx_plan *b, int64_t first, int64_t n, int64_t from, int64_t columns, const float *M);
} dt_dx_kernel;

/* Returns the bytes of scratch that dt_dx_run needs. */
size_t dt_dx_scratch(const dt_dx_kernel *kernel, const dt_node *node, int threads);
/* Computes a node's dx on at most that many threads. */
void dt_dx_run(const dt_dx_kernel *kernel, const dt_node *node, void *scratch, int threads);
/* Sets place, [side][side], to where dx has channel `first` of a tile's pixels; NULL for one that lies outside. */
void dt_dx_places(const dt_dx_plan *b, int64_t tile, int64_t first, char **place);

#endif /* DT_WINOGRAD_DX_H */
