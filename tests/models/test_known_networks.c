/*
 * test_known_networks.c - the networks in models/: the parameters that their papers' tables come to, and two steps of
 * training.
 */
#include "../support/tiny_run.h"

#include <math.h>
#include <stdio.h>

#define MODELS DETENT_TEST_GOLDEN "/../../models/"

TestSuite(known_networks, .timeout = 300);

/* Filters and the scale and shift of the batch norm behind them. */
static int64_t normed(int64_t window, int64_t in, int64_t out)
{
    return window * window * in * out + 2 * out;
}

static int64_t linear(int64_t in, int64_t out)
{
    return in * out + out;
}

/* Stages of `blocks` residual blocks; the first of a stage projects where the width changes. */
static int64_t resnet(const int *width, int stages, int blocks)
{
    int64_t n = normed(3, 3, width[0]), in = width[0];

    for (int s = 0; s < stages; s++) {
        for (int b = 0; b < blocks; b++) {
            n += normed(3, in, width[s]) + normed(3, width[s], width[s]);
            if (in != width[s]) n += normed(1, in, width[s]);
            in = width[s];
        }
    }
    return n + linear(in, 10);
}

static int64_t resnet8(void)
{
    return resnet((const int[]){ 16, 32, 64 }, 3, 1);
}

static int64_t resnet20(void)
{
    return resnet((const int[]){ 16, 32, 64 }, 3, 3);
}

static int64_t resnet18(void)
{
    return resnet((const int[]){ 64, 128, 256, 512 }, 4, 2);
}

/* Thirteen pairs: a 3x3 filter for each channel, then 1x1; all widths a quarter of the paper's. */
static int64_t mobilenet(void)
{
    static const int width[] = { 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024 };
    int64_t n = normed(3, 3, 8), in = 8;

    for (size_t i = 0; i < sizeof width / sizeof width[0]; i++) {
        n += normed(3, 1, in) + normed(1, in, width[i] / 4);
        in = width[i] / 4;
    }
    return n + linear(in, 10);
}

static int64_t cnv(void)
{
    return normed(3, 3, 64) + normed(3, 64, 64) + normed(3, 64, 128) + normed(3, 128, 128) + normed(3, 128, 256) +
           normed(3, 256, 256) + normed(1, 256, 512) + normed(1, 512, 512) + linear(512, 10);
}

typedef struct {
    const char *name;
    int64_t (*count)(void);
    int n_layers;   /* convolutions */
    int n_sums;     /* joins, and the pool at the end */
    int64_t macs;   /* of them, for one image */
    int64_t images; /* of the two steps */
} known;

/* MACs: window^2 * in / groups * out * outputs, summed; 0.56 G of resnet18 and 41 M of resnet20 are known numbers. */
static const known networks[] = {
    { "resnet8", resnet8, 9, 4, 12500992, 8 },
    { "resnet20", resnet20, 21, 10, 40812544, 8 },
    { "resnet18", resnet18, 20, 9, 555417600, 4 },
    { "mobilenet", mobilenet, 27, 1, 3328512, 8 },
    { "cnv", cnv, 8, 0, 59456256, 8 },
};

static void check_layers(const known *k, const dt_model *m)
{
    int64_t macs = 0;

    cr_assert(dt_model_n_layers(m) == k->n_layers, "%s: %d layers", k->name, dt_model_n_layers(m));
    for (int i = 0; i < k->n_layers; i++) {
        dt_layer_info l;
        dt_model_layer(m, i, &l);
        cr_assert(l.wbits == 4 && l.abits == (i ? 4 : 8), "%s: %s is w%da%d", k->name, l.name, l.wbits, l.abits);
        cr_assert(l.exact_f32, "%s: %s", k->name, l.name);
        macs += l.macs;
    }
    cr_assert(macs == k->macs, "%s: %lld MACs", k->name, (long long)macs);
}

/* The trained network goes to hardware: its program is verified psum by psum on one image, tap psums and scores too. */
static void check_hardware(const known *k, tiny_run *r)
{
    dt_verify_report *report;
    dt_array array;

    dt_array_default(&array);
    array.psum_bits = 24;
    MUST(dt_verify(r->model, r->data, 0, 1, NULL, &array, NULL, &report));
    cr_assert(report->mismatches == 0 && report->n_checked > 0, "%s: %lld mismatches, the first in %s", k->name,
              (long long)report->mismatches, report->first.layer);
    cr_assert(report->n_layers == k->n_layers + k->n_sums, "%s: %d layers", k->name, report->n_layers);
    dt_verify_report_destroy(report);
}

/* Two steps change what they train, and leave numbers. */
static void check_training(const known *k)
{
    tiny_options o = tiny_defaults();
    char path[4096];
    tiny_run r;
    dt_metrics found;

    snprintf(path, sizeof path, MODELS "%s.json", k->name);
    MUST(dt_model_config_default(path, &o.model));
    o.images = k->images;
    o.train.batch = (int)k->images / 2;
    cr_assert(tiny_open(&r, &o));
    cr_assert(dt_model_count(r.model) == k->count(), "%s: %lld parameters, expected %lld", k->name,
              (long long)dt_model_count(r.model), (long long)k->count());
    check_layers(k, r.model);
    dt_param_info first;
    dt_model_param(r.model, 0, &first);
    int64_t n;
    float *before = tiny_param(&r, 0, &n), *after;
    tiny_steps(&r, 2);
    after = tiny_param(&r, 0, &n);
    cr_assert(memcmp(before, after, (size_t)n * sizeof *before) != 0, "%s: %s is not trained", k->name, first.name);
    MUST(dt_trainer_metrics(r.trainer, &found));
    MUST(dt_trainer_check_values(r.trainer));
    cr_assert(isfinite(found.loss) && found.images == k->images, "%s: loss %g of %lld images", k->name, found.loss,
              (long long)found.images);
    if (k->count() < 2000000) check_hardware(k, &r); /* resnet18's psums take as long as all the others' */
    free(before);
    free(after);
    tiny_close(&r);
}

Test(known_networks, resnet8_and_resnet20)
{
    check_training(&networks[0]);
    check_training(&networks[1]);
}

Test(known_networks, resnet18)
{
    check_training(&networks[2]);
}

Test(known_networks, mobilenet)
{
    check_training(&networks[3]);
}

Test(known_networks, cnv)
{
    check_training(&networks[4]);
}
