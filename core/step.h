/*
 * step.h - what changes from step to step, kept in device memory so that a captured step can be replayed.
 */
#ifndef DT_STEP_H
#define DT_STEP_H

#include <stdint.h>

/* The host writes `in` before a step; kernels add to `sum` during it; the host clears `sum` at an epoch's start. */
typedef struct {
    uint64_t seed;
    int64_t first; /* position of the batch's first image in the epoch's order */
    uint32_t epoch;
    float lr;            /* of the group WEIGHT; other groups have a factor */
    float adam_correct1; /* 1 / (1 - beta1^t), t = 1, 2, ... steps */
    float adam_correct2; /* 1 / (1 - beta2^t) */
    int hard;            /* 1: MARGIN_LOSS takes the margins of hard training */
} dt_step_in;

typedef struct {
    double loss;           /* sum over images, all terms */
    double reconstruction; /* of that, RECONSTRUCTION_LOSS before its scale */
    int64_t n_correct;
    int64_t n_images;
} dt_step_sum;

/* Gradients in 16 bits are `value` times too large, a power of two, so that the smallest do not vanish; the optimiser
 * divides. A step whose gradients overflowed changes no parameter. Source: Micikevicius et al., "Mixed precision
 * training", ICLR 2018, section 3.2; growth and backoff as in PyTorch's GradScaler. */
typedef struct {
    float value;      /* 1 where gradients are wide enough */
    int32_t clean;    /* steps without overflow since it last changed */
    int64_t skipped;  /* steps that overflowed, of the whole run */
    int32_t overflow; /* within an update: 1 if a gradient was not finite; 0 between steps */
} dt_loss_scale;

typedef struct {
    dt_step_in in;
    dt_step_sum sum;
    dt_loss_scale scale;
} dt_step;

#endif /* DT_STEP_H */
