/*
 * sweep_table.c - what the runs of a sweep have reached: a line for each setting, which are the runs that differ in
 *                 nothing but their seed.
 *
 *   accuracy    mean of the accuracies of its complete runs, on the test set
 *   deviation   sqrt(sum (accuracy - mean)^2 / (n - 1)) of n >= 2 runs
 *   best        the largest of them
 *
 * Tests: tests/cli/test_cli_sweep.sh.
 */
#include "sweep.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 1024 };

static const char *const state_words[] = { "waiting", "running", "done", "stopped", "failed" };

/* ---- metrics.jsonl ---- */

/* Lines of epochs have no event. With images held out, these have an accuracy on them, and the end one on the test
 * set. */
static void take_line(const cJSON *line, sweep_run_of *run)
{
    const cJSON *event = cJSON_GetObjectItemCaseSensitive(line, "event");
    const double on_test = json_field(line, "test_accuracy"), on_val = json_field(line, "val_accuracy");
    const double decides = isnan(on_val) ? on_test : on_val;

    if (cJSON_IsString(event) && strcmp(event->valuestring, "end") != 0) return;
    if (!isnan(on_test)) run->accuracy = on_test;
    if (event) return;
    run->epochs++;
    if (isnan(decides) || decides <= run->best_accuracy) return; /* false for the first, NaN */
    run->best_accuracy = decides;
    run->best_epoch = (int)json_field(line, "epoch");
}

dt_status sweep_look(const char *dir, sweep_run_of *run)
{
    char path[PATH_BYTES], *content, *line, *rest = NULL;
    size_t bytes;

    run->epochs = run->best_epoch = 0;
    run->accuracy = run->best_accuracy = NAN;
    DT_TRY(run_dir_path(dir, "metrics.jsonl", path));
    DT_TRY(read_file(path, &content, &bytes));
    if (!content) return DT_OK;
    for (line = strtok_r(content, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        cJSON *object = cJSON_Parse(line);
        if (object) take_line(object, run);
        cJSON_Delete(object);
    }
    free(content);
    return DT_OK;
}

/* ---- settings ---- */

typedef struct {
    const sweep_run_of *first, *best; /* best is NULL where no run is complete */
    int n, n_done, n_failed;
    double mean, deviation; /* NaN: undefined */
} setting;

static int is_of(const sweep *s, const sweep_run_of *a, const sweep_run_of *b)
{
    for (int i = 0; i < s->n_axes; i++) {
        if (strcmp(s->axis[i], "seed") == 0) continue;
        const cJSON *x = cJSON_GetObjectItemCaseSensitive(a->own, s->axis[i]);
        const cJSON *y = cJSON_GetObjectItemCaseSensitive(b->own, s->axis[i]);
        if (x != y && !(x && y && cJSON_Compare(x, y, 1))) return 0;
    }
    return 1;
}

static int has_result(const sweep_run_of *run)
{
    return run->state == RUN_DONE && !isnan(run->accuracy);
}

static setting setting_of(const sweep *s, const sweep_run_of *first)
{
    setting out = { .first = first, .deviation = NAN };
    double sum = 0.0, squares = 0.0;

    for (int i = 0; i < s->n_runs; i++) {
        const sweep_run_of *run = &s->run[i];
        if (!is_of(s, first, run)) continue;
        out.n++;
        out.n_failed += run->state == RUN_FAILED;
        if (!has_result(run)) continue;
        out.n_done++;
        sum += run->accuracy;
        if (!out.best || run->accuracy > out.best->accuracy) out.best = run;
    }
    out.mean = out.n_done > 0 ? sum / out.n_done : NAN;
    for (int i = 0; i < s->n_runs; i++) {
        if (is_of(s, first, &s->run[i]) && has_result(&s->run[i]))
            squares += (s->run[i].accuracy - out.mean) * (s->run[i].accuracy - out.mean);
    }
    if (out.n_done > 1) out.deviation = sqrt(squares / (out.n_done - 1));
    return out;
}

/* In the order of their first runs. The caller frees *out. */
static dt_status find_settings(const sweep *s, setting **out, int *n)
{
    setting *all = calloc((size_t)s->n_runs, sizeof *all);

    DT_CHECK(all, DT_ERR_MEMORY, "no memory for the table of %d runs", s->n_runs);
    *n = 0;
    for (int i = 0; i < s->n_runs; i++) {
        int is_known = 0;
        for (int k = 0; k < *n && !is_known; k++) is_known = is_of(s, all[k].first, &s->run[i]);
        if (!is_known) all[(*n)++] = setting_of(s, &s->run[i]);
    }
    *out = all;
    return DT_OK;
}

/* "wbits=2,lr=0.1"; "all" where nothing but the seed differs */
static void name_setting(const sweep *s, const sweep_run_of *run, char *text, size_t bytes)
{
    char value[TEXT_BYTES];
    size_t n = 0;

    snprintf(text, bytes, "all");
    for (int i = 0; i < s->n_axes && n < bytes; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(run->own, s->axis[i]);
        if (!item || strcmp(s->axis[i], "seed") == 0) continue;
        sweep_value(item, value, sizeof value);
        n += (size_t)snprintf(text + n, bytes - n, "%s%s=%s", n ? "," : "", s->axis[i], value);
    }
}

/* ---- as text ---- */

static void print_percent(double share, int width)
{
    if (isnan(share))
        printf("  %*s", width + 2, "-");
    else
        printf("  %*.2f %%", width, 100.0 * share);
}

static void print_table(const sweep *s, const setting *all, int n)
{
    char name[TEXT_BYTES];
    int width = (int)strlen("setting");

    for (int i = 0; i < n; i++) {
        name_setting(s, all[i].first, name, sizeof name);
        if ((int)strlen(name) > width) width = (int)strlen(name);
    }
    printf("%-*s  %9s  %8s  %9s  %8s  of\n", width, "setting", "runs", "accuracy", "deviation", "best");
    for (int i = 0; i < n; i++) {
        const setting *t = &all[i];
        name_setting(s, t->first, name, sizeof name);
        printf("%-*s  %3d of %-3d", width, name, t->n_done, t->n);
        print_percent(t->mean, 6);
        print_percent(t->deviation, 7);
        print_percent(t->best ? t->best->accuracy : NAN, 6);
        printf("  %s", t->best ? t->best->name : "-");
        if (t->n_failed > 0) printf("  (%d failed)", t->n_failed);
        printf("\n");
    }
}

/* ---- as CSV ---- */

static void csv_text(FILE *to, const char *text)
{
    if (!strpbrk(text, ",\"\n")) {
        fputs(text, to);
        return;
    }
    putc('"', to);
    for (; *text; text++) fprintf(to, *text == '"' ? "\"\"" : "%c", *text);
    putc('"', to);
}

static void csv_number(FILE *to, double value)
{
    fprintf(to, ",%s", isnan(value) ? "" : text_double(value).s);
}

static void write_csv(FILE *to, const sweep *s, const setting *all, int n)
{
    char value[TEXT_BYTES];

    for (int i = 0; i < s->n_axes; i++) {
        if (strcmp(s->axis[i], "seed") == 0) continue;
        csv_text(to, s->axis[i]);
        putc(',', to);
    }
    fputs("runs,complete,failed,accuracy,deviation,best,best_run\n", to);
    for (int k = 0; k < n; k++) {
        const setting *t = &all[k];
        for (int i = 0; i < s->n_axes; i++) {
            const cJSON *item = cJSON_GetObjectItemCaseSensitive(t->first->own, s->axis[i]);
            if (strcmp(s->axis[i], "seed") == 0) continue;
            value[0] = '\0';
            if (item) sweep_value(item, value, sizeof value);
            csv_text(to, value);
            putc(',', to);
        }
        fprintf(to, "%d,%d,%d", t->n, t->n_done, t->n_failed);
        csv_number(to, t->mean);
        csv_number(to, t->deviation);
        csv_number(to, t->best ? t->best->accuracy : NAN);
        putc(',', to);
        csv_text(to, t->best ? t->best->name : "");
        putc('\n', to);
    }
}

/* ---- as JSON ---- */

static void add_number(cJSON *to, const char *name, double value)
{
    cJSON_AddRawToObject(to, name, isnan(value) ? "null" : text_double(value).s);
}

static cJSON *run_json(const sweep_run_of *run)
{
    cJSON *out = cJSON_CreateObject();

    cJSON_AddStringToObject(out, "name", run->name);
    cJSON_AddItemToObject(out, "options", cJSON_Duplicate(run->own, 1));
    cJSON_AddStringToObject(out, "state", state_words[run->state]);
    if (run->state == RUN_FAILED) cJSON_AddStringToObject(out, "error", run->error);
    cJSON_AddNumberToObject(out, "epochs", run->epochs);
    add_number(out, "accuracy", run->accuracy);
    add_number(out, "best_accuracy", run->best_accuracy);
    cJSON_AddNumberToObject(out, "best_epoch", run->best_epoch);
    return out;
}

static cJSON *setting_json(const setting *t)
{
    cJSON *out = cJSON_CreateObject(), *options = cJSON_Duplicate(t->first->own, 1);

    cJSON_DeleteItemFromObjectCaseSensitive(options, "seed");
    cJSON_AddItemToObject(out, "options", options);
    cJSON_AddNumberToObject(out, "runs", t->n);
    cJSON_AddNumberToObject(out, "complete", t->n_done);
    cJSON_AddNumberToObject(out, "failed", t->n_failed);
    add_number(out, "accuracy", t->mean);
    add_number(out, "deviation", t->deviation);
    add_number(out, "best", t->best ? t->best->accuracy : NAN);
    cJSON_AddItemToObject(out, "best_run", t->best ? cJSON_CreateString(t->best->name) : cJSON_CreateNull());
    return out;
}

static cJSON *table_json(const sweep *s, const setting *all, int n)
{
    cJSON *out = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(out, "settings");

    for (int i = 0; i < n; i++) cJSON_AddItemToArray(list, setting_json(&all[i]));
    list = cJSON_AddArrayToObject(out, "runs");
    for (int i = 0; i < s->n_runs; i++) cJSON_AddItemToArray(list, run_json(&s->run[i]));
    return out;
}

/* ---- both files ---- */

static dt_status write_table_csv(const sweep *s, const char *dir, const setting *all, int n)
{
    char path[PATH_BYTES], *text = NULL;
    size_t bytes = 0;

    DT_TRY(run_dir_path(dir, "table.csv", path));
    FILE *to = open_memstream(&text, &bytes);
    DT_CHECK(to, DT_ERR_MEMORY, "no memory for %s", path);
    write_csv(to, s, all, n);
    dt_status status = fclose(to) == 0 ? DT_OK : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for %s", path);
    if (status == DT_OK) status = dt_file_replace(path, text, bytes);
    free(text);
    return status;
}

/* Deletes the object. */
static dt_status write_table_json(cJSON *table, const char *dir, int is_printed)
{
    char path[PATH_BYTES];
    char *text = json_text(table);

    dt_status status = run_dir_path(dir, "table.json", path);
    if (status == DT_OK && !text) status = dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for %s", path);
    if (status == DT_OK) status = dt_file_replace(path, text, strlen(text));
    cJSON_free(text);
    if (status == DT_OK && is_printed) return print_json(table);
    cJSON_Delete(table);
    return status;
}

dt_status sweep_report(const sweep *s, const char *dir, int as_json)
{
    setting *all = NULL;
    int n = 0;

    DT_TRY(find_settings(s, &all, &n));
    if (!as_json) print_table(s, all, n);
    dt_status status = write_table_csv(s, dir, all, n);
    if (status == DT_OK) status = write_table_json(table_json(s, all, n), dir, as_json);
    free(all);
    return status;
}
