/*
 * sensitivity.c - what each layer's quantizers cost the scores: one layer quantized alone, and all but it.
 *
 * A layer has the quantizers of its weights and of what it gives; the image has one of its own. So each quantizer
 * belongs to one row. Quantized values are made real again at once (select_quant.h), and all sums are those of reals:
 * the scores of a network with all its quantizers are those of its evaluation but for the rounding of f32.
 *
 *   snr = 10 log10(sum x^2 / sum (x' - x)^2), over all scores x of the network of reals and x' of the other
 *
 * rise.c has the estimate of second order.
 *
 * Interface: include/detent/debugger.h.  Tests: tests/quant/test_sensitivity.c.
 */
#include "../../core/train/model.h"
#include "../fold_train.h"
#include "../select_quant.h"
#include "layer_words.h"
#include "rise.h"

#include "detent/debugger.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NOBODY = -1, RISE_IMAGES = 64 /* each has a backward pass */ };

typedef struct {
    dt_model *model; /* whose context and origin the others have */
    dt_graph *graph; /* owned; what the model's evaluation computes, with its quantizers */
    const dt_prediction *images;
    const int32_t *labels;
    int64_t classes;
    int *owner;  /* [n_nodes] of a quantizer: the value with which its layer begins; else NOBODY */
    char *ends;  /* [n_values] 1: codes, with which a layer ends */
    char *keep;  /* [n_nodes] */
    float *real; /* [n][classes] scores of the network of reals */
    float *scores;
    int64_t done, total; /* images that have run, of those of all networks */
} sensing;

/* ---- layers ---- */

static int is_quantizer(const dt_graph_node *n)
{
    return n->kind == DT_OP_RANGE_QUANT || n->kind == DT_OP_MAX_QUANT;
}

static int reader_of(const dt_graph *g, int value)
{
    for (int i = 0; i < g->n_nodes; i++) {
        for (int k = 0; k < g->node[i].n_in; k++) {
            if (g->node[i].in[k] == value) return g->node[i].out;
        }
    }
    return NOBODY;
}

/* Codes that are quantized once more belong to the layer that made them. */
static int layer_of(const sensing *s, const dt_graph_node *n)
{
    const dt_graph *g = s->graph;
    int value = n->in[0];

    if (n->kind == DT_OP_MAX_QUANT) return reader_of(g, n->out);
    for (;;) {
        const dt_graph_node *head = dt_layer_head(g, s->ends, value);
        if (!head) return value;
        if (head->kind != DT_OP_RANGE_QUANT) return head->out;
        value = head->in[0];
    }
}

static void find_owners(const sensing *s)
{
    const dt_graph *g = s->graph;

    for (int i = 0; i < g->n_nodes; i++) s->ends[g->node[i].out] = g->node[i].kind == DT_OP_RANGE_QUANT;
    for (int i = 0; i < g->n_nodes; i++) {
        s->owner[i] = is_quantizer(&g->node[i]) ? layer_of(s, &g->node[i]) : NOBODY;
    }
}

/* Adds a quantizer's bits to the row of its layer, which is a new one for the first. */
static dt_status add_quantizer(const sensing *s, int node, dt_sensitivity *out)
{
    const dt_graph_node *n = &s->graph->node[node], *head = dt_graph_maker(s->graph, s->owner[node]);
    const char *name = dt_graph_name(s->graph, s->owner[node]);
    dt_sensitivity_row *row = NULL;

    for (int i = 0; i < out->n; i++) {
        if (strcmp(out->row[i].name, name) == 0) row = &out->row[i];
    }
    if (!row) {
        row = &out->row[out->n++];
        row->op = head ? dt_layer_word(s->graph, head) : "QUANTIZE";
        row->name = strdup(name);
        DT_CHECK(row->name, DT_ERR_MEMORY, "no memory for the name of %s", name);
    }
    if (n->kind == DT_OP_MAX_QUANT)
        row->wbits = ((const dt_max_quant_params *)n->params)->bits;
    else
        row->abits = ((const dt_range_quant_params *)n->params)->bits;
    return DT_OK;
}

/* ---- scores ---- */

static int tick(void *user, int64_t done, int64_t total)
{
    const sensing *s = user;
    const dt_progress *p = s->images->progress;
    (void)total;

    return p && p->tick ? p->tick(p->user, s->done + done, s->total) : 0;
}

/* Runs the network that has the quantizers which keep names. */
static dt_status run(sensing *s, const char *keep, float *scores)
{
    const dt_progress progress = { .tick = tick, .user = s };
    dt_prediction how = { .dataset = s->images->dataset,
                          .pixels = s->images->pixels,
                          .normalised = s->images->normalised,
                          .first = s->images->first,
                          .n = s->images->n,
                          .progress = &progress };
    dt_graph *g;
    dt_model *m;

    DT_TRY(dt_quant_select(s->graph, keep, &g));
    DT_TRY(dt_model_open(s->model->ctx, g, &m));
    m->origin = s->model->origin;
    const dt_status status = dt_predict(m, &how, scores);
    dt_model_destroy(m);
    s->done += how.n;
    DT_TRY(status);
    return DT_OK;
}

static int64_t largest(const float *score, int64_t n)
{
    int64_t best = 0;

    for (int64_t c = 1; c < n; c++) best = score[c] > score[best] ? c : best;
    return best;
}

static dt_score_error error_of(const sensing *s, const float *scores)
{
    dt_score_error e = { .right = s->labels ? 0 : -1 };
    double signal = 0.0, noise = 0.0;

    for (int64_t i = 0; i < s->images->n * s->classes; i++) {
        const double x = (double)s->real[i], d = (double)scores[i] - x;
        signal += x * x;
        noise += d * d;
    }
    for (int64_t i = 0; i < s->images->n; i++) {
        const int64_t is = largest(scores + i * s->classes, s->classes);
        e.changed += is != largest(s->real + i * s->classes, s->classes);
        if (s->labels) e.right += is == s->labels[i];
    }
    e.snr = noise > 0.0 ? 10.0 * log10(signal / noise) : INFINITY;
    return e;
}

/* The network whose quantizers are those of one layer (with 1), or those of the others (with 0). */
static dt_status sense(sensing *s, const char *layer, int with, dt_score_error *out)
{
    for (int i = 0; i < s->graph->n_nodes; i++) {
        const int is_of = s->owner[i] >= 0 && strcmp(dt_graph_name(s->graph, s->owner[i]), layer) == 0;
        s->keep[i] = s->owner[i] >= 0 && is_of == with;
    }
    DT_TRY(run(s, s->keep, s->scores));
    *out = error_of(s, s->scores);
    return DT_OK;
}

/* ---- second order ---- */

static void add_rises(const sensing *s, const double *rise, dt_sensitivity *out)
{
    for (int i = 0; i < s->graph->n_nodes; i++) {
        if (isnan(rise[i])) continue;
        for (int r = 0; r < out->n; r++) {
            dt_sensitivity_row *row = &out->row[r];
            if (strcmp(row->name, dt_graph_name(s->graph, s->owner[i])) != 0) continue;
            row->rise = (isnan(row->rise) ? 0.0 : row->rise) + rise[i];
        }
    }
}

static dt_status estimate_with(const sensing *s, double *rise, dt_sensitivity *out)
{
    const int64_t n = s->images->n < RISE_IMAGES ? s->images->n : RISE_IMAGES;
    dt_graph *g;
    dt_model *m;

    DT_TRY(dt_quant_select(s->graph, NULL, &g));
    DT_TRY(dt_model_open(s->model->ctx, g, &m));
    m->origin = s->model->origin;
    const dt_status status = dt_estimate_rise(s->graph, m, s->images->dataset, s->images->first, n, rise);
    dt_model_destroy(m);
    DT_TRY(status);
    add_rises(s, rise, out);
    return DT_OK;
}

/* Of images with labels, which a data set has. */
static dt_status estimate_rises(const sensing *s, dt_sensitivity *out)
{
    for (int i = 0; i < out->n; i++) out->row[i].rise = NAN;
    if (!s->labels || !s->images->dataset) return DT_OK;
    double *rise = malloc(((size_t)s->graph->n_nodes + 1) * sizeof *rise);
    DT_CHECK(rise, DT_ERR_MEMORY, "no memory for estimates of %d nodes", s->graph->n_nodes);
    const dt_status status = estimate_with(s, rise, out);
    free(rise);
    return status;
}

static dt_status sense_all(sensing *s, dt_sensitivity *out)
{
    find_owners(s);
    for (int i = 0; i < s->graph->n_nodes; i++) {
        if (s->owner[i] >= 0) DT_TRY(add_quantizer(s, i, out));
    }
    DT_TRY(estimate_rises(s, out));
    s->total = (2 * out->n + 2) * s->images->n;
    DT_TRY(run(s, NULL, s->real));
    out->real = error_of(s, s->real);
    DT_TRY(sense(s, "", 0, &out->all));
    for (int i = 0; i < out->n; i++) {
        DT_TRY(sense(s, out->row[i].name, 1, &out->row[i].alone));
        DT_TRY(sense(s, out->row[i].name, 0, &out->row[i].without));
    }
    return DT_OK;
}

/* ---- the whole ---- */

static dt_status open_graph(dt_model *m, dt_graph **out)
{
    dt_graph *now = NULL;

    DT_TRY(dt_model_snapshot(m, &now));
    const dt_status status = dt_graph_settle(now, out);
    dt_graph_destroy(now);
    return status;
}

static dt_status with_room(sensing *s, dt_sensitivity *out)
{
    const dt_graph *g = s->graph;
    const size_t n = (size_t)(s->images->n * s->classes);

    s->owner = malloc((size_t)g->n_nodes * sizeof *s->owner);
    s->ends = calloc((size_t)g->n_values, 1);
    s->keep = calloc((size_t)g->n_nodes, 1);
    s->real = malloc(n * sizeof *s->real);
    s->scores = malloc(n * sizeof *s->scores);
    out->row = calloc((size_t)g->n_nodes, sizeof *out->row);
    const dt_status status = s->owner && s->ends && s->keep && s->real && s->scores && out->row
                                 ? sense_all(s, out)
                                 : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__,
                                            "no memory for the scores of %lld images", (long long)s->images->n);
    free(s->owner);
    free(s->ends);
    free(s->keep);
    free(s->real);
    free(s->scores);
    return status;
}

dt_status dt_quantized_sensitivity(dt_model *quantized, const dt_prediction *images, const int32_t *labels,
                                   dt_sensitivity **out)
{
    sensing s = { .model = quantized, .images = images, .labels = labels };

    DT_CHECK(dt_quantized_count(quantized) > 0, DT_ERR_UNSUPPORTED,
             "%s has no affine quantizers, whose cost could be told; 'detent quantize' gives it some",
             quantized->graph->name);
    dt_sensitivity *made = calloc(1, sizeof *made);
    DT_CHECK(made, DT_ERR_MEMORY, "no memory for the sensitivity of %d layers", quantized->graph->n_nodes);
    made->images = images->n;
    s.classes = dt_graph_shape(quantized->graph, quantized->graph->scores)->dim[1];
    dt_status status = open_graph(quantized, &s.graph);
    if (status == DT_OK) status = with_room(&s, made);
    dt_graph_destroy(s.graph);
    if (status != DT_OK) {
        dt_sensitivity_destroy(made);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = made;
    return DT_OK;
}

void dt_sensitivity_destroy(dt_sensitivity *s)
{
    if (!s) return;
    for (int i = 0; i < s->n; i++) free(s->row[i].name);
    free(s->row);
    free(s);
}
