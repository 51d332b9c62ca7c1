/*
 * sigmoid_xent.h - binary cross entropy of one score. CPU and CUDA share this arithmetic.
 *
 * The mathematics is in sigmoid_xent.c.
 */
#ifndef DT_SIGMOID_XENT_H
#define DT_SIGMOID_XENT_H

#include "../core/rng.h" /* DT_HD */

#include <math.h>

/* Returns what a score should become: label is 0 or 1. */
static inline DT_HD double dt_sigmoid_xent_target(int32_t label, float smoothing)
{
    return (1.0 - (double)smoothing) * (double)label + 0.5 * (double)smoothing;
}

/* Returns the loss of one score. exp never gets a positive argument, so nothing overflows. A NaN stays a NaN. */
static inline DT_HD double dt_sigmoid_xent_loss(double z, double target)
{
    const double above = z < 0.0 ? 0.0 : z;
    return above - z * target + log1p(exp(-fabs(z)));
}

/* Returns d loss / d z of one score. */
static inline DT_HD double dt_sigmoid_xent_slope(double z, double target)
{
    const double e = exp(-fabs(z));
    return (z < 0.0 ? e : 1.0) / (1.0 + e) - target;
}

/* Returns 1 if the score says the label: it is above 0, where the sigmoid is above one half, or it is not. */
static inline DT_HD int dt_sigmoid_xent_right(float z, int32_t label)
{
    return (z > 0.0f) == (label != 0);
}

#endif /* DT_SIGMOID_XENT_H */
