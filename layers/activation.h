/*
 * activation.h - the limits that ReLU and CLIP put on values, and the sigmoid. CPU, CUDA and NORM_QUANT share this
 * arithmetic.
 *
 * The mathematics is in activation.c.
 */
#ifndef DT_ACTIVATION_H
#define DT_ACTIVATION_H

#include "../core/op.h"
#include "../core/rng.h" /* DT_HD */

#include <math.h>

/* Limits of a value. low -INFINITY: there is no lower limit. high NaN: there is no upper limit, because no comparison
 * with a NaN holds. */
typedef struct {
    float low, high;
} dt_limits;

/* Returns the limits of a ReLU. */
static inline dt_limits dt_relu_limits(const dt_relu_params *p)
{
    const dt_limits limits = { 0.0f, p->most > 0.0f ? p->most : NAN };
    return limits;
}

/* Returns the limits of a CLIP. */
static inline dt_limits dt_clip_limits(const dt_clip_params *p)
{
    const dt_limits limits = { p->low, p->high };
    return limits;
}

/* Returns the limits of a node that is a RELU or a CLIP. */
static inline dt_limits dt_limits_of(const dt_node *node)
{
    return node->kind == DT_OP_RELU ? dt_relu_limits((const dt_relu_params *)node->params)
                                    : dt_clip_limits((const dt_clip_params *)node->params);
}

/* Returns x limited to k. A NaN stays a NaN. */
static inline DT_HD float dt_limited(float x, dt_limits k)
{
    const float risen = x < k.low ? k.low : x;
    return risen > k.high ? k.high : risen;
}

/* Returns 1 / (1 + e^-x). e^-x overflows to infinity from x = -89 down, and this is then 0, as it should be. */
static inline DT_HD float dt_sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

/* Returns 1 if the gradient passes through a limited value y. At a limit it does not, as in PyTorch's hardtanh. */
static inline DT_HD int dt_limit_passes(float y, dt_limits k)
{
    return y > k.low && !(y >= k.high);
}

#endif /* DT_ACTIVATION_H */
