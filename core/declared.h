/*
 * declared.h - the range that an integer is declared to have. A build with -DDETENT_CHECK_RANGES=ON compares, and ends
 *              the process where a value is outside, with a line that names who computed it, the value and the range.
 * In any other build dt_declared() is its value, and nothing is computed.
 *
 * Used where a sum of products, a shift or a code gets fewer bits than it was computed in: the loops that define
 * programs (quant/program/reference.c), the arithmetic in core/arith/, the array, and each value that a tape's
 * operator leaves (core/tape/tape.c), so that vectors are judged where they are stored.
 */
#ifndef DT_DECLARED_H
#define DT_DECLARED_H

#include <stdint.h>

#include "rng.h" /* DT_HD */

#if defined(DETENT_CHECK_RANGES) && !defined(__CUDACC__)
#include <stdio.h>
#include <stdlib.h>

enum { DT_CHECKS_RANGES = 1 };

static inline void dt_declared_outside(int64_t value, int64_t low, int64_t high, const char *who, const char *what)
{
    fprintf(stderr, "detent: %s: %s %lld is outside %lld..%lld, the range that it is declared to have\n", who, what,
            (long long)value, (long long)low, (long long)high);
    abort();
}
#else
enum { DT_CHECKS_RANGES = 0 };

static inline DT_HD void dt_declared_outside(int64_t value, int64_t low, int64_t high, const char *who,
                                             const char *what)
{
    (void)value, (void)low, (void)high, (void)who, (void)what;
}
#endif

/* Returns value, which is declared to lie in low..high. who: the layer, node or operator; what: the value's name. */
static inline DT_HD int64_t dt_declared(int64_t value, int64_t low, int64_t high, const char *who, const char *what)
{
    if (DT_CHECKS_RANGES && (value < low || value > high)) dt_declared_outside(value, low, high, who, what);
    return value;
}

/* The same of two's complement of so many bits. */
static inline DT_HD int64_t dt_declared_bits(int64_t value, int bits, const char *who, const char *what)
{
    const int64_t half = (int64_t)1 << (bits - 1);
    return dt_declared(value, -half, half - 1, who, what);
}

#endif /* DT_DECLARED_H */
