/*
 * test_signal_networks.c - the networks for signals in models/: their parameters, two steps of
 *                          training, and of smartwatch_lean the outputs that TensorFlow Lite gives with the same
 * weights.
 *
 * Those are in the folder that DETENT_PTQ_ORACLE names; without it that test is skipped.
 */
#include "../../formats/safetensors.h"
#include "../support/golden_json.h"
#include "../support/tiny_run.h"

#include <math.h>
#include <stdio.h>

#define MODELS DETENT_TEST_GOLDEN "/../../models/"

TestSuite(signal_networks, .timeout = 300);

static int64_t conv(int64_t height, int64_t width, int64_t in, int64_t out)
{
    return height * width * in * out + out;
}

static int64_t normed(int64_t height, int64_t width, int64_t in, int64_t out)
{
    return height * width * in * out + 2 * out;
}

static int64_t linear(int64_t in, int64_t out)
{
    return in * out + out;
}

/* Windows of 2x2 and biases; pools halve 100 to `height`. */
static int64_t smartwatch(const int *filters, int n, int height, int hidden)
{
    int64_t sum = 0, in = 1;

    for (int i = 0; i < n; i++) {
        sum += conv(2, 2, in, filters[i]);
        in = filters[i];
    }
    return sum + linear(height * 6 * in, hidden) + linear(hidden, 6);
}

static int64_t head(int64_t in, int64_t a, int64_t b)
{
    return linear(in, a) + linear(a, b) + linear(b, 5);
}

static int64_t bspc(const int *filters, int spatial, int64_t flat, int a)
{
    static const int window[] = { 5, 5, 5, 3, 3 };
    int64_t sum = 0, in = 1;

    for (int i = 0; i < 5; i++) {
        sum += normed(window[i], 1, in, filters[i]);
        in = filters[i];
    }
    return sum + normed(1, 12, in, spatial) + head(flat, a, 64);
}

static int64_t bspc_gap(int64_t narrow, int64_t wide, int64_t spatial, int64_t a, int64_t b)
{
    const int64_t main_path = normed(5, 1, 1, narrow) + normed(5, 1, narrow, narrow) + normed(5, 1, narrow, wide) +
                              2 * normed(3, 1, wide, wide) + normed(1, 12, wide, spatial);
    const int64_t skips =
        normed(7, 1, narrow, wide) + normed(5, 1, wide, wide) + normed(4, 1, wide, narrow) + normed(3, 1, narrow, wide);

    return main_path + skips + head(3 * spatial, a, b);
}

/* `published`: what the study says of the size; 0: nothing. */
typedef struct {
    const char *name, *dataset;
    int64_t count, published, images;
} known;

static void check(known k)
{
    const dt_dataset_options opt = { .name = k.dataset, .split = DT_SPLIT_TEST, .limit = k.images, .seed = 1 };
    dt_train_config c;
    dt_model_config m;
    dt_metrics found;
    tiny_run r = { 0 };
    dt_options o;
    char path[4096];

    snprintf(path, sizeof path, MODELS "%s.json", k.name);
    dt_options_default(&o);
    o.backend = "cpu";
    MUST(dt_context_create(&o, &r.ctx));
    MUST(dt_model_config_default(path, &m));
    m.wbits = m.abits = DT_BITS_FLOAT;
    MUST(dt_model_create(r.ctx, &m, &r.model));
    cr_assert(dt_model_count(r.model) == k.count, "%s: %lld parameters, expected %lld", k.name,
              (long long)dt_model_count(r.model), (long long)k.count);
    cr_assert(k.published == 0 || fabs((double)k.count / (double)k.published - 1.0) < 0.08,
              "%s: %lld parameters, published %lld", k.name, (long long)k.count, (long long)k.published);
    MUST(dt_dataset_open(&opt, &r.data));
    dt_train_config_default(NULL, &c);
    dt_config_for_dataset(k.dataset, &m, &c);
    c.batch = (int)k.images / 2;
    MUST(dt_trainer_create(r.model, r.data, &c, &r.trainer));
    tiny_steps(&r, 2);
    MUST(dt_trainer_metrics(r.trainer, &found));
    MUST(dt_trainer_check_values(r.trainer));
    cr_assert(isfinite(found.loss) && found.images == k.images, "%s: loss %g of %lld", k.name, found.loss,
              (long long)found.images);
    tiny_close(&r);
}

Test(signal_networks, smartwatch)
{
    check((known){ "smartwatch_lean", "synthetic-windows", 1655, 1655, 24 });
    check((known){ "smartwatch_lean", "synthetic-windows", smartwatch((int[]){ 4, 6, 3, 4 }, 4, 7, 8), 1655, 24 });
    check((known){ "smartwatch_fat", "synthetic-windows", smartwatch((int[]){ 8, 16, 16, 24, 24, 32 }, 6, 2, 32), 0,
                   24 });
}

/* 9,600 + 28,800 + 10,800 + 3,744 of the convolutions, 1,344 + 48 of the linear layers. */
Test(signal_networks, smartwatch_lean_has_the_published_multiplications)
{
    dt_model_config c;
    dt_context *ctx = NULL;
    dt_model *m = NULL;
    dt_layer_info l;
    int64_t macs = 0;
    dt_options o;

    dt_options_default(&o);
    o.backend = "cpu";
    MUST(dt_context_create(&o, &ctx));
    MUST(dt_model_config_default(MODELS "smartwatch_lean.json", &c));
    c.quantize_classifier = 1;
    MUST(dt_model_create(ctx, &c, &m));
    for (int i = 0; i < dt_model_n_layers(m); i++) {
        dt_model_layer(m, i, &l);
        macs += l.macs;
    }
    cr_assert(dt_model_n_layers(m) == 6 && macs == 54336, "%lld MACs of %d layers", (long long)macs,
              dt_model_n_layers(m));
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

Test(signal_networks, bspc)
{
    check((known){ "bspc_lean", "synthetic-beats", bspc((int[]){ 16, 32, 32, 64, 64 }, 64, 64, 128), 100000, 8 });
    check((known){ "bspc_fat", "synthetic-beats", bspc((int[]){ 32, 64, 64, 128, 128 }, 256, 14 * 256, 1024), 4000000,
                   4 });
}

Test(signal_networks, bspc_gap)
{
    check((known){ "bspc_gap_lean", "synthetic-beats", bspc_gap(32, 64, 128, 128, 64), 250000, 4 });
    check((known){ "bspc_gap_fat", "synthetic-beats", bspc_gap(128, 256, 512, 512, 256), 4000000, 4 });
}

/* ---- the oracle ---- */

static float *read_floats(const dt_safetensors *f, const char *name, int64_t count)
{
    const dt_safetensors_tensor *t = dt_safetensors_find(f, name);

    cr_assert(t && t->count == count, "%s", name);
    float *v = malloc((size_t)count * sizeof *v);
    MUST(dt_safetensors_read_floats(f, t, v));
    return v;
}

/* from [rows][columns] to [columns][rows]: HWIO to K,R,S,C, and I,O to O,I */
static void take(dt_model *m, const dt_safetensors *f, const char *from, const char *to, int64_t columns)
{
    const int i = dt_model_find(m, to);
    dt_param_info info;

    cr_assert(i >= 0, "%s", to);
    dt_model_param(m, i, &info);
    float *v = read_floats(f, from, info.count), *turned = malloc((size_t)info.count * sizeof *turned);
    const int64_t rows = info.count / columns;
    for (int64_t k = 0; k < info.count; k++) turned[k % columns * rows + k / columns] = v[k];
    MUST(dt_model_write(m, i, turned));
    free(turned);
    free(v);
}

static void take_weights(dt_model *m, const dt_safetensors *f)
{
    static const int filters[] = { 4, 6, 3, 4 };
    char from[64], to[64];

    for (int i = 0; i < 4; i++) {
        snprintf(from, sizeof from, "keras.conv%d.kernel", i);
        snprintf(to, sizeof to, "conv%d.weight", i + 1);
        take(m, f, from, to, filters[i]);
        snprintf(from, sizeof from, "keras.conv%d.bias", i);
        snprintf(to, sizeof to, "bias%d.bias", i + 1);
        take(m, f, from, to, 1);
    }
    take(m, f, "keras.fc0.kernel", "fc1.weight", 8);
    take(m, f, "keras.fc0.bias", "fc1.bias", 1);
    take(m, f, "keras.fc1.kernel", "classifier.weight", 6);
    take(m, f, "keras.fc1.bias", "classifier.bias", 1);
}

Test(signal_networks, smartwatch_lean_gives_the_scores_of_tensorflow_lite)
{
    enum { N = 200, CLASSES = 6 };
    dt_safetensors *params = NULL, *data = NULL, *expect = NULL;
    char path[3][4096];
    if (!golden_path("smartwatch.params.safetensors", path[0], sizeof path[0]) ||
        !golden_path("data.har.safetensors", path[1], sizeof path[1]) ||
        !golden_path("smartwatch.expect.safetensors", path[2], sizeof path[2]))
        cr_skip_test("DETENT_PTQ_ORACLE names no folder with smartwatch");
    MUST(dt_safetensors_open(path[0], &params));
    MUST(dt_safetensors_open(path[1], &data));
    MUST(dt_safetensors_open(path[2], &expect));
    float *x = read_floats(data, "test", N * 600), *want = read_floats(expect, "float.litert_ref", N * CLASSES);
    float scores[N * CLASSES];
    dt_model_config c;
    dt_model *m = NULL;
    dt_context *ctx = NULL;
    dt_options o;

    dt_options_default(&o);
    o.backend = "cpu";
    o.precision = DT_PRECISION_F32;
    MUST(dt_context_create(&o, &ctx));
    MUST(dt_model_config_default(MODELS "smartwatch_lean.json", &c));
    c.wbits = c.abits = DT_BITS_FLOAT;
    MUST(dt_model_create(ctx, &c, &m));
    take_weights(m, params);
    MUST(dt_predict(m, &(dt_prediction){ .normalised = x, .n = N }, scores));
    for (int n = 0; n < N; n++) {
        double sum = 0.0;
        for (int k = 0; k < CLASSES; k++) sum += exp((double)scores[n * CLASSES + k]);
        for (int k = 0; k < CLASSES; k++) {
            const double p = exp((double)scores[n * CLASSES + k]) / sum;
            cr_assert(fabs(p - (double)want[n * CLASSES + k]) < 1e-5, "window %d, class %d: %g, expected %g", n, k, p,
                      (double)want[n * CLASSES + k]);
        }
    }
    free(x);
    free(want);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
    dt_safetensors_close(params);
    dt_safetensors_close(data);
    dt_safetensors_close(expect);
}
