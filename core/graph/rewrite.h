/*
 * rewrite.h - graph in, graph out: a pass walks the nodes of one graph and makes another of them.
 */
#ifndef DT_REWRITE_H
#define DT_REWRITE_H

#include "graph.h"

typedef struct {
    const dt_graph *from;
    dt_graph *to;
    int *of; /* [from->n_values] the value of `to` that stands for it; -1: none yet */
} dt_rewrite;

/* What becomes of one node: it must give of[n->out] a value. */
typedef dt_status (*dt_rewrite_node)(dt_rewrite *r, const dt_graph_node *n, void *user);

/* Walks from's nodes in their order. each NULL: a copy. Image, scores and the rest of the graph's marks are carried
 * over, and so are constants, and the data of parameters. */
DT_MUST_CHECK dt_status dt_graph_rewrite(const dt_graph *from, dt_rewrite_node each, void *user, dt_graph **out);

/* The value of `to` for a value of `from`: given values and parameters enter `to` when they are first asked for, so
 * that they keep their order. */
DT_MUST_CHECK dt_status dt_rewrite_value(dt_rewrite *r, int value, int *out);

/* The node as it is, of what stands for its inputs. */
DT_MUST_CHECK dt_status dt_rewrite_copy(dt_rewrite *r, const dt_graph_node *n);

/* The node with other params (NULL: its own) and other inputs, as many as it has. */
DT_MUST_CHECK dt_status dt_rewrite_with(dt_rewrite *r, const dt_graph_node *n, const void *params, const int *in);

#endif /* DT_REWRITE_H */
