/*
 * batchnorm.h - the per-channel arithmetic of batch normalisation, which CPU and CUDA share.
 *
 * Both evaluate the same expressions from left to right, and no product is contracted with a sum (-ffp-contract=off,
 * -fmad=false). So in evaluation y has the same bits on both. In training it has them too as long as the sums are
 * exact, which they are for psums (batchnorm.c).
 *
 * For a channel with data q, whose real values are x = s * q (s = 1 if x is no grid tensor), all in f32:
 *   inv = 1 / sqrt(var + epsilon)
 *   a   = (gamma * inv) * s
 *   b   = beta - mean * (gamma * inv)
 *   y   = a * q + b
 *
 * The mathematics is in batchnorm.c.
 */
#ifndef DT_BATCHNORM_H
#define DT_BATCHNORM_H

#include <math.h>
#include <stdint.h>

#include "../core/rng.h" /* DT_HD */

/* Mean and variance of the real values of one channel. */
typedef struct {
    float mean;
    float var;          /* divided by n; it normalises the batch */
    float var_unbiased; /* divided by n - 1; it goes into the running variance, as in PyTorch */
} dt_batchnorm_moments;

/* The line of one channel: y = a * q + b. */
typedef struct {
    float a, b;
} dt_batchnorm_line;

/* Returns the moments of a channel with n >= 2 values. sum is the sum of its data q, and sum_squares that of q^2. */
static inline DT_HD dt_batchnorm_moments dt_batchnorm_moments_of(double sum, double sum_squares, int64_t n, float scale)
{
    const double s = (double)scale;
    const double mean = sum / (double)n;
    const double spread = sum_squares - sum * mean;
    const double square = s * s * (spread > 0.0 ? spread : 0.0); /* rounding may leave a constant channel below 0 */
    dt_batchnorm_moments m;
    m.mean = (float)(s * mean);
    m.var = (float)(square / (double)n);
    m.var_unbiased = (float)(square / (double)(n - 1));
    return m;
}

/* Returns 1 / sqrt(var + epsilon). */
static inline DT_HD float dt_batchnorm_inv(float var, float epsilon)
{
    return 1.0f / sqrtf(var + epsilon);
}

/* Returns the line of a channel; scale is s. */
static inline DT_HD dt_batchnorm_line dt_batchnorm_fold(float gamma, float beta, float mean, float inv, float scale)
{
    const float g = gamma * inv;
    dt_batchnorm_line line;
    line.a = g * scale;
    line.b = beta - mean * g;
    return line;
}

/* Returns the new running value after a batch. */
static inline DT_HD float dt_batchnorm_move(float running, float batch, float momentum)
{
    return (1.0f - momentum) * running + momentum * batch;
}

/* The factors of one channel's gradient: dx = a * (dy - mean_dy - (q - centre) * slope), in f32. */
typedef struct {
    float a;       /* gamma * inv */
    float mean_dy; /* mean of dy; in evaluation it is 0, as slope is, because the statistics are constants */
    float centre;  /* mean / s: the mean in units of the data */
    float slope;   /* (sum of dy * xhat) / n * inv * s */
} dt_batchnorm_slope;

/* Returns dgamma, the sum of dy * xhat, where xhat = (x - mean) * inv. sum_dyq is the sum of dy * q. */
static inline DT_HD double dt_batchnorm_dgamma(double sum_dy, double sum_dyq, float mean, float inv, float scale)
{
    return ((double)scale * sum_dyq - (double)mean * sum_dy) * (double)inv;
}

/* Returns the factors of a channel's gradient in training. */
static inline DT_HD dt_batchnorm_slope dt_batchnorm_slope_of(double sum_dy, double dgamma, int64_t n, float gamma,
                                                             float mean, float inv, float scale)
{
    dt_batchnorm_slope k;
    k.a = gamma * inv;
    k.mean_dy = (float)(sum_dy / (double)n);
    k.centre = mean / scale;
    k.slope = (float)(dgamma / (double)n * (double)inv * (double)scale);
    return k;
}

#endif /* DT_BATCHNORM_H */
