/*
 * test_program_codes.c - programs that compute under a profile: the reference and the tape agree in every code, on
 * every device; files keep them; what does not fit is refused.
 */
#include "../support/engine_program.h"

#include "../../core/context.h"
#include "../../core/train/model.h"

#include <unistd.h>

enum { IMAGES = 37, IMAGE = ENGINE_HEIGHT * ENGINE_WIDTH * ENGINE_CHANNELS };

static dt_context *context(const char *backend)
{
    dt_options opt;
    dt_context *ctx = NULL;

    dt_options_default(&opt);
    opt.backend = backend;
    return dt_context_create(&opt, &ctx) == DT_OK ? ctx : NULL;
}

/* Every value of the tape, batch by batch, against the reference's of each image. */
typedef struct {
    const dt_program *program;
    const float *images;
    int64_t n_compared;
    int n_nodes;
} comparison;

typedef struct {
    const dt_value_batch *batch;
    int64_t image; /* in the batch */
    comparison *c;
} one_image;

static void compare_node(void *user, const dt_program *p, const dt_graph_node *n, const void *values)
{
    const one_image *one = user;
    const dt_value v = dt_program_value(p, n->out);
    const int64_t count = dt_value_count(&v);
    const float *is = one->batch->values + one->image * count;

    if (strcmp(dt_graph_name(p->graph, n->out), one->batch->name) != 0) return;
    for (int64_t i = 0; i < count; i++) {
        const float wanted = v.kind == DT_VALUE_REAL ? ((const float *)values)[i] : (float)((const int32_t *)values)[i];
        cr_assert(is[i] == wanted, "%s[%lld] is %.9g, the reference has %.9g", one->batch->name, (long long)i,
                  (double)is[i], (double)wanted);
    }
    one->c->n_compared += count;
}

static dt_status look(void *user, const dt_value_batch *v)
{
    comparison *c = user;
    float scores[ENGINE_CLASSES];

    for (int64_t i = 0; i < v->dim[0]; i++) {
        one_image one = { v, i, c };
        engine_must(dt_program_trace(c->program, (dt_program_input){ .reals = c->images + (v->first + i) * IMAGE },
                                     compare_node, &one, scores));
    }
    c->n_nodes++;
    return DT_OK;
}

static void check(const char *backend, dt_profile profile, dt_image_cast cast)
{
    dt_context *ctx = context(backend);
    dt_program *p = engine_program(profile);
    float *images = engine_images(IMAGES), scores[IMAGES * ENGINE_CLASSES];
    comparison c = { .program = p, .images = images };
    const dt_prediction what = { .normalised = images, .n = IMAGES, .batch = 8, .look = look, .user = &c };
    dt_model *m;

    if (!ctx) cr_skip("no %s here: %s", backend, dt_last_error());
    engine_must(dt_program_use_cast(p, cast));
    engine_must(dt_program_check(p));
    engine_must(dt_program_model(ctx, p, NULL, &m));
    engine_must(dt_predict(m, &what, scores));
    cr_assert(c.n_compared > 0 && c.n_nodes >= 5 * 17, "%d values looked at", c.n_nodes);
    free(images);
    dt_model_destroy(m);
    dt_program_destroy(p);
    dt_context_destroy(ctx);
}

Test(program_codes, tape_and_reference_agree_on_the_cpu)
{
    for (int profile = 0; profile <= DT_PROFILE_ONNX; profile++) check("cpu", (dt_profile)profile, DT_CAST_ROUND);
}

Test(program_codes, tape_and_reference_agree_on_cuda)
{
    for (int profile = 0; profile <= DT_PROFILE_ONNX; profile++) check("cuda", (dt_profile)profile, DT_CAST_ROUND);
}

Test(program_codes, casts_are_the_same_everywhere)
{
    check("cpu", DT_PROFILE_LITERT_REF, DT_CAST_TRUNCATE_I8);
    check("cpu", DT_PROFILE_ONNX, DT_CAST_TRUNCATE_U8);
}

Test(program_codes, casts_are_the_same_on_cuda)
{
    check("cuda", DT_PROFILE_LITERT_REF, DT_CAST_TRUNCATE_I8);
    check("cuda", DT_PROFILE_ONNX, DT_CAST_TRUNCATE_U8);
}

/* The profiles are not one arithmetic: of the scores of some image, one differs between any two. */
Test(program_codes, profiles_differ)
{
    enum { MANY = 1500, N = DT_PROFILE_ONNX + 1 };
    float *images = engine_images(MANY), scores[N][ENGINE_CLASSES];
    int differ[N][N] = { { 0 } };
    dt_program *p[N];

    for (int a = 0; a < N; a++) p[a] = engine_program((dt_profile)a);
    for (int i = 0; i < MANY; i++) {
        for (int a = 0; a < N; a++) {
            engine_must(dt_program_run_reals(p[a], images + i * IMAGE, scores[a]));
            for (int b = 0; b < a; b++) differ[a][b] += memcmp(scores[a], scores[b], sizeof scores[a]) != 0;
        }
    }
    for (int a = 0; a < N; a++) {
        for (int b = 0; b < a; b++) cr_assert(differ[a][b] > 0, "%s and %s", dt_profile_names[a], dt_profile_names[b]);
        dt_program_destroy(p[a]);
    }
    free(images);
}

Test(program_codes, files_keep_them)
{
    char path[] = "/tmp/detent_engine_XXXXXX";
    dt_program *p = engine_program(DT_PROFILE_FP32_RNE), *q;
    float *images = engine_images(1), a[ENGINE_CLASSES], b[ENGINE_CLASSES];
    const int bias = dt_graph_find(p->graph, "first.bias");

    close(mkstemp(path));
    ((int32_t *)p->graph->value[bias]->data)[1] = 1073741825; /* f32 has no such number */
    engine_must(dt_program_use_cast(p, DT_CAST_TRUNCATE_U8));
    engine_must(dt_program_save(p, path));
    engine_must(dt_program_load(path, &q));
    cr_assert_eq(dt_program_cast(q), DT_CAST_TRUNCATE_U8);
    const dt_graph_value *loaded = q->graph->value[dt_graph_find(q->graph, "first.bias")];
    cr_assert_eq(loaded->param.type, DT_I32);
    cr_assert_eq(((const int32_t *)loaded->data)[1], 1073741825);
    engine_must(dt_program_run_reals(p, images, a));
    engine_must(dt_program_run_reals(q, images, b));
    cr_assert_arr_eq(a, b, sizeof a);
    free(images);
    dt_program_destroy(q);
    dt_program_destroy(p);
    unlink(path);
}

/* A bias that f32 does not hold reaches the device whole. */
Test(program_codes, biases_of_31_bits_are_added_exactly)
{
    dt_context *ctx = context("cpu");
    dt_program *p = engine_program(DT_PROFILE_REF_SINGLE);
    float *images = engine_images(IMAGES), scores[IMAGES * ENGINE_CLASSES];
    comparison c = { .program = p, .images = images };
    const dt_prediction what = { .normalised = images, .n = IMAGES, .look = look, .user = &c };
    dt_model *m;

    ((int32_t *)p->graph->value[dt_graph_find(p->graph, "first.bias")]->data)[2] = 1073741825;
    ((float *)p->graph->value[dt_graph_find(p->graph, "first.act_scale")]->data)[0] = 1073741.0f * 0.02f * 0.005f;
    engine_must(dt_program_model(ctx, p, NULL, &m));
    engine_must(dt_predict(m, &what, scores));
    free(images);
    dt_model_destroy(m);
    dt_program_destroy(p);
    dt_context_destroy(ctx);
}

/* ---- what is refused ---- */

static void refused(dt_program *p, const char *why)
{
    const dt_status got = dt_program_check(p);

    cr_assert(got == DT_ERR_FORMAT && strstr(dt_last_error(), why), "expected '%s', got %s: %s", why,
              dt_status_name(got), dt_last_error());
}

static dt_graph_node *node_of(dt_program *p, const char *name)
{
    return &p->graph->node[p->graph->value[dt_graph_find(p->graph, name)]->node];
}

Test(program_codes, scales_of_others_are_refused)
{
    static const struct {
        const char *node;
        int input;
        const char *of, *why;
    } rows[] = {
        { "first.act_quant", 1, "sum.act_scale", "its scale of image.codes is sum.act_scale, expected image.scale" },
        { "first.act_quant", 3, "branch.weight_scale",
          "its scale of the weights is branch.weight_scale, expected first.weight_scale" },
        { "sum", 2, "image.scale", "its scale of branch.act_quant is image.scale, expected branch.act_scale" },
        { "product", 3, "image.scale", "its scale of pool is image.scale, expected first.act_scale" },
        { "softmax", 1, "image.scale", "its scale of classifier.act_quant is image.scale" },
        { "mean.act_quant", 1, "image.scale", "its scale of mean is image.scale, expected rescaled.act_scale" },
        { "rescaled.act_quant", 1, "image.scale", "its scale of sigmoid is image.scale" },
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dt_program *p = engine_program(DT_PROFILE_LITERT_REF);
        node_of(p, rows[i].node)->in[rows[i].input] = dt_graph_find(p->graph, rows[i].of);
        refused(p, rows[i].why);
        dt_program_destroy(p);
    }
}

Test(program_codes, misfits_are_refused)
{
    dt_program *p = engine_program(DT_PROFILE_LITERT_REF);
    dt_requantize_params *first = node_of(p, "first.act_quant")->params, *mean = node_of(p, "mean.act_quant")->params;
    dt_requantize_params *other = node_of(p, "rescaled.act_quant")->params;
    int32_t *bias = p->graph->value[dt_graph_find(p->graph, "first.bias")]->data;
    int16_t *table = p->graph->value[dt_graph_find(p->graph, "sigmoid.table")]->data;
    float *scale = p->graph->value[dt_graph_find(p->graph, "first.act_scale")]->data;

    engine_must(dt_program_check(p));
    dt_quantize_params *image = node_of(p, "image.codes")->params;
    image->cast = DT_CAST_TRUNCATE_I8;
    image->high = 100;
    refused(p, "image.codes (quantize): high is 100, expected 127");
    cr_assert_eq(dt_program_use_cast(p, DT_CAST_TRUNCATE_U8), DT_ERR_UNSUPPORTED);
    cr_assert(
        strstr(dt_last_error(), "the codes of its image are -128..100 with the zero point 0; the cast truncate-u8"));
    image->high = 127;
    engine_must(dt_program_use_cast(p, DT_CAST_ROUND));
    first->of = DT_REQUANT_MEAN;
    refused(p, "first.act_quant (requantize): kind of sum is 5, allowed are 0..3");
    first->of = DT_REQUANT_CONV;
    first->profile = DT_PROFILE_EXACT;
    refused(p, "first.act_quant (requantize): profile is 5, allowed are 0..4");
    first->profile = DT_PROFILE_LITERT_REF;
    mean->count = 3;
    refused(p, "mean.act_quant (requantize): count is 3, expected 2");
    mean->count = 2;
    other->of = DT_REQUANT_MEAN;
    refused(p, "rescaled.act_quant (requantize): kind of sum is 5, expected 6");
    other->of = DT_REQUANT_CODES;
    bias[0] = INT32_MAX;
    refused(p, "first.act_quant (requantize): bias is 2147483647, allowed are");
    bias[0] = 0;
    table[7] = 256;
    refused(p, "sigmoid (table): code is 256, allowed are 0..255");
    table[7] = 0;
    scale[0] = -1.0f;
    refused(p, "first.act_quant (requantize): scale[0] is -1, expected a number above 0");
    scale[0] = 1.0f;
    engine_must(dt_program_check(p));
    dt_program_destroy(p);
}
