/*
 * align.h - where blocks of memory begin, and sizes rounded up to it.  Tests: tests/core/test_place.c.
 */
#ifndef DT_ALIGN_H
#define DT_ALIGN_H

#include <stddef.h>

enum {
    DT_ALIGN = 256,    /* bytes: of placed tensors, and of parts of scratch */
    DT_CACHE_LINE = 64 /* bytes: of memory of the host; so vector loads never split */
};

/* The next multiple of unit, n itself if it is one; unit > 0, and n + unit fits. */
static inline size_t dt_round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

#endif /* DT_ALIGN_H */
