/*
 * amx_map.h - what amx_forward.c and amx_backward_x.c share: the product of a map, whose images lie side by side, with
 *             a window's filters.
 *
 *   result(position, n) = sum over taps (r, s) and channels of
 *                         map(row + r - above, column + s - before, channel) filter(n, r, s, channel)
 *
 * The map is [H][columns][images][pitch bytes]. Columns are those of the image with zeros before and behind. Positions
 * of a row of results are numbered column * images + image, so that 16 neighbours are the rows of a tile, `pitch` bytes
 * apart, for every tap. A narrow map has at least 32 images: 32 positions are then of one pixel, and a tap that falls
 * outside is left out, which on a map of 2x2 is more than half of the work.
 *
 * Where there are few channels, a row of the window, which is contiguous in memory if one image is there, is multiplied
 * as if it were the channels of one pixel ("joined").
 */
#ifndef DT_AMX_MAP_H
#define DT_AMX_MAP_H

#include "amx_conv.h"

enum { DT_AMX_PANEL = 32, DT_AMX_PANEL_STEP = 2048 }; /* results of a panel; bytes of its filters along 64 of a tap */

typedef enum { DT_AMX_U8, DT_AMX_S8, DT_AMX_HALF } dt_amx_kind; /* of the map's values; filters are s8, or bf16 */

typedef struct {
    dt_amx_kind kind;
    int64_t N, H, W, channels;                   /* of the map */
    int64_t P, Q, n;                             /* of the result; n values at each position */
    int64_t R, S, above, before;                 /* the window; padding */
    int64_t across, tap;                         /* taps of a window's row, 1 if joined; values of a tap */
    int64_t images, n_groups;                    /* side by side; groups of so many in the batch */
    int64_t columns, pitch, steps;               /* of a row; bytes from pixel to pixel; tiles along a tap's values */
    int64_t n_panels, splits;                    /* of 32 results; items that the panels of a group are cut into */
    int64_t run;                                 /* groups of an item, one after another */
    size_t filters_bytes, map_bytes, room_bytes; /* all panels; a thread's map; a thread's room */
} dt_amx_map;

/* What is multiplied, and where the results go. */
typedef struct {
    const void *from; /* [N][H][W][channels] */
    dt_dtype type;
    const char *filters; /* [panel][R][across][steps][2] tiles */
    void *to;            /* [N][P][Q][n]; F32, or BF16 */
    dt_dtype to_type;
    float scale; /* of sums of bf16 */
    int add;     /* 1: to what F32 results hold */
} dt_amx_product;

/* Fills in what follows from kind to before. */
void dt_amx_map_plan(dt_amx_map *m);

/* Returns the bytes of the filters of a panel. */
static inline int64_t dt_amx_panel_bytes(const dt_amx_map *m)
{
    return m->R * m->across * m->steps * DT_AMX_PANEL_STEP;
}

/* Computes the product on at most `threads` threads, each in a room of its own of rooms. */
void dt_amx_map_run(const dt_amx_map *m, const dt_amx_product *p, char *rooms, int threads);

#endif /* DT_AMX_MAP_H */
