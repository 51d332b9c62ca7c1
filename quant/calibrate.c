/*
 * calibrate.c - see calibrate.h. dt_predict runs the network and shows its values; here they are counted.
 *
 * Source of the rules: Jacob et al., "Quantization and Training of Neural Networks for Efficient
 * Integer-Arithmetic-Only Inference", 2018 (MINMAX); for the others see observe.h.
 * Tests: tests/quant/test_calibrate.c, tests/quant/test_calibrate_oracle.c.
 */
#include "calibrate.h"

#include "../core/names.h"
#include "../core/threads.h"
#include "../core/train/dataset_view.h"
#include "../core/train/inference.h"
#include "detent/predict.h"
#include "histogram.h"
#include "observe.h"

#include <math.h>
#include <stdlib.h>

#define DEFAULT_PERCENT 99.99
enum { DEFAULT_BITS = 8 };

const char *const dt_observer_names[] = { "minmax", "percentile", "mse", "entropy", "max-abs", NULL };

/* What is known of one value. */
typedef struct {
    int is_wanted;
    float least, most;         /* of all images so far; n is 0: none */
    float abs_least, abs_most; /* MAX_ABS: the largest magnitudes of an image's least and largest value */
    int64_t n;
    dt_histogram *histogram; /* owned; NULL: the observer needs none */
} value_facts;

typedef struct {
    dt_model *model;
    dt_calibration what;
    value_facts *value; /* [n_values] */
    dt_span *span;      /* [span_room], one for each image of a batch */
    int64_t span_room;
    uint32_t *counts; /* room of dt_histogram_add */
} calibration;

static int needs_histogram(dt_observer o)
{
    return o == DT_OBSERVE_PERCENTILE || o == DT_OBSERVE_MSE || o == DT_OBSERVE_ENTROPY;
}

static int is_wanted(void *user, const char *name)
{
    const calibration *c = user;

    return c->value[dt_graph_find(c->model->graph, name)].is_wanted;
}

/* ---- values as they come ---- */

static dt_status check_finite(const dt_span *span, const char *name, int64_t image, const float *x, int64_t count)
{
    int64_t i = 0;

    if (span->all_finite) return DT_OK;
    while (i < count && isfinite(x[i])) i++;
    return dt_raise(DT_ERR_NUMERIC, __FILE__, __LINE__,
                    "calibration: %s is %g for image %lld (value %lld of %lld); leave that image out, or look at the "
                    "network's parameters",
                    name, (double)x[i], (long long)image, (long long)i, (long long)count);
}

static void take_image(value_facts *v, const dt_span *s, int64_t count)
{
    const float low = fabsf(s->least), high = fabsf(s->most);

    v->least = v->n == 0 || s->least < v->least ? s->least : v->least;
    v->most = v->n == 0 || s->most > v->most ? s->most : v->most;
    v->abs_least = low > v->abs_least ? low : v->abs_least;
    v->abs_most = high > v->abs_most ? high : v->abs_most;
    v->n += count;
}

static dt_status spans_for(calibration *c, int64_t images)
{
    if (images <= c->span_room) return DT_OK;
    dt_span *more = realloc(c->span, (size_t)images * sizeof *more);
    DT_CHECK(more, DT_ERR_MEMORY, "no memory to calibrate %lld images at once", (long long)images);
    c->span = more;
    c->span_room = images;
    return DT_OK;
}

static void find_spans(const float *x, int64_t images, int64_t count, dt_span *span)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < images; i++) span[i] = dt_span_of(x + i * count, count);
}

/* One value of a batch of images, `count` numbers for each. */
static dt_status take_values(calibration *c, int value, const float *x, int64_t first, int64_t images)
{
    const int64_t count = dt_graph_count(c->model->graph, value);
    const char *name = dt_graph_name(c->model->graph, value);
    value_facts *v = &c->value[value];

    DT_TRY(spans_for(c, images));
    find_spans(x, images, count, c->span);
    dt_span all = c->span[0];
    all.n_zero = 0;
    for (int64_t i = 0; i < images; i++) {
        const dt_span *s = &c->span[i];
        DT_TRY(check_finite(s, name, c->what.first + first + i, x + i * count, count));
        take_image(v, s, count);
        all.least = fminf(all.least, s->least);
        all.most = fmaxf(all.most, s->most);
        all.n_zero += s->n_zero;
    }
    if (v->histogram) dt_histogram_add(v->histogram, x, images * count, &all, c->counts);
    return DT_OK;
}

static dt_status look(void *user, const dt_value_batch *batch)
{
    calibration *c = user;
    const int value = dt_graph_find(c->model->graph, batch->name);

    DT_CHECK(batch->n_scale == 0, DT_ERR_UNSUPPORTED,
             "calibration: %s is on the grid, but needed are real values; calibrate the network as it was before it "
             "was quantized",
             batch->name);
    return take_values(c, value, batch->values, batch->first, batch->dim[0] / dt_graph_rows(c->model->graph, value));
}

/* ---- the run ---- */

static dt_status check(const dt_model *m, const dt_calibration *what)
{
    const int n_given = (what->dataset != NULL) + (what->pixels != NULL) + (what->normalised != NULL);

    DT_CHECK(n_given == 1 && what->n >= 1, DT_ERR_ARGUMENT,
             "a calibration takes 1 image or more of one source; got %lld of %d (dataset, pixels, normalised)",
             (long long)what->n, n_given);
    DT_CHECK(what->batch >= 0, DT_ERR_ARGUMENT, "calibration: batch is %d, at least 1", what->batch);
    DT_CHECK(what->dataset || what->first == 0, DT_ERR_ARGUMENT,
             "calibration: first is %lld, but only a dataset has images before; give 0", (long long)what->first);
    DT_TRY(dt_check_word("observer", (int)what->observer, dt_observer_names));
    DT_CHECK(what->percent > 50.0 && what->percent <= 100.0, DT_ERR_RANGE,
             "calibration: percent is %g, allowed is above 50, up to 100", what->percent);
    DT_CHECK(what->bits >= 2 && what->bits <= 8, DT_ERR_RANGE, "calibration: bits is %d, allowed are 2 to 8",
             what->bits);
    DT_CHECK(m->graph->value[m->graph->image]->facts.type == DT_F32, DT_ERR_UNSUPPORTED,
             "%s is an integer program, which has scales already; calibrate the network that it came from",
             m->graph->name);
    return DT_OK;
}

static dt_status allocate(calibration *c)
{
    const dt_graph *g = c->model->graph;

    c->value = calloc((size_t)g->n_values, sizeof *c->value);
    c->counts = malloc((size_t)c->model->ctx->threads * DT_HISTOGRAM_BINS * sizeof *c->counts);
    DT_CHECK(c->value && c->counts, DT_ERR_MEMORY, "no memory to calibrate %s", g->name);
    for (int i = 0; i < g->n_values; i++) {
        value_facts *v = &c->value[i];
        const int is_activation = g->value[i]->source == DT_SOURCE_NODE || i == g->image;
        v->is_wanted = c->what.wanted ? c->what.wanted[i] != 0 : is_activation;
        if (!v->is_wanted || !needs_histogram(c->what.observer)) continue;
        v->histogram = dt_histogram_create();
        DT_CHECK(v->histogram, DT_ERR_MEMORY, "no memory for the histogram of %s", dt_graph_name(g, i));
    }
    return DT_OK;
}

static void release(calibration *c)
{
    for (int i = 0; c->value && i < c->model->graph->n_values; i++) free(c->value[i].histogram);
    free(c->value);
    free(c->span);
    free(c->counts);
}

/* Images that are given normalised may be wrong themselves, and a network may hide it. */
static dt_status check_images(const calibration *c)
{
    const dt_graph *g = c->model->graph;
    const int64_t count = dt_graph_count(g, g->image);

    for (int64_t i = 0; c->what.normalised && i < c->what.n; i++) {
        const float *x = c->what.normalised + i * count;
        const dt_span span = dt_span_of(x, count);
        DT_TRY(check_finite(&span, dt_graph_name(g, g->image), i, x, count));
    }
    return DT_OK;
}

static dt_status run(calibration *c)
{
    const dt_calibration *what = &c->what;
    const dt_prediction prediction = { .pixels = what->pixels,
                                       .normalised = what->normalised,
                                       .n = what->n,
                                       .batch = what->batch,
                                       .look = look,
                                       .wants = is_wanted,
                                       .user = c,
                                       .progress = what->progress };
    dt_dataset_view v;

    if (!what->dataset) return dt_predict(c->model, &prediction, NULL);
    dt_dataset_look(what->dataset, &v);
    DT_CHECK(what->first >= 0 && what->first <= v.n - what->n, DT_ERR_RANGE, "images %lld to %lld of a dataset of %lld",
             (long long)what->first, (long long)(what->first + what->n), (long long)v.n);
    dt_view_skip(&v, what->first);
    return dt_predict_view(c->model, &v, &prediction, NULL);
}

/* ---- ranges ---- */

/* Share of the values in bins whose middle is outside. */
static double outside_of(const dt_histogram *h, const dt_range *r)
{
    int64_t n = 0;

    for (int i = 0; i < DT_HISTOGRAM_BINS; i++) {
        const double x = (i - DT_HISTOGRAM_HALF + 0.5) * dt_histogram_width(h);
        const int64_t count = h->count[i] - (i == DT_HISTOGRAM_HALF ? h->n_zero : 0);
        n += x < (double)r->min || x > (double)r->max ? count : 0;
    }
    return (double)n / (double)h->n;
}

static dt_status range_of(const dt_calibration *what, const value_facts *v, dt_range *out)
{
    switch (what->observer) {
    case DT_OBSERVE_MINMAX: *out = (dt_range){ v->least, v->most }; break;
    case DT_OBSERVE_PERCENTILE: *out = dt_observe_percentile(v->histogram, what->percent); break;
    case DT_OBSERVE_MSE: return dt_observe_mse(v->histogram, what->bits, out);
    case DT_OBSERVE_ENTROPY: *out = dt_observe_entropy(v->histogram, what->bits); break;
    case DT_OBSERVE_MAX_ABS: *out = (dt_range){ v->abs_least, v->abs_most }; break;
    }
    return DT_OK;
}

/* Writes range and observed once nothing can fail any more: *to has the ranges. */
static void publish(const calibration *c, const dt_range *to, dt_range *range)
{
    for (int i = 0; i < c->model->graph->n_values; i++) {
        const value_facts *v = &c->value[i];
        range[i] = to[i];
        if (!c->what.observed) continue;
        c->what.observed[i] = (dt_observed){ .seen = { v->least, v->most }, .n = v->n };
        if (v->histogram && v->n > 0) c->what.observed[i].outside = outside_of(v->histogram, &to[i]);
    }
}

/* Values are independent of each other; a failure of any is one of memory. */
static dt_status find_ranges(calibration *c, dt_range *to)
{
    const dt_graph *g = c->model->graph;
    int failed = 0;

    for (int i = 0; i < g->n_values; i++) {
        const value_facts *v = &c->value[i];
        DT_CHECK(!c->what.wanted || !v->is_wanted || v->n > 0, DT_ERR_ARGUMENT,
                 "calibration: %s is wanted, but %s does not make it of an image in evaluation", dt_graph_name(g, i),
                 g->name);
    }
#pragma omp parallel for schedule(dynamic) reduction(+ : failed)
    for (int i = 0; i < g->n_values; i++) {
        if (c->value[i].n > 0) failed += range_of(&c->what, &c->value[i], &to[i]) != DT_OK;
    }
    DT_CHECK(failed == 0, DT_ERR_MEMORY, "no memory to search the ranges of %d values of %s", failed, g->name);
    return DT_OK;
}

static dt_status calibrate(calibration *c, dt_range *range)
{
    DT_TRY(allocate(c));
    DT_TRY(check_images(c));
    DT_TRY(run(c));
    dt_range *to = calloc((size_t)c->model->graph->n_values, sizeof *to);
    DT_CHECK(to, DT_ERR_MEMORY, "no memory for the ranges of %s", c->model->graph->name);
    const int before = dt_context_enter(c->model->ctx);
    const dt_status status = find_ranges(c, to);
    dt_context_leave(before);
    if (status == DT_OK) publish(c, to, range);
    free(to);
    DT_TRY(status);
    return DT_OK;
}

dt_status dt_calibrate(dt_model *m, const dt_calibration *what, dt_range *range)
{
    calibration c = { .model = m, .what = *what };

    if (c.what.percent == 0.0) c.what.percent = DEFAULT_PERCENT;
    if (c.what.bits == 0) c.what.bits = DEFAULT_BITS;
    if (c.what.batch == 0) c.what.batch = DT_CALIBRATE_BATCH;
    DT_TRY(check(m, &c.what));
    const dt_status status = calibrate(&c, range);
    release(&c);
    DT_TRY(status);
    return DT_OK;
}
