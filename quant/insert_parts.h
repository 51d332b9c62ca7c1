/*
 * insert_parts.h - what the passes share that put quantizers into a network (insert.c, insert_range.c): layers by their
 *                  names, and the nodes that both put around them.
 */
#ifndef DT_INSERT_PARTS_H
#define DT_INSERT_PARTS_H

#include "../core/graph/rewrite.h"

/* "features.27" of the weights "features.27.weight" */
typedef struct {
    char s[DT_NAME_MAX + 1];
} dt_layer_name;

/* Returns 1 if the node has weights that can be codes: a convolution, a linear layer, or votes. */
int dt_has_weights(const dt_graph_node *n);

/* Returns the name of a layer that has weights. */
dt_layer_name dt_layer_name_of(const dt_graph *g, const dt_graph_node *n);

/* Returns 1 if the nodes that make a value show that it cannot be below 0. */
int dt_is_positive(const dt_graph *g, int value);

/* DT_ERR_ARGUMENT if the pattern fits none of the layers that have weights and are needed; the message lists them. */
DT_MUST_CHECK dt_status dt_check_layer_pattern(const dt_graph *g, const char *needed, const char *pattern);

/* Adds a LINEAR of codes[0] and codes[1] under the layer's name, and the BIAS behind it that the real layer n has. *out
 * is the last value. */
DT_MUST_CHECK dt_status dt_insert_linear(dt_rewrite *r, const dt_graph_node *n, const int *codes, int *out);

/* *value becomes its real values, if it is on the grid. `layer` is for whom. */
DT_MUST_CHECK dt_status dt_insert_real(dt_rewrite *r, const char *layer, int *value);

#endif /* DT_INSERT_PARTS_H */
