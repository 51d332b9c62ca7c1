/*
 * step.h - what changes from step to step. It lies in device memory, so that a captured step can be replayed.
 */
#ifndef DT_STEP_H
#define DT_STEP_H

#include "rng.h" /* DT_HD */

#include <stdint.h>

/* What a step reads. It is written before the step. */
typedef struct {
    uint64_t seed;
    int64_t step;  /* steps done since the run began */
    int64_t first; /* position of the batch's first image in the epoch's order */
    uint32_t epoch;
    float lr;            /* learning rate; a range of parameters multiplies it by its lr_factor */
    float adam_correct1; /* 1 / (1 - beta1^t), where t = 1, 2, ... is the number of the step */
    float adam_correct2; /* 1 / (1 - beta2^t) */
    float ema_share;     /* the share of the distance to the parameters that their mean goes */
    float ewgs, dampen;  /* as in dt_train_config */
    int hard;            /* 1: MARGIN_LOSS takes the margins of hard training */
} dt_step_in;

/* The running sums over images. Kernels add to them in each step, and they are cleared when an epoch begins. */
typedef struct {
    double loss;           /* with all terms */
    double reconstruction; /* the part of RECONSTRUCTION_LOSS, before its scale */
    int64_t n_correct;     /* images whose prediction was right, or labels where an image has several */
    int64_t n_images;
    int64_t n_labels; /* of SIGMOID_XENT: labels of all images, which n_correct counts among; else 0 */
    int64_t n_exact;  /* of SIGMOID_XENT: images all of whose labels were right; else 0 */
} dt_step_sum;

/* The same as doubles, in which counts are exact, so that one sum over ranks takes them all. */
enum { DT_STEP_SUMS = 6 };

static inline DT_HD void dt_step_sum_pack(const dt_step_sum *sum, double to[DT_STEP_SUMS])
{
    to[0] = sum->loss;
    to[1] = sum->reconstruction;
    to[2] = (double)sum->n_correct;
    to[3] = (double)sum->n_images;
    to[4] = (double)sum->n_labels;
    to[5] = (double)sum->n_exact;
}

static inline DT_HD void dt_step_sum_unpack(const double from[DT_STEP_SUMS], dt_step_sum *sum)
{
    sum->loss = from[0];
    sum->reconstruction = from[1];
    sum->n_correct = (int64_t)from[2];
    sum->n_images = (int64_t)from[3];
    sum->n_labels = (int64_t)from[4];
    sum->n_exact = (int64_t)from[5];
}

/* The loss scale. Gradients in 16 bits are `value` times too large, a power of two, so that the smallest do not vanish;
 * the optimiser divides by it. A step whose gradients overflow changes no parameter. Source: Micikevicius et al.,
 * "Mixed precision training", ICLR 2018, section 3.2; it grows and shrinks as in PyTorch's GradScaler. */
typedef struct {
    float value;      /* 1 where gradients are not scaled */
    int32_t clean;    /* steps without overflow since value last changed */
    int64_t skipped;  /* steps that overflowed since the run began */
    int32_t overflow; /* within an update: 1 if a gradient was not finite; 0 between steps */
} dt_loss_scale;

typedef struct {
    dt_step_in in;
    dt_step_sum sum;
    dt_loss_scale scale;
} dt_step;

#endif /* DT_STEP_H */
