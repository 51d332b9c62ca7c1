/*
 * test_reconstruct.c - class capsules against what evaluation predicts from them, and the fc decoder against plain
 *                      loops in double.
 */
#include "../support/tiny_run.h"

#include <math.h>
#include <stdio.h>

enum { SIDE = 17, IMAGES = 12, CLASSES = 10, DIM = 16 };

static void net_open(tiny_run *r, const char *network, dt_decoder decoder)
{
    tiny_options o = tiny_defaults();

    MUST(dt_model_config_default(network, &o.model));
    dt_train_config_default(network, &o.train);
    o.images = o.train.batch = IMAGES;
    o.model.channels = 3;
    if (strcmp(network, "tiny") != 0) {
        o.side = o.model.height = o.model.width = SIDE;
        choose(&o.model, "decoder", (int)decoder);
    }
    cr_assert(tiny_open(r, &o));
}

static int longest(const float *capsules)
{
    double best = -1.0;
    int at = 0;

    for (int j = 0; j < CLASSES; j++) {
        double square = 0.0;
        for (int d = 0; d < DIM; d++) square += (double)capsules[j * DIM + d] * (double)capsules[j * DIM + d];
        if (square > best) at = j;
        if (square > best) best = square;
    }
    return at;
}

Test(reconstruct, the_longest_capsule_is_the_prediction)
{
    static float all[IMAGES * CLASSES * DIM], some[3 * CLASSES * DIM];
    int32_t predictions[IMAGES];
    dt_metrics metrics;
    tiny_run r;

    net_open(&r, "shallowcaps", DT_DECODER_NONE);
    tiny_steps(&r, 2);
    MUST(dt_capsules(r.model, r.data, 0, IMAGES, all));
    MUST(dt_evaluate(r.model, r.data, 5, 0.0f, NULL, &(dt_outputs){ .predictions = predictions }, &metrics));
    for (int n = 0; n < IMAGES; n++) {
        const int found = longest(all + n * CLASSES * DIM);
        cr_assert(found == predictions[n], "image %d: %d, predicted %d", n, found, predictions[n]);
    }
    MUST(dt_capsules(r.model, r.data, 7, 3, some));
    cr_assert(memcmp(some, all + 7 * CLASSES * DIM, sizeof some) == 0, "images 7 to 9 alone differ");
    tiny_close(&r);
}

/* y[o] = b[o] + sum w[o][i] x[i] of the layer called `name` */
static void dense(const tiny_run *r, const char *name, const double *x, int64_t inputs, double *y)
{
    char full[64];
    int64_t n, outputs;

    snprintf(full, sizeof full, "%s.bias", name);
    float *b = tiny_param(r, tiny_index(r, full), &outputs);
    snprintf(full, sizeof full, "%s.weight", name);
    float *w = tiny_param(r, tiny_index(r, full), &n);
    for (int64_t o = 0; o < outputs; o++) {
        y[o] = (double)b[o];
        for (int64_t i = 0; i < inputs; i++) y[o] += (double)w[o * inputs + i] * x[i];
    }
    free(w);
    free(b);
}

static void relu(double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) x[i] = x[i] > 0.0 ? x[i] : 0.0;
}

Test(reconstruct, the_decoder_is_three_layers_and_a_sigmoid)
{
    enum { N = 3, PIXELS = SIDE * SIDE * 3 };
    static float capsules[N * DIM], images[N * PIXELS];
    static double v[DIM], first[512], second[1024], image[PIXELS];
    tiny_run r;

    net_open(&r, "shallowcaps", DT_DECODER_FC);
    for (int i = 0; i < N * DIM; i++) capsules[i] = 3.0f * sinf((float)(i + 1));
    MUST(dt_decode(r.model, capsules, N, images));
    for (int n = 0; n < N; n++) {
        for (int d = 0; d < DIM; d++) v[d] = (double)capsules[n * DIM + d];
        dense(&r, "decoder.fc1", v, DIM, first);
        relu(first, 512);
        dense(&r, "decoder.fc2", first, 512, second);
        relu(second, 1024);
        dense(&r, "decoder.fc3", second, 1024, image);
        for (int i = 0; i < PIXELS; i++) {
            const double want = 1.0 / (1.0 + exp(-image[i])), got = (double)images[n * PIXELS + i];
            cr_assert(fabs(got - want) <= 1e-6, "image %d, value %d: %.9g, expected %.9g", n, i, got, want);
        }
    }
    tiny_close(&r);
}

Test(reconstruct, what_cannot_be_is_refused)
{
    float capsule[DIM] = { 0 }, image[1];
    tiny_run r;

    net_open(&r, "shallowcaps", DT_DECODER_NONE);
    cr_assert(dt_decode(r.model, capsule, 1, image) == DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "without a decoder; train it with --decoder fc") != NULL, "%s", dt_last_error());
    tiny_close(&r);
    net_open(&r, "tiny", DT_DECODER_NONE);
    cr_assert(dt_capsules(r.model, r.data, 0, 1, capsule) == DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "tiny has no capsules") != NULL, "%s", dt_last_error());
    tiny_close(&r);
}
