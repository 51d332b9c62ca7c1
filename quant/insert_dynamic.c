/*
 * insert_dynamic.c - see insert_dynamic.h.
 *
 * Source: TensorFlow 2.21's converter, measured.  Tests: tests/quant/test_insert_dynamic.c.
 */
#include "insert_dynamic.h"

#include "../core/arith/range.h"
#include "insert_parts.h"

#include <stdio.h>
#include <stdlib.h>

enum { X, W, NAME_ROOM = DT_NAME_MAX + 32 };

/* ---- parts ---- */

/* data is taken over. */
static dt_status add_state(dt_graph *g, const char *name, const dt_param_spec *spec, dt_dtype type, void *data,
                           int *out)
{
    if (dt_graph_find(g, name) >= 0) {
        free(data);
        return dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__,
                        "%s has a value of the name %s, which codes need; rename it", g->name, name);
    }
    return dt_graph_param_with(g, name, spec, type, data, out);
}

dt_status dt_dynamic_add_filters(dt_graph *g, const dt_dynamic_filters *f, int *out)
{
    const dt_param_spec codes = {
        .shape = f->shape, .group = DT_GROUP_STATE, .values = DT_VALUES_FINITE, .floor = -INFINITY
    };
    const dt_param_spec scales = {
        .shape = { 1, { f->n_scale } }, .group = DT_GROUP_STATE, .values = DT_VALUES_POSITIVE, .floor = -INFINITY
    };
    const dt_codes_params range = { .low = f->low, .high = f->high };
    const dt_dequantize_params of = { .filters = 1 };
    char name[NAME_ROOM];
    int in[2];

    const dt_status status = add_state(g, f->weight, &codes, DT_I8, f->code, &in[0]);
    if (status != DT_OK) {
        free(f->scale);
        return dt_forward(status, __FILE__, __LINE__);
    }
    snprintf(name, sizeof name, "%s.weight_scale", f->layer);
    DT_TRY(add_state(g, name, &scales, DT_F32, f->scale, &in[1]));
    snprintf(name, sizeof name, "%s.codes", f->layer);
    DT_TRY(dt_graph_add(g, DT_OP_CODES, name, &range, in, 2, &in[0]));
    snprintf(name, sizeof name, "%s.real", f->layer);
    return dt_graph_add(g, DT_OP_DEQUANTIZE, name, &of, in, 1, out);
}

dt_status dt_dynamic_add_input(dt_graph *g, int x, int *out)
{
    char name[NAME_ROOM];

    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (n->kind != DT_OP_DYNAMIC_QUANT || n->in[X] != x) continue;
        *out = n->out;
        return DT_OK;
    }
    snprintf(name, sizeof name, "%s.dynamic", dt_graph_name(g, x));
    return dt_graph_add(g, DT_OP_DYNAMIC_QUANT, name, NULL, &x, 1, out);
}

static int has_filters(const dt_graph_node *n)
{
    return n->kind == DT_OP_CONV2D || n->kind == DT_OP_LINEAR;
}

const dt_graph_node *dt_dynamic_codes_of(const dt_graph *g, const dt_graph_node *layer)
{
    const dt_graph_node *real = has_filters(layer) ? dt_graph_maker(g, layer->in[W]) : NULL;
    const dt_graph_node *codes = real && real->kind == DT_OP_DEQUANTIZE ? dt_graph_maker(g, real->in[0]) : NULL;

    return codes && codes->kind == DT_OP_CODES ? codes : NULL;
}

/* ---- the pass ---- */

/* 1 if none but layers read the value, as their weights. */
static int is_weight_alone(const dt_graph *g, int value)
{
    int n = 0;

    for (int i = 0; i < g->n_nodes; i++) n += has_filters(&g->node[i]) && g->node[i].in[W] == value;
    return n == dt_graph_n_readers(g, value);
}

static int becomes_codes(const dt_graph *g, const dt_graph_node *n)
{
    if (!has_filters(n) || g->value[n->in[W]]->source != DT_SOURCE_PARAM || !is_weight_alone(g, n->in[W])) return 0;
    return dt_count(dt_graph_shape(g, n->in[W])) >= DT_DYNAMIC_LEAST_ELEMENTS;
}

/* n weights that share a scale, *scale. */
static dt_status quantize_set(const char *name, const float *w, int64_t n, int high, int8_t *code, float *scale)
{
    float magnitude = 0.0f;

    for (int64_t i = 0; i < n; i++) magnitude = dt_max_magnitude(magnitude, w[i]);
    const double step = dt_max_step(magnitude, high, 0.0f);
    DT_CHECK(step < INFINITY, DT_ERR_NUMERIC, "%s: a weight is %g; the model has diverged", name, (double)magnitude);
    for (int64_t i = 0; i < n; i++) code[i] = (int8_t)dt_max_code(w[i], step, high);
    *scale = (float)step;
    return DT_OK;
}

static dt_status quantize_filters(const dt_graph_value *w, const dt_dynamic_filters *f)
{
    const int64_t n = dt_count(&f->shape) / f->n_scale;

    DT_CHECK(f->code && f->scale, DT_ERR_MEMORY, "no memory for the codes of %s", w->name);
    for (int64_t k = 0; k < f->n_scale; k++) {
        DT_TRY(quantize_set(w->name, (const float *)w->data + k * n, n, f->high, f->code + k * n, &f->scale[k]));
    }
    return DT_OK;
}

/* The codes of a layer's weights, which layers that share them share too. */
static dt_status add_codes(dt_rewrite *r, const dt_dynamic_choice *c, const dt_graph_node *n, int *out)
{
    const dt_graph_value *w = r->from->value[n->in[W]];
    const dt_layer_name layer = dt_layer_name_of(r->from, n);
    const int has_one = !c->per_channel || (n->kind == DT_OP_LINEAR && c->fc_per_layer);
    const int high = dt_weight_high(c->wbits);
    dt_dynamic_filters f = { .layer = layer.s, .weight = w->name, .shape = w->facts.shape, .low = -high, .high = high };

    DT_CHECK(w->data && w->data_type == DT_F32, DT_ERR_ARGUMENT,
             "%s has %s, and its codes follow from f32 values; take a snapshot of the trained model", w->name,
             w->data ? "integers" : "no data");
    f.n_scale = has_one ? 1 : (int)f.shape.dim[0];
    f.code = malloc((size_t)dt_count(&f.shape));
    f.scale = malloc((size_t)f.n_scale * sizeof *f.scale);
    const dt_status status = quantize_filters(w, &f);
    if (status != DT_OK) {
        free(f.code);
        free(f.scale);
        return dt_forward(status, __FILE__, __LINE__);
    }
    return dt_dynamic_add_filters(r->to, &f, out);
}

typedef struct {
    const dt_dynamic_choice *choice;
    int *real; /* [n_values of g] the real filters of the new network that stand for weights; -1: none yet */
} insertion;

static dt_status quantize_node(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    insertion *s = user;
    int in[DT_MAX_IN];

    if (!becomes_codes(r->from, n)) return dt_rewrite_copy(r, n);
    DT_TRY(dt_rewrite_value(r, n->in[X], &in[X]));
    DT_TRY(dt_dynamic_add_input(r->to, in[X], &in[X]));
    if (s->real[n->in[W]] < 0) DT_TRY(add_codes(r, s->choice, n, &s->real[n->in[W]]));
    in[W] = s->real[n->in[W]];
    for (int k = W + 1; k < n->n_in; k++) DT_TRY(dt_rewrite_value(r, n->in[k], &in[k]));
    return dt_rewrite_with(r, n, NULL, in);
}

dt_status dt_quant_insert_dynamic(const dt_graph *g, const dt_dynamic_choice *choice, dt_graph **out)
{
    insertion s = { choice, NULL };

    DT_CHECK(choice->wbits >= 2 && choice->wbits <= 8, DT_ERR_ARGUMENT, "%s: weights of %d bits, allowed are 2..8",
             g->name, choice->wbits);
    s.real = malloc((size_t)(g->n_values + 1) * sizeof *s.real);
    DT_CHECK(s.real, DT_ERR_MEMORY, "no memory to quantize the %d nodes of %s", g->n_nodes, g->name);
    for (int i = 0; i < g->n_values; i++) s.real[i] = -1;
    const dt_status status = dt_graph_rewrite(g, quantize_node, &s, out);
    free(s.real);
    return status;
}
