/*
 * requantize_lanes.h - the products of requantize.h in lanes of 32 bits and without branches, so that loops become
 *                      vectors.
 *
 * Each function gives the bits of its namesake in requantize.h, and says for which arguments. The proofs stand beside
 * them; x >> n is floor(x / 2^n), and floors of quotients by powers of two may be taken in steps.
 *
 * Ops: quant/requantize_lines.c.  Tests: tests/quant/test_requantize_lines.c.
 */
#ifndef DT_REQUANTIZE_LANES_H
#define DT_REQUANTIZE_LANES_H

#include <math.h>
#include <stdint.h>

/* Products take sums below this magnitude. */
#define DT_LANE_MOST ((int64_t)1 << 30)

/* How a high product is shifted to the right and rounded, half away from zero. */
typedef struct {
    int32_t bits, half; /* half is 2^(bits - 1), or 0 */
    int32_t below;      /* added to what is below 0: -1, or 0 if bits is 0 */
} dt_lane_shift;

/* Returns how to shift by 0 <= bits < 32. */
static inline dt_lane_shift dt_lane_shift_of(int32_t bits)
{
    const dt_lane_shift s = { bits, bits > 0 ? (int32_t)1 << (bits - 1) : 0, bits > 0 ? -1 : 0 };

    return s;
}

/* Returns a + b modulo 2^32. */
static inline int32_t dt_lane_add(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

/* Returns dt_product_twice for |x 2^left| < DT_LANE_MOST and a shift of left - s.bits, of which one is 0; multiplier >=
 * 0. The high product h has no larger magnitude than x 2^left, so that half may be added to it. Below 0, half away is
 *   ceil((h - half) / 2^bits) = floor((h - half + 2^bits - 1) / 2^bits) = (h + half - 1) >> bits. */
static inline int32_t dt_lane_twice(int32_t x, int32_t multiplier, int32_t left, dt_lane_shift s)
{
    const int32_t raised = (int32_t)((uint32_t)x << left);
    const int64_t product = (int64_t)raised * multiplier + ((int64_t)1 << 30);
    const int32_t high = (int32_t)(uint32_t)((uint64_t)product >> 31);

    return (high + s.half + ((high >> 31) & s.below)) >> s.bits;
}

/* Returns dt_product_once for |x| < DT_LANE_MOST and a shift of -right, right below 32:
 *   (x m + 2^(30 + r)) >> (31 + r) = (((x m >> 30) >> r) + 1) >> 1
 * x m is below 2^61 in magnitude, so that x m >> 30 has 32 bits, and is less than 2^31 - 1. */
static inline int32_t dt_lane_once(int32_t x, int32_t multiplier, int32_t right)
{
    const int32_t high = (int32_t)(uint32_t)((uint64_t)((int64_t)x * multiplier) >> 30);

    return ((high >> right) + 1) >> 1;
}

/* Returns x limited to low..high. */
static inline int32_t dt_lane_within(int32_t x, int32_t low, int32_t high)
{
    const int32_t raised = x < low ? low : x;

    return raised > high ? high : raised;
}

/* Returns the integer nearest to x, half to even, limited to low..high; 0 is +0. x is no NaN. The comparisons are in
 * the type of x, because an integer may not hold it. */
static inline float dt_lane_nearest(float x, float low, float high)
{
    const float raised = x < low ? low : x, limited = raised > high ? high : raised;

    return rintf(limited) + 0.0f; /* low and high are integers, so that it does not matter which comes first */
}

/* Returns the same of a double, by whichever rounding `rounded` had. */
static inline float dt_lane_limited(double rounded, double low, double high)
{
    const double raised = rounded < low ? low : rounded, limited = raised > high ? high : raised;

    return (float)limited + 0.0f;
}

#endif /* DT_REQUANTIZE_LANES_H */
