/*
 * softmax.h - the softmax of one row, which CPU and CUDA share. softmax.c has the mathematics.
 */
#ifndef DT_SOFTMAX_H
#define DT_SOFTMAX_H

#include "../core/rng.h" /* DT_HD */

#include <math.h>

/* Writes the softmax of x[0..n-1] to y. It computes each exponential twice, because y has no room for doubles. */
static inline DT_HD void dt_softmax_row(const float *x, int64_t n, float *y)
{
    float top = x[0];
    double sum = 0.0;

    for (int64_t i = 1; i < n; i++) top = x[i] > top ? x[i] : top;
    for (int64_t i = 0; i < n; i++) sum += exp((double)x[i] - (double)top);
    for (int64_t i = 0; i < n; i++) y[i] = (float)(exp((double)x[i] - (double)top) / sum);
}

/* Returns the mean of dy with the weights y, which dt_softmax_slope subtracts from each dy of the row. */
static inline DT_HD double dt_softmax_mean(const float *y, const float *dy, int64_t n)
{
    double sum = 0.0;

    for (int64_t i = 0; i < n; i++) sum += (double)dy[i] * (double)y[i];
    return sum;
}

/* Returns dx of one value. */
static inline DT_HD float dt_softmax_slope(float y, float dy, double mean)
{
    return (float)((double)y * ((double)dy - mean));
}

#endif /* DT_SOFTMAX_H */
