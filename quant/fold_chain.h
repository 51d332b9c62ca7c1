/*
 * fold_chain.h - inside the passes that fold batch norms (fold.c, fold_train.c): the nodes that become one layer.
 */
#ifndef DT_FOLD_CHAIN_H
#define DT_FOLD_CHAIN_H

#include "../core/graph/graph.h"

/* Inputs of a layer, and of a batch norm. */
enum { DT_FOLD_X, DT_FOLD_W, DT_FOLD_LINEAR_BIAS };
enum { DT_FOLD_GAMMA = 1, DT_FOLD_BETA, DT_FOLD_MEAN, DT_FOLD_VAR };

typedef struct {
    const dt_graph_node *layer, *norm;
    const dt_graph_node *bias;         /* NULL: no BIAS stands between */
    const dt_graph_node *quant, *real; /* of the weights: their quantizer, and what makes its codes real; NULL: none */
    int weight;                        /* the parameter that holds the real weights */
} dt_fold_chain;

/* Finds what a batch norm is folded into. It returns NULL, or why the norm stays; `behind` is then the operator before
 * it. through: 1: weights may pass a quantizer on their way to the layer; 0: such a norm stays. */
const char *dt_fold_chain_find(const dt_graph *g, const dt_graph_node *norm, int through, dt_fold_chain *c,
                               const char **behind);

/* Returns 1 if a node begins a chain as its layer, and 0 if not. */
int dt_fold_chain_of(const dt_graph *g, const dt_graph_node *layer, int through, dt_fold_chain *c);

#endif /* DT_FOLD_CHAIN_H */
