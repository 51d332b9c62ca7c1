/*
 * test_lower_exact.c - programs under the profile exact: each code of the program is that of the model's evaluation,
 * of each image, in each layer; thresholds stand where formulas written here step; what has no exact form is refused.
 */
#include "../support/compared_codes.h"
#include "../support/drawn_model.h"

#include "../../core/context.h"
#include "../../quant/program/program.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

enum { SIDE = 16, CHANNELS = 3, IMAGE = SIDE * SIDE * CHANNELS, N_IMAGES = COMPARED_IMAGES };

/* Strides, a depthwise layer, ReLU6, an add of two scales with a ReLU, one of a single scale, a concat, averages, a
 * ReLU of codes, a linear layer. */
static const char mixed[] =
    "{ \"format\": \"detent-network\", \"name\": \"mixed\", \"image\": [16, 16, 3], \"classes\": 10, \"nodes\": ["
    "[\"stem\", \"conv\", \"image\", { \"filters\": 6, \"window\": 3, \"pad\": 1 }],"
    "[\"stem.bn\", \"batchnorm\", \"stem\"],"
    "[\"stem.act\", \"relu\", \"stem.bn\", { \"most\": 6 }],"
    "[\"deep\", \"conv\", \"stem.act\", { \"filters\": 6, \"window\": 3, \"pad\": 1, \"stride\": 2, \"groups\": 6 }],"
    "[\"deep.bn\", \"batchnorm\", \"deep\"],"
    "[\"deep.act\", \"relu\", \"deep.bn\", { \"most\": 6 }],"
    "[\"a\", \"conv\", \"deep.act\", { \"filters\": 6, \"window\": 1 }],"
    "[\"a.bn\", \"batchnorm\", \"a\"],"
    "[\"join\", \"add\", [\"a.bn\", \"deep.act\"]],"
    "[\"join.act\", \"relu\", \"join\"],"
    "[\"twice\", \"add\", [\"join.act\", \"join.act\"]],"
    "[\"b\", \"conv\", \"twice\", { \"filters\": 5, \"window\": [1, 3], \"pad\": [0, 1, 0, 1] }],"
    "[\"b.act\", \"clip\", \"b\", { \"low\": -0.5, \"high\": 0.75 }],"
    "[\"all\", \"concat\", [\"b.act\", \"twice\"]],"
    "[\"large\", \"maxpool\", \"all\", { \"window\": 2 }],"
    "[\"large.act\", \"relu\", \"large\"],"
    "[\"half\", \"avgpool\", \"large.act\", { \"window\": 2, \"stride\": 1 }],"
    "[\"mean\", \"avgpool\", \"half\"],"
    "[\"flat\", \"flatten\", \"mean\"],"
    "[\"classifier\", \"linear\", \"flat\", { \"features\": 10 }] ] }";

/* An average whose padded cells count, which engines have not. */
static const char padded[] =
    "{ \"format\": \"detent-network\", \"name\": \"padded\", \"image\": [16, 16, 3], \"classes\": 10, \"nodes\": ["
    "[\"stem\", \"conv\", \"image\", { \"filters\": 6, \"window\": 3, \"stride\": 2 }],"
    "[\"near\", \"avgpool\", \"stem\", { \"window\": 3, \"stride\": 1, \"pad\": 1, \"count_include_pad\": 1 }],"
    "[\"flat\", \"flatten\", \"near\"],"
    "[\"classifier\", \"linear\", \"flat\", { \"features\": 10 }] ] }";

/* Probabilities at the end, and others within, which a concat gives another range. */
static const char probable[] =
    "{ \"format\": \"detent-network\", \"name\": \"probable\", \"image\": [16, 16, 3], \"classes\": 10, \"nodes\": ["
    "[\"stem\", \"conv\", \"image\", { \"filters\": 6, \"window\": 5, \"stride\": 2 }],"
    "[\"stem.bn\", \"batchnorm\", \"stem\"],"
    "[\"shares\", \"softmax\", \"stem.bn\"],"
    "[\"gate\", \"sigmoid\", \"stem.bn\"],"
    "[\"gated\", \"mul\", [\"stem.bn\", \"gate\"]],"
    "[\"gated.act\", \"clip\", \"gated\", { \"low\": -0.25, \"high\": 1.5 }],"
    "[\"all\", \"concat\", [\"shares\", \"gated.act\"]],"
    "[\"flat\", \"flatten\", \"all\"],"
    "[\"classifier\", \"linear\", \"flat\", { \"features\": 10 }],"
    "[\"probability\", \"softmax\", \"classifier\"] ] }";

static dt_context *context(const char *backend)
{
    dt_options opt;
    dt_context *ctx = NULL;

    dt_options_default(&opt);
    opt.backend = backend;
    return dt_context_create(&opt, &ctx) == DT_OK ? ctx : NULL;
}

static const dt_quantization plainly = { 0 };

/* ---- every code ---- */

/* The arithmetic of an engine is another, and the comparison must see it. */
static void must_differ(dt_context *ctx, dt_model *q, const float *images)
{
    dt_program *p;

    MUST(dt_program_lower(q, NULL, &p));
    const comparison c = compare_all(ctx, q, p, images);
    cr_assert(c.n_differ > 0);
    dt_program_destroy(p);
}

/* The graph is taken over. has_engine: engines have a form of the network, too. */
static void must_be_equal(const char *backend, dt_graph *g, const dt_quantization *how, int size, int n_quantizers,
                          int has_engine)
{
    dt_context *ctx = context(backend);
    float *images = drawn_images(N_IMAGES, size);
    dt_program *p;

    if (!ctx) cr_skip("no %s here: %s", backend, dt_last_error());
    dt_model *q = drawn_model(ctx, g, how, size);
    MUST(dt_program_lower_under(q, NULL, DT_PROFILE_EXACT, &p));
    cr_assert_eq(dt_program_profile(p), DT_PROFILE_EXACT);
    const comparison c = compare_all(ctx, q, p, images);
    cr_assert_eq(c.n_values, n_quantizers, "%d values have codes", c.n_values);
    cr_assert_eq(c.n_compared, n_quantizers, "%d of them are the program's, too", c.n_compared);
    cr_assert_eq(c.n_differ, 0, "%lld of %lld codes differ, the first is of %s", (long long)c.n_differ,
                 (long long)c.n_codes, c.first);
    dt_program_destroy(p);
    if (has_engine) must_differ(ctx, q, images);
    dt_model_destroy(q);
    free(images);
    dt_context_destroy(ctx);
}

Test(lower_exact, every_code_is_evaluations)
{
    must_be_equal("cpu", graph_of(mixed), &plainly, IMAGE, 10, 1);
    must_be_equal("cpu", graph_of(probable), &plainly, IMAGE, 8, 1);
    must_be_equal("cpu", graph_of(residual), &plainly, IMAGE, 10, 1);
    must_be_equal("cpu", graph_of(padded), &plainly, IMAGE, 4, 0);
}

Test(lower_exact, every_code_is_evaluations_on_cuda)
{
    must_be_equal("cuda", graph_of(mixed), &plainly, IMAGE, 10, 1);
    must_be_equal("cuda", graph_of(residual), &plainly, IMAGE, 10, 1);
}

/* Fewer bits, and a scale for a layer's weights. */
Test(lower_exact, other_bits)
{
    const dt_quantization narrow = { .wbits = 4, .abits = 5, .per_layer = 1 };

    must_be_equal("cpu", graph_of(mixed), &narrow, IMAGE, 10, 1);
}

Test(lower_exact, resnet8)
{
    dt_graph *g;

    MUST(dt_graph_load(DETENT_TEST_GOLDEN "/../../models/resnet8.json", &g));
    const int64_t *image = dt_graph_shape(g, g->image)->dim;
    must_be_equal("cpu", g, &plainly, (int)(image[1] * image[2] * image[3]), 15, 1);
}

static const void *data_of(const dt_program *p, const char *node, const char *part)
{
    char name[DT_NAME_MAX + 32];

    snprintf(name, sizeof name, "%s%s", node, part);
    const int value = dt_graph_find(p->graph, name);
    cr_assert(value >= 0, "no %s", name);
    return p->graph->value[value]->data;
}

/* ---- networks trained with affine quantizers, whose batch norms are their own ---- */

/* Ranges as training may leave them, and weights whose scale is their own. */
static void set_ranges(dt_model *m)
{
    for (int i = 0; i < m->n_params; i++) {
        const char *name = m->param[i]->name;
        const int64_t n = dt_count(&m->param[i]->tensor.shape);
        const int is_range = strstr(name, ".range") != NULL;
        if (!is_range && !strstr(name, ".weight_least")) continue;
        float *v = calloc((size_t)n, sizeof *v);
        if (is_range) v[0] = -1.0f + 0.3f * drawn_number((uint32_t)i);
        if (is_range) v[1] = 2.0f + drawn_number((uint32_t)(i + 500));
        MUST(dt_model_write(m, i, v));
        free(v);
    }
}

/* Gammas of both signs: codes that fall as the psum grows. */
Test(lower_exact, batch_norms_are_in_the_thresholds)
{
    dt_context *ctx = context("cpu");
    float *images = drawn_images(N_IMAGES, IMAGE);
    dt_program *p, *none = NULL;
    dt_model *m;

    MUST(dt_model_open(ctx, quantized(residual, &w8a8), &m));
    draw_parameters(m);
    set_ranges(m);
    MUST(dt_program_lower_under(m, NULL, DT_PROFILE_EXACT, &p));
    const comparison c = compare_all(ctx, m, p, images);
    cr_assert_eq(c.n_compared, 10, "%d values are compared", c.n_compared);
    cr_assert_eq(c.n_differ, 0, "%lld of %lld codes differ, the first is of %s", (long long)c.n_differ,
                 (long long)c.n_codes, c.first);
    const int8_t *sign = data_of(p, "a.act", ".sign");
    int n_turned = 0;
    for (int k = 0; k < 8; k++) n_turned += sign[k] < 0;
    cr_assert(n_turned > 0 && n_turned < 8, "%d of 8 channels fall", n_turned);
    cr_assert_eq(dt_program_lower(m, NULL, &none), DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "the profile exact has it in its thresholds") && !none, "%s", dt_last_error());
    free(images);
    dt_program_destroy(p);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

/* ---- sums that f32 rounds ---- */

static const char large[] =
    "{ \"format\": \"detent-network\", \"name\": \"large\", \"image\": [16, 16, 8], \"classes\": 10, \"nodes\": ["
    "[\"flat\", \"flatten\", \"image\"],"
    "[\"classifier\", \"linear\", \"flat\", { \"features\": 10 }] ] }";

enum { LARGE = 16 * 16 * 8 };

static dt_status find_largest(void *user, const dt_value_batch *v)
{
    float *largest = user;

    for (int64_t i = 0; strcmp(v->name, "classifier") == 0 && i < v->dim[0] * v->dim[1]; i++)
        *largest = fmaxf(*largest, fabsf(v->values[i]));
    return DT_OK;
}

/* 2,048 products of positive codes. Evaluation has their sum rounded to f32, the reference has it whole. */
Test(lower_exact, sums_above_24_bits)
{
    dt_context *ctx = context("cpu");
    float *images = drawn_images(N_IMAGES, LARGE), weight[10 * LARGE], scores[N_IMAGES * 10], one[10], largest = 0.0f;
    const dt_quantization how = { .normalised = images, .n = N_IMAGES };
    const dt_prediction what = { .normalised = images, .n = N_IMAGES, .look = find_largest, .user = &largest };
    dt_model *m, *q;
    dt_program *p;

    for (int i = 0; i < N_IMAGES * LARGE; i++) images[i] = fabsf(images[i]) + 1.0f + 0.01f * (float)(i / LARGE);
    for (int i = 0; i < 10 * LARGE; i++) weight[i] = 1.0f + 0.2f * drawn_number((uint32_t)i);
    MUST(dt_model_open(ctx, graph_of(large), &m));
    draw_parameters(m);
    MUST(dt_model_write(m, dt_model_find(m, "classifier.weight"), weight));
    MUST(dt_quantize(m, &how, &q));
    MUST(dt_program_lower_under(q, NULL, DT_PROFILE_EXACT, &p));
    const comparison c = compare_all(ctx, q, p, images);
    cr_assert(c.n_compared == 2 && c.n_differ == 0, "%lld of %lld differ", (long long)c.n_differ, (long long)c.n_codes);
    MUST(dt_predict(q, &what, scores));
    cr_assert(largest > 16777216.0f, "the largest sum is %g", (double)largest);
    for (int k = 0; k < N_IMAGES; k++) {
        MUST(dt_program_run_reals(p, images + k * LARGE, one));
        cr_assert_arr_eq(one, scores + k * 10, sizeof one, "image %d", k);
    }
    free(images);
    dt_program_destroy(p);
    dt_model_destroy(q);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

/* ---- thresholds ---- */

/* What evaluation makes of a psum, operation by operation, each rounded to f32. */
typedef struct {
    float slope, offset, low, high, scale;
    int first, last; /* codes */
} line;

static int code_of(const line *l, int64_t psum)
{
    volatile float product = l->slope * (float)psum;
    volatile float y = product + l->offset;

    if (y < l->low) y = l->low;
    if (y > l->high) y = l->high;
    const float steps = nearbyintf(y / l->scale);
    return steps < (float)l->first ? l->first : steps > (float)l->last ? l->last : (int)steps;
}

/* Every threshold of a layer's codes; low and high are its ReLU's or clip's. */
static void check_steps(const dt_program *p, const char *layer, const char *codes, float low, float high)
{
    char node[DT_NAME_MAX + 32];
    snprintf(node, sizeof node, "%s.act_quant", codes);
    const dt_value y = dt_program_value(p, dt_graph_find(p->graph, node));
    const dt_value psum = dt_program_value(p, dt_graph_find(p->graph, layer));
    const int32_t *step = data_of(p, codes, ".threshold");
    const float *slope = data_of(p, node, DT_LINE_SLOPE), *offset = data_of(p, node, DT_LINE_OFFSET);
    int n_within = 0;

    for (int c = 0; c < y.channels; c++) {
        const line l = { slope[c], offset[c], low, high, dt_program_scale(p, dt_graph_find(p->graph, node)),
                         y.low,    y.high };
        for (int k = 0; k < y.high - y.low; k++) {
            const int64_t t = step[k * y.channels + c];
            if (t == INT32_MIN || t == INT32_MAX) {
                cr_assert_eq(t == INT32_MIN, code_of(&l, psum.low) > y.low + k, "%s: %d of channel %d", node, k, c);
                cr_assert_eq(t == INT32_MAX, code_of(&l, psum.high) <= y.low + k, "%s: %d of channel %d", node, k, c);
                continue;
            }
            cr_assert(code_of(&l, t - 1) <= y.low + k && code_of(&l, t) > y.low + k,
                      "%s: threshold %d of channel %d is %lld", node, k, c, (long long)t);
            n_within++;
        }
    }
    cr_assert(n_within > 0, "%s", node);
}

Test(lower_exact, thresholds_stand_where_codes_step)
{
    dt_context *ctx = context("cpu");
    dt_model *q = drawn_model(ctx, graph_of(mixed), &plainly, IMAGE);
    dt_program *p;

    MUST(dt_program_lower_under(q, NULL, DT_PROFILE_EXACT, &p));
    check_steps(p, "stem", "stem.act", 0.0f, 6.0f);
    check_steps(p, "deep", "deep.act", 0.0f, 6.0f);
    check_steps(p, "b", "b.act", -0.5f, 0.75f);
    check_steps(p, "classifier", "classifier", -INFINITY, INFINITY);
    dt_program_destroy(p);
    dt_model_destroy(q);
    dt_context_destroy(ctx);
}

/* The thresholds of one channel are each that of the next code. */
Test(lower_exact, a_wrong_threshold_is_found)
{
    dt_context *ctx = context("cpu");
    dt_model *q = drawn_model(ctx, graph_of(mixed), &plainly, IMAGE);
    float *images = drawn_images(N_IMAGES, IMAGE);
    dt_program *p;

    MUST(dt_program_lower_under(q, NULL, DT_PROFILE_EXACT, &p));
    const dt_value y = dt_program_value(p, dt_graph_find(p->graph, "deep.act.act_quant"));
    int32_t *step = p->graph->value[dt_graph_find(p->graph, "deep.act.threshold")]->data;
    for (int k = 0; k < y.high - y.low - 1; k++) step[k * y.channels + 2] = step[(k + 1) * y.channels + 2];
    MUST(dt_program_check(p));
    const comparison c = compare_all(ctx, q, p, images);
    cr_assert(c.n_differ > 0);
    cr_assert_str_eq(c.first, "deep.act.act_quant");
    free(images);
    dt_program_destroy(p);
    dt_model_destroy(q);
    dt_context_destroy(ctx);
}

/* ---- the reference, files ---- */

Test(lower_exact, the_reference_and_a_file_agree)
{
    dt_graph *g[] = { graph_of(mixed), graph_of(probable) };

    for (int i = 0; i < 2; i++) {
        char path[] = "/tmp/detent_exact_XXXXXX";
        dt_context *ctx = context("cpu");
        dt_model *q = drawn_model(ctx, g[i], &plainly, IMAGE);
        float *images = drawn_images(N_IMAGES, IMAGE), scores[N_IMAGES * 10], one[10];
        const dt_prediction what = { .normalised = images, .n = N_IMAGES };
        dt_program *p, *loaded;

        MUST(dt_program_lower_under(q, NULL, DT_PROFILE_EXACT, &p));
        cr_assert(mkstemp(path) >= 0);
        MUST(dt_program_save(p, path));
        MUST(dt_program_load(path, &loaded));
        cr_assert_eq(dt_program_profile(loaded), DT_PROFILE_EXACT);
        MUST(dt_predict(q, &what, scores));
        for (int k = 0; k < N_IMAGES; k++) {
            MUST(dt_program_run_reals(loaded, images + k * IMAGE, one));
            cr_assert_arr_eq(one, scores + k * 10, sizeof one, "%s, image %d", p->graph->name, k);
        }
        remove(path);
        free(images);
        dt_program_destroy(loaded);
        dt_program_destroy(p);
        dt_model_destroy(q);
        dt_context_destroy(ctx);
    }
}

/* An engine stores code + zero point, which follows from the range of the thresholds. */
Test(lower_exact, zero_points_are_those_of_engines)
{
    static const char *const values[] = { "stem.act.act_quant", "join.act.act_quant", "mean.act_quant",
                                          "b.act.act_quant", "classifier.act_quant" };
    dt_context *ctx = context("cpu");
    dt_model *q = drawn_model(ctx, graph_of(mixed), &plainly, IMAGE);
    dt_program *exact, *engine;

    MUST(dt_program_lower_under(q, NULL, DT_PROFILE_EXACT, &exact));
    MUST(dt_program_lower(q, NULL, &engine));
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        const int a = dt_graph_find(exact->graph, values[i]), b = dt_graph_find(engine->graph, values[i]);
        cr_assert(a >= 0 && b >= 0, "%s", values[i]);
        cr_assert(dt_codes_are_stored(exact->graph, a), "%s", values[i]);
        cr_assert_eq(dt_codes_zero(exact->graph, a), dt_codes_zero(engine->graph, b), "%s", values[i]);
    }
    dt_program_destroy(exact);
    dt_program_destroy(engine);
    dt_model_destroy(q);
    dt_context_destroy(ctx);
}

/* ---- what is refused ---- */

static void refused(dt_graph *g, const dt_quantization *how, const char *why)
{
    dt_context *ctx = context("cpu");
    dt_model *q = drawn_model(ctx, g, how, IMAGE);
    dt_program *p = NULL;

    cr_assert_eq(dt_program_lower_under(q, NULL, DT_PROFILE_EXACT, &p), DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), why) && !p, "%s", dt_last_error());
    dt_model_destroy(q);
    dt_context_destroy(ctx);
}

Test(lower_exact, what_evaluation_takes_of_reals_is_refused)
{
    static const char of_reals[] = "{ \"format\": \"detent-network\", \"name\": \"of_reals\", \"image\": [16, 16, 3], "
                                   "\"classes\": 10, \"nodes\": ["
                                   "[\"stem\", \"conv\", \"image\", { \"filters\": 6, \"window\": 3, \"stride\": 2 }],"
                                   "[\"near\", \"avgpool\", \"stem\", { \"window\": 3, \"stride\": 1, \"pad\": 1 }],"
                                   "[\"flat\", \"flatten\", \"near\"],"
                                   "[\"classifier\", \"linear\", \"flat\", { \"features\": 10 }] ] }";
    const dt_quantization wide = { .abits = 9 };

    refused(graph_of(of_reals), &plainly, "near: an average whose windows have several divisors");
    refused(graph_of(mixed), &wide, "codes of 9 bits; the profile exact has a threshold between each two codes");
}

Test(lower_exact, its_nodes_have_no_other_profile)
{
    dt_context *ctx = context("cpu");
    dt_model *q = drawn_model(ctx, graph_of(mixed), &plainly, IMAGE);
    dt_program *p;

    MUST(dt_program_lower_under(q, NULL, DT_PROFILE_EXACT, &p));
    MUST(dt_program_use_profile(p, DT_PROFILE_EXACT));
    cr_assert_eq(dt_program_use_profile(p, DT_PROFILE_ONNX), DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "computes under exact, and its nodes have no form under onnx"));
    dt_program_destroy(p);
    MUST(dt_program_lower_under(q, NULL, DT_PROFILE_FP32_RNE, &p));
    cr_assert_eq(dt_program_profile(p), DT_PROFILE_FP32_RNE);
    cr_assert_eq(dt_program_use_profile(p, DT_PROFILE_EXACT), DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "make the program of the checkpoint once more, under exact"));
    dt_program_destroy(p);
    dt_model_destroy(q);
    dt_context_destroy(ctx);
}

/* Programs of thresholds throughout are exact already. */
Test(lower_exact, a_model_that_was_trained_on_its_grid)
{
    const tiny_options o = tiny_defaults();
    dt_program *p = NULL;
    tiny_run run;

    MUST(tiny_open(&run, &o) ? DT_OK : DT_ERR_DEVICE);
    MUST(dt_program_lower_under(run.model, run.data, DT_PROFILE_EXACT, &p));
    cr_assert_eq(dt_program_profile(p), -1);
    dt_program_destroy(p);
    p = NULL;
    cr_assert_eq(dt_program_lower_under(run.model, run.data, DT_PROFILE_ONNX, &p), DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "no node that computes under a profile") && !p, "%s", dt_last_error());
    tiny_close(&run);
}
