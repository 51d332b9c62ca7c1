/*
 * softmax.h - the softmax of one row, one arithmetic for CPU and CUDA. The mathematics is in softmax.c.
 */
#ifndef DT_SOFTMAX_H
#define DT_SOFTMAX_H

#include "../core/rng.h" /* DT_HD */

#include <math.h>

/* The exponentials are taken twice: they are doubles, for which y has no room. */
static inline DT_HD void dt_softmax_row(const float *x, int64_t n, float *y)
{
    float top = x[0];
    double sum = 0.0;

    for (int64_t i = 1; i < n; i++) top = x[i] > top ? x[i] : top;
    for (int64_t i = 0; i < n; i++) sum += exp((double)x[i] - (double)top);
    for (int64_t i = 0; i < n; i++) y[i] = (float)(exp((double)x[i] - (double)top) / sum);
}

/* the mean of dy by the weights y, which every dx[i] of the row falls short by */
static inline DT_HD double dt_softmax_mean(const float *y, const float *dy, int64_t n)
{
    double sum = 0.0;

    for (int64_t i = 0; i < n; i++) sum += (double)dy[i] * (double)y[i];
    return sum;
}

static inline DT_HD float dt_softmax_slope(float y, float dy, double mean)
{
    return (float)((double)y * ((double)dy - mean));
}

#endif /* DT_SOFTMAX_H */
