/*
 * imply.h - the parameters that a node of a network's file does not name: LAYER.weight, LAYER.bias, ..
 */
#ifndef DT_IMPLY_H
#define DT_IMPLY_H

#include "../core/graph/graph.h"

/* Sizes that a file gives instead of parameters; 0: not given. */
typedef struct {
    int filters;   /* CONV2D */
    int window[2]; /* CONV2D: rows, columns of its filters */
    int features;  /* LINEAR: how many it gives */
} dt_implied_sizes;

/* Adds node `name` of the n_in inputs that the file names, and the parameters that the operator wants beside them, with
 * PyTorch's names and initial values. params: of the operator. An operator without parameters is added as it is. */
DT_MUST_CHECK dt_status dt_graph_add_implied(dt_graph *g, dt_op_kind kind, const char *name, const void *params,
                                             const int *in, int n_in, const dt_implied_sizes *sizes, int *out);

#endif /* DT_IMPLY_H */
