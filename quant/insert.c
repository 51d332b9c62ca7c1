/*
 * insert.c - see insert.h.
 *
 * Initial values are those of the course's code: 8 for the clips of activations, and 3 (deviations) for those of
 * weights. dt_trainer_calibrate sets LSQ's steps from the weights and the first batch. Until then, the steps of
 * activations are 1, and those of weights are what calibration would give PyTorch's default filters.
 *
 * Tests: tests/core/test_graph.c, tests/core/test_graph_bits.c.
 */
#include "insert.h"

#include "insert_parts.h"
#include "../core/names.h"
#include "../core/arith/grid.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A clip or a step never reaches 0: the optimiser keeps it above this. */
static const float alpha_floor = 1e-4f;

/* Normalised pixels of every known dataset lie within +-3.2: black Fashion-MNIST is -0.81, white CIFAR-10 2.13. */
static const float image_clip = 3.2f;

/* n clips that begin at `first`. */
typedef struct {
    const char *part; /* of their name, behind the layer's */
    int64_t n;
    float first;
    int is_fixed; /* 1: they are not trained */
} clips;

static dt_status clip_param(dt_rewrite *r, const dt_layer_name *layer, const clips *c, int *out)
{
    const dt_param_spec spec = { .shape = { 1, { c->n } },
                                 .group = c->is_fixed ? DT_GROUP_STATE : DT_GROUP_ALPHA,
                                 .values = DT_VALUES_POSITIVE,
                                 .init = DT_INIT_CONSTANT,
                                 .init_value = c->first,
                                 .floor = c->is_fixed ? -INFINITY : alpha_floor };
    char name[DT_NAME_MAX + 32];

    snprintf(name, sizeof name, "%s.%s", layer->s, c->part);
    return dt_graph_param(r->to, name, &spec, out);
}

/* What the pass knows while it walks. */
typedef struct {
    const dt_quant_choice *choice;
    const dt_graph_node *first, *last; /* layers, votes apart */
    const dt_graph_node *classifier;   /* the last LINEAR; NULL: none */
    char *needed;                      /* [n_values of the graph]: by the scores */
} insertion;

/* What a layer is quantized to. */
typedef struct {
    int wbits, abits;
} layer_choice;

static int has_own_bits(const insertion *s, const char *layer)
{
    for (int i = 0; i < s->choice->n_layer_bits; i++) {
        if (fnmatch(s->choice->layer_bits[i].layer, layer, 0) == 0) return 1;
    }
    return 0;
}

static layer_choice choose_bits(const insertion *s, const dt_graph_node *n, const char *layer)
{
    const dt_quant_choice *c = s->choice;
    layer_choice bits = { c->wbits, c->abits };

    if (n == s->classifier && !c->quantize_classifier) bits.wbits = bits.abits = DT_BITS_FLOAT;
    if (c->first_last_bits && (n == s->first || n == s->last)) bits.wbits = bits.abits = c->first_last_bits;
    for (int i = 0; i < c->n_layer_bits; i++) {
        const dt_layer_bits *l = &c->layer_bits[i];
        if (fnmatch(l->layer, layer, 0) == 0) bits = (layer_choice){ l->wbits, l->abits };
    }
    return bits;
}

static float first_clip(dt_quant_rule rule)
{
    return rule == DT_RULE_LSQ ? 1.0f : 8.0f;
}

/* x is the value of `from` that the layer reads; *out its codes. */
static dt_status quantize_x(dt_rewrite *r, const dt_quant_choice *c, int bits, const dt_layer_name *layer, int x,
                            int *out)
{
    const dt_graph_node *maker = dt_graph_maker(r->from, x);
    const int is_centred = maker && maker->kind == DT_OP_CENTRE;
    const int is_image = x == r->from->image || is_centred;
    const int unit = r->from->unit_pixels && !is_centred; /* such an image has no negative pixels */
    const int fixed = is_image && c->input_bits > 0;
    const int is_signed = is_image ? fixed && !unit : !dt_is_positive(r->from, x);
    const dt_act_quant_params params = { .bits = fixed ? c->input_bits : bits,
                                         .is_signed = is_signed,
                                         .unclamped = is_image && !fixed && !unit,
                                         .rule = fixed ? DT_RULE_ECE284 : c->rule };
    const float image = unit || is_centred ? 1.0f : image_clip;
    const clips clip = { "act_alpha", 1, fixed ? image : first_clip(c->rule), fixed };
    char name[DT_NAME_MAX + 32];
    int in[2];

    DT_TRY(dt_rewrite_value(r, x, &in[0]));
    DT_TRY(clip_param(r, layer, &clip, &in[1]));
    snprintf(name, sizeof name, "%s" DT_ACT_QUANT_SUFFIX, layer->s);
    return dt_graph_add(r->to, DT_OP_ACT_QUANT, name, &params, in, 2, out);
}

/* mean|w| of uniform +-1/sqrt(fan in) is half the bound */
static float weight_clip(dt_quant_rule rule, int bits, int64_t fan_in)
{
    if (rule != DT_RULE_LSQ) return 3.0f;
    return 1.0f / sqrtf((float)fan_in) / sqrtf((float)dt_weight_high(bits));
}

static dt_status quantize_w(dt_rewrite *r, const dt_quant_choice *c, int bits, const dt_layer_name *layer, int w,
                            int *out)
{
    const dt_weight_quant_params params = { .bits = bits, .rule = c->rule };
    const dt_shape *shape = dt_graph_shape(r->to, w);
    const int64_t filters = shape->dim[0], fan_in = dt_count(shape) / filters;
    const clips clip = { "weight_quant.wgt_alpha", c->per_channel ? filters : 1, weight_clip(c->rule, bits, fan_in),
                         0 };
    char name[DT_NAME_MAX + 32];
    int in[2] = { w };

    DT_TRY(clip_param(r, layer, &clip, &in[1]));
    snprintf(name, sizeof name, "%s.weight_quant", layer->s);
    return dt_graph_add(r->to, DT_OP_WEIGHT_QUANT, name, &params, in, 2, out);
}

static dt_status leave_real(dt_rewrite *r, const dt_graph_node *n, const dt_layer_name *layer)
{
    int in[DT_MAX_IN];

    for (int k = 0; k < n->n_in; k++) DT_TRY(dt_rewrite_value(r, n->in[k], &in[k]));
    DT_TRY(dt_insert_real(r, layer->s, &in[0]));
    return dt_rewrite_with(r, n, NULL, in);
}

static dt_status quantize_layer(dt_rewrite *r, const dt_graph_node *n, const insertion *s)
{
    const dt_layer_name layer = dt_layer_name_of(r->from, n);
    const layer_choice bits = choose_bits(s, n, layer.s);
    int w, in[2];

    if (bits.wbits == DT_BITS_FLOAT) return leave_real(r, n, &layer);
    DT_TRY(dt_rewrite_value(r, n->in[1], &w));
    DT_TRY(quantize_x(r, s->choice, bits.abits, &layer, n->in[0], &in[0]));
    DT_TRY(quantize_w(r, s->choice, bits.wbits, &layer, w, &in[1]));
    if (n->kind == DT_OP_LINEAR) return dt_insert_linear(r, n, in, &r->of[n->out]);
    return dt_rewrite_with(r, n, NULL, in);
}

/* Of one cell there is nothing to sum; averages of several divisors are not integers of one scale. */
static int is_sum(const dt_graph *g, const dt_graph_node *n)
{
    const dt_pool_params *pool = n->params;
    const int64_t *x = dt_graph_shape(g, n->in[0])->dim;

    if (n->kind == DT_OP_ADD) return 1;
    if (n->kind != DT_OP_AVGPOOL) return 0;
    if (pool->window[0] == 0) return x[1] * x[2] > 1;
    const int is_padded = pool->pad[0] || pool->pad[1] || pool->pad[2] || pool->pad[3];
    return pool->window[0] * pool->window[1] > 1 && (pool->count_include_pad || !is_padded);
}

/* The inputs' codes have one clip and one range, so that their integers can be added. */
static dt_status quantize_sum(dt_rewrite *r, const dt_graph_node *n, const dt_quant_choice *c)
{
    const clips shared = { "act_alpha", 1, first_clip(c->rule), 0 };
    dt_act_quant_params params = { .bits = c->sum_bits, .rule = c->rule };
    char name[DT_NAME_MAX + 32];
    dt_layer_name layer;
    int in[2], clip;

    snprintf(layer.s, sizeof layer.s, "%s", dt_graph_name(r->from, n->out));
    DT_TRY(clip_param(r, &layer, &shared, &clip));
    for (int k = 0; k < n->n_in; k++) params.is_signed |= !dt_is_positive(r->from, n->in[k]);
    for (int k = 0; k < n->n_in; k++) {
        int codes[2] = { -1, clip };
        const int one = n->n_in == 1;
        snprintf(name, sizeof name, one ? "%s" DT_ACT_QUANT_SUFFIX : "%s.%d" DT_ACT_QUANT_SUFFIX, layer.s, k);
        DT_TRY(dt_rewrite_value(r, n->in[k], &codes[0]));
        DT_TRY(dt_graph_add(r->to, DT_OP_ACT_QUANT, name, &params, codes, 2, &in[k]));
    }
    return dt_rewrite_with(r, n, NULL, in);
}

static dt_status quantize_node(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    const insertion *s = user;

    if (!s->needed[n->out])
        DT_TRY(dt_rewrite_copy(r, n));
    else if (dt_has_weights(n))
        DT_TRY(quantize_layer(r, n, s));
    else if (s->choice->sum_bits > 0 && is_sum(r->from, n))
        DT_TRY(quantize_sum(r, n, s->choice));
    else
        DT_TRY(dt_rewrite_copy(r, n));
    return n->out == r->from->scores ? dt_insert_real(r, dt_graph_name(r->from, n->out), &r->of[n->out]) : DT_OK;
}

static int is_allowed(int bits)
{
    return bits >= 2 && bits <= 8;
}

static dt_status check_layer_bits(const insertion *s, const dt_graph *g, const dt_layer_bits *l)
{
    const int is_float = l->wbits == DT_BITS_FLOAT && l->abits == DT_BITS_FLOAT;

    DT_TRY(dt_check_layer_pattern(g, s->needed, l->layer));
    DT_CHECK(is_float || (is_allowed(l->wbits) && is_allowed(l->abits)), DT_ERR_ARGUMENT,
             "%s: bits w%da%d of '%s', allowed are 2..8 for each, or float for both", g->name, l->wbits, l->abits,
             l->layer);
    return DT_OK;
}

/* Bits that one number is of. */
static dt_status check_bits(const dt_graph *g, const char *of, int bits, const char *otherwise)
{
    DT_CHECK(bits == 0 || is_allowed(bits), DT_ERR_ARGUMENT, "%s: %d bits of %s, allowed are 2..8 and 0 (%s)", g->name,
             bits, of, otherwise);
    return DT_OK;
}

static dt_status check_choice(const insertion *s, const dt_graph *g)
{
    const dt_quant_choice *c = s->choice;

    DT_CHECK(c->rule < DT_RULE_AFFINE, DT_ERR_ARGUMENT,
             "%s: the rule %s is of whole networks; take dt_quant_insert_range or dt_quant_insert_qkeras", g->name,
             dt_quant_rule_names[c->rule]);
    DT_TRY(check_bits(g, "the first and last layer", c->first_last_bits, "as the others"));
    DT_TRY(check_bits(g, "sums", c->sum_bits, "real"));
    for (int i = 0; i < c->n_layer_bits; i++) DT_TRY(check_layer_bits(s, g, &c->layer_bits[i]));
    if (!c->quantize_classifier) return DT_OK;
    DT_CHECK(s->classifier, DT_ERR_ARGUMENT, "%s has no linear layer that could be its classifier", g->name);
    const dt_layer_name layer = dt_layer_name_of(g, s->classifier);
    DT_CHECK(choose_bits(s, s->classifier, layer.s).wbits != DT_BITS_FLOAT, DT_ERR_ARGUMENT,
             "%s: its classifier is to be quantized, and nothing says to how many bits; give '%s' some", g->name,
             layer.s);
    return DT_OK;
}

/* The layers that the choice speaks of. s->needed is filled. */
static void find_layers(insertion *s, const dt_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->node[i].kind == DT_OP_LINEAR && s->needed[g->node[i].out]) s->classifier = &g->node[i];
    }
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (n->kind == DT_OP_CAPS_VOTES || !dt_has_weights(n) || !s->needed[n->out]) continue;
        const int is_real = n == s->classifier && !s->choice->quantize_classifier;
        if (is_real && !has_own_bits(s, dt_layer_name_of(g, n).s)) continue;
        if (!s->first) s->first = n;
        s->last = n;
    }
}

dt_status dt_quant_insert(const dt_graph *g, const dt_quant_choice *choice, dt_graph **out)
{
    insertion s = { .choice = choice, .needed = calloc((size_t)g->n_values + 1, 1) };

    DT_CHECK(s.needed, DT_ERR_MEMORY, "no memory to quantize the %d nodes of %s", g->n_nodes, g->name);
    s.needed[g->scores] = 1;
    dt_graph_mark_needed(g, NULL, 1, s.needed);
    find_layers(&s, g);
    dt_status status = check_choice(&s, g);
    if (status == DT_OK) status = dt_graph_rewrite(g, quantize_node, &s, out);
    free(s.needed);
    DT_TRY(status);
    return DT_OK;
}
