/*
 * prune_weights.c - makes the least weights 0. Training leaves them there, because their parameter is sparse.
 *
 *   a share:  the weights of least magnitude, of each layer or of all layers; among equals those that come first
 *   N of M:   of each M weights of a filter that lie side by side along the input channels, the N largest stay. The
 * last weights of a row may be fewer than M; up to N of them stay.
 *
 * Sources: Han et al., "Learning both Weights and Connections for Efficient Neural Networks", 2015; Mishra et al.,
 * "Accelerating Sparse Deep Neural Networks", 2021.  Tests: tests/compress/test_prune.c.
 */
#include "prune.h"

#include "../core/grid_facts.h"

#include <math.h>
#include <stdlib.h>

enum { W = 1 };

typedef struct {
    float magnitude;
    int64_t at; /* counted over all weights that are compared */
    float *w;
} weight;

static int by_magnitude(const void *a, const void *b)
{
    const weight *x = a, *y = b;

    if (x->magnitude != y->magnitude) return x->magnitude < y->magnitude ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* From what the layer reads as weights to the parameter that they are made of; -1: it is none. */
static int parameter_of(const dt_graph *g, int value)
{
    const dt_graph_node *n = dt_graph_maker(g, value);

    while (n && (n->kind == DT_OP_MAX_QUANT || n->kind == DT_OP_DEQUANTIZE || n->kind == DT_OP_WEIGHT_QUANT)) {
        value = n->in[0];
        n = dt_graph_maker(g, value);
    }
    return g->value[value]->source == DT_SOURCE_PARAM ? value : -1;
}

/* Rules but LSQ subtract the mean of a filter's weights, so that a weight of 0 has another code than 0. */
static dt_status check_quantizer(const dt_graph *g, const dt_graph_node *layer)
{
    const dt_graph_node *n = dt_graph_maker(g, layer->in[W]);
    const int is_standardised =
        n && n->kind == DT_OP_WEIGHT_QUANT && ((const dt_weight_quant_params *)n->params)->rule != DT_RULE_LSQ;

    DT_CHECK(
        !is_standardised, DT_ERR_UNSUPPORTED,
        "%s: its weights are standardised before they become codes, so that a weight of 0 has no code 0; prune the "
        "network of reals, and train it with --quant-rule affine or lsq",
        dt_graph_name(g, layer->out));
    return DT_OK;
}

/* The weights of a layer that is pruned; NULL: it is not. */
static dt_status weights_of(dt_graph *g, const dt_graph_node *n, const dt_pruning *how, dt_graph_value **out)
{
    *out = NULL;
    if (n->kind != DT_OP_CONV2D && n->kind != DT_OP_LINEAR) return DT_OK;
    const int param = parameter_of(g, n->in[W]);
    if (param < 0 || dt_prune_leaves_whole(g, n, how)) return DT_OK;
    DT_TRY(check_quantizer(g, n));
    *out = g->value[param];
    DT_CHECK((*out)->data && (*out)->data_type == DT_F32, DT_ERR_ARGUMENT,
             "%s has no f32 values, and pruning needs them", (*out)->name);
    return DT_OK;
}

static int64_t collect(const dt_graph_value *v, weight *to, int64_t n)
{
    const int64_t count = dt_count(&v->facts.shape);
    float *w = v->data;

    for (int64_t i = 0; i < count; i++, n++) to[n] = (weight){ fabsf(w[i]), n, &w[i] };
    return n;
}

static void clear_least(weight *w, int64_t n, int64_t n_clear)
{
    qsort(w, (size_t)n, sizeof *w, by_magnitude);
    for (int64_t i = 0; i < n_clear; i++) *w[i].w = 0.0f;
}

static void clear_groups(const dt_graph_value *v, const dt_pruning *how, weight *room)
{
    const int64_t row = v->facts.shape.dim[v->facts.shape.ndim - 1], rows = dt_count(&v->facts.shape) / row;

    for (int64_t r = 0; r < rows; r++) {
        float *w = (float *)v->data + r * row;
        for (int64_t first = 0; first < row; first += how->group_of) {
            const int n = row - first < how->group_of ? (int)(row - first) : how->group_of;
            for (int i = 0; i < n; i++) room[i] = (weight){ fabsf(w[first + i]), i, &w[first + i] };
            clear_least(room, n, n > how->group_keep ? n - how->group_keep : 0);
        }
    }
}

static int64_t share_of(const dt_pruning *how, int64_t n)
{
    return (int64_t)((double)how->share * (double)n + 1e-6);
}

/* room: as many as the network has weights, and group_of more. */
static dt_status prune_all(dt_graph *g, const dt_pruning *how, weight *room)
{
    int64_t n = 0;
    int n_layers = 0;

    for (int i = 0; i < g->n_nodes; i++) {
        dt_graph_value *v;
        DT_TRY(weights_of(g, &g->node[i], how, &v));
        if (!v) continue;
        v->param.sparse = 1;
        n_layers++;
        if (how->group_of > 0) {
            clear_groups(v, how, room);
        } else {
            n = collect(v, room, how->scope == DT_PRUNE_GLOBAL ? n : 0);
            if (how->scope == DT_PRUNE_EACH_LAYER) clear_least(room, n, share_of(how, n));
        }
    }
    if (how->group_of == 0 && how->scope == DT_PRUNE_GLOBAL) clear_least(room, n, share_of(how, n));
    DT_CHECK(n_layers > 0, DT_ERR_ARGUMENT, "%s has no convolution or linear layer that may be pruned", g->name);
    return DT_OK;
}

dt_status dt_prune_weights(dt_graph *g, const dt_pruning *how)
{
    int64_t n = how->group_of;

    for (int i = 0; i < g->n_nodes; i++) {
        const dt_op_kind kind = g->node[i].kind;
        if (kind == DT_OP_CONV2D || kind == DT_OP_LINEAR) n += dt_count(dt_graph_shape(g, g->node[i].in[W]));
    }
    weight *room = malloc((size_t)(n + 1) * sizeof *room);
    DT_CHECK(room, DT_ERR_MEMORY, "no memory to compare %lld weights", (long long)n);
    const dt_status status = prune_all(g, how, room);
    free(room);
    return status;
}
