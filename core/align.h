/*
 * align.h - at which multiples of bytes memory begins, and rounding of sizes up to them.  Tests:
 *           tests/core/test_place.c.
 */
#ifndef DT_ALIGN_H
#define DT_ALIGN_H

#include <stddef.h>

enum {
    DT_ALIGN = 256,        /* bytes; alignment of placed tensors and of the parts of scratch */
    DT_CACHE_LINE = 64,    /* bytes; alignment of host memory, so that no vector load crosses a cache line */
    DT_FAR_BYTES = 1 << 25 /* a tensor of so many bytes is written past the CPU's caches where a kernel can: they would
                            * fetch each line first, and have forgotten it before the next node reads it */
};

/* Returns the least multiple of unit that is >= n. unit > 0, and n + unit must not overflow. */
static inline size_t dt_round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

#endif /* DT_ALIGN_H */
