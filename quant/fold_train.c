/*
 * fold_train.c - see fold_train.h.
 *
 * The pass runs behind those that put quantizers in, and needs to know nothing of them but that one may stand between
 * weights and layer. What stands for a chain is added where its layer stood.
 *
 * Source: QKeras, QConv2DBatchnorm: folding_mode ema_stats_folding and batch_stats_folding, ema_freeze_delay.
 * Tests: tests/quant/test_fold_train.c.
 */
#include "fold_train.h"

#include "../core/graph/rewrite.h"
#include "../core/names.h"
#include "fold.h"
#include "fold_chain.h"
#include "insert_parts.h"
#include "norm_fold.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_ROOM = DT_NAME_MAX + 32 };

typedef struct {
    dt_fold_mode mode;
    int freeze;
    dt_fold_chain *chain; /* [n] */
    int n;
} folding;

/* ---- the network that trains ---- */

/* A node that is added: called OF, or OF.part. */
typedef struct {
    dt_op_kind kind;
    const dt_graph_node *of;
    const char *part; /* NULL: none */
    const void *params;
} addition;

static dt_status add(dt_rewrite *r, const addition *a, const int *in, int n_in, int *out)
{
    char name[NAME_ROOM];

    snprintf(name, sizeof name, "%s%s%s", dt_graph_name(r->from, a->of->out), a->part ? "." : "",
             a->part ? a->part : "");
    return dt_graph_add(r->to, a->kind, name, a->params, in, n_in, out);
}

/* What stands for a chain, as it is added: values of the new network. */
typedef struct {
    int x;              /* what the layer reads */
    int weight, bias;   /* parameters; bias: -1: none */
    int norm[5];        /* gamma, beta, mean, var at their places in the batch norm */
    int stats, running; /* running: that by which weights are folded */
} parts;

static dt_status take_params(dt_rewrite *r, const dt_fold_chain *c, parts *p)
{
    const int has_own = c->layer->n_in > DT_FOLD_LINEAR_BIAS;
    const int bias = has_own ? c->layer->in[DT_FOLD_LINEAR_BIAS] : c->bias ? c->bias->in[1] : -1;

    DT_TRY(dt_rewrite_value(r, c->layer->in[DT_FOLD_X], &p->x));
    DT_TRY(dt_rewrite_value(r, c->weight, &p->weight));
    if (bias >= 0) DT_TRY(dt_rewrite_value(r, bias, &p->bias));
    for (int k = DT_FOLD_GAMMA; k <= DT_FOLD_VAR; k++) DT_TRY(dt_rewrite_value(r, c->norm->in[k], &p->norm[k]));
    return DT_OK;
}

/* The layer by its real weights. */
static dt_status add_raw(dt_rewrite *r, const dt_fold_chain *c, const parts *p, int *out)
{
    const addition raw = { c->layer->kind, c->layer, "raw", c->layer->params };
    const addition biased = { DT_OP_BIAS, c->layer, "raw_biased", NULL };
    int in[3] = { p->x, p->weight, p->bias };

    DT_TRY(dt_insert_real(r, dt_graph_name(r->from, c->layer->out), &in[0]));
    DT_TRY(add(r, &raw, in, c->bias ? 2 : c->layer->n_in, out));
    if (!c->bias) return DT_OK;
    in[0] = *out;
    in[1] = p->bias;
    return add(r, &biased, in, 2, out);
}

static dt_status add_stats(dt_rewrite *r, const folding *f, const dt_fold_chain *c, parts *p)
{
    const dt_batchnorm_params *norm = c->norm->params;
    const dt_batch_stats_params params = { .momentum = norm->momentum, .freeze = f->freeze };
    const addition stats = { DT_OP_BATCH_STATS, c->norm, "stats", &params };
    const addition running = { DT_OP_BATCH_STATS, c->norm, "running", &params };
    int in[3] = { p->norm[DT_FOLD_MEAN], p->norm[DT_FOLD_VAR] };

    DT_TRY(add_raw(r, c, p, &in[2]));
    DT_TRY(add(r, &stats, in, 3, &p->stats));
    p->running = p->stats;
    return f->mode == DT_FOLD_EMA ? add(r, &running, in, 2, &p->running) : DT_OK;
}

/* Folded weights, through the quantizer that the real ones had. */
static dt_status add_weights(dt_rewrite *r, const dt_fold_chain *c, const parts *p, int *out)
{
    const dt_fold_weight_params params = { ((const dt_batchnorm_params *)c->norm->params)->epsilon };
    const addition folded = { DT_OP_FOLD_WEIGHT, c->layer, "folded", &params };
    const int of[] = { p->weight, p->norm[DT_FOLD_GAMMA], p->running };
    int in[DT_MAX_IN];

    DT_TRY(add(r, &folded, of, 3, &in[0]));
    if (c->quant) {
        for (int k = 1; k < c->quant->n_in; k++) DT_TRY(dt_rewrite_value(r, c->quant->in[k], &in[k]));
        DT_TRY(dt_rewrite_with(r, c->quant, NULL, in));
        in[0] = r->of[c->quant->out];
    }
    if (c->real) {
        DT_TRY(dt_rewrite_with(r, c->real, NULL, in));
        in[0] = r->of[c->real->out];
    }
    *out = in[0];
    return DT_OK;
}

static dt_status add_folded(dt_rewrite *r, const folding *f, const dt_fold_chain *c, const parts *p, int *out)
{
    const int corrects = f->mode == DT_FOLD_EMA;
    const dt_fold_bias_params params = { ((const dt_batchnorm_params *)c->norm->params)->epsilon, corrects };
    const addition layer = { c->layer->kind, c->layer, NULL, c->layer->params };
    const addition bias = { DT_OP_FOLD_BIAS, c->norm, NULL, &params };
    int of[2] = { p->x }, in[6] = { 0, p->norm[DT_FOLD_GAMMA], p->norm[DT_FOLD_BETA], p->stats }, n = 4;

    DT_TRY(add_weights(r, c, p, &of[1]));
    DT_TRY(add(r, &layer, of, 2, &in[0]));
    if (corrects) in[n++] = p->running;
    if (p->bias >= 0) in[n++] = p->bias;
    return add(r, &bias, in, n, out);
}

/* The chain of which n is a node, or NULL. */
static const dt_fold_chain *chain_with(const folding *f, const dt_graph_node *n)
{
    for (int i = 0; i < f->n; i++) {
        const dt_fold_chain *c = &f->chain[i];
        if (n == c->layer || n == c->norm || n == c->bias || n == c->quant || n == c->real) return c;
    }
    return NULL;
}

/* A quantizer that divides weights by their deviation takes away what folding multiplies by. */
static dt_status check_quantizer(const dt_graph *g, const dt_fold_chain *c)
{
    const dt_weight_quant_params *p = c->quant ? c->quant->params : NULL;

    if (!p || c->quant->kind != DT_OP_WEIGHT_QUANT) return DT_OK;
    DT_CHECK(
        p->rule == DT_RULE_LSQ, DT_ERR_ARGUMENT,
        "%s: %s is quantized by the rule %s, which standardises weights, so that folding a batch norm into them is "
        "lost; take --quant-rule lsq, affine or qkeras, or do not fold",
        g->name, dt_graph_name(g, c->layer->out), dt_quant_rule_names[p->rule]);
    return DT_OK;
}

static dt_status fold_node(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    const folding *f = user;
    const dt_fold_chain *c = chain_with(f, n);
    parts p = { .bias = -1 };

    if (!c) return dt_rewrite_copy(r, n);
    if (n != c->layer) return DT_OK;
    DT_TRY(check_quantizer(r->from, c));
    DT_TRY(take_params(r, c, &p));
    DT_TRY(add_stats(r, f, c, &p));
    return add_folded(r, f, c, &p, &r->of[c->norm->out]);
}

static dt_status find_chains(const dt_graph *g, folding *f)
{
    dt_fold_report report;
    const char *behind;

    f->chain = calloc((size_t)g->n_nodes + 1, sizeof *f->chain);
    DT_CHECK(f->chain, DT_ERR_MEMORY, "no memory to fold the batch norms of %s", g->name);
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (n->kind == DT_OP_BATCHNORM && !dt_fold_chain_find(g, n, 1, &f->chain[f->n], &behind)) f->n++;
    }
    dt_graph_fold_look(g, &report);
    DT_CHECK(f->n > 0, DT_ERR_ARGUMENT, "%s has no batch norm that could be folded: %s; train it without", g->name,
             report.n_stay > 0 ? report.stay : "it has none");
    return DT_OK;
}

dt_status dt_graph_fold_train(const dt_graph *g, dt_fold_mode mode, int freeze, dt_graph **out)
{
    folding f = { .mode = mode, .freeze = freeze };

    DT_TRY(dt_check_word("fold_bn", (int)mode, dt_fold_mode_names));
    DT_CHECK(
        mode != DT_FOLD_NONE && freeze >= 0, DT_ERR_ARGUMENT,
        "%s: batch norms are folded by the mode %s, and freeze after %d steps; expected ema or batch, and 0 or more",
        g->name, dt_fold_mode_names[mode], freeze);
    dt_status status = find_chains(g, &f);
    if (status == DT_OK) status = dt_graph_rewrite(g, fold_node, &f, out);
    free(f.chain);
    DT_TRY(status);
    return DT_OK;
}

/* ---- the network that comes of it ---- */

int dt_graph_is_folding(const dt_graph *g)
{
    return dt_graph_has(g, DT_OP_FOLD_BIAS);
}

static dt_status data_of(const dt_graph *g, int value, const float **out)
{
    const dt_graph_value *v = g->value[value];

    DT_CHECK(v->source == DT_SOURCE_PARAM && v->data && v->data_type == DT_F32, DT_ERR_ARGUMENT,
             "%s has no data, and folding needs its f32 values; take a snapshot of the trained model", v->name);
    *out = v->data;
    return DT_OK;
}

/* Running statistics are those of the BATCH_STATS that makes `stats`. */
static dt_status running_of(const dt_graph *g, int stats, const float **mean, const float **var)
{
    const dt_graph_node *n = dt_graph_maker(g, stats);

    DT_CHECK(n && n->kind == DT_OP_BATCH_STATS, DT_ERR_ARGUMENT, "%s: %s is no node of running statistics", g->name,
             dt_graph_name(g, stats));
    DT_TRY(data_of(g, n->in[0], mean));
    return data_of(g, n->in[1], var);
}

/* *out: a parameter with the name and kind of `like`, and n values, which are not set yet. */
static dt_status new_param(dt_rewrite *r, int like, float **values, int *out)
{
    const dt_graph_value *v = r->from->value[like];
    float *to = malloc((size_t)dt_count(&v->facts.shape) * sizeof *to);

    DT_TRY(dt_graph_param_with(r->to, v->name, &v->param, DT_F32, to, out));
    *values = to;
    return DT_OK;
}

static dt_status settle_weights(dt_rewrite *r, const dt_graph_node *n)
{
    const dt_graph *g = r->from;
    const float epsilon = ((const dt_fold_weight_params *)n->params)->epsilon;
    const dt_shape *shape = &g->value[n->in[0]]->facts.shape;
    const int64_t filters = shape->dim[0], each = dt_count(shape) / filters;
    const float *w = NULL, *gamma = NULL, *mean = NULL, *var = NULL;
    float *to = NULL;

    DT_TRY(data_of(g, n->in[0], &w));
    DT_TRY(data_of(g, n->in[1], &gamma));
    DT_TRY(running_of(g, n->in[2], &mean, &var));
    DT_TRY(new_param(r, n->in[0], &to, &r->of[n->out]));
    for (int64_t i = 0; i < filters * each; i++) {
        to[i] = dt_fold_factor(gamma[i / each], var[i / each], epsilon) * w[i];
    }
    return DT_OK;
}

static dt_status settle_bias(dt_rewrite *r, const dt_graph_node *n)
{
    const dt_graph *g = r->from;
    const dt_fold_bias_params *p = n->params;
    const int own = n->n_in > 4 + p->corrects ? n->in[4 + p->corrects] : -1;
    const float *gamma = NULL, *beta = NULL, *mean = NULL, *var = NULL, *b = NULL;
    float *to = NULL;
    int in[2];

    DT_TRY(data_of(g, n->in[1], &gamma));
    DT_TRY(data_of(g, n->in[2], &beta));
    DT_TRY(running_of(g, n->in[3], &mean, &var));
    if (own >= 0) DT_TRY(data_of(g, own, &b));
    DT_TRY(dt_rewrite_value(r, n->in[0], &in[0]));
    DT_TRY(new_param(r, n->in[2], &to, &in[1]));
    for (int64_t c = 0; c < dt_count(&g->value[n->in[2]]->facts.shape); c++) {
        const float factor = dt_fold_factor(gamma[c], var[c], p->epsilon);
        to[c] = dt_fold_offset(factor, b ? b[c] : 0.0f, mean[c], beta[c]);
    }
    return dt_graph_add(r->to, DT_OP_BIAS, dt_graph_name(g, n->out), NULL, in, 2, &r->of[n->out]);
}

static dt_status settle_node(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    const char *needed = user;

    if (!needed[n->out] || n->kind == DT_OP_BATCH_STATS) return DT_OK;
    if (n->kind == DT_OP_FOLD_WEIGHT) return settle_weights(r, n);
    if (n->kind == DT_OP_FOLD_BIAS) return settle_bias(r, n);
    return dt_rewrite_copy(r, n);
}

dt_status dt_graph_settle(const dt_graph *g, dt_graph **out)
{
    const int marks[] = { g->scores, g->capsules, g->masked, g->reconstruction };

    if (!dt_graph_is_folding(g)) return dt_graph_rewrite(g, NULL, NULL, out);
    char *needed = calloc((size_t)g->n_values + 1, 1);
    DT_CHECK(needed, DT_ERR_MEMORY, "no memory to fold the batch norms of %s", g->name);
    for (int i = 0; i < 4; i++) {
        if (marks[i] >= 0) needed[marks[i]] = 1;
    }
    dt_graph_mark_needed(g, NULL, 0, needed);
    const dt_status status = dt_graph_rewrite(g, settle_node, needed, out);
    free(needed);
    DT_TRY(status);
    return DT_OK;
}

dt_status dt_model_settle(dt_model *m, dt_model **out)
{
    dt_graph *now = NULL, *settled = NULL;

    if (!dt_graph_is_folding(m->graph)) {
        dt_model_hold(m);
        *out = m;
        return DT_OK;
    }
    DT_TRY(dt_model_snapshot(m, &now));
    const dt_status status = dt_graph_settle(now, &settled);
    dt_graph_destroy(now);
    DT_TRY(status);
    DT_TRY(dt_model_open(m->ctx, settled, out));
    (*out)->origin = m->origin;
    return DT_OK;
}
