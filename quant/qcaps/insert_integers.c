/*
 * insert_integers.c - the integers of a network that Q-CapsNets has quantized: the formats of insert_fixed.c become
 *                     SCALE_QUANTs, and its routing ROUTE_INTs. A program is lowered from the result, which computes
 *                     what the program computes.
 *
 *   tensor                 becomes
 *   image, what convolutions and votes read
 *                          codes in the format's own steps, rounded as the format says
 *   votes                  likewise; of a format of more than 8 bits, 8 in coarser steps
 *   the image of the published code, which does not round it: its pixels
 *   a sum of two tensors   codes in the larger of the two steps, with one bit more
 *   several lists together codes in the smallest of their steps that 8 bits hold them in
 *   weights                likewise; biases are rounded, and stay real up to the offsets of sums
 *   s, v, b, c in routing  codes of as many bits, rounded half up, whose step is the power of two nearest to the
 *                          format's; of b, in units of log2, no smaller than that
 *   c of iteration 1       the ratio of the first sum: 1 / span rounded to its format, or 1 / span if that is 0
 *   capsules for a layer   16 bits; what reads them makes codes of them
 *
 * The published formats are corrected here: their bits are fractional ones, to which come a sign and the whole bits
 * that the calibrated scale needs, and values are rounded to the nearest or down as it was meant. The class is that of
 * the largest sum of squares of s, as in all routing by integers.
 *
 * Interface: insert_integers.h.  Tests: tests/quant/test_qcaps_integers.c.
 */
#include "insert_integers.h"

#include "../../core/arith/fixed_point.h"
#include "../../core/names.h"
#include "../../layers/caps/route_int.h"
#include "../insert_parts.h"
#include "../insert_route.h"
#include "fixed_formats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of codes in a program. */
enum { CODE_BITS = 8, CODE_MAX = 255, IMAGE_BITS = 16, LIST_MAX = 127 };

enum { S_FRAC_MAX = 18, V_FRAC_MAX = 24, B_FRAC_MAX = 16, C_FRAC_MAX = 24, CAPSULE_BITS = 16 };

typedef struct {
    dt_model *m;
    dt_qcaps_formats formats;
    const char *needed; /* [n_values of the plain graph]: by the scores */
} integers;

/* Codes low..high of a step. */
typedef struct {
    float step;
    int low, high;
} grid;

/* The least e with 2^e >= x > 0. */
static int exponent_above(float x)
{
    int e;

    return frexpf(x, &e) == 0.5f ? e - 1 : e;
}

static dt_status find_tensor(const integers *s, const char *name, dt_qcaps_tensor *out)
{
    const int i = dt_fixed_find(dt_fixed_formats_of(s->m), name);

    DT_CHECK(i >= 0, DT_ERR_RANGE, "%s has no fixed-point format; the file is of another network", name);
    dt_qcaps_look_at(s->m, i, out);
    return DT_OK;
}

/* Bits of a tensor's codes, sign included. */
static int whole_bits(const integers *s, const dt_qcaps_tensor *t, float scale)
{
    const int above = exponent_above(scale);

    return s->formats.published ? t->bits + 1 + (above > 0 ? above : 0) : t->bits;
}

/* Of so many bits, as far as programs hold them: the least code of 9 bits is left out. */
static grid grid_of_bits(float step, int bits)
{
    const int end = 1 << (bits - 1), is_wide = bits == CODE_BITS + 1;

    return (grid){ step, is_wide ? -CODE_MAX : -end, end - 1 };
}

static dt_status grid_of_tensor(const integers *s, const char *name, int most_bits, grid *out)
{
    dt_qcaps_tensor t;

    DT_TRY(find_tensor(s, name, &t));
    const int bits = whole_bits(s, &t, t.scale);
    DT_CHECK(bits >= 2 && bits <= most_bits, DT_ERR_UNSUPPORTED,
             "%s has codes of %d bits; programs hold 2 to %d; search with a smaller memory budget", name, bits,
             most_bits);
    *out = grid_of_bits(t.step, bits);
    return DT_OK;
}

/* Of the routing `of`. */
static dt_status grid_of_votes(const integers *s, const char *of, grid *out)
{
    char name[DT_NAME_MAX + 32];
    dt_qcaps_tensor t;

    snprintf(name, sizeof name, "%s.votes", of);
    DT_TRY(find_tensor(s, name, &t));
    const int bits = whole_bits(s, &t, t.scale), more = bits > CODE_BITS ? bits - CODE_BITS : 0;
    *out = grid_of_bits(ldexpf(t.step, more), bits < 2 ? 2 : bits - more);
    return DT_OK;
}

/* ---- what layers read ---- */

static dt_status grid_of(const integers *s, int value, grid *out);

/* Two tensors that are added: the larger step, and room for both. */
static dt_status grid_of_sum(const integers *s, const dt_graph_node *n, grid *out)
{
    grid part[2];
    float low = 0.0f, high = 0.0f;

    for (int k = 0; k < 2; k++) DT_TRY(grid_of(s, n->in[k], &part[k]));
    out->step = fmaxf(part[0].step, part[1].step);
    for (int k = 0; k < 2; k++) {
        low += part[k].step * (float)part[k].low;
        high += part[k].step * (float)part[k].high;
    }
    out->low = (int)fmaxf(floorf(low / out->step), -CODE_MAX);
    out->high = (int)fminf(ceilf(high / out->step), CODE_MAX);
    return DT_OK;
}

/* Lists side by side: the smallest step, doubled until 8 bits hold all of them. */
static dt_status grid_of_lists(const integers *s, const dt_graph_node *n, grid *out)
{
    float step = INFINITY, most = 0.0f;

    for (int k = 0; k < n->n_in; k++) {
        grid part;
        DT_TRY(grid_of(s, n->in[k], &part));
        step = fminf(step, part.step);
        most = fmaxf(most, part.step * (float)-part.low);
    }
    while (most / step > LIST_MAX + 1) step *= 2.0f;
    *out = (grid){ step, -(int)ceilf(most / step), (int)ceilf(most / step) - 1 };
    return DT_OK;
}

/* The format of the capsules, or of the layer, that a node gives: insert_fixed.c names them so. */
static dt_status grid_of_node(const integers *s, const dt_graph_node *n, grid *out)
{
    const char *node = dt_graph_name(dt_fixed_formats_of(s->m)->plain, n->out);
    char name[DT_NAME_MAX + 8];

    switch (n->kind) {
    case DT_OP_SQUASH: {
        const char *end = strrchr(node, '.');
        snprintf(name, sizeof name, "%.*s", end ? (int)(end - node) : (int)strlen(node), node);
        break;
    }
    case DT_OP_CAPS_ROUTE:
        snprintf(name, sizeof name, "%s.v%d", node, ((const dt_caps_route_params *)n->params)->iterations);
        break;
    default: snprintf(name, sizeof name, "%.*s", (int)strcspn(node, "."), node);
    }
    return grid_of_tensor(s, name, CODE_BITS + 1, out);
}

/* The codes of a value of the plain graph. */
static dt_status grid_of(const integers *s, int value, grid *out)
{
    const dt_graph *g = dt_fixed_formats_of(s->m)->plain;
    const dt_graph_node *n = dt_graph_maker(g, value);

    if (!n && s->formats.published) {
        DT_CHECK(g->unit_pixels, DT_ERR_UNSUPPORTED,
                 "%s: the published code does not round the image, and its pixels are not those of 0..1", g->name);
        *out = (grid){ 1.0f / 255.0f, 0, 255 };
        return DT_OK;
    }
    if (!n)
        DT_TRY(grid_of_tensor(s, "image", IMAGE_BITS, out));
    else if (n->kind == DT_OP_TRANSPOSE)
        return grid_of(s, n->in[0], out);
    else if (n->kind == DT_OP_ADD)
        return grid_of_sum(s, n, out);
    else if (n->kind == DT_OP_CONCAT)
        return grid_of_lists(s, n, out);
    else
        DT_TRY(grid_of_node(s, n, out));
    if (n ? dt_is_positive(g, value) : g->unit_pixels) out->low = 0;
    return DT_OK;
}

/* *value becomes its codes, under the names that other quantizers have. suffix: behind the layer's name */
static dt_status add_codes(dt_rewrite *r, const integers *s, const char *layer, const char *suffix, const grid *of,
                           int *value)
{
    const dt_scale_quant_params params = { .low = of->low,
                                           .high = of->high,
                                           .rounding = s->formats.rounding == DT_ROUND_TRUNCATION ? DT_TO_FLOOR
                                                                                                  : DT_TO_HALF_EVEN };
    const dt_param_spec step = { .shape = { 1, { 1 } },
                                 .group = DT_GROUP_STATE,
                                 .values = DT_VALUES_POSITIVE,
                                 .init = DT_INIT_CONSTANT,
                                 .init_value = of->step,
                                 .floor = -INFINITY };
    char name[DT_NAME_MAX + 32];
    int in[2] = { *value };

    snprintf(name, sizeof name, "%s%s.step", layer, suffix);
    DT_TRY(dt_graph_param(r->to, name, &step, &in[1]));
    snprintf(name, sizeof name, "%s%s", layer, suffix);
    return dt_graph_add(r->to, DT_OP_SCALE_QUANT, name, &params, in, 2, value);
}

static dt_status take_node(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    const integers *s = user;
    int in[DT_MAX_IN];
    grid of;

    if (!s->needed[n->out] || !dt_has_weights(n)) return dt_rewrite_copy(r, n);
    const dt_layer_name layer = dt_layer_name_of(r->from, n);
    for (int k = 0; k < n->n_in; k++) DT_TRY(dt_rewrite_value(r, n->in[k], &in[k]));
    DT_TRY(grid_of(s, n->in[0], &of));
    DT_TRY(add_codes(r, s, layer.s, DT_ACT_QUANT_SUFFIX, &of, &in[0]));
    DT_TRY(grid_of_tensor(s, dt_graph_name(r->from, n->in[1]), CODE_BITS, &of));
    DT_TRY(add_codes(r, s, layer.s, ".weight_quant", &of, &in[1]));
    return dt_rewrite_with(r, n, NULL, in);
}

/* ---- formats of routing ---- */

/* Codes of a power of two. */
typedef struct {
    int bits, frac;
} power_format;

/* What becomes of a format inside of routing. factor: of its values; above: the step is no smaller than the format's */
static dt_status power_of(const integers *s, const char *name, float factor, int above, power_format *out)
{
    dt_qcaps_tensor t;

    DT_TRY(find_tensor(s, name, &t));
    const float scale = t.scale * factor;
    const int exponent = above ? exponent_above(scale) : dt_nearest_exponent(scale);
    const int bits = whole_bits(s, &t, scale) > 2 ? whole_bits(s, &t, scale) : 2;

    *out = (power_format){ bits, s->formats.published ? t.bits : bits - 1 - exponent };
    if (out->frac < 0) { /* whole numbers are the coarsest codes; there are more of them then */
        out->bits -= out->frac;
        out->frac = 0;
    }
    if (out->bits > CAPSULE_BITS) {
        out->frac -= out->frac < out->bits - CAPSULE_BITS ? out->frac : out->bits - CAPSULE_BITS;
        out->bits = CAPSULE_BITS;
    }
    return DT_OK;
}

/* "block1.l1" of the node "block1.l1.squash", or "digit" of the node "digit" */
static void routed_name(const dt_rewrite *r, const dt_route_place *at, char *name, size_t bytes)
{
    const char *node = dt_graph_name(r->from, at->node->out), *end = strrchr(node, '.');
    const int is_squash = at->node->kind == DT_OP_SQUASH && end;

    snprintf(name, bytes, "%.*s", is_squash ? (int)(end - node) : (int)strlen(node), node);
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* s, and the v, b and c that iteration k leaves for the next. */
static dt_status iteration_formats(const integers *s, const char *of, int k, dt_route_int_params *p)
{
    const float log2_e = 1.44269504f;
    char name[DT_NAME_MAX + 32];
    power_format f;

    snprintf(name, sizeof name, "%s.s%d", of, k + 1);
    DT_TRY(power_of(s, name, 1.0f, 0, &f));
    p->s_bits[k] = f.bits;
    p->s_frac[k] = least(f.frac, S_FRAC_MAX);
    if (k == p->iterations - 1) return DT_OK;
    snprintf(name, sizeof name, "%s.v%d", of, k + 1);
    DT_TRY(power_of(s, name, 1.0f, 0, &f));
    p->v_bits[k] = f.bits;
    p->v_frac[k] = least(f.frac, least(p->s_frac[k] + DT_SQUASH_ONE, V_FRAC_MAX));
    snprintf(name, sizeof name, "%s.b%d", of, k + 1);
    DT_TRY(power_of(s, name, log2_e, 1, &f));
    p->b_bits[k] = f.bits;
    p->b_frac[k] = least(f.frac, B_FRAC_MAX);
    snprintf(name, sizeof name, "%s.c%d", of, k + 2);
    DT_TRY(power_of(s, name, 1.0f, 0, &f));
    p->c_bits[k] = f.bits - 1; /* no sign */
    p->c_frac[k] = least(f.frac, C_FRAC_MAX);
    return DT_OK;
}

/* 1 / span as the first couplings are rounded. */
static dt_status first_coupling(const integers *s, const char *of, int64_t span, float *out)
{
    const float whole = 1.0f / (float)span;
    char name[DT_NAME_MAX + 32];
    dt_qcaps_tensor t;

    snprintf(name, sizeof name, "%s.c1", of);
    DT_TRY(find_tensor(s, name, &t));
    const float most = ldexpf(1.0f, whole_bits(s, &t, t.scale) - 1) - 1.0f, code = rintf(whole / t.step);
    *out = code < 1.0f ? whole : t.step * fminf(code, most);
    return DT_OK;
}

/* Of routing, whose votes have a format. */
static dt_status set_ratios(const integers *s, const char *of, int64_t span, dt_route_int_params *p)
{
    grid votes = { 0 };
    float coupling = 0.0f;

    DT_TRY(grid_of_votes(s, of, &votes));
    DT_TRY(first_coupling(s, of, span, &coupling));
    DT_TRY(dt_route_int_settle(of, p, votes.step, span));
    const dt_ratio first = dt_ratio_of(votes.step * coupling, p->s_frac[0]);
    p->acc_mul[0] = first.mul;
    p->acc_shift[0] = first.shift;
    return DT_OK;
}

static dt_status set_formats(void *user, const dt_rewrite *r, const dt_route_place *at, dt_route_int_params *p)
{
    const integers *s = user;
    const int last = p->iterations - 1, is_squash = at->node->kind == DT_OP_SQUASH;
    char name[DT_NAME_MAX + 8], sum[DT_NAME_MAX + 32];
    power_format f;

    routed_name(r, at, name, sizeof name);
    if (!p->gives_s) {
        p->v_bits[last] = CAPSULE_BITS;
        p->v_frac[last] = CAPSULE_BITS - 1;
    }
    if (is_squash) {
        snprintf(sum, sizeof sum, "%s.s", name);
        DT_TRY(power_of(s, sum, 1.0f, 0, &f));
        p->s_bits[0] = f.bits;
        p->s_frac[0] = least(f.frac, S_FRAC_MAX);
        return DT_OK;
    }
    for (int k = 0; k < p->iterations; k++) DT_TRY(iteration_formats(s, name, k, p));
    return set_ratios(s, name, at->span, p);
}

/* Votes of routing have a format; what a squash reads has one behind its sum. */
static dt_status set_votes(void *user, dt_rewrite *r, const dt_route_place *at, const dt_route_int_params *p,
                           int *votes)
{
    const integers *s = user;
    const char *name = dt_graph_name(r->from, at->node->out);
    grid of;
    (void)p;

    if (at->node->kind == DT_OP_SQUASH) return DT_OK;
    DT_TRY(grid_of_votes(s, name, &of));
    return add_codes(r, s, name, ".votes" DT_ACT_QUANT_SUFFIX, &of, votes);
}

/* ---- the model ---- */

dt_status dt_fixed_check_integers(const dt_model *m)
{
    dt_qcaps_formats f;

    if (!dt_qcaps_look(m, &f)) return DT_OK;
    DT_CHECK(f.rounding == DT_ROUND_NEAREST || f.rounding == DT_ROUND_TRUNCATION, DT_ERR_UNSUPPORTED,
             "%s has no integer program: its formats round by the rule %s, and integers are rounded to the nearest or "
             "down; 'detent search --rounding round_to_nearest' finds formats that have one",
             m->graph->name, dt_rounding_names[f.rounding]);
    return DT_OK;
}

static dt_status insert(integers *s, const dt_graph *plain, dt_graph **out)
{
    const dt_route_choice choice = { set_formats, set_votes, s };
    dt_graph *coded;

    DT_TRY(dt_graph_rewrite(plain, take_node, s, &coded));
    const dt_status status = dt_route_insert_by(coded, &choice, out);
    dt_graph_destroy(coded);
    return status;
}

/* n values in the codes of their format. */
static void round_values(const integers *s, int format, float *value, int64_t n)
{
    dt_qcaps_tensor t;

    dt_qcaps_look_at(s->m, format, &t);
    const float end = ldexpf(1.0f, whole_bits(s, &t, t.scale) - 1);
    for (int64_t k = 0; k < n; k++) {
        const float at = value[k] / t.step;
        const float code = s->formats.rounding == DT_ROUND_TRUNCATION ? floorf(at) : rintf(at);
        value[k] = t.step * dt_clamp(code, -end, end - 1.0f);
    }
}

/* The values of one parameter of m, rounded if it has a format: so biases are. Weights lose nothing by it. */
static dt_status copy_param(const integers *s, dt_model *to, int i)
{
    const char *name = to->param[i]->name;
    const int from = dt_model_find(s->m, name), format = dt_fixed_find(dt_fixed_formats_of(s->m), name);
    const int64_t n = dt_count(&to->param[i]->tensor.shape);

    if (from < 0) return DT_OK; /* a step, which the graph has set */
    float *value = malloc((size_t)n * sizeof *value);
    DT_CHECK(value, DT_ERR_MEMORY, "no memory to copy %s", name);
    dt_status status = dt_model_read(s->m, from, value);
    if (status == DT_OK && format >= 0) round_values(s, format, value, n);
    if (status == DT_OK) status = dt_model_write(to, i, value);
    free(value);
    return status;
}

dt_status dt_fixed_integers(dt_model *m, dt_model **out)
{
    const dt_graph *plain = dt_fixed_formats_of(m)->plain;
    char *needed = calloc((size_t)plain->n_values, 1);
    integers s = { .m = m, .needed = needed };
    dt_graph *g = NULL;
    dt_model *made = NULL;

    DT_CHECK(needed, DT_ERR_MEMORY, "no memory for the integers of %s", plain->name);
    needed[plain->scores] = 1;
    dt_graph_mark_needed(plain, NULL, 0, needed);
    dt_qcaps_look(m, &s.formats);
    dt_status status = dt_fixed_check_integers(m);
    if (status == DT_OK) status = insert(&s, plain, &g);
    free(needed);
    DT_TRY(status);
    DT_TRY(dt_model_open(m->ctx, g, &made));
    made->origin = m->origin;
    for (int i = 0; i < made->n_params && status == DT_OK; i++) status = copy_param(&s, made, i);
    if (status != DT_OK) {
        dt_model_destroy(made);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = made;
    return DT_OK;
}
