/*
 * norm_quant.h - the per-element arithmetic of NORM_QUANT, one for CPU and CUDA; the mathematics is in norm_quant.c.
 *
 * Of the four operators that it stands for it takes over the expressions, in their order: equal inputs give equal bits.
 */
#ifndef DT_NORM_QUANT_H
#define DT_NORM_QUANT_H

#include "../core/grid_facts.h"
#include "../core/op_params.h"
#include "../layers/activation.h"
#include "../layers/batchnorm.h"
#include "../core/arith/grid.h"

/* Inputs: x, then gamma, beta, running mean and variance if there is a norm, then alpha if there is a quantizer.
 * aux: mean[C], inv[C] of batchnorm.h, f32, if there is a norm. */
enum { DT_NQ_X, DT_NQ_GAMMA, DT_NQ_BETA, DT_NQ_MEAN, DT_NQ_VAR, DT_NQ_NORM_INPUTS = DT_NQ_VAR };

/* x, gamma, beta, alpha: all that have a gradient, wherever alpha stands. */
enum { DT_NQ_OVERWRITES = 1 << DT_NQ_X | 1 << DT_NQ_GAMMA | 1 << DT_NQ_BETA | 1 << (1 + DT_NQ_NORM_INPUTS) };

/* Index of alpha, where there is one. */
static inline int dt_norm_quant_alpha(const dt_norm_quant_params *p)
{
    return p->has_norm ? 1 + DT_NQ_NORM_INPUTS : 1;
}

/* y has `count` elements. */
static inline dt_grid dt_norm_quant_grid(const dt_act_quant_params *p, int64_t count)
{
    const int high = dt_act_high(p->bits, p->is_signed);
    const dt_grid grid = { p->is_signed ? -high : 0, high, 1.0f / sqrtf((float)count * (float)high) };
    return grid;
}

/* Those of the ReLU, if there is one. */
static inline dt_limits dt_norm_quant_limits(const dt_norm_quant_params *p)
{
    const dt_relu_params relu = { p->relu_most };
    const dt_limits none = { -INFINITY, NAN };
    return p->has_relu ? dt_relu_limits(&relu) : none;
}

/* What the max-pool sees: z = a * q + b of the channel, or q where there is no norm; then max(z, 0) if has_relu. The
 * ReLU's upper limit is put on the window's maximum instead: that gives the same value, and where it is the limit it
 * does not matter which cell had it, for no gradient passes. */
static inline DT_HD float dt_norm_quant_value(float q, float a, float b, int has_norm, int has_relu)
{
    const float z = has_norm ? a * q + b : q;
    return has_relu && z < 0.0f ? 0.0f : z;
}

/* The same bits without choices, for vectors: floor is 0, or -infinity without a ReLU; without a norm a = 1, b = -0. */
static inline DT_HD float dt_norm_quant_bounded(float q, float a, float b, float floor)
{
    const float z = a * q + b;
    return z < floor ? floor : z;
}

/* dx from dv, the gradient of that value, `value`; k is read where there is a norm. */
static inline DT_HD float dt_norm_quant_dx(float q, float value, float dv, dt_batchnorm_slope k, int has_norm,
                                           int has_relu)
{
    const float dz = has_relu && !(value > 0.0f) ? 0.0f : dv;
    return has_norm ? k.a * (dz - k.mean_dy - (q - k.centre) * k.slope) : dz;
}

#endif /* DT_NORM_QUANT_H */
