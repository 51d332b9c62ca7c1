/*
 * search.c - `detent search`: finds few bits for the weights, activations and routing of a trained capsule network, by
 *            Q-CapsNets; or with --plan only the weight bits that a memory budget allots. search_bits.c has the other
 *            method.
 *
 * The images by which the search decides calibrate the scales too. Each network that is found is saved, as
 * BASE_quantized_satisfied.safetensors, .._memory or .._accuracy, before it is measured on the test set.
 */
#include "search.h"

#include "search_bits.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUFFIX ".safetensors"

enum { UNIFORM_BITS = 32 /* of activations, which a plan does not look at */ };

static void now_comes(search *r, const char *what)
{
    snprintf(r->what, sizeof r->what, "%s", what);
    r->task.begin = clock_seconds();
}

/* The pass in full precision ends without a word: trial 1 begins where the images are counted anew. */
static int on_images(void *user, int64_t done, int64_t total)
{
    search *r = user;

    if (r->in_full_precision && done <= r->n_done) {
        r->in_full_precision = 0;
        now_comes(r, "trial 1");
    }
    r->n_done = done;
    return progress_tick(&r->task, done, total);
}

/* The bits of a trial as the log has them: weights, activations, routing of each layer. */
static void values_of(const dt_qcaps_shape *shape, const dt_qcaps_bits *bits, int *value)
{
    for (int l = 0; l < shape->n_layers; l++) {
        value[l] = bits->weight[l];
        value[shape->n_layers + l] = bits->activation[l];
        value[2 * shape->n_layers + l] = bits->routing[l];
    }
}

/* A trial of a search that was stopped has been logged with its number; it is the same one, or the log is another
 * search's. */
static int on_known(void *user, int trial, const dt_qcaps_bits *bits, double *accuracy)
{
    const search *r = user;
    int value[QCAPS_VALUES];

    values_of(&r->shape, bits, value);
    const trial_row *row = trial <= r->log.n ? &r->log.row[trial - 1] : trial_log_find(&r->log, value);
    if (!row || memcmp(row->value, value, (size_t)r->log.n_values * sizeof *value) != 0) return 0;
    if (trial > r->log.n && r->opt.rounding == DT_ROUND_STOCHASTIC) return 0; /* it draws anew */
    *accuracy = row->accuracy;
    return 1;
}

static int on_trial(void *user, const dt_qcaps_trial *t)
{
    search *r = user;
    char next[VALUE_BYTES];
    int value[QCAPS_VALUES];
    dt_qcaps_cost cost;
    trial_row row = { .trial = t->trial, .value = value, .accuracy = t->accuracy, .score = NAN };

    progress_wipe(&r->bar);
    values_of(&r->shape, &t->bits, value);
    dt_qcaps_cost_of(&r->shape, &r->opt, &t->bits, &cost);
    snprintf(row.step, sizeof row.step, "%s", t->step);
    row.size = cost.memory_mib;
    row.seconds = clock_seconds() - r->task.begin;
    if (t->trial > r->log.n) r->log_status = trial_log_add(&r->log, &row);
    if (r->s->json)
        cJSON_AddItemToArray(r->trials, trial_json(r, t));
    else
        report_trial(r, t, t->trial <= r->log.n ? &r->log.row[t->trial - 1] : &row);
    snprintf(next, sizeof next, "trial %d", t->trial + 1);
    now_comes(r, next);
    return interrupt_requested() || r->log_status != DT_OK;
}

static dt_status measure(search *r, dt_model *m, const char *what, double *accuracy)
{
    const dt_progress tick = { .tick = progress_tick, .user = &r->task };
    dt_metrics metrics;

    now_comes(r, what);
    const dt_status status = dt_evaluate(m, r->o.test_set, r->opt.batch, 0.0f, &tick, NULL, &metrics);
    progress_wipe(&r->bar);
    DT_TRY(status);
    *accuracy = metrics.accuracy;
    return DT_OK;
}

/* ---- files */

/* BASE of the files, PATH_BYTES bytes: --out, or the checkpoint without its suffix. */
static dt_status base_of(const settings *s, char *base)
{
    const char *from = s->out ? s->out : s->checkpoint;
    const size_t n = strlen(from), n_suffix = strlen(SUFFIX);
    const int cut = !s->out && n > n_suffix && strcmp(from + n - n_suffix, SUFFIX) == 0;

    DT_CHECK(n + VALUE_BYTES < PATH_BYTES, DT_ERR_ARGUMENT, "--out: a path of %zu bytes is too long", n);
    snprintf(base, PATH_BYTES, "%.*s", (int)(cut ? n - n_suffix : n), from);
    return DT_OK;
}

/* That the folder cannot be written is better known before the search than after it. */
static dt_status prepare_folder(const settings *s)
{
    char folder[PATH_BYTES];

    DT_TRY(base_of(s, folder));
    char *const slash = strrchr(folder, '/');
    if (slash == folder) return DT_OK;
    if (slash)
        *slash = '\0';
    else
        snprintf(folder, sizeof folder, ".");
    DT_TRY(dt_folder_make(folder));
    DT_CHECK(access(folder, W_OK) == 0, DT_ERR_IO, "%s: %s", folder, strerror(errno));
    return DT_OK;
}

static dt_status save(const search *r, dt_model *m, const found_network *f)
{
    cJSON *object = found_json(r, f);
    char *extra = json_line(object);

    cJSON_Delete(object);
    DT_CHECK(extra, DT_ERR_MEMORY, "no memory for the JSON");
    const dt_status status = dt_model_save(m, f->path, extra);
    cJSON_free(extra);
    return status;
}

static dt_status make_network(search *r, const char *name, const dt_qcaps_outcome *outcome)
{
    found_network *f = &r->found[r->n_found];
    char base[PATH_BYTES];
    dt_model *m;

    if (!outcome->present) return DT_OK;
    f->name = name;
    f->outcome = outcome;
    DT_TRY(base_of(r->s, base));
    snprintf(f->path, sizeof f->path, "%.*s_quantized_%s" SUFFIX, PATH_BYTES - VALUE_BYTES, base, name);
    dt_qcaps_cost_of(&r->shape, &r->opt, &outcome->bits, &f->cost);

    DT_TRY(dt_qcaps_quantize(r->o.model, r->tune, &r->opt, &outcome->bits, &m));
    dt_status status = save(r, m, f);
    if (status == DT_OK) status = measure(r, m, name, &f->test_accuracy);
    dt_model_destroy(m);
    DT_TRY(status);
    r->n_found++;
    return DT_OK;
}

/* ---- what is opened */

static dt_status open_images(search *r)
{
    settings on_validation = *r->s;
    dt_dataset_view v;

    DT_TRY(session_open_images(r->s, r->o.model, DT_SPLIT_TEST, &r->o.test_set));
    r->tune = r->o.test_set;
    if (r->s->tune_on == TUNE_ON_VALIDATION) {
        on_validation.val_size = r->s->tune_size;
        DT_TRY(session_open_images(&on_validation, r->o.model, DT_SPLIT_VALIDATION, &r->o.train_set));
        r->tune = r->o.train_set;
    }
    dt_dataset_look(r->tune, &v);
    r->n_tune = v.n;
    dt_dataset_look(r->o.test_set, &v);
    r->n_test = v.n;
    return DT_OK;
}

/* The network and, for a budget that is too small, the error, before any image is read. */
static dt_status open_all(search *r)
{
    dt_qcaps_bits unused;

    DT_TRY(need_option("checkpoint", r->s->checkpoint));
    DT_TRY(session_open_checkpoint(r->s, &r->o));
    DT_TRY(dt_qcaps_describe(r->o.model, &r->shape));
    DT_TRY(dt_qcaps_allot(&r->shape, &r->opt, UNIFORM_BITS, &unused));
    DT_TRY(prepare_folder(r->s));
    DT_TRY(open_images(r));
    return DT_OK;
}

/* Of its training, by the config.json beside the checkpoint: the images that it had held out include those of tune_size
 * if seed and number say so. Where there is no such file, or another dataset in it, nothing is known. */
static int was_trained_on_them(const settings *s, const dt_model *m)
{
    char folder[PATH_BYTES];
    cJSON *config = NULL;
    settings run;
    int is_known;

    if (s->tune_on != TUNE_ON_VALIDATION) return 0;
    snprintf(folder, sizeof folder, "%s", s->checkpoint);
    char *const slash = strrchr(folder, '/');
    if (slash) *slash = '\0';
    if (run_dir_read_config(slash ? folder : ".", &config) != DT_OK || !config) return 0;
    is_known = settings_default(&run) == DT_OK &&
               settings_from_json(cJSON_GetObjectItemCaseSensitive(config, "options"), &run) == DT_OK &&
               strcmp(run.dataset, session_dataset(s, m)) == 0;
    cJSON_Delete(config); /* run's texts were in it */
    return is_known && (run.seed != s->seed || run.val_size < s->tune_size);
}

static dt_status begin_report(search *r)
{
    if (r->s->json) {
        r->trials = cJSON_CreateArray();
        DT_CHECK(r->trials, DT_ERR_MEMORY, "no memory for the trials");
        return DT_OK;
    }
    setvbuf(stdout, NULL, _IOLBF, 0); /* each trial is seen when it ends, in a log file too */
    report_search_begin(r, was_trained_on_them(r->s, r->o.model));
    return DT_OK;
}

static dt_status find(search *r)
{
    const dt_qcaps_watch watch = {
        .trial = on_trial, .known = on_known, .images = { .tick = on_images, .user = r }, .user = r
    };

    interrupt_install();
    progress_begin(&r->bar, 0);
    r->task = (progress_task){ .bar = &r->bar, .what = r->what };
    r->in_full_precision = 1;
    now_comes(r, "full precision");
    const dt_status status = dt_qcaps_search(r->o.model, r->tune, &r->opt, &watch, &r->result);
    progress_wipe(&r->bar);
    DT_TRY(r->log_status);
    DT_TRY(status);
    DT_TRY(trial_log_write_tables(&r->log));
    DT_TRY(measure(r, r->o.model, "full precision", &r->full_test_accuracy));
    DT_TRY(make_network(r, "satisfied", &r->result.satisfied));
    DT_TRY(make_network(r, "memory", &r->result.memory));
    DT_TRY(make_network(r, "accuracy", &r->result.accuracy));
    return DT_OK;
}

/* What a search is: with other values it is another one. */
static cJSON *key_of(const search *r)
{
    cJSON *out = search_options_json(r);

    cJSON_AddStringToObject(out, "network", r->s->checkpoint);
    cJSON_AddNumberToObject(out, "tune_images", (double)r->n_tune);
    cJSON_AddNumberToObject(out, "seed", (double)r->s->seed);
    return out;
}

static dt_status open_log(search *r)
{
    static const char *const roles[] = { "weights", "activations", "routing" };
    static char text[QCAPS_VALUES][DT_NAME_MAX + VALUE_BYTES];
    const char *name[QCAPS_VALUES];
    char base[PATH_BYTES];
    int n = 0;

    DT_TRY(base_of(r->s, base));
    strcat(base, "_"); /* base_of leaves room */
    for (int role = 0; role < 3; role++) {
        for (int l = 0; l < r->shape.n_layers; l++, n++) {
            snprintf(text[n], sizeof text[n], "%s_%s", r->shape.layer[l].name, roles[role]);
            name[n] = text[n];
        }
    }
    cJSON *key = key_of(r);
    const dt_status status = trial_log_open(base, key, name, n, r->s->resume, &r->log);
    cJSON_Delete(key);
    return status;
}

static dt_status search_capsules(const settings *s)
{
    search r = { .s = s, .opt = s->qcaps };

    r.opt.cache_bytes = s->cache_mib << 20;
    dt_status status = open_all(&r);
    if (status == DT_OK) status = open_log(&r);
    if (status == DT_OK) status = begin_report(&r);
    if (status == DT_OK) status = find(&r);
    if (status == DT_OK && s->json) status = report_search_json(&r);
    if (status == DT_OK && !s->json) report_search_end(&r);
    cJSON_Delete(r.trials);
    trial_log_close(&r.log);
    session_close(&r.o);
    return status;
}

/* ---- --plan */

static dt_status plan_model(const settings *s, session *o, dt_qcaps_shape *shape)
{
    settings on_cpu = *s;

    on_cpu.device = 1; /* nothing is computed */
    if (s->checkpoint) {
        DT_TRY(session_open_checkpoint(&on_cpu, o));
    } else {
        dt_model_config cfg = s->model;
        if (dt_network_has_capsules(cfg.name)) { /* the decoder is of training, and may not fit --input */
            DT_TRY(dt_model_option(&cfg, "decoder", DT_DECODER_NONE));
        }
        DT_TRY(session_open_context(&on_cpu, o));
        DT_TRY(dt_model_create(o->ctx, &cfg, &o->model));
    }
    return dt_qcaps_describe(o->model, shape);
}

static dt_status plan_bits(const settings *s)
{
    session o = { 0 };
    dt_qcaps_shape shape;
    dt_qcaps_bits bits;

    dt_status status = plan_model(s, &o, &shape);
    if (status == DT_OK) status = dt_qcaps_allot(&shape, &s->qcaps, UNIFORM_BITS, &bits);
    if (status == DT_OK && s->json) status = report_plan_json(s, o.model, &shape, &bits);
    if (status == DT_OK && !s->json) report_plan(s, o.model, &shape, &bits);
    session_close(&o);
    return status;
}

dt_status search_run(const settings *s, int *exit_code)
{
    *exit_code = EXIT_GOOD;
    if (s->method == METHOD_BITS) return search_bits_run(s, exit_code);
    return s->plan ? plan_bits(s) : search_capsules(s);
}
