/*
 * test_onnx_oracle.c - ONNX files of PyTorch's exporters and of ONNX Runtime's quantizer, against what ONNX Runtime
 * recorded without graph optimisation, and against each other.
 *
 * Each code of the quantized network is compared by ==, the first layers from the image on and the last ones from the
 * recorded codes of the average pool. That pool alone is judged otherwise: where an average is an exact half, ONNX
 * Runtime's code depends on the order of its sums of floats, so that there it may be one step lower or higher.
 *
 * The files are in the folder that DETENT_PTQ_ORACLE names.
 */
#include "../../formats/exchange.h"
#include "../../formats/onnx/onnx_import.h"
#include "../../formats/safetensors.h"
#include "../support/graph_run.h"

#include <math.h>
#include <stdio.h>

static const char *oracle(void)
{
    const char *folder = getenv("DETENT_PTQ_ORACLE");

    if (!folder || !folder[0]) cr_skip("DETENT_PTQ_ORACLE names no folder with recorded networks");
    return folder;
}

/* The path of a file in the oracle's folder, in one of two places, so that two may be in use. */
static const char *path_of(const char *name)
{
    static char path[2][512];
    static int at;

    at = 1 - at;
    snprintf(path[at], sizeof path[at], "%s/%s", oracle(), name);
    return path[at];
}

static dt_graph *graph_of(const char *name)
{
    dt_graph *graph;
    dt_onnx *m;
    int is_integer;

    GRAPH_RUN_MUST(dt_onnx_read(path_of(name), &m));
    GRAPH_RUN_MUST(dt_onnx_graph(m, &graph, &is_integer));
    dt_onnx_destroy(m);
    return graph;
}

/* The numbers of a tensor as floats; pixels as a network takes them. The caller frees them. */
static float *tensor(const char *file, const char *name, int64_t *count)
{
    dt_safetensors *f;

    GRAPH_RUN_MUST(dt_safetensors_open(path_of(file), &f));
    const dt_safetensors_tensor *t = dt_safetensors_find(f, name);
    cr_assert(t != NULL, "%s: no %s", file, name);
    void *data = malloc((size_t)(t->end - t->begin));
    GRAPH_RUN_MUST(dt_safetensors_read(f, t, data));
    float *to = malloc((size_t)t->count * sizeof *to);
    for (int64_t i = 0; i < t->count; i++) {
        to[i] = t->type == DT_SAFETENSORS_U8   ? (float)((const uint8_t *)data)[i] / 255.0f
                : t->type == DT_SAFETENSORS_I8 ? (float)((const int8_t *)data)[i]
                                               : ((const float *)data)[i];
    }
    *count = t->count;
    dt_safetensors_close(f);
    free(data);
    return to;
}

static float *scores_of(const char *name, const float *images, int n, int64_t *count)
{
    dt_graph *graph = graph_of(name);
    char wanted[DT_NAME_MAX + 1];

    snprintf(wanted, sizeof wanted, "%s", dt_graph_name(graph, graph->scores));
    *count = n * dt_graph_count(graph, graph->scores);
    float *scores = malloc((size_t)*count * sizeof *scores);
    graph_run(graph, wanted, images, n, scores);
    return scores;
}

static void expect_close(const char *what, const float *a, const float *b, int64_t n)
{
    float most = 0.0f;

    for (int64_t i = 0; i < n; i++) most = fmaxf(most, fabsf(b[i]));
    for (int64_t i = 0; i < n; i++) { /* sums of floats in another order, through up to 20 layers */
        cr_assert(fabsf(a[i] - b[i]) <= 1e-5f * most, "%s: score %lld is %.9g, and %.9g", what, (long long)i,
                  (double)a[i], (double)b[i]);
    }
}

/* ---- reals ---- */

Test(onnx_oracle, a_network_of_reals_gives_the_recorded_scores)
{
    int64_t n, count, n_images;
    float *images = tensor("data.fmnist.safetensors", "test", &n_images);
    float *wanted = tensor("onnx/fmnist_dw.expect.safetensors", "float_out", &n);

    float *scores = scores_of("onnx/fmnist_dw.float.onnx", images, 200, &count);
    cr_assert(eq(i64, count, n));
    expect_close("fmnist_dw", scores, wanted, n);
    free(scores);
    free(wanted);
    free(images);
}

/* One network of PyTorch by both of its exporters: with weights outside and batch norms folded; and with batch norms
 * that stay, another pool and another flattening. */
Test(onnx_oracle, two_exporters_write_one_network)
{
    float images[4 * 32 * 32 * 3];
    int64_t n_a, n_b;

    for (int i = 0; i < 4 * 32 * 32 * 3; i++) images[i] = (float)(i * 7919 % 2001 - 1000) / 500.0f;
    float *a = scores_of("onnx/torch/mobilenetv2.dynamo.onnx", images, 4, &n_a);
    float *b = scores_of("onnx/torch/mobilenetv2.torchscript_nofold.onnx", images, 4, &n_b);
    cr_assert(n_a == 40 && n_b == 40);
    expect_close("mobilenetv2", a, b, n_a);
    free(a);
    free(b);
}

/* Of these no scores are recorded: they are networks whose every layer is understood. */
Test(onnx_oracle, exports_of_pytorch_are_networks)
{
    static const char *const names[] = { "resnet20_A.torchscript", "resnet20_B.dynamo_dynbatch",
                                         "vgg_bn.torchscript_nofold" };
    char file[128];

    for (int i = 0; i < 3; i++) {
        snprintf(file, sizeof file, "onnx/torch/%s.onnx", names[i]);
        dt_graph *graph = graph_of(file);
        cr_assert(eq(i64, dt_graph_count(graph, graph->image), 32 * 32 * 3), "%s", file);
        cr_assert(eq(i64, dt_graph_count(graph, graph->scores), 10), "%s", file);
        dt_graph_destroy(graph);
    }
}

/* ---- codes ---- */

enum { SAMPLES = 4 };

/* The codes that a node of the network makes, and where they are recorded: a map is recorded as C,H,W. */
static const struct {
    const char *node, *recorded;
} layers[] = {
    { "image.codes", "input" },
    { "Conv_0.act_quant", "t0_clip" },
    { "Conv_2.act_quant", "t1_clip" },
    { "Conv_4.act_quant", "t2" },
    { "Add_5", "t3" },
    { "AveragePool_6", "t4" },
    { "Conv_7.act_quant", "t5_clip" },
    { "Conv_9.act_quant", "t6_relu" },
    { "GlobalAveragePool_11.act_quant", "t7" },
    { "Gemm_13.act_quant", "t8" },
    { "Softmax_14", "output" },
};

enum { POOL = 5, N_LAYERS = sizeof layers / sizeof layers[0], BEFORE = POOL - 1 };

/* The recorded codes of a layer, less their zero point, as N,H,W,C. */
static float *recorded(const dt_graph *g, int layer, int64_t *count)
{
    const int value = dt_graph_find(g, layers[layer].node);
    char name[128];

    cr_assert(value >= 0, "there is no %s", layers[layer].node);
    const int64_t *dim = dt_graph_shape(g, value)->dim, cells = dim[1] * dim[2], channels = dim[3];
    snprintf(name, sizeof name, "s8.codes.%s_QuantizeLinear_Output", layers[layer].recorded);
    float *stored = tensor("onnx/fmnist_dw.expect.safetensors", name, count);
    cr_assert(eq(i64, *count, SAMPLES * cells * channels));
    float *to = malloc((size_t)*count * sizeof *to);
    for (int64_t i = 0; i < *count; i++) {
        const int64_t n = i / (cells * channels), c = i / cells % channels, cell = i % cells;
        to[(n * cells + cell) * channels + c] = stored[i] - (float)dt_codes_zero(g, value);
    }
    free(stored);
    return to;
}

/* Computes the codes of a layer from those of another, and compares each. */
static void compare_layer(int layer, int from, const float *given)
{
    dt_graph *graph = graph_of("onnx/fmnist_dw.qdq_s8.onnx");
    int64_t count;
    float *wanted = recorded(graph, layer, &count);
    float *made = malloc((size_t)count * sizeof *made);

    graph_run_from(graph, from < 0 ? "image" : layers[from].node, given, layers[layer].node, SAMPLES, made);
    for (int64_t i = 0; i < count; i++) {
        cr_assert(made[i] == wanted[i], "%s: code %lld is %g, recorded %g", layers[layer].node, (long long)i,
                  (double)made[i], (double)wanted[i]);
    }
    free(made);
    free(wanted);
}

Test(onnx_oracle, every_code_is_the_recorded_one)
{
    int64_t count;
    dt_graph *graph = graph_of("onnx/fmnist_dw.qdq_s8.onnx");
    float *images = tensor("data.fmnist.safetensors", "test", &count);
    float *pooled = recorded(graph, POOL, &count);

    for (int layer = 0; layer < POOL; layer++) compare_layer(layer, -1, images);
    for (int layer = POOL + 1; layer < N_LAYERS; layer++) compare_layer(layer, POOL, pooled);
    dt_graph_destroy(graph);
    free(pooled);
    free(images);
}

/* Of four codes: a sum of 4 k + 2 is a half. */
Test(onnx_oracle, averages_differ_where_they_are_halves_alone)
{
    dt_graph *graph = graph_of("onnx/fmnist_dw.qdq_s8.onnx");
    int64_t n_sums, n_before;
    int n_halves = 0;
    float *before = recorded(graph, BEFORE, &n_before), *wanted = recorded(graph, POOL, &n_sums);
    float *made = malloc((size_t)n_sums * sizeof *made);

    graph_run_from(graph, layers[BEFORE].node, before, layers[POOL].node, SAMPLES, made);
    for (int64_t i = 0; i < n_sums; i++) {
        const int64_t c = i % 8, w = i / 8 % 7, h = i / 56 % 7, n = i / 392;
        float sum = 0;
        for (int k = 0; k < 4; k++) sum += before[((n * 14 + 2 * h + k / 2) * 14 + 2 * w + k % 2) * 8 + c];
        const int is_half = fmodf(fabsf(sum), 4.0f) == 2.0f;
        n_halves += is_half;
        cr_assert(fabsf(made[i] - wanted[i]) <= (is_half ? 1.0f : 0.0f), "average %lld of sum %g is %g, recorded %g",
                  (long long)i, (double)sum, (double)made[i], (double)wanted[i]);
    }
    cr_assert(eq(int, n_halves, 442));
    free(made);
    free(before);
    free(wanted);
}

/* 200 images by the three quantized files: their recorded scores follow from averages that were rounded otherwise, so
 * that most are equal, and none is far. Codes that differ are 383, 383 and 318 of 2,000, by at most 8. */
Test(onnx_oracle, scores_of_codes_are_near_the_recorded_ones)
{
    static const struct {
        const char *tag;
        float step;
        int most; /* codes that differ */
    } files[] = { { "s8", 1 / 255.0f, 383 }, { "u8", 1 / 255.0f, 383 }, { "s8sym", 1 / 127.0f, 318 } };
    int64_t n_images;
    float *images = tensor("data.fmnist.safetensors", "test", &n_images);

    for (int i = 0; i < 3; i++) {
        char file[64], key[64];
        int64_t count, n;
        int n_differ = 0;
        snprintf(file, sizeof file, "onnx/fmnist_dw.qdq_%s.onnx", files[i].tag);
        snprintf(key, sizeof key, "%s.out_noopt", files[i].tag);
        float *wanted = tensor("onnx/fmnist_dw.expect.safetensors", key, &n);
        float *scores = scores_of(file, images, 200, &count);
        cr_assert(eq(i64, count, n));
        for (int64_t k = 0; k < n; k++) {
            const long apart = labs(lrintf(scores[k] / files[i].step) - lrintf(wanted[k] / files[i].step));
            n_differ += apart != 0;
            cr_assert(apart <= 8, "%s: score %lld is %ld codes from the recorded one", file, (long long)k, apart);
        }
        cr_assert(le(int, n_differ, files[i].most), "%s", file);
        free(wanted);
        free(scores);
    }
    free(images);
}
