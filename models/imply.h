/*
 * imply.h - adds the parameters that a network's file does not name: LAYER.weight, LAYER.bias, ..
 */
#ifndef DT_IMPLY_H
#define DT_IMPLY_H

#include "../core/graph/graph.h"

/* Sizes that a file gives instead of parameters; 0: it does not give the size. */
typedef struct {
    int filters;   /* CONV2D */
    int window[2]; /* CONV2D: rows and columns of its filters */
    int features;  /* LINEAR: outputs */
} dt_implied_sizes;

/* Adds a node with the n_in inputs that the file names. If its operator has parameters, they are added as further
 * inputs, with PyTorch's names and initial values. params is the operator's struct of op_params.h. */
DT_MUST_CHECK dt_status dt_graph_add_implied(dt_graph *g, dt_op_kind kind, const char *name, const void *params,
                                             const int *in, int n_in, const dt_implied_sizes *sizes, int *out);

#endif /* DT_IMPLY_H */
