/*
 * calibration_rig.h - for tests of calibration: a small network, known images, and the ranges that were found last.
 */
#ifndef CALIBRATION_RIG_H
#define CALIBRATION_RIG_H

#include <math.h>

#include "draws.h"
#include "tiny_run.h"
#include "../../models/build.h"
#include "../../quant/calibrate.h"

enum { HEIGHT = 5, WIDTH = 7, CHANNELS = 3, IMAGE = HEIGHT * WIDTH * CHANNELS, IMAGES = 37, N = IMAGES * IMAGE };

static inline dt_context *open_context(int threads)
{
    dt_options o;
    dt_context *ctx;
    dt_options_default(&o);
    o.backend = "cpu";
    o.precision = DT_PRECISION_F32;
    o.threads = threads;
    MUST(dt_context_create(&o, &ctx));
    return ctx;
}

/* image, relu, conv, flat, scores */
static inline dt_graph *network(void)
{
    static const dt_shape image = { 4, { 1, HEIGHT, WIDTH, CHANNELS } };
    const dt_conv_spec conv = { .filters = 5, .kernel = 3, .stride = 1, .pad = 1 };
    dt_builder b = { .status = DT_OK };
    MUST(dt_graph_create("observed", &b.graph));
    MUST(dt_graph_give(b.graph, "image", DT_F32, &image, &b.graph->image));
    int x = dt_build_apply(&b, DT_OP_RELU, "relu", b.graph->image);
    x = dt_build_conv(&b, "conv", x, &conv);
    x = dt_build_apply(&b, DT_OP_FLATTEN, "flat", x);
    b.graph->scores = dt_build_classifier(&b, "scores", x, 4);
    cr_assert(b.status == DT_OK, "%s", dt_last_error());
    return b.graph;
}

typedef struct {
    dt_context *ctx;
    dt_model *model;
    int n;              /* values */
    dt_range range[32]; /* what was calibrated last */
    dt_observed seen[32];
} rig;

static inline rig rig_open(int threads)
{
    rig r = { .ctx = open_context(threads) };
    MUST(dt_model_open(r.ctx, network(), &r.model));
    r.n = r.model->graph->n_values;
    cr_assert(r.n <= 32);
    return r;
}

static inline void rig_close(rig *r)
{
    dt_model_destroy(r->model);
    dt_context_destroy(r->ctx);
}

static inline int value_of(const rig *r, const char *name)
{
    const int i = dt_graph_find(r->model->graph, name);
    cr_assert(i >= 0, "no %s", name);
    return i;
}

static inline void calibrate(rig *r, const float *images, dt_calibration what)
{
    what.normalised = images;
    what.observed = r->seen;
    if (what.n == 0) what.n = IMAGES;
    MUST(dt_calibrate(r->model, &what, r->range));
}

static inline dt_range range_of(const rig *r, const char *name)
{
    return r->range[value_of(r, name)];
}

/* Heavy tails: most are small, a few far out, and more so above 0. Image 3 is positive throughout. */
static inline const float *heavy_images(void)
{
    static float x[N];
    draws d = { .seed = 11 };
    for (int i = 0; i < N; i++) {
        const double u = 2.0 * draw_real(&d) - 1.0, tail = u * u * u * u * u;
        x[i] = (float)(0.3 * u + (u > 0 ? 9.0 : 4.0) * tail * fabs(tail));
        if (i / IMAGE == 3) x[i] = 0.5f + fabsf(x[i]);
    }
    return x;
}

static inline const float *relu_of(const float *x)
{
    static float y[N];
    for (int i = 0; i < N; i++) y[i] = x[i] > 0.0f ? x[i] : 0.0f;
    return y;
}

static inline int by_size(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static inline const float *sorted(const float *x)
{
    static float y[N];
    memcpy(y, x, sizeof y);
    qsort(y, N, sizeof *y, by_size);
    return y;
}

#endif /* CALIBRATION_RIG_H */
