/*
 * metrics_file.c - metrics.jsonl: one JSON object in each line, in the order of the events.
 *
 *   the line of an epoch    has no "event": epoch, step, lr, train_loss, train_accuracy, train_reconstruction,
 *                           test_loss and test_accuracy (if images are held out, val_loss and val_accuracy),
 *                           images_per_s, seconds; clips, an object of those that are trained, if there are any
 *   "event":"step"          every --log-every steps of an epoch: batch of batches; batch_s, data_s, loss, margin,
 *                           reconstruction and accuracy over those steps, and each as ..._mean since the epoch began
 *   "event":"test", "val"   the same for the batches of an evaluation
 *   "event":"end"           if images are held out: loss and accuracy of the best network on the test set
 *
 * A run may be killed between any two writes. So on resume the lines past the checkpoint are cut, together with a last
 * line that has no end, and written again. The file then is that of a run that was not killed, but for the times.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define METRICS "metrics.jsonl"

/* A whole number of the line; -1 if there is none. */
static int64_t whole_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return cJSON_IsNumber(item) && item->valuedouble >= 0.0 && item->valuedouble < 0x1p53 ? (int64_t)item->valuedouble
                                                                                          : -1;
}

/* Steps are kept up to the checkpoint's; an epoch and its evaluation only when it had ended, since else it is evaluated
 * again; the end never, since the run is not over: it has no "epoch", and its evaluation is of another split. What is
 * not one of ours is cut. */
static int is_kept(const char *text, size_t bytes, const metrics_kept *k)
{
    cJSON *object = cJSON_ParseWithLength(text, bytes);
    const cJSON *event = cJSON_GetObjectItemCaseSensitive(object, "event");
    const char *const name = cJSON_IsString(event) ? event->valuestring : "";
    const int64_t at_epoch = whole_of(object, "epoch"), at_step = whole_of(object, "step");
    const int in_epoch = *name == '\0' || strcmp(name, k->split) == 0;
    const int kept = strcmp(name, "step") == 0 ? at_step >= 0 && at_step <= k->step
                                               : in_epoch && at_epoch >= 0 && at_epoch <= k->epochs;

    cJSON_Delete(object);
    return kept;
}

dt_status metrics_cut(const char *dir, const metrics_kept *k)
{
    char path[PATH_BYTES];
    char *content;
    size_t bytes, keep = 0;

    DT_TRY(run_dir_path(dir, METRICS, path));
    DT_TRY(read_file(path, &content, &bytes));
    while (keep < bytes) {
        const char *end = memchr(content + keep, '\n', bytes - keep);
        const size_t length = end ? (size_t)(end - content) - keep : 0;

        if (!end || !is_kept(content + keep, length, k)) break;
        keep += length + 1;
    }
    free(content);
    DT_CHECK(keep == bytes || truncate(path, (off_t)keep) == 0, DT_ERR_IO, "%s: %s", path, strerror(errno));
    return DT_OK;
}

static void add_number(cJSON *object, const char *name, double value, short_text digits)
{
    cJSON_AddRawToObject(object, name, isfinite(value) ? digits.s : "null");
}

static void add_exact(cJSON *object, const char *name, double value)
{
    add_number(object, name, value, text_double(value));
}

static void add_rounded(cJSON *object, const char *name, double value, int decimals)
{
    short_text digits;

    snprintf(digits.s, sizeof digits.s, "%.*f", decimals, value);
    add_number(object, name, value, digits);
}

/* Adds what the object says as a line, and deletes it. */
static dt_status append(const char *dir, cJSON *object)
{
    char path[PATH_BYTES];
    struct stat before;
    char *text = json_line(object);

    cJSON_Delete(object);
    DT_CHECK(text, DT_ERR_MEMORY, "no memory for a line of " METRICS);
    const size_t length = strlen(text);
    text[length] = '\n'; /* in place of the '\0': a line goes out in one write */

    int failed = run_dir_path(dir, METRICS, path) == DT_OK ? 0 : ENAMETOOLONG;
    const int fd = failed ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (!failed && (fd < 0 || fstat(fd, &before) != 0)) failed = errno;
    if (!failed && write_synced(fd, text, length + 1) != 0) {
        failed = errno;
        const int cut = ftruncate(fd, before.st_size);
        (void)cut; /* a piece that stays is cut on resume */
    }
    if (fd >= 0) close(fd);
    cJSON_free(text);
    DT_CHECK(!failed, DT_ERR_IO, "%s/" METRICS ": %s", dir, strerror(failed));
    return DT_OK;
}

/* "val_loss" for "val" and "loss" */
static void add_of_split(cJSON *object, const char *split, const char *what, double value)
{
    char name[VALUE_BYTES];

    snprintf(name, sizeof name, "%s_%s", split, what);
    add_exact(object, name, value);
}

/* Two values are the ends of a range. */
static cJSON *clip_json(const float *value, int64_t n)
{
    double sum = 0.0;

    if (n == 1) return cJSON_CreateRaw(text_float(value[0]).s);
    if (n == 2) {
        cJSON *ends = cJSON_CreateArray();
        for (int i = 0; i < 2; i++) cJSON_AddItemToArray(ends, cJSON_CreateRaw(text_float(value[i]).s));
        return ends;
    }
    for (int64_t i = 0; i < n; i++) sum += (double)value[i];
    return cJSON_CreateRaw(text_float((float)(sum / (double)n)).s);
}

static dt_status add_clip(const dt_model *m, int i, const dt_param_info *p, cJSON *to)
{
    float *value = malloc((size_t)p->count * sizeof *value);

    DT_CHECK(value, DT_ERR_MEMORY, "no memory for the clips of %s", p->name);
    const dt_status status = dt_model_read(m, i, value);
    if (status == DT_OK) cJSON_AddItemToObject(to, p->name, clip_json(value, p->count));
    free(value);
    return status;
}

dt_status metrics_clips(const dt_model *m, cJSON **out)
{
    const int n = dt_model_n_params(m);
    dt_status status = DT_OK;
    cJSON *all = NULL;
    dt_param_info p;

    for (int i = 0; status == DT_OK && i < n; i++) {
        dt_model_param(m, i, &p);
        if (p.group != DT_GROUP_ALPHA) continue;
        if (!all) all = cJSON_CreateObject();
        status = add_clip(m, i, &p, all);
    }
    if (status != DT_OK) cJSON_Delete(all);
    if (status == DT_OK) *out = all;
    return status;
}

dt_status metrics_append_epoch(const char *dir, const epoch_line *line)
{
    cJSON *object = cJSON_CreateObject();

    cJSON_AddNumberToObject(object, "epoch", line->epoch);
    cJSON_AddNumberToObject(object, "step", (double)line->step);
    add_number(object, "lr", line->lr, text_float((float)line->lr));
    add_exact(object, "train_loss", line->train_loss);
    add_exact(object, "train_accuracy", line->train_accuracy);
    add_exact(object, "train_reconstruction", line->train_reconstruction);
    add_of_split(object, line->split, "loss", line->eval_loss);
    add_of_split(object, line->split, "accuracy", line->eval_accuracy);
    add_rounded(object, "images_per_s", line->images_per_s, 3);
    add_rounded(object, "seconds", line->seconds, 3);
    if (line->clips) cJSON_AddItemToObject(object, "clips", cJSON_Duplicate(line->clips, 1));
    DT_TRY(append(dir, object));
    return DT_OK;
}

static void add_values(cJSON *object, const batch_values *v, const char *suffix)
{
    const struct {
        const char *name;
        double value;
        int is_time;
    } all[] = { { "batch_s", v->batch_s, 1 },
                { "data_s", v->data_s, 1 },
                { "loss", v->loss, 0 },
                { "margin", v->margin, 0 },
                { "reconstruction", v->reconstruction, 0 },
                { "accuracy", v->accuracy, 0 } };
    char name[VALUE_BYTES];

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        snprintf(name, sizeof name, "%s%s", all[i].name, suffix);
        if (all[i].is_time)
            add_rounded(object, name, all[i].value, 6);
        else
            add_exact(object, name, all[i].value);
    }
}

dt_status metrics_append_batch(const char *dir, const batch_line *line)
{
    cJSON *object = cJSON_CreateObject();

    cJSON_AddStringToObject(object, "event", line->event);
    cJSON_AddNumberToObject(object, "epoch", line->epoch);
    cJSON_AddNumberToObject(object, "step", (double)line->step);
    cJSON_AddNumberToObject(object, "batch", (double)line->batch);
    cJSON_AddNumberToObject(object, "batches", (double)line->batches);
    add_values(object, &line->recent, "");
    add_values(object, &line->mean, "_mean");
    DT_TRY(append(dir, object));
    return DT_OK;
}

dt_status metrics_append_end(const char *dir, const end_line *line)
{
    cJSON *object = cJSON_CreateObject();

    cJSON_AddStringToObject(object, "event", "end");
    cJSON_AddNumberToObject(object, "best_epoch", line->best_epoch);
    add_exact(object, "test_loss", line->test_loss);
    add_exact(object, "test_accuracy", line->test_accuracy);
    DT_TRY(append(dir, object));
    return DT_OK;
}
