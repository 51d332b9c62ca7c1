/*
 * insert_route.c - see insert_route.h.
 *
 *   tensor             bits  fraction                          range
 *   s, of one vote     16    12                                +-8
 *   s, of a routing    16    11                                +-16
 *   v, inside          N     N - 1                             +-1: a capsule is shorter than 1
 *   v, to a layer      16    15; its quantizer comes next      +-1
 *   b                  N     N - 5, at least 1; units of log2  +-16, less below 6 bits
 *   c                  N + ceil(log2 span) - 3, all fraction   equal couplings have at least N - 3 bits
 *
 * Tests: tests/quant/test_insert_route.c.
 */
#include "insert_route.h"

#include "../core/names.h"
#include "../layers/caps/route_int.h"
#include "insert_parts.h"

#include <stdio.h>

enum { S_BITS = 16, ONE_VOTE_FRAC = 12, ROUTED_FRAC = 11, LAYER_V_BITS = 16, VOTE_BITS_MAX = 8 };

typedef struct {
    const dt_route_choice *choice;
    int s;      /* the value of `to` with the codes of the class capsules' sums; -1: not reached yet */
    int s_frac; /* of them */
} insertion;

/* The BIAS between a convolution of codes and a SQUASH, or NULL. */
static const dt_graph_node *bias_of_squash(const dt_graph *g, const dt_graph_node *squash)
{
    const dt_graph_node *bias = dt_graph_maker(g, squash->in[0]);

    return bias && bias->kind == DT_OP_BIAS && g->value[bias->in[0]]->facts.n_scale == 1 ? bias : NULL;
}

/* 1 if a BIAS goes into the ROUTE_INT that reads it, and nobody else does. */
static int goes_into_routing(const dt_graph *g, const dt_graph_node *bias)
{
    int n_readers = 0;

    for (int i = 0; i < g->n_nodes; i++)
        n_readers += g->node[i].kind == DT_OP_SQUASH && bias_of_squash(g, &g->node[i]) == bias;
    return n_readers > 0 && n_readers == dt_graph_n_readers(g, bias->out);
}

static int ceil_log2(int64_t n)
{
    int bits = 0;

    while ((int64_t)1 << bits < n) bits++;
    return bits;
}

/* Formats by the table above. user: the bits. */
static dt_status set_formats(void *user, const dt_rewrite *rewrite, const dt_route_place *at, dt_route_int_params *p)
{
    const int bits = *(const int *)user, routed = p->iterations > 1;
    (void)rewrite;

    for (int r = 0; r < p->iterations; r++) {
        const int is_last = r == p->iterations - 1;
        p->s_bits[r] = S_BITS;
        p->s_frac[r] = routed ? ROUTED_FRAC : ONE_VOTE_FRAC;
        p->v_bits[r] = is_last ? LAYER_V_BITS : bits;
        p->v_frac[r] = p->v_bits[r] - 1;
        if (is_last) break;
        p->b_bits[r] = bits;
        p->b_frac[r] = bits > 6 ? bits - 5 : 1;
        p->c_bits[r] = p->c_frac[r] = bits + ceil_log2(at->span) - 3;
    }
    if (p->gives_s) p->v_bits[p->iterations - 1] = p->v_frac[p->iterations - 1] = 0;
    return DT_OK;
}

/* Votes that are real, or too wide, get a quantizer. user: the bits. */
static dt_status quantize_votes(void *user, dt_rewrite *r, const dt_route_place *at, const dt_route_int_params *p,
                                int *votes)
{
    const int bits = *(const int *)user;
    const char *name = dt_graph_name(r->from, at->node->out);
    const dt_tensor *facts = &r->to->value[*votes]->facts;
    const dt_act_quant_params params = { .bits = bits < VOTE_BITS_MAX ? bits : VOTE_BITS_MAX,
                                         .is_signed = 1,
                                         .rule = DT_RULE_LSQ };
    const dt_param_spec step = { .shape = { 1, { 1 } },
                                 .group = DT_GROUP_ALPHA,
                                 .values = DT_VALUES_POSITIVE,
                                 .init = DT_INIT_CONSTANT,
                                 .init_value = 1.0f,
                                 .floor = 1e-4f };
    char text[DT_NAME_MAX + 32];
    int in[2] = { *votes };

    if (facts->n_scale == 1 && !dt_route_int_excess(p, dt_code_bound(facts)).of) return DT_OK;
    snprintf(text, sizeof text, "%s.votes.act_alpha", name);
    DT_TRY(dt_graph_param(r->to, text, &step, &in[1]));
    snprintf(text, sizeof text, "%s.votes" DT_ACT_QUANT_SUFFIX, name);
    return dt_graph_add(r->to, DT_OP_ACT_QUANT, text, &params, in, 2, votes);
}

/* Formats, codes of votes, and the ROUTE_INT of them. in: votes and bias, of `to`. */
static dt_status add_route(dt_rewrite *r, const insertion *s, const dt_route_place *at, dt_route_int_params *p, int *in)
{
    const dt_route_choice *c = s->choice;

    DT_TRY(c->formats(c->user, r, at, p));
    DT_TRY(c->votes(c->user, r, at, p, &in[0]));
    return dt_graph_add(r->to, DT_OP_ROUTE_INT, dt_graph_name(r->from, at->node->out), p, in, 2, &r->of[at->node->out]);
}

/* The squash of a convolution's capsules: routing of one vote with the coupling 1. */
static dt_status take_squash(dt_rewrite *r, const dt_graph_node *n, const insertion *s)
{
    const dt_graph_node *bias = bias_of_squash(r->from, n);
    const char *name = dt_graph_name(r->from, n->out);
    dt_route_int_params p = {
        .iterations = 1, .inputs = 1, .dim = ((const dt_caps_params *)n->params)->dim, .whole = 1
    };
    int in[2];

    DT_CHECK(bias, DT_ERR_ARGUMENT,
             "%s: squashes %s, which is no convolution of codes with a bias; routing on the grid needs bits for every "
             "convolution",
             name, dt_graph_name(r->from, n->in[0]));
    for (int k = 0; k < 2; k++) DT_TRY(dt_rewrite_value(r, bias->in[k], &in[k]));
    return add_route(r, s, &(dt_route_place){ n, 1 }, &p, in);
}

/* The class capsules as reals, for the decoder: the squash of their sums. */
static dt_status add_real_capsules(dt_rewrite *r, const dt_graph_node *n, int dim, int s)
{
    const dt_caps_params caps = { dim };
    char name[DT_NAME_MAX + 32];

    DT_TRY(dt_insert_real(r, dt_graph_name(r->from, n->out), &s));
    snprintf(name, sizeof name, "%s.squash", dt_graph_name(r->from, n->out));
    return dt_graph_add(r->to, DT_OP_SQUASH, name, &caps, &s, 1, &r->of[n->out]);
}

static dt_status take_route(dt_rewrite *r, const dt_graph_node *n, insertion *s)
{
    const dt_caps_route_params *from = n->params;
    const dt_shape *votes = dt_graph_shape(r->from, n->in[0]);
    const int64_t types = votes->dim[votes->ndim - 1] / from->dim;
    const int64_t positions = votes->ndim == 4 ? votes->dim[1] * votes->dim[2] : 1;
    const dt_route_place at = { n, from->joint ? types * positions : types };
    dt_route_int_params p = { .iterations = from->iterations,
                              .inputs = from->inputs,
                              .dim = from->dim,
                              .joint = from->joint,
                              .gives_s = n->out == r->from->capsules };
    int in[2];

    for (int k = 0; k < 2; k++) DT_TRY(dt_rewrite_value(r, n->in[k], &in[k]));
    DT_TRY(add_route(r, s, &at, &p, in));
    if (!p.gives_s) return DT_OK;
    s->s = r->of[n->out];
    s->s_frac = p.s_frac[p.iterations - 1];
    return add_real_capsules(r, n, p.dim, s->s);
}

static dt_status take_length(dt_rewrite *r, const dt_graph_node *n, const insertion *s)
{
    const dt_class_int_params p = { ((const dt_caps_params *)n->params)->dim, s->s_frac };
    const char *name = dt_graph_name(r->from, n->out);

    DT_CHECK(s->s >= 0 && n->in[0] == r->from->capsules, DT_ERR_ARGUMENT,
             "%s: the lengths of %s, which are not the class capsules", name, dt_graph_name(r->from, n->in[0]));
    DT_TRY(dt_graph_add(r->to, DT_OP_CLASS_INT, name, &p, &s->s, 1, &r->of[n->out]));
    return dt_insert_real(r, name, &r->of[n->out]);
}

static dt_status take_node(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    insertion *s = user;

    switch (n->kind) {
    case DT_OP_SQUASH: return take_squash(r, n, s);
    case DT_OP_CAPS_ROUTE: return take_route(r, n, s);
    case DT_OP_CAPS_LENGTH: return take_length(r, n, s);
    case DT_OP_BIAS: return goes_into_routing(r->from, n) ? DT_OK : dt_rewrite_copy(r, n);
    default: return dt_rewrite_copy(r, n);
    }
}

dt_status dt_route_insert_by(const dt_graph *g, const dt_route_choice *choice, dt_graph **out)
{
    insertion s = { .choice = choice, .s = -1 };

    return dt_graph_rewrite(g, take_node, &s, out);
}

dt_status dt_route_insert(const dt_graph *g, int bits, dt_graph **out)
{
    const dt_route_choice by_bits = { set_formats, quantize_votes, &bits };

    DT_CHECK(bits >= DT_ROUTING_BITS_MIN && bits <= DT_ROUTING_BITS_MAX, DT_ERR_ARGUMENT,
             "%s: routing of %d bits, allowed are %d..%d, and 0: routing by reals", g->name, bits, DT_ROUTING_BITS_MIN,
             DT_ROUTING_BITS_MAX);
    DT_CHECK(g->capsules >= 0, DT_ERR_ARGUMENT, "%s has no capsules that could be routed in %d bits", g->name, bits);
    return dt_route_insert_by(g, &by_bits, out);
}
