/*
 * fixed_point.h - how Q-CapsNets rounds one value. The operators share this arithmetic, on the CPU and on CUDA.
 *
 *   step = scale / 2^(bits-1);  code = clamp(round(x / step), -2^(bits-1), 2^(bits-1) - 1);  value = code * step
 *
 * round() is one of
 *   round_to_nearest  to the nearest integer, half to even
 *   truncation        down
 *   stochastic        down, or up with the fraction of x / step as the probability
 *   logarithmic       There is no code: value = sign(x) * 2^e, where e is log2|x| rounded to the nearest integer.
 *                     Besides 0 there are 2^(bits-1) - 1 magnitudes. The largest is the power of two nearest to scale,
 *                     and each other one is half of the next. A magnitude below the smallest becomes 0.
 *
 * The published code differs (format.published): bits is the number of fractional bits, step = 2^-bits, nothing is
 * clamped, and round() is one of
 *   round_to_nearest  activations: floor(x / step + step / 2), where 1/2 was meant instead of step / 2;
 *                     weights: floor(x / step)
 *   truncation        down
 *   stochastic        q = floor(x / step + step / 2), or q + 1 with probability x / step - q
 *   logarithmic       value = sign(x) * 2^e, where e is that of |x| + 1e-8 and at most 10; a magnitude below step is 0
 *
 * Equal inputs give equal bits on every backend: powers of two are exact, and each product or quotient is rounded once,
 * also to a subnormal number. Codes are integers in f32, so those of more than 24 bits are rounded; the largest code of
 * 32 bits is 2^31. A NaN stays a NaN.
 *
 * Source: Marchisio et al., "Q-CapsNets", DAC 2020, and the code published with it.
 * Operators: quant/fixed_point.c, layers/caps/caps_route.c.  Tests: tests/quant/test_fixed_point.c.
 */
#ifndef DT_FIXED_POINT_H
#define DT_FIXED_POINT_H

#include <math.h>
#include <string.h>

#include "../op_params.h"
#include "../rng.h"
#include "grid.h" /* dt_clamp */

/* The most fractional bits of a published format. More would change no value that f32 can hold in use. */
enum { DT_FIXED_MAX_FRACTION = 62 };

/* Returns the step between two values of a format that has codes. f->bits >= 0, and >= 1 unless f is published. */
static inline DT_HD float dt_fixed_step(const dt_fixed_format *f)
{
    return f->published ? 1.0f / (float)((int64_t)1 << f->bits) : f->scale / (float)((int64_t)1 << (f->bits - 1));
}

/* Returns the power of two whose logarithm is nearest to that of x >= 0, or 0 if x is 0 or subnormal. There are no
 * ties, because no float is a power of two times sqrt(2). */
static inline DT_HD float dt_nearest_power(float x)
{
    uint32_t bits;
    float below; /* the largest power up to x: its exponent alone */
    memcpy(&bits, &x, sizeof bits);
    bits &= 0x7f800000u;
    memcpy(&below, &bits, sizeof below);
    return x > 1.41421354f * below ? 2.0f * below : below; /* the last float below sqrt 2 */
}

/* Returns log2 of dt_nearest_power(x). x must be normal. */
static inline int dt_nearest_exponent(float x)
{
    return ilogbf(dt_nearest_power(x));
}

/* Rounds x to a power of two of the format, or to 0. */
static inline DT_HD float dt_fixed_logarithmic(const dt_fixed_format *f, float x)
{
    const float size = fabsf(x);
    float power, least;

    if (f->published) {
        power = size < 1024.0f ? dt_nearest_power(size + 1e-8f) : 1024.0f;
        least = dt_fixed_step(f);
    } else {
        const int n_powers = f->bits > 9 ? 255 : (1 << (f->bits - 1)) - 1; /* f32 has 254 */
        power = dt_nearest_power(size < f->scale ? size : f->scale);
        least = ldexpf(dt_nearest_power(f->scale), 1 - n_powers);
    }
    if (!(size > 0.0f)) return x;
    return power < least ? 0.0f : copysignf(power, x);
}

/* What dt_fixed_round needs of a format. */
typedef struct {
    float step, shift, low, high; /* shift is added to x / step before it is rounded down; low..high is the range */
    int nearest, random;          /* nearest 1: half to even; random 1: stochastic; both 0: down */
} dt_fixed_grid;

/* Prepares a format that has codes: its bits are >= 0 and its rounding is not logarithmic. */
static inline DT_HD dt_fixed_grid dt_fixed_prepare(const dt_fixed_format *f)
{
    const int random = f->rounding == DT_ROUND_STOCHASTIC, nearest = f->rounding == DT_ROUND_NEAREST;
    const float step = dt_fixed_step(f), end = f->published ? INFINITY : (float)((int64_t)1 << (f->bits - 1));
    const int shifted = f->published && (random || (nearest && !f->is_weight));
    const dt_fixed_grid grid = {
        step, shifted ? 0.5f * step : 0.0f, -end, end - 1.0f, nearest && !f->published, random
    };
    return grid;
}

/* Returns the code of x. u is a draw from [0, 1), which stochastic rounding alone reads. */
static inline DT_HD float dt_fixed_round(const dt_fixed_grid *grid, float x, float u)
{
    const float at = x / grid->step;
    float code = grid->nearest ? rintf(at) : floorf(at + grid->shift);
    if (grid->random) code += u < at - code ? 1.0f : 0.0f;
    return dt_clamp(code, grid->low, grid->high);
}

/* Returns the code of x in a format that has codes. */
static inline DT_HD float dt_fixed_code(const dt_fixed_format *f, float x, float u)
{
    const dt_fixed_grid grid = dt_fixed_prepare(f);
    return dt_fixed_round(&grid, x, u);
}

/* Returns the value of x in any format. It is x itself where f->bits < 0. */
static inline DT_HD float dt_fixed_value(const dt_fixed_format *f, float x, float u)
{
    if (f->bits < 0) return x;
    if (f->rounding == DT_ROUND_LOGARITHMIC) return dt_fixed_logarithmic(f, x);
    return dt_fixed_code(f, x, u) * dt_fixed_step(f);
}

/* Returns the draw for element `index` of the format's tensor, or 0 if its rounding is not stochastic. The index of an
 * activation counts on from image to image of the dataset. */
static inline DT_HD float dt_fixed_draw(const dt_fixed_format *f, uint64_t seed, uint64_t index)
{
    if (f->rounding != DT_ROUND_STOCHASTIC) return 0.0f;
    return dt_uniform(dt_random(seed, DT_STREAM_ROUND, f->tensor, index).v[0]);
}

#endif /* DT_FIXED_POINT_H */
