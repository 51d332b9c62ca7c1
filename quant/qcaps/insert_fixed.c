/*
 * insert_fixed.c - Q-CapsNets as a pass: the tensors of a capsule network that are rounded, and their names.
 *
 *   parameters    those of convolutions, biases, votes and routing; published: those of batch norms too
 *   "image"       the image, before the first convolution; the published code does not round it
 *   LAYER         outputs of ReLU and batch norm that convolutions read, and outputs of squash
 *   X.s           the input of squash, where the node of squash is called X.squash
 *   X.votes       the input of the routing X; X.c1, .s1, .v1, .b1, .c2, ...: what X computes inside
 *
 * A layer is known by the name with which its parameters begin: conv1, block1, .. The decoder behind the scores is no
 * layer and is not rounded. An activation that is read by convolutions alone is rounded to codes if their psums are
 * exact, so that they convolve integers.
 *
 * Interface: fixed_formats.h.  Tests: tests/quant/test_qcaps.c.
 */
#include "fixed_formats.h"

#include "../../core/graph/rewrite.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    char name[DT_QCAPS_LAYERS][DT_NAME_MAX + 1];
    int n;
} layer_list;

typedef struct {
    dt_fixed_formats *f;
    layer_list layers;
    int last; /* the node of the plain graph that makes the scores */
} insertion;

/* Bytes of "block1" in "block1.l1.conv.weight" */
static size_t child_bytes(const char *name)
{
    return strcspn(name, ".");
}

/* The layer that a name belongs to, or -1. */
static int layer_of(const layer_list *l, const char *name)
{
    const size_t bytes = child_bytes(name);

    for (int i = 0; i < l->n; i++) {
        if (strlen(l->name[i]) == bytes && strncmp(l->name[i], name, bytes) == 0) return i;
    }
    return -1;
}

/* The layer that a node's weights belong to; -1: it has none. */
static int node_layer(const dt_graph *g, const layer_list *l, const dt_graph_node *n)
{
    for (int k = 0; k < n->n_in; k++) {
        if (g->value[n->in[k]]->source == DT_SOURCE_PARAM) return layer_of(l, dt_graph_name(g, n->in[k]));
    }
    return -1;
}

static dt_status list_layers(const dt_graph *g, int last, layer_list *out)
{
    for (int i = 0; i <= last; i++) {
        const dt_graph_node *n = &g->node[i];
        for (int k = 0; k < n->n_in; k++) {
            const dt_graph_value *v = g->value[n->in[k]];
            if (v->source != DT_SOURCE_PARAM || layer_of(out, v->name) >= 0) continue;
            DT_CHECK(out->n < DT_QCAPS_LAYERS, DT_ERR_UNSUPPORTED, "%s has more than %d layers", g->name,
                     DT_QCAPS_LAYERS);
            snprintf(out->name[out->n++], sizeof out->name[0], "%.*s", (int)child_bytes(v->name), v->name);
        }
    }
    return DT_OK;
}

/* Products in a psum of the convolution n. */
static int64_t terms_of(const dt_graph *g, const dt_graph_node *n)
{
    const dt_shape *w = dt_graph_shape(g, n->in[1]);
    return dt_count(w) / w->dim[0];
}

/* 1 if convolutions alone read the value, perhaps in another shape. */
static int convolutions_read(const dt_graph *g, int value)
{
    int n_readers = 0;

    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (n->in[0] != value && (n->n_in < 2 || n->in[1] != value)) continue;
        n_readers++;
        if (n->kind == DT_OP_TRANSPOSE ? !convolutions_read(g, n->out) : n->kind != DT_OP_CONV2D) return 0;
    }
    return n_readers > 0;
}

/* 1 if every convolution that reads the value of this layer has exact psums. */
static int exact_for_readers(const insertion *s, int value, int layer)
{
    const dt_graph *g = s->f->plain;

    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (n->in[0] != value) continue;
        const int reader = node_layer(g, &s->layers, n);
        if (n->kind == DT_OP_TRANSPOSE ? !exact_for_readers(s, n->out, layer)
                                       : !dt_fixed_exact(s->f, layer, reader, terms_of(g, n)))
            return 0;
    }
    return 1;
}

/* A tensor to round. */
typedef struct {
    const char *name;
    int layer;
    dt_fixed_kind kind;
    int codes; /* 1: it becomes codes, 0: reals */
} tensor;

/* Rounds *value of the new graph. */
static dt_status round_value(dt_rewrite *r, const insertion *s, const tensor *t, int *value)
{
    dt_fixed_point_params params = { .codes = t->codes, .observe = s->f->observe };
    char node[DT_NAME_MAX + 32];
    const int x = *value;

    DT_TRY(dt_fixed_format_of(s->f, t->name, t->layer, t->kind, &params.format));
    snprintf(node, sizeof node, "%s.fixed", t->name);
    return dt_graph_add(r->to, DT_OP_FIXED_POINT, node, &params, &x, 1, value);
}

static dt_status round_param(dt_rewrite *r, const insertion *s, int layer, int codes, int param, int *out)
{
    const tensor weight = { dt_graph_name(r->from, param), layer, DT_FIXED_WEIGHT, codes };

    DT_TRY(dt_rewrite_value(r, param, out));
    return round_value(r, s, &weight, out);
}

/* The node's own inputs, its trained parameters rounded if `rounds`. */
static dt_status take_inputs(dt_rewrite *r, const insertion *s, const dt_graph_node *n, int rounds, int *in)
{
    const int layer = node_layer(r->from, &s->layers, n);

    for (int k = 0; k < n->n_in; k++) {
        const dt_graph_value *v = r->from->value[n->in[k]];
        const int is_weight = v->source == DT_SOURCE_PARAM && v->param.group == DT_GROUP_WEIGHT;
        const int codes = n->kind == DT_OP_CONV2D && k > 0 && r->to->value[in[0]]->facts.n_scale > 0;
        if (rounds && is_weight)
            DT_TRY(round_param(r, s, layer, codes, n->in[k], &in[k]));
        else if (k > 0 || in[0] < 0)
            DT_TRY(dt_rewrite_value(r, n->in[k], &in[k]));
    }
    return DT_OK;
}

static dt_status insert_conv(dt_rewrite *r, const insertion *s, const dt_graph_node *n)
{
    const dt_graph *g = r->from;
    const int layer = node_layer(g, &s->layers, n), rounds_image = n->in[0] == g->image && !s->f->published;
    int in[DT_MAX_IN];

    DT_TRY(dt_rewrite_value(r, n->in[0], &in[0]));
    if (rounds_image) {
        const int exact = dt_fixed_exact(s->f, layer, layer, terms_of(g, n));
        const tensor image = { "image", layer, DT_FIXED_INNER, exact };
        DT_TRY(round_value(r, s, &image, &in[0]));
    }
    DT_TRY(take_inputs(r, s, n, 1, in));
    return dt_rewrite_with(r, n, NULL, in);
}

/* What a layer's last operator gives, under the layer's or the capsules' name. */
static dt_status round_output(dt_rewrite *r, const insertion *s, const dt_graph_node *n, const char *name, int layer)
{
    const int codes = convolutions_read(r->from, n->out) && exact_for_readers(s, n->out, layer);
    const tensor output = { name, layer, DT_FIXED_OUTPUT, codes };

    return round_value(r, s, &output, &r->of[n->out]);
}

/* "block1.l1" of the node "block1.l1.squash": what it reads is block1.l1.s, what it gives block1.l1. */
static dt_status insert_squash(dt_rewrite *r, const insertion *s, const dt_graph_node *n)
{
    const char *node = dt_graph_name(r->from, n->out), *end = strrchr(node, '.');
    const int bytes = (int)(end ? (size_t)(end - node) : strlen(node)), layer = layer_of(&s->layers, node);
    char name[DT_NAME_MAX + 8];
    const tensor input = { name, layer, DT_FIXED_INNER, 0 };
    int x;

    DT_TRY(dt_rewrite_value(r, n->in[0], &x));
    snprintf(name, sizeof name, "%.*s.s", bytes, node);
    DT_TRY(round_value(r, s, &input, &x));
    DT_TRY(dt_rewrite_with(r, n, NULL, &x));
    name[bytes] = '\0';
    return round_output(r, s, n, name, layer);
}

/* The formats of iteration k, which is counted from 1 in their names. */
static dt_status route_formats(const insertion *s, const char *name, int layer, int k, dt_route_format *out)
{
    dt_fixed_format *const format[4] = { &out->c, &out->s, &out->v, &out->b };
    static const dt_fixed_kind kind[4] = { DT_FIXED_INNER, DT_FIXED_ROUTING, DT_FIXED_INNER, DT_FIXED_ROUTING };
    char full[DT_NAME_MAX + 8];

    for (int i = 0; i < 4; i++) {
        snprintf(full, sizeof full, "%s.%c%d", name, "csvb"[i], k);
        DT_TRY(dt_fixed_format_of(s->f, full, layer, kind[i], format[i]));
    }
    return DT_OK;
}

static dt_status insert_route(dt_rewrite *r, const insertion *s, const dt_graph_node *n)
{
    const char *name = dt_graph_name(r->from, n->out);
    const int layer = node_layer(r->from, &s->layers, n);
    dt_caps_route_params params = *(const dt_caps_route_params *)n->params;
    char votes[DT_NAME_MAX + 8];
    const tensor input = { votes, layer, DT_FIXED_INNER, 0 };
    int in[DT_MAX_IN];

    DT_TRY(dt_rewrite_value(r, n->in[0], &in[0]));
    snprintf(votes, sizeof votes, "%s.votes", name);
    DT_TRY(round_value(r, s, &input, &in[0]));
    DT_TRY(take_inputs(r, s, n, 1, in));
    params.observe = s->f->observe;
    params.fixed = !params.observe;
    for (int k = 0; k < params.iterations; k++) DT_TRY(route_formats(s, name, layer, k + 1, &params.format[k]));
    return dt_rewrite_with(r, n, &params, in);
}

/* ReLU, batch norm and what has no format of its own. */
static dt_status insert_other(dt_rewrite *r, const insertion *s, const dt_graph_node *n)
{
    const char *name = dt_graph_name(r->from, n->out);
    const int rounds_params = n->kind == DT_OP_BATCHNORM ? s->f->published : 1;
    const int layer = layer_of(&s->layers, name);
    int in[DT_MAX_IN] = { -1 };

    DT_TRY(take_inputs(r, s, n, rounds_params, in));
    DT_TRY(dt_rewrite_with(r, n, NULL, in));
    if ((n->kind != DT_OP_RELU && n->kind != DT_OP_BATCHNORM) || !convolutions_read(r->from, n->out)) return DT_OK;
    return round_output(r, s, n, s->layers.name[layer], layer);
}

static dt_status insert_node(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    const insertion *s = user;

    if (n - r->from->node > s->last) return dt_rewrite_copy(r, n);
    switch (n->kind) {
    case DT_OP_CONV2D: return insert_conv(r, s, n);
    case DT_OP_SQUASH: return insert_squash(r, s, n);
    case DT_OP_CAPS_ROUTE: return insert_route(r, s, n);
    default: return insert_other(r, s, n);
    }
}

/* 1 if a node behind number `at` reads a value that a node up to there makes of activations, other than `value`. */
static int others_cross(const dt_graph *g, int at, int value)
{
    for (int i = at + 1; i < g->n_nodes; i++) {
        for (int k = 0; k < g->node[i].n_in; k++) {
            const dt_graph_value *v = g->value[g->node[i].in[k]];
            const int before = v->source == DT_SOURCE_NODE ? v->node <= at : g->node[i].in[k] == g->image;
            if (before && !v->facts.constant && g->node[i].in[k] != value) return 1;
        }
    }
    return 0;
}

/* The layer's end: the last value behind all of its weights, and before those of later layers, that nothing passes by.
 */
static int find_end(const dt_graph *g, const layer_list *l, int layer)
{
    int end = -1, weights_seen = 0;

    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        const int of = node_layer(g, l, n);
        if (of > layer) break;
        weights_seen |= of == layer;
        if (weights_seen && !g->value[n->out]->facts.constant && !others_cross(g, i, n->out)) end = n->out;
    }
    return end;
}

static void set_ends(dt_fixed_formats *f, const layer_list *l, const dt_graph *g)
{
    f->n_layers = l->n;
    for (int i = 0; i + 1 < l->n; i++) f->end[i] = find_end(g, l, i);
}

dt_status dt_fixed_insert(dt_fixed_formats *f, dt_graph **out)
{
    insertion s = { .f = f, .last = f->plain->value[f->plain->scores]->node };

    DT_TRY(list_layers(f->plain, s.last, &s.layers));
    DT_TRY(dt_graph_rewrite(f->plain, insert_node, &s, out));
    set_ends(f, &s.layers, *out);
    return DT_OK;
}
