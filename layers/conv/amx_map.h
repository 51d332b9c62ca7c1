/*
 * amx_map.h - what amx_forward.c and amx_backward_x.c share: the product of a map, whose images lie side by side, with
 *             a window's filters.
 *
 *   result(position, n) = sum over taps (r, s) and channels of
 *     map(row stride[0] + r - above, column stride[1] + s - before, channel) filter(n, r, s, channel)
 *
 * The map is [H][phase][columns][images][pitch bytes]. Columns are those of the image with zeros before and behind,
 * every stride[1]-th of which has the same phase, so that positions of neighbouring columns are neighbours at any
 * stride. Positions of a row of results are numbered column * images + image: 16 neighbours are the rows of a tile,
 * `pitch` bytes apart, for every tap. A narrow map has at least 32 images: 32 positions are then of one pixel, and a
 * tap that falls outside is left out, which on a map of 2x2 is more than half of the work.
 *
 * Where there are few channels, a row of the window, which is contiguous in memory if one image is there, is multiplied
 * as if it were the channels of one pixel ("joined"). Where a map of all channels leaves no room for as many images as
 * fill the tiles, slabs of the channels come one after another, and the sums wait in the thread's room.
 *
 * An f32 value may be up to three bf16 parts, of 8 bits each, whose sum it is: parts 1 rounds it to bf16, parts 2 keeps
 * 16 of its 24 bits, parts 3 all of them. Products of parts below the last kept bit are left out: of 2 parts three
 * products remain, of 3 parts six. An infinity becomes a NaN.
 */
#ifndef DT_AMX_MAP_H
#define DT_AMX_MAP_H

#include "amx_conv.h"

enum { DT_AMX_PANEL = 32, DT_AMX_PANEL_STEP = 2048 }; /* results of a panel; bytes of its filters along 64 of a tap */

typedef enum { DT_AMX_U8, DT_AMX_S8, DT_AMX_HALF } dt_amx_kind; /* of the map's values; filters are s8, or bf16 */

typedef struct {
    dt_amx_kind kind;
    int64_t N, H, W, channels;           /* of the map */
    int64_t P, Q, n;                     /* of the result; n values at each position */
    int64_t R, S, above, before;         /* the window; padding */
    int64_t stride[2];                   /* of the window, down and across */
    int64_t parts;                       /* of a value of kind HALF, 1 to 3 */
    int64_t every[2], from[2], whole[2]; /* results are each `every`-th of `whole` rows, columns, from `from` on */
    int64_t across, tap;                 /* taps of a window's row, 1 if joined; values of a tap */
    int64_t slab, n_slabs;               /* channels of a slab; slabs */
    int64_t images, n_groups;            /* side by side; groups of so many in the batch */
    int64_t columns, pitch, steps;       /* of a phase; bytes from pixel to pixel; tiles along a tap's values */
    int64_t plane;                       /* bytes of one part of a map */
    int64_t n_panels, splits;            /* of 32 results; items that the panels of a group are cut into */
    int64_t run;                         /* groups of an item, one after another */
    size_t filters_bytes, map_bytes, sums_bytes; /* all panels; a thread's map; its sums between slabs */
    size_t room_bytes;                           /* a thread's room: map, sums, places */
} dt_amx_map;

/* What is multiplied, and where the results go. */
typedef struct {
    const void *from; /* [N][H][W][channels] */
    dt_dtype type;
    const char *filters; /* [panel][slab][R][across][part][steps][2] tiles */
    void *to;            /* [N][P][Q][n]; F32, or BF16 */
    dt_dtype to_type;
    float scale; /* of sums of bf16 */
    int add;     /* 1: to what F32 results hold */
} dt_amx_product;

/* Fills in what follows from kind to whole. */
void dt_amx_map_plan(dt_amx_map *m);

/* Returns the bytes of a tap of a panel: all its parts. */
static inline int64_t dt_amx_tap_bytes(const dt_amx_map *m)
{
    return m->parts * m->steps * DT_AMX_PANEL_STEP;
}

/* Returns the bytes of the filters of a panel. */
static inline int64_t dt_amx_panel_bytes(const dt_amx_map *m)
{
    return m->n_slabs * m->R * m->across * dt_amx_tap_bytes(m);
}

/* Computes the product on at most `threads` threads, each in a room of its own of rooms. */
void dt_amx_map_run(const dt_amx_map *m, const dt_amx_product *p, char *rooms, int threads);

#endif /* DT_AMX_MAP_H */
