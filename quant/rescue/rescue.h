/*
 * rescue.h - what quantization after training has cost, and passes that win some of it back.
 *
 * rescue.c makes the passes in their order, judges each on images that are held out, and keeps it or not. equalize.c
 * works on the network of reals; the others (correct.c: biases and norms; adaround.c) change weights and biases of the
 * quantized network layer by layer, from the first on, so that a layer sees what those before it have become.
 */
#ifndef DT_RESCUE_RUN_H
#define DT_RESCUE_RUN_H

#include "layers.h"

/* Quantizes `folded`, which dt_post_training_fold made of m, by what->rescue. */
DT_MUST_CHECK dt_status dt_rescue_run(dt_model *m, dt_model *folded, const dt_quantization *what,
                                      const dt_known_ranges *known, dt_model **out);

/* The networks of one pass. `plain` and `quantized` have the same layers; `reference` is `plain` before any weight was
 * changed but by equalization, and says what outputs should be. */
typedef struct {
    const dt_quantization *what;
    dt_model *reference, *quantized;
    const dt_rescue_layers *layers; /* of reference's graph */
} dt_rescue_work;

/* ---- equalize.c ---- */

/* Makes an equalized copy of a folded graph whose parameters have data, and divides the channels of `layers`' norms as
 * those of their layers. *n_pairs: pairs of layers that were equalized, of *n_layers - 1. *n_clips: ReLUs that have
 * lost their upper limit. */
DT_MUST_CHECK dt_status dt_rescue_equalize(const dt_graph *g, dt_rescue_layers *layers, int *n_pairs, int *n_clips,
                                           dt_graph **out);

/* ---- correct.c ---- */

/* Adds to each bias what the mean of its layer's output lacks. *n_changed: layers that have a bias. */
DT_MUST_CHECK dt_status dt_rescue_correct_bias(const dt_rescue_work *w, int *n_changed);
/* Gives the outputs of each layer that had a norm the mean and the deviation that the norm gave. */
DT_MUST_CHECK dt_status dt_rescue_reestimate_norms(const dt_rescue_work *w, int *n_changed);

/* ---- adaround.c ---- */

/* Errors of all layers, as in dt_rescue_result. */
typedef struct {
    double before, after;
} dt_rounding_error;

DT_MUST_CHECK dt_status dt_rescue_adaround(const dt_rescue_work *w, int steps, int *n_changed, dt_rounding_error *out);

/* One filter whose weights are to be rounded, w[i] = step * code[i]. Its output at a position is bias + step * sx * sum
 * of code[i] x[i] with codes x; the sum of the squared errors against a target is
 *   E(code) = S^2 code' G code - 2 S h' code + T,   S = step sx,
 * with G = sum of x x', h = sum of x (target - bias), T = sum of (target - bias)^2 over positions. */
typedef struct {
    int64_t n;          /* weights */
    const double *gram; /* [n][n] G */
    const double *h;    /* [n] */
    double T, S;
    int high;            /* largest code */
    const double *ratio; /* [n] w / step, the real weights in steps */
} dt_filter_rounding;

/* Writes E of codes. */
double dt_rounding_error_of(const dt_filter_rounding *r, const int *code);
/* Finds codes, each the integer below or above its ratio, with a small E, by AdaRound's relaxation and then by changing
 * single codes as long as that helps. E is never above that of rounding to nearest. A weight whose ratio is +-high
 * keeps that code. room: [6 n]. code: [n] */
void dt_rounding_solve(const dt_filter_rounding *r, int steps, double *room, int *code);

#endif /* DT_RESCUE_RUN_H */
