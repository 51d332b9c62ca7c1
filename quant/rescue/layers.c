/*
 * layers.c - see layers.h.
 *
 * Tests: tests/quant/test_rescue.c.
 */
#include "layers.h"

#include "../../core/grid_facts.h"
#include "../fold_chain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { X, W, B, BATCH = 32 };

static int is_layer(const dt_graph_node *n)
{
    return n->kind == DT_OP_CONV2D || n->kind == DT_OP_LINEAR;
}

static dt_status no_memory(const char *name)
{
    return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for the layer %s", name);
}

/* ---- norms ---- */

static void norm_free(dt_rescue_norm *n)
{
    free(n->gamma);
    free(n->beta);
    free(n->inv);
}

static dt_status norm_make(int64_t filters, const char *name, dt_rescue_norm *out)
{
    *out = (dt_rescue_norm){ .gamma = malloc((size_t)filters * sizeof(double)),
                             .beta = malloc((size_t)filters * sizeof(double)),
                             .inv = malloc((size_t)filters * sizeof(double)) };
    return out->gamma && out->beta && out->inv ? DT_OK : no_memory(name);
}

/* The norm that was folded into the layer of that name, if there was one. */
static dt_status take_norm(const dt_graph *unfolded, const char *name, dt_rescue_layer *l)
{
    const int value = dt_graph_find(unfolded, name);
    const dt_graph_node *node = value >= 0 ? dt_graph_maker(unfolded, value) : NULL;
    dt_fold_chain c;

    if (!node || !dt_fold_chain_of(unfolded, node, 0, &c)) return DT_OK;
    const float *gamma = unfolded->value[c.norm->in[DT_FOLD_GAMMA]]->data;
    const float *beta = unfolded->value[c.norm->in[DT_FOLD_BETA]]->data;
    const float *variance = unfolded->value[c.norm->in[DT_FOLD_VAR]]->data;
    DT_TRY(norm_make(l->filters, name, &l->norm));
    l->norm.epsilon = (double)((const dt_batchnorm_params *)c.norm->params)->epsilon;
    for (int64_t k = 0; k < l->filters; k++) {
        l->norm.gamma[k] = (double)gamma[k];
        l->norm.beta[k] = (double)beta[k];
        l->norm.inv[k] = (double)gamma[k] / sqrt((double)variance[k] + l->norm.epsilon);
    }
    return DT_OK;
}

/* ---- layers ---- */

/* The BIAS that alone reads a value; NULL: there is none. */
static const dt_graph_node *bias_behind(const dt_graph *g, int value)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (n->kind == DT_OP_BIAS && n->in[X] == value && dt_graph_n_readers(g, value) == 1) return n;
    }
    return NULL;
}

static void describe(const dt_graph *g, const dt_graph_node *n, dt_rescue_layer *l)
{
    const dt_graph_node *bias = bias_behind(g, n->out);
    const dt_shape *w = dt_graph_shape(g, n->in[W]);

    *l = (dt_rescue_layer){ .node = n,
                            .weight = n->in[W],
                            .bias = n->n_in > B ? n->in[B]
                                    : bias      ? bias->in[1]
                                                : -1,
                            .out = n->n_in <= B && bias ? bias->out : n->out,
                            .filters = w->dim[0],
                            .row = dt_count(w) / w->dim[0] };
}

dt_status dt_rescue_layers_find(const dt_graph *unfolded, const dt_graph *folded, dt_rescue_layers *out)
{
    char *needed = calloc((size_t)folded->n_values, 1);

    *out = (dt_rescue_layers){ .layer = calloc((size_t)folded->n_nodes + 1, sizeof(dt_rescue_layer)) };
    dt_status status = needed && out->layer ? DT_OK : no_memory(folded->name);
    if (status == DT_OK) {
        needed[folded->scores] = 1;
        dt_graph_mark_needed(folded, NULL, 0, needed);
    }
    for (int i = 0; status == DT_OK && i < folded->n_nodes; i++) {
        const dt_graph_node *n = &folded->node[i];
        if (!is_layer(n) || !needed[n->out]) continue;
        describe(folded, n, &out->layer[out->n]);
        status = take_norm(unfolded, dt_graph_name(folded, n->out), &out->layer[out->n++]);
    }
    free(needed);
    DT_TRY(status);
    return DT_OK;
}

void dt_rescue_layers_free(dt_rescue_layers *l)
{
    for (int i = 0; i < l->n; i++) norm_free(&l->layer[i].norm);
    free(l->layer);
    *l = (dt_rescue_layers){ 0 };
}

dt_status dt_rescue_layers_copy(const dt_rescue_layers *from, const dt_graph *g, dt_rescue_layers *out)
{
    *out = (dt_rescue_layers){ .layer = calloc((size_t)from->n + 1, sizeof(dt_rescue_layer)) };
    DT_CHECK(out->layer, DT_ERR_MEMORY, "no memory for %d layers", from->n);
    for (int i = 0; i < from->n; i++) {
        const dt_rescue_layer *old = &from->layer[i];
        dt_rescue_layer *l = &out->layer[out->n++];
        *l = *old;
        l->node = dt_graph_maker(g, old->node->out);
        l->norm = (dt_rescue_norm){ 0 };
        if (!old->norm.gamma) continue;
        DT_TRY(norm_make(l->filters, dt_graph_name(g, l->node->out), &l->norm));
        memcpy(l->norm.gamma, old->norm.gamma, (size_t)l->filters * sizeof(double));
        memcpy(l->norm.beta, old->norm.beta, (size_t)l->filters * sizeof(double));
        memcpy(l->norm.inv, old->norm.inv, (size_t)l->filters * sizeof(double));
        l->norm.epsilon = old->norm.epsilon;
    }
    return DT_OK;
}

dt_status dt_rescue_quantized_of(const dt_model *folded, const dt_rescue_layer *l, const dt_model *quantized,
                                 dt_rescue_quantized *out)
{
    const char *name = dt_graph_name(folded->graph, l->node->out);
    const dt_graph *g = quantized->graph;
    const int value = dt_graph_find(g, name);
    const dt_graph_node *n = value >= 0 ? dt_graph_maker(g, value) : NULL;

    DT_CHECK(n && is_layer(n), DT_ERR_ARGUMENT, "%s: the quantized network has no layer of that name", name);
    const dt_graph_node *quant = dt_graph_maker(g, n->in[W]), *bias = bias_behind(g, n->out);
    *out = (dt_rescue_quantized){ .node = n,
                                  .out = bias ? bias->out : n->out,
                                  .weight = dt_model_find(quantized, dt_graph_name(folded->graph, l->weight)),
                                  .bias = -1,
                                  .codes = n->in[X],
                                  .quant = quant && quant->kind == DT_OP_MAX_QUANT ? quant : NULL };
    if (l->bias >= 0) out->bias = dt_model_find(quantized, dt_graph_name(folded->graph, l->bias));
    DT_CHECK(out->weight >= 0 && (l->bias < 0 || out->bias >= 0), DT_ERR_ARGUMENT,
             "%s: the quantized network lacks its weights or its bias", name);
    return DT_OK;
}

dt_status dt_rescue_read(const dt_model *m, int param, float **out)
{
    float *data = malloc((size_t)dt_count(&m->param[param]->tensor.shape) * sizeof *data);

    if (!data) return no_memory(m->param[param]->name);
    const dt_status status = dt_model_read(m, param, data);
    if (status != DT_OK) {
        free(data);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = data;
    return DT_OK;
}

/* ---- values ---- */

typedef struct {
    const char *name;
    dt_status (*look)(void *user, const dt_value_batch *v);
    void *user;
} looking;

static int wants(void *user, const char *name)
{
    return strcmp(((const looking *)user)->name, name) == 0;
}

static dt_status show(void *user, const dt_value_batch *v)
{
    const looking *l = user;

    return l->look(l->user, v);
}

dt_status dt_rescue_look(dt_model *m, const dt_quantization *what, int value,
                         dt_status (*look)(void *user, const dt_value_batch *v), void *user)
{
    looking l = { dt_graph_name(m->graph, value), look, user };
    const dt_prediction images = { .dataset = what->dataset,
                                   .pixels = what->pixels,
                                   .normalised = what->normalised,
                                   .n = what->n,
                                   .batch = BATCH,
                                   .look = show,
                                   .wants = wants,
                                   .user = &l };

    return dt_predict(m, &images, NULL);
}

/* Sums of a value's channels, and of their squares. */
typedef struct {
    double *sum, *squares; /* [channels] */
    int64_t rows;
} sums;

static dt_status add_batch(void *user, const dt_value_batch *v)
{
    const int64_t channels = v->dim[v->ndim - 1], count = dt_count_of(v->dim, v->ndim);
    sums *s = user;

    for (int64_t i = 0; i < count; i++) {
        const int64_t c = i % channels;
        const double scale = v->n_scale ? (double)v->scale[v->n_scale == 1 ? 0 : c] : 1.0;
        const double x = scale * (double)v->values[i];
        s->sum[c] += x;
        s->squares[c] += x * x;
    }
    s->rows += count / channels;
    return DT_OK;
}

dt_status dt_rescue_moments_of(dt_model *m, const dt_quantization *what, int value, const dt_rescue_moments *out)
{
    const int64_t channels = dt_channels(dt_graph_shape(m->graph, value));
    sums s = { out->mean, out->variance, 0 };

    memset(out->mean, 0, (size_t)channels * sizeof(double));
    memset(out->variance, 0, (size_t)channels * sizeof(double));
    DT_TRY(dt_rescue_look(m, what, value, add_batch, &s));
    for (int64_t c = 0; c < channels; c++) {
        const double mean = out->mean[c] / (double)s.rows;
        const double variance = out->variance[c] / (double)s.rows - mean * mean;
        out->mean[c] = mean;
        out->variance[c] = variance > 0.0 ? variance : 0.0;
    }
    return DT_OK;
}
