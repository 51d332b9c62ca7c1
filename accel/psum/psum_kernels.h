/*
 * psum_kernels.h - inside psum_image.c: the sums of one block of outputs.
 *
 * Packed w is [groups][blocks of LANES filters][in_tiles][taps][1 + step / 4][LANES] words. The first LANES words of a
 * tap are its start. Packed x is code + offset, unsigned; the offset is 0 where no activation code is negative, else
 * 128, or the least code's magnitude where codes go beyond -128..127. A tap psum begins at its start, -offset * (sum of
 * the filter's weights in that tile and tap), which takes the offset out again.
 */
#ifndef DT_PSUM_KERNELS_H
#define DT_PSUM_KERNELS_H

#include "psum_layout.h"

enum { DT_PSUM_OFFSET = 128 };

/* Some consecutive outputs of LANES filters. */
typedef struct {
    const dt_psum_layer *layer;
    dt_psum_layout layout;
    int offset;
    const int32_t *w;                    /* packed weights of these filters */
    const uint8_t *x[DT_PSUM_POSITIONS]; /* where the window of each output begins */
    int n;                               /* number of outputs */
    int n_filters;                       /* how many of the LANES are filters of the layer */
    int32_t *taps;                       /* where tap psums go, as dt_psum_taps.tap; or NULL */
    /* The result. Where sums wrap, it is the exact sum, which the caller wraps. */
    _Alignas(64) int32_t sum[DT_PSUM_POSITIONS][DT_PSUM_LANES];
} dt_psum_block;

/* Statistics of each filter, as those of dt_psum_stats. The functions below add to them. */
typedef struct {
    int32_t low[DT_PSUM_LANES], high[DT_PSUM_LANES], n_overflows[DT_PSUM_LANES];
} dt_psum_seen;

/* Computes weight stationary sums that wrap. */
void dt_psum_block_plain(dt_psum_block *b, dt_psum_seen *seen);
/* Computes the same, several outputs at a time. dt_psum_has_vnni must return 1. */
void dt_psum_block_vnni(dt_psum_block *b, dt_psum_seen *seen);
/* Returns 1 if this CPU has the instructions (AVX512-VNNI), and this build the code. */
int dt_psum_has_vnni(void);
/* Computes the sums of any mode, one addition after another. */
void dt_psum_block_ordered(dt_psum_block *b, dt_psum_seen *seen);

#endif /* DT_PSUM_KERNELS_H */
