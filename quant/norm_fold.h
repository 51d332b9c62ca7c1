/*
 * norm_fold.h - the arithmetic of a batch norm that is folded into its layer, for CPU and CUDA, and for what finishes
 *               such a network (fold_train.c). norm_fold.c has the mathematics.
 */
#ifndef DT_NORM_FOLD_H
#define DT_NORM_FOLD_H

#include "../core/rng.h" /* DT_HD */
#include "../layers/batchnorm.h"

/* Returns the factor of a filter, gamma / sqrt(var + epsilon). */
static inline DT_HD float dt_fold_factor(float gamma, float var, float epsilon)
{
    return gamma * dt_batchnorm_inv(var, epsilon);
}

/* Returns the folded bias of a channel; bias is the layer's own, 0 if it has none. */
static inline DT_HD float dt_fold_offset(float factor, float bias, float mean, float beta)
{
    return factor * (bias - mean) + beta;
}

/* Returns what turns a sum of weights that were folded by `var` into one of weights folded by `batch`. It is 1 where
 * the two are equal. */
static inline DT_HD float dt_fold_correction(float var, float batch, float epsilon)
{
    return sqrtf(var + epsilon) / sqrtf(batch + epsilon);
}

/* A channel of FOLD_BIAS: y = a * q + b, where q is x's data. */
static inline DT_HD float dt_fold_line(float scale, float q, float correction, float offset)
{
    return scale * q * correction + offset;
}

/* One channel of FOLD_BIAS, for its gradient. */
typedef struct {
    float gamma, mean, var,
        folded_var; /* folded_var: of the statistics that x's weights have; NAN: x is not corrected */
    float bias, epsilon;
} dt_fold_channel;

/* Returns the correction of x in that channel. */
static inline DT_HD float dt_fold_correction_of(const dt_fold_channel *k)
{
    return isnan(k->folded_var) ? 1.0f : dt_fold_correction(k->folded_var, k->var, k->epsilon);
}

/* The gradients of one channel's numbers. */
typedef struct {
    float gamma, beta, mean, var, bias;
} dt_fold_gradient;

/* Returns the gradients from the sum of dy and that of dy * x, the real value. */
static inline DT_HD dt_fold_gradient dt_fold_gradient_of(const dt_fold_channel *k, double sum_dy, double sum_dyx)
{
    const double width = (double)k->var + (double)k->epsilon, inv = 1.0 / sqrt(width), gamma = (double)k->gamma;
    const double centred = (double)k->bias - (double)k->mean;
    const double correction = isnan(k->folded_var) ? 0.0 : sqrt((double)k->folded_var + (double)k->epsilon) * inv;
    dt_fold_gradient d;
    d.gamma = (float)(sum_dy * inv * centred);
    d.beta = (float)sum_dy;
    d.bias = (float)(sum_dy * gamma * inv);
    d.mean = -d.bias;
    d.var = (float)(-0.5 / width * (sum_dyx * correction + sum_dy * gamma * inv * centred));
    return d;
}

/* The gradients of a filter's numbers. */
typedef struct {
    float gamma, var;
} dt_fold_weight_gradient;

/* Returns the gradients from the sum of dw' * w over the filter. */
static inline DT_HD dt_fold_weight_gradient dt_fold_weight_gradient_of(float gamma, float var, float epsilon,
                                                                       double sum)
{
    const double width = (double)var + (double)epsilon, inv = 1.0 / sqrt(width);
    dt_fold_weight_gradient d;
    d.gamma = (float)(inv * sum);
    d.var = (float)(-0.5 / width * (double)gamma * inv * sum);
    return d;
}

#endif /* DT_NORM_FOLD_H */
