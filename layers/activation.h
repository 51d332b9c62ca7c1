/*
 * activation.h - what limits the values of ReLU and CLIP, one arithmetic for CPU, CUDA and NORM_QUANT.
 *
 * The mathematics is in activation.c.
 */
#ifndef DT_ACTIVATION_H
#define DT_ACTIVATION_H

#include "../core/op_params.h"
#include "../core/rng.h" /* DT_HD */

#include <math.h>

/* low -INFINITY: no lower limit; high NaN: no upper one, for no value compares as above a NaN. */
typedef struct {
    float low, high;
} dt_limits;

static inline dt_limits dt_relu_limits(const dt_relu_params *p)
{
    const dt_limits limits = { 0.0f, p->most > 0.0f ? p->most : NAN };
    return limits;
}

static inline dt_limits dt_clip_limits(const dt_clip_params *p)
{
    const dt_limits limits = { p->low, p->high };
    return limits;
}

/* A NaN stays one. */
static inline DT_HD float dt_limited(float x, dt_limits k)
{
    const float risen = x < k.low ? k.low : x;
    return risen > k.high ? k.high : risen;
}

/* 1 if the gradient of y, a limited value, passes: it does not at a limit, as in PyTorch's hardtanh */
static inline DT_HD int dt_limit_passes(float y, dt_limits k)
{
    return y > k.low && !(y >= k.high);
}

#endif /* DT_ACTIVATION_H */
