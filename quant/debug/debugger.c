/*
 * debugger.c - the error of each layer of a quantized network, as TensorFlow Lite's quantization debugger has it.
 *
 * Of one image, with e = scale * code - real, over the n numbers of the layer:
 *   mean_error = sum e / n, mean_squared_error = sum e^2 / n, stddev = sqrt(sum (e - mean)^2 / n), max_abs_error = max
 * |e| A row has the means of these over the images.
 *
 * Source: tensorflow/lite/tools/optimize/debugging/python/debugger.py (2.21), measured.
 * Interface: include/detent/debugger.h.  Tests: tests/quant/test_debugger.c, tests/cli/test_cli_debug.sh.
 */
#include "../../core/train/inference.h"
#include "debug_graph.h"

#include "detent/debugger.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 8 /* images whose values are held at once */ };

const char *const dt_debug_mode_names[] = { "layer", "whole", NULL };

/* One pair at work. */
typedef struct {
    const char *codes, *real; /* names of the graph's values; real NULL: the errors are 0 */
    float *value;             /* [room] the real values of the codes of the batch at hand */
    int64_t room;
} watched;

typedef struct {
    const dt_debug_graph *graph;
    watched *of; /* [graph->n] */
    dt_debug_report *report;
} debugging;

/* Images of a batch whose last one begins at `first`. */
static int64_t images_of(const debugging *d, const dt_value_batch *v)
{
    const int64_t left = d->report->images - v->first;

    return left < BATCH ? left : BATCH;
}

/* Adds the errors of an image's n numbers. */
static void add_image(dt_debug_row *row, const float *value, const float *real, int64_t n)
{
    double sum = 0.0, squares = 0.0, largest = 0.0, spread = 0.0;

    for (int64_t i = 0; i < n; i++) {
        const double e = (double)value[i] - (double)real[i];
        sum += e;
        squares += e * e;
        largest = fmax(largest, fabs(e));
    }
    const double mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) {
        const double e = (double)value[i] - (double)real[i] - mean;
        spread += e * e;
    }
    row->stddev += sqrt(spread / (double)n);
    row->mean_error += mean;
    row->max_abs_error += largest;
    row->mean_squared_error += squares / (double)n;
}

static dt_status keep_codes(const debugging *d, int i, const dt_value_batch *v)
{
    const int64_t count = dt_count_of(v->dim, v->ndim);
    dt_debug_row *row = &d->report->row[i];
    watched *w = &d->of[i];

    row->scale = v->scale[0];
    row->n_elements = count / images_of(d, v);
    if (count > w->room) {
        float *bigger = realloc(w->value, (size_t)count * sizeof *bigger);
        DT_CHECK(bigger, DT_ERR_MEMORY, "no memory for %lld values of %s", (long long)count, v->name);
        w->value = bigger;
        w->room = count;
    }
    for (int64_t k = 0; k < count; k++) w->value[k] = v->values[k] * v->scale[0];
    return DT_OK;
}

static void compare(const debugging *d, int i, const dt_value_batch *v)
{
    dt_debug_row *row = &d->report->row[i];

    for (int64_t k = 0; k < images_of(d, v); k++) {
        add_image(row, d->of[i].value + k * row->n_elements, v->values + k * row->n_elements, row->n_elements);
    }
}

static dt_status look(void *user, const dt_value_batch *v)
{
    const debugging *d = user;

    for (int i = 0; i < d->graph->n; i++) {
        if (strcmp(v->name, d->of[i].codes) == 0) DT_TRY(keep_codes(d, i, v));
        if (d->of[i].real && strcmp(v->name, d->of[i].real) == 0) compare(d, i, v);
    }
    return DT_OK;
}

static int wants(void *user, const char *name)
{
    const debugging *d = user;

    for (int i = 0; i < d->graph->n; i++) {
        if (strcmp(name, d->of[i].codes) == 0 || (d->of[i].real && strcmp(name, d->of[i].real) == 0)) return 1;
    }
    return 0;
}

static dt_status run(dt_model *m, debugging *d, const dt_prediction *images)
{
    const char **beside = malloc((size_t)d->graph->n * sizeof *beside);
    dt_prediction how = { .dataset = images->dataset,
                          .pixels = images->pixels,
                          .normalised = images->normalised,
                          .first = images->first,
                          .n = images->n,
                          .batch = BATCH,
                          .look = look,
                          .wants = wants,
                          .user = d,
                          .progress = images->progress,
                          .beside = beside };

    DT_CHECK(beside, DT_ERR_MEMORY, "no memory for %d layers", d->graph->n);
    for (int i = 0; i < d->graph->n; i++) {
        if (d->of[i].real) beside[how.n_beside++] = d->of[i].real;
    }
    const dt_status status = dt_predict(m, &how, NULL);
    free(beside);
    return status;
}

/* Makes the sums over the images means, and adds what is known of the codes. */
static void finish(const debugging *d)
{
    const double n = (double)d->report->images;

    for (int i = 0; i < d->graph->n; i++) {
        dt_debug_row *row = &d->report->row[i];
        const dt_debug_pair *pair = &d->graph->pair[i];
        row->index = pair->codes;
        row->zero_point = pair->zero_point;
        row->range = pair->levels * (double)row->scale;
        row->stddev /= n;
        row->mean_error /= n;
        row->max_abs_error /= n;
        row->mean_squared_error /= n;
    }
}

/* The names of the rows become the report's. */
static void take_names(dt_debug_graph *graph, dt_debug_report *report)
{
    for (int i = 0; i < graph->n; i++) {
        report->row[i].op = graph->pair[i].op;
        report->row[i].name = graph->pair[i].name;
        graph->pair[i].name = NULL;
    }
}

static dt_status debug(dt_model *m, dt_debug_graph *graph, const dt_prediction *images, dt_debug_report *report)
{
    debugging d = { graph, calloc((size_t)graph->n, sizeof *d.of), report };
    dt_status status = DT_OK;

    DT_CHECK(d.of, DT_ERR_MEMORY, "no memory to look at %d layers", graph->n);
    for (int i = 0; i < graph->n; i++) {
        const dt_debug_pair *pair = &graph->pair[i];
        d.of[i].codes = dt_graph_name(m->graph, pair->codes);
        d.of[i].real = pair->real < 0 ? NULL : dt_graph_name(m->graph, pair->real);
    }
    status = run(m, &d, images);
    if (status == DT_OK) finish(&d);
    for (int i = 0; i < graph->n; i++) free(d.of[i].value);
    free(d.of);
    return status;
}

static dt_status open_report(dt_debug_graph *graph, int64_t images, dt_debug_report **out)
{
    dt_debug_report *r = calloc(1, sizeof *r);

    if (r) *r = (dt_debug_report){ calloc((size_t)graph->n, sizeof *r->row), graph->n, images };
    if (!r || !r->row) {
        free(r);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for a report of %d layers", graph->n);
    }
    take_names(graph, r);
    *out = r;
    return DT_OK;
}

/* A model of the graph on the context of `real`, whose images are normalised as those of `real`. */
static dt_status open_model(const dt_program *p, const dt_model *real, dt_debug_graph *graph, dt_model **out)
{
    dt_graph *const taken = graph->graph;

    graph->graph = NULL;
    DT_TRY(dt_model_open(real->ctx, taken, out));
    (*out)->origin = real->origin.name[0] ? real->origin : p->origin;
    return DT_OK;
}

static dt_status make_graph(const dt_program *p, dt_model *real, dt_debug_mode mode, dt_debug_graph *out)
{
    dt_graph *plain = NULL;

    DT_TRY(dt_program_check(p));
    DT_TRY(dt_model_snapshot(real, &plain));
    const dt_status status = dt_debug_graph_make(p, plain, mode, out);
    dt_graph_destroy(plain);
    return status;
}

dt_status dt_program_debug(const dt_program *p, dt_model *real, dt_debug_mode mode, const dt_prediction *images,
                           dt_debug_report **out)
{
    dt_debug_graph graph = { 0 };
    dt_debug_report *report = NULL;
    dt_model *m = NULL;

    dt_status status = make_graph(p, real, mode, &graph);
    if (status == DT_OK) status = open_model(p, real, &graph, &m);
    if (status == DT_OK) status = open_report(&graph, images->n, &report);
    if (status == DT_OK) status = debug(m, &graph, images, report);
    dt_model_destroy(m);
    dt_debug_graph_destroy(&graph);
    if (status != DT_OK) {
        dt_debug_report_destroy(report);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = report;
    return DT_OK;
}

void dt_debug_report_destroy(dt_debug_report *r)
{
    if (!r) return;
    for (int i = 0; i < r->n; i++) free(r->row[i].name);
    free(r->row);
    free(r);
}
