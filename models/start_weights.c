/*
 * start_weights.c - first weights that keep a signal's size where no batch norm does.
 *
 *   deviation = sqrt(g / fan in),  g = 2 before a ReLU, which takes half of the signal's power, else 1
 *   uniform in -bound .. bound,    bound = sqrt(3) deviation
 *
 * PyTorch's own first weights, which a graph's parameters have by themselves, have g = 1/3: each layer without a norm
 * makes the signal smaller by a factor of 1.7, or of 2.4 with its ReLU. Behind a norm that changes nothing of the
 * signal, so that such layers keep theirs.
 *
 * A layer's norm or ReLU is what reads its output, directly or behind a bias, an identity or a max-pool.
 *
 * Source: He, Zhang, Ren, Sun, "Delving deep into rectifiers", ICCV 2015, eq. 10.
 * Interface: start_weights.h.  Tests: tests/models/test_start_weights.c.
 */
#include "start_weights.h"

#include "../core/graph/rewrite.h"

#include <math.h>

static int passes_on(dt_op_kind kind)
{
    return kind == DT_OP_BIAS || kind == DT_OP_IDENTITY || kind == DT_OP_MAXPOOL;
}

/* 1: a node of that kind reads the value. */
static int is_read_by(const dt_graph *g, int value, dt_op_kind kind)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (n->in[0] != value) continue;
        if (n->kind == kind || (passes_on(n->kind) && is_read_by(g, n->out, kind))) return 1;
    }
    return 0;
}

/* The parameter that a layer draws, or -1: it is no such layer, has a norm, or its weights are known. */
static int weights_to_draw(const dt_graph *g, const dt_graph_node *n)
{
    if (n->kind != DT_OP_CONV2D && n->kind != DT_OP_LINEAR) return -1;
    const dt_graph_value *w = g->value[n->in[1]];
    const int is_drawn = w->source == DT_SOURCE_PARAM && w->param.init == DT_INIT_UNIFORM && !w->data;
    return is_drawn && !is_read_by(g, n->out, DT_OP_BATCHNORM) ? n->in[1] : -1;
}

static float bound_of(const dt_graph *g, const dt_graph_node *n)
{
    const dt_shape *shape = dt_graph_shape(g, n->in[1]);
    const float gain = is_read_by(g, n->out, DT_OP_RELU) ? 2.0f : 1.0f;

    return sqrtf(3.0f * gain / (float)(dt_count(shape) / shape->dim[0]));
}

static dt_status start_node(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    const int w = weights_to_draw(r->from, n);
    (void)user;

    if (w >= 0 && r->of[w] < 0) {
        dt_param_spec spec = r->from->value[w]->param;
        spec.init_value = bound_of(r->from, n);
        DT_TRY(dt_graph_param(r->to, dt_graph_name(r->from, w), &spec, &r->of[w]));
    }
    return dt_rewrite_copy(r, n);
}

dt_status dt_start_weights_keep(const dt_graph *g, dt_graph **out)
{
    return dt_graph_rewrite(g, start_node, NULL, out);
}
