/*
 * train.c - `detent train`: opens everything, then steps, evaluates and saves until the run is complete.
 *
 * A run that is killed at any moment and resumed ends with the same bytes and the same metrics. Therefore
 *   - the whole position is in last.safetensors: that of the trainer, and run_state as its `extra`;
 *   - at an epoch's end the run evaluates, appends to metrics.jsonl, saves best.safetensors and last.safetensors, in
 *     this order. Until the last of them is on the disk, the epoch has not ended. All of this is then done again on
 *     resume, after metrics.jsonl was cut to the epochs that have ended, and to the steps that the checkpoint has;
 *   - files are written from copies of the run (saver.h), while it goes on. Whoever saves again, reads one of the
 * files, tells the other ranks that they are there, or ends the run, waits until all of them are on the disk;
 *   - if images are held out, they choose the best network. When the run is over, that network is evaluated on the test
 *     set, and last.safetensors is saved once more with the result;
 *   - a checkpoint between the last step of an epoch and its end (--save-every, Ctrl-C while evaluating) has
 *     trainer epoch = epochs_ended + 1, and the loop below begins with the end of that epoch.
 *
 * A signal ends a run after the step that is running, when that is saved. So does a reader of the output that goes away
 * (`detent train | head -1`), because a user who closes the output of a program expects it to end.
 */
#include "train.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

/* Forward passes by which a mean of the parameters gets batch statistics of its own. */
enum { MEAN_BATCHES = 50 };

static dt_status measure_epoch(run *r, epoch_line *line)
{
    const int epoch = dt_trainer_epoch(r->o.trainer);
    dt_metrics train, found = { .loss = NAN, .accuracy = NAN };

    DT_TRY(dt_trainer_metrics(r->o.trainer, &train));
    DT_TRY(dt_trainer_check_values(r->o.trainer));
    DT_TRY(dt_trainer_agree(r->o.trainer));
    const double seconds = clock_seconds() - r->epoch_begin; /* metrics waited for the device: all steps are in */
    if (train_is_due(epoch, r->s->eval_every, r)) {
        DT_TRY(log_evaluation(r, r->epochs, train_decides(r), train_split(r), &found));
    }

    *line = (epoch_line){ .epoch = epoch,
                          .step = dt_trainer_steps_done(r->o.trainer),
                          .lr = r->state.lr,
                          .train_loss = train.loss,
                          .train_accuracy = train.accuracy,
                          .train_reconstruction = r->is.has_decoder ? train.reconstruction : NAN,
                          .split = train_split(r),
                          .eval_loss = found.loss,
                          .eval_accuracy = found.accuracy,
                          .images_per_s = r->epoch_images > 0 ? (double)r->epoch_images / seconds : NAN,
                          .seconds = r->epoch_images > 0 ? seconds : NAN };
    return DT_OK;
}

/* Never where a number is undefined. */
static int is_best(const run *r, const epoch_line *line)
{
    return isfinite(line->eval_loss) && isfinite(line->eval_accuracy) && line->eval_accuracy > r->state.best_accuracy;
}

/* What is evaluated and saved as the best is the mean, where one is kept. */
static int takes_mean(const run *r)
{
    return r->s->train.ema > 0.0f && train_is_due(dt_trainer_epoch(r->o.trainer), r->s->eval_every, r);
}

/* In metrics.jsonl, and for TensorBoard. */
static dt_status write_epoch(run *r, epoch_line *line)
{
    cJSON *clips = NULL;

    if (r->rank > 0) return DT_OK;
    DT_TRY(metrics_clips(r->o.model, &clips));
    line->clips = clips;
    dt_status status = metrics_append_epoch(r->s->out, line);
    if (status == DT_OK) status = board_epoch(r, line);
    line->clips = NULL;
    cJSON_Delete(clips);
    return status;
}

static dt_status end_epoch(run *r)
{
    const int mean = takes_mean(r);
    epoch_line line;

    if (mean) DT_TRY(dt_trainer_check_values(r->o.trainer)); /* of training; below it sees the mean */
    if (mean) DT_TRY(dt_trainer_begin_mean(r->o.trainer, MEAN_BATCHES));
    const dt_status status = measure_epoch(r, &line);
    progress_wipe(&r->bar);
    if (status == DT_ERR_INTERRUPTED && mean) DT_TRY(dt_trainer_end_mean(r->o.trainer));
    if (status == DT_ERR_INTERRUPTED) return train_stop_here(r);
    DT_TRY(status);

    const int best = is_best(r, &line);
    r->state.epochs_ended = line.epoch;
    if (best) r->state.best_accuracy = line.eval_accuracy;
    if (best) r->state.best_epoch = line.epoch;

    DT_TRY(write_epoch(r, &line));
    if (mean) DT_TRY(train_copy_mean(r, best));
    if (mean) DT_TRY(dt_trainer_end_mean(r->o.trainer));
    DT_TRY(train_save_last(r, best && !mean));
    report_epoch(r, &line, best);
    const int report = train_is_due(line.epoch, r->s->report_every, r) || train_end(r) != END_NOT_YET;
    return report ? report_quantizers(r) : DT_OK;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* As many as go together, but not beyond the epoch's end, the next save or the next line. */
static int64_t steps_now(const run *r)
{
    const dt_trainer *t = r->o.trainer;
    const int64_t done = dt_trainer_steps_done(t), per_epoch = dt_trainer_steps_per_epoch(t);
    const int64_t to_end = per_epoch - done % per_epoch;
    const int64_t to_save = r->s->save_every > 0 ? r->s->save_every - done % r->s->save_every : to_end;

    return least(least(dt_trainer_steps_together(t), to_end),
                 least(least(to_save, log_steps_left(r)), watch_steps_left(r)));
}

static dt_status step(run *r)
{
    dt_trainer *t = r->o.trainer;
    const int64_t per_epoch = dt_trainer_steps_per_epoch(t);
    const int64_t done = dt_trainer_steps_done(t), n = steps_now(r);
    const int64_t left = r->n_train - done % per_epoch * r->s->train.batch; /* images of this epoch */

    if (r->epoch_images == 0) {
        r->epoch_begin = clock_seconds();
        log_epoch_begins(r);
    }
    DT_TRY(dt_trainer_run(t, n));
    r->state.lr = (double)dt_trainer_last_lr(t);
    r->epoch_images += least(left, n * r->s->train.batch);
    DT_TRY(log_steps(r));
    DT_TRY(watch_steps(r));
    if (r->s->save_every > 0 && (done + n) % r->s->save_every == 0) DT_TRY(train_save_last(r, 0));
    return progress_due(&r->bar) ? report_progress(r) : DT_OK;
}

/* All epochs have been evaluated, so that the images held out make room for the others. */
static dt_status test_network(run *r, dt_model *best, dt_metrics *found)
{
    dt_evaluator *by;

    dt_evaluator_destroy(r->epochs);
    r->epochs = NULL;
    DT_TRY(log_open_evaluation(r, best, r->o.test_set, &by));
    const dt_status status = log_evaluation(r, by, r->o.test_set, "test", found);
    dt_evaluator_destroy(by);
    return status;
}

/* The best network by the held-out images, on the test set, which has had no say until now. */
static dt_status test_best(run *r)
{
    char path[PATH_BYTES];
    dt_model *best;
    dt_metrics found;

    if (!train_owes_test(r)) return DT_OK;
    DT_TRY(run_dir_path(r->s->out, TRAIN_BEST, path));
    DT_TRY(train_saved(r));
    DT_TRY(dt_dist_barrier(r->dist, "best network")); /* rank 0 has saved it */
    DT_TRY(dt_checkpoint_open(r->o.ctx, path, &best));
    const dt_status status = test_network(r, best, &found);
    dt_model_destroy(best);
    progress_wipe(&r->bar);
    if (status == DT_ERR_INTERRUPTED) return train_stop_here(r);
    DT_TRY(status);

    r->state.test_accuracy = found.accuracy;
    const end_line line = { r->state.best_epoch, found.loss, found.accuracy };
    if (r->rank == 0) DT_TRY(metrics_append_end(r->s->out, &line));
    DT_TRY(board_end(r, &line));
    return train_save_last(r, 0);
}

/* The loop's condition is the position alone, so it does not matter where a resumed run begins. */
static dt_status train(run *r)
{
    int is_asked;

    while (train_end(r) == END_NOT_YET) {
        DT_TRY(train_is_asked_to_stop(r, &is_asked));
        if (is_asked) return train_stop_here(r);
        if (dt_trainer_epoch(r->o.trainer) > r->state.epochs_ended) {
            DT_TRY(end_epoch(r));
            r->epoch_images = 0;
        } else {
            DT_TRY(step(r));
        }
    }
    DT_TRY(test_best(r));
    return train_saved(r);
}

static dt_status run_all(run *r, const rank_place *place)
{
    DT_TRY(need_option("out", r->s->out));
    DT_TRY(train_meet(r, place));
    DT_TRY(train_share_directory(r));
    if (train_end(r) == END_NOT_YET || train_owes_test(r)) {
        DT_TRY(train_open(r));
        DT_TRY(train(r));
    }
    report_end(r);
    return DT_OK;
}

/* One process, which may be one of several ranks. */
static dt_status run_rank(const settings *s, const rank_place *place, int *exit_code)
{
    settings own = *s;
    run r = { .s = &own,
              .rank = place->rank,
              .lock = -1,
              .saved_step = -1,
              .state = { .best_accuracy = -1.0, .test_accuracy = -1.0 } };

    own.threads = threads_of_rank(s, place);
    own.gpu = gpu_of_rank(s, place);
    own.quiet |= place->rank > 0;
    setvbuf(stdout, NULL, _IOLBF, 0); /* each line is seen when it happens, in a log file too */
    interrupt_install();              /* before anything is opened: a signal then is answered before the first step */
    interrupt_on_closed_output();
    const dt_status status = run_all(&r, place);
    saver_close(&r.saver);
    dt_evaluator_destroy(r.epochs);
    event_file_close(r.board);
    session_close(&r.o);
    if (r.lock >= 0) close(r.lock);
    return leave_ranks(r.dist, status, exit_code);
}

static dt_status run_alone(const settings *s, int *exit_code)
{
    const rank_place alone = { .size = 1, .listener = -1 };

    return run_rank(s, &alone, exit_code);
}

/* As an exit code: this is a rank whose run is over, and it leaves the plan to the process that started it. */
enum { LEAVES_PLAN = -1 };

/* A run of a plan, on ranks that are started for it. */
static dt_status run_on_ranks(const settings *s, int *exit_code)
{
    rank_place place;
    int is_parent = 0;

    DT_TRY(launch_ranks(s, &place, &is_parent, exit_code));
    if (is_parent) return DT_OK;
    DT_TRY(run_rank(s, &place, exit_code));
    if (*exit_code == EXIT_GOOD) *exit_code = LEAVES_PLAN;
    return DT_OK;
}

static dt_status run_plan(const settings *s, const rank_place *place, int *exit_code)
{
    DT_CHECK(place->size == 1, DT_ERR_UNSUPPORTED,
             "--stages and --repeat start the ranks of each run, and %s has started this one as rank %d of %d; use "
             "--ranks, or make each stage, or seed, by a command of its own",
             place->door, place->rank, place->size);
    const dt_status status = train_plan(s, s->ranks > 1 ? run_on_ranks : run_alone, exit_code);
    if (*exit_code == LEAVES_PLAN) *exit_code = EXIT_GOOD;
    return status;
}

/* What no rank could do, said once. */
static dt_status check_run(const settings *s, int ranks)
{
    const int parts = ranks * s->train.accumulate;

    DT_CHECK(!s->stages_teach || s->stages, DT_ERR_ARGUMENT,
             "--stages-teach: there are no stages; give --stages, or a --teacher");
    DT_CHECK(s->train.batch % parts == 0, DT_ERR_ARGUMENT,
             "--batch %d is shared by %d rank%s in %d part%s each: it must be a multiple of %d", s->train.batch, ranks,
             ranks == 1 ? "" : "s", s->train.accumulate, s->train.accumulate == 1 ? "" : "s", parts);
    return DT_OK;
}

dt_status train_run(const settings *s, int *exit_code)
{
    rank_place place;
    int is_parent = 0;

    *exit_code = EXIT_GOOD;
    DT_TRY(find_rank(s, &place));
    DT_TRY(check_run(s, place.size > 1 ? place.size : s->ranks));
    if (train_is_plan(s)) return run_plan(s, &place, exit_code);
    if (s->ranks > 1) DT_TRY(launch_ranks(s, &place, &is_parent, exit_code));
    return is_parent ? DT_OK : run_rank(s, &place, exit_code);
}
