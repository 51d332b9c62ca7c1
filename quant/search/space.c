/*
 * space.c - the space of a mixed-precision search: the rows of a network's table, and the choices of their bits.
 *
 * A BIAS behind a layer belongs to the layer's row, and so does the bias that a batch norm is folded into: it has one
 * number for each filter, whether the network has a bias now or not. So reference and trial count the same numbers.
 *
 * Quantizers stand where the passes put them: quant/insert_qkeras.c one for each value, quant/insert.c one before each
 * layer. Scores go through a softmax that a network need not have itself, because its loss is the cross entropy.
 *
 * Source: QKeras, AutoQKeras; the names of choices are its own.  Tests: tests/quant/test_search_space.c.
 */
#include "../../core/grid_facts.h"
#include "../insert_parts.h"

#include "detent/search.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *const dt_choice_role_names[] = { "kernel", "bias", "activation", "filters", "rate", NULL };

enum { NONE = -1, W = 1, LINEAR_BIAS = 2 };

#define SOFTMAX_NAME "softmax"

typedef struct {
    const dt_graph *g;
    const dt_search_what *what;
    dt_search_space *s;
    char *needed;  /* [n_values] */
    int *quant;    /* [n_values] row of the quantizer of a value; NONE: it has none yet */
    int *shared;   /* [n_limits * DT_CHOICE_BITS] the choice that a pattern's rows share; NONE: not made yet */
    char *is_used; /* [n_limits] 1: it fits a row */
} making;

/* ---- names ---- */

/* A row has the operator's name in detent, and in Keras. */
static const struct {
    const char *op, *keras;
} op_names[] = { { "conv", "Conv2D" },           { "depthwise", "DepthwiseConv2D" },
                 { "linear", "Dense" },          { "caps_votes", "" },
                 { "activation", "Activation" }, { "batchnorm", "BatchNormalization" },
                 { "maxpool", "MaxPooling2D" } };
enum { N_OP_NAMES = sizeof op_names / sizeof op_names[0] };

static int names_op(const char *text)
{
    for (int i = 0; i < N_OP_NAMES; i++) {
        if (strcmp(text, op_names[i].op) == 0 || strcmp(text, op_names[i].keras) == 0) return i;
    }
    return NONE;
}

static int fits(const dt_search_limit *l, const dt_search_row *row)
{
    const int op = names_op(l->of);

    return op >= 0 ? strcmp(op_names[op].op, row->op) == 0 : fnmatch(l->of, row->name, 0) == 0;
}

static dt_status name_of(const char *before, const char *after, const char **out)
{
    char *name = malloc(strlen(before) + strlen(after) + 1);

    DT_CHECK(name, DT_ERR_MEMORY, "no memory for the name of %s", before);
    strcpy(name, before);
    strcat(name, after);
    *out = name;
    return DT_OK;
}

/* ---- rows ---- */

static dt_status add_row(making *m, const char *name, const char *suffix, const char *op, dt_search_row **out)
{
    dt_search_row *row = &m->s->row[m->s->n_rows];

    *row = (dt_search_row){ .op = op, .choice = { NONE, NONE, NONE }, .reads = NONE, .filters = NONE };
    DT_TRY(name_of(name, suffix, &row->name));
    m->s->n_rows++;
    *out = row;
    return DT_OK;
}

/* The first node of that kind which reads the value; NULL: there is none. */
static const dt_graph_node *reader_of(const making *m, int value, dt_op_kind kind)
{
    for (int i = 0; i < m->g->n_nodes; i++) {
        const dt_graph_node *n = &m->g->node[i];
        if (n->kind == kind && n->in[0] == value && m->needed[n->out]) return n;
    }
    return NULL;
}

/* A bias of its own, or that of a batch norm which is folded into the layer. */
static int has_bias(const making *m, const dt_graph_node *n)
{
    if (n->kind == DT_OP_LINEAR && n->n_in > LINEAR_BIAS) return 1;
    return reader_of(m, n->out, DT_OP_BIAS) || reader_of(m, n->out, DT_OP_BATCHNORM);
}

static int is_depthwise(const dt_graph *g, const dt_graph_node *n)
{
    const dt_conv_params *p = n->params;

    return n->kind == DT_OP_CONV2D && p->groups > 1 && dt_graph_shape(g, n->in[W])->dim[3] == 1;
}

static const char *op_of(const dt_graph *g, const dt_graph_node *n)
{
    return is_depthwise(g, n) ? "depthwise" : dt_ops[n->kind]->name;
}

/* The row of the quantizer of a value, which is a new one at first. */
static dt_status quantize_value(making *m, int value, const char *name, const char *suffix)
{
    dt_search_row *row;

    if (m->what->rule == DT_RULE_QKERAS && m->quant[value] >= 0) return DT_OK;
    const int is_image = value == m->g->image;
    DT_TRY(add_row(m, name, suffix, "activation", &row));
    row->n[DT_CHOICE_ACTIVATION] = row->n_outputs = dt_graph_count(m->g, value);
    row->bits = is_image ? m->what->input_bits : 0;
    m->quant[value] = m->s->n_rows - 1;
    return DT_OK;
}

static dt_status add_layer(making *m, const dt_graph_node *n)
{
    const dt_graph *g = m->g;
    const dt_layer_name layer = dt_layer_name_of(g, n);
    const dt_shape *w = dt_graph_shape(g, n->in[W]);
    const int is_qkeras = m->what->rule == DT_RULE_QKERAS, are_votes = n->kind == DT_OP_CAPS_VOTES;
    dt_search_row *row;

    DT_TRY(quantize_value(m, n->in[0], is_qkeras ? dt_graph_name(g, n->in[0]) : layer.s,
                          is_qkeras ? ".quant" : ".act_quant"));
    DT_TRY(add_row(m, layer.s, "", op_of(g, n), &row));
    row->n[DT_CHOICE_KERNEL] = dt_count(w);
    row->n[DT_CHOICE_BIAS] = has_bias(m, n) ? dt_channels(dt_graph_shape(g, n->out)) : 0;
    row->terms = are_votes ? w->dim[1] : dt_count(w) / w->dim[0];
    row->n_outputs = dt_graph_count(g, n->out);
    row->macs = row->n_outputs * row->terms;
    row->n_inputs = dt_graph_count(g, n->in[0]);
    row->reads = m->quant[n->in[0]];
    return DT_OK;
}

/* 1 if the node is in its layer's row. */
static int is_of_layer(const making *m, const dt_graph_node *n)
{
    const dt_graph_node *before = dt_graph_maker(m->g, n->in[0]);

    return n->kind == DT_OP_BIAS && before && dt_has_weights(before);
}

static dt_status add_node(making *m, const dt_graph_node *n)
{
    const int is_qkeras = m->what->rule == DT_RULE_QKERAS;
    dt_search_row *row;

    if (dt_has_weights(n)) return add_layer(m, n);
    if (is_of_layer(m, n)) return DT_OK;
    const int is_read = is_qkeras && (n->kind == DT_OP_ADD || n->kind == DT_OP_FLATTEN);
    for (int k = 0; is_read && k < n->n_in; k++)
        DT_TRY(quantize_value(m, n->in[k], dt_graph_name(m->g, n->in[k]), ".quant"));
    DT_TRY(add_row(m, dt_graph_name(m->g, n->out), "", dt_ops[n->kind]->name, &row));
    row->n_outputs = dt_graph_count(m->g, n->out);
    if (is_read && n->kind == DT_OP_FLATTEN) m->quant[n->out] = m->quant[n->in[0]];
    if (n->kind == DT_OP_SOFTMAX && n->out == m->g->scores) row->is_output = 1;
    return DT_OK;
}

static dt_status add_scores(making *m)
{
    const int scores = m->g->scores;
    const dt_graph_node *n = dt_graph_maker(m->g, scores);
    dt_search_row *row;

    if (n->kind == DT_OP_SOFTMAX) return DT_OK;
    if (m->what->rule == DT_RULE_QKERAS) DT_TRY(quantize_value(m, scores, dt_graph_name(m->g, scores), ".quant"));
    if (m->g->loss != DT_LOSS_CROSS_ENTROPY) return DT_OK;
    DT_TRY(add_row(m, SOFTMAX_NAME, "", SOFTMAX_NAME, &row));
    row->n_outputs = dt_graph_count(m->g, scores);
    row->is_output = 1;
    return DT_OK;
}

static dt_status make_rows(making *m)
{
    for (int i = 0; i < m->g->n_nodes; i++) {
        if (m->needed[m->g->node[i].out]) DT_TRY(add_node(m, &m->g->node[i]));
    }
    return add_scores(m);
}

/* ---- choices ---- */

static dt_status check_candidates(const making *m, int role, const dt_candidates *c)
{
    const int is_qkeras = m->what->rule == DT_RULE_QKERAS;
    const int most = role == DT_CHOICE_BIAS ? 32 : is_qkeras ? 16 : 8;

    DT_CHECK(c->n >= 0 && c->n <= DT_CANDIDATES_MOST, DT_ERR_ARGUMENT, "%d candidates of %s bits, at most %d", c->n,
             dt_choice_role_names[role], DT_CANDIDATES_MOST);
    DT_CHECK(role != DT_CHOICE_BIAS || is_qkeras || c->n == 0, DT_ERR_ARGUMENT,
             "bits of biases are chosen, and quantizers of the rule %s leave biases real; take the rule qkeras",
             dt_quant_rule_names[m->what->rule]);
    for (int i = 0; i < c->n; i++) {
        DT_CHECK(c->value[i] >= 2 && c->value[i] <= most, DT_ERR_ARGUMENT,
                 "%d %s bits with the rule %s, allowed are 2..%d", c->value[i], dt_choice_role_names[role],
                 dt_quant_rule_names[m->what->rule], most);
        for (int k = 0; k < i; k++) {
            DT_CHECK(c->value[i] != c->value[k], DT_ERR_ARGUMENT, "%d %s bits are there twice", c->value[i],
                     dt_choice_role_names[role]);
        }
    }
    return DT_OK;
}

static int holds(const dt_candidates *c, int value)
{
    for (int i = 0; i < c->n; i++) {
        if (c->value[i] == value) return 1;
    }
    return 0;
}

/* The limit of a row: its index; NONE: it stays real. With no limits at all it is n_limits. */
static int limit_of(const making *m, const dt_search_row *row)
{
    for (int i = 0; i < m->what->n_limits; i++) {
        if (fits(&m->what->limit[i], row)) return i;
    }
    return m->what->n_limits > 0 ? NONE : 0;
}

static dt_status candidates_of(const making *m, int limit, int role, const char *name, dt_candidates *out)
{
    const dt_search_limit *l = m->what->n_limits > 0 ? &m->what->limit[limit] : NULL;
    const dt_candidates *all = l && l->list[role].n > 0 ? &l->list[role] : &m->what->bits[role];

    *out = (dt_candidates){ 0 };
    for (int i = 0; i < all->n; i++) {
        const int value = all->value[i];
        if (!holds(&m->what->bits[role], value)) {
            return dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__, "limit of '%s': %d %s bits are no candidate", l->of,
                            value, dt_choice_role_names[role]);
        }
        if (!l || l->most[role] == 0 || value <= l->most[role]) out->value[out->n++] = value;
    }
    DT_CHECK(out->n > 0, DT_ERR_ARGUMENT, "%s: no candidate of %s bits is left below the limit of %d", name,
             dt_choice_role_names[role], l->most[role]);
    return DT_OK;
}

static dt_status add_choice(making *m, const char *name, const char *suffix, dt_choice_role role,
                            const dt_candidates *candidates, int *out)
{
    dt_search_space *s = m->s;
    const char *owned = NULL;

    DT_CHECK(s->n_choices < DT_SEARCH_CHOICES, DT_ERR_UNSUPPORTED, "more than %d choices; make groups of layers",
             DT_SEARCH_CHOICES);
    DT_TRY(name_of(name, suffix, &owned));
    s->choice[s->n_choices] = (dt_search_choice){ .name = (char *)owned, .role = role, .candidates = *candidates };
    *out = s->n_choices++;
    return DT_OK;
}

/* A pattern names the choice that its rows share. */
static dt_status choose(making *m, dt_search_row *row, int limit, int role)
{
    static const char *const suffixes[] = { "_kernel_quantizer", "_bias_quantizer", "_activation_quantizer" };
    const dt_search_limit *l = m->what->n_limits > 0 ? &m->what->limit[limit] : NULL;
    const int is_shared = l && names_op(l->of) < 0;
    int *shared = is_shared ? &m->shared[limit * DT_CHOICE_BITS + role] : NULL;
    dt_candidates candidates;

    if (shared && *shared >= 0) {
        row->choice[role] = *shared;
        return DT_OK;
    }
    DT_TRY(candidates_of(m, limit, role, row->name, &candidates));
    DT_TRY(add_choice(m, is_shared ? l->of : row->name, suffixes[role], (dt_choice_role)role, &candidates,
                      &row->choice[role]));
    if (shared) *shared = row->choice[role];
    return DT_OK;
}

static int may_choose(const making *m, const dt_search_row *row)
{
    const int index = (int)(row - m->s->row);

    if (!m->what->row) return 1;
    for (int i = 0; i < m->what->n_rows; i++) {
        if (m->what->row[i] == index) return 1;
    }
    return 0;
}

/* The row by which limits and indices judge: quantizers before a layer are the layer's. */
static dt_search_row *judged(const making *m, dt_search_row *row)
{
    for (int i = 0; m->what->rule != DT_RULE_QKERAS && i < m->s->n_rows; i++) {
        if (m->s->row[i].reads >= 0 && &m->s->row[m->s->row[i].reads] == row) return &m->s->row[i];
    }
    return row;
}

static dt_status choose_role(making *m, dt_search_row *row, int role)
{
    dt_search_row *by = judged(m, row);
    const int limit = limit_of(m, by);

    if (row->n[role] == 0 || m->what->bits[role].n == 0 || row->bits > 0) return DT_OK;
    if (limit == NONE || !may_choose(m, by)) return DT_OK;
    m->is_used[limit] = 1;
    return choose(m, row, limit, role);
}

static dt_status check_limits(const making *m)
{
    for (int i = 0; i < m->what->n_limits; i++) {
        int fits_one = m->is_used[i] || names_op(m->what->limit[i].of) >= 0;
        for (int r = 0; !fits_one && r < m->s->n_rows; r++) fits_one = fits(&m->what->limit[i], &m->s->row[r]);
        DT_CHECK(fits_one, DT_ERR_ARGUMENT, "%s has no operator or row '%s', for which there is a limit", m->g->name,
                 m->what->limit[i].of);
    }
    for (int i = 0; i < m->what->n_rows; i++) {
        DT_CHECK(m->what->row[i] >= 0 && m->what->row[i] < m->s->n_rows, DT_ERR_ARGUMENT,
                 "row %d is to be quantized, and %s has the rows 0..%d", m->what->row[i], m->g->name, m->s->n_rows - 1);
    }
    return DT_OK;
}

/* ---- filters ---- */

static int is_whole(const making *m, const dt_search_row *row)
{
    for (int i = 0; i < m->what->n_whole; i++) {
        if (fnmatch(m->what->whole[i], row->name, 0) == 0) return 1;
    }
    return 0;
}

/* Filters of a depthwise convolution follow its input, and those of the last layer are the scores. */
static int has_filters(const making *m, const dt_search_row *row)
{
    const int has_weights = row->n[DT_CHOICE_KERNEL] > 0 && strcmp(row->op, "depthwise") != 0;

    for (int i = 0; has_weights && !is_whole(m, row) && i < m->s->n_rows; i++) {
        if (&m->s->row[i] > row && m->s->row[i].n[DT_CHOICE_KERNEL] > 0) return 1;
    }
    return 0;
}

static dt_status choose_filters(making *m)
{
    const dt_candidates *c = &m->what->filters;
    int shared = NONE;

    DT_CHECK(c->n >= 0 && c->n <= DT_CANDIDATES_MOST, DT_ERR_ARGUMENT, "%d candidates of filters, at most %d", c->n,
             DT_CANDIDATES_MOST);
    for (int i = 0; i < c->n; i++) {
        DT_CHECK(c->value[i] >= 10 && c->value[i] <= 400, DT_ERR_ARGUMENT, "%d %% of the filters, allowed are 10..400",
                 c->value[i]);
    }
    for (int i = 0; c->n > 0 && i < m->s->n_rows; i++) {
        dt_search_row *row = &m->s->row[i];
        if (!has_filters(m, row)) continue;
        if (shared == NONE || !m->what->filters_together) {
            DT_TRY(add_choice(m, m->what->filters_together ? "network" : row->name, "_filters", DT_CHOICE_FILTERS, c,
                              &shared));
        }
        row->filters = shared;
    }
    return DT_OK;
}

static dt_status make_choices(making *m)
{
    dt_search_space *s = m->s;
    dt_candidates rates = { .n = m->what->rates };
    int unused;

    for (int role = 0; role < DT_CHOICE_BITS; role++) DT_TRY(check_candidates(m, role, &m->what->bits[role]));
    for (int i = 0; i < s->n_rows; i++) DT_TRY(choose_role(m, &s->row[i], DT_CHOICE_KERNEL));
    for (int i = 0; i < s->n_rows; i++) {
        DT_TRY(choose_role(m, &s->row[i], DT_CHOICE_BIAS));
        DT_TRY(choose_role(m, &s->row[i], DT_CHOICE_ACTIVATION));
    }
    DT_TRY(check_limits(m));
    DT_TRY(choose_filters(m));
    if (rates.n == 0) return DT_OK;
    DT_CHECK(rates.n >= 2 && rates.n <= DT_CANDIDATES_MOST, DT_ERR_ARGUMENT, "%d learning rates, allowed are 2..%d",
             rates.n, DT_CANDIDATES_MOST);
    for (int i = 0; i < rates.n; i++) rates.value[i] = i;
    return add_choice(m, "learning_rate", "", DT_CHOICE_RATE, &rates, &unused);
}

/* ---- the whole ---- */

static dt_status check_network(const making *m)
{
    const dt_graph *g = m->g;

    DT_CHECK(m->what->rule != DT_RULE_AFFINE, DT_ERR_UNSUPPORTED,
             "quantizers of the rule affine have one number of bits; search with another rule");
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_tensor *out = &g->value[g->node[i].out]->facts;
        DT_CHECK(
            out->n_scale == 0 && g->node[i].kind != DT_OP_FEATUREMAP_QUANT, DT_ERR_UNSUPPORTED,
            "%s has quantizers already (%s); search in a network of reals, trained with --wbits float --abits float",
            g->name, dt_graph_name(g, g->node[i].out));
    }
    return DT_OK;
}

static dt_status make(making *m)
{
    const size_t n = (size_t)m->g->n_values + 1, n_limits = (size_t)m->what->n_limits + 1;

    /* a node has a row, and a quantizer of each input; two more are those of the scores */
    m->s->row = calloc((size_t)m->g->n_nodes * (DT_MAX_IN + 1) + 2, sizeof *m->s->row);
    m->s->choice = calloc(DT_SEARCH_CHOICES, sizeof *m->s->choice);
    m->needed = calloc(n, 1);
    m->quant = malloc(n * sizeof *m->quant);
    m->shared = malloc(n_limits * DT_CHOICE_BITS * sizeof *m->shared);
    m->is_used = calloc(n_limits, 1);
    DT_CHECK(m->s->row && m->s->choice && m->needed && m->quant && m->shared && m->is_used, DT_ERR_MEMORY,
             "no memory for the space of %s", m->g->name);
    for (size_t i = 0; i < n; i++) m->quant[i] = NONE;
    for (size_t i = 0; i < n_limits * DT_CHOICE_BITS; i++) m->shared[i] = NONE;
    m->needed[m->g->scores] = 1;
    dt_graph_mark_needed(m->g, NULL, 0, m->needed);
    DT_TRY(check_network(m));
    DT_TRY(make_rows(m));
    return make_choices(m);
}

dt_status dt_search_space_create(const dt_graph *network, const dt_search_what *what, dt_search_space **out)
{
    making m = { .g = network, .what = what, .s = calloc(1, sizeof *m.s) };

    DT_CHECK(m.s, DT_ERR_MEMORY, "no memory for the space of %s", network->name);
    const dt_status status = make(&m);
    free(m.needed);
    free(m.quant);
    free(m.shared);
    free(m.is_used);
    if (status != DT_OK) {
        dt_search_space_destroy(m.s);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = m.s;
    return DT_OK;
}

void dt_search_space_destroy(dt_search_space *s)
{
    if (!s) return;
    for (int i = 0; i < s->n_rows; i++) free((char *)s->row[i].name);
    for (int i = 0; i < s->n_choices; i++) free(s->choice[i].name);
    free(s->row);
    free(s->choice);
    free(s);
}

int dt_search_dimensions(const dt_search_space *s)
{
    int n = 0;

    for (int i = 0; i < s->n_choices; i++) n += s->choice[i].candidates.n > 1;
    return n;
}

double dt_search_configurations(const dt_search_space *s)
{
    double n = 1.0;

    for (int i = 0; i < s->n_choices; i++) n *= s->choice[i].candidates.n;
    return n;
}
