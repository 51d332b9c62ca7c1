/*
 * trials.c - the log of a search's trials. trials.h has the format.
 *
 * A line is on the disk before the search goes on. One that a killed process left incomplete is cut off.
 *
 * Tests: tests/cli/test_cli_search.sh.
 */
#include "trials.h"

#include "debug.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_NAME "trials.jsonl"

static dt_status path_of(const trial_log *l, const char *name, char path[PATH_BYTES])
{
    const int n = snprintf(path, PATH_BYTES, "%s%s", l->prefix, name);

    DT_CHECK(n > 0 && n < PATH_BYTES, DT_ERR_ARGUMENT, "--out: a path of %d bytes, at most %d are allowed", n,
             PATH_BYTES - 1);
    return DT_OK;
}

/* ---- rows ---- */

static dt_status keep_row(trial_log *l, const trial_row *row)
{
    if (l->n == l->room) {
        const int room = l->room > 0 ? 2 * l->room : 64;
        trial_row *bigger = realloc(l->row, (size_t)room * sizeof *bigger);
        DT_CHECK(bigger, DT_ERR_MEMORY, "no memory for %d trials", room);
        l->row = bigger;
        l->room = room;
    }
    int *value = malloc(((size_t)l->n_values + 1) * sizeof *value);
    DT_CHECK(value, DT_ERR_MEMORY, "no memory for the values of trial %d", row->trial);
    memcpy(value, row->value, (size_t)l->n_values * sizeof *value);
    l->row[l->n] = *row;
    l->row[l->n++].value = value;
    return DT_OK;
}

static void add_number(cJSON *object, const char *name, double value)
{
    if (!isnan(value)) cJSON_AddNumberToObject(object, name, value);
}

static cJSON *row_json(const trial_log *l, const trial_row *row)
{
    cJSON *out = cJSON_CreateObject();

    cJSON_AddNumberToObject(out, "trial", row->trial);
    cJSON_AddStringToObject(out, "step", row->step);
    cJSON_AddItemToObject(out, "values", cJSON_CreateIntArray(row->value, l->n_values));
    add_number(out, "accuracy_percent", row->accuracy);
    add_number(out, "size", row->size);
    add_number(out, "score", row->score);
    add_number(out, "seconds", row->seconds);
    return out;
}

static dt_status take_row(trial_log *l, const char *path, const cJSON *line)
{
    const cJSON *values = cJSON_GetObjectItemCaseSensitive(line, "values");
    const char *step = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(line, "step"));
    trial_row row = { .trial = (int)json_field(line, "trial"),
                      .accuracy = json_field(line, "accuracy_percent"),
                      .size = json_field(line, "size"),
                      .score = json_field(line, "score"),
                      .seconds = json_field(line, "seconds") };

    DT_CHECK(row.trial == l->n + 1 && step && cJSON_GetArraySize(values) == l->n_values, DT_ERR_FORMAT,
             "%s: line %d is not trial %d of this search", path, l->n + 2, l->n + 1);
    snprintf(row.step, sizeof row.step, "%s", step);
    row.value = malloc(((size_t)l->n_values + 1) * sizeof *row.value);
    DT_CHECK(row.value, DT_ERR_MEMORY, "no memory for the values of trial %d", row.trial);
    for (int i = 0; i < l->n_values; i++) row.value[i] = cJSON_GetArrayItem(values, i)->valueint;
    const dt_status status = keep_row(l, &row);
    free(row.value);
    return status;
}

/* ---- the file ---- */

static cJSON *head_json(const trial_log *l, const cJSON *search)
{
    cJSON *out = cJSON_CreateObject(), *values = NULL;

    cJSON_AddItemToObject(out, "search", cJSON_Duplicate(search, 1));
    values = cJSON_AddArrayToObject(out, "values");
    for (int i = 0; i < l->n_values; i++) cJSON_AddItemToArray(values, cJSON_CreateString(l->name[i]));
    return out;
}

/* What differs first between two heads, in words. */
static void say_difference(const cJSON *was, const cJSON *is, char *text, size_t bytes)
{
    const cJSON *item;

    snprintf(text, bytes, "its choices");
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(is, "search"))
    {
        const cJSON *old =
            cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(was, "search"), item->string);
        if (old && cJSON_Compare(old, item, 1)) continue;
        char *a = old ? json_line(old) : NULL, *b = json_line(item);
        snprintf(text, bytes, "%s was %s, and is %s", item->string, a ? a : "not there", b ? b : "?");
        cJSON_free(a);
        cJSON_free(b);
        return;
    }
}

static dt_status check_head(const char *path, const char *line, const cJSON *head)
{
    cJSON *was = cJSON_Parse(line);
    char text[512];
    const int is_equal = was && cJSON_Compare(was, head, 1);

    if (!is_equal) say_difference(was, head, text, sizeof text);
    cJSON_Delete(was);
    DT_CHECK(is_equal, DT_ERR_ARGUMENT,
             "%s is of another search: %s; go on with the same options, or begin another with --out", path, text);
    return DT_OK;
}

static dt_status read_rows(trial_log *l, const char *path, char *text)
{
    char *rest = NULL;

    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        cJSON *object = cJSON_Parse(line);
        const dt_status status = take_row(l, path, object);
        cJSON_Delete(object);
        DT_TRY(status);
    }
    return DT_OK;
}

/* Keeps whole lines alone, so that what is appended begins one. */
static dt_status read_log(trial_log *l, const char *path, char *content, const cJSON *head)
{
    char *end = strrchr(content, '\n');
    size_t bytes = strlen(content);

    if (end && (size_t)(end - content) + 1 < bytes) {
        bytes = (size_t)(end - content) + 1;
        content[bytes] = '\0';
        DT_TRY(dt_file_replace(path, content, bytes));
    }
    char *first_end = strchr(content, '\n');
    DT_CHECK(first_end, DT_ERR_FORMAT, "%s: it has no whole line; remove it to begin anew", path);
    *first_end = '\0';
    DT_TRY(check_head(path, content, head));
    return read_rows(l, path, first_end + 1);
}

static dt_status begin_log(const char *path, const cJSON *head)
{
    char *text = json_line(head);

    DT_CHECK(text, DT_ERR_MEMORY, "no memory for %s", path);
    const size_t n = strlen(text);
    char *line = realloc(text, n + 2);
    if (!line) cJSON_free(text);
    DT_CHECK(line, DT_ERR_MEMORY, "no memory for %s", path);
    strcpy(line + n, "\n");
    const dt_status status = dt_file_replace(path, line, n + 1);
    cJSON_free(line);
    return status;
}

/* As it is read again: numbers that were given as texts are numbers. */
static dt_status make_head(const trial_log *l, const cJSON *search, cJSON **out)
{
    cJSON *head = head_json(l, search);
    char *text = json_line(head);

    cJSON_Delete(head);
    *out = text ? cJSON_Parse(text) : NULL;
    cJSON_free(text);
    DT_CHECK(*out, DT_ERR_MEMORY, "no memory for what is searched");
    return DT_OK;
}

static dt_status open_file(trial_log *l, const cJSON *search, int resume)
{
    char path[PATH_BYTES], *content = NULL;
    cJSON *head;
    size_t bytes;

    DT_TRY(path_of(l, LOG_NAME, path));
    DT_TRY(make_head(l, search, &head));
    dt_status read = DT_OK;
    if (resume) read = read_file(path, &content, &bytes);
    if (read != DT_OK) {
        cJSON_Delete(head);
        return read;
    }
    const dt_status status = content ? read_log(l, path, content, head) : begin_log(path, head);
    cJSON_Delete(head);
    free(content);
    return status;
}

static dt_status copy_names(trial_log *l, const char *const *name, int n)
{
    l->name = calloc((size_t)n + 1, sizeof *l->name);
    DT_CHECK(l->name, DT_ERR_MEMORY, "no memory for the names of %d choices", n);
    l->n_values = n;
    for (int i = 0; i < n; i++) {
        l->name[i] = strdup(name[i]);
        DT_CHECK(l->name[i], DT_ERR_MEMORY, "no memory for the name %s", name[i]);
    }
    return DT_OK;
}

dt_status trial_log_open(const char *prefix, const cJSON *search, const char *const *name, int n_values, int resume,
                         trial_log *out)
{
    trial_log l = { 0 };

    snprintf(l.prefix, sizeof l.prefix, "%s", prefix);
    dt_status status = copy_names(&l, name, n_values);
    if (status == DT_OK) status = open_file(&l, search, resume);
    if (status != DT_OK) {
        trial_log_close(&l);
        return status;
    }
    *out = l;
    return DT_OK;
}

void trial_log_close(trial_log *l)
{
    for (int i = 0; i < l->n; i++) free(l->row[i].value);
    for (int i = 0; l->name && i < l->n_values; i++) free(l->name[i]);
    free(l->row);
    free(l->name);
    *l = (trial_log){ 0 };
}

/* A line that cannot be written whole is cut off again by whoever goes on. */
static dt_status append(const char *path, const char *text)
{
    char line[2] = "\n";
    const int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

    DT_CHECK(fd >= 0, DT_ERR_IO, "%s: %s", path, strerror(errno));
    const int failed = write(fd, text, strlen(text)) != (ssize_t)strlen(text) || write_synced(fd, line, 1) != 0;
    const int why = errno;
    close(fd);
    DT_CHECK(!failed, DT_ERR_IO, "%s: %s", path, strerror(why));
    return DT_OK;
}

dt_status trial_log_add(trial_log *l, const trial_row *row)
{
    char path[PATH_BYTES];

    DT_TRY(path_of(l, LOG_NAME, path));
    cJSON *object = row_json(l, row);
    char *text = json_line(object);
    cJSON_Delete(object);
    DT_CHECK(text, DT_ERR_MEMORY, "no memory for trial %d", row->trial);
    const dt_status status = append(path, text);
    cJSON_free(text);
    DT_TRY(status);
    return keep_row(l, row);
}

const trial_row *trial_log_find(const trial_log *l, const int *value)
{
    for (int i = 0; i < l->n; i++) {
        if (memcmp(l->row[i].value, value, (size_t)l->n_values * sizeof *value) == 0) return &l->row[i];
    }
    return NULL;
}

const trial_row *trial_log_best(const trial_log *l, int first, int end)
{
    const trial_row *best = NULL;

    for (int i = first; i < end; i++) {
        if (!isnan(l->row[i].score) && (!best || l->row[i].score > best->score)) best = &l->row[i];
    }
    return best;
}

/* ---- the tables ---- */

static void write_cell(FILE *to, double value)
{
    if (!isnan(value)) fprintf(to, "%s", text_double(value).s);
    fputc(',', to);
}

static void write_csv(FILE *to, const void *user)
{
    const trial_log *l = user;

    fprintf(to, "trial,step,accuracy_percent,size,score,seconds");
    for (int i = 0; i < l->n_values; i++) fprintf(to, ",\"%s\"", l->name[i]);
    fputc('\n', to);
    for (int i = 0; i < l->n; i++) {
        const trial_row *row = &l->row[i];
        fprintf(to, "%d,%s,", row->trial, row->step);
        write_cell(to, row->accuracy);
        write_cell(to, row->size);
        write_cell(to, row->score);
        if (!isnan(row->seconds)) fprintf(to, "%.3f", row->seconds);
        for (int k = 0; k < l->n_values; k++) fprintf(to, ",%d", row->value[k]);
        fputc('\n', to);
    }
}

dt_status json_file_write(const char *path, cJSON *object)
{
    char *text = object ? json_text(object) : NULL;

    cJSON_Delete(object);
    DT_CHECK(text, DT_ERR_MEMORY, "no memory for %s", path);
    const dt_status status = dt_file_replace(path, text, strlen(text));
    cJSON_free(text);
    return status;
}

static dt_status write_json(const trial_log *l, const char *path)
{
    cJSON *out = cJSON_CreateArray();

    for (int i = 0; i < l->n; i++) {
        cJSON *row = row_json(l, &l->row[i]), *values = cJSON_CreateObject();
        for (int k = 0; k < l->n_values; k++) cJSON_AddNumberToObject(values, l->name[k], l->row[i].value[k]);
        cJSON_ReplaceItemInObjectCaseSensitive(row, "values", values);
        cJSON_AddItemToArray(out, row);
    }
    return json_file_write(path, out);
}

dt_status trial_log_write_tables(const trial_log *l)
{
    char path[PATH_BYTES];

    DT_TRY(path_of(l, "table.json", path));
    DT_TRY(write_json(l, path));
    DT_TRY(path_of(l, "table.csv", path));
    return debug_file_write(path, write_csv, l);
}
