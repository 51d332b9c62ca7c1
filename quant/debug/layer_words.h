/*
 * layer_words.h - layers as an engine sees them: an operator with what it has fused, under TensorFlow Lite's name.
 */
#ifndef DT_LAYER_WORDS_H
#define DT_LAYER_WORDS_H

#include "../../core/graph/graph.h"

/* Returns the node with which the layer begins that makes a value: BIAS, BATCHNORM, RELU, CLIP and IDENTITY belong to
 * the node before them, unless that node's value ends a layer. ends: [n_values], 1: it does. NULL: no node makes the
 * value. */
const dt_graph_node *dt_layer_head(const dt_graph *g, const char *ends, int value);

/* Returns what TensorFlow Lite calls such a node, such as "CONV_2D"; or the operator's name, if it has none. */
const char *dt_layer_word(const dt_graph *g, const dt_graph_node *head);

#endif /* DT_LAYER_WORDS_H */
