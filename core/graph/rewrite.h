/*
 * rewrite.h - the frame of a pass, which walks the nodes of one graph and makes another graph of them.
 */
#ifndef DT_REWRITE_H
#define DT_REWRITE_H

#include "graph.h"

typedef struct {
    const dt_graph *from;
    dt_graph *to;
    int *of; /* [from->n_values] index of the value of `to` that stands for this value of `from`; -1: none yet */
} dt_rewrite;

/* A function that decides what becomes of node n of `from`: it adds what it wants to `to`, and sets of[n->out]. */
typedef dt_status (*dt_rewrite_node)(dt_rewrite *r, const dt_graph_node *n, void *user);

/* Calls `each` for the nodes of `from` in their order; if each is NULL, it copies them. Constants, the data of
 * parameters, and the members that name image, scores and the like are carried over. */
DT_MUST_CHECK dt_status dt_graph_rewrite(const dt_graph *from, dt_rewrite_node each, void *user, dt_graph **out);

/* Sets *out to the value of `to` that stands for a value of `from`. A given value or a parameter is added to `to` when
 * it is first asked for. */
DT_MUST_CHECK dt_status dt_rewrite_value(dt_rewrite *r, int value, int *out);

/* Adds a copy of the node, which reads the values that stand for its inputs. */
DT_MUST_CHECK dt_status dt_rewrite_copy(dt_rewrite *r, const dt_graph_node *n);

/* Adds a copy of the node with other params, or with its own if params is NULL. It reads the values `in` of `to`, as
 * many as the node has inputs. */
DT_MUST_CHECK dt_status dt_rewrite_with(dt_rewrite *r, const dt_graph_node *n, const void *params, const int *in);

#endif /* DT_REWRITE_H */
