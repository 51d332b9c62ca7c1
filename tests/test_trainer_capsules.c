/*
 * test_trainer_capsules.c - what capsule networks ask of the trainer, seen on the model "tiny": hard epochs, a rate
 * that decays with every step, a reconstruction error that is kept, the seed in evaluation.
 */
#include "tiny_run.h"

#include <math.h>

#include "../core/inference.h"

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
    MUST(dt_evaluate_watched(r.model, r.data, 32, 0.0f, NULL, read_evaluation, &r, NULL, &m));
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
    const dt_step_sum set = { .loss = 32.0, .reconstruction = 100.0 / 3.0, .n_correct = 8, .n_images = 32 };
    dt_step_sum sum;
    tiny_run before, after;
    cr_assert(tiny_open(&before, &o) && tiny_open(&after, &o));
    MUST(dt_trainer_seek(before.trainer, 1, &set));
    cr_assert(metrics_of(&before).reconstruction == 100.0 / 3.0 / 32.0 && metrics_of(&before).loss == 1.0);
    MUST(dt_trainer_sum(before.trainer, &sum));
    MUST(dt_trainer_seek(after.trainer, 1, &sum));
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
