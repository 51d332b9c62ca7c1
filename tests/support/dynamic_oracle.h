/*
 * dynamic_oracle.h - the grid that a hybrid kernel of TensorFlow Lite gives one image while it runs, step by step in
 * f32 or in double as it does, and the image on it. It shares no code with the library.
 */
#ifndef DYNAMIC_ORACLE_H
#define DYNAMIC_ORACLE_H

#include <math.h>
#include <stdint.h>

/* Nearest integer, of two the one farther from 0. */
static inline double dynamic_oracle_away(double v)
{
    return copysign(floor(fabs(v) + 0.5), v);
}

/* Where 0 is stored: of the grid's two ends, the one whose magnitudes are smaller says it. */
static inline double dynamic_oracle_zero(double low, double high)
{
    const double s = (high - low) / 255.0, from_low = -128.0 - low / s, from_high = 127.0 - high / s;
    const int is_low = 128.0 - low / s < 127.0 + high / s;

    return fmin(fmax(dynamic_oracle_away(is_low ? from_low : from_high), -128.0), 127.0);
}

/* Writes to y[n] the integers of an image, which are real where they are multiplied by the scale that is returned. */
static inline float dynamic_oracle_codes(const double *x, int64_t n, double *y)
{
    double low = 0.0, high = 0.0;

    for (int64_t i = 0; i < n; i++) {
        low = fmin(low, x[i]);
        high = fmax(high, x[i]);
    }
    const float s = (float)((high - low) / 255.0);
    const float inverse = (float)(1.0 / (double)s);
    const double z = low < high ? dynamic_oracle_zero(low, high) : 0.0;
    for (int64_t i = 0; i < n; i++) {
        const float steps = (float)x[i] * inverse, stored = (float)z + steps;
        y[i] = low < high ? fmin(fmax(dynamic_oracle_away((double)stored), -128.0), 127.0) - z : 0.0;
    }
    return low < high ? s : 1.0f;
}

#endif /* DYNAMIC_ORACLE_H */
