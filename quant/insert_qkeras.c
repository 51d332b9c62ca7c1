/*
 * insert_qkeras.c - see insert_qkeras.h.
 *
 * The notebook has a QActivation before each kernel, behind each ReLU, and behind the last layer; here a value that is
 * read by a layer has one. What is quantized behind an add or an average pool follows from that.
 *
 * Source: the QKeras-Mod notebook, chapters 1 and 4.  Tests: tests/quant/test_insert_qkeras.c.
 */
#include "insert_qkeras.h"

#include "insert_parts.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define QUANT_SUFFIX ".quant"

enum { BITS_MIN = 2, BITS_MAX = 16, BIAS_BITS_MAX = 32, OWN_BIAS = 2 /* input of a LINEAR */ };

typedef struct {
    const dt_qkeras_choice *choice;
    char *needed; /* [n_values] by the scores */
    int *quant;   /* [n_values] the value of the new graph that is this one, quantized; -1: none yet */
} insertion;

/* The entry for a layer, or for a quantizer; NULL: there is none. */
static const dt_layer_bits *entry_of(const insertion *s, const char *name)
{
    for (int i = s->choice->n_layer_bits - 1; i >= 0; i--) {
        if (fnmatch(s->choice->layer_bits[i].layer, name, 0) == 0) return &s->choice->layer_bits[i];
    }
    return NULL;
}

/* *out: what stands for a value, quantized. bits: those that its reader wants. */
static dt_status quantized(dt_rewrite *r, insertion *s, int value, int bits, int *out)
{
    char name[DT_NAME_MAX + 32];
    int x;

    if (s->quant[value] < 0) {
        snprintf(name, sizeof name, "%s" QUANT_SUFFIX, dt_graph_name(r->from, value));
        const dt_layer_bits *own = entry_of(s, name);
        const dt_featuremap_quant_params params = { own ? own->abits : bits };
        if (params.bits == DT_BITS_FLOAT) return dt_rewrite_value(r, value, out);
        DT_TRY(dt_rewrite_value(r, value, &x));
        DT_TRY(dt_graph_add(r->to, DT_OP_FEATUREMAP_QUANT, name, &params, &x, 1, &s->quant[value]));
    }
    *out = s->quant[value];
    return DT_OK;
}

/* A quantizer of a layer's weights or of its bias. */
typedef struct {
    const char *layer, *part; /* "weight", "bias" */
    int bits;
    int64_t n_scale;
} own_quantizer;

/* *value: a parameter, or what was made of one; then the real values of its codes. */
static dt_status quantize_own(dt_rewrite *r, const own_quantizer *q, int *value)
{
    static const dt_dequantize_params real = { .filters = 1 };
    const dt_max_quant_params params = { .bits = q->bits };
    const dt_param_spec spec = {
        .shape = { 1, { q->n_scale } }, .group = DT_GROUP_STATE, .values = DT_VALUES_NOT_NEGATIVE, .floor = -INFINITY
    };
    char name[DT_NAME_MAX + 32];
    int in[2] = { *value };

    snprintf(name, sizeof name, "%s.%s_least", q->layer, q->part);
    DT_TRY(dt_graph_param(r->to, name, &spec, &in[1]));
    snprintf(name, sizeof name, "%s.%s_quant", q->layer, q->part);
    DT_TRY(dt_graph_add(r->to, DT_OP_MAX_QUANT, name, &params, in, 2, &in[0]));
    snprintf(name, sizeof name, "%s.%s_real", q->layer, q->part);
    return dt_graph_add(r->to, DT_OP_DEQUANTIZE, name, &real, in, 1, value);
}

static dt_status quantize_w(dt_rewrite *r, const insertion *s, const dt_graph_node *n, int *w)
{
    const dt_layer_name layer = dt_layer_name_of(r->from, n);
    const dt_layer_bits *own = entry_of(s, layer.s);
    const int has_one = n->kind == DT_OP_LINEAR || !s->choice->per_channel;
    const own_quantizer q = { layer.s, "weight", own ? own->wbits : s->choice->wbits,
                              has_one ? 1 : dt_graph_shape(r->from, n->in[1])->dim[0] };

    DT_TRY(dt_rewrite_value(r, n->in[1], w));
    return quantize_own(r, &q, w);
}

/* b: the value of the old graph that is the bias of `layer`. */
static dt_status quantize_b(dt_rewrite *r, const insertion *s, const dt_graph_node *layer, int b, int *out)
{
    const dt_layer_name name = dt_layer_name_of(r->from, layer);
    const dt_layer_bits *own = entry_of(s, name.s);
    const own_quantizer q = { name.s, "bias", own && own->wbits != DT_BITS_FLOAT ? own->bbits : 0, 1 };

    DT_TRY(dt_rewrite_value(r, b, out));
    return q.bits >= BITS_MIN && q.bits <= BITS_MAX ? quantize_own(r, &q, out) : DT_OK;
}

static int is_layer(const dt_graph_node *n)
{
    return n && (n->kind == DT_OP_CONV2D || n->kind == DT_OP_LINEAR);
}

static dt_status quantize_layer(dt_rewrite *r, insertion *s, const dt_graph_node *n)
{
    const dt_layer_bits *own = entry_of(s, dt_layer_name_of(r->from, n).s);
    int in[DT_MAX_IN];

    if (own && own->wbits == DT_BITS_FLOAT) return dt_rewrite_copy(r, n);
    DT_TRY(quantized(r, s, n->in[0], own ? own->abits : s->choice->abits, &in[0]));
    DT_TRY(quantize_w(r, s, n, &in[1]));
    if (n->n_in > OWN_BIAS) DT_TRY(quantize_b(r, s, n, n->in[OWN_BIAS], &in[OWN_BIAS]));
    return dt_rewrite_with(r, n, NULL, in);
}

static dt_status quantize_bias(dt_rewrite *r, const insertion *s, const dt_graph_node *n)
{
    int in[2];

    DT_TRY(dt_rewrite_value(r, n->in[0], &in[0]));
    DT_TRY(quantize_b(r, s, dt_graph_maker(r->from, n->in[0]), n->in[1], &in[1]));
    return dt_rewrite_with(r, n, NULL, in);
}

static dt_status quantize_add(dt_rewrite *r, insertion *s, const dt_graph_node *n)
{
    int in[DT_MAX_IN];

    for (int k = 0; k < n->n_in; k++) DT_TRY(quantized(r, s, n->in[k], s->choice->abits, &in[k]));
    return dt_rewrite_with(r, n, NULL, in);
}

/* Bits that the first layer wants which reads what a node makes. */
static int bits_behind(const dt_graph *g, const insertion *s, const dt_graph_node *maker)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (!is_layer(n) || n->in[0] != maker->out) continue;
        const dt_layer_bits *own = entry_of(s, dt_layer_name_of(g, n).s);
        return own && own->wbits != DT_BITS_FLOAT ? own->abits : s->choice->abits;
    }
    return s->choice->abits;
}

/* A map and what is flattened of it have one quantizer. */
static dt_status quantize_flatten(dt_rewrite *r, insertion *s, const dt_graph_node *n)
{
    int in;

    DT_TRY(quantized(r, s, n->in[0], bits_behind(r->from, s, n), &in));
    DT_TRY(dt_rewrite_with(r, n, NULL, &in));
    s->quant[n->out] = r->of[n->out];
    return DT_OK;
}

static dt_status quantize_node(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    insertion *s = user;

    if (!s->needed[n->out]) return dt_rewrite_copy(r, n);
    if (is_layer(n))
        DT_TRY(quantize_layer(r, s, n));
    else if (n->kind == DT_OP_BIAS && is_layer(dt_graph_maker(r->from, n->in[0])))
        DT_TRY(quantize_bias(r, s, n));
    else if (n->kind == DT_OP_ADD)
        DT_TRY(quantize_add(r, s, n));
    else if (n->kind == DT_OP_FLATTEN)
        DT_TRY(quantize_flatten(r, s, n));
    else
        DT_TRY(dt_rewrite_copy(r, n));
    if (n->out != r->from->scores || n->kind == DT_OP_SOFTMAX) return DT_OK;
    return quantized(r, s, n->out, s->choice->abits, &r->of[n->out]);
}

static int is_allowed(int bits)
{
    return bits >= BITS_MIN && bits <= BITS_MAX;
}

/* 1 if the pattern fits the name of a quantizer. */
static int fits_quantizer(const dt_graph *g, const char *pattern)
{
    char name[DT_NAME_MAX + 32];

    for (int i = 0; i < g->n_values; i++) {
        snprintf(name, sizeof name, "%s" QUANT_SUFFIX, dt_graph_name(g, i));
        if (g->value[i]->source != DT_SOURCE_PARAM && fnmatch(pattern, name, 0) == 0) return 1;
    }
    return 0;
}

static dt_status check_entry(const dt_graph *g, const insertion *s, const dt_layer_bits *l)
{
    const int is_float = l->wbits == DT_BITS_FLOAT && l->abits == DT_BITS_FLOAT;

    if (!fits_quantizer(g, l->layer)) DT_TRY(dt_check_layer_pattern(g, s->needed, l->layer));
    DT_CHECK(is_float || (is_allowed(l->wbits) && is_allowed(l->abits)), DT_ERR_ARGUMENT,
             "%s: quantizers of QKeras-Mod of w%da%d for '%s', allowed are 2..16 bits, or float for both", g->name,
             l->wbits, l->abits, l->layer);
    DT_CHECK(
        l->bbits == 0 || (l->bbits >= BITS_MIN && l->bbits <= BIAS_BITS_MAX), DT_ERR_ARGUMENT,
        "%s: a bias of %d bits for '%s', allowed are 2..32, of which those above 16 stay real, and 0, which is real",
        g->name, l->bbits, l->layer);
    return DT_OK;
}

static dt_status check_choice(const dt_graph *g, const insertion *s)
{
    const dt_qkeras_choice *c = s->choice;

    DT_CHECK(is_allowed(c->wbits) && is_allowed(c->abits), DT_ERR_ARGUMENT,
             "%s: quantizers of QKeras-Mod of w%da%d, allowed are 2..16 bits", g->name, c->wbits, c->abits);
    DT_CHECK(g->capsules < 0, DT_ERR_UNSUPPORTED,
             "%s: its capsules have no quantizers of QKeras-Mod; take another --quant-rule", g->name);
    for (int i = 0; i < c->n_layer_bits; i++) DT_TRY(check_entry(g, s, &c->layer_bits[i]));
    return DT_OK;
}

static dt_status insert(const dt_graph *g, insertion *s, dt_graph **out)
{
    DT_CHECK(s->needed && s->quant, DT_ERR_MEMORY, "no memory to quantize the %d nodes of %s", g->n_nodes, g->name);
    for (int i = 0; i < g->n_values; i++) s->quant[i] = -1;
    s->needed[g->scores] = 1;
    dt_graph_mark_needed(g, NULL, 1, s->needed);
    DT_TRY(check_choice(g, s));
    DT_TRY(dt_graph_rewrite(g, quantize_node, s, out));
    return DT_OK;
}

dt_status dt_quant_insert_qkeras(const dt_graph *g, const dt_qkeras_choice *choice, dt_graph **out)
{
    const size_t n = (size_t)g->n_values + 1;
    insertion s = { .choice = choice, .needed = calloc(n, 1), .quant = malloc(n * sizeof *s.quant) };
    const dt_status status = insert(g, &s, out);

    free(s.needed);
    free(s.quant);
    return status;
}

/* ---- taken out again ---- */

int dt_graph_is_qkeras(const dt_graph *g)
{
    return dt_graph_has(g, DT_OP_FEATUREMAP_QUANT);
}

/* 1 if n makes the codes of weights real. */
static int is_weight_real(const dt_graph *g, const dt_graph_node *n)
{
    const dt_graph_node *codes = n->kind == DT_OP_DEQUANTIZE ? dt_graph_maker(g, n->in[0]) : NULL;

    return codes && codes->kind == DT_OP_MAX_QUANT;
}

static dt_status remove_node(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    const dt_graph *g = r->from;
    (void)user;

    if (n->kind == DT_OP_MAX_QUANT) return DT_OK;
    if (n->kind == DT_OP_FEATUREMAP_QUANT) return dt_rewrite_value(r, n->in[0], &r->of[n->out]);
    if (is_weight_real(g, n)) return dt_rewrite_value(r, dt_graph_maker(g, n->in[0])->in[0], &r->of[n->out]);
    return dt_rewrite_copy(r, n);
}

dt_status dt_quant_remove_qkeras(const dt_graph *g, dt_graph **out)
{
    DT_TRY(dt_graph_rewrite(g, dt_graph_is_qkeras(g) ? remove_node : NULL, NULL, out));
    return DT_OK;
}
