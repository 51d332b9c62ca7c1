/*
 * range.h - the affine grid of TensorFlow Lite: from a range of real values to a scale and a zero point, and from a
 *           value to its code.
 *
 * The CPU, CUDA and whatever else quantizes so include this header, so that they cannot disagree.
 *
 * A range of `bits` bits, with least and most = -2^(bits-1) and 2^(bits-1) - 1, and levels = most - least:
 *   min = min(min, 0),  max = max(max, 0)
 *   if max - min <= 1e-6:  min = min(min, -1e-6),  max = max(max, 1e-6)
 *   step = (max - min) / levels in double;  scale = f32(f32(f32(max) - f32(min)) / levels)
 *   zero = least - min / step, or most - max / step where |most| + |max / step| is not above |least| + |min / step|;
 *          rounded half away from 0, and limited to least..most
 * TensorFlow Lite stores q, which is zero where the value is 0. A code is q - zero here, so that code 0 is the value 0,
 * and codes lie in least - zero .. most - zero:
 *   code = limit(rint(v / scale)), half to even in f32
 *
 * Weights, of one scale a filter or a layer, with high = 2^(bits-1) - 1 and all of it in double:
 *   step = max(max(max|w|, 5e-7) / high, least scale),  code = limit(w / step rounded half away from 0) to +-high
 *
 * The grid of one image, found while the network runs, has 8 bits and no least width; min <= 0 <= max:
 *   step = (max - min) / 255 in double,  scale = f32(step),  inverse = f32(1 / scale),  zero from step as above
 *   q = limit(zero + v * inverse, rounded half away from 0) to -128..127, each operation in f32;  value = scale * (q -
 * zero) A scale below the least normal number is 0, and so are all values then.
 *
 * Gradients of a range that is trained, with g = dL/d real: dv = g where (least - zero) scale <= v <= (most - zero)
 * scale, else 0; dmin is the sum of g below, dmax that above.
 *
 * A range or a weight that is no number, or infinite, has the scale NaN, and a NaN keeps its code NaN.
 *
 * Sources: TensorFlow 2.21's converter, measured; LiteRT 2.3's hybrid kernels, measured, for the grid of one image;
 * fake_quant_with_min_max_vars of TensorFlow for the gradients.
 * Operators: quant/range_quant.c, quant/max_quant.c, quant/dynamic_quant.c.  Tests: tests/quant/test_range_quant.c.
 */
#ifndef DT_RANGE_H
#define DT_RANGE_H

#include <math.h>

#include "../rng.h" /* DT_HD */
#include "grid.h"   /* dt_clamp */

/* A range that is no wider than this holds nothing but zeros. */
#define DT_RANGE_LEAST 1e-6

/* The least and the largest of the real values that a quantizer shall represent. */
typedef struct {
    float min, max; /* NaN: not known */
} dt_range;

/* The codes of one range. */
typedef struct {
    float scale;   /* real size of one step, > 0; NaN where the range is no number */
    int zero;      /* the zero point as TensorFlow Lite stores it, -2^(bits-1) .. 2^(bits-1) - 1 */
    int low, high; /* the least and the largest code; low <= 0 <= high */
} dt_range_grid;

/* Returns the number of steps in a range. */
static inline DT_HD int dt_range_levels(int bits)
{
    return (1 << bits) - 1;
}

/* Returns v rounded to the nearest integer, half away from 0. */
static inline DT_HD double dt_round_away(double v)
{
    return v >= 0.0 ? floor(v + 0.5) : ceil(v - 0.5);
}

/* Returns 1 if both ends are finite numbers. */
static inline DT_HD int dt_range_is_known(float min, float max)
{
    return fabsf(min) < INFINITY && fabsf(max) < INFINITY;
}

/* Returns the zero point of a range that holds 0, whose step is given in double. */
static inline DT_HD int dt_range_zero(double min, double max, double step, int bits)
{
    const double least = -(double)(1 << (bits - 1)), most = -least - 1.0;
    const double below = min / step, above = max / step;
    const int from_least = -least + fabs(below) < most + fabs(above);
    const double zero = dt_round_away(from_least ? least - below : most - above);

    return (int)(zero < least ? least : zero > most ? most : zero);
}

/* Returns the grid of a range. bits: 2..16. is_positive: values are not below 0, so that the range begins at 0. */
static inline DT_HD dt_range_grid dt_range_grid_of(float min, float max, int bits, int is_positive)
{
    const int least = -(1 << (bits - 1)), levels = dt_range_levels(bits);
    double low = is_positive || min > 0.0f ? 0.0 : (double)min, high = max < 0.0f ? 0.0 : (double)max;
    dt_range_grid grid = { NAN, 0, least, least + levels };

    if (!dt_range_is_known(min, max)) return grid;
    if (high - low <= DT_RANGE_LEAST) {
        low = low < -DT_RANGE_LEAST ? low : -DT_RANGE_LEAST;
        high = high > DT_RANGE_LEAST ? high : DT_RANGE_LEAST;
    }
    grid.scale = ((float)high - (float)low) / (float)levels;
    grid.zero = dt_range_zero(low, high, (high - low) / (double)levels, bits);
    grid.low = is_positive ? 0 : least - grid.zero;
    grid.high = least + levels - grid.zero;
    return grid;
}

/* Returns the code of a value. Code 0 has no sign, so that scores that are codes have the bits of a program's. */
static inline DT_HD float dt_range_code(float v, const dt_range_grid *grid)
{
    return dt_clamp(rintf(v / grid->scale), (float)grid->low, (float)grid->high) + 0.0f;
}

/* Returns -1 for a value below the real range of the codes, 1 for one above it, else 0. */
static inline DT_HD int dt_range_side(float v, const dt_range_grid *grid)
{
    const float low = (float)grid->low * grid->scale, high = (float)grid->high * grid->scale;

    return v < low ? -1 : v > high ? 1 : 0;
}

/* Returns the end of a moving range after a batch whose own end is given; decay is the share that stays. */
static inline DT_HD float dt_range_move(float running, float batch, float decay)
{
    return running - (running - batch) * (1.0f - decay);
}

/* ---- weights ---- */

/* Half of the narrowest range of weights. */
#define DT_MAX_LEAST 5e-7

/* Returns the step of weights whose largest magnitude is given; it is NaN if that is, or is infinite. The stored scale
 * is the step rounded to f32. least: a step is no smaller; 0 where nothing asks for more. */
static inline DT_HD double dt_max_step(float magnitude, int high, float least)
{
    const double half = (double)magnitude < DT_MAX_LEAST ? DT_MAX_LEAST : (double)magnitude;
    const double step = half / (double)high;

    if (!(half < INFINITY) || !(least < INFINITY)) return NAN;
    return step < (double)least ? (double)least : step;
}

/* Returns the code of a weight. */
static inline DT_HD float dt_max_code(float w, double step, int high)
{
    const double code = dt_round_away((double)w / step), most = (double)high;

    return (float)(code < -most ? -most : code > most ? most : code);
}

/* Returns the larger of two magnitudes; NaN if one is NaN. */
static inline DT_HD float dt_max_magnitude(float a, float w)
{
    const float v = fabsf(w);

    return v > a || v != v ? v : a;
}

/* ---- ranges that are found while the network runs ---- */

enum { DT_DYNAMIC_BITS = 8 };

/* The least scale; below it, 1 / scale might be infinite. It is the least normal number. */
#define DT_DYNAMIC_LEAST 1.17549435e-38f

typedef struct {
    float scale, inverse; /* both 0 where all values become 0; NaN where the range is no number */
    float zero;           /* the zero point, an integer -128..127 */
} dt_dynamic_grid;

/* Returns the smaller of the least value so far, at most 0, and the value v; NaN if one is NaN. */
static inline DT_HD float dt_dynamic_low(float least, float v)
{
    return v < least || v != v ? v : least;
}

/* Returns the larger of the most so far and v; NaN if one is NaN. */
static inline DT_HD float dt_dynamic_high(float most, float v)
{
    return v > most || v != v ? v : most;
}

/* Returns the grid of a range. min <= 0 <= max, or NaN. */
static inline DT_HD dt_dynamic_grid dt_dynamic_grid_of(float min, float max)
{
    const double step = ((double)max - (double)min) / (double)dt_range_levels(DT_DYNAMIC_BITS);
    dt_dynamic_grid grid = { NAN, NAN, 0.0f };

    if (!dt_range_is_known(min, max)) return grid;
    grid.scale = (float)step < DT_DYNAMIC_LEAST ? 0.0f : (float)step;
    grid.inverse = grid.scale > 0.0f ? 1.0f / grid.scale : 0.0f;
    if (grid.scale > 0.0f) grid.zero = (float)dt_range_zero((double)min, (double)max, step, DT_DYNAMIC_BITS);
    return grid;
}

/* Returns v rounded to the grid. */
static inline DT_HD float dt_dynamic_value(float v, const dt_dynamic_grid *grid)
{
    const float q = dt_clamp(roundf(grid->zero + v * grid->inverse), -128.0f, 127.0f);

    return grid->scale * (q - grid->zero);
}

#endif /* DT_RANGE_H */
