/*
 * train_plan.c - several runs in one command: the stages of --stages, each from the network of the one before, and all
 *                of it for each seed of --repeat.
 *
 *   DIR/config.json                 options of the plan
 *   DIR/seed-S/                     of --repeat alone, one for each seed
 *   DIR/[seed-S/]K-BITS/            of --stages alone, stage K = 1, 2, ...
 *   DIR/repeat.json                 what --repeat found
 *
 * Each of these directories is a run as any other, which can be resumed by itself. So a plan that was stopped goes on
 * by `--resume --out DIR`: runs that are complete are left alone, and one that is not goes on where it stands.
 *
 * Tests: tests/cli/test_cli_recipes.sh.
 */
#include "train.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_STAGES = 16 };

typedef struct {
    char name[VALUE_BYTES]; /* "w4a2", "float" */
    int wbits, abits;
    int epochs;
    float decay, lr;
} stage;

/* What one seed has reached. An accuracy that was not measured is NaN. */
typedef struct {
    uint64_t seed;
    double last, best,
        test; /* 0..1: of the last epoch and of the best one, on the images that decide; on the test set */
} outcome;

int train_is_plan(const settings *s)
{
    return s->stages != NULL || s->repeat > 1;
}

static dt_status bad_stage(const char *text)
{
    return dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__,
                    "--stages: '%s' is no stage; one is BITS:EPOCHS[:DECAY[:LR]], as w4a2:60:3e-5:0.02 or float:30, "
                    "with 2 to 8 bits, or all bits float",
                    text);
}

static int read_bits(const char *name, stage *out)
{
    char rest;

    out->wbits = out->abits = DT_BITS_FLOAT;
    if (strcmp(name, "float") == 0) return 1;
    return sscanf(name, "w%da%d%c", &out->wbits, &out->abits, &rest) == 2 && out->wbits >= 2 && out->wbits <= 8 &&
           out->abits >= 2 && out->abits <= 8;
}

/* A number that ends at `end`. */
static int read_real(const char *text, double most, float *out)
{
    char *end;
    const double value = strtod(text, &end);

    *out = (float)value;
    return end != text && *end == '\0' && value >= 0.0 && value <= most;
}

static dt_status read_stage(const settings *s, const char *text, stage *out)
{
    char copy[VALUE_BYTES], *part[4], *rest = copy;
    int n = 0;
    float epochs = 0.0f;

    if (strlen(text) >= sizeof copy) return bad_stage(text);
    strcpy(copy, text);
    while (rest && n < 4) {
        part[n++] = rest;
        rest = strchr(rest, ':');
        if (rest) *rest++ = '\0';
    }
    *out = (stage){ .decay = s->train.weight_decay, .lr = s->train.lr };
    const int good = !rest && n >= 2 && read_bits(part[0], out) && read_real(part[1], 100000.0, &epochs) &&
                     epochs >= 1.0f && epochs == floorf(epochs) && (n < 3 || read_real(part[2], 1.0, &out->decay)) &&
                     (n < 4 || (read_real(part[3], 100.0, &out->lr) && out->lr > 0.0f));
    if (!good) return bad_stage(text);
    snprintf(out->name, sizeof out->name, "%s", part[0]);
    out->epochs = (int)epochs;
    return DT_OK;
}

/* Without --stages there is one, of the options. */
static dt_status read_stages(const settings *s, stage *out, int *n)
{
    char text[PATH_BYTES], *save = NULL;

    *n = 0;
    snprintf(text, sizeof text, "%s", s->stages ? s->stages : "");
    for (char *one = strtok_r(text, ",", &save); one; one = strtok_r(NULL, ",", &save)) {
        DT_CHECK(*n < MOST_STAGES, DT_ERR_ARGUMENT, "--stages: more than %d stages", MOST_STAGES);
        DT_TRY(read_stage(s, one, &out[(*n)++]));
    }
    DT_CHECK(*n > 0 || !s->stages, DT_ERR_ARGUMENT, "--stages: there is no stage in '%s'", s->stages);
    return DT_OK;
}

/* The run of a stage, or of the whole seed where st is NULL. init: the network of the stage before, from which it
 * begins; NULL: as the options say. */
static dt_status run_stage(const settings *s, const stage *st, int is_last, const char *dir, const char *init,
                           dt_status (*run_one)(const settings *s, int *exit_code), int *exit_code)
{
    settings own = *s;

    own.out = dir;
    own.plan_out = s->out;
    own.stages = NULL;
    own.stages_teach = 0;
    own.repeat = 1;
    own.saved = NULL;
    if (init) {
        own.init = init;
        own.whiten = 0; /* the first stage has done that */
        if (s->stages_teach) own.teacher = init;
    }
    if (s->stages_teach && !own.teacher) own.train.teacher_share = 0.0f;
    if (st) {
        own.model.wbits = st->wbits;
        own.model.abits = st->abits;
        own.train.epochs = st->epochs;
        own.train.weight_decay = st->decay;
        own.train.lr = st->lr;
    }
    if (!is_last) own.train.extend = 0;
    if (s->resume) DT_TRY(run_dir_read_config(dir, &own.saved));
    if (!s->quiet) printf("run        %s\n", dir);
    const dt_status status = run_one(&own, exit_code);
    cJSON_Delete(own.saved);
    return status;
}

/* All stages of one seed; *dir becomes the directory of the last run. */
static dt_status run_seed(const settings *s, const stage *stages, int n, const char *base, char dir[PATH_BYTES],
                          dt_status (*run_one)(const settings *s, int *exit_code), int *exit_code)
{
    char init[PATH_BYTES] = "", name[VALUE_BYTES * 2];

    if (n == 0) {
        snprintf(dir, PATH_BYTES, "%s", base);
        return run_stage(s, NULL, 1, dir, NULL, run_one, exit_code);
    }
    for (int k = 0; k < n && *exit_code == EXIT_GOOD; k++) {
        snprintf(name, sizeof name, "%d-%.*s", k + 1, VALUE_BYTES - 1, stages[k].name);
        DT_TRY(run_dir_path(base, name, dir));
        DT_TRY(run_stage(s, &stages[k], k == n - 1, dir, init[0] ? init : NULL, run_one, exit_code));
        DT_TRY(run_dir_path(dir, s->train.ema > 0.0f ? TRAIN_MEAN : TRAIN_LAST, init));
    }
    return DT_OK;
}

/* The accuracy of the last evaluation in metrics.jsonl; NaN if there is none. */
static dt_status last_accuracy(const char *dir, const char *split, double *out)
{
    char path[PATH_BYTES], name[VALUE_BYTES], *text = NULL, *save = NULL;
    size_t bytes = 0;

    *out = NAN;
    snprintf(name, sizeof name, "%s_accuracy", split);
    DT_TRY(run_dir_path(dir, "metrics.jsonl", path));
    DT_TRY(read_file(path, &text, &bytes));
    for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
        cJSON *object = cJSON_Parse(line);
        const cJSON *found = cJSON_GetObjectItemCaseSensitive(object, name);
        if (!cJSON_GetObjectItemCaseSensitive(object, "event") && cJSON_IsNumber(found)) *out = found->valuedouble;
        cJSON_Delete(object);
    }
    free(text);
    return DT_OK;
}

static dt_status read_outcome(const settings *s, const char *dir, outcome *out)
{
    char path[PATH_BYTES];
    run_state state;

    DT_TRY(run_dir_path(dir, TRAIN_LAST, path));
    DT_TRY(train_read_state(path, &state));
    DT_TRY(last_accuracy(dir, s->val_size > 0 ? "val" : "test", &out->last));
    out->seed = s->seed;
    out->best = state.best_epoch > 0 ? state.best_accuracy : NAN;
    out->test = state.test_accuracy >= 0.0 ? state.test_accuracy : NAN;
    return DT_OK;
}

/* Mean and deviation (of a sample: divided by n - 1) of one member; a NaN makes both NaN. */
static void spread(const outcome *all, int n, size_t offset, double *mean, double *deviation)
{
    double sum = 0.0, square = 0.0;

    for (int i = 0; i < n; i++) sum += *(const double *)(const void *)((const char *)&all[i] + offset);
    *mean = sum / n;
    for (int i = 0; i < n; i++) {
        const double off = *(const double *)(const void *)((const char *)&all[i] + offset) - *mean;
        square += off * off;
    }
    *deviation = n > 1 ? sqrt(square / (n - 1)) : NAN;
}

static const struct {
    const char *name, *about;
    size_t offset;
} columns[] = { { "last", "last epoch", offsetof(outcome, last) },
                { "best", "best epoch", offsetof(outcome, best) },
                { "test", "test set", offsetof(outcome, test) } };
enum { N_COLUMNS = sizeof columns / sizeof columns[0] };

static void add_real(cJSON *to, const char *name, double value)
{
    if (isfinite(value))
        cJSON_AddNumberToObject(to, name, value);
    else
        cJSON_AddNullToObject(to, name);
}

static dt_status write_outcomes(const settings *s, const outcome *all, int n)
{
    char path[PATH_BYTES];
    cJSON *json = cJSON_CreateObject(), *runs = cJSON_AddArrayToObject(json, "runs");

    cJSON_AddStringToObject(json, "decides", s->val_size > 0 ? "val" : "test");
    for (int i = 0; i < n; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddNumberToObject(one, "seed", (double)all[i].seed);
        for (int c = 0; c < N_COLUMNS; c++)
            add_real(one, columns[c].name, *(const double *)(const void *)((const char *)&all[i] + columns[c].offset));
        cJSON_AddItemToArray(runs, one);
    }
    for (int c = 0; c < N_COLUMNS; c++) {
        double mean, deviation;
        cJSON *one = cJSON_AddObjectToObject(json, columns[c].name);
        spread(all, n, columns[c].offset, &mean, &deviation);
        add_real(one, "mean", mean);
        add_real(one, "deviation", deviation);
    }
    DT_TRY(run_dir_path(s->out, "repeat.json", path));
    char *text = json_text(json);
    cJSON_Delete(json);
    DT_CHECK(text, DT_ERR_MEMORY, "no memory for repeat.json");
    const dt_status status = dt_file_replace(path, text, strlen(text));
    cJSON_free(text);
    return status;
}

static void print_outcomes(const settings *s, const outcome *all, int n)
{
    if (s->quiet) return;
    printf("seeds      %d, from %" PRIu64 " on\n", n, s->seed);
    for (int c = 0; c < N_COLUMNS; c++) {
        double mean, deviation;
        spread(all, n, columns[c].offset, &mean, &deviation);
        if (!isfinite(mean)) continue;
        printf("%-10s %.2f %% on %s, deviation %.2f\n", columns[c].about, 100.0 * mean,
               strcmp(columns[c].name, "test") == 0 || s->val_size == 0 ? "test images" : "images held out",
               100.0 * deviation);
    }
}

/* config.json of the plan, so that --resume finds its options. */
static dt_status open_plan(const settings *s)
{
    cJSON *options;

    DT_TRY(need_option("out", s->out));
    DT_CHECK(!s->resume || !s->force, DT_ERR_ARGUMENT,
             "--resume goes on with a run and --force removes it: one of them");
    if (!s->saved) DT_TRY(run_dir_refuse(s->out, s->force));
    DT_TRY(dt_folder_make(s->out));
    DT_TRY(settings_to_json(s, &options));
    cJSON *config = cJSON_CreateObject();
    cJSON_AddStringToObject(config, "version", DT_VERSION);
    cJSON *words = cJSON_AddArrayToObject(config, "command");
    for (int i = 0; i < s->argc; i++) cJSON_AddItemToArray(words, cJSON_CreateString(s->argv[i]));
    cJSON_AddItemToObject(config, "options", options);
    const dt_status status = run_dir_write_config(s->out, config);
    cJSON_Delete(config);
    return status;
}

dt_status train_plan(const settings *s, dt_status (*run_one)(const settings *s, int *exit_code), int *exit_code)
{
    stage stages[MOST_STAGES];
    char base[PATH_BYTES], dir[PATH_BYTES], name[VALUE_BYTES];
    int n_stages;

    DT_TRY(read_stages(s, stages, &n_stages));
    DT_TRY(open_plan(s));
    outcome *all = calloc((size_t)s->repeat, sizeof *all);
    DT_CHECK(all, DT_ERR_MEMORY, "no memory for %d seeds", s->repeat);
    dt_status status = DT_OK;
    for (int i = 0; status == DT_OK && *exit_code == EXIT_GOOD && i < s->repeat; i++) {
        settings own = *s;
        own.seed = s->seed + (uint64_t)i;
        snprintf(name, sizeof name, "seed-%" PRIu64, own.seed);
        snprintf(base, sizeof base, "%s", s->out);
        if (s->repeat > 1) status = run_dir_path(s->out, name, base);
        if (status == DT_OK) status = run_seed(&own, stages, n_stages, base, dir, run_one, exit_code);
        if (status == DT_OK && *exit_code == EXIT_GOOD) status = read_outcome(&own, dir, &all[i]);
    }
    const int is_over = status == DT_OK && *exit_code == EXIT_GOOD && s->repeat > 1;
    if (is_over) status = write_outcomes(s, all, s->repeat);
    if (is_over) print_outcomes(s, all, s->repeat);
    free(all);
    return status;
}
