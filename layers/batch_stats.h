/*
 * batch_stats.h - when statistics are those of the batch, for CPU and CUDA. batch_stats.c has the mathematics, and
 *                 batchnorm.h the arithmetic.
 */
#ifndef DT_BATCH_STATS_H
#define DT_BATCH_STATS_H

#include "../core/op_params.h"
#include "../core/rng.h" /* DT_HD */
#include "../core/step.h"

/* Returns 1 if the step of training that `in` describes takes the batch's statistics, and moves the running ones. */
static inline DT_HD int dt_batch_stats_move(const dt_step_in *in, const dt_batch_stats_params *p)
{
    return p->freeze == 0 || in->step < p->freeze;
}

/* What a value of a channel gets of the gradient: dx = a + b * (x - mean). */
typedef struct {
    float a, b;
} dt_batch_stats_slope;

/* Returns the slope of a channel of n values from the gradients of its mean and of its variance, which is divided by
 * n. */
static inline DT_HD dt_batch_stats_slope dt_batch_stats_slope_of(float dmean, float dvar, int64_t n)
{
    dt_batch_stats_slope k;
    k.a = (float)((double)dmean / (double)n);
    k.b = (float)(2.0 * (double)dvar / (double)n);
    return k;
}

#endif /* DT_BATCH_STATS_H */
