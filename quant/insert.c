/*
 * insert.c - see insert.h.
 *
 * Initial values: activation clip 8, weight clip 3 (in deviations), the course code's. LSQ's steps are set by
 * dt_trainer_calibrate, from the weights and the first batch; until then those of activations are 1, and those of
 * weights what PyTorch's default filters would give.
 *
 * Tests: tests/core/test_graph.c.
 */
#include "insert.h"

#include "../core/graph/rewrite.h"
#include "../core/names.h"
#include "../core/arith/grid.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

/* A clip or a step never reaches 0: the optimiser keeps it above this. */
static const float alpha_floor = 1e-4f;

/* Normalised pixels of every known dataset lie within +-3.2: black Fashion-MNIST is -0.81, white CIFAR-10 2.13. */
static const float image_clip = 3.2f;

int dt_graph_is_positive(const dt_graph *g, int value)
{
    const dt_graph_node *n = dt_graph_maker(g, value);

    if (!n) return 0;
    switch (n->kind) {
    case DT_OP_RELU:
    case DT_OP_SIGMOID: return 1;
    case DT_OP_MAXPOOL:
    case DT_OP_AVGPOOL:
    case DT_OP_FLATTEN:
    case DT_OP_IDENTITY:
    case DT_OP_TRANSPOSE: return dt_graph_is_positive(g, n->in[0]);
    case DT_OP_ADD:
    case DT_OP_CONCAT:
        for (int k = 0; k < n->n_in; k++) {
            if (!dt_graph_is_positive(g, n->in[k])) return 0;
        }
        return 1;
    default: return 0;
    }
}

/* "features.27" of the weights "features.27.weight" */
typedef struct {
    char s[DT_NAME_MAX + 1];
} layer_name;

static layer_name layer_of(const char *weight)
{
    static const char suffix[] = ".weight";
    const size_t bytes = strlen(weight), end = sizeof suffix - 1;
    const int has_suffix = bytes > end && strcmp(weight + bytes - end, suffix) == 0;
    layer_name name;

    snprintf(name.s, sizeof name.s, "%.*s", (int)(has_suffix ? bytes - end : bytes), weight);
    return name;
}

static dt_status clip_param(dt_rewrite *r, const layer_name *layer, const char *part, int64_t n, int is_fixed,
                            float first, int *out)
{
    const dt_param_spec spec = { .shape = { 1, { n } },
                                 .group = is_fixed ? DT_GROUP_STATE : DT_GROUP_ALPHA,
                                 .values = DT_VALUES_POSITIVE,
                                 .init = DT_INIT_CONSTANT,
                                 .init_value = first,
                                 .floor = is_fixed ? -INFINITY : alpha_floor };
    char name[DT_NAME_MAX + 32];

    snprintf(name, sizeof name, "%s.%s", layer->s, part);
    return dt_graph_param(r->to, name, &spec, out);
}

/* What the pass knows while it walks. */
typedef struct {
    const dt_quant_choice *choice;
    const dt_graph_node *first, *last; /* convolutions */
} insertion;

/* What a layer is quantized to. */
typedef struct {
    int wbits, abits;
} layer_choice;

static int has_weights(const dt_graph_node *n)
{
    return n->kind == DT_OP_CONV2D || n->kind == DT_OP_CAPS_VOTES;
}

static layer_choice choose_bits(const insertion *s, const dt_graph_node *n, const char *layer)
{
    const dt_quant_choice *c = s->choice;
    layer_choice bits = { c->wbits, c->abits };

    if (c->first_last_bits && (n == s->first || n == s->last)) bits.wbits = bits.abits = c->first_last_bits;
    for (int i = 0; i < c->n_layer_bits; i++) {
        const dt_layer_bits *l = &c->layer_bits[i];
        if (fnmatch(l->layer, layer, 0) == 0) bits = (layer_choice){ l->wbits, l->abits };
    }
    return bits;
}

/* x is the value of `from` that the layer reads; *out its codes. */
static dt_status quantize_x(dt_rewrite *r, const dt_quant_choice *c, int bits, const layer_name *layer, int x, int *out)
{
    const int is_image = x == r->from->image, unit = r->from->unit_pixels; /* such an image has no negative pixels */
    const int fixed = is_image && c->input_bits > 0;
    const int is_signed = is_image ? fixed && !unit : !dt_graph_is_positive(r->from, x);
    const dt_act_quant_params params = { .bits = fixed ? c->input_bits : bits,
                                         .is_signed = is_signed,
                                         .unclamped = is_image && !fixed && !unit,
                                         .rule = fixed ? DT_RULE_ECE284 : c->rule };
    const float clip = unit ? 1.0f : image_clip;
    const float first = fixed ? clip : c->rule == DT_RULE_LSQ ? 1.0f : 8.0f;
    char name[DT_NAME_MAX + 32];
    int in[2];

    DT_TRY(dt_rewrite_value(r, x, &in[0]));
    DT_TRY(clip_param(r, layer, "act_alpha", 1, fixed, first, &in[1]));
    snprintf(name, sizeof name, "%s" DT_ACT_QUANT_SUFFIX, layer->s);
    return dt_graph_add(r->to, DT_OP_ACT_QUANT, name, &params, in, 2, out);
}

/* mean|w| of uniform +-1/sqrt(fan in) is half the bound */
static float weight_clip(dt_quant_rule rule, int bits, int64_t fan_in)
{
    if (rule != DT_RULE_LSQ) return 3.0f;
    return 1.0f / sqrtf((float)fan_in) / sqrtf((float)dt_weight_high(bits));
}

static dt_status quantize_w(dt_rewrite *r, const dt_quant_choice *c, int bits, const layer_name *layer, int w, int *out)
{
    const dt_weight_quant_params params = { .bits = bits, .rule = c->rule };
    const dt_shape *shape = dt_graph_shape(r->to, w);
    const int64_t filters = shape->dim[0], fan_in = dt_count(shape) / filters;
    char name[DT_NAME_MAX + 32];
    int in[2] = { w };

    DT_TRY(clip_param(r, layer, "weight_quant.wgt_alpha", c->per_channel ? filters : 1, 0,
                      weight_clip(c->rule, bits, fan_in), &in[1]));
    snprintf(name, sizeof name, "%s.weight_quant", layer->s);
    return dt_graph_add(r->to, DT_OP_WEIGHT_QUANT, name, &params, in, 2, out);
}

static dt_status leave_real(dt_rewrite *r, const dt_graph_node *n, const layer_name *layer)
{
    int x;

    DT_TRY(dt_rewrite_value(r, n->in[0], &x));
    DT_CHECK(r->to->value[x]->facts.n_scale == 0, DT_ERR_UNSUPPORTED,
             "%s is to compute on reals, but reads the integers of %s, which has no batch norm behind it; give it bits",
             layer->s, dt_graph_name(r->to, x));
    return dt_rewrite_copy(r, n);
}

static dt_status quantize_node(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    const insertion *s = user;
    int w, in[2];

    if (!has_weights(n)) return dt_rewrite_copy(r, n);
    const layer_name layer = layer_of(dt_graph_name(r->from, n->in[1]));
    const layer_choice bits = choose_bits(s, n, layer.s);
    if (bits.wbits == DT_BITS_FLOAT) return leave_real(r, n, &layer);
    DT_TRY(dt_rewrite_value(r, n->in[1], &w));
    DT_TRY(quantize_x(r, s->choice, bits.abits, &layer, n->in[0], &in[0]));
    DT_TRY(quantize_w(r, s->choice, bits.wbits, &layer, w, &in[1]));
    return dt_rewrite_with(r, n, NULL, in);
}

/* Of all layers, as far as there is room: "features.0, features.4, .." */
static void list_layers(const dt_graph *g, char *text, size_t bytes)
{
    size_t used = 0;

    for (int i = 0; i < g->n_nodes; i++) {
        if (!has_weights(&g->node[i])) continue;
        const layer_name layer = layer_of(dt_graph_name(g, g->node[i].in[1]));
        if (used + strlen(layer.s) + 8 > bytes) {
            snprintf(text + used, bytes - used, ", ..");
            return;
        }
        used += (size_t)snprintf(text + used, bytes - used, "%s%s", used ? ", " : "", layer.s);
    }
}

static int fits_a_layer(const dt_graph *g, const char *pattern)
{
    for (int i = 0; i < g->n_nodes; i++) {
        if (!has_weights(&g->node[i])) continue;
        const layer_name layer = layer_of(dt_graph_name(g, g->node[i].in[1]));
        if (fnmatch(pattern, layer.s, 0) == 0) return 1;
    }
    return 0;
}

static int is_allowed(int bits)
{
    return bits >= 2 && bits <= 8;
}

static dt_status check_layer_bits(const dt_graph *g, const dt_layer_bits *l)
{
    char layers[512] = "none";
    const int is_float = l->wbits == DT_BITS_FLOAT && l->abits == DT_BITS_FLOAT;

    if (!fits_a_layer(g, l->layer)) {
        list_layers(g, layers, sizeof layers);
        return dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__,
                        "%s has no layer '%s' that could be quantized; there are %s", g->name, l->layer, layers);
    }
    DT_CHECK(is_float || (is_allowed(l->wbits) && is_allowed(l->abits)), DT_ERR_ARGUMENT,
             "%s: bits w%da%d of '%s', allowed are 2..8 for each, or float for both", g->name, l->wbits, l->abits,
             l->layer);
    return DT_OK;
}

static insertion begin(const dt_graph *g, const dt_quant_choice *choice)
{
    insertion s = { .choice = choice };

    for (int i = 0; i < g->n_nodes; i++) {
        if (g->node[i].kind != DT_OP_CONV2D) continue;
        if (!s.first) s.first = &g->node[i];
        s.last = &g->node[i];
    }
    return s;
}

dt_status dt_quant_insert(const dt_graph *g, const dt_quant_choice *choice, dt_graph **out)
{
    insertion s = begin(g, choice);

    DT_CHECK(choice->first_last_bits == 0 || is_allowed(choice->first_last_bits), DT_ERR_ARGUMENT,
             "%s: %d bits of the first and last convolution, allowed are 2..8 and 0 (as the others)", g->name,
             choice->first_last_bits);
    for (int i = 0; i < choice->n_layer_bits; i++) DT_TRY(check_layer_bits(g, &choice->layer_bits[i]));
    return dt_graph_rewrite(g, quantize_node, &s, out);
}
