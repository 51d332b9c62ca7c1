/*
 * sweep_file.c - reads the file of a sweep and makes its runs. sweep.h has the format.
 *
 * Tests: tests/cli/test_cli_sweep.sh.
 */
#include "sweep.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 1024 };

void sweep_value(const cJSON *value, char *text, size_t bytes)
{
    const double v = value->valuedouble;

    if (cJSON_IsString(value))
        snprintf(text, bytes, "%s", value->valuestring);
    else if (cJSON_IsBool(value))
        snprintf(text, bytes, "%s", cJSON_IsTrue(value) ? "true" : "false");
    else if (v == floor(v) && fabs(v) < 0x1p53)
        snprintf(text, bytes, "%.0f", v);
    else
        snprintf(text, bytes, "%s", text_double(v).s);
}

/* ---- checks ---- */

/* What the sweep gives to each run itself, or what would hide its results. */
static int is_ours(const char *name)
{
    static const char *const names[] = { "out", "resume", "force", "quiet", "verbose", NULL };

    for (int i = 0; names[i]; i++) {
        if (strcmp(name, names[i]) == 0) return 1;
    }
    return 0;
}

static const option_row *train_row(const char *name)
{
    for (int i = 0; i < n_option_rows; i++) {
        if ((option_rows[i].commands & FOR_TRAIN) && strcmp(option_rows[i].name, name) == 0) return &option_rows[i];
    }
    return NULL;
}

static dt_status check_value(const option_row *row, const cJSON *value)
{
    static settings scratch;
    char text[TEXT_BYTES];
    const int is_flag = row->kind == KIND_FLAG;

    DT_CHECK(cJSON_IsString(value) || cJSON_IsNumber(value) || cJSON_IsBool(value), DT_ERR_FORMAT,
             "a value is a number, a text, true or false");
    DT_CHECK(!cJSON_IsBool(value) == !is_flag, DT_ERR_FORMAT,
             is_flag ? "its value is true or false" : "its value is not true or false");
    DT_CHECK(!cJSON_IsString(value) || strlen(value->valuestring) < TEXT_BYTES, DT_ERR_FORMAT,
             "a text of %zu characters, at most %d", strlen(value->valuestring), TEXT_BYTES - 1);
    if (is_flag) return DT_OK;
    sweep_value(value, text, sizeof text);
    return row->of_network ? option_check(row, text) : option_set(row, text, &scratch);
}

/* Says where a failure was. */
static dt_status at(dt_status status, const char *path, const char *where, const char *name)
{
    char text[TEXT_BYTES];

    if (status == DT_OK) return DT_OK;
    snprintf(text, sizeof text, "%s", dt_last_error());
    return dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__, "%s: %s, \"%s\": %s", path, where, name, text);
}

static dt_status check_option(const cJSON *value, const char *name)
{
    const option_row *row = train_row(name);

    DT_CHECK(row, DT_ERR_FORMAT, "'detent train' has no such option");
    DT_CHECK(!is_ours(name), DT_ERR_FORMAT, "the sweep decides on this option itself; leave it out");
    return check_value(row, value);
}

dt_status sweep_check_options(const char *path, const char *where, const cJSON *object)
{
    const cJSON *item;

    DT_CHECK(cJSON_IsObject(object), DT_ERR_FORMAT, "%s: %s is no object of options and values", path, where);
    cJSON_ArrayForEach(item, object) DT_TRY(at(check_option(item, item->string), path, where, item->string));
    return DT_OK;
}

static dt_status check_grid(const char *path, const cJSON *grid)
{
    const cJSON *axis, *item;

    DT_CHECK(cJSON_IsObject(grid), DT_ERR_FORMAT, "%s: grid is no object of options and lists of values", path);
    cJSON_ArrayForEach(axis, grid)
    {
        DT_CHECK(cJSON_IsArray(axis) && cJSON_GetArraySize(axis) > 0, DT_ERR_FORMAT,
                 "%s: grid, \"%s\": a list of values is needed, as [1, 2]", path, axis->string);
        cJSON_ArrayForEach(item, axis) DT_TRY(at(check_option(item, axis->string), path, "grid", axis->string));
    }
    return DT_OK;
}

static dt_status check_parts(const char *path, const cJSON *file)
{
    static const char *const known[] = { "options", "runs", "grid" };
    const cJSON *item;

    DT_CHECK(cJSON_IsObject(file), DT_ERR_FORMAT, "%s: not a JSON object", path);
    cJSON_ArrayForEach(item, file)
    {
        int is_known = 0;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) is_known |= strcmp(item->string, known[i]) == 0;
        DT_CHECK(is_known, DT_ERR_FORMAT, "%s: \"%s\" is unknown; there are options, runs and grid", path,
                 item->string);
    }
    return DT_OK;
}

/* ---- the axes: options in which runs differ ---- */

static dt_status add_axis(const char *path, sweep *s, const char *name, int may_be_there)
{
    for (int i = 0; i < s->n_axes; i++) {
        if (strcmp(s->axis[i], name) != 0) continue;
        DT_CHECK(may_be_there, DT_ERR_FORMAT, "%s: \"%s\" is in grid and in another place; one of them", path, name);
        return DT_OK;
    }
    DT_CHECK(!cJSON_GetObjectItemCaseSensitive(s->options, name), DT_ERR_FORMAT,
             "%s: \"%s\" is in options, for all runs, and in runs or grid; one of them", path, name);
    DT_CHECK(s->n_axes < SWEEP_AXES_MOST, DT_ERR_FORMAT, "%s: runs differ in more than %d options", path,
             SWEEP_AXES_MOST);
    s->axis[s->n_axes++] = name;
    return DT_OK;
}

static dt_status find_axes(const char *path, sweep *s, const cJSON *runs, const cJSON *grid)
{
    const cJSON *run, *item;

    cJSON_ArrayForEach(run, runs)
    {
        cJSON_ArrayForEach(item, run) DT_TRY(add_axis(path, s, item->string, 1));
    }
    cJSON_ArrayForEach(item, grid) DT_TRY(add_axis(path, s, item->string, 0));
    return DT_OK;
}

/* ---- the runs ---- */

/* Values may be paths. A name that is too long ends in a hash of all of it. */
static void name_run(sweep_run_of *run)
{
    char value[TEXT_BYTES];
    const cJSON *item;
    size_t n = 0;
    uint32_t hash = 2166136261u; /* FNV-1a */

    cJSON_ArrayForEach(item, run->own)
    {
        char part[TEXT_BYTES + 2 * VALUE_BYTES];
        sweep_value(item, value, sizeof value);
        snprintf(part, sizeof part, "%s%.63s=%s", n ? "," : "", item->string, value);
        for (const char *c = part; *c; c++, n++) {
            hash = (hash ^ (unsigned char)*c) * 16777619u;
            if (n < SWEEP_NAME_BYTES - 1) run->name[n] = isalnum((unsigned char)*c) || strchr("=,._-", *c) ? *c : '_';
        }
    }
    if (n >= SWEEP_NAME_BYTES) snprintf(run->name + SWEEP_NAME_BYTES - 10, 10, "-%08x", hash);
}

/* Point k of the grid, whose last axis changes fastest. */
static int add_point(cJSON *own, const cJSON *grid, int k)
{
    const int n = cJSON_GetArraySize(grid);
    int ok = 1, size = 1;

    for (int i = 0; i < n; i++) size *= cJSON_GetArraySize(cJSON_GetArrayItem(grid, i));
    for (int i = 0; ok && i < n; i++) {
        const cJSON *axis = cJSON_GetArrayItem(grid, i);
        size /= cJSON_GetArraySize(axis);
        cJSON *value = cJSON_Duplicate(cJSON_GetArrayItem(axis, k / size % cJSON_GetArraySize(axis)), 1);
        ok = cJSON_AddItemToObject(own, axis->string, value);
    }
    return ok;
}

static dt_status make_run(sweep *s, const cJSON *base, const cJSON *grid, int point)
{
    sweep_run_of *run = &s->run[s->n_runs];

    *run = (sweep_run_of){ .own = base ? cJSON_Duplicate(base, 1) : cJSON_CreateObject() };
    s->n_runs++;
    DT_CHECK(run->own && add_point(run->own, grid, point), DT_ERR_MEMORY, "no memory for run %d", s->n_runs);
    name_run(run);
    return DT_OK;
}

static dt_status refuse_twins(const char *path, const sweep *s)
{
    for (int i = 0; i < s->n_runs; i++) {
        for (int j = 0; j < i; j++) {
            DT_CHECK(strcmp(s->run[i].name, s->run[j].name) != 0, DT_ERR_FORMAT,
                     "%s: two runs are %s; a value is there twice", path, s->run[i].name);
        }
    }
    return DT_OK;
}

static dt_status make_runs(const char *path, sweep *s, const cJSON *runs, const cJSON *grid)
{
    const int n_bases = runs ? cJSON_GetArraySize(runs) : 1;
    const cJSON *axis;
    double n_points = 1.0;

    cJSON_ArrayForEach(axis, grid) n_points *= cJSON_GetArraySize(axis);
    DT_CHECK(n_bases * n_points <= SWEEP_RUNS_MOST, DT_ERR_FORMAT, "%s: %.0f runs, at most %d", path,
             n_bases * n_points, SWEEP_RUNS_MOST);
    s->run = calloc((size_t)n_bases * (size_t)n_points, sizeof *s->run);
    DT_CHECK(s->run, DT_ERR_MEMORY, "no memory for %.0f runs", n_bases * n_points);
    for (int b = 0; b < n_bases; b++) {
        const cJSON *base = runs ? cJSON_GetArrayItem(runs, b) : NULL;
        for (int k = 0; k < (int)n_points; k++) DT_TRY(make_run(s, base, grid, k));
    }
    return refuse_twins(path, s);
}

static dt_status read_parts(const char *path, sweep *s)
{
    const cJSON *runs = cJSON_GetObjectItemCaseSensitive(s->file, "runs");
    const cJSON *grid = cJSON_GetObjectItemCaseSensitive(s->file, "grid"), *run;

    DT_TRY(check_parts(path, s->file));
    s->options = cJSON_GetObjectItemCaseSensitive(s->file, "options");
    DT_CHECK(runs || grid, DT_ERR_FORMAT, "%s: it has neither \"runs\" nor \"grid\", so there is nothing to sweep",
             path);
    if (s->options) DT_TRY(sweep_check_options(path, "options", s->options));
    DT_CHECK(!runs || (cJSON_IsArray(runs) && cJSON_GetArraySize(runs) > 0), DT_ERR_FORMAT,
             "%s: runs is no list of objects", path);
    cJSON_ArrayForEach(run, runs) DT_TRY(sweep_check_options(path, "runs", run));
    if (grid) DT_TRY(check_grid(path, grid));
    DT_TRY(find_axes(path, s, runs, grid));
    return make_runs(path, s, runs, grid);
}

void sweep_free(sweep *s)
{
    for (int i = 0; i < s->n_runs; i++) cJSON_Delete(s->run[i].own);
    free(s->run);
    cJSON_Delete(s->file);
    *s = (sweep){ 0 };
}

dt_status sweep_read(const char *path, sweep *out)
{
    char *content;
    size_t bytes;
    const char *end = NULL;

    *out = (sweep){ 0 };
    DT_TRY(read_file(path, &content, &bytes));
    DT_CHECK(content, DT_ERR_IO, "%s: there is no such file", path);
    out->file = cJSON_ParseWithOpts(content, &end, 1);
    const int byte = end ? (int)(end - content) : 0;
    free(content);
    DT_CHECK(out->file, DT_ERR_FORMAT, "%s: not JSON at byte %d", path, byte);
    const dt_status status = read_parts(path, out);
    if (status != DT_OK) sweep_free(out);
    return status;
}
