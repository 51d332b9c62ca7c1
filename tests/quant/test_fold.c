/*
 * test_fold.c - batch norm folded into convolutions and linear layers: the numbers against this file's own double
 * formulas, the scores against those of the network as it was, and what is not folded.
 */
#include <math.h>
#include <stdio.h>

#include "../support/draws.h"
#include "../support/tiny_run.h"
#include "../../core/conv_params.h"
#include "../../models/build.h"
#include "../../quant/fold.h"
#include "detent/predict.h"

enum { HEIGHT = 7, WIDTH = 9, CHANNELS = 3, IMAGES = 33, CLASSES = 5 };

static const dt_norm_spec norm = { 1e-3f, 0.1f };

static int grouped_conv(dt_builder *b, const char *name, int x, int filters, int groups)
{
    const int64_t channels = dt_build_shape(b, x).dim[3];
    const dt_shape shape = { 4, { filters, 3, 3, channels / groups } };
    dt_conv_params params = dt_conv_square(2, 1);
    char weight[64];
    params.groups = groups;
    snprintf(weight, sizeof weight, "%s.weight", name);
    const int in[] = { x, dt_build_param(b, weight, &shape, (dt_start){ .bound = 0.5f }) };
    return dt_build_node(b, DT_OP_CONV2D, name, &params, in, 2);
}

static int bare_linear(dt_builder *b, const char *name, int x, int n_out)
{
    const dt_shape shape = { 2, { n_out, dt_build_shape(b, x).dim[1] } };
    char weight[64];
    snprintf(weight, sizeof weight, "%s.weight", name);
    const int in[] = { x, dt_build_param(b, weight, &shape, (dt_start){ .bound = 0.3f }) };
    return dt_build_node(b, DT_OP_LINEAR, name, NULL, in, 2);
}

static int add(dt_builder *b, const char *name, int x, int y)
{
    const int in[] = { x, y };
    return dt_build_node(b, DT_OP_ADD, name, NULL, in, 2);
}

/* What is folded: stem, group, hidden, free and both. What stays: the norms behind an add, of a conv with two readers,
 * and behind a relu. */
static dt_graph *network(void)
{
    static const dt_shape image = { 4, { 1, HEIGHT, WIDTH, CHANNELS } };
    const dt_conv_spec odd = { .filters = 6, .kernel = 3, .stride = 1, .pad = 1 };
    const dt_conv_spec point = { .filters = 9, .kernel = 1, .stride = 1 };
    dt_builder b = { .status = DT_OK };
    MUST(dt_graph_create("folds", &b.graph));
    MUST(dt_graph_give(b.graph, "image", DT_F32, &image, &b.graph->image));

    int x = dt_build_conv(&b, "stem", b.graph->image, &odd);
    x = dt_build_apply(&b, DT_OP_RELU, "stem.relu", dt_build_batchnorm(&b, "stem.bn", x, NULL));
    x = dt_build_bias(&b, "group", grouped_conv(&b, "group", x, 9, 3), (dt_start){ .bound = 1.0f });
    x = dt_build_apply(&b, DT_OP_RELU, "group.relu", dt_build_batchnorm(&b, "group.bn", x, &norm));
    const int fork = dt_build_conv(&b, "fork", x, &point);
    x = add(&b, "sum", fork, dt_build_batchnorm(&b, "fork.bn", fork, NULL));
    x = dt_build_apply(&b, DT_OP_RELU, "sum.relu", dt_build_batchnorm(&b, "sum.bn", x, NULL));
    x = dt_build_batchnorm(&b, "relu.bn", x, NULL);
    x = dt_build_apply(&b, DT_OP_FLATTEN, "flat", x);
    x = dt_build_batchnorm(&b, "hidden.bn", dt_build_linear(&b, "hidden", x, 11), NULL);
    x = dt_build_apply(&b, DT_OP_RELU, "hidden.relu", x);
    x = dt_build_batchnorm(&b, "free.bn", bare_linear(&b, "free", x, 7), &norm);
    x = dt_build_bias(&b, "behind", dt_build_linear(&b, "both", x, 13), (dt_start){ .bound = 1.0f });
    x = dt_build_batchnorm(&b, "both.bn", x, NULL);
    b.graph->scores = dt_build_classifier(&b, "scores", x, CLASSES);
    cr_assert(b.status == DT_OK, "%s", dt_last_error());
    return b.graph;
}

/* Every parameter random; variances in 0.1 .. 2.1, a gamma of either sign. */
static void draw_params(dt_model *m, uint64_t seed)
{
    draws d = { .seed = seed };
    for (int p = 0; p < m->n_params; p++) {
        const int is_var = strstr(m->param[p]->name, "running_var") != NULL;
        const int64_t n = dt_count(&m->param[p]->tensor.shape);
        float *v = malloc((size_t)n * sizeof *v);
        for (int64_t i = 0; i < n; i++) v[i] = (float)(is_var ? 0.1 + 2.0 * draw_real(&d) : draw_real(&d) - 0.5);
        MUST(dt_model_write(m, p, v));
        free(v);
    }
}

static dt_context *open_context(void)
{
    dt_options o;
    dt_context *ctx;
    dt_options_default(&o);
    o.backend = "cpu";
    o.precision = DT_PRECISION_F32;
    MUST(dt_context_create(&o, &ctx));
    return ctx;
}

typedef struct {
    dt_context *ctx;
    dt_model *model;          /* as it was */
    dt_graph *plain, *folded; /* its snapshot, and what the pass makes of that */
} folding;

static folding fold_network(uint64_t seed)
{
    folding f = { .ctx = open_context() };
    MUST(dt_model_open(f.ctx, network(), &f.model));
    draw_params(f.model, seed);
    MUST(dt_model_snapshot(f.model, &f.plain));
    MUST(dt_graph_fold(f.plain, &f.folded));
    return f;
}

static void folding_close(folding *f)
{
    dt_graph_destroy(f->folded);
    dt_graph_destroy(f->plain);
    dt_model_destroy(f->model);
    dt_context_destroy(f->ctx);
}

static const float *data_of(const dt_graph *g, const char *name)
{
    const int i = dt_graph_find(g, name);
    cr_assert(i >= 0, "there is no %s", name);
    cr_assert(g->value[i]->data && g->value[i]->data_type == DT_F32, "%s", name);
    return g->value[i]->data;
}

static double part(const dt_graph *g, const char *name, const char *end, int64_t i)
{
    char full[64];
    snprintf(full, sizeof full, "%s.%s", name, end);
    return (double)data_of(g, full)[i];
}

/* A layer, its batch norm, the parameters that are added before it, and where the new bias is. */
static const struct {
    const char *layer, *norm, *bias[2], *new_bias;
    double epsilon;
    int64_t filters, row;
} layers[] = {
    { "stem", "stem.bn", { NULL }, "stem.bias", (double)1e-5f, 6, 3 * 3 * 3 },
    { "group", "group.bn", { "group.bias" }, "group.bias", (double)1e-3f, 9, 3 * 3 * 2 },
    { "hidden", "hidden.bn", { "hidden.bias" }, "hidden.bias", (double)1e-5f, 11, 9 * 4 * 5 },
    { "free", "free.bn", { NULL }, "free.bias", (double)1e-3f, 7, 11 },
    { "both", "both.bn", { "both.bias", "behind.bias" }, "both.bias", (double)1e-5f, 13, 7 },
};
enum { N_LAYERS = sizeof layers / sizeof layers[0] };

Test(fold, weights_and_biases_are_those_of_the_formula)
{
    folding f = fold_network(3);
    for (int l = 0; l < N_LAYERS; l++) {
        for (int64_t k = 0; k < layers[l].filters; k++) {
            const double variance = part(f.plain, layers[l].norm, "running_var", k) + layers[l].epsilon;
            const double inv = part(f.plain, layers[l].norm, "weight", k) / sqrt(variance);
            double b = 0.0;
            for (int j = 0; j < 2 && layers[l].bias[j]; j++) b += (double)data_of(f.plain, layers[l].bias[j])[k];
            b = inv * (b - part(f.plain, layers[l].norm, "running_mean", k)) + part(f.plain, layers[l].norm, "bias", k);
            const float got = data_of(f.folded, layers[l].new_bias)[k];
            cr_assert(got == (float)b, "%s: bias %lld is %.9g, expected %.9g", layers[l].layer, (long long)k,
                      (double)got, b);
            for (int64_t i = k * layers[l].row; i < (k + 1) * layers[l].row; i++) {
                const double want = inv * part(f.plain, layers[l].layer, "weight", i);
                const double w = part(f.folded, layers[l].layer, "weight", i);
                cr_assert(w == (double)(float)want, "%s: weight %lld is %.9g, expected %.9g", layers[l].layer,
                          (long long)i, w, want);
            }
        }
    }
    folding_close(&f);
}

static float *scores_of(dt_model *m, const float *images)
{
    float *scores = malloc((size_t)IMAGES * CLASSES * sizeof *scores);
    MUST(dt_predict(m, &(dt_prediction){ .normalised = images, .n = IMAGES, .batch = 7 }, scores));
    return scores;
}

Test(fold, scores_stay)
{
    enum { VALUES = IMAGES * HEIGHT * WIDTH * CHANNELS };
    static float images[VALUES];
    for (uint64_t seed = 1; seed <= 5; seed++) {
        folding f = fold_network(seed);
        draws d = { .seed = 100 + seed };
        dt_model *plain, *folded;
        double most = 0.0;
        for (int i = 0; i < VALUES; i++) images[i] = (float)(4.0 * draw_real(&d) - 2.0);
        MUST(dt_model_open(f.ctx, f.plain, &plain));
        MUST(dt_model_open(f.ctx, f.folded, &folded));
        float *was = scores_of(f.model, images), *copy = scores_of(plain, images), *is = scores_of(folded, images);
        for (int i = 0; i < IMAGES * CLASSES; i++) {
            cr_assert(copy[i] == was[i], "score %d of the snapshot is %.9g, expected %.9g", i, (double)copy[i],
                      (double)was[i]);
            cr_assert(fabsf(is[i] - was[i]) <= 1e-5f, "score %d is %.9g, expected %.9g", i, (double)is[i],
                      (double)was[i]);
            most = fmax(most, fabs((double)was[i]));
        }
        cr_assert(most > 0.1, "the scores are at most %g", most);
        free(was);
        free(copy);
        free(is);
        dt_model_destroy(folded);
        dt_model_destroy(plain);
        f.plain = f.folded = NULL; /* the models have them */
        folding_close(&f);
    }
}

static int count_of(const dt_graph *g, dt_op_kind kind)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++) n += g->node[i].kind == kind;
    return n;
}

Test(fold, what_cannot_be_folded_stays_and_is_named)
{
    static const char *const gone[] = { "stem.bn",      "stem.bn.weight", "group.bn.running_var", "hidden.bn",
                                        "free.bn.bias", "behind.biased",  "behind.bias" };
    static const char *const there[] = { "stem",   "stem.biased",         "group",   "group.biased", "fork", "fork.bn",
                                         "sum.bn", "sum.bn.running_mean", "relu.bn", "hidden",       "free", "both",
                                         "scores" };
    folding f = fold_network(1);
    dt_fold_report report;
    dt_graph_fold_look(f.plain, &report);
    cr_assert(report.n_folded == 5 && report.n_stay == 3, "%d are folded, %d stay", report.n_folded, report.n_stay);
    cr_assert(
        strcmp(report.stay, "fork.bn (not the only reader of conv), sum.bn (behind add), relu.bn (behind relu)") == 0,
        "%s", report.stay);
    cr_assert(count_of(f.folded, DT_OP_BATCHNORM) == 3 && count_of(f.folded, DT_OP_BIAS) == 2);
    for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++) {
        cr_assert(dt_graph_find(f.folded, gone[i]) < 0, "%s is still there", gone[i]);
    }
    for (size_t i = 0; i < sizeof there / sizeof there[0]; i++) {
        cr_assert(dt_graph_find(f.folded, there[i]) >= 0, "%s is gone", there[i]);
    }
    for (int i = 0; i < f.folded->n_values; i++) {
        cr_assert(f.folded->value[i]->source != DT_SOURCE_PARAM || dt_graph_n_readers(f.folded, i) > 0, "%s",
                  dt_graph_name(f.folded, i));
    }
    dt_graph_fold_look(f.folded, &report);
    cr_assert(report.n_folded == 0 && report.n_stay == 3, "folding again would change %d", report.n_folded);
    folding_close(&f);
}

Test(fold, the_value_that_the_network_is_asked_for_stays)
{
    static const dt_shape image = { 4, { 1, 1, 1, CHANNELS } };
    dt_builder b = { .status = DT_OK };
    dt_fold_report report;
    MUST(dt_graph_create("asked", &b.graph));
    MUST(dt_graph_give(b.graph, "image", DT_F32, &image, &b.graph->image));
    const int x = dt_build_linear(&b, "scores", dt_build_apply(&b, DT_OP_FLATTEN, "flat", b.graph->image), CLASSES);
    b.graph->scores = x;
    dt_build_batchnorm(&b, "bn", x, NULL);
    cr_assert(b.status == DT_OK, "%s", dt_last_error());
    dt_graph_fold_look(b.graph, &report);
    cr_assert(report.n_folded == 0 && report.n_stay == 1, "%d are folded", report.n_folded);
    dt_graph_destroy(b.graph);
}

Test(fold, a_network_without_values_is_refused)
{
    dt_graph *g = network(), *const untouched = g;
    dt_graph *out = untouched;
    cr_assert(dt_graph_fold(g, &out) == DT_ERR_ARGUMENT && out == untouched);
    cr_assert(strstr(dt_last_error(), "stem") && strstr(dt_last_error(), "snapshot"), "%s", dt_last_error());
    dt_graph_destroy(g);
}
