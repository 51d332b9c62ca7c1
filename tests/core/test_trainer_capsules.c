/*
 * test_trainer_capsules.c - what capsule networks ask of the trainer, seen on the model "tiny": hard epochs, a rate
 * that decays with every step, a reconstruction error that is kept, the seed in evaluation. And a step of such networks
 * on both backends.
 */
#include "../support/tiny_run.h"

#include <math.h>

#include "../../core/train/inference.h"

static dt_metrics metrics_of(const tiny_run *r)
{
    dt_metrics m;
    MUST(dt_trainer_metrics(r->trainer, &m));
    return m;
}

/* What the operators of the step that ran last have read. */
static dt_step_in step_read(const tiny_run *r)
{
    dt_step_in in;
    MUST(dt_device_read(r->ctx, &in, &r->ctx->step->in, sizeof in));
    return in;
}

static void check_hardness(int epochs, int hard_training, int first_hard)
{
    tiny_options o = tiny_defaults();
    tiny_run r;
    o.train.epochs = epochs;
    o.train.hard_training = hard_training;
    cr_assert(tiny_open(&r, &o));
    for (int epoch = 0; epoch < epochs; epoch++) {
        for (int step = 0; step < 3; step++) {
            tiny_steps(&r, 1);
            const int hard = step_read(&r).hard;
            cr_assert(hard == (epoch >= first_hard), "epoch %d of %d, step %d: hard is %d", epoch, epochs, step, hard);
        }
    }
    tiny_close(&r);
}

Test(trainer_capsules, the_last_half_of_the_epochs_is_hard)
{
    check_hardness(4, 1, 2);
    check_hardness(5, 1, 3); /* 1..ceil(5 / 2) are normal */
    check_hardness(2, 1, 1);
    check_hardness(1, 1, 1); /* never */
    check_hardness(4, 0, 4);
}

/* Of a node while an evaluation runs. */
static dt_status read_evaluation(void *user, const dt_node *node)
{
    const tiny_run *r = user;
    const dt_step_in in = step_read(r);
    (void)node;
    cr_assert(in.hard == 0 && in.seed == r->ctx->opt.seed, "hard %d, seed %llu", in.hard, (unsigned long long)in.seed);
    return DT_OK;
}

Test(trainer_capsules, an_evaluation_is_never_hard_and_has_the_seed)
{
    tiny_options o = tiny_defaults();
    dt_metrics m;
    tiny_run r;
    o.train.epochs = 2;
    o.train.hard_training = 1;
    cr_assert(tiny_open(&r, &o));
    tiny_steps(&r, 4);
    const dt_evaluation how = { .batch = 32, .hook = read_evaluation, .user = &r };
    MUST(dt_evaluate_by(r.model, r.data, &how, &m));
    cr_assert(step_read(&r).hard == 1);
    tiny_close(&r);
}

Test(trainer_capsules, the_rate_decays_with_every_step)
{
    tiny_options o = tiny_defaults();
    tiny_run r;
    o.train.schedule = DT_SCHEDULE_DECAY;
    o.train.lr = 0.125f;
    o.train.decay_steps = 2;
    o.train.decay_rate = 0.25f;
    cr_assert(tiny_open(&r, &o));
    for (int step = 0; step < 5; step++) {
        const float want = 0.125f / (float)(1 << step); /* the root of a quarter is a half */
        cr_assert(dt_trainer_lr(r.trainer) == want, "step %d: %g", step, (double)dt_trainer_lr(r.trainer));
        tiny_steps(&r, 1);
        cr_assert(step_read(&r).lr == want, "step %d read %g", step, (double)step_read(&r).lr);
    }
    tiny_close(&r);
}

/* tiny has no decoder: its sum stays what it was set to, until the next epoch begins. */
Test(trainer_capsules, a_run_goes_on_with_the_reconstruction_so_far)
{
    const tiny_options o = tiny_defaults();
    const dt_step set = { .sum = { 32.0, 100.0 / 3.0, 8, 32 } };
    dt_step state;
    tiny_run before, after;
    cr_assert(tiny_open(&before, &o) && tiny_open(&after, &o));
    MUST(dt_trainer_seek(before.trainer, 1, &set));
    cr_assert(metrics_of(&before).reconstruction == 100.0 / 3.0 / 32.0 && metrics_of(&before).loss == 1.0);
    MUST(dt_trainer_state(before.trainer, &state));
    MUST(dt_trainer_seek(after.trainer, 1, &state));
    tiny_steps(&before, 2);
    tiny_steps(&after, 2);
    cr_assert(metrics_of(&after).reconstruction == 100.0 / 3.0 / 80.0, "%g", metrics_of(&after).reconstruction);
    cr_assert(metrics_of(&after).reconstruction == metrics_of(&before).reconstruction);
    tiny_steps(&after, 1);
    cr_assert(metrics_of(&after).reconstruction == 0.0, "a new epoch counts from 0");
    tiny_close(&before);
    tiny_close(&after);
}

Test(trainer_capsules, settings_out_of_range_are_refused)
{
    static const struct {
        int decay_steps;
        float decay_rate, regularization_scale;
        const char *part;
    } bad[] = { { 0, 0.5f, 0.0f, "decay_steps is 0, at least 1" },
                { 1, 0.0f, 0.0f, "decay_rate is 0, must be above 0 and at most 1" },
                { 1, 1.0625f, 0.0f, "decay_rate is 1.0625, must be above 0 and at most 1" },
                { 1, 0.5f, -0.5f, "regularization_scale is -0.5, must not be negative" },
                { 1, 0.5f, INFINITY, "regularization_scale is inf" } };
    tiny_options o = tiny_defaults();
    dt_trainer *refused = NULL;
    tiny_run r;
    cr_assert(tiny_open(&r, &o));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        o.train.decay_steps = bad[i].decay_steps;
        o.train.decay_rate = bad[i].decay_rate;
        o.train.regularization_scale = bad[i].regularization_scale;
        cr_assert(dt_trainer_create(r.model, r.data, &o.train, &refused) == DT_ERR_ARGUMENT, "%s", bad[i].part);
        cr_assert(strstr(dt_last_error(), bad[i].part) != NULL && !refused, "%s: %s", bad[i].part, dt_last_error());
    }
    tiny_close(&r);
}

static float *gradient_of(const tiny_run *r, const dt_param *p)
{
    return host_floats(r->ctx, p->tensor.grad, dt_count(&p->tensor.shape));
}

/* Sums of up to 20,736 products of f32 and, behind them, three iterations of routing. Capsules of capsules are so short
 * in an untrained deepcaps that the gradients of its last block vanish. */
static void close_gradients(const tiny_run *a, const tiny_run *b)
{
    int n = 0, n_moved = 0;
    for (int i = 0; i < a->model->n_params; i++) {
        const dt_param *p = a->model->param[i];
        if (p->group == DT_GROUP_STATE) continue;
        float *x = gradient_of(a, p), *y = gradient_of(b, b->model->param[i]);
        double largest = 0.0;
        for (int64_t k = 0; k < dt_count(&p->tensor.shape); k++) largest = fmax(largest, fabs((double)x[k]));
        n_moved += largest > 0.0;
        n++;
        for (int64_t k = 0; k < dt_count(&p->tensor.shape); k++) {
            cr_assert(fabs((double)x[k] - (double)y[k]) <= 1e-4 * largest, "%s[%lld]: %.9g and %.9g of %.9g", p->name,
                      (long long)k, (double)x[k], (double)y[k], largest);
        }
        free(x);
        free(y);
    }
    cr_assert(2 * n_moved > n, "%d of %d parameters have a gradient", n_moved, n);
}

static void same_step(const char *network, int side, dt_decoder decoder)
{
    tiny_options cpu = tiny_defaults(), cuda;
    tiny_run a, b;

    MUST(dt_model_config_default(network, &cpu.model));
    dt_train_config_default(network, &cpu.train);
    cpu.images = cpu.train.batch = 2;
    cpu.side = cpu.model.height = cpu.model.width = side;
    cpu.model.channels = 3;
    choose(&cpu.model, "decoder", (int)decoder);
    cuda = cpu;
    cuda.context.backend = "cuda";
    if (!tiny_open(&b, &cuda)) cr_skip("no CUDA here: %s", dt_last_error());
    cr_assert(tiny_open(&a, &cpu));
    tiny_steps(&a, 1);
    tiny_steps(&b, 1);
    const dt_metrics of_a = metrics_of(&a), of_b = metrics_of(&b);
    cr_assert(fabs(of_a.loss - of_b.loss) <= 1e-5 * of_a.loss, "%s: losses %.9g and %.9g", network, of_a.loss,
              of_b.loss);
    cr_assert(fabs(of_a.reconstruction - of_b.reconstruction) <= 1e-5 * of_a.reconstruction,
              "%s: reconstructions %.9g and %.9g", network, of_a.reconstruction, of_b.reconstruction);
    close_gradients(&a, &b);
    tiny_close(&a);
    tiny_close(&b);
}

Test(trainer_capsules, shallowcaps_takes_the_same_step_on_cuda)
{
    same_step("shallowcaps", 19, DT_DECODER_FC);
}

Test(trainer_capsules, deepcaps_takes_the_same_step_on_cuda)
{
    same_step("deepcaps", 28, DT_DECODER_CONV28);
}
