/*
 * trainer_step.c - prepares what steps read and runs them, launched one by one or captured. It also observes a step and
 *                  leaves no trace of it.
 *
 * Where the backend can capture, a step of each batch size is launched once, and then captured and replayed. The host
 * queues what the next steps read (core/step.h) in device memory, and a step begins by taking its own from the queue.
 * So a graph of DT_STEPS_TOGETHER steps needs nothing of the host but its replay, and steps that are launched give the
 * same bits. Tests: tests/core/test_trainer.c.
 */
#include "trainer.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

static double now_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static dt_status load_order(dt_trainer *t, int epoch)
{
    const size_t bytes = (size_t)t->n_images * sizeof(int32_t);
    if (t->order_epoch == epoch) return DT_OK;
    int32_t *order = malloc(bytes);
    DT_CHECK(order, DT_ERR_MEMORY, "no memory to shuffle %lld images", (long long)t->n_images);
    dt_shuffle(t->model->ctx->opt.seed, (uint32_t)epoch, t->n_images, order);
    const dt_status status = dt_device_write(t->model->ctx, t->data.order.data, order, bytes);
    free(order);
    DT_TRY(status);
    t->order_epoch = epoch;
    return DT_OK;
}

/* Of E epochs, counted from 0, the last floor(E / 2). */
static int is_hard(const dt_train_config *c, int epoch)
{
    return c->hard_training && epoch >= c->epochs - c->epochs / 2;
}

/* The mean begins with the first parameters, which are worth little: of the first steps less stays. */
static float ema_share(const dt_train_config *c, int64_t step)
{
    const double at_most = (double)(1 + step) / (double)(10 + step), stays = (double)c->ema;

    return (float)(1.0 - (stays < at_most ? stays : at_most));
}

/* What step number `step` reads from device memory. */
static dt_step_in step_inputs(const dt_trainer *t, int64_t step)
{
    const int64_t per_epoch = dt_trainer_steps_per_epoch(t);
    const int epoch = (int)(step / per_epoch);
    const double count = (double)(step + 1);

    return (dt_step_in){ .seed = t->model->ctx->opt.seed,
                         .step = step,
                         .first = step % per_epoch * t->config.batch,
                         .epoch = (uint32_t)epoch,
                         .lr = dt_schedule_lr(&t->config, step, per_epoch),
                         .adam_correct1 = (float)(1.0 / (1.0 - pow((double)t->config.beta1, count))),
                         .adam_correct2 = (float)(1.0 / (1.0 - pow((double)t->config.beta2, count))),
                         .ema_share = ema_share(&t->config, step),
                         .ewgs = t->config.ewgs,
                         .dampen = t->config.dampen,
                         .hard = is_hard(&t->config, epoch) };
}

/* What the parts of that step read. */
static void part_inputs(dt_trainer *t, int64_t step, dt_step_in *to)
{
    const dt_step_in in = step_inputs(t, step);

    for (int k = 0; k < t->accumulate; k++) {
        to[k] = in;
        to[k].first += dt_trainer_part(t, dt_trainer_step_images(t, step), k).first;
    }
}

dt_status dt_trainer_queue(dt_trainer *t, int n)
{
    dt_context *ctx = t->model->ctx;

    DT_TRY(load_order(t, dt_trainer_epoch(t)));
    if (t->step % dt_trainer_steps_per_epoch(t) == 0) {
        DT_TRY(dt_device_zero(ctx, &ctx->step->sum, sizeof ctx->step->sum));
    }
    for (int i = 0; i < n; i++) part_inputs(t, t->step + i, t->to_queue + i * t->accumulate);
    return dt_device_write(ctx, t->queue, t->to_queue, (size_t)(n * t->accumulate) * sizeof *t->queue);
}

/* Steps, as run and as captured. */
typedef struct {
    dt_trainer *trainer;
    dt_step_tape *tape;
    int n;
} step_run;

static dt_status launch_steps(void *user)
{
    const step_run *r = user;

    for (int i = 0; i < r->n; i++) DT_TRY(dt_trainer_launch_step(r->trainer, r->tape->part.step_images, i));
    r->tape->warm = 1;
    return DT_OK;
}

/* The tape of the first part of the next step: the epoch's last batch may be smaller. */
static dt_step_tape *next_tape(dt_trainer *t)
{
    const dt_part part = dt_trainer_part(t, dt_trainer_step_images(t, t->step), 0);

    return dt_trainer_tape(t, &part);
}

int dt_trainer_steps_together(const dt_trainer *t)
{
    return dt_can_capture(t->model->ctx) ? DT_STEPS_TOGETHER : 1;
}

/* How many of the next n steps go in one call to the device: 1 or DT_STEPS_TOGETHER, all on the tape of full batches.
 */
static int steps_together(const dt_trainer *t, int64_t n)
{
    const int64_t left = t->n_images / t->config.batch - t->step % dt_trainer_steps_per_epoch(t);
    return dt_can_capture(t->model->ctx) && t->tape[0].warm && n >= DT_STEPS_TOGETHER && left >= DT_STEPS_TOGETHER
               ? DT_STEPS_TOGETHER
               : 1;
}

/* 0: weights were changed from outside, and only an eager step takes their sums anew. */
static int has_sums(const dt_step_tape *s)
{
    for (int i = 0; i < s->update.n_quantizers; i++) {
        if (!s->quantizer[i]->in[0]->has_sums) return 0;
    }
    return 1;
}

/* Launched, or captured and replayed. Ranks do the same: a capture may be a work of all, and whether memory has moved
 * depends on the sizes of a rank's own parts. */
static dt_status run_steps(dt_trainer *t, int n)
{
    dt_context *ctx = t->model->ctx;
    dt_step_tape *s = next_tape(t);
    dt_device_graph *g = n == DT_STEPS_TOGETHER ? &s->unrolled : &s->once;
    step_run run = { t, s, n };

    if (!dt_can_capture(ctx) || !s->warm || !has_sums(s)) return launch_steps(&run);
    int is_old = dt_device_graph_is_old(ctx, g);
    DT_TRY(dt_dist_any(ctx->dist, "capturing", &is_old));
    if (is_old) DT_TRY(dt_device_graph_capture(ctx, g, launch_steps, &run));
    return ctx->backend->replay(ctx->device, g->graph);
}

static dt_status advance(dt_trainer *t, int n)
{
    const double begin = now_seconds();

    DT_TRY(dt_trainer_queue(t, n));
    t->data_seconds += now_seconds() - begin;
    DT_TRY(run_steps(t, n));
    t->step += n;
    return DT_OK;
}

dt_status dt_trainer_run(dt_trainer *t, int64_t n)
{
    t->model->origin = t->origin;
    DT_CHECK(t->is_taught || !t->teacher.data, DT_ERR_ARGUMENT, "teacher_share is %g, and there is no teacher (%s)",
             (double)t->config.teacher_share, t->spec.teacher_of_batch ? "dt_trainer_teach_by" : "dt_trainer_teach");
    DT_CHECK(!t->set_aside, DT_ERR_ARGUMENT, "the mean of the parameters is in the model; end that before a step");
    while (n > 0) {
        const int together = steps_together(t, n);
        DT_TRY(advance(t, together));
        n -= together;
    }
    return DT_OK;
}

dt_status dt_trainer_step(dt_trainer *t)
{
    return dt_trainer_run(t, 1);
}

/* Forward and backward on a tape whose nodes are not fused. */
static dt_status observe_gradients(dt_trainer *t, const dt_part *part, dt_node_hook hook, void *user)
{
    dt_context *ctx = t->model->ctx;
    const dt_part alone = { .images = part->images };
    const float one = 1.0f;
    dt_tape *tape = NULL;
    dt_tensor *loss;
    dt_lesson lesson;

    DT_TRY(dt_trainer_queue(t, 1));
    dt_step_in in = *t->to_queue;
    in.first += part->first - dt_trainer_part(t, dt_trainer_step_images(t, t->step), 0).first;
    DT_TRY(dt_device_write(ctx, &ctx->step->in, &in, sizeof in));
    DT_TRY(dt_device_write(ctx, &ctx->step->scale.value, &one, sizeof one));
    dt_status status = dt_trainer_record(t, &alone, &lesson, &tape, &loss);
    if (status == DT_OK) status = dt_trainer_lesson_record(t, &alone, &lesson);
    if (status == DT_OK) status = dt_tape_compile(tape, loss);
    if (status == DT_OK) status = dt_trainer_lesson_give(t, &lesson);
    if (status == DT_OK) status = dt_tape_run(tape, DT_PASS_FORWARD, hook, user);
    if (status == DT_OK) status = dt_tape_run(tape, DT_PASS_BACKWARD, NULL, NULL);
    dt_tape_destroy(tape);
    dt_trainer_lesson_close(&lesson);
    return status;
}

dt_status dt_trainer_observe(dt_trainer *t, const dt_part *part, dt_node_hook hook, void *user)
{
    dt_model *m = t->model;
    const size_t bytes = (size_t)m->n_state * sizeof(float);
    float *state = malloc(bytes ? bytes : 1);
    dt_step step;

    DT_CHECK(state, DT_ERR_MEMORY, "no memory to keep the running statistics");
    dt_status status = dt_device_read(m->ctx, state, m->state, bytes);
    if (status == DT_OK) status = dt_device_read(m->ctx, &step, m->ctx->step, sizeof step);
    if (status == DT_OK) status = observe_gradients(t, part, hook, user);
    if (status == DT_OK) status = dt_device_write(m->ctx, m->state, state, bytes);
    if (status == DT_OK) status = dt_device_write(m->ctx, m->ctx->step, &step, sizeof step);
    free(state);
    return status;
}
