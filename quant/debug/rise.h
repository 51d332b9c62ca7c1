/*
 * rise.h - the second-order estimate of what rounding a layer's weights adds to the loss.
 */
#ifndef DT_RISE_H
#define DT_RISE_H

#include "../../core/graph/graph.h"
#include "../../core/train/model.h"

/* Computes the estimate of each MAX_QUANT of a graph with values, [n_nodes of g]; other nodes get NaN. `real` is the
 * model of the same network without quantizers, whose parameters have the same names. Images first .. first + n - 1 of
 * d and their labels make the gradients. Nodes get NaN if the network cannot be trained an image at a time. */
DT_MUST_CHECK dt_status dt_estimate_rise(const dt_graph *g, dt_model *real, const dt_dataset *d, int64_t first,
                                         int64_t n, double *out);

#endif /* DT_RISE_H */
