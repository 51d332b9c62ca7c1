/*
 * test_qcaps.c - what Q-CapsNets sees of the networks, calibration, and that an evaluation which begins in the middle
 *                gives what a whole one gives.
 */
#include "../../quant/qcaps/fixed_formats.h"
#include "../../quant/qcaps/qcaps.h"
#include "../support/tiny_run.h"

#include <math.h>

enum { SIDE = 20, IMAGES = 60, FEW = 24 };

typedef struct {
    dt_context *ctx;
    dt_dataset *data;
    dt_model *model;
} net;

static dt_model_config config_of(const char *name, int side, int channels)
{
    dt_model_config c;
    MUST(dt_model_config_default(name, &c));
    c.height = c.width = side;
    c.channels = channels;
    if (dt_network_has_capsules(name)) choose(&c, "decoder", DT_DECODER_NONE);
    return c;
}

/* The first so many images, shrunk from 32x32. */
static void net_open_of(net *n, const dt_model_config *c, int images)
{
    const dt_dataset_options data = { .name = "synthetic",
                                      .split = DT_SPLIT_TEST,
                                      .limit = images,
                                      .seed = 1,
                                      .height = c->height,
                                      .width = c->width,
                                      .resize = 1 };
    dt_options opt;

    dt_options_default(&opt);
    opt.backend = "cpu";
    MUST(dt_context_create(&opt, &n->ctx));
    MUST(dt_dataset_open(&data, &n->data));
    MUST(dt_model_create(n->ctx, c, &n->model));
}

static void net_open(net *n, const dt_model_config *c)
{
    net_open_of(n, c, IMAGES);
}

static void net_close(net *n)
{
    dt_model_destroy(n->model);
    dt_dataset_close(n->data);
    cr_assert(n->ctx->bytes == n->ctx->workspace_bytes + n->ctx->scratch_bytes + sizeof(dt_step),
              "%zu bytes of device memory are still held", n->ctx->bytes);
    dt_context_destroy(n->ctx);
}

typedef struct {
    const char *model;
    int side, channels;
    int n_layers;
    int64_t weights[6], activations[6];
    int routes[6];
} shape_case;

static const shape_case shapes[] = {
    { "shallowcaps", 28, 1, 3, { 20992, 5308672, 1474720 }, { 102400, 9216, 160 }, { 0, 1, 3 } },
    { "deepcaps",
      28,
      1,
      6,
      { 1536, 590336, 2065408, 2360320, 1789184, 1638720 },
      { 100352, 100352, 50176, 16384, 4096, 320 },
      { 0, 0, 0, 0, 3, 3 } },
    { "deepcaps",
      64,
      3,
      6,
      { 3840, 590336, 2065408, 2360320, 1789184, 6553920 },
      { 524288, 524288, 262144, 65536, 16384, 320 },
      { 0, 0, 0, 0, 3, 3 } },
};

Test(qcaps, layers_hold_what_the_published_table_says)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const shape_case *want = &shapes[i];
        const dt_model_config c = config_of(want->model, want->side, want->channels);
        dt_qcaps_shape s;
        net n;
        net_open(&n, &c);
        MUST(dt_qcaps_describe(n.model, &s));
        cr_assert(s.n_layers == want->n_layers, "%s: %d layers", want->model, s.n_layers);
        cr_assert(s.n_input == (int64_t)want->side * want->side * want->channels, "%s: n_input", want->model);
        for (int l = 0; l < s.n_layers; l++) {
            cr_assert(s.layer[l].n_weights == want->weights[l], "%s: %s has %lld weights, expected %lld", want->model,
                      s.layer[l].name, (long long)s.layer[l].n_weights, (long long)want->weights[l]);
            cr_assert(s.layer[l].n_activations == want->activations[l], "%s: %s has %lld activations, expected %lld",
                      want->model, s.layer[l].name, (long long)s.layer[l].n_activations,
                      (long long)want->activations[l]);
            cr_assert(s.layer[l].routes == want->routes[l], "%s: %s routes %d times, expected %d", want->model,
                      s.layer[l].name, s.layer[l].routes, want->routes[l]);
        }
        net_close(&n);
    }
}

static dt_qcaps_options options(dt_rounding rounding)
{
    dt_qcaps_options o;
    dt_qcaps_options_default(&o);
    o.rounding = rounding;
    o.batch = 20;
    return o;
}

/* Of a weight: its largest magnitude. Of a coupling in the first iteration: 1 / classes. */
Test(qcaps, calibration_finds_the_largest_magnitudes)
{
    const dt_model_config c = config_of("shallowcaps", SIDE, 3);
    const dt_qcaps_options o = options(DT_ROUND_NEAREST);
    dt_qcaps_shape shape;
    dt_model *q;
    net n;

    net_open(&n, &c);
    MUST(dt_qcaps_describe(n.model, &shape));
    const dt_qcaps_bits bits = dt_qcaps_uniform(&shape, 8);
    MUST(dt_qcaps_quantize(n.model, n.data, &o, &bits, &q));
    const dt_fixed_formats *f = dt_fixed_formats_of(q);
    int n_weights = 0;
    for (int i = 0; i < f->n; i++) {
        const dt_fixed_tensor *t = &f->tensor[i];
        cr_assert(t->scale > 0.0f && t->scale < 100.0f, "%s: scale %g", t->name, (double)t->scale);
        if (t->kind != DT_FIXED_WEIGHT) continue;
        const dt_tensor *w = &n.model->param[dt_model_find(n.model, t->name)]->tensor;
        float largest = 0.0f;
        for (int64_t k = 0; k < dt_count(&w->shape); k++) largest = fmaxf(largest, fabsf(((const float *)w->data)[k]));
        cr_assert(t->scale == (largest > 0.0f ? largest : 1.0f), "%s: scale %g, largest %g", t->name, (double)t->scale,
                  (double)largest);
        n_weights++;
    }
    cr_assert(n_weights == 6, "%d weight tensors", n_weights);
    const int coupling = dt_fixed_find(f, "digit.c1"), primary = dt_fixed_find(f, "primary.c1");
    cr_assert(f->tensor[coupling].scale == 0.1f && f->tensor[primary].scale == 1.0f / 32.0f, "coupling %g and %g",
              (double)f->tensor[coupling].scale, (double)f->tensor[primary].scale);
    dt_model_destroy(q);
    net_close(&n);
}

enum { MAX_TRIALS = 200 };

typedef struct {
    int n, stop_after;
    double accuracy[MAX_TRIALS];
} trials;

static int keep_trial(void *user, const dt_qcaps_trial *t)
{
    trials *all = user;
    cr_assert(all->n < MAX_TRIALS && t->trial == all->n + 1, "trial %d", t->trial);
    all->accuracy[all->n++] = t->accuracy;
    return all->n == all->stop_after;
}

/* A little trained, so that bits matter. */
static void train(net *n, int steps)
{
    dt_train_config t;
    dt_trainer *trainer;

    dt_train_config_default("shallowcaps", &t);
    t.batch = 20;
    t.shift = 0;
    MUST(dt_trainer_create(n->model, n->data, &t, &trainer));
    for (int i = 0; i < steps; i++) MUST(dt_trainer_step(trainer));
    dt_trainer_destroy(trainer);
}

static void search(net *n, const dt_qcaps_options *o, trials *all, dt_qcaps_result *r)
{
    const dt_qcaps_watch watch = { .trial = keep_trial, .user = all };
    *all = (trials){ 0 };
    MUST(dt_qcaps_search(n->model, n->data, o, &watch, r));
    cr_assert(all->n == r->n_trials, "%d trials, %d reported", r->n_trials, all->n);
}

Test(qcaps, a_search_with_a_cache_is_one_without)
{
    static const dt_rounding roundings[] = { DT_ROUND_NEAREST, DT_ROUND_STOCHASTIC };
    const dt_model_config c = config_of("shallowcaps", SIDE, 3);
    trials with, without;
    dt_qcaps_result a, b;
    net n;

    net_open(&n, &c);
    train(&n, 12);
    for (int k = 0; k < 2; k++) {
        dt_qcaps_options o = options(roundings[k]);
        o.accuracy_tolerance = 5.0f;
        search(&n, &o, &with, &a);
        o.cache_bytes = 0;
        search(&n, &o, &without, &b);
        cr_assert(with.n == without.n, "%d trials with a cache, %d without", with.n, without.n);
        for (int i = 0; i < with.n; i++) {
            cr_assert(with.accuracy[i] == without.accuracy[i], "trial %d: %g with a cache, %g without", i + 1,
                      with.accuracy[i], without.accuracy[i]);
        }
        cr_assert(memcmp(&a.satisfied.bits, &b.satisfied.bits, sizeof a.satisfied.bits) == 0, "other bits");
        cr_assert(a.full_accuracy > 15.0, "the network has learnt nothing: %g %%", a.full_accuracy);
    }
    net_close(&n);
}

Test(qcaps, every_rounding_runs)
{
    const dt_model_config c = config_of("shallowcaps", SIDE, 3);
    net n;

    net_open_of(&n, &c, FEW); /* a batch, and one that is not full */
    train(&n, 4);
    for (int rounding = DT_ROUND_NEAREST; rounding <= DT_ROUND_LOGARITHMIC; rounding++) {
        dt_qcaps_options o = options((dt_rounding)rounding);
        dt_qcaps_result r;
        trials all;
        o.accuracy_tolerance = 0.0f;
        o.memory_budget = 1.0f;
        search(&n, &o, &all, &r);
        cr_assert(r.satisfied.present || r.memory.present, "%s: no outcome", dt_rounding_names[rounding]);
    }
    net_close(&n);
}

Test(qcaps, the_published_code_runs)
{
    const dt_model_config c = config_of("shallowcaps", SIDE, 3);
    dt_qcaps_options o = options(DT_ROUND_TRUNCATION);
    dt_qcaps_result r;
    trials all;
    net n;

    net_open(&n, &c);
    train(&n, 4);
    o.published = 1;
    o.accuracy_tolerance = 20.0f;
    search(&n, &o, &all, &r);
    cr_assert(r.satisfied.present || (r.memory.present && r.accuracy.present), "published: no outcome");
    net_close(&n);
}

/* 24 bits of a value hold all of an f32 that is not far below the largest. */
Test(qcaps, many_bits_change_no_prediction)
{
    const dt_model_config c = config_of("shallowcaps", SIDE, 3);
    const dt_qcaps_options o = options(DT_ROUND_NEAREST);
    int32_t whole[IMAGES], rounded[IMAGES];
    dt_qcaps_shape shape;
    dt_metrics metrics;
    dt_model *q;
    net n;

    net_open(&n, &c);
    train(&n, 8);
    MUST(dt_qcaps_describe(n.model, &shape));
    const dt_qcaps_bits bits = dt_qcaps_uniform(&shape, 24);
    MUST(dt_evaluate(n.model, n.data, 20, 0.0f, NULL, &(dt_outputs){ .predictions = whole }, &metrics));
    MUST(dt_qcaps_quantize(n.model, n.data, &o, &bits, &q));
    MUST(dt_evaluate(q, n.data, 20, 0.0f, NULL, &(dt_outputs){ .predictions = rounded }, &metrics));
    for (int i = 0; i < IMAGES; i++) cr_assert(whole[i] == rounded[i], "image %d", i);
    dt_model_destroy(q);
    net_close(&n);
}

Test(qcaps, an_interrupted_search_says_so)
{
    const dt_model_config c = config_of("shallowcaps", SIDE, 3);
    const dt_qcaps_options o = options(DT_ROUND_NEAREST);
    trials all = { .stop_after = 2 };
    const dt_qcaps_watch watch = { .trial = keep_trial, .user = &all };
    dt_qcaps_result r;
    net n;

    net_open(&n, &c);
    cr_assert(dt_qcaps_search(n.model, n.data, &o, &watch, &r) == DT_ERR_INTERRUPTED, "%s", dt_last_error());
    cr_assert(all.n == 2, "%d trials", all.n);
    net_close(&n);
}

Test(qcaps, networks_without_capsules_or_with_bits_are_refused)
{
    dt_model_config c = config_of("tiny", 32, 3);
    dt_qcaps_shape s;
    net n;

    net_open(&n, &c);
    cr_assert(dt_qcaps_describe(n.model, &s) == DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "tiny has no capsules") != NULL, "%s", dt_last_error());
    net_close(&n);
    c = config_of("shallowcaps", SIDE, 3);
    c.wbits = c.abits = 4;
    net_open(&n, &c);
    cr_assert(dt_qcaps_describe(n.model, &s) == DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "w4a4") != NULL, "%s", dt_last_error());
    net_close(&n);
}

/* Two tensors whose names of 200 bytes differ in the last one. */
Test(qcaps, names_of_tensors_are_whole)
{
    dt_fixed_formats f = { .observe = 1 };
    dt_fixed_format format;
    char name[201];

    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    for (char last = 'a'; last <= 'b'; last++) {
        name[sizeof name - 2] = last;
        MUST(dt_fixed_format_of(&f, name, 0, DT_FIXED_WEIGHT, &format));
        cr_assert(format.tensor == (uint32_t)(last - 'a') && f.n == last - 'a' + 1, "%d tensors", f.n);
        cr_assert(strcmp(f.tensor[f.n - 1].name, name) == 0, "%s", f.tensor[f.n - 1].name);
    }
    free(f.tensor);
}
