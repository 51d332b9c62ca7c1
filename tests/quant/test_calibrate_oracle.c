/*
 * test_calibrate_oracle.c - a network of Keras, with its batch norms, folded and calibrated here: filters and biases
 * against those that TensorFlow's converter folded, and scales against those of an independent model's ranges.
 *
 * The environment variable DETENT_PTQ_ORACLE names the folder with those files: fmnist_dw.params.safetensors,
 * fmnist_dw.clean.safetensors and data.fmnist.safetensors. The layouts there are HWIO, and for depthwise filters
 * kh,kw,channel,multiplier.
 */
#include <math.h>
#include <stdio.h>

#include "../support/tiny_run.h"
#include "../../core/conv_params.h"
#include "../../formats/safetensors.h"
#include "../../models/build.h"
#include "../../quant/calibrate.h"
#include "../../quant/fold.h"

enum { SIDE = 28, IMAGES = 100, CLASSES = 10 };

static dt_safetensors *open_file(const char *name)
{
    char path[4096];
    dt_safetensors *f;
    snprintf(path, sizeof path, "%s/%s", getenv("DETENT_PTQ_ORACLE"), name);
    MUST(dt_safetensors_open(path, &f));
    return f;
}

/* The caller frees it. */
static float *read_floats(const dt_safetensors *f, const char *name, int64_t count)
{
    const dt_safetensors_tensor *t = dt_safetensors_find(f, name);
    cr_assert(t != NULL && t->count == count, "%s has %lld values, expected %lld", name,
              (long long)(t != NULL ? t->count : 0), (long long)count);
    float *to = malloc((size_t)count * sizeof *to);
    MUST(dt_safetensors_read_floats(f, t, to));
    return to;
}

/* A layer of the file, and the operator that the converter made of it. */
typedef struct {
    const char *name;
    int op, filters, window, groups;
    dt_conv_params conv;
} layer;

/* SAME padding of a stride of 2 has its odd row and column at the end. */
static const layer layers[] = {
    { "conv0", 0, 8, 3, 1, { { 2, 2 }, { 0, 0, 1, 1 }, { 1, 1 }, 1 } },
    { "dw0", 1, 8, 3, 8, { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 8 } },
    { "pw0", 2, 8, 1, 1, { { 1, 1 }, { 0, 0, 0, 0 }, { 1, 1 }, 1 } },
    { "dw1", 5, 16, 3, 8, { { 2, 2 }, { 1, 1, 1, 1 }, { 1, 1 }, 8 } },
    { "pw1", 6, 24, 1, 1, { { 1, 1 }, { 0, 0, 0, 0 }, { 1, 1 }, 1 } },
};
enum { N_LAYERS = sizeof layers / sizeof layers[0] };

static int conv_bn(dt_builder *b, const layer *l, int x)
{
    static const dt_norm_spec norm = { 1e-3f, 0.1f };
    const dt_shape shape = { 4, { l->filters, l->window, l->window, dt_build_shape(b, x).dim[3] / l->groups } };
    char name[64];
    snprintf(name, sizeof name, "%s.weight", l->name);
    const int in[] = { x, dt_build_param(b, name, &shape, (dt_start){ 0 }) };
    snprintf(name, sizeof name, "%s.bn", l->name);
    return dt_build_batchnorm(b, name, dt_build_node(b, DT_OP_CONV2D, l->name, &l->conv, in, 2), &norm);
}

static int relu(dt_builder *b, const char *name, float most, int x)
{
    const dt_relu_params params = { .most = most };
    return dt_build_node(b, DT_OP_RELU, name, &params, &x, 1);
}

static dt_graph *network(void)
{
    static const dt_shape image = { 4, { 1, SIDE, SIDE, 1 } };
    const dt_pool_params whole = { .window = { 0, 0 } };
    dt_builder b = { .status = DT_OK };
    MUST(dt_graph_create("fmnist_dw", &b.graph));
    MUST(dt_graph_give(b.graph, "image", DT_F32, &image, &b.graph->image));
    const int first = relu(&b, "op0", 6.0f, conv_bn(&b, &layers[0], b.graph->image));
    int x = relu(&b, "op1", 6.0f, conv_bn(&b, &layers[1], first));
    const int sum[] = { conv_bn(&b, &layers[2], x), first };
    x = dt_build_node(&b, DT_OP_ADD, "op3", NULL, sum, 2);
    x = dt_build_pool(&b, DT_OP_AVGPOOL, "op4", x, 2);
    x = relu(&b, "op5", 6.0f, conv_bn(&b, &layers[3], x));
    x = relu(&b, "op6", 0.0f, conv_bn(&b, &layers[4], x));
    x = dt_build_node(&b, DT_OP_AVGPOOL, "op7", &whole, &x, 1);
    x = dt_build_apply(&b, DT_OP_FLATTEN, "flat", x);
    b.graph->scores = dt_build_linear(&b, "fc0", x, CLASSES);
    b.graph->unit_pixels = 1;
    cr_assert(b.status == DT_OK, "%s", dt_last_error());
    return b.graph;
}

static void set_param(dt_graph *g, const char *name, const char *part, float *values)
{
    char full[64];
    snprintf(full, sizeof full, "%s.%s", name, part);
    const int v = dt_graph_find(g, full);
    cr_assert(v >= 0, "no %s", full);
    dt_graph_set_data(g, v, DT_F32, values);
}

/* from: [rows][columns]; the result is [columns][rows], and from is freed. */
static float *transposed(float *from, int64_t rows, int64_t columns)
{
    float *to = malloc((size_t)(rows * columns) * sizeof *to);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) to[c * rows + r] = from[r * columns + c];
    }
    free(from);
    return to;
}

/* HWIO is R,S,C rows of K columns; depthwise, R,S rows of K columns. */
static int64_t row_of(const dt_graph *g, const layer *l)
{
    char name[64];
    snprintf(name, sizeof name, "%s.weight", l->name);
    return dt_count(dt_graph_shape(g, dt_graph_find(g, name))) / l->filters;
}

static void set_layer(dt_graph *g, const dt_safetensors *f, const layer *l)
{
    static const char *const part[4][2] = { { "gamma", "weight" },
                                            { "beta", "bias" },
                                            { "moving_mean", "running_mean" },
                                            { "moving_variance", "running_var" } };
    const int64_t row = row_of(g, l);
    char name[64], norm[64];
    snprintf(name, sizeof name, "keras.%s.%s", l->name, l->groups > 1 ? "depthwise_kernel" : "kernel");
    set_param(g, l->name, "weight", transposed(read_floats(f, name, row * l->filters), row, l->filters));
    snprintf(norm, sizeof norm, "%s.bn", l->name);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "keras.%s_bn.%s", l->name, part[i][0]);
        set_param(g, norm, part[i][1], read_floats(f, name, l->filters));
    }
}

static dt_graph *folded_network(const dt_safetensors *f)
{
    dt_graph *g = network(), *folded;
    dt_fold_report report;
    for (int i = 0; i < N_LAYERS; i++) set_layer(g, f, &layers[i]);
    set_param(g, "fc0", "weight", transposed(read_floats(f, "keras.fc0.kernel", 24 * CLASSES), 24, CLASSES));
    set_param(g, "fc0", "bias", read_floats(f, "keras.fc0.bias", CLASSES));
    dt_graph_fold_look(g, &report);
    cr_assert(report.n_folded == N_LAYERS && report.n_stay == 0, "%s", report.stay);
    MUST(dt_graph_fold(g, &folded));
    dt_graph_destroy(g);
    return folded;
}

static void expect_close(const char *why, const dt_graph *g, const char *param, const float *want, int64_t n)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", why, param);
    const float *got = g->value[dt_graph_find(g, name)]->data;
    double most = 0.0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs((double)want[i]));
    for (int64_t i = 0; i < n; i++) {
        /* the converter folds in f32: a few roundings, of the largest value where it subtracts */
        cr_assert(fabs((double)got[i] - (double)want[i]) <= 1e-6 * most, "%s[%lld] is %.9g, expected %.9g", name,
                  (long long)i, (double)got[i], (double)want[i]);
    }
}

static void skip_without_oracle(void)
{
    if (getenv("DETENT_PTQ_ORACLE") == NULL) {
        cr_skip_test("DETENT_PTQ_ORACLE does not name a folder with the files of the converter");
    }
}

Test(calibrate_oracle, folded_layers_are_the_converters)
{
    skip_without_oracle();
    dt_safetensors *f = open_file("fmnist_dw.params.safetensors");
    dt_graph *g = folded_network(f);
    for (int i = 0; i < N_LAYERS; i++) {
        const layer *l = &layers[i];
        const int64_t row = row_of(g, l);
        char name[64];
        snprintf(name, sizeof name, "folded.op%d.weight", l->op);
        float *w = read_floats(f, name, row * l->filters);
        if (l->groups > 1) w = transposed(w, row, l->filters);
        snprintf(name, sizeof name, "folded.op%d.bias", l->op);
        float *b = read_floats(f, name, l->filters);
        expect_close(l->name, g, "weight", w, row * l->filters);
        expect_close(l->name, g, "bias", b, l->filters);
        free(b);
        free(w);
    }
    dt_graph_destroy(g);
    dt_safetensors_close(f);
}

/* The value, and the operator whose scale follows from its range: as 255 steps of a range that holds 0. */
static const struct {
    const char *value;
    int op;
} scales[] = {
    { "op0", 0 }, { "op1", 1 }, { "pw0.biased", 2 }, { "op3", 3 },
    { "op5", 5 }, { "op6", 6 }, { "op7", 7 },        { "fc0", 8 },
};

Test(calibrate_oracle, scales_of_the_ranges_are_those_of_an_independent_model)
{
    skip_without_oracle();
    dt_safetensors *params = open_file("fmnist_dw.params.safetensors"),
                   *clean = open_file("fmnist_dw.clean.safetensors");
    dt_safetensors *data = open_file("data.fmnist.safetensors");
    static uint8_t pixels[IMAGES * SIDE * SIDE];
    dt_options o;
    dt_context *ctx;
    dt_model *m;
    dt_options_default(&o);
    o.backend = "cpu";
    o.precision = DT_PRECISION_F32;
    MUST(dt_context_create(&o, &ctx));
    MUST(dt_model_open(ctx, folded_network(params), &m));
    const dt_safetensors_tensor *t = dt_safetensors_find(data, "calibration");
    cr_assert(t != NULL && t->end - t->begin == sizeof pixels);
    MUST(dt_safetensors_read(data, t, pixels));

    dt_range *range = calloc((size_t)m->graph->n_values, sizeof *range);
    MUST(dt_calibrate(m, &(dt_calibration){ .pixels = pixels, .n = IMAGES }, range));
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
        char name[64];
        snprintf(name, sizeof name, "op%d.out_scale", scales[i].op);
        float *want = read_floats(clean, name, 1);
        const dt_range r = range[dt_graph_find(m->graph, scales[i].value)];
        const double scale = ((double)fmaxf(r.max, 0.0f) - (double)fminf(r.min, 0.0f)) / 255.0;
        /* f32 sums in another order */
        cr_assert(fabs(scale - (double)want[0]) <= 1e-6 * (double)want[0],
                  "%s: %g..%g has the scale %.9g, expected %.9g", scales[i].value, (double)r.min, (double)r.max, scale,
                  (double)want[0]);
        free(want);
    }
    cr_assert(range[m->graph->image].min == 0.0f && range[m->graph->image].max == 1.0f);
    free(range);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
    dt_safetensors_close(data);
    dt_safetensors_close(clean);
    dt_safetensors_close(params);
}
