/*
 * test_post_training.c - a network of reals, quantized after training and lowered: scales, codes and biases are those
 * of formulas written here; its program agrees with the reference; edges have the values that TensorFlow Lite's
 * converter gives them.
 */
#include "../../core/context.h"
#include "../../core/train/model.h"
#include "../../models/build.h"
#include "../../quant/post_training.h"
#include "../../quant/program/program.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 6, CHANNELS = 3, FILTERS = 5, CLASSES = 4, IMAGES = 9, IMAGE = SIDE * SIDE * CHANNELS };

static void must(dt_status status)
{
    cr_assert_eq(status, DT_OK, "%s", dt_last_error());
}

/* A number in -1..1 that depends on i alone. */
static float draw(uint32_t i)
{
    i = (i ^ 61u ^ (i >> 16)) * 2654435761u;
    i = (i ^ (i >> 15)) * 2246822519u;
    return (float)((i ^ (i >> 13)) % 20001u) / 10000.0f - 1.0f;
}

static dt_context *context(void)
{
    dt_options opt;
    dt_context *ctx;

    dt_options_default(&opt);
    opt.backend = "cpu";
    must(dt_context_create(&opt, &ctx));
    return ctx;
}

static const char network[] = "{ \"format\": \"detent-network\", \"image\": [6, 6, 3], \"classes\": 4, \"nodes\": ["
                              "[\"stem\", \"conv\", \"image\", { \"filters\": 5, \"window\": 3, \"pad\": 1 }],"
                              "[\"stem.bn\", \"batchnorm\", \"stem\"],"
                              "[\"stem.relu\", \"relu\", \"stem.bn\"],"
                              "[\"branch\", \"conv\", \"stem.relu\", { \"filters\": 5, \"window\": 1 }],"
                              "[\"branch.bn\", \"batchnorm\", \"branch\"],"
                              "[\"join\", \"add\", [\"branch.bn\", \"stem.relu\"]],"
                              "[\"join.relu\", \"relu\", \"join\", { \"most\": 6 }],"
                              "[\"half\", \"maxpool\", \"join.relu\", { \"window\": 2 }],"
                              "[\"pool\", \"avgpool\", \"half\"],"
                              "[\"flat\", \"flatten\", \"pool\"],"
                              "[\"classifier\", \"linear\", \"flat\", { \"features\": 4 }] ] }";

/* The network with parameters drawn; those that are named have other values. */
static dt_model *make_model(dt_context *ctx)
{
    char path[] = "/tmp/detent_network_XXXXXX.json";
    dt_model_config c;
    dt_model *m;

    cr_assert(mkstemps(path, 5) >= 0);
    must(dt_file_replace(path, network, sizeof network - 1));
    must(dt_model_config_default(path, &c));
    c.wbits = c.abits = DT_BITS_FLOAT;
    must(dt_model_create(ctx, &c, &m));
    remove(path);
    for (int i = 0; i < m->n_params; i++) {
        const int64_t n = dt_count(&m->param[i]->tensor.shape);
        const int is_variance = strstr(m->param[i]->name, "running_var") != NULL;
        float *v = malloc((size_t)n * sizeof *v);
        for (int64_t k = 0; k < n; k++) {
            v[k] = draw((uint32_t)(1000 * i + k));
            if (is_variance) v[k] = 0.6f + 0.4f * v[k];
        }
        must(dt_model_write(m, i, v));
        free(v);
    }
    return m;
}

static void set_param(dt_model *m, const char *name, int64_t at, float value)
{
    const int i = dt_model_find(m, name);
    float *v = malloc(dt_tensor_bytes(&m->param[i]->tensor));

    must(dt_model_read(m, i, v));
    v[at] = value;
    must(dt_model_write(m, i, v));
    free(v);
}

static float *make_images(int n)
{
    float *v = malloc((size_t)n * IMAGE * sizeof *v);
    for (int i = 0; i < n * IMAGE; i++) v[i] = 1.5f * draw((uint32_t)i + 700000u) + 0.2f;
    return v;
}

static const float *floats(const dt_program *p, const char *name)
{
    const int value = dt_graph_find(p->graph, name);
    cr_assert(value >= 0, "no %s", name);
    return p->graph->value[value]->data;
}

static const int32_t *integers(const dt_program *p, const char *name)
{
    return (const int32_t *)(const void *)floats(p, name);
}

static const void *params(const dt_program *p, const char *name)
{
    return dt_graph_maker(p->graph, dt_graph_find(p->graph, name))->params;
}

/* ---- quantized as TensorFlow Lite does ---- */

/* The folded weights and bias of filter k, in double. */
static void folded(dt_model *m, const char *layer, int k, int count, double *w, double *b)
{
    char name[64];
    float part[5][FILTERS * 27];
    static const char *const parts[] = { "weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var" };

    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "%s.%s", layer, parts[i]);
        must(dt_model_read(m, dt_model_find(m, name), part[i]));
    }
    const double inv = (double)part[1][k] / sqrt((double)part[4][k] + (double)1e-5f);
    for (int i = 0; i < count; i++) w[i] = (double)(float)(inv * (double)part[0][k * count + i]);
    *b = (double)(float)((double)part[2][k] - inv * (double)part[3][k]);
}

static void check_layer(dt_model *m, const dt_program *p, const char *layer, int count, float scale_x)
{
    char name[64];
    double w[27], b;

    snprintf(name, sizeof name, "%s.weight", layer);
    const int8_t *codes = (const int8_t *)(const void *)floats(p, name);
    snprintf(name, sizeof name, "%s.weight_scale", layer);
    const float *scales = floats(p, name);
    snprintf(name, sizeof name, "%s.bias", layer);
    const int32_t *bias = integers(p, name);
    for (int k = 0; k < FILTERS; k++) {
        double most = 0.0;
        folded(m, layer, k, count, w, &b);
        for (int i = 0; i < count; i++) most = fmax(most, fabs(w[i]));
        cr_assert_eq(scales[k], (float)(most / 127.0), "%s, filter %d: scale", layer, k);
        for (int i = 0; i < count; i++) cr_assert_eq(codes[k * count + i], (int)round(w[i] / (most / 127.0)));
        cr_assert_eq(bias[k], (int32_t)round(b / ((double)scale_x * (most / 127.0))), "%s, filter %d: bias", layer, k);
    }
}

static dt_program *quantize(dt_model *m, const float *images, int n, dt_model **out)
{
    const dt_quantization what = { .normalised = images, .n = n };
    dt_program *p;

    must(dt_quantize(m, &what, out));
    must(dt_program_lower(*out, NULL, &p));
    return p;
}

Test(post_training, scales_codes_and_biases_are_the_converters)
{
    dt_context *ctx = context();
    dt_model *m = make_model(ctx), *q;
    float *images = make_images(IMAGES), low = 0.0f, high = 0.0f;
    dt_program *p = quantize(m, images, IMAGES, &q);
    const dt_quantize_params *image = params(p, "image.act_quant");

    for (int i = 0; i < IMAGES * IMAGE; i++) {
        low = fminf(low, images[i]);
        high = fmaxf(high, images[i]);
    }
    const float scale = (high - low) / 255.0f;
    cr_assert_eq(*floats(p, "image.act_scale"), scale);
    cr_assert_eq(image->zero, (int)round(-128.0 - (double)low / (((double)high - (double)low) / 255.0)));
    cr_assert_eq(image->low, -128 - image->zero);
    check_layer(m, p, "stem", 27, scale);
    check_layer(m, p, "branch", 5, *floats(p, "stem.relu.act_scale"));
    const dt_requantize_params *stem = params(p, "stem.relu.act_quant");
    cr_assert(stem->of == DT_REQUANT_CONV && stem->low == 0 && stem->high == 255 && stem->zero == -128);
    const dt_qbinary_params *join = params(p, "join.relu.act_quant");
    cr_assert(join->low == 0 && join->zero == -128 && join->subtract == 0);
    const dt_requantize_params *mean = params(p, "pool.act_quant");
    cr_assert(mean->of == DT_REQUANT_MEAN && mean->count == 9);
    const dt_requantize_params *classifier = params(p, "classifier.act_quant");
    cr_assert(classifier->of == DT_REQUANT_LINEAR && classifier->high - classifier->low == 255);
    free(images);
    dt_program_destroy(p);
    dt_model_destroy(q);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

Test(post_training, quantized_scores_are_near)
{
    dt_context *ctx = context();
    dt_model *m = make_model(ctx), *q;
    float *images = make_images(IMAGES), real[IMAGES * CLASSES], quantized[IMAGES * CLASSES], of_program[CLASSES];
    dt_program *p = quantize(m, images, IMAGES, &q);
    const dt_prediction what = { .normalised = images, .n = IMAGES };
    float largest = 0.0f;

    must(dt_predict(m, &what, real));
    must(dt_predict(q, &what, quantized));
    for (int i = 0; i < IMAGES * CLASSES; i++) largest = fmaxf(largest, fabsf(real[i]));
    for (int i = 0; i < IMAGES; i++) {
        must(dt_program_run_reals(p, images + i * IMAGE, of_program));
        for (int c = 0; c < CLASSES; c++) {
            const float is = real[i * CLASSES + c];
            cr_assert(fabsf(quantized[i * CLASSES + c] - is) < 0.04f * largest, "%g, real %g", quantized[i], is);
            cr_assert(fabsf(of_program[c] - is) < 0.04f * largest, "%g, real %g", (double)of_program[c], (double)is);
        }
    }
    free(images);
    dt_program_destroy(p);
    dt_model_destroy(q);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

Test(post_training, the_table_tells_of_every_value)
{
    dt_context *ctx = context();
    dt_model *m = make_model(ctx), *q;
    float *images = make_images(IMAGES);
    const dt_quantization what = { .normalised = images, .n = IMAGES };
    dt_quantized_value row[8];

    dt_program_destroy(quantize(m, images, IMAGES, &q));
    cr_assert_eq(dt_quantized_count(q), 6);
    cr_assert_eq(dt_quantized_count(m), 0);
    must(dt_quantized_look(m, q, &what, row));
    cr_assert_str_eq(row[0].name, "image.quant");
    cr_assert_str_eq(row[5].name, "classifier.quant");
    for (int i = 0; i < 6; i++) {
        cr_assert(row[i].snr > 20.0 && row[i].snr < 80.0, "%s: %g dB", row[i].name, row[i].snr);
        cr_assert_eq(row[i].clipped, 0.0, "%s", row[i].name); /* the images are those of the calibration */
        cr_assert_eq(row[i].scale, (row[i].max - row[i].min) / 255.0f);
    }
    free(images);
    dt_model_destroy(q);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

/* ---- edges ---- */

/* A bias of more than 2^30 steps widens its filter's scale until it has 2^30; a filter of zeros has 5e-7 / 127. */
Test(post_training, large_biases_and_filters_of_zeros)
{
    dt_context *ctx = context();
    dt_model *m = make_model(ctx), *q;
    float *images = make_images(IMAGES);

    set_param(m, "branch.bn.bias", 2, -3e6f);
    for (int i = 0; i < 5; i++) set_param(m, "branch.weight", 3 * 5 + i, 0.0f);
    set_param(m, "branch.bn.bias", 3, 0.0f);
    set_param(m, "branch.bn.running_mean", 3, 0.0f);
    set_param(m, "stem.weight", 0, 0.0f);
    dt_program *p = quantize(m, images, IMAGES, &q);
    const float scale_x = *floats(p, "stem.relu.act_scale"), *scale = floats(p, "branch.weight_scale");
    const int8_t *codes = (const int8_t *)(const void *)floats(p, "branch.weight");
    double w[5], b;
    folded(m, "branch", 2, 5, w, &b);
    cr_assert_eq(integers(p, "branch.bias")[2], -1073741824);
    cr_assert_eq(scale[2], (float)(fabs(b) / ((double)scale_x * 1073741824.0)));
    cr_assert_eq(scale[3], (float)(5e-7 / 127.0));
    cr_assert_eq(integers(p, "branch.bias")[3], 0);
    for (int i = 0; i < 5; i++) cr_assert_eq(codes[15 + i], 0);
    free(images);
    dt_program_destroy(p);
    dt_model_destroy(q);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

/* A ReLU that lets nothing through: scale 2e-6 / 255 and zero point 0. */
Test(post_training, dead_values_and_one_image)
{
    dt_context *ctx = context();
    dt_model *m = make_model(ctx), *q;
    float *images = make_images(1);

    for (int k = 0; k < FILTERS; k++) set_param(m, "stem.bn.bias", k, -1000.0f);
    dt_program *p = quantize(m, images, 1, &q);
    cr_assert_eq(*floats(p, "stem.relu.act_scale"), (1e-6f - -1e-6f) / 255.0f);
    cr_assert_eq(((const dt_requantize_params *)params(p, "stem.relu.act_quant"))->zero, 0);
    free(images);
    dt_program_destroy(p);
    dt_model_destroy(q);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

Test(post_training, what_cannot_be_is_named)
{
    dt_context *ctx = context();
    dt_model *m = make_model(ctx), *q, *twice;
    float *images = make_images(IMAGES);
    dt_quantization what = { .normalised = images, .n = IMAGES };
    dt_program *p;

    dt_program_destroy(quantize(m, images, IMAGES, &q));
    cr_assert_eq(dt_quantize(q, &what, &twice), DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "quantize the network of real values") != NULL, "%s", dt_last_error());
    images[IMAGE * 4 + 7] = NAN;
    cr_assert_eq(dt_quantize(m, &what, &twice), DT_ERR_NUMERIC);
    cr_assert(strstr(dt_last_error(), "image is nan for image 4") != NULL, "%s", dt_last_error());
    what = (dt_quantization){ .n = 3 };
    cr_assert_eq(dt_quantize(m, &what, &twice), DT_ERR_ARGUMENT);
    what = (dt_quantization){ .normalised = images, .n = 3, .wbits = 9 };
    must(dt_quantize(m, &what, &twice));
    cr_assert_eq(dt_program_lower(twice, NULL, &p), DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "stem: its weights have codes up to 255;") != NULL, "%s", dt_last_error());
    dt_model_destroy(twice);
    free(images);
    dt_model_destroy(q);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

/* Ranges that are given are taken as they are, and the rest is observed. */
Test(post_training, ranges_from_a_file)
{
    static const char json[] = "{ \"stem.relu\": [0, 12.75], \"pool\": [-1.0, 1.55] }";
    char path[] = "/tmp/detent_ranges_XXXXXX";
    dt_context *ctx = context();
    dt_model *m = make_model(ctx), *q;
    float *images = make_images(IMAGES);
    dt_quantization what = { .normalised = images, .n = IMAGES, .ranges = path };
    dt_program *p;

    cr_assert(mkstemp(path) >= 0);
    must(dt_file_replace(path, json, sizeof json - 1));
    must(dt_quantize(m, &what, &q));
    must(dt_program_lower(q, NULL, &p));
    cr_assert_eq(*floats(p, "stem.relu.act_scale"), 12.75f / 255.0f);
    cr_assert_eq(*floats(p, "pool.act_scale"), (1.55f - -1.0f) / 255.0f);
    cr_assert_eq(((const dt_requantize_params *)params(p, "pool.act_quant"))->zero, -28);
    remove(path);
    free(images);
    dt_program_destroy(p);
    dt_model_destroy(q);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

/* The largest magnitude m of a value has the code 127: its scale is m / 127, and its zero point 0. */
Test(post_training, symmetric_activations)
{
    dt_context *ctx = context();
    dt_model *m = make_model(ctx), *q, *plain;
    float *images = make_images(IMAGES), most = 0.0f;
    const dt_quantization what = { .normalised = images, .n = IMAGES, .symmetric = 1 };
    dt_program *p, *asymmetric = quantize(m, images, IMAGES, &plain);

    must(dt_quantize(m, &what, &q));
    must(dt_program_lower(q, NULL, &p));
    for (int i = 0; i < IMAGES * IMAGE; i++) most = fmaxf(most, fabsf(images[i]));
    const dt_quantize_params *image = params(p, "image.act_quant");
    cr_assert(image->zero == 0 && image->low == -128 && image->high == 127);
    cr_assert_float_eq(*floats(p, "image.act_scale"), most / 127.0f, most * 1e-8f);
    const dt_requantize_params *stem = params(p, "stem.relu.act_quant");
    cr_assert(stem->zero == 0 && stem->low == 0 && stem->high == 127);
    const float ratio = *floats(p, "stem.relu.act_scale") / *floats(asymmetric, "stem.relu.act_scale");
    cr_assert_float_eq(ratio, 255.0f / 127.0f, 1e-6f, "of a value that is not below 0: %g", (double)ratio);
    const dt_qbinary_params *join = params(p, "join.relu.act_quant");
    cr_assert(join->zero == 0 && join->low == 0 && join->high == 127);
    const dt_requantize_params *classifier = params(p, "classifier.act_quant");
    cr_assert(classifier->zero == 0 && classifier->low == -128 && classifier->high == 127);
    free(images);
    dt_program_destroy(asymmetric);
    dt_program_destroy(p);
    dt_model_destroy(plain);
    dt_model_destroy(q);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

/* 16-bit activations, 4-bit weights, one scale a layer. */
Test(post_training, other_bits)
{
    dt_context *ctx = context();
    dt_model *m = make_model(ctx), *q;
    float *images = make_images(IMAGES);
    const dt_quantization what = { .normalised = images, .n = IMAGES, .wbits = 4, .abits = 16, .per_layer = 1 };
    dt_program *p;

    must(dt_quantize(m, &what, &q));
    must(dt_program_lower(q, NULL, &p));
    const dt_requantize_params *stem = params(p, "stem.relu.act_quant");
    cr_assert(stem->low == 0 && stem->high == 65535 && stem->zero == -32768);
    cr_assert_eq(dt_count(dt_graph_shape(p->graph, dt_graph_find(p->graph, "stem.weight_scale"))), 1);
    const int8_t *codes = (const int8_t *)(const void *)floats(p, "stem.weight");
    for (int i = 0; i < FILTERS * 27; i++) cr_assert(codes[i] >= -7 && codes[i] <= 7);
    free(images);
    dt_program_destroy(p);
    dt_model_destroy(q);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}
