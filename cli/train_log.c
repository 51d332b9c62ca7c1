/*
 * train_log.c - the lines of --log-every: one every N batches of an epoch and of an evaluation, on stdout and in
 *               metrics.jsonl. With several ranks an evaluation has none.
 *
 * Each number is there twice: over the batches since the last line, and since the epoch or the evaluation began. Means
 * of loss and accuracy come from the running sums of the device, so that a line waits for the device and costs nothing
 * else. The sums at the last line are saved with the run, so that a resumed run writes the same lines. Its clocks start
 * anew.
 */
#include "train.h"

#include <math.h>

static log_mark mark_now(const run *r)
{
    return (log_mark){ clock_seconds(), dt_trainer_data_seconds(r->o.trainer), dt_trainer_steps_done(r->o.trainer) };
}

/* Batches of the epoch that the last step belongs to. */
static int64_t batches_done(const run *r)
{
    return (dt_trainer_steps_done(r->o.trainer) - 1) % dt_trainer_steps_per_epoch(r->o.trainer) + 1;
}

void log_epoch_begins(run *r)
{
    const dt_trainer *t = r->o.trainer;

    r->log_epoch = r->log_line = mark_now(r);
    if (dt_trainer_steps_done(t) % dt_trainer_steps_per_epoch(t) == 0) r->state.logged = (dt_metrics){ 0 };
}

int64_t log_steps_left(const run *r)
{
    const int64_t in_epoch = dt_trainer_steps_done(r->o.trainer) % dt_trainer_steps_per_epoch(r->o.trainer);

    return r->s->log_every > 0 ? r->s->log_every - in_epoch % r->s->log_every : INT64_MAX;
}

/* Means over the images that `to` has and `from` has not. */
static batch_values values_between(const dt_metrics *from, const dt_metrics *to)
{
    const double a = (double)from->images, b = (double)to->images, n = b - a;

    return (batch_values){ .batch_s = NAN,
                           .data_s = NAN,
                           .loss = (to->loss * b - from->loss * a) / n,
                           .margin = NAN,
                           .reconstruction = (to->reconstruction * b - from->reconstruction * a) / n,
                           .accuracy = (to->accuracy * b - from->accuracy * a) / n };
}

/* What only training has: the parts of the loss, and the times of its steps. */
static void finish_step_values(const run *r, const log_mark *from, const log_mark *to, batch_values *v)
{
    const double n = (double)(to->steps - from->steps);

    v->margin = margin_of(r, v->loss, v->reconstruction);
    if (isnan(v->margin)) v->reconstruction = NAN;
    v->batch_s = (to->seconds - from->seconds) / n;
    v->data_s = (to->data_seconds - from->data_seconds) / n;
}

static dt_status write_line(run *r, const batch_line *line)
{
    progress_wipe(&r->bar);
    report_batch(r, line);
    DT_TRY(metrics_append_batch(r->s->out, line));
    return board_batch(r, line);
}

dt_status log_steps(run *r)
{
    const dt_metrics none = { 0 };
    dt_metrics m;

    if (r->s->log_every == 0 || r->rank > 0 || batches_done(r) % r->s->log_every != 0) return DT_OK;
    DT_TRY(dt_trainer_metrics(r->o.trainer, &m));
    const log_mark now = mark_now(r);
    batch_line line = { .event = "step",
                        .epoch = r->state.epochs_ended + 1,
                        .step = now.steps,
                        .batch = batches_done(r),
                        .batches = dt_trainer_steps_per_epoch(r->o.trainer),
                        .recent = values_between(&r->state.logged, &m),
                        .mean = values_between(&none, &m) };
    finish_step_values(r, &r->log_line, &now, &line.recent);
    finish_step_values(r, &r->log_epoch, &now, &line.mean);
    r->state.logged = m;
    r->log_line = now;
    return write_line(r, &line);
}

/* ---- evaluation */

typedef struct {
    progress_task task; /* stands first, since progress_tick is given the whole */
    run *r;
    batch_line line;
    int batch;       /* images */
    dt_metrics last; /* at the last line */
    double last_seconds;
} evaluation;

static dt_status on_batches(void *user, const dt_metrics *so_far)
{
    evaluation *e = user;
    const dt_metrics none = { 0 };
    const double now = clock_seconds();
    const int64_t done = (so_far->images + e->batch - 1) / e->batch;

    e->line.recent = values_between(&e->last, so_far);
    e->line.mean = values_between(&none, so_far);
    e->line.recent.reconstruction = e->line.mean.reconstruction = NAN; /* the decoder is for training */
    e->line.recent.batch_s = (now - e->last_seconds) / (double)(done - e->line.batch);
    e->line.mean.batch_s = (now - e->task.begin) / (double)done;
    e->line.batch = done;
    e->last = *so_far;
    e->last_seconds = now;
    return write_line(e->r, &e->line);
}

static int test_batch(const run *r)
{
    return r->s->test_batch > 0 ? r->s->test_batch : r->s->train.batch;
}

dt_status log_open_evaluation(const run *r, dt_model *m, const dt_dataset *d, dt_evaluator **out)
{
    return dt_evaluator_create(m, d, test_batch(r), r->s->train.label_smoothing, out);
}

dt_status log_evaluation(run *r, dt_evaluator *by, const dt_dataset *d, const char *split, dt_metrics *out)
{
    const int64_t every = r->s->log_every;
    const int batch = test_batch(r);
    dt_dataset_view v;

    dt_dataset_look(d, &v);
    evaluation e = { .task = { .bar = &r->bar, .what = "evaluating", .begin = clock_seconds() },
                     .r = r,
                     .batch = batch };
    e.line = (batch_line){ .event = split,
                           .epoch = dt_trainer_epoch(r->o.trainer),
                           .step = dt_trainer_steps_done(r->o.trainer),
                           .batches = (v.n + batch - 1) / batch };
    e.last_seconds = e.task.begin;
    const dt_progress watched = {
        .tick = progress_tick, .watch = every > 0 && !r->dist ? on_batches : NULL, .watch_every = every, .user = &e
    };
    DT_TRY(dt_evaluator_run(by, &watched, out));
    return DT_OK;
}
