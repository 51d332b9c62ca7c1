/*
 * model_cost.c - what the layers of a network cost for one image: products, weights, outputs, and the bits of each.
 *
 * Bits are those of the grid that a value lies on: the fewest that tell its codes apart. A real value has 32.
 *
 * Tests: tests/core/test_model_cost.c.
 */
#include "model.h"

#include "../arith/range.h"

#include <stdlib.h>

enum { REAL_BITS = 32, W = 1 };

static int is_costly(const dt_graph_node *n)
{
    return n->kind == DT_OP_CONV2D || n->kind == DT_OP_LINEAR || n->kind == DT_OP_CAPS_VOTES ||
           n->kind == DT_OP_CONV_TRANSPOSE || n->kind == DT_OP_QMATMUL;
}

static int bits_of_grid(const dt_tensor *facts)
{
    int bits = 1;

    while (((int64_t)1 << bits) < (int64_t)facts->qmax - (int64_t)facts->qmin + 1) bits++;
    return bits;
}

/* Bits of what a layer reads, through the operators that give the real values of codes. */
static int bits_of(const dt_graph *g, int value)
{
    const dt_graph_node *n = dt_graph_maker(g, value);
    const int otherwise = g->value[value]->facts.n_scale > 0 ? bits_of_grid(&g->value[value]->facts) : REAL_BITS;

    if (!n) return otherwise;
    switch (n->kind) {
    case DT_OP_DEQUANTIZE:
    case DT_OP_FLATTEN:
    case DT_OP_MAXPOOL:
    case DT_OP_RELU: return bits_of(g, n->in[0]);
    /* its codes are less a zero point, which training may move */
    case DT_OP_RANGE_QUANT: return ((const dt_range_quant_params *)n->params)->bits;
    case DT_OP_DYNAMIC_QUANT: return DT_DYNAMIC_BITS;
    case DT_OP_FEATUREMAP_QUANT: return ((const dt_featuremap_quant_params *)n->params)->bits;
    default: return otherwise;
    }
}

static int64_t macs_of(const dt_graph *g, const dt_graph_node *n)
{
    const dt_shape *w = dt_graph_shape(g, n->in[W]), *x = dt_graph_shape(g, n->in[0]);

    switch (n->kind) {
    case DT_OP_CAPS_VOTES: return dt_count(w);
    case DT_OP_CONV_TRANSPOSE: return dt_graph_count(g, n->in[0]) * (dt_count(w) / w->dim[0]);
    case DT_OP_QMATMUL: return dt_graph_count(g, n->out) * x->dim[x->ndim - 1];
    default: return dt_graph_count(g, n->out) * (dt_count(w) / w->dim[0]);
    }
}

static dt_layer_cost cost_of(const dt_graph *g, const dt_graph_node *n)
{
    const int has_weights = n->kind != DT_OP_QMATMUL || g->value[n->in[W]]->facts.constant;

    return (dt_layer_cost){ .name = dt_graph_name(g, n->out),
                            .macs = macs_of(g, n),
                            .n_weights = has_weights ? dt_count(dt_graph_shape(g, n->in[W])) : 0,
                            .n_outputs = dt_graph_count(g, n->out),
                            .wbits = bits_of(g, n->in[W]),
                            .abits = bits_of(g, n->in[0]) };
}

dt_status dt_model_cost(const dt_model *m, dt_layer_cost **out, int *n)
{
    const dt_graph *g = m->graph;
    char *needed = calloc((size_t)g->n_values + 1, 1);
    int k = 0;

    DT_CHECK(needed, DT_ERR_MEMORY, "no memory for %d values", g->n_values);
    dt_layer_cost *row = calloc((size_t)g->n_nodes + 1, sizeof *row);
    if (!row) {
        free(needed);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for the costs of %d nodes", g->n_nodes);
    }
    needed[g->scores] = 1;
    dt_graph_mark_needed(g, NULL, 0, needed);
    for (int i = 0; i < g->n_nodes; i++) {
        if (needed[g->node[i].out] && is_costly(&g->node[i])) row[k++] = cost_of(g, &g->node[i]);
    }
    free(needed);
    *out = row;
    *n = k;
    return DT_OK;
}
