/*
 * engine_oracle.h - the engines' arithmetic once more, with 128-bit integers and exact fractions, for tests. It shares
 * no code with core/arith/requantize.h.
 */
#ifndef ENGINE_ORACLE_H
#define ENGINE_ORACLE_H

#include <math.h>
#include <stdint.h>

__extension__ typedef __int128 wide;

/* Returns a / b rounded to an integer, half away from zero; b > 0. */
static inline wide oracle_divide_away(wide a, wide b)
{
    const wide size = a < 0 ? -a : a, quotient = (2 * size + b) / (2 * b);
    return a < 0 ? -quotient : quotient;
}

/* Returns a / b rounded to an integer, half up; b > 0. */
static inline wide oracle_divide_up(wide a, wide b)
{
    const wide twice = 2 * a + b;
    const wide quotient = twice / (2 * b);
    return twice % (2 * b) < 0 ? quotient - 1 : quotient;
}

/* Splits m > 0 into a mantissa of 31 bits and the power of two below it: m = mantissa / 2^bits. */
static inline wide oracle_mantissa(double m, int *bits)
{
    long double scaled = m;

    *bits = 0;
    while (scaled < 1073741824.0L) {
        scaled *= 2.0L;
        ++*bits;
    }
    while (scaled >= 2147483648.0L) {
        scaled /= 2.0L;
        --*bits;
    }
    const wide mantissa = (wide)floorl(scaled + 0.5L);
    if (mantissa < 2147483648LL) return mantissa;
    --*bits;
    return mantissa / 2;
}

/* Returns x * m: rounded half up when 31 bits of the product go, and half away from zero when the rest goes. */
static inline int64_t oracle_twice(int64_t x, double m)
{
    int bits;
    const wide mantissa = oracle_mantissa(m, &bits), one = 1;
    const int left = bits < 31 ? 31 - bits : 0, right = bits > 31 ? bits - 31 : 0;

    return (int64_t)oracle_divide_away(oracle_divide_up((x * (one << left)) * mantissa, one << 31), one << right);
}

/* Returns x * m, rounded once. */
static inline int64_t oracle_once(int64_t x, double m)
{
    int bits;
    const wide mantissa = oracle_mantissa(m, &bits), one = 1;

    return (int64_t)oracle_divide_up(x * mantissa, one << bits);
}

/* Returns v rounded to an integer, half to even. */
static inline double oracle_even(double v)
{
    const double down = floor(v), rest = v - down;
    const int is_odd = fmod(down, 2.0) != 0.0;
    return rest > 0.5 || (rest == 0.5 && is_odd) ? down + 1.0 : down;
}

static inline double oracle_limit(double v, int low, int high)
{
    return v < low ? low : v > high ? high : v;
}

#endif /* ENGINE_ORACLE_H */
