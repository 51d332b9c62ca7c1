/*
 * insert_range.c - see insert_range.h.
 *
 * The pass looks at the network first (range_plan.c): which nodes join the one before them, as TensorFlow Lite's
 * converter folds a batch norm and fuses an activation, and which values have one range. Then it walks the nodes. A
 * value has up to two forms in the new network: what its node computes, and its codes. The quantizer is put in when
 * somebody first asks for codes. So a layer whose output is read with and without a ReLU has a quantizer behind each.
 *
 * Tests: tests/quant/test_insert_range.c.
 */
#include "insert_range.h"

#include "../core/names.h"
#include "insert_parts.h"
#include "range_plan.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* TensorFlow's quantization-aware training begins with these ends. */
static const float first_end = 6.0f;

/* What stands for a value of g in the new network; -1: nothing yet. */
typedef struct {
    int plain; /* what its node computes: real values, or sums of codes */
    int codes; /* a quantizer's */
    int real;  /* the codes made real */
    int stays; /* 1: made by a layer that stays real, or by what joins it */
} forms;

typedef struct {
    const dt_range_choice *choice;
    dt_range_plan plan;
    forms *of; /* [n_values of g] */
} insertion;

/* ---- ranges ---- */

/* The range with which training begins, where it is given. */
static dt_status give_range(dt_rewrite *r, const insertion *s, int named, int param)
{
    const dt_range none = { NAN, NAN }, known = s->choice->range ? s->choice->range[named] : none;
    const char *name = dt_graph_name(r->from, named);

    if (isnan(known.min) || isnan(known.max)) {
        DT_CHECK(s->choice->update != DT_RANGE_FIXED, DT_ERR_ARGUMENT,
                 "%s: the range of %s is not known, and ranges are fixed; give it, or let ranges be learned or average",
                 r->from->name, name);
        return DT_OK;
    }
    DT_CHECK(isfinite(known.min) && isfinite(known.max) && known.min <= known.max, DT_ERR_ARGUMENT,
             "%s: the range of %s is %g..%g; both ends must be finite, and the first no larger than the second",
             r->from->name, name, (double)known.min, (double)known.max);
    float *ends = malloc(2 * sizeof *ends);
    DT_CHECK(ends, DT_ERR_MEMORY, "no memory for the range of %s", name);
    ends[0] = known.min;
    ends[1] = known.max;
    dt_graph_set_data(r->to, param, DT_F32, ends);
    return DT_OK;
}

/* The parameter of a range, which is made when it is first asked for: *is_new is then 1. */
static dt_status range_param(dt_rewrite *r, const insertion *s, const dt_range_group *group, int *is_new, int *out)
{
    const int is_fixed = group->is_fixed;
    const dt_param_spec spec = {
        .shape = { 1, { 2 } },
        .group = s->choice->update == DT_RANGE_LEARNED && !is_fixed ? DT_GROUP_ALPHA : DT_GROUP_STATE,
        .values = DT_VALUES_FINITE,
        .init = is_fixed ? DT_INIT_CONSTANT : DT_INIT_ENDS, /* of positive values the first end is not read */
        .init_value = is_fixed ? 1.0f - ldexpf(1.0f, -s->choice->abits) : first_end,
        .floor = -INFINITY
    };
    char name[DT_NAME_MAX + 32];

    snprintf(name, sizeof name, "%s.range", dt_graph_name(r->from, group->named));
    *is_new = dt_graph_find(r->to, name) < 0;
    DT_TRY(dt_graph_param(r->to, name, &spec, out));
    return *is_new && !is_fixed ? give_range(r, s, group->named, *out) : DT_OK;
}

/* 1 if no value of the range is below 0. The image of a network that reads pixels in 0..1 may be none of pixels: a
 * range that is given tells. */
static int is_positive(const insertion *s, const dt_range_group *group)
{
    const int has_negative = s->choice->range && s->choice->range[group->named].min < 0.0f;

    return group->is_positive && !has_negative;
}

/* ---- the forms of a value ---- */

/* What the value's node computes, or the value itself where no node makes it. */
static dt_status plain_of(dt_rewrite *r, insertion *s, int value, int *out)
{
    forms *f = &s->of[value];

    if (f->plain < 0 && f->codes < 0) DT_TRY(dt_rewrite_value(r, value, &f->plain));
    *out = f->plain < 0 ? f->codes : f->plain;
    return DT_OK;
}

static dt_status codes_of(dt_rewrite *r, insertion *s, int value, int *out);

/* What else is quantized to a range that is an average, behind x and the range in `in`. */
typedef struct {
    int in[DT_MAX_IN], n_in;
} reading;

static dt_status add_other(const dt_rewrite *r, const dt_range_group *group, int value, reading *out)
{
    for (int k = 0; k < out->n_in; k++) {
        if (out->in[k] == value) return DT_OK;
    }
    DT_CHECK(
        out->n_in < DT_MAX_IN, DT_ERR_UNSUPPORTED,
        "%s: %s joins more than %d values with one range, which is the most that an average follows; let ranges be "
        "learned",
        r->from->name, dt_graph_name(r->from, group->named), DT_MAX_IN - 1);
    out->in[out->n_in++] = value;
    return DT_OK;
}

/* Values that are quantized to the range, but those that are made of its codes. */
static int is_source(const insertion *s, const dt_graph *g, int value, const dt_range_group *group)
{
    const dt_place place = s->plan.place[value];

    if (dt_range_of(&s->plan, value) != group || !s->plan.needed[value]) return 0;
    return !dt_graph_maker(g, value) ||
           (place != DT_PLACE_SAME && place != DT_PLACE_BORROW && place != DT_PLACE_CONCAT);
}

/* All of them must be there when the first is quantized. */
static dt_status must_be_there(const dt_rewrite *r, const insertion *s, const dt_range_group *group, int value)
{
    DT_CHECK(!dt_graph_maker(r->from, value) || s->of[value].plain >= 0, DT_ERR_UNSUPPORTED,
             "%s: %s joins %s with values that are read before it is made, and an average must see all of them first; "
             "let ranges be learned",
             r->from->name, dt_graph_name(r->from, group->named), dt_graph_name(r->from, value));
    return DT_OK;
}

/* Probabilities that are quantized to the range of a concat. */
static dt_status add_probabilities(dt_rewrite *r, insertion *s, const dt_range_group *group, reading *out)
{
    for (int i = 0; i < r->from->n_nodes; i++) {
        const dt_graph_node *n = &r->from->node[i];
        if (s->plan.place[n->out] != DT_PLACE_CONCAT || dt_range_of(&s->plan, n->out) != group) continue;
        for (int k = 0; k < n->n_in; k++) {
            int codes = -1;
            if (dt_range_of(&s->plan, n->in[k]) == group) continue;
            DT_CHECK(s->of[n->in[k]].plain >= 0 || s->of[n->in[k]].codes >= 0, DT_ERR_UNSUPPORTED,
                     "%s: %s joins %s with values that are read before it is made, and an average must see all of "
                     "them first; let ranges be learned",
                     r->from->name, dt_graph_name(r->from, n->out), dt_graph_name(r->from, n->in[k]));
            DT_TRY(codes_of(r, s, n->in[k], &codes));
            DT_TRY(add_other(r, group, codes, out));
        }
    }
    return DT_OK;
}

static dt_status add_others(dt_rewrite *r, insertion *s, const dt_range_group *group, reading *out)
{
    for (int v = 0; v < r->from->n_values; v++) {
        int plain = -1;
        if (!is_source(s, r->from, v, group)) continue;
        DT_TRY(must_be_there(r, s, group, v));
        DT_TRY(plain_of(r, s, v, &plain));
        DT_TRY(add_other(r, group, plain, out));
    }
    return add_probabilities(r, s, group, out);
}

/* *value becomes the codes of a quantizer called `name`. borrows: 1: the range is another value's to change. Of the
 * quantizers of one average, the first changes it, and looks at what the others quantize. */
static dt_status add_quantizer(dt_rewrite *r, insertion *s, const dt_range_group *group, int borrows, const char *name,
                               int *value)
{
    const int is_average = s->choice->update == DT_RANGE_AVERAGE && group->n_sources > 1;
    dt_range_quant_params params = { .bits = s->choice->abits,
                                     .is_positive = is_positive(s, group),
                                     .update = group->is_fixed || borrows ? DT_RANGE_FIXED : s->choice->update,
                                     .decay = s->choice->decay };
    reading x = { { *value }, 2 };
    int is_new;

    DT_TRY(range_param(r, s, group, &is_new, &x.in[1]));
    if (is_average && !is_new) params.update = DT_RANGE_FIXED;
    if (is_average && is_new) DT_TRY(add_others(r, s, group, &x));
    return dt_graph_add(r->to, DT_OP_RANGE_QUANT, name, &params, x.in, x.n_in, value);
}

static dt_status codes_of(dt_rewrite *r, insertion *s, int value, int *out)
{
    forms *f = &s->of[value];
    char name[DT_NAME_MAX + 32];

    if (f->codes < 0) {
        int x;
        snprintf(name, sizeof name, "%s.quant", dt_graph_name(r->from, value));
        DT_TRY(plain_of(r, s, value, &x));
        DT_TRY(add_quantizer(r, s, dt_range_of(&s->plan, value), s->plan.place[value] == DT_PLACE_BORROW, name, &x));
        f->codes = x;
    }
    *out = f->codes;
    return DT_OK;
}

/* The real values of the codes. */
static dt_status real_of(dt_rewrite *r, insertion *s, int value, int *out)
{
    forms *f = &s->of[value];

    if (f->real < 0) {
        int codes;
        DT_TRY(codes_of(r, s, value, &codes));
        DT_TRY(dt_insert_real(r, dt_graph_name(r->from, value), &codes));
        f->real = codes;
    }
    *out = f->real;
    return DT_OK;
}

/* ---- nodes ---- */

static int stays_real(const dt_range_choice *c, const char *layer)
{
    for (int i = 0; i < c->n_real; i++) {
        if (fnmatch(c->real[i], layer, 0) == 0) return 1;
    }
    return 0;
}

static dt_status quantize_w(dt_rewrite *r, const dt_range_choice *c, const dt_graph_node *n, int *out)
{
    const dt_layer_name layer = dt_layer_name_of(r->from, n);
    const dt_max_quant_params params = { .bits = c->wbits };
    const int has_one = !c->per_channel || (n->kind == DT_OP_LINEAR && c->fc_per_layer);
    const dt_param_spec spec = { .shape = { 1, { has_one ? 1 : dt_graph_shape(r->from, n->in[1])->dim[0] } },
                                 .group = DT_GROUP_STATE,
                                 .values = DT_VALUES_NOT_NEGATIVE,
                                 .floor = -INFINITY };
    char name[DT_NAME_MAX + 32];
    int in[2];

    DT_TRY(dt_rewrite_value(r, n->in[1], &in[0]));
    snprintf(name, sizeof name, "%s.weight_least", layer.s);
    DT_TRY(dt_graph_param(r->to, name, &spec, &in[1]));
    snprintf(name, sizeof name, "%s.weight_quant", layer.s);
    return dt_graph_add(r->to, DT_OP_MAX_QUANT, name, &params, in, 2, out);
}

/* It reads what a real layer before it computes, or what codes stand for. */
static dt_status leave_real(dt_rewrite *r, insertion *s, const dt_graph_node *n)
{
    int in[DT_MAX_IN];

    if (n->in[0] == r->from->image || s->of[n->in[0]].stays)
        DT_TRY(plain_of(r, s, n->in[0], &in[0]));
    else
        DT_TRY(real_of(r, s, n->in[0], &in[0]));
    for (int k = 1; k < n->n_in; k++) DT_TRY(dt_rewrite_value(r, n->in[k], &in[k]));
    DT_TRY(dt_rewrite_with(r, n, NULL, in));
    s->of[n->out].plain = r->of[n->out];
    s->of[n->out].stays = 1;
    return DT_OK;
}

static dt_status quantize_layer(dt_rewrite *r, insertion *s, const dt_graph_node *n)
{
    const dt_layer_name layer = dt_layer_name_of(r->from, n);
    int in[2];

    if (stays_real(s->choice, layer.s)) return leave_real(r, s, n);
    DT_TRY(codes_of(r, s, n->in[0], &in[0]));
    DT_TRY(quantize_w(r, s->choice, n, &in[1]));
    if (n->kind == DT_OP_LINEAR)
        DT_TRY(dt_insert_linear(r, n, in, &r->of[n->out]));
    else
        DT_TRY(dt_rewrite_with(r, n, NULL, in));
    s->of[n->out].plain = r->of[n->out];
    return DT_OK;
}

/* Parameters, which batch norms and biases have, stay as they are. */
static int is_param_of(const dt_graph *g, const dt_graph_node *n, int k)
{
    return k > 0 && n->kind != DT_OP_ADD && n->kind != DT_OP_MUL && g->value[n->in[k]]->source == DT_SOURCE_PARAM;
}

/* A copy of the node that reads its inputs in one form. */
static dt_status copy_with(dt_rewrite *r, insertion *s, const dt_graph_node *n,
                           dt_status (*form_of)(dt_rewrite *, insertion *, int, int *))
{
    int in[DT_MAX_IN];

    for (int k = 0; k < n->n_in; k++) {
        DT_TRY(is_param_of(r->from, n, k) ? dt_rewrite_value(r, n->in[k], &in[k]) : form_of(r, s, n->in[k], &in[k]));
    }
    DT_TRY(dt_rewrite_with(r, n, NULL, in));
    s->of[n->out].plain = r->of[n->out];
    return DT_OK;
}

/* Codes of another range are quantized once more. */
static dt_status join_codes(dt_rewrite *r, insertion *s, const dt_graph_node *n)
{
    const dt_range_group *group = dt_range_of(&s->plan, n->out);
    char name[DT_NAME_MAX + 32];
    int in[DT_MAX_IN];

    for (int k = 0; k < n->n_in; k++) {
        DT_TRY(codes_of(r, s, n->in[k], &in[k]));
        if (dt_range_of(&s->plan, n->in[k]) == group) continue;
        snprintf(name, sizeof name, "%s.%d.quant", dt_graph_name(r->from, n->out), k);
        DT_TRY(add_quantizer(r, s, group, 0, name, &in[k]));
    }
    return dt_rewrite_with(r, n, NULL, in);
}

static dt_status quantize_by_place(dt_rewrite *r, insertion *s, const dt_graph_node *n)
{
    forms *f = &s->of[n->out];

    switch (s->plan.place[n->out]) {
    case DT_PLACE_COPY: return dt_rewrite_copy(r, n);
    case DT_PLACE_LAYER: return quantize_layer(r, s, n);
    case DT_PLACE_REAL: return copy_with(r, s, n, real_of);
    case DT_PLACE_OWN:
    case DT_PLACE_BORROW: return copy_with(r, s, n, codes_of);
    case DT_PLACE_JOIN:
        DT_TRY(copy_with(r, s, n, plain_of));
        f->stays = s->of[n->in[0]].stays;
        return DT_OK;
    case DT_PLACE_SAME: DT_TRY(copy_with(r, s, n, codes_of)); break;
    case DT_PLACE_CONCAT: DT_TRY(join_codes(r, s, n)); break;
    }
    f->plain = -1;
    f->codes = r->of[n->out];
    return DT_OK;
}

/* Whoever reads the scores reads reals. */
static dt_status quantize_node(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    insertion *s = user;

    if (!s->plan.needed[n->out]) return DT_OK;
    DT_TRY(quantize_by_place(r, s, n));
    if (n->out != r->from->scores || s->of[n->out].stays) return DT_OK;
    return real_of(r, s, n->out, &r->of[n->out]);
}

/* ---- the choice ---- */

static dt_status check_choice(const dt_graph *g, const dt_range_choice *c, const char *needed)
{
    DT_CHECK(c->wbits >= 2 && c->wbits <= 16 && c->abits >= 2 && c->abits <= 16, DT_ERR_ARGUMENT,
             "%s: affine quantizers of w%da%d, allowed are 2..16 bits of weights and 2..16 of activations", g->name,
             c->wbits, c->abits);
    DT_TRY(dt_check_word("the update of ranges", (int)c->update, dt_range_update_names));
    DT_CHECK(c->decay >= 0.0f && c->decay <= 1.0f, DT_ERR_ARGUMENT, "%s: the decay of ranges is %g, allowed are 0..1",
             g->name, (double)c->decay);
    for (int i = 0; i < c->n_real; i++) DT_TRY(dt_check_layer_pattern(g, needed, c->real[i]));
    return DT_OK;
}

static dt_status insert(const dt_graph *g, insertion *s, dt_graph **out)
{
    DT_CHECK(s->of, DT_ERR_MEMORY, "no memory to quantize the %d nodes of %s", g->n_nodes, g->name);
    for (int i = 0; i < g->n_values; i++) s->of[i] = (forms){ -1, -1, -1, 0 };
    DT_TRY(dt_range_plan_make(g, &s->plan));
    DT_TRY(check_choice(g, s->choice, s->plan.needed));
    DT_TRY(dt_graph_rewrite(g, quantize_node, s, out));
    return DT_OK;
}

dt_status dt_quant_insert_range(const dt_graph *g, const dt_range_choice *choice, dt_graph **out)
{
    insertion s = { .choice = choice, .of = malloc((size_t)(g->n_values + 1) * sizeof *s.of) };
    const dt_status status = insert(g, &s, out);

    dt_range_plan_destroy(&s.plan);
    free(s.of);
    return status;
}
