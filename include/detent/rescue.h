/*
 * rescue.h - passes that win back what quantization after training has cost, each judged on images that calibration has
 *            not seen.
 */
#ifndef DT_PUBLIC_RESCUE_H
#define DT_PUBLIC_RESCUE_H

#include "dataset.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The passes, in the order in which they are made. docs/QUANTIZATION.md describes them. */
typedef enum {
    /* Cross-layer equalization: a channel between two layers is divided by s in the first and multiplied by s in the
     * second, so that both have weights of equal range. ReLU6 between the two becomes ReLU. */
    DT_RESCUE_EQUALIZE,
    DT_RESCUE_CORRECT_BIAS, /* the mean that each channel's output has lost, or won, is added to its bias */
    DT_RESCUE_ADAROUND, /* each weight is rounded up or down so that its layer's output has the least squared error */
    /* Outputs of a layer that had a batch norm get the mean and the deviation back that the norm gave them. */
    DT_RESCUE_REESTIMATE_NORMS,
    DT_RESCUE_PASSES
} dt_rescue_pass;

/* Their words, in that order, NULL at the end. */
DT_API extern const char *const dt_rescue_names[DT_RESCUE_PASSES + 1];

/* A quantized network on the images that are held out. */
typedef struct {
    double loss, accuracy; /* as in dt_metrics */
    double snr; /* 10 log10 of the scores' squares, of the network of reals, over the squares of their error */
} dt_rescue_score;

/* What one pass did. */
typedef struct {
    dt_rescue_pass pass;
    int kept;                      /* 1: the network has what the pass did; 0: it has not, because that did not help */
    dt_rescue_score before, after; /* without and with the pass */
    int n_changed, n_layers;       /* layers that it changed, of those that there are; of EQUALIZE pairs of layers */
    int n_clips;                   /* EQUALIZE: ReLU6 that have become ReLU */
    /* ADAROUND: sums over the layers of the mean squared error of their outputs, each divided by the mean square of the
     * outputs of the network of reals, of weights rounded to nearest and of the rounding that was found. */
    double error_before, error_after;
} dt_rescue_result;

/* What is tried. */
typedef struct {
    unsigned passes;            /* bit 1 << pass: it is made */
    int only_what_helps;        /* 1: a pass is kept if it lowers the loss on held_out; 0: all are kept */
    const dt_dataset *held_out; /* labelled images that are none of the calibration's */
    int rounding_steps;         /* ADAROUND: steps of Adam a layer; 0: 1,000 */
    dt_rescue_score *first;     /* written: the quantized network before any pass; NULL: not asked for */
    dt_rescue_score *real;      /* written: the network of reals, whose snr is infinite; NULL: not asked for */
    dt_rescue_result
        *result; /* [DT_RESCUE_PASSES] written: one for each pass that is made, in their order; may be NULL */
    /* Is called after each pass. May be NULL. */
    void (*tell)(void *user, const dt_rescue_result *r);
    void *user;
} dt_rescue;

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_RESCUE_H */
