/*
 * affine_oracle.h - TensorFlow Lite's scales and zero points in double, written from its quantization specification for
 *                   the tests of what quantizes so. It shares no code with core/arith/range.h.
 */
#ifndef AFFINE_ORACLE_H
#define AFFINE_ORACLE_H

#include <math.h>

typedef struct {
    double scale;     /* as it is stored: an f32 */
    double zero;      /* the zero point of codes in -2^(bits-1) .. 2^(bits-1) - 1 */
    double low, high; /* codes minus the zero point */
} affine_truth;

static inline affine_truth affine_of(double min, double max, int bits, int is_positive)
{
    const double first = -pow(2.0, bits - 1), last = pow(2.0, bits - 1) - 1.0, steps = last - first;
    double a = is_positive ? 0.0 : fmin(min, 0.0), b = fmax(max, 0.0);
    affine_truth t;

    if (b - a <= 1e-6) {
        a = fmin(a, -1e-6);
        b = fmax(b, 1e-6);
    }
    const double exact = (b - a) / steps;
    const float width = (float)b - (float)a;
    t.scale = (double)(float)(width / (float)steps);
    /* whichever of the two has the smaller terms */
    const double by_min = fabs(first) + fabs(a / exact), by_max = fabs(last) + fabs(b / exact);
    t.zero = round(by_min < by_max ? first - a / exact : last - b / exact);
    t.zero = fmax(first, fmin(last, t.zero));
    t.low = is_positive ? 0.0 : first - t.zero;
    t.high = last - t.zero;
    return t;
}

static inline double affine_code(const affine_truth *t, double v)
{
    return fmax(t->low, fmin(t->high, nearbyint(v / t->scale)));
}

#endif /* AFFINE_ORACLE_H */
