/*
 * test_tflite_program.c - TensorFlow Lite files as programs and models, and quantization after training, against what
 * the converter made and the interpreter computed: every code equal, under four profiles.
 *
 * The networks and the recorded codes are files of the folder that DETENT_PTQ_ORACLE names.
 */
#include "../../core/context.h"
#include "../../core/train/model.h"
#include "../../formats/safetensors.h"
#include "../../quant/program/program.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_NETWORKS = 3, N_PROFILES = 4 };

static const struct {
    const char *name, *data;
} networks[N_NETWORKS] = { { "smartwatch", "har" }, { "bspc", "ecg" }, { "fmnist_dw", "fmnist" } };

static const struct {
    dt_profile profile;
    const char *key;
} profiles[N_PROFILES] = { { DT_PROFILE_LITERT_REF, "i8.litert_ref" },
                           { DT_PROFILE_REF_DOUBLE, "i8.ref_double" },
                           { DT_PROFILE_REF_SINGLE, "i8.ref_single" },
                           { DT_PROFILE_FP32_RNE, "i8.fp32_rne" } };

static const char *oracle(void)
{
    const char *folder = getenv("DETENT_PTQ_ORACLE");

    if (!folder || !folder[0]) cr_skip("DETENT_PTQ_ORACLE names no folder with recorded networks");
    return folder;
}

static void must(dt_status status)
{
    cr_assert_eq(status, DT_OK, "%s", dt_last_error());
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

/* A tensor of a file as F32 or I8; the caller frees it. */
static void *tensor(const char *path, const char *name, int64_t *count)
{
    dt_safetensors *f;

    must(dt_safetensors_open(path, &f));
    const dt_safetensors_tensor *t = dt_safetensors_find(f, name);
    cr_assert(t != NULL, "%s: no %s", path, name);
    void *data = malloc((size_t)(t->end - t->begin));
    must(dt_safetensors_read(f, t, data));
    *count = t->count;
    if (t->type == DT_SAFETENSORS_U8) { /* pixels enter as code / 255, in f32 */
        float *real = malloc((size_t)t->count * sizeof *real);
        for (int64_t i = 0; i < t->count; i++) real[i] = (float)((const uint8_t *)data)[i] / 255.0f;
        free(data);
        data = real;
    }
    dt_safetensors_close(f);
    return data;
}

/* The images of a network: "calibration" or "test". */
static float *images_of(int network, const char *which, int64_t *count)
{
    char path[512];

    snprintf(path, sizeof path, "%s/data.%s.safetensors", oracle(), networks[network].data);
    return tensor(path, which, count);
}

/* The codes of the scores that a program gives, as int8 files store them, against the recorded ones. */
static int64_t compare(dt_context *ctx, const dt_program *p, int network, int profile)
{
    const int classes = dt_program_n_scores(p);
    const dt_graph *g = p->graph;
    const int real = dt_graph_maker(g, g->scores)->in[0], codes = dt_graph_maker(g, real)->in[0];
    const float scale = dt_program_scale(p, codes);
    char path[512];
    int64_t count, n_wanted;
    float *images = images_of(network, "test", &count);
    dt_model *m;

    snprintf(path, sizeof path, "%s/%s.expect.safetensors", oracle(), networks[network].name);
    int8_t *wanted = tensor(path, profiles[profile].key, &n_wanted);
    must(dt_program_model(ctx, p, NULL, &m));
    const dt_prediction what = { .normalised = images, .n = n_wanted / classes };
    float *scores = malloc((size_t)n_wanted * sizeof *scores);
    must(dt_predict(m, &what, scores));
    for (int64_t i = 0; i < n_wanted; i++) {
        const long stored = lrintf(scores[i] / scale) + dt_codes_zero(g, codes);
        cr_assert_eq(stored, wanted[i], "%s, %s: code %lld is %ld, recorded %d", g->name, profiles[profile].key,
                     (long long)i, stored, wanted[i]);
    }
    dt_model_destroy(m);
    free(scores);
    free(wanted);
    free(images);
    return n_wanted;
}

Test(tflite_program, int8_files_give_the_recorded_codes, .timeout = 120)
{
    static const char *const schemes[] = { "fiq_i8", "fiq_f32", "fiq_u8" };
    dt_context *ctx = context();
    int64_t n = 0;

    oracle();
    for (int i = 0; i < N_NETWORKS * 3 * N_PROFILES; i++) {
        const int network = i / (3 * N_PROFILES), profile = i % N_PROFILES;
        char path[512];
        dt_program *p;
        snprintf(path, sizeof path, "%s/tflite/%s.%s.tflite", oracle(), networks[network].name,
                 schemes[i / N_PROFILES % 3]);
        must(dt_program_load(path, &p));
        cr_assert_eq(dt_program_profile(p), DT_PROFILE_LITERT_REF);
        must(dt_program_use_profile(p, profiles[profile].profile));
        n += compare(ctx, p, network, profile);
        dt_program_destroy(p);
    }
    cr_assert_eq(n, 50400);
    dt_context_destroy(ctx);
}

/* The range of each value that an operator makes, as the converter recorded it; the names are the program's. */
static void write_ranges(const char *path, int network, const dt_program *p)
{
    char json_path[512], name[DT_NAME_MAX + 1];
    FILE *file;
    int at = 0;

    snprintf(json_path, sizeof json_path, "%s/%s.json", oracle(), networks[network].name);
    file = fopen(json_path, "rb");
    char *text = calloc(1, 1 << 20);
    cr_assert(file != NULL && fread(text, 1, (1 << 20) - 1, file) > 0);
    fclose(file);
    cJSON *json = cJSON_Parse(text), *ranges = cJSON_CreateObject();
    const cJSON *op;
    cJSON_ArrayForEach(op, cJSON_GetObjectItem(json, "ops"))
    {
        static const char *const makers[] = { "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MEAN", "ADD" };
        const char *kind = cJSON_GetStringValue(cJSON_GetObjectItem(op, "op"));
        int has_range = 0;
        for (int i = 0; i < 5; i++) has_range |= strcmp(kind, makers[i]) == 0;
        if (!has_range) continue;
        while (p->graph->node[at].kind != DT_OP_REQUANTIZE && p->graph->node[at].kind != DT_OP_QADD) at++;
        snprintf(name, sizeof name, "%s", dt_graph_name(p->graph, p->graph->node[at++].out));
        name[strlen(name) - strlen(".act_quant")] = '\0';
        const double range[2] = { cJSON_GetObjectItem(op, "calibrated_min")->valuedouble,
                                  cJSON_GetObjectItem(op, "calibrated_max")->valuedouble };
        cJSON_AddItemToObject(ranges, name, cJSON_CreateDoubleArray(range, 2));
    }
    char *out = cJSON_Print(ranges);
    must(dt_file_replace(path, out, strlen(out)));
    cJSON_free(out);
    cJSON_Delete(ranges);
    cJSON_Delete(json);
    free(text);
}

static dt_program *quantized(dt_context *ctx, int network, const char *ranges)
{
    char path[512];
    int64_t count;
    float *images = images_of(network, "calibration", &count);
    const dt_quantization what = { .normalised = images, .n = 100, .ranges = ranges };
    dt_model *real, *m;
    dt_program *p;

    snprintf(path, sizeof path, "%s/tflite/%s.float.tflite", oracle(), networks[network].name);
    must(dt_checkpoint_open(ctx, path, &real));
    must(dt_quantize(real, &what, &m));
    must(dt_program_lower(m, NULL, &p));
    dt_model_destroy(m);
    dt_model_destroy(real);
    free(images);
    return p;
}

/* The networks of reals, quantized here by the converter's ranges: then every weight, bias and code is the converter's.
 */
Test(tflite_program, quantized_here_they_are_the_converters, .timeout = 120)
{
    char ranges[] = "/tmp/detent_ranges_XXXXXX";
    dt_context *ctx = context();

    oracle();
    close(mkstemp(ranges));
    for (int network = 0; network < N_NETWORKS; network++) {
        dt_program *own = quantized(ctx, network, NULL);
        write_ranges(ranges, network, own);
        dt_program_destroy(own);
        dt_program *p = quantized(ctx, network, ranges);
        for (int profile = 0; profile < N_PROFILES; profile++) {
            must(dt_program_use_profile(p, profiles[profile].profile));
            compare(ctx, p, network, profile);
        }
        dt_program_destroy(p);
    }
    unlink(ranges);
    dt_context_destroy(ctx);
}

Test(tflite_program, kinds_are_told_apart)
{
    char path[512], format[64];
    dt_context *ctx = context();
    dt_program *p;
    dt_model *m;

    snprintf(path, sizeof path, "%s/tflite/bspc.float.tflite", oracle());
    must(dt_file_format(path, format, sizeof format));
    cr_assert_str_eq(format, "tflite");
    cr_assert_eq(dt_program_load(path, &p), DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "computes on reals") != NULL, "%s", dt_last_error());
    snprintf(path, sizeof path, "%s/tflite/bspc.fiq_u8.tflite", oracle());
    must(dt_file_format(path, format, sizeof format));
    cr_assert_str_eq(format, "tflite-integer");
    cr_assert_eq(dt_checkpoint_open(ctx, path, &m), DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "computes on integers") != NULL, "%s", dt_last_error());
    dt_context_destroy(ctx);
}
