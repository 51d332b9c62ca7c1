/*
 * fixed_point.h - how Q-CapsNets rounds one value: the arithmetic that the operators share, on the CPU and on CUDA.
 *
 *   step = scale / 2^(bits-1);  code = clamp(round(x / step), -2^(bits-1), 2^(bits-1) - 1);  value = code * step
 *
 *   round_to_nearest  half to even
 *   truncation        down
 *   stochastic        down, and up by one with the fraction as probability
 *   logarithmic       no code: value = sign(x) 2^e, e = log2|x| to the nearest integer, the largest magnitude being
 *                     scale's. Besides 0 there are 2^(bits-1) - 1 magnitudes, each half of the next; what would be a
 *                     smaller one is 0.
 *
 * The published code differs (format.published): bits counts fractional bits, step = 2^-bits, nothing is clamped, and
 *   round_to_nearest  activations: floor(x / step + step / 2); weights: floor(x / step). Its intention was 1/2
 *   stochastic        q = floor(x / step + step / 2), and q + 1 with probability x / step - q
 *   logarithmic       sign(x) 2^e, e as above of |x| + 1e-8, at most 10; 0 below step
 *
 * Equal inputs give equal bits on every backend: powers of two are exact, a product or a quotient is rounded once, to a
 * subnormal number too. A code of more than 24 bits is an integer in f32, rounded: the largest of 32 bits is 2^31. What
 * is not a number stays so.
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

/* Above this, published formats have steps so small that f32 holds no more than it does with this. */
enum { DT_FIXED_MAX_FRACTION = 62 };

/* The values of a format are codes times this; bits >= 0. */
static inline DT_HD float dt_fixed_step(const dt_fixed_format *f)
{
    return f->published ? 1.0f / (float)((int64_t)1 << f->bits) : f->scale / (float)((int64_t)1 << (f->bits - 1));
}

/* The power of two nearest to x >= 0 in the logarithm; 0 for a subnormal x. No float lies half-way: that is an odd
 * power of sqrt 2. */
static inline DT_HD float dt_nearest_power(float x)
{
    uint32_t bits;
    float below; /* the largest power up to x: its exponent alone */
    memcpy(&bits, &x, sizeof bits);
    bits &= 0x7f800000u;
    memcpy(&below, &bits, sizeof below);
    return x > 1.41421354f * below ? 2.0f * below : below; /* the last float below sqrt 2 */
}

/* Its logarithm; x is normal. */
static inline int dt_nearest_exponent(float x)
{
    return ilogbf(dt_nearest_power(x));
}

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

/* A format that has codes, made ready for many values. */
typedef struct {
    float step, shift, low, high; /* shift: added, in steps, before rounding down */
    int nearest, random;          /* neither: rounded down */
} dt_fixed_grid;

/* bits >= 0, not logarithmic */
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

/* u: a draw from [0, 1), read by stochastic rounding alone. */
static inline DT_HD float dt_fixed_round(const dt_fixed_grid *grid, float x, float u)
{
    const float at = x / grid->step;
    float code = grid->nearest ? rintf(at) : floorf(at + grid->shift);
    if (grid->random) code += u < at - code ? 1.0f : 0.0f;
    return dt_clamp(code, grid->low, grid->high);
}

static inline DT_HD float dt_fixed_code(const dt_fixed_format *f, float x, float u)
{
    const dt_fixed_grid grid = dt_fixed_prepare(f);
    return dt_fixed_round(&grid, x, u);
}

static inline DT_HD float dt_fixed_value(const dt_fixed_format *f, float x, float u)
{
    if (f->bits < 0) return x;
    if (f->rounding == DT_ROUND_LOGARITHMIC) return dt_fixed_logarithmic(f, x);
    return dt_fixed_code(f, x, u) * dt_fixed_step(f);
}

/* The draw of element `index` of the format's tensor; activations are numbered through the dataset. */
static inline DT_HD float dt_fixed_draw(const dt_fixed_format *f, uint64_t seed, uint64_t index)
{
    if (f->rounding != DT_ROUND_STOCHASTIC) return 0.0f;
    return dt_uniform(dt_random(seed, DT_STREAM_ROUND, f->tensor, index).v[0]);
}

#endif /* DT_FIXED_POINT_H */
