/*
 * start_weights.h - first weights that keep a signal's size, as a pass.
 */
#ifndef DT_START_WEIGHTS_H
#define DT_START_WEIGHTS_H

#include "../core/graph/graph.h"

/* Makes a copy of g in which convolutions and linear layers without a batch norm behind them draw their first weights
 * by start_weights.c, from the same random numbers. Layers whose weights have values already stay as they are. It is
 * for networks without quantizers, before those are put in. */
DT_MUST_CHECK dt_status dt_start_weights_keep(const dt_graph *g, dt_graph **out);

#endif /* DT_START_WEIGHTS_H */
