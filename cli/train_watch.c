/*
 * train_watch.c - says at once what a run will not recover from by itself, with the remedy: a loss that stays above
 *                 that of guessing, and clips that get no gradient. It changes nothing of the run.
 *
 * The loss is looked at every 50 steps and at the epoch's end, as the mean over the steps since the last look. Guessing
 * costs ln(classes); 1 above that for 200 steps is no slow start, but a rate that is too high. Clips are looked at
 * once, after 100 steps, or when the first epoch ends.
 */
#include "train.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { LOOK_EVERY = 50, HIGH_STEPS = 200, CLIPS_AFTER = 100 };

static int64_t in_epoch(const run *r)
{
    return dt_trainer_steps_done(r->o.trainer) % dt_trainer_steps_per_epoch(r->o.trainer);
}

/* Only cross entropy of classes has this measure. */
static int has_limit(const run *r)
{
    return r->is.caps_dim == 0 && !r->is.is_binary;
}

static int is_over(const run *r)
{
    return (r->watch.has_said_loss || !has_limit(r)) && r->watch.has_seen_clips;
}

int64_t watch_steps_left(const run *r)
{
    return is_over(r) ? INT64_MAX : LOOK_EVERY - in_epoch(r) % LOOK_EVERY;
}

/* The running sums begin anew with an epoch. */
static dt_status look_at_loss(run *r)
{
    const int64_t per_epoch = dt_trainer_steps_per_epoch(r->o.trainer), done = dt_trainer_steps_done(r->o.trainer);
    const double limit = log((double)r->is.n_classes) + 1.0;
    dt_metrics m;

    if (r->watch.has_said_loss || !has_limit(r)) return DT_OK;
    DT_TRY(dt_trainer_metrics(r->o.trainer, &m));
    const int is_new = m.images < r->watch.seen.images || (r->watch.step - 1) / per_epoch != (done - 1) / per_epoch;
    if (is_new) r->watch.seen = (dt_metrics){ 0 };
    const double before = (double)r->watch.seen.images, now = (double)m.images;
    const double mean = (m.loss * now - r->watch.seen.loss * before) / (now - before);
    r->watch.n_high = mean > limit ? r->watch.n_high + done - r->watch.step : 0;
    r->watch.seen = m;
    r->watch.step = done;
    if (r->watch.n_high < HIGH_STEPS) return DT_OK;
    r->watch.has_said_loss = 1;
    progress_wipe(&r->bar);
    if (r->rank == 0)
        fprintf(r->s->quiet ? stderr : stdout,
                "%swarning: the loss has been above ln(%d) + 1 = %.2f for %" PRId64
                " steps, worse than guessing; try a lower --lr, or --warmup 1\n",
                r->s->quiet ? "detent train: " : "", r->is.n_classes, limit, r->watch.n_high);
    return DT_OK;
}

static dt_status look_at_clips(run *r)
{
    const int n = dt_trainer_n_quantizers(r->o.trainer);

    r->watch.has_seen_clips = 1;
    if (n == 0 || r->rank > 0) return DT_OK;
    dt_quant_report *q = calloc((size_t)n, sizeof *q);
    DT_CHECK(q, DT_ERR_MEMORY, "no memory for a report of %d quantizers", n);
    const dt_status status = dt_trainer_report(r->o.trainer, q);
    progress_wipe(&r->bar);
    if (status == DT_OK) warn_of_stuck_clips(r, q, n);
    free(q);
    return status;
}

dt_status watch_steps(run *r)
{
    const int64_t done = dt_trainer_steps_done(r->o.trainer);
    const int at_end = in_epoch(r) == 0;

    if (is_over(r) || (!at_end && in_epoch(r) % LOOK_EVERY != 0)) return DT_OK;
    DT_TRY(look_at_loss(r));
    const int clips_due = done - r->first_step >= CLIPS_AFTER || at_end;
    return clips_due && !r->watch.has_seen_clips ? look_at_clips(r) : DT_OK;
}
