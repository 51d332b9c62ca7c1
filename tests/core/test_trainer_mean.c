/*
 * test_trainer_mean.c - the exponential mean of the parameters: what it is, that the network of it has statistics of
 * its own, and that looking at it changes nothing of the run, on the CPU, on CUDA, and where steps are captured.
 */
#include "../support/tiny_run.h"

#include <math.h>

static const char *const backends[] = { "cpu", "cuda" };

static tiny_options with_mean(const char *backend)
{
    tiny_options o = tiny_defaults();

    o.context.backend = backend;
    o.train.ema = 0.9f;
    return o;
}

/* In double, from the parameters after each step; the first steps let less stay. */
Test(trainer_mean, is_the_recurrence_of_its_definition)
{
    enum { STEPS = 12 };
    for (int b = 0; b < 2; b++) {
        const tiny_options o = with_mean(backends[b]);
        tiny_run r;
        if (!tiny_open(&r, &o)) continue;
        const int64_t n = r.model->n_trained;
        float *w = host_floats(r.ctx, r.model->w, n);
        double *want = malloc((size_t)n * sizeof *want);
        for (int64_t i = 0; i < n; i++) want[i] = (double)w[i];
        free(w);
        for (int t = 0; t < STEPS; t++) {
            const double stays = fmin(0.9, (1.0 + t) / (10.0 + t));
            tiny_steps(&r, 1);
            w = host_floats(r.ctx, r.model->w, n);
            for (int64_t i = 0; i < n; i++) want[i] = stays * want[i] + (1.0 - stays) * (double)w[i];
            free(w);
        }
        float *mean = host_floats(r.ctx, r.trainer->mean, n);
        for (int64_t i = 0; i < n; i++) {
            /* twelve steps of three f32 roundings each */
            cr_assert(fabs((double)mean[i] - want[i]) <= 4e-6 * (1.0 + fabs(want[i])),
                      "%s: mean[%lld] is %.9g, not %.9g", backends[b], (long long)i, (double)mean[i], want[i]);
        }
        free(mean);
        free(want);
        tiny_close(&r);
    }
}

static void use_mean(tiny_run *r, int batches)
{
    dt_metrics m;

    MUST(dt_trainer_begin_mean(r->trainer, batches));
    MUST(dt_evaluate(r->model, r->data, 16, 0.0f, NULL, NULL, &m));
    cr_assert(dt_trainer_step(r->trainer) == DT_ERR_ARGUMENT, "a step with the mean in the model");
    MUST(dt_trainer_end_mean(r->trainer));
}

static void same_metrics(const tiny_run *a, const tiny_run *b)
{
    dt_metrics x, y;

    MUST(dt_trainer_metrics(a->trainer, &x));
    MUST(dt_trainer_metrics(b->trainer, &y));
    cr_assert(x.loss == y.loss && x.images == y.images, "loss %.17g of %lld and %.17g of %lld images", x.loss,
              (long long)x.images, y.loss, (long long)y.images);
}

/* Twelve steps: eager ones, captured ones, and an eager one after the weights were changed from outside. */
Test(trainer_mean, looking_at_it_changes_nothing)
{
    for (int b = 0; b < 2; b++) {
        const tiny_options o = with_mean(backends[b]);
        tiny_run quiet, watched;
        if (!tiny_open(&quiet, &o)) continue;
        cr_assert(tiny_open(&watched, &o));
        for (int t = 0; t < 12; t++) {
            tiny_steps(&quiet, 1);
            tiny_steps(&watched, 1);
            if (t % 4 != 1) use_mean(&watched, 5);
            same_metrics(&quiet, &watched);
        }
        tiny_same_params(&quiet, &watched, backends[b]);
        tiny_close(&quiet);
        tiny_close(&watched);
    }
}

Test(trainer_mean, captured_steps_have_it_too)
{
    tiny_options graph = with_mean("cuda"), eager = graph;
    tiny_run x, y;

    eager.context.no_graph = 1;
    if (!tiny_open(&x, &graph)) cr_skip("no CUDA here: %s", dt_last_error());
    cr_assert(tiny_open(&y, &eager));
    MUST(dt_trainer_run(x.trainer, 12));
    MUST(dt_trainer_run(y.trainer, 12));
    MUST(dt_trainer_begin_mean(x.trainer, 3));
    MUST(dt_trainer_begin_mean(y.trainer, 3));
    tiny_same_params(&x, &y, "captured and eager");
    tiny_close(&x);
    tiny_close(&y);
}

static float *state_of(const tiny_run *r)
{
    return host_floats(r->ctx, r->model->state, r->model->n_state);
}

/* While it is in the model, the model computes what any model with its parameters does: its codes are those of these
 * weights, and not of sums that training has left. */
Test(trainer_mean, is_a_network_like_any_other)
{
    for (int b = 0; b < 2; b++) {
        const tiny_options o = with_mean(backends[b]);
        tiny_run r, other;
        dt_metrics x, y;
        if (!tiny_open(&r, &o)) continue;
        cr_assert(tiny_open(&other, &o));
        tiny_steps(&r, 6);
        MUST(dt_trainer_begin_mean(r.trainer, 4));
        for (int i = 0; i < dt_model_n_params(r.model); i++) {
            int64_t n;
            float *value = tiny_param(&r, i, &n);
            MUST(dt_model_write(other.model, i, value));
            free(value);
        }
        MUST(dt_evaluate(r.model, r.data, 16, 0.0f, NULL, NULL, &x));
        MUST(dt_evaluate(other.model, other.data, 16, 0.0f, NULL, NULL, &y));
        cr_assert(x.loss == y.loss, "%s: the loss is %.17g, and %.17g of a model of its own", backends[b], x.loss,
                  y.loss);
        tiny_close(&r);
        tiny_close(&other);
    }
}

/* Without a batch they stay; by many they no longer depend on those of training: 0.9^150 is 1e-7. */
Test(trainer_mean, statistics_are_those_of_its_own_weights)
{
    for (int b = 0; b < 2; b++) {
        const tiny_options o = with_mean(backends[b]);
        tiny_run r;
        if (!tiny_open(&r, &o)) continue;
        const int64_t n = r.model->n_state;
        tiny_steps(&r, 6);
        float *training = state_of(&r), *mean = host_floats(r.ctx, r.trainer->mean, r.model->n_trained);
        MUST(dt_trainer_begin_mean(r.trainer, 0));
        float *kept = state_of(&r), *w = host_floats(r.ctx, r.model->w, r.model->n_trained);
        cr_assert(memcmp(training, kept, (size_t)n * sizeof *kept) == 0, "%s: statistics of no batch", backends[b]);
        cr_assert(memcmp(mean, w, (size_t)r.model->n_trained * sizeof *w) == 0, "%s: not the mean", backends[b]);
        MUST(dt_trainer_end_mean(r.trainer));
        MUST(dt_trainer_begin_mean(r.trainer, 150));
        float *found = state_of(&r);
        cr_assert(memcmp(found, training, (size_t)n * sizeof *found) != 0, "%s: statistics stay", backends[b]);
        MUST(dt_trainer_end_mean(r.trainer));
        float *back = state_of(&r), *other = calloc((size_t)n, sizeof *other);
        cr_assert(memcmp(training, back, (size_t)n * sizeof *back) == 0, "%s: not put back", backends[b]);
        for (int64_t i = 0; i < n; i++) other[i] = training[i] + 1.0f;
        for (int i = 0; i < r.model->n_params; i++) { /* fixed clips are state too, and stay */
            const dt_param *p = r.model->param[i];
            if (p->group != DT_GROUP_STATE || strstr(p->name, "running")) continue;
            memcpy(other + p->first, training + p->first, (size_t)dt_count(&p->tensor.shape) * sizeof *other);
        }
        MUST(dt_device_write(r.ctx, r.model->state, other, (size_t)n * sizeof *other));
        MUST(dt_trainer_begin_mean(r.trainer, 150));
        float *again = state_of(&r);
        for (int64_t i = 0; i < n; i++) {
            cr_assert(fabs((double)found[i] - (double)again[i]) <= 1e-5 * (1.0 + fabs((double)found[i])),
                      "%s: statistic %lld is %g, and from another begin %g", backends[b], (long long)i,
                      (double)found[i], (double)again[i]);
        }
        MUST(dt_trainer_end_mean(r.trainer));
        free(training);
        free(mean);
        free(kept);
        free(w);
        free(found);
        free(back);
        free(other);
        free(again);
        tiny_close(&r);
    }
}

Test(trainer_mean, misuse_is_refused)
{
    tiny_options o = tiny_defaults();
    tiny_run r;

    cr_assert(tiny_open(&r, &o));
    cr_assert(dt_trainer_begin_mean(r.trainer, 1) == DT_ERR_ARGUMENT &&
              dt_trainer_end_mean(r.trainer) == DT_ERR_ARGUMENT);
    tiny_close(&r);
    o = with_mean("cpu");
    cr_assert(tiny_open(&r, &o));
    MUST(dt_trainer_begin_mean(r.trainer, 1));
    cr_assert(dt_trainer_begin_mean(r.trainer, 1) == DT_ERR_ARGUMENT, "twice");
    tiny_close(&r);
    o.train.ema = 1.0f;
    tiny_refused(&o, DT_ERR_ARGUMENT, "ema is 1, allowed are 0 to below 1");
    o = with_mean("cpu");
    o.model.rule = DT_RULE_AFFINE;
    o.model.ranges = DT_RANGE_AVERAGE;
    o.model.wbits = o.model.abits = 8;
    tiny_refused(&o, DT_ERR_UNSUPPORTED, "follows the batches; train with ranges that are learned");
    o = tiny_defaults();
    o.train.dampen = 0.1f;
    o.train.optim = DT_OPTIM_ADAM;
    tiny_refused(&o, DT_ERR_UNSUPPORTED, "train with sgd");
    o = tiny_defaults();
    o.train.ewgs_activations = 0.1f;
    o.model.wbits = o.model.abits = DT_BITS_FLOAT;
    tiny_refused(&o, DT_ERR_UNSUPPORTED, "no activation of tiny has a quantizer with a clip; train with bits");
    o = tiny_defaults();
    o.train.ewgs_activations = 1.5f;
    tiny_refused(&o, DT_ERR_ARGUMENT, "ewgs_activations is 1.5, allowed are 0..1");
    o = tiny_defaults();
    o.train.warmup = -1.0f;
    tiny_refused(&o, DT_ERR_ARGUMENT, "warmup is -1 epochs");
    o = tiny_defaults();
    o.train.cutout = 65;
    tiny_refused(&o, DT_ERR_ARGUMENT, "cutout is 65, allowed are 0..64");
    o = tiny_defaults();
    o.train.start_clips = DT_START_CLIPS_PERCENTILE;
    o.train.clip_percent = 49.0f;
    tiny_refused(&o, DT_ERR_ARGUMENT, "clip_percent is 49, allowed are 50..100");
}
