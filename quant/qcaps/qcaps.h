/*
 * qcaps.h - inside the Q-CapsNets search: the algorithm, which asks a function for the accuracy of each choice of
 *           bits, apart from the evaluation of networks, which answers it.
 */
#ifndef DT_QCAPS_H
#define DT_QCAPS_H

#include "../../core/train/model.h"

/* The same bits for weights, activations and, where there is routing, for it. */
dt_qcaps_bits dt_qcaps_uniform(const dt_qcaps_shape *shape, int bits);

/* Tells the accuracy (%) of a network with these bits. */
typedef struct {
    dt_status (*measure)(void *user, const dt_qcaps_bits *bits, double *accuracy);
    void *user;
} dt_qcaps_judge;

/* dt_qcaps_search with the evaluation taken out. full_accuracy: %, without quantization. */
DT_MUST_CHECK dt_status dt_qcaps_run(const dt_qcaps_shape *shape, const dt_qcaps_options *opt, double full_accuracy,
                                     const dt_qcaps_judge *judge, const dt_qcaps_watch *watch, dt_qcaps_result *out);

#endif /* DT_QCAPS_H */
