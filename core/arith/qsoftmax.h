/*
 * qsoftmax.h - the softmax of a row of codes as inference engines compute it; requantize.h has the profiles.
 *
 *   y = clamp(256 * softmax(beta * s_x * x)), codes 0..255 of the scale 1/256 (onnx: s_y)
 *
 *   ref-*, litert-ref  fixed point: differences to the row's maximum in Q5.26, e^x by a polynomial on [-1/4, 0) and
 *                      factors for the powers of two, their sum in Q12.19, its reciprocal by three steps of Newton
 *   fp32-rne           a table of e^x in f32, a sum in f32 in the row's order, rounded half up
 *   onnx               f32 probabilities / s_y, half to even
 *   exact              the same, of logits s_x * x that are real before the row's maximum is taken off, as evaluation's
 *
 * Sources: gemmlowp's fixedpoint.h describes the fixed-point functions; constants below are e^-1/8, 1/3, e^-2^k and
 * 48/17 in their formats.  Op: quant/qsoftmax.c.  Tests: tests/quant/test_qsoftmax.c.
 */
#ifndef DT_QSOFTMAX_H
#define DT_QSOFTMAX_H

#include "requantize.h"

enum { DT_Q5_FRACTION = 26, DT_Q12_FRACTION = 19 }; /* bits of fraction of Q5.26 and Q12.19 */

/* Returns e^x for x in [-1/4, 0), both in Q0.31: a polynomial of the fourth degree around -1/8. */
static inline DT_HD int64_t dt_fixed_exp_quarter(int64_t x)
{
    const int64_t e_eighth = 1895147668, third = 715827883;
    const int64_t t = x + ((int64_t)1 << 28);
    const int64_t t2 = dt_high_product(t, t), t3 = dt_high_product(t2, t), t4 = dt_high_product(t2, t2);
    const int64_t rest = dt_shift_away(dt_high_product(dt_shift_away(t4, 2) + t3, third) + t2, 1);

    return dt_saturate32(e_eighth + dt_high_product(e_eighth, t + rest));
}

/* Returns e^x in Q0.31 for x <= 0 in Q5.26. */
static inline DT_HD int64_t dt_fixed_exp(int64_t x)
{
    /* e^-1/4, e^-1/2, e^-1, .. e^-16 in Q0.31 */
    const int32_t factor[7] = { 1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242 };
    const int64_t quarter = (int64_t)1 << (DT_Q5_FRACTION - 2);
    const int64_t in_quarter = (x & (quarter - 1)) - quarter, rest = in_quarter - x;
    int64_t y = dt_fixed_exp_quarter(in_quarter * 32);

    for (int i = 0; i < 7; i++) {
        if (rest >> (DT_Q5_FRACTION - 2 + i) & 1) y = dt_high_product(y, factor[i]);
    }
    return x == 0 ? INT32_MAX : y;
}

/* Returns 1 / (1 + x) for x in [0, 1), both in Q0.31. */
static inline DT_HD int64_t dt_fixed_reciprocal(int64_t x)
{
    const int64_t sum = x + INT32_MAX, half = (sum + (sum >= 0 ? 1 : -1)) / 2; /* (1 + x) / 2 */
    int64_t y = 1515870810 + dt_high_product(half, -1010580540);               /* 48/17 - 32/17 half, in Q2.29 */

    for (int i = 0; i < 3; i++) {
        const int64_t missing = ((int64_t)1 << 29) - dt_high_product(half, y);
        y += dt_saturate32(dt_high_product(y, missing) * 4);
    }
    return dt_saturate32(y * 2);
}

/* How codes of one scale become differences in Q5.26. */
typedef struct {
    int32_t multiplier;
    int shift, once;
    int64_t least; /* difference of codes below which e^x counts as 0 */
} dt_fixed_softmax;

/* Returns the constants of a scale and beta. */
static inline DT_HD dt_fixed_softmax dt_fixed_softmax_of(float scale, float beta, int once)
{
    const double most = once ? 1073741823.0 : 2147483647.0, unit = (double)beta * (double)scale * 67108864.0;
    dt_fixed_softmax s = { 0, 0, once, 0 };

    dt_multiplier_of(unit < most ? unit : most, &s.multiplier, &s.shift);
    s.least = -(int64_t)floor(31.0 * ldexp(1.0, DT_Q5_FRACTION - s.shift));
    return s;
}

/* Returns e^(beta * scale * difference) in Q0.31; difference <= 0. */
static inline DT_HD int64_t dt_fixed_softmax_exp(const dt_fixed_softmax *s, int64_t difference)
{
    return dt_fixed_exp(s->once ? dt_product_once(difference, s->multiplier, s->shift)
                                : dt_product_twice(difference, s->multiplier, s->shift));
}

/* Writes y[0..n-1], codes 0..255, of the codes x[0..n-1]; largest is that of x. */
static inline DT_HD void dt_fixed_softmax_row(const dt_fixed_softmax *s, const float *x, int64_t n, float largest,
                                              float *y)
{
    int64_t sum = 0;
    int zeros = 0;

    for (int64_t i = 0; i < n; i++) {
        const int64_t difference = (int64_t)(x[i] - largest);
        if (difference >= s->least) sum += dt_shift_away(dt_fixed_softmax_exp(s, difference), 12);
    }
    while (zeros < 32 && !(sum >> (31 - zeros) & 1)) zeros++; /* before the sum's first bit, of 32 */
    const int64_t inverse = dt_fixed_reciprocal((int64_t)((uint32_t)((uint64_t)sum << zeros) - 2147483648u));
    for (int64_t i = 0; i < n; i++) {
        const int64_t difference = (int64_t)(x[i] - largest);
        y[i] = 0.0f;
        if (difference < s->least) continue;
        const int64_t product = dt_high_product(dt_fixed_softmax_exp(s, difference), inverse);
        y[i] = (float)dt_within(dt_shift_away(product, 12 - zeros + 31 - 8), 0, 255);
    }
}

/* Returns e^(-step * difference) as the table of fp32-rne has it; difference >= 0. */
static inline DT_HD float dt_table_exp(float step, float difference)
{
    return (float)exp((double)(-step * difference));
}

/* Writes y as fp32-rne does. */
static inline DT_HD void dt_table_softmax_row(float step, const float *x, int64_t n, float largest, float *y)
{
    float sum = 0.0f;

    for (int64_t i = 0; i < n; i++) sum += dt_table_exp(step, largest - x[i]);
    const float inverse = 1.0f / (sum * (1.0f / 256.0f));
    for (int64_t i = 0; i < n; i++) {
        const float share = dt_table_exp(step, largest - x[i]) * inverse;
        y[i] = (float)dt_within((int64_t)((double)share + 0.5), 0, 255);
    }
}

/* Writes y as real probabilities in steps of scale_y. */
static inline DT_HD void dt_real_softmax_row(float step, const float *x, int64_t n, float largest, float scale_y,
                                             float *y)
{
    double sum = 0.0;

    for (int64_t i = 0; i < n; i++) sum += exp((double)(step * (x[i] - largest)));
    for (int64_t i = 0; i < n; i++) {
        const float share = (float)(exp((double)(step * (x[i] - largest))) / sum);
        y[i] = (float)dt_within((int64_t)rintf(share / scale_y), 0, 255);
    }
}

/* Writes y as layers/softmax.h and range.h do, one after the other. */
static inline DT_HD void dt_evaluated_softmax_row(float scale, const float *x, int64_t n, float largest, float scale_y,
                                                  float *y)
{
    const double top = (double)(scale * largest);
    double sum = 0.0;

    for (int64_t i = 0; i < n; i++) sum += exp((double)(scale * x[i]) - top);
    for (int64_t i = 0; i < n; i++) {
        const float share = (float)(exp((double)(scale * x[i]) - top) / sum);
        y[i] = (float)dt_within((int64_t)rintf(share / scale_y), 0, 255);
    }
}

/* Writes y[0..n-1], codes 0..255, of a row of codes x[0..n-1], n >= 1. */
static inline DT_HD void dt_qsoftmax_row(dt_profile profile, float beta, float scale_x, float scale_y, const float *x,
                                         int64_t n, float *y)
{
    float largest = x[0];

    for (int64_t i = 1; i < n; i++) largest = x[i] > largest ? x[i] : largest;
    if (profile == DT_PROFILE_FP32_RNE) {
        dt_table_softmax_row(scale_x * beta, x, n, largest, y);
    } else if (profile == DT_PROFILE_EXACT) {
        dt_evaluated_softmax_row(scale_x * beta, x, n, largest, scale_y, y);
    } else if (profile == DT_PROFILE_ONNX) {
        dt_real_softmax_row(scale_x * beta, x, n, largest, scale_y, y);
    } else {
        const dt_fixed_softmax s = dt_fixed_softmax_of(scale_x, beta, profile == DT_PROFILE_REF_SINGLE);
        dt_fixed_softmax_row(&s, x, n, largest, y);
    }
}

#endif /* DT_QSOFTMAX_H */
