/*
 * fold.c - see fold.h. The layer, the bias and the batch norm are found as one chain, and what stands for them is added
 *          where the layer stood.
 *
 * Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
 * 2018, section 3.2. Tests: tests/quant/test_fold.c.
 */
#include "fold.h"

#include "../core/graph/rewrite.h"
#include "fold_chain.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { X = DT_FOLD_X, W = DT_FOLD_W, LINEAR_BIAS = DT_FOLD_LINEAR_BIAS };
enum { GAMMA = DT_FOLD_GAMMA, BETA = DT_FOLD_BETA, MEAN = DT_FOLD_MEAN, VAR = DT_FOLD_VAR };
enum { NAME_ROOM = DT_NAME_MAX + 32, B = 1 /* input of a BIAS */ };

/* The chain that begins with a layer; 0 if there is none. */
static int chain_of_layer(const dt_graph *g, const dt_graph_node *layer, dt_fold_chain *c)
{
    return dt_fold_chain_of(g, layer, 0, c);
}

void dt_graph_fold_look(const dt_graph *g, dt_fold_report *out)
{
    size_t used = 0;

    *out = (dt_fold_report){ .stay = "" };
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        const char *behind;
        dt_fold_chain c;
        if (n->kind != DT_OP_BATCHNORM) continue;
        const char *why = dt_fold_chain_find(g, n, 0, &c, &behind);
        out->n_folded += why == NULL;
        out->n_stay += why != NULL;
        if (why && used < sizeof out->stay) {
            used += (size_t)snprintf(out->stay + used, sizeof out->stay - used, "%s%s (%s%s)", used ? ", " : "",
                                     dt_graph_name(g, n->out), why, behind);
        }
    }
}

/* ---- numbers ---- */

static dt_status data_of(const dt_graph *g, int value, const float **out)
{
    const dt_graph_value *v = g->value[value];

    DT_CHECK(v->data && v->data_type == DT_F32, DT_ERR_ARGUMENT,
             "%s has %s, and folding needs its f32 values; take a snapshot of the trained model", v->name,
             v->data ? "integers" : "no data");
    *out = v->data;
    return DT_OK;
}

/* What the batch norm does to channel k: y = inv[k] (x - mean[k]) + beta[k]. */
typedef struct {
    const float *gamma, *beta, *mean, *var;
    double epsilon;
} norm_values;

static dt_status norm_values_of(const dt_graph *g, const dt_graph_node *norm, norm_values *out)
{
    norm_values v = { .epsilon = (double)((const dt_batchnorm_params *)norm->params)->epsilon };

    DT_TRY(data_of(g, norm->in[GAMMA], &v.gamma));
    DT_TRY(data_of(g, norm->in[BETA], &v.beta));
    DT_TRY(data_of(g, norm->in[MEAN], &v.mean));
    DT_TRY(data_of(g, norm->in[VAR], &v.var));
    *out = v;
    return DT_OK;
}

static double inv_of(const norm_values *v, int64_t k)
{
    return (double)v->gamma[k] / sqrt((double)v->var[k] + v->epsilon);
}

static dt_status no_room(const char *name)
{
    return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for the folded values of %s", name);
}

/* Each filter is a row: K,R,S,C of a CONV2D, O,I of a LINEAR. */
static dt_status fold_weights(const dt_graph *g, const dt_fold_chain *c, float **out)
{
    const dt_graph_value *w = g->value[c->layer->in[W]];
    const int64_t filters = w->facts.shape.dim[0], row = dt_count(&w->facts.shape) / filters;
    const float *from = NULL;
    norm_values v;

    DT_TRY(norm_values_of(g, c->norm, &v));
    DT_TRY(data_of(g, c->layer->in[W], &from));
    float *to = malloc((size_t)(filters * row) * sizeof *to);
    if (!to) return no_room(w->name);
    for (int64_t k = 0; k < filters; k++) {
        const double inv = inv_of(&v, k);
        for (int64_t i = k * row; i < (k + 1) * row; i++) to[i] = (float)(inv * (double)from[i]);
    }
    *out = to;
    return DT_OK;
}

static dt_status fold_bias(const dt_graph *g, const dt_fold_chain *c, float **out)
{
    const int64_t filters = g->value[c->layer->in[W]]->facts.shape.dim[0];
    const float *own = NULL, *behind = NULL;
    norm_values v;

    DT_TRY(norm_values_of(g, c->norm, &v));
    if (c->layer->n_in > LINEAR_BIAS) DT_TRY(data_of(g, c->layer->in[LINEAR_BIAS], &own));
    if (c->bias) DT_TRY(data_of(g, c->bias->in[B], &behind));
    float *to = malloc((size_t)filters * sizeof *to);
    if (!to) return no_room(dt_graph_name(g, c->layer->out));
    for (int64_t k = 0; k < filters; k++) {
        const double b = (own ? (double)own[k] : 0.0) + (behind ? (double)behind[k] : 0.0);
        to[k] = (float)(inv_of(&v, k) * (b - (double)v.mean[k]) + (double)v.beta[k]);
    }
    *out = to;
    return DT_OK;
}

/* ---- the new graph ---- */

/* Writes to name, of NAME_ROOM bytes, LAYER.part, which no value of either graph may have. */
static dt_status new_name(const dt_rewrite *r, const dt_fold_chain *c, const char *part, char *name)
{
    snprintf(name, NAME_ROOM, "%.*s.%s", DT_NAME_MAX, dt_graph_name(r->from, c->layer->out), part);
    DT_CHECK(dt_graph_find(r->from, name) < 0, DT_ERR_ARGUMENT,
             "folding %s needs the name %s, which another value has; rename that", dt_graph_name(r->from, c->norm->out),
             name);
    return DT_OK;
}

static dt_status add_weights(dt_rewrite *r, const dt_fold_chain *c, int *out)
{
    const dt_graph_value *w = r->from->value[c->layer->in[W]];
    float *data = NULL;

    DT_TRY(dt_graph_param(r->to, w->name, &w->param, out));
    DT_TRY(fold_weights(r->from, c, &data));
    dt_graph_set_data(r->to, *out, DT_F32, data);
    return DT_OK;
}

/* The parameter that holds b': the LINEAR's or the BIAS's, if there is one. */
static dt_status add_bias_values(dt_rewrite *r, const dt_fold_chain *c, int *out)
{
    const dt_graph *g = r->from;
    const int is_linear_own = c->layer->n_in > LINEAR_BIAS;
    const int known = is_linear_own ? c->layer->in[LINEAR_BIAS] : c->bias ? c->bias->in[B] : -1;
    const dt_param_spec fresh = { .shape = { 1, { g->value[c->layer->in[W]]->facts.shape.dim[0] } },
                                  .group = DT_GROUP_WEIGHT,
                                  .floor = -INFINITY };
    char name[NAME_ROOM];
    float *data = NULL;

    if (known < 0) {
        DT_TRY(new_name(r, c, "bias", name));
        DT_TRY(dt_graph_param(r->to, name, &fresh, out));
    } else {
        DT_TRY(dt_graph_param(r->to, dt_graph_name(g, known), &g->value[known]->param, out));
    }
    DT_TRY(fold_bias(g, c, &data));
    dt_graph_set_data(r->to, *out, DT_F32, data);
    return DT_OK;
}

static dt_status add_linear(dt_rewrite *r, const dt_fold_chain *c, const int in[3], int *out)
{
    return dt_graph_add(r->to, DT_OP_LINEAR, dt_graph_name(r->from, c->layer->out), c->layer->params, in, 3, out);
}

static dt_status add_conv(dt_rewrite *r, const dt_fold_chain *c, const int in[3], int *out)
{
    int behind[2] = { 0, in[LINEAR_BIAS] };
    char name[NAME_ROOM];

    if (c->bias)
        snprintf(name, sizeof name, "%s", dt_graph_name(r->from, c->bias->out));
    else
        DT_TRY(new_name(r, c, "biased", name));
    DT_TRY(
        dt_graph_add(r->to, DT_OP_CONV2D, dt_graph_name(r->from, c->layer->out), c->layer->params, in, 2, &behind[X]));
    return dt_graph_add(r->to, DT_OP_BIAS, name, NULL, behind, 2, out);
}

/* Bias and batch norm find that they have been added with their layer. */
static dt_status fold_node(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    int in[3], made;
    dt_fold_chain c;
    (void)user;

    if (r->of[n->out] >= 0) return DT_OK;
    if (!chain_of_layer(r->from, n, &c)) return dt_rewrite_copy(r, n);
    DT_TRY(dt_rewrite_value(r, n->in[X], &in[X]));
    DT_TRY(add_weights(r, &c, &in[W]));
    DT_TRY(add_bias_values(r, &c, &in[LINEAR_BIAS]));
    DT_TRY(n->kind == DT_OP_LINEAR ? add_linear(r, &c, in, &made) : add_conv(r, &c, in, &made));
    r->of[n->out] = r->of[c.norm->out] = made;
    if (c.bias) r->of[c.bias->out] = made;
    return DT_OK;
}

dt_status dt_graph_fold(const dt_graph *g, dt_graph **out)
{
    DT_TRY(dt_graph_rewrite(g, fold_node, NULL, out));
    return DT_OK;
}
