/*
 * psum_layout.h - what the CPU's and CUDA's psums share: how codes lie in memory, and the range of a psum.
 *
 *   x  [top + H + bottom][left + W + right][groups][in_tiles][step] bytes, code + offset; padded cells and channels
 * hold code 0 w  words of 32 bits: four neighbouring channels of a filter, the first in the low byte; channels beyond
 * the tile 0
 *
 * step: a tile's channels, rounded up to 4.
 */
#ifndef DT_PSUM_LAYOUT_H
#define DT_PSUM_LAYOUT_H

#include "../../core/rng.h" /* DT_HD */
#include "psum.h"

/* Strides of x in bytes; down and right: from a tap to the next. */
typedef struct {
    int64_t step, group, pixel, row, image, down, right;
} dt_psum_layout;

dt_psum_layout dt_psum_layout_of(const dt_psum_layer *layer);

/* The array's smallest and largest psum. */
typedef struct {
    int32_t low, high;
} dt_psum_limits;

static inline DT_HD dt_psum_limits dt_psum_limits_of(const dt_array *array)
{
    const int32_t high = (int32_t)(((int64_t)1 << (array->psum_bits - 1)) - 1);
    const dt_psum_limits limits = { -high - 1, high };
    return limits;
}

/* The low psum_bits of value, in two's complement. */
static inline DT_HD int32_t dt_psum_wrap(int32_t value, int psum_bits)
{
    const int unused = 32 - psum_bits;
    return (int32_t)((uint32_t)value << unused) >> unused;
}

#endif /* DT_PSUM_LAYOUT_H */
