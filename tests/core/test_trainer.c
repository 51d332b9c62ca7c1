/*
 * test_trainer.c - whole training runs of the model "tiny" on synthetic images: they learn, they repeat bit for bit,
 * they go on where they were stopped, and looking at them changes nothing.
 */
#include "../support/tiny_run.h"

#include <math.h>

static dt_metrics metrics_of(const tiny_run *r)
{
    dt_metrics m;
    MUST(dt_trainer_metrics(r->trainer, &m));
    return m;
}

static void same_metrics(const tiny_run *a, const tiny_run *b, const char *why)
{
    const dt_metrics x = metrics_of(a), y = metrics_of(b);
    cr_assert(x.loss == y.loss && x.accuracy == y.accuracy && x.images == y.images, "%s: loss %.17g and %.17g", why,
              x.loss, y.loss);
    cr_assert(x.reconstruction == y.reconstruction, "%s: reconstruction %.17g and %.17g", why, x.reconstruction,
              y.reconstruction);
}

/* ---- learning ---- */

/* Mean loss of the last of eight epochs. */
static double train(const tiny_options *o)
{
    tiny_run r;
    cr_assert(tiny_open(&r, o));
    MUST(dt_trainer_calibrate(r.trainer));
    tiny_steps(&r, o->train.epochs * (int)dt_trainer_steps_per_epoch(r.trainer));
    const double loss = metrics_of(&r).loss;
    tiny_close(&r);
    return loss;
}

/* ln 10 = 2.3 is no knowledge of ten classes */
Test(trainer, learns_with_every_rule_and_both_optimisers)
{
    for (int rule = DT_RULE_ECE284; rule <= DT_RULE_LSQ; rule++) {
        tiny_options o = tiny_defaults();
        o.images = 160;
        o.model.rule = (dt_quant_rule)rule;
        o.train.epochs = 8;
        o.train.crop_pad = 0;
        o.train.flip_share = 0.0f;
        if (rule == DT_RULE_LSQ) {
            o.train.optim = DT_OPTIM_ADAM;
            o.train.lr = 3e-3f;
        }
        const double loss = train(&o);
        cr_assert(loss < 1.5, "rule %d: the loss is %g", rule, loss);
    }
}

/* ---- equal bits ---- */

static void same_twice(const tiny_options *a, const tiny_options *b, int steps, const char *why)
{
    tiny_run x, y;
    cr_assert(tiny_open(&x, a) && tiny_open(&y, b));
    tiny_steps(&x, steps);
    tiny_steps(&y, steps);
    tiny_same_params(&x, &y, why);
    same_metrics(&x, &y, why);
    tiny_close(&x);
    tiny_close(&y);
}

Test(trainer, equal_seeds_give_equal_bits)
{
    tiny_options o = tiny_defaults();
    same_twice(&o, &o, 5, "f32");
    o.context.precision = DT_PRECISION_MIXED;
    same_twice(&o, &o, 5, "mixed");
    o.model.per_channel = 1;
    o.train.optim = DT_OPTIM_ADAM;
    same_twice(&o, &o, 5, "mixed, a clip a filter, Adam");
}

Test(trainer, threads_do_not_change_a_bit)
{
    tiny_options one = tiny_defaults(), three = tiny_defaults();
    tiny_run x, y;
    one.context.threads = 1;
    three.context.threads = 3;
    /* the number of threads is the process's: one run after the other */
    cr_assert(tiny_open(&x, &one));
    tiny_steps(&x, 4);
    cr_assert(tiny_open(&y, &three));
    tiny_steps(&y, 4);
    tiny_same_params(&x, &y, "1 and 3 threads");
    tiny_close(&x);
    tiny_close(&y);
}

Test(trainer, other_seeds_give_other_runs)
{
    tiny_options a = tiny_defaults(), b = tiny_defaults();
    tiny_run x, y;
    b.context.seed = a.context.seed + 1;
    cr_assert(tiny_open(&x, &a) && tiny_open(&y, &b));
    tiny_steps(&x, 1);
    tiny_steps(&y, 1);
    cr_assert(metrics_of(&x).loss != metrics_of(&y).loss);
    tiny_close(&x);
    tiny_close(&y);
}

/* ---- stop and go on ---- */

static void copy_device(const tiny_run *from, const float *src, const tiny_run *to, float *dst)
{
    const int64_t n = from->model->n_trained;
    float *host = host_floats(from->ctx, src, n);
    MUST(dt_device_write(to->ctx, dst, host, (size_t)n * sizeof *host));
    free(host);
}

/* What a checkpoint holds. */
static void hand_over(const tiny_run *from, const tiny_run *to)
{
    dt_step state;
    for (int i = 0; i < dt_model_n_params(from->model); i++) {
        int64_t n;
        float *value = tiny_param(from, i, &n);
        MUST(dt_model_write(to->model, i, value));
        free(value);
    }
    copy_device(from, from->trainer->m1, to, to->trainer->m1);
    if (from->trainer->m2) copy_device(from, from->trainer->m2, to, to->trainer->m2);
    MUST(dt_trainer_state(from->trainer, &state));
    MUST(dt_trainer_seek(to->trainer, dt_trainer_steps_done(from->trainer), &state));
}

/* An epoch has 3 steps: stops in the middle of one, at its end, and in the next. */
Test(trainer, goes_on_with_equal_bits)
{
    static const int stops[] = { 2, 3, 4 };
    for (int kind = DT_OPTIM_SGD; kind <= DT_OPTIM_ADAM; kind++) {
        for (int i = 0; i < 3; i++) {
            tiny_options o = tiny_defaults(), other = tiny_defaults();
            tiny_run whole, before, after;
            o.train.optim = other.train.optim = (dt_optim_kind)kind;
            cr_assert(tiny_open(&whole, &o) && tiny_open(&before, &o) && tiny_open(&after, &other));
            tiny_steps(&whole, 8);
            tiny_steps(&before, stops[i]);
            hand_over(&before, &after);
            tiny_close(&before);
            tiny_steps(&after, 8 - stops[i]);
            tiny_same_params(&whole, &after, "stopped and gone on");
            same_metrics(&whole, &after, "stopped and gone on");
            tiny_close(&whole);
            tiny_close(&after);
        }
    }
}

/* ---- batches and epochs ---- */

Test(trainer, the_last_batch_of_an_epoch_may_be_smaller)
{
    static const int64_t images[] = { 32, 64, 80, 96 };
    const tiny_options o = tiny_defaults();
    tiny_run r;
    cr_assert(tiny_open(&r, &o));
    cr_assert(dt_trainer_steps_per_epoch(r.trainer) == 3);
    for (int i = 0; i < 3; i++) {
        cr_assert(dt_trainer_epoch(r.trainer) == 0);
        tiny_steps(&r, 1);
        cr_assert(metrics_of(&r).images == images[i], "%lld images after step %d", (long long)metrics_of(&r).images, i);
    }
    cr_assert(dt_trainer_epoch(r.trainer) == 1 && dt_trainer_steps_done(r.trainer) == 3);
    cr_assert(dt_trainer_lr(r.trainer) < o.train.lr, "the cosine falls with the epoch");
    tiny_steps(&r, 1);
    cr_assert(metrics_of(&r).images == 32, "a new epoch counts from 0");
    tiny_close(&r);
}

Test(trainer, a_dataset_smaller_than_the_batch_is_one_step)
{
    tiny_options o = tiny_defaults();
    tiny_run r;
    o.images = 10;
    cr_assert(tiny_open(&r, &o));
    cr_assert(dt_trainer_steps_per_epoch(r.trainer) == 1);
    tiny_steps(&r, 2);
    cr_assert(metrics_of(&r).images == 10 && dt_trainer_epoch(r.trainer) == 2);
    tiny_close(&r);
}

/* ---- looking ---- */

static void look(tiny_run *r)
{
    dt_quant_report report[3];
    dt_metrics m;
    int32_t predictions[80];
    MUST(dt_trainer_report(r->trainer, report));
    MUST(dt_evaluate(r->model, r->data, 7, 0.0f, NULL, &(dt_outputs){ .predictions = predictions }, &m));
    cr_assert(m.images == 80 && isfinite(m.loss));
    MUST(dt_trainer_report(r->trainer, report));
}

static void look_and_compare(const tiny_options *o)
{
    tiny_run quiet, watched;
    if (!tiny_open(&quiet, o)) return;
    cr_assert(tiny_open(&watched, o));
    for (int i = 0; i < 4; i++) { /* the third ends an epoch */
        look(&watched);
        tiny_steps(&quiet, 1);
        tiny_steps(&watched, 1);
        look(&watched);
        same_metrics(&quiet, &watched, o->context.backend);
    }
    tiny_same_params(&quiet, &watched, o->context.backend);
    tiny_close(&quiet);
    tiny_close(&watched);
}

Test(trainer, reports_and_evaluations_leave_the_run_as_it_was)
{
    tiny_options o = tiny_defaults();
    look_and_compare(&o);
    o.context.backend = "cuda";
    look_and_compare(&o);
}

/* ---- precisions and backends ---- */

static void same_capture(const dt_capture *a, const dt_capture *b, const char *layer)
{
    const int64_t n_x = a->n * a->height * a->width * a->channels;
    const int64_t n_w = (int64_t)a->filters * a->kernel_height * a->kernel_width * a->channels;
    const int64_t n_y = a->n * a->out_height * a->out_width * a->filters;
    cr_assert(a->sx == b->sx && memcmp(a->sw, b->sw, (size_t)a->n_sw * sizeof(float)) == 0, "%s: scales", layer);
    for (int64_t i = 0; i < n_x; i++) cr_assert(a->qx[i] == b->qx[i], "%s: qx[%lld]", layer, (long long)i);
    for (int64_t i = 0; i < n_w; i++) cr_assert(a->qw[i] == b->qw[i], "%s: qw[%lld]", layer, (long long)i);
    for (int64_t i = 0; i < n_y; i++) cr_assert(a->psum[i] == b->psum[i], "%s: psum[%lld]", layer, (long long)i);
}

static void same_integers(tiny_run *a, tiny_run *b)
{
    static const char *const layers[] = { "features.0", "features.4" };
    for (int i = 0; i < 2; i++) {
        dt_capture *x, *y;
        MUST(dt_capture_layer(a->model, a->data, 3, 20, layers[i], &x));
        MUST(dt_capture_layer(b->model, b->data, 3, 20, layers[i], &y));
        same_capture(x, y, layers[i]);
        dt_capture_destroy(x);
        dt_capture_destroy(y);
    }
}

static dt_metrics evaluate(const tiny_run *r)
{
    dt_metrics m;
    MUST(dt_evaluate(r->model, r->data, 32, 0.1f, NULL, NULL, &m));
    return m;
}

static void copy_params(const tiny_run *from, const tiny_run *to)
{
    for (int i = 0; i < dt_model_n_params(from->model); i++) {
        int64_t n;
        float *value = tiny_param(from, i, &n);
        MUST(dt_model_write(to->model, i, value));
        free(value);
    }
}

Test(trainer, precisions_evaluate_to_equal_bits)
{
    tiny_options f32 = tiny_defaults(), mixed = tiny_defaults();
    tiny_run a, b;
    mixed.context.precision = DT_PRECISION_MIXED;
    cr_assert(tiny_open(&a, &f32) && tiny_open(&b, &mixed));
    tiny_steps(&a, 3);
    copy_params(&a, &b);
    same_integers(&a, &b);
    cr_assert(evaluate(&a).loss == evaluate(&b).loss);
    tiny_close(&a);
    tiny_close(&b);
}

/* Sums in another order: 2^-24 a term, about a thousand terms, and a division by the deviation of a filter's weights
 * (0.1) and of a channel. */
static const double step_tolerance = 1e-4;

static void close_params(const tiny_run *a, const tiny_run *b)
{
    for (int i = 0; i < dt_model_n_params(a->model); i++) {
        int64_t n;
        float *x = tiny_param(a, i, &n), *y = tiny_param(b, i, &n);
        double largest = 0.0;
        for (int64_t j = 0; j < n; j++) largest = fmax(largest, fabs((double)x[j]));
        for (int64_t j = 0; j < n; j++) {
            cr_assert(fabs((double)x[j] - (double)y[j]) <= step_tolerance * largest, "%s[%lld] is %.9g and %.9g",
                      a->model->param[i]->name, (long long)j, (double)x[j], (double)y[j]);
        }
        free(x);
        free(y);
    }
}

Test(trainer, cpu_and_cuda_take_the_same_step)
{
    tiny_options cpu = tiny_defaults(), cuda = tiny_defaults();
    tiny_run a, b;
    cuda.context.backend = "cuda";
    if (!tiny_open(&b, &cuda)) cr_skip("no CUDA here: %s", dt_last_error());
    cr_assert(tiny_open(&a, &cpu));
    tiny_same_params(&a, &b, "initial values");
    same_integers(&a, &b);
    cr_assert(fabs(evaluate(&a).loss - evaluate(&b).loss) <= 1e-6);
    tiny_steps(&a, 1);
    tiny_steps(&b, 1);
    cr_assert(fabs(metrics_of(&a).loss - metrics_of(&b).loss) <= 1e-5, "losses %.9g and %.9g", metrics_of(&a).loss,
              metrics_of(&b).loss);
    close_params(&a, &b);
    copy_params(&a, &b);
    same_integers(&a, &b); /* with running statistics that have moved */
    tiny_close(&a);
    tiny_close(&b);
}

Test(trainer, a_captured_step_gives_the_bits_of_an_eager_one)
{
    tiny_options graph = tiny_defaults(), eager = tiny_defaults();
    tiny_run probe;
    graph.context.backend = eager.context.backend = "cuda";
    eager.context.no_graph = 1;
    if (!tiny_open(&probe, &graph)) cr_skip("no CUDA here: %s", dt_last_error());
    tiny_close(&probe);
    same_twice(&graph, &eager, 8, "captured and eager");
}

/* ---- misuse ---- */

Test(trainer, bad_configurations_are_refused)
{
    tiny_options o = tiny_defaults();
    o.train.batch = 0;
    tiny_refused(&o, DT_ERR_ARGUMENT, "batch is 0, allowed are 1..65536");
    o = tiny_defaults();
    o.train.lr = NAN;
    tiny_refused(&o, DT_ERR_ARGUMENT, "lr is nan");
    o = tiny_defaults();
    o.train.shift = 17;
    tiny_refused(&o, DT_ERR_ARGUMENT, "shift is 17, allowed are 0..16");
    o = tiny_defaults();
    o.train.rotation = NAN;
    tiny_refused(&o, DT_ERR_ARGUMENT, "rotation is nan, allowed are 0..45 degrees");
    o = tiny_defaults();
    o.train.flip_share = -0.5f;
    tiny_refused(&o, DT_ERR_ARGUMENT, "flip_share is -0.5, allowed are 0..1");
    o = tiny_defaults();
    o.train.momentum = 1.0f;
    tiny_refused(&o, DT_ERR_ARGUMENT, "momentum is 1");
    o = tiny_defaults();
    o.train.epochs = 0;
    tiny_refused(&o, DT_ERR_ARGUMENT, "epochs is 0");
    o = tiny_defaults();
    o.train.alpha_lr = -1.0f;
    tiny_refused(&o, DT_ERR_ARGUMENT, "alpha_lr -1");
}

Test(trainer, images_that_do_not_fit_the_model_are_refused)
{
    tiny_options o = tiny_defaults();
    o.model.height = 28;
    tiny_refused(&o, DT_ERR_SHAPE, "images are 32x32x3, the model wants 28x32x3");
    o = tiny_defaults();
    o.model.n_classes = 4;
    tiny_refused(&o, DT_ERR_SHAPE, "the dataset has 10 classes, the model 4");
}

Test(trainer, a_loss_that_is_no_number_is_an_error)
{
    const tiny_options o = tiny_defaults();
    const float nan[10] = { NAN };
    dt_metrics m;
    tiny_run r;
    cr_assert(tiny_open(&r, &o));
    MUST(dt_model_write(r.model, tiny_index(&r, "classifier.bias"), nan));
    tiny_steps(&r, 1);
    cr_assert(dt_trainer_metrics(r.trainer, &m) == DT_ERR_NUMERIC, "a NaN was hidden");
    cr_assert(strstr(dt_last_error(), "after step 1 ") != NULL, "%s", dt_last_error());
    tiny_close(&r);
}
