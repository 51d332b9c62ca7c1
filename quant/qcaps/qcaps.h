/*
 * qcaps.h - inside the Q-CapsNets search: the algorithm (qcaps_search.c), which asks a function for the accuracy of
 *           each choice of bits, and so does not depend on the evaluation of networks (qcaps.c).
 */
#ifndef DT_QCAPS_H
#define DT_QCAPS_H

#include "../../core/train/model.h"

/* Returns the same bits for all weights and activations, and for the routing of layers that route. */
dt_qcaps_bits dt_qcaps_uniform(const dt_qcaps_shape *shape, int bits);

/* A function that sets *accuracy to the accuracy (%) of the network with these bits. */
typedef struct {
    dt_status (*measure)(void *user, const dt_qcaps_bits *bits, double *accuracy);
    void *user;
} dt_qcaps_judge;

/* Runs the search with `measure` as its evaluation. full_accuracy is that without quantization, in %. */
DT_MUST_CHECK dt_status dt_qcaps_run(const dt_qcaps_shape *shape, const dt_qcaps_options *opt, double full_accuracy,
                                     const dt_qcaps_judge *judge, const dt_qcaps_watch *watch, dt_qcaps_result *out);

#endif /* DT_QCAPS_H */
