/*
 * norm_quant.h - the per-element arithmetic of NORM_QUANT, which CPU and CUDA share. norm_quant.c has the mathematics.
 *
 * It has the expressions of the four operators that NORM_QUANT replaces, in their order, so that equal inputs give
 * equal bits.
 */
#ifndef DT_NORM_QUANT_H
#define DT_NORM_QUANT_H

#include "../core/grid_facts.h"
#include "../core/op_params.h"
#include "../layers/activation.h"
#include "../layers/batchnorm.h"
#include "../core/arith/grid.h"

/* The inputs of the node: x; if it has a norm, gamma, beta, running mean and running variance; if it has a quantizer,
 * alpha. If it has a norm, aux holds mean[C] and inv[C] of batchnorm.h, f32. */
enum { DT_NQ_X, DT_NQ_GAMMA, DT_NQ_BETA, DT_NQ_MEAN, DT_NQ_VAR, DT_NQ_NORM_INPUTS = DT_NQ_VAR };

/* The inputs that have a gradient, which backward overwrites where it is fresh: x, gamma, beta and alpha, which may
 * stand at index 1 or 5. */
enum { DT_NQ_OVERWRITES = 1 << DT_NQ_X | 1 << DT_NQ_GAMMA | 1 << DT_NQ_BETA | 1 << (1 + DT_NQ_NORM_INPUTS) };

/* Returns the index of alpha, if there is a quantizer. */
static inline int dt_norm_quant_alpha(const dt_norm_quant_params *p)
{
    return p->has_norm ? 1 + DT_NQ_NORM_INPUTS : 1;
}

/* Returns the constants of a quantizer whose output has `count` elements in the whole step. */
static inline dt_grid dt_norm_quant_grid(const dt_act_quant_params *p, int64_t count)
{
    const int high = dt_act_high(p->bits, p->is_signed);
    const dt_grid grid = { p->is_signed ? -high : 0, high, 1.0f / sqrtf((float)count * (float)high) };
    return grid;
}

/* Returns the limits of the ReLU, or none if there is no ReLU. */
static inline dt_limits dt_norm_quant_limits(const dt_norm_quant_params *p)
{
    const dt_relu_params relu = { p->relu_most };
    const dt_limits none = { -INFINITY, NAN };
    return p->has_relu ? dt_relu_limits(&relu) : none;
}

/* Returns the value that the max-pool reads: z = a * q + b, or q without a norm; with a ReLU max(z, 0). The ReLU's
 * upper limit is put on the window's maximum instead, which gives the same value. Where that is the limit, it does not
 * matter which cell had it, because no gradient passes. */
static inline DT_HD float dt_norm_quant_value(float q, float a, float b, int has_norm, int has_relu)
{
    const float z = has_norm ? a * q + b : q;
    return has_relu && z < 0.0f ? 0.0f : z;
}

/* Returns the same bits without branches, for vectors. floor is 0, or -INFINITY without a ReLU. Without a norm, a is 1
 * and b is -0. */
static inline DT_HD float dt_norm_quant_bounded(float q, float a, float b, float floor)
{
    const float z = a * q + b;
    return z < floor ? floor : z;
}

/* Returns dx of one element from dv, the gradient of the value that dt_norm_quant_value gave. k is used if there is a
 * norm. */
static inline DT_HD float dt_norm_quant_dx(float q, float value, float dv, dt_batchnorm_slope k, int has_norm,
                                           int has_relu)
{
    const float dz = has_relu && !(value > 0.0f) ? 0.0f : dv;
    return has_norm ? k.a * (dz - k.mean_dy - (q - k.centre) * k.slope) : dz;
}

#endif /* DT_NORM_QUANT_H */
