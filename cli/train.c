/*
 * train.c - `detent train`: opens everything, then steps, evaluates and saves until the run is complete.
 *
 * A run that is killed at any moment and resumed ends with the same bytes and the same metrics. Therefore
 *   - the whole position is in last.safetensors: the trainer's, and run_state as its `extra`;
 *   - an epoch's end is: evaluate, append to metrics.jsonl, best.safetensors, last.safetensors, in this order. Until
 *     the last of them is on the disk, the epoch counts as not ended, and all of it is done again on resume, after
 *     metrics.jsonl was cut to the epochs that had ended;
 *   - a checkpoint between the last step of an epoch and its end (--save-every, Ctrl-C while evaluating) has
 *     trainer epoch = epochs_ended + 1, and the loop below begins with the end of that epoch.
 *
 * A signal, and a reader of the output that goes away (`detent train | head -1`), end a run after the step that is
 * running, when it is saved. It does not go on unseen: who closes the output of a program expects it to end.
 */
#include "train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LAST "last.safetensors"
#define BEST "best.safetensors"

enum { STATE_BYTES = 256 };

static void format_state(const run_state *state, char *extra, size_t bytes)
{
    snprintf(extra, bytes, "{\"epochs_ended\":%d,\"best_epoch\":%d,\"best_accuracy\":%.17g,\"lr\":%.17g}",
             state->epochs_ended, state->best_epoch, state->best_accuracy, state->lr);
}

static int is_epoch(const cJSON *item)
{
    return cJSON_IsNumber(item) && item->valuedouble >= 0.0 && item->valuedouble == (double)item->valueint;
}

static dt_status read_state(const char *path, run_state *out)
{
    char *extra;

    DT_TRY(dt_checkpoint_extra(path, &extra));
    cJSON *object = extra ? cJSON_Parse(extra) : NULL;
    const cJSON *ended = cJSON_GetObjectItemCaseSensitive(object, "epochs_ended");
    const cJSON *epoch = cJSON_GetObjectItemCaseSensitive(object, "best_epoch");
    const cJSON *accuracy = cJSON_GetObjectItemCaseSensitive(object, "best_accuracy");
    const cJSON *lr = cJSON_GetObjectItemCaseSensitive(object, "lr");
    const int ok = is_epoch(ended) && is_epoch(epoch) && cJSON_IsNumber(accuracy) && cJSON_IsNumber(lr);

    if (ok) *out = (run_state){ ended->valueint, epoch->valueint, accuracy->valuedouble, lr->valuedouble };
    cJSON_Delete(object);
    free(extra);
    DT_CHECK(ok, DT_ERR_FORMAT, "%s: not saved by 'detent train', so there is no run to go on with; use --init", path);
    return DT_OK;
}

static dt_status save(const run *r, const char *name)
{
    char path[PATH_BYTES];
    char extra[STATE_BYTES];

    format_state(&r->state, extra, sizeof extra);
    DT_TRY(run_dir_path(r->s->out, name, path));
    DT_TRY(dt_checkpoint_save(r->o.trainer, path, extra));
    return DT_OK;
}

static dt_status save_last(run *r)
{
    DT_TRY(save(r, LAST));
    r->saved_step = dt_trainer_steps_done(r->o.trainer);
    return DT_OK;
}

static dt_status stop_here(run *r)
{
    const int64_t step = dt_trainer_steps_done(r->o.trainer);

    progress_wipe(&r->bar);
    if (r->saved_step != step) DT_TRY(save_last(r));
    return dt_raise(DT_ERR_INTERRUPTED, __FILE__, __LINE__,
                    "stopped after step %s and saved; go on with 'detent train --resume --out %s'", text_count(step).s,
                    r->s->out);
}

static dt_status evaluate(run *r, dt_metrics *out)
{
    const dt_train_config *cfg = &r->s->train;
    progress_task task = { .bar = &r->bar, .what = "evaluating", .begin = clock_seconds() };
    const dt_progress tick = { progress_tick, &task };

    DT_TRY(dt_evaluate(r->o.model, r->o.test_set, cfg->batch, cfg->label_smoothing, &tick, NULL, out));
    return DT_OK;
}

static int is_due(int epoch, int every, const run *r)
{
    return (every > 0 && epoch % every == 0) || epoch == r->s->train.epochs;
}

static dt_status measure_epoch(run *r, metrics_line *line)
{
    const int epoch = dt_trainer_epoch(r->o.trainer);
    const int has_decoder = dt_model_get_config(r->o.model)->decoder != DT_DECODER_NONE;
    dt_metrics train, test = { .loss = NAN, .accuracy = NAN };

    DT_TRY(dt_trainer_metrics(r->o.trainer, &train));
    DT_TRY(dt_trainer_check_values(r->o.trainer));
    const double seconds = clock_seconds() - r->epoch_begin; /* metrics waited for the device: all steps are in */
    if (is_due(epoch, r->s->eval_every, r)) DT_TRY(evaluate(r, &test));

    *line = (metrics_line){ .epoch = epoch,
                            .step = dt_trainer_steps_done(r->o.trainer),
                            .lr = r->state.lr,
                            .train_loss = train.loss,
                            .train_accuracy = train.accuracy,
                            .train_reconstruction = has_decoder ? train.reconstruction : NAN,
                            .test_loss = test.loss,
                            .test_accuracy = test.accuracy,
                            .images_per_s = r->epoch_images > 0 ? (double)r->epoch_images / seconds : NAN,
                            .seconds = r->epoch_images > 0 ? seconds : NAN };
    return DT_OK;
}

static dt_status end_epoch(run *r)
{
    metrics_line line;

    const dt_status status = measure_epoch(r, &line);
    progress_wipe(&r->bar);
    if (status == DT_ERR_INTERRUPTED) return stop_here(r);
    DT_TRY(status);

    const int best = line.test_accuracy > r->state.best_accuracy; /* never of NaN */
    r->state.epochs_ended = line.epoch;
    if (best) r->state.best_accuracy = line.test_accuracy;
    if (best) r->state.best_epoch = line.epoch;

    DT_TRY(run_dir_append_metrics(r->s->out, &line));
    if (best) DT_TRY(save(r, BEST));
    DT_TRY(save_last(r));
    report_epoch(r, &line, best);
    return DT_OK;
}

/* As many as go together, but not beyond the epoch's end or the next save. */
static int64_t steps_now(const run *r)
{
    const dt_trainer *t = r->o.trainer;
    const int64_t done = dt_trainer_steps_done(t), per_epoch = dt_trainer_steps_per_epoch(t);
    const int64_t to_end = per_epoch - done % per_epoch;
    const int64_t to_save = r->s->save_every > 0 ? r->s->save_every - done % r->s->save_every : to_end;
    int64_t n = dt_trainer_steps_together(t);

    if (n > to_end) n = to_end;
    return n > to_save ? to_save : n;
}

static dt_status step(run *r)
{
    dt_trainer *t = r->o.trainer;
    const int64_t per_epoch = dt_trainer_steps_per_epoch(t);
    const int64_t done = dt_trainer_steps_done(t), n = steps_now(r);
    const int64_t left = r->n_train - done % per_epoch * r->s->train.batch; /* images of this epoch */
    const int64_t images = n * r->s->train.batch;

    if (r->epoch_images == 0) r->epoch_begin = clock_seconds();
    r->state.lr = (double)dt_trainer_lr(t);
    DT_TRY(dt_trainer_run(t, n));
    r->epoch_images += left < images ? left : images;
    if (r->s->save_every > 0 && (done + n) % r->s->save_every == 0) DT_TRY(save_last(r));
    return progress_due(&r->bar) ? report_progress(r) : DT_OK;
}

/* The loop's condition is the position alone, so it does not matter where a resumed run begins. */
static dt_status train(run *r)
{
    const dt_trainer *t = r->o.trainer;

    while (r->state.epochs_ended < r->s->train.epochs) {
        if (interrupt_requested()) return stop_here(r);
        if (dt_trainer_epoch(t) > r->state.epochs_ended) {
            DT_TRY(end_epoch(r));
            if (is_due(r->state.epochs_ended, r->s->report_every, r)) DT_TRY(report_quantizers(r));
            r->epoch_images = 0;
        } else {
            DT_TRY(step(r));
        }
    }
    return DT_OK;
}

static void print_skipped(void *user, const char *name, const char *why)
{
    const run *r = user;

    if (!r->s->quiet) printf("           skipped %s: %s\n", name, why);
}

static dt_status load_init(run *r)
{
    int n_loaded;

    if (!r->s->init) return DT_OK;
    if (!r->s->quiet) printf("init       %s\n", r->s->init);
    DT_TRY(dt_checkpoint_load_partial(r->o.model, r->s->init, print_skipped, r, &n_loaded));
    DT_CHECK(n_loaded > 0, DT_ERR_FORMAT, "--init %s: no parameter of it fits this model", r->s->init);
    if (!r->s->quiet) printf("           copied %d of %d parameters\n", n_loaded, dt_model_n_params(r->o.model));
    return DT_OK;
}

static dt_status open_model(run *r)
{
    dt_model_config cfg = r->s->model;
    dt_dataset_view view;

    DT_TRY(session_open_dataset(r->s, &cfg, DT_SPLIT_TRAIN, &r->o.train_set));
    DT_TRY(session_open_dataset(r->s, &cfg, DT_SPLIT_TEST, &r->o.test_set));
    dt_dataset_look(r->o.train_set, &view);
    r->n_train = view.n;
    cfg.height = view.height;
    cfg.width = view.width;
    cfg.channels = view.channels;
    cfg.n_classes = view.n_classes;
    DT_TRY(session_open_context(r->s, &r->o));
    DT_TRY(dt_model_create(r->o.ctx, &cfg, &r->o.model));
    return DT_OK;
}

/* Parameters and position: of last.safetensors if the run has got so far, else of the run's begin. */
static dt_status open_trainer(run *r)
{
    char path[PATH_BYTES];

    if (!r->goes_on) DT_TRY(load_init(r));
    DT_TRY(dt_trainer_create(r->o.model, r->o.train_set, &r->s->train, &r->o.trainer));
    if (!r->goes_on) return dt_trainer_calibrate(r->o.trainer);

    DT_TRY(run_dir_path(r->s->out, LAST, path));
    DT_TRY(dt_checkpoint_resume(r->o.trainer, path));
    r->saved_step = dt_trainer_steps_done(r->o.trainer);
    return DT_OK;
}

static void add_strings(cJSON *array, int n, char *const *strings)
{
    for (int i = 0; i < n; i++) cJSON_AddItemToArray(array, cJSON_CreateString(strings[i]));
}

/* All that is needed to repeat the run: the options make both configurations, the rest is for readers. */
static dt_status write_config(const run *r)
{
    const dt_model_config *cfg = dt_model_get_config(r->o.model);
    dt_dataset_view test;
    cJSON *options;

    dt_dataset_look(r->o.test_set, &test);
    DT_TRY(settings_to_json(r->s, &options));
    cJSON *config = cJSON_CreateObject();
    cJSON_AddStringToObject(config, "version", DT_VERSION);
    add_strings(cJSON_AddArrayToObject(config, "command"), r->s->argc, r->s->argv);
    cJSON_AddItemToObject(config, "options", options);
    cJSON *data = cJSON_AddObjectToObject(config, "data");
    cJSON_AddNumberToObject(data, "train_images", (double)r->n_train);
    cJSON_AddNumberToObject(data, "test_images", (double)test.n);
    cJSON_AddNumberToObject(data, "height", cfg->height);
    cJSON_AddNumberToObject(data, "width", cfg->width);
    cJSON_AddNumberToObject(data, "channels", cfg->channels);
    cJSON_AddNumberToObject(data, "classes", cfg->n_classes);
    cJSON_AddNumberToObject(config, "parameters", (double)dt_model_count(r->o.model));
    cJSON_AddStringToObject(config, "device", dt_context_backend(r->o.ctx));
    const dt_status status = run_dir_write_config(r->s->out, config);
    cJSON_Delete(config);
    return status;
}

/* config.json comes last: a directory that has it has a run that can be resumed. */
static dt_status open_directory(run *r)
{
    const int is_new = r->s->saved == NULL;

    if (is_new) DT_TRY(run_dir_create(r->s->out));
    if (is_new) DT_TRY(run_dir_lock(r->s->out, &r->lock));
    DT_TRY(run_dir_sweep(r->s->out, is_new && r->s->force));
    DT_TRY(run_dir_cut_metrics(r->s->out, r->state.epochs_ended));
    if (is_new) DT_TRY(write_config(r));
    return DT_OK;
}

static dt_status open_all(run *r)
{
    DT_TRY(open_model(r));
    report_begin(r);
    DT_TRY(open_trainer(r));
    DT_TRY(open_directory(r));
    report_position(r);
    r->run_begin = clock_seconds();
    r->first_step = dt_trainer_steps_done(r->o.trainer);
    progress_begin(&r->bar, r->s->quiet);
    return DT_OK;
}

/* Cheap questions first: whether this may be started at all, and whether there is anything left to do. */
static dt_status look_into_directory(run *r)
{
    char path[PATH_BYTES];

    DT_TRY(need_option("out", r->s->out));
    DT_CHECK(!r->s->resume || !r->s->force, DT_ERR_ARGUMENT,
             "--resume goes on with a run and --force removes it: one of them");
    if (!r->s->saved) return run_dir_refuse(r->s->out, r->s->force);
    DT_TRY(run_dir_lock(r->s->out, &r->lock));
    r->goes_on = run_dir_has(r->s->out, LAST);
    if (!r->goes_on) return DT_OK;
    DT_TRY(run_dir_path(r->s->out, LAST, path));
    return read_state(path, &r->state);
}

dt_status train_run(const settings *s, int *exit_code)
{
    run r = { .s = s, .lock = -1, .saved_step = -1, .state = { .best_accuracy = -1.0 } };

    setvbuf(stdout, NULL, _IOLBF, 0); /* each line is seen when it happens, in a log file too */
    interrupt_install();              /* before anything is opened: a signal then is answered before the first step */
    interrupt_on_closed_output();
    dt_status status = look_into_directory(&r);
    if (status == DT_OK && r.state.epochs_ended < s->train.epochs) {
        status = open_all(&r);
        if (status == DT_OK) status = train(&r);
    }
    if (status == DT_OK) report_end(&r);
    session_close(&r.o);
    if (r.lock >= 0) close(r.lock);
    *exit_code = EXIT_GOOD;
    return status;
}
