/*
 * qcaps.c - Q-CapsNets on a capsule network: the sizes of its layers, the calibration of scales, and the accuracy of a
 *           choice of bits, for which the search asks (qcaps_search.c).
 *
 * A network is quantized by a pass over its graph (insert_fixed.c), which puts a FIXED_POINT node behind each tensor
 * that is rounded. Calibration is an evaluation in full precision in which these nodes only observe. The scale of a
 * tensor is the largest magnitude that they saw.
 *
 * The search changes the bits of later layers while earlier layers keep theirs. So an evaluation keeps the output of
 * the last layer that has not changed (f32, in device memory, within options.cache_bytes), and the next evaluation
 * begins there. A layer is convolved in integers if psums of its codes are exact.
 *
 * Source: Marchisio et al., "Q-CapsNets", DAC 2020, with the scales of its authors' later code.
 * Tests: tests/quant/test_qcaps.c.
 */
#include "qcaps.h"

#include "../../core/graph/rewrite.h"
#include "../../core/train/inference.h"
#include "../../core/names.h"
#include "../../layers/caps/caps_route.h"
#include "fixed_formats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dt_status copy_params(const dt_model *from, dt_model *to)
{
    dt_status status = DT_OK;

    for (int i = 0; i < from->n_params && status == DT_OK; i++) {
        const int64_t n = dt_count(&from->param[i]->tensor.shape);
        float *value = malloc((size_t)n * sizeof *value);
        status = value ? dt_model_read(from, i, value)
                       : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory to copy %s", from->param[i]->name);
        if (status == DT_OK) status = dt_model_write(to, i, value);
        free(value);
    }
    return status;
}

/* A model that observes, with the parameters of m, or (copy 0) as initialised. published: its tensors are those that
 * the published code rounds. */
static dt_status open_observer(const dt_model *m, int copy, int published, dt_model **out)
{
    const dt_fixed_formats *known = dt_fixed_formats_of(m);
    dt_graph *plain = NULL;
    dt_model *q = NULL;

    if (copy) DT_TRY(dt_model_check_values(m, NULL));
    dt_fixed_formats *formats = calloc(1, sizeof *formats);
    DT_CHECK(formats, DT_ERR_MEMORY, "no memory for formats");
    formats->observe = 1;
    formats->published = published;
    dt_status status = dt_graph_rewrite(known ? known->plain : m->graph, NULL, NULL, &plain);
    if (status != DT_OK) {
        dt_fixed_formats_destroy(formats);
        return dt_forward(status, __FILE__, __LINE__);
    }
    DT_TRY(dt_fixed_model_open(m->ctx, plain, formats, &q));
    q->origin = m->origin;
    status = copy ? copy_params(m, q) : DT_OK;
    if (status != DT_OK) {
        dt_model_destroy(q);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = q;
    return DT_OK;
}

/* "block1" of "block1.l1.conv.weight" */
static void child_name(const char *name, char *child, size_t bytes)
{
    snprintf(child, bytes, "%.*s", (int)strcspn(name, "."), name);
}

static int layer_of(const dt_qcaps_shape *s, const char *name)
{
    char child[sizeof s->layer[0].name];

    child_name(name, child, sizeof child);
    for (int i = 0; i < s->n_layers; i++) {
        if (strcmp(s->layer[i].name, child) == 0) return i;
    }
    return -1; /* a decoder's */
}

static void shape_layers(const dt_fixed_formats *f, dt_qcaps_shape *s)
{
    for (int i = 0; i < f->n; i++) {
        const dt_fixed_tensor *t = &f->tensor[i];
        dt_qcaps_layer *layer = &s->layer[t->layer];
        if (t->layer >= s->n_layers) s->n_layers = t->layer + 1;
        if (t->kind == DT_FIXED_WEIGHT) child_name(t->name, layer->name, sizeof layer->name);
    }
}

/* A layer's activations are its OUTPUTs, and the capsules that it routes. */
static void shape_activations(const dt_graph *g, const dt_fixed_formats *f, dt_qcaps_shape *s)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        const dt_caps_route_params *route = n->kind == DT_OP_CAPS_ROUTE ? n->params : NULL;
        if (!route && n->kind != DT_OP_FIXED_POINT) continue;
        const uint32_t t =
            route ? route->format[0].v.tensor : ((const dt_fixed_point_params *)n->params)->format.tensor;
        if (!route && f->tensor[t].kind != DT_FIXED_OUTPUT) continue;
        dt_qcaps_layer *layer = &s->layer[f->tensor[t].layer];
        layer->n_activations += dt_graph_count(g, n->out);
        if (route) layer->routes = route->iterations;
    }
}

static void shape_of(const dt_model *q, dt_qcaps_shape *out)
{
    const dt_fixed_formats *f = dt_fixed_formats_of(q);
    dt_qcaps_shape s = { .n_input = dt_graph_count(q->graph, q->graph->image) };

    shape_layers(f, &s);
    for (int i = 0; i < q->n_params; i++) {
        const int layer = layer_of(&s, q->param[i]->name);
        if (layer >= 0 && q->param[i]->group == DT_GROUP_WEIGHT) {
            s.layer[layer].n_weights += dt_count(&q->param[i]->tensor.shape);
        }
    }
    shape_activations(q->graph, f, &s);
    *out = s;
}

dt_status dt_qcaps_describe(const dt_model *m, dt_qcaps_shape *out)
{
    dt_model *q = NULL;

    DT_TRY(open_observer(m, 0, 0, &q));
    shape_of(q, out);
    dt_model_destroy(q);
    return DT_OK;
}

/* ---- calibration ---- */

/* Infinite if a value is no number: a maximum would pass over it. */
static float largest(const float *x, int64_t n, float so_far)
{
    for (int64_t i = 0; i < n; i++) {
        if (!(fabsf(x[i]) <= so_far)) so_far = isfinite(x[i]) ? fabsf(x[i]) : INFINITY;
    }
    return so_far;
}

static dt_status observe_values(dt_model *q, const dt_node *node, dt_fixed_tensor *t)
{
    const int64_t n = dt_count(&node->out->shape);
    float *x;

    DT_TRY(dt_device_floats(q->ctx, node->out->data, n, &x));
    t->scale = largest(x, n, t->scale);
    free(x);
    return DT_OK;
}

static dt_status observe_routing(dt_model *q, const dt_node *node)
{
    const dt_caps_route_params *p = node->params;
    dt_fixed_formats *f = dt_fixed_formats_of(q);
    dt_route_ranges ranges;

    DT_TRY(dt_device_read(q->ctx, &ranges, dt_route_ranges_of(node), sizeof ranges));
    for (int k = 0; k < p->iterations; k++) {
        const dt_route_format *format = &p->format[k];
        const uint32_t tensor[4] = { format->c.tensor, format->s.tensor, format->v.tensor, format->b.tensor };
        const float value[4] = { ranges.c[k], ranges.s[k], ranges.v[k], ranges.b[k] };
        for (int i = 0; i < 4; i++) {
            float *scale = &f->tensor[tensor[i]].scale;
            *scale = value[i] > *scale ? value[i] : *scale;
        }
    }
    return DT_OK;
}

static dt_status observe_node(void *user, const dt_node *node)
{
    dt_model *q = user;

    if (node->kind == DT_OP_CAPS_ROUTE) return observe_routing(q, node);
    if (node->kind != DT_OP_FIXED_POINT) return DT_OK;
    const dt_fixed_point_params *p = node->params;
    return observe_values(q, node, &dt_fixed_formats_of(q)->tensor[p->format.tensor]);
}

/* The accuracy (%) in full precision, and on the way every scale. */
static dt_status calibrate(dt_model *q, const dt_dataset *d, int batch, const dt_progress *progress, double *accuracy)
{
    const dt_evaluation how = { .batch = batch, .progress = progress, .hook = observe_node, .user = q };
    dt_fixed_formats *f = dt_fixed_formats_of(q);
    dt_metrics metrics;

    for (int i = 0; i < f->n; i++) f->tensor[i].scale = 0.0f;
    DT_TRY(dt_evaluate_by(q, d, &how, &metrics));
    for (int i = 0; i < f->n; i++) {
        DT_CHECK(isfinite(f->tensor[i].scale), DT_ERR_NUMERIC, "%s has values that are no numbers", f->tensor[i].name);
        if (f->tensor[i].scale < DT_FIXED_LEAST_SCALE) f->tensor[i].scale = 1.0f; /* all zero: any scale holds them */
    }
    *accuracy = 100.0 * metrics.accuracy;
    return DT_OK;
}

/* The published code's bits are fractional ones, of which 0 are some. */
static dt_status check_bits(dt_fixed_formats *f)
{
    const int least = f->published ? 0 : 1;
    dt_fixed_format format;

    for (int i = 0; i < f->n; i++) {
        const dt_fixed_tensor *t = &f->tensor[i];
        DT_TRY(dt_fixed_format_of(f, t->name, t->layer, t->kind, &format));
        DT_CHECK(format.bits >= least && format.bits <= 32, DT_ERR_ARGUMENT,
                 "%s, of layer %d, has %d bits, expected %d..32", t->name, t->layer, format.bits, least);
    }
    return DT_OK;
}

static dt_status quantize_with(dt_model *q, const dt_qcaps_options *opt, const dt_qcaps_bits *bits)
{
    dt_fixed_formats *f = dt_fixed_formats_of(q);
    f->observe = 0;
    f->rounding = opt->rounding;
    f->bits = *bits;
    DT_TRY(check_bits(f));
    return dt_fixed_model_update(q);
}

dt_status dt_qcaps_quantize(dt_model *m, const dt_dataset *d, const dt_qcaps_options *opt, const dt_qcaps_bits *bits,
                            dt_model **out)
{
    double accuracy;
    dt_model *q = NULL;

    DT_TRY(dt_check_word("rounding", (int)opt->rounding, dt_rounding_names));
    DT_TRY(open_observer(m, 1, opt->published, &q));
    dt_status status = calibrate(q, d, opt->batch, NULL, &accuracy);
    if (status == DT_OK) status = quantize_with(q, opt, bits);
    if (status != DT_OK) {
        dt_model_destroy(q);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = q;
    return DT_OK;
}

/* ---- evaluation ---- */

/* What a layer gave for every image, with bits that hold for it and the layers before. */
typedef struct {
    int layer; /* the next one, which reads rows; 0: nothing is kept */
    dt_qcaps_bits bits;
    dt_tensor rows;
    int64_t filled; /* images */
} kept_layer;

typedef struct {
    dt_model *q;
    const dt_dataset *d;
    const dt_qcaps_options *opt;
    dt_qcaps_shape shape;
    const dt_progress *progress;
    int64_t n_images;
    int measured; /* 1: last holds the bits of an evaluation */
    dt_qcaps_bits last;
    kept_layer kept, next; /* next is being filled */
} evaluator;

static void forget(evaluator *e, kept_layer *k)
{
    if (k->layer > 0) dt_device_free(e->q->ctx, k->rows.data, dt_tensor_bytes(&k->rows));
    *k = (kept_layer){ 0 };
}

/* Number of layers from the first on whose bits are equal. */
static int common_layers(const dt_qcaps_bits *a, const dt_qcaps_bits *b, int n_layers)
{
    int i = 0;
    while (i < n_layers && a->weight[i] == b->weight[i] && a->activation[i] == b->activation[i] &&
           a->routing[i] == b->routing[i]) {
        i++;
    }
    return i;
}

/* Room for what `layer` reads, unless that is more than the cache may hold; the shape is known when it first comes. */
static dt_status keep_begin(evaluator *e, const dt_node *node)
{
    kept_layer *k = &e->next;

    k->rows = (dt_tensor){ .type = DT_F32, .shape = node->out->shape, .name = "rows" };
    k->rows.shape.dim[0] = e->n_images;
    const int64_t bytes = (int64_t)dt_tensor_bytes(&k->rows);
    if (bytes > e->opt->cache_bytes || node->out->n_scale > 0) { /* codes are not kept: rows are real values */
        *k = (kept_layer){ 0 };
        return DT_OK;
    }
    const dt_status status = dt_device_alloc(e->q->ctx, (size_t)bytes, &k->rows.data);
    if (status != DT_OK) *k = (kept_layer){ 0 };
    return status;
}

/* The node whose output is all that layers from this one on read. */
static const char *end_name(const evaluator *e, int layer)
{
    return dt_graph_name(e->q->graph, dt_fixed_formats_of(e->q)->end[layer - 1]);
}

static dt_status keep_node(void *user, const dt_node *node)
{
    evaluator *e = user;
    kept_layer *k = &e->next;

    if (k->layer == 0 || strcmp(node->name, end_name(e, k->layer)) != 0) return DT_OK;
    if (!k->rows.data) DT_TRY(keep_begin(e, node));
    if (k->layer == 0) return DT_OK;
    const size_t row_bytes = dt_tensor_bytes(&k->rows) / (size_t)e->n_images, bytes = dt_tensor_bytes(node->out);
    float *host;
    DT_TRY(dt_device_floats(e->q->ctx, node->out->data, dt_count(&node->out->shape), &host));
    const dt_status status =
        dt_device_write(e->q->ctx, (char *)k->rows.data + (size_t)k->filled * row_bytes, host, bytes);
    free(host);
    k->filled += node->out->shape.dim[0];
    return status;
}

/* Where the evaluation of bits begins, and what it keeps for the next: the layers that it shares with the last one. */
static void choose_layers(evaluator *e, const dt_qcaps_bits *bits)
{
    const int n_layers = e->shape.n_layers;

    if (e->kept.layer > common_layers(&e->kept.bits, bits, n_layers)) forget(e, &e->kept);
    if (!e->measured) return;
    const int shared = common_layers(&e->last, bits, n_layers - 1);
    if (shared > e->kept.layer) e->next = (kept_layer){ .layer = shared, .bits = *bits };
}

static dt_status measure(void *user, const dt_qcaps_bits *bits, double *accuracy)
{
    evaluator *e = user;
    dt_metrics metrics;

    choose_layers(e, bits);
    DT_TRY(quantize_with(e->q, e->opt, bits));
    dt_evaluation how = { .batch = e->opt->batch, .progress = e->progress, .hook = keep_node, .user = e };
    if (e->kept.layer > 0) how.rows = &e->kept.rows;
    if (e->kept.layer > 0) how.start = dt_fixed_formats_of(e->q)->end[e->kept.layer - 1];
    const dt_status status = dt_evaluate_by(e->q, e->d, &how, &metrics);
    if (status != DT_OK) return dt_forward(status, __FILE__, __LINE__);
    if (e->next.layer > 0) {
        forget(e, &e->kept);
        e->kept = e->next;
        e->next = (kept_layer){ 0 };
    }
    e->last = *bits;
    e->measured = 1;
    *accuracy = 100.0 * metrics.accuracy;
    return DT_OK;
}

static dt_status search(evaluator *e, const dt_qcaps_watch *watch, dt_qcaps_result *out)
{
    const dt_qcaps_judge judge = { measure, e };
    double full_accuracy;

    shape_of(e->q, &e->shape);
    DT_TRY(calibrate(e->q, e->d, e->opt->batch, e->progress, &full_accuracy));
    return dt_qcaps_run(&e->shape, e->opt, full_accuracy, &judge, watch, out);
}

dt_status dt_qcaps_search(dt_model *m, const dt_dataset *d, const dt_qcaps_options *opt, const dt_qcaps_watch *watch,
                          dt_qcaps_result *out)
{
    dt_dataset_view v;

    dt_dataset_look(d, &v);
    evaluator e = { .d = d, .opt = opt, .n_images = v.n, .progress = watch->images.tick ? &watch->images : NULL };
    DT_TRY(open_observer(m, 1, opt->published, &e.q));
    const dt_status status = search(&e, watch, out);
    forget(&e, &e.next);
    forget(&e, &e.kept);
    dt_model_destroy(e.q);
    return status;
}
