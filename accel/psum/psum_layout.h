/*
 * psum_layout.h - what the psums of CPU and CUDA share: the layout of codes in memory, and the range of a psum.
 *
 *   x  [top + H + bottom][left + W + right][groups][in_tiles][step] bytes, code + offset. Padded cells and channels
 *      have code 0.
 *   w  32-bit words of four neighbouring channels of a filter, the first in the low byte. Channels past the tile
 *      are 0.
 *
 * step is the channels of a tile, rounded up to a multiple of 4.
 */
#ifndef DT_PSUM_LAYOUT_H
#define DT_PSUM_LAYOUT_H

#include "../../core/rng.h" /* DT_HD */
#include "psum.h"

/* Strides of x in bytes. down and right lead from a tap to the next one. */
typedef struct {
    int64_t step, group, pixel, row, image, down, right;
} dt_psum_layout;

/* Returns the strides of a layer. */
dt_psum_layout dt_psum_layout_of(const dt_psum_layer *layer);

/* The array's smallest and largest psum. */
typedef struct {
    int32_t low, high;
} dt_psum_limits;

/* Returns the range of a psum on an array. */
static inline DT_HD dt_psum_limits dt_psum_limits_of(const dt_array *array)
{
    const int32_t high = (int32_t)(((int64_t)1 << (array->psum_bits - 1)) - 1);
    const dt_psum_limits limits = { -high - 1, high };
    return limits;
}

/* Returns the low psum_bits of value, in two's complement. */
static inline DT_HD int32_t dt_psum_wrap(int32_t value, int psum_bits)
{
    const int unused = 32 - psum_bits;
    return (int32_t)((uint32_t)value << unused) >> unused;
}

#endif /* DT_PSUM_LAYOUT_H */
