/*
 * prune.h - the two ways of pruning, as passes over a network whose parameters have their values.
 *
 * prune.c chooses between them; prune_filters.c removes filters, prune_weights.c makes weights 0.
 */
#ifndef DT_PRUNE_H
#define DT_PRUNE_H

#include "../core/graph/graph.h"
#include "detent/compress.h"

/* Makes a smaller copy of g, without the filters that `how` chooses. */
DT_MUST_CHECK dt_status dt_prune_filters(const dt_graph *g, const dt_pruning *how, dt_graph **out);

/* Makes weights of g 0, and their parameters sparse. */
DT_MUST_CHECK dt_status dt_prune_weights(dt_graph *g, const dt_pruning *how);

/* Returns 1 if a pattern of how->whole fits the layer n. */
int dt_prune_leaves_whole(const dt_graph *g, const dt_graph_node *n, const dt_pruning *how);

#endif /* DT_PRUNE_H */
