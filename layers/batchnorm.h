/*
 * batchnorm.h - the per-channel arithmetic of batch normalisation, one for CPU and CUDA.
 *
 * Both backends get these numbers from the same expressions, evaluated left to right as written, with no product
 * contracted with a sum (-ffp-contract=off, -fmad=false). So in evaluation y has the same bits on both; in training
 * too while the sums are exact, which they are for psums (see batchnorm.c).
 *
 * For a channel c with data q (real values x = s * q; s = 1 if x is no grid tensor):
 *   inv = 1 / sqrt(var + epsilon)
 *   a   = (gamma * inv) * s
 *   b   = beta - mean * (gamma * inv)
 *   y   = a * q + b                      all in f32
 *
 * The mathematics is in batchnorm.c.
 */
#ifndef DT_BATCHNORM_H
#define DT_BATCHNORM_H

#include <math.h>
#include <stdint.h>

#include "../core/rng.h" /* DT_HD */

/* Of the real values of one channel. */
typedef struct {
    float mean;
    float var;          /* divided by n: normalises the batch */
    float var_unbiased; /* divided by n - 1: goes into the running variance, as in PyTorch */
} dt_batchnorm_moments;

/* y = a * q + b */
typedef struct {
    float a, b;
} dt_batchnorm_line;

/* sum and sum_squares are of the n >= 2 data of the channel, before scaling. */
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

static inline DT_HD float dt_batchnorm_inv(float var, float epsilon)
{
    return 1.0f / sqrtf(var + epsilon);
}

static inline DT_HD dt_batchnorm_line dt_batchnorm_fold(float gamma, float beta, float mean, float inv, float scale)
{
    const float g = gamma * inv;
    dt_batchnorm_line line;
    line.a = g * scale;
    line.b = beta - mean * g;
    return line;
}

static inline DT_HD float dt_batchnorm_move(float running, float batch, float momentum)
{
    return (1.0f - momentum) * running + momentum * batch;
}

/* dx = a * (dy - mean_dy - (q - centre) * slope) of one channel, in f32. */
typedef struct {
    float a;       /* gamma * inv */
    float mean_dy; /* 0 in evaluation, as is slope: the statistics are constants then */
    float centre;  /* mean / s: the mean in units of the data */
    float slope;   /* (sum of dy * xhat) / n * inv * s */
} dt_batchnorm_slope;

/* xhat = (x - mean) * inv; sum_dyq is the sum of dy * q. Returns the sum of dy * xhat, which is dgamma. */
static inline DT_HD double dt_batchnorm_dgamma(double sum_dy, double sum_dyq, float mean, float inv, float scale)
{
    return ((double)scale * sum_dyq - (double)mean * sum_dy) * (double)inv;
}

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
