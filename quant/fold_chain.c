/*
 * fold_chain.c - see fold_chain.h.
 *
 * Tests: tests/quant/test_fold.c, tests/quant/test_fold_train.c.
 */
#include "fold_chain.h"

static int is_layer(const dt_graph_node *n)
{
    return n && (n->kind == DT_OP_CONV2D || n->kind == DT_OP_LINEAR);
}

/* The network itself asks for the value. */
static int is_marked(const dt_graph *g, int value)
{
    return value == g->scores || value == g->capsules || value == g->masked || value == g->reconstruction;
}

static int has_one_reader(const dt_graph *g, int value)
{
    return dt_graph_n_readers(g, value) == 1 && !is_marked(g, value);
}

/* A parameter that no other node reads. */
static int is_own_param(const dt_graph *g, int value)
{
    return g->value[value]->source == DT_SOURCE_PARAM && dt_graph_n_readers(g, value) == 1;
}

static int are_params(const dt_graph *g, const dt_graph_node *norm)
{
    for (int k = DT_FOLD_GAMMA; k <= DT_FOLD_VAR; k++) {
        if (g->value[norm->in[k]]->source != DT_SOURCE_PARAM) return 0;
    }
    return 1;
}

/* From the weights that the layer reads to the parameter that they are made of. */
static void find_weight(const dt_graph *g, int through, dt_fold_chain *c)
{
    const dt_graph_node *n = dt_graph_maker(g, c->layer->in[DT_FOLD_W]);

    c->weight = c->layer->in[DT_FOLD_W];
    if (!through) return;
    if (n && n->kind == DT_OP_DEQUANTIZE && has_one_reader(g, n->out)) {
        c->real = n;
        n = dt_graph_maker(g, n->in[0]);
    }
    if (n && (n->kind == DT_OP_WEIGHT_QUANT || n->kind == DT_OP_MAX_QUANT) && has_one_reader(g, n->out)) {
        c->quant = n;
        c->weight = n->in[0];
    }
}

static int has_two_biases(const dt_fold_chain *c)
{
    return c->bias && c->layer->n_in > DT_FOLD_LINEAR_BIAS;
}

const char *dt_fold_chain_find(const dt_graph *g, const dt_graph_node *norm, int through, dt_fold_chain *c,
                               const char **behind)
{
    const dt_graph_node *before = dt_graph_maker(g, norm->in[DT_FOLD_X]);

    *c = (dt_fold_chain){ .norm = norm, .weight = -1 };
    *behind = before ? dt_ops[before->kind]->name : "the image";
    if (before && before->kind == DT_OP_BIAS) {
        c->bias = before;
        before = dt_graph_maker(g, before->in[DT_FOLD_X]);
    }
    c->layer = before;
    if (!is_layer(before)) return "behind ";
    if (!has_one_reader(g, before->out) || (c->bias && !has_one_reader(g, c->bias->out))) {
        return "not the only reader of ";
    }
    find_weight(g, through, c);
    const int own_bias = before->n_in > DT_FOLD_LINEAR_BIAS ? before->in[DT_FOLD_LINEAR_BIAS] : -1;
    if (!is_own_param(g, c->weight) || (own_bias >= 0 && !is_own_param(g, own_bias)) ||
        (c->bias && !is_own_param(g, c->bias->in[1])) || !are_params(g, norm)) {
        return "shares or computes parameters of ";
    }
    return through && has_two_biases(c) ? "two biases before it, the second of " : NULL;
}

int dt_fold_chain_of(const dt_graph *g, const dt_graph_node *layer, int through, dt_fold_chain *c)
{
    const char *behind;

    if (!is_layer(layer)) return 0;
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (n->kind == DT_OP_BATCHNORM && !dt_fold_chain_find(g, n, through, c, &behind) && c->layer == layer) return 1;
    }
    return 0;
}
