/*
 * report_metrics.c - metrics.jsonl of a run as columns, a value an epoch. See report.h.
 *
 * Tests: tests/cli/test_cli_report.sh.
 */
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void run_metrics_free(run_metrics *m)
{
    for (int i = 0; i < m->n_clips; i++) {
        free(m->clip[i].name);
        free(m->clip[i].value);
    }
    free(m->clip);
    for (int i = 0; i < COLUMNS; i++) free(m->column[i]);
    *m = (run_metrics){ 0 };
}

/* The course of that name, which is a new one the first time; NULL: no memory. */
static clip_course *course_of(run_metrics *m, const char *name, const char *end, int room)
{
    char full[DT_NAME_MAX + 16];

    snprintf(full, sizeof full, "%s%s%s", name, *end ? " " : "", end);
    for (int i = 0; i < m->n_clips; i++) {
        if (strcmp(m->clip[i].name, full) == 0) return &m->clip[i];
    }
    clip_course *grown = realloc(m->clip, ((size_t)m->n_clips + 1) * sizeof *grown);
    if (grown) m->clip = grown;
    double *value = grown ? malloc((size_t)room * sizeof *value) : NULL;
    char *copy = value ? strdup(full) : NULL;
    if (!copy) {
        free(value);
        return NULL;
    }
    for (int i = 0; i < room; i++) value[i] = NAN;
    m->clip[m->n_clips] = (clip_course){ copy, value };
    return &m->clip[m->n_clips++];
}

static int take_clips(const cJSON *clips, int room, run_metrics *m)
{
    const cJSON *clip;

    cJSON_ArrayForEach(clip, clips)
    {
        const int is_range = cJSON_GetArraySize(clip) == 2;
        for (int end = 0; end <= is_range; end++) {
            clip_course *c = course_of(m, clip->string, !is_range ? "" : end ? "high" : "low", room);
            if (!c) return 0;
            c->value[m->n] = json_number(is_range ? cJSON_GetArrayItem(clip, end) : clip);
        }
    }
    return 1;
}

/* Returns 0 if there is no memory. */
static int take_epoch(const cJSON *line, int room, run_metrics *m)
{
    static const char *const names[COLUMNS] = {
        [COLUMN_TRAIN_LOSS] = "train_loss",
        [COLUMN_TRAIN_ACCURACY] = "train_accuracy",
        [COLUMN_EVAL_LOSS] = "test_loss",
        [COLUMN_EVAL_ACCURACY] = "test_accuracy",
        [COLUMN_RATE] = "lr",
        [COLUMN_IMAGES_PER_S] = "images_per_s",
        [COLUMN_SECONDS] = "seconds",
    };

    for (int i = 0; i < COLUMNS; i++) m->column[i][m->n] = json_field(line, names[i]);
    if (cJSON_HasObjectItem(line, "val_loss")) {
        m->has_val = 1;
        m->column[COLUMN_EVAL_LOSS][m->n] = json_field(line, "val_loss");
        m->column[COLUMN_EVAL_ACCURACY][m->n] = json_field(line, "val_accuracy");
    }
    m->column[COLUMN_TRAIN_ACCURACY][m->n] *= 100.0;
    m->column[COLUMN_EVAL_ACCURACY][m->n] *= 100.0;
    const double accuracy = m->column[COLUMN_EVAL_ACCURACY][m->n];
    if (!isnan(accuracy) && !(accuracy <= m->best_accuracy)) { /* true of the first, beside NaN */
        m->best_accuracy = accuracy;
        m->best_epoch = m->n + 1;
    }
    const int ok = take_clips(cJSON_GetObjectItemCaseSensitive(line, "clips"), room, m);
    m->n++;
    return ok;
}

static int take_line(const cJSON *line, int room, run_metrics *m)
{
    const cJSON *event = cJSON_GetObjectItemCaseSensitive(line, "event");

    if (!event) return take_epoch(line, room, m);
    if (cJSON_IsString(event) && strcmp(event->valuestring, "end") == 0)
        m->best_test_accuracy = 100.0 * json_field(line, "test_accuracy");
    return 1;
}

static int count_lines(const char *text)
{
    int n = 0;

    for (; *text; text++) n += *text == '\n';
    return n + 1;
}

static dt_status read_lines(char *content, run_metrics *m)
{
    const int room = count_lines(content);
    char *rest = NULL;
    int ok = 1;

    for (int i = 0; i < COLUMNS; i++) {
        m->column[i] = malloc((size_t)room * sizeof(double));
        ok = ok && m->column[i];
    }
    for (char *line = ok ? strtok_r(content, "\n", &rest) : NULL; line && ok; line = strtok_r(NULL, "\n", &rest)) {
        cJSON *object = cJSON_Parse(line);
        if (object) ok = take_line(object, room, m);
        cJSON_Delete(object);
    }
    DT_CHECK(ok, DT_ERR_MEMORY, "no memory for the metrics of %d lines", room);
    return DT_OK;
}

dt_status run_metrics_read(const char *dir, run_metrics *out)
{
    char path[PATH_BYTES], *content;
    size_t bytes;

    *out = (run_metrics){ .best_accuracy = NAN, .best_test_accuracy = NAN };
    DT_TRY(run_dir_path(dir, "metrics.jsonl", path));
    DT_TRY(read_file(path, &content, &bytes));
    if (!content) return DT_OK;
    const dt_status status = read_lines(content, out);
    free(content);
    return status;
}
