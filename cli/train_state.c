/*
 * train_state.c - saves and reads the state of a run, beside that of the trainer, and decides whether the run is over.
 */
#include "train.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { STATE_BYTES = 512 };

const char *train_split(const run *r)
{
    return r->s->val_size > 0 ? "val" : "test";
}

const dt_dataset *train_decides(const run *r)
{
    return r->s->val_size > 0 ? r->o.val_set : r->o.test_set;
}

int train_is_due(int epoch, int every, const run *r)
{
    const dt_train_config *c = &r->s->train;

    return (every > 0 && epoch % every == 0) || epoch == c->epochs || epoch == dt_train_epochs(c);
}

run_end train_end(const run *r)
{
    const settings *s = r->s;
    const run_state *state = &r->state;

    if (state->epochs_ended >= dt_train_epochs(&s->train)) return END_ALL_EPOCHS;
    if (state->epochs_ended == 0 || !train_is_due(state->epochs_ended, s->eval_every, r)) return END_NOT_YET;
    /* in float, as the option is: 99.3 % of 99.3 */
    if (s->stop_at > 0.0f && (float)(100.0 * state->best_accuracy) >= s->stop_at) return END_STOP_AT;
    if (s->patience > 0 && state->epochs_ended - state->best_epoch >= s->patience) return END_PATIENCE;
    return END_NOT_YET;
}

int train_owes_test(const run *r)
{
    return r->s->val_size > 0 && r->state.best_epoch > 0 && r->state.test_accuracy < 0.0;
}

/* What only some runs need stands in their checkpoints alone. */
static void format_state(const run *r, char *extra, size_t bytes)
{
    const run_state *s = &r->state;
    int n = snprintf(extra, bytes, "{\"epochs_ended\":%d,\"best_epoch\":%d,\"best_accuracy\":%.17g,\"lr\":%.17g",
                     s->epochs_ended, s->best_epoch, s->best_accuracy, s->lr);

    if (r->s->val_size > 0) n += snprintf(extra + n, bytes - (size_t)n, ",\"test_accuracy\":%.17g", s->test_accuracy);
    if (r->s->log_every > 0) {
        n += snprintf(extra + n, bytes - (size_t)n,
                      ",\"logged\":{\"images\":%" PRId64 ",\"loss\":%.17g,\"reconstruction\":%.17g,\"accuracy\":%.17g}",
                      s->logged.images, s->logged.loss, s->logged.reconstruction, s->logged.accuracy);
    }
    snprintf(extra + n, bytes - (size_t)n, "}");
}

static int is_epoch(const cJSON *item)
{
    return cJSON_IsNumber(item) && item->valuedouble >= 0.0 && item->valuedouble == (double)item->valueint;
}

static int read_number(const cJSON *object, const char *name, double *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    if (cJSON_IsNumber(item)) *out = item->valuedouble;
    return cJSON_IsNumber(item);
}

static int parse_state(const cJSON *object, run_state *out)
{
    const cJSON *ended = cJSON_GetObjectItemCaseSensitive(object, "epochs_ended");
    const cJSON *epoch = cJSON_GetObjectItemCaseSensitive(object, "best_epoch");
    const cJSON *logged = cJSON_GetObjectItemCaseSensitive(object, "logged");
    double images = 0.0;

    *out = (run_state){ .test_accuracy = -1.0 };
    if (!is_epoch(ended) || !is_epoch(epoch)) return 0;
    out->epochs_ended = ended->valueint;
    out->best_epoch = epoch->valueint;
    read_number(object, "test_accuracy", &out->test_accuracy);
    if (read_number(logged, "images", &images) && images >= 0.0 && images < 0x1p53) {
        out->logged.images = (int64_t)images;
        read_number(logged, "loss", &out->logged.loss);
        read_number(logged, "reconstruction", &out->logged.reconstruction);
        read_number(logged, "accuracy", &out->logged.accuracy);
    }
    return read_number(object, "best_accuracy", &out->best_accuracy) && read_number(object, "lr", &out->lr);
}

dt_status train_read_state(const char *path, run_state *out)
{
    run_state state;
    char *extra;

    DT_TRY(dt_checkpoint_extra(path, &extra));
    cJSON *object = extra ? cJSON_Parse(extra) : NULL;
    const int ok = parse_state(object, &state);
    cJSON_Delete(object);
    free(extra);
    DT_CHECK(ok, DT_ERR_FORMAT, "%s: not saved by 'detent train', so there is no run to go on with; use --init", path);
    *out = state;
    return DT_OK;
}

dt_status train_saved(run *r)
{
    DT_TRY(saver_wait(&r->saver));
    return DT_OK;
}

/* Copies the run to files of these names, on rank 0. */
static dt_status add_copy(run *r, const char *const *name, int n)
{
    char path[PATH_BYTES];
    char extra[STATE_BYTES];
    dt_run_copy *copy;

    format_state(r, extra, sizeof extra);
    DT_TRY(dt_run_copy_create(r->o.trainer, extra, &copy));
    for (int i = 0; i < n; i++) {
        const dt_status status = run_dir_path(r->s->out, name[i], path);
        if (status != DT_OK && i == 0) dt_run_copy_destroy(copy);
        DT_TRY(status);
        saver_add(&r->saver, copy, path);
    }
    return DT_OK;
}

/* To `name`, and before that to best.safetensors if `best` is 1. Of all ranks. */
static dt_status copy_run(run *r, int best, const char *name)
{
    const char *const names[] = { TRAIN_BEST, name };

    if (r->saver.is_started) DT_TRY(train_saved(r));
    DT_TRY(dt_trainer_gather(r->o.trainer));
    return r->rank == 0 ? add_copy(r, best ? names : names + 1, 1 + best) : DT_OK;
}

dt_status train_copy_mean(run *r, int best)
{
    return copy_run(r, best, TRAIN_MEAN);
}

dt_status train_save_last(run *r, int best)
{
    DT_TRY(copy_run(r, best, TRAIN_LAST));
    if (r->rank == 0) saver_start(&r->saver);
    r->saved_step = dt_trainer_steps_done(r->o.trainer);
    return DT_OK;
}

dt_status train_stop_here(run *r)
{
    const int64_t step = dt_trainer_steps_done(r->o.trainer);
    char ranks[32] = "";

    progress_wipe(&r->bar);
    if (r->saved_step != step) DT_TRY(train_save_last(r, 0));
    DT_TRY(train_saved(r));
    DT_TRY(dt_dist_barrier(r->dist, "saving")); /* a launcher ends all when the first rank ends with 130 */
    if (r->s->ranks > 1) snprintf(ranks, sizeof ranks, " --ranks %d", r->s->ranks);
    return dt_raise(DT_ERR_INTERRUPTED, __FILE__, __LINE__,
                    "stopped after step %s and saved; go on with 'detent train --resume%s --out %s'",
                    text_count(step).s, ranks, r->s->plan_out ? r->s->plan_out : r->s->out);
}
