/*
 * psum_kernels.h - inside psum_image.c: the sums of one block of outputs.
 *
 * Packed w: [groups][blocks of LANES filters][in_tiles][taps][1 + step / 4]
 * [LANES] words; the first row of LANES is `start`.
 * Packed x is unsigned: its offset is 128 where activation codes may be negative, else 0. A tap psum begins at its
 * start, -offset * (sum of the filter's weights in that tile and tap), which takes the offset out again.
 */
#ifndef DT_PSUM_KERNELS_H
#define DT_PSUM_KERNELS_H

#include "psum_layout.h"

enum { DT_PSUM_LANES = 16, DT_PSUM_POSITIONS = 8, DT_PSUM_OFFSET = 128 };

/* Some consecutive outputs of LANES filters. */
typedef struct {
    const dt_psum_layer *layer;
    dt_psum_layout layout;
    int offset;
    const int32_t *w;                    /* of these filters */
    const uint8_t *x[DT_PSUM_POSITIONS]; /* where each output's window begins */
    int n;                               /* positions */
    int n_filters;                       /* of the LANES, in the layer */
    int32_t *taps;                       /* NULL, or where those of the first position and filter go */
    /* the result; where sums wrap, it is exact and still to be wrapped */
    _Alignas(64) int32_t sum[DT_PSUM_POSITIONS][DT_PSUM_LANES];
} dt_psum_block;

/* What a filter's values were, before fit. The functions below add to it. */
typedef struct {
    int32_t low[DT_PSUM_LANES], high[DT_PSUM_LANES], n_overflows[DT_PSUM_LANES];
} dt_psum_seen;

/* Weight stationary sums that wrap. */
void dt_psum_block_plain(dt_psum_block *b, dt_psum_seen *seen);
/* The same, several positions at a time; no taps. Only where dt_psum_has_vnni. */
void dt_psum_block_vnni(dt_psum_block *b, dt_psum_seen *seen);
int dt_psum_has_vnni(void);
/* Any mode, one addition after another. */
void dt_psum_block_ordered(dt_psum_block *b, dt_psum_seen *seen);

#endif /* DT_PSUM_KERNELS_H */
