/*
 * search_bits.c - `detent search --method bits`: trials of networks whose layers have bits of their own, several at
 * once, and the winner, which is trained to the end and verified.
 *
 *   DIR/trials.jsonl    the log (trials.h)
 *   DIR/trials/0001/    a run of `detent train`, with bits.json
 *   DIR/winner/         the best network, trained with the epochs of the file's options
 *   DIR/table.csv, table.json
 *
 * Tests: tests/cli/test_cli_search.sh.
 */
#include "search_work.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The network of reals, of a checkpoint or by name. */
static dt_status open_network(search_work *w)
{
    dt_model_config cfg = w->s->model;

    if (w->s->checkpoint) {
        DT_TRY(session_open_checkpoint(w->s, &w->o));
    } else {
        cfg.wbits = cfg.abits = DT_BITS_FLOAT;
        cfg.first_last_bits = cfg.quantize_classifier = 0;
        DT_TRY(session_open_context(w->s, &w->o));
        DT_TRY(dt_model_create(w->o.ctx, &cfg, &w->o.model));
    }
    w->maker.network = dt_model_graph(w->o.model);
    return DT_OK;
}

/* Trials, learned bits, sensitivity and verification all have the images that the file's options name. */
static void take_images(search_work *w)
{
    const char *dataset = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(w->p.options, "dataset"));
    const char *data = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(w->p.options, "data"));
    const cJSON *held_out = cJSON_GetObjectItemCaseSensitive(w->p.options, "val-size");

    w->with_images = *w->s;
    if (dataset) w->with_images.dataset = dataset;
    if (data) w->with_images.data_dir = data;
    if (cJSON_IsNumber(held_out) && held_out->valuedouble >= 1.0) {
        w->with_images.tune_size = (int64_t)held_out->valuedouble;
    }
    w->s = &w->with_images;
}

static dt_status open_space(search_work *w)
{
    dt_search_size size;

    DT_TRY(search_plan_read(w->s, &w->p));
    take_images(w);
    DT_TRY(open_network(w));
    DT_TRY(dt_search_space_create(w->maker.network, &w->p.what, &w->space));
    dt_search_size_of(w->space, &w->p.goal, NULL, &size, NULL);
    w->maker.s = w->s;
    w->maker.p = &w->p;
    w->maker.space = w->space;
    w->maker.dataset = session_dataset(w->s, w->o.model);
    w->maker.reference = size.total;
    DT_CHECK(size.total > 0.0, DT_ERR_ARGUMENT, "the goal counts nothing: neither parameters nor activations");
    return DT_OK;
}

/* What a search is: with other values it is another one. */
static cJSON *key_of(const search_work *w)
{
    cJSON *out = cJSON_CreateObject();

    cJSON_AddStringToObject(out, "method", method_words[w->s->method]);
    cJSON_AddStringToObject(out, "mode", tuner_words[w->s->tuner]);
    cJSON_AddNumberToObject(out, "seed", (double)w->s->seed);
    cJSON_AddNumberToObject(out, "jobs", w->s->jobs);
    cJSON_AddNumberToObject(out, "epochs", w->s->trial_epochs);
    cJSON_AddNumberToObject(out, "patience", w->s->trial_patience);
    cJSON_AddNumberToObject(out, "val_size", (double)w->s->tune_size);
    cJSON_AddBoolToObject(out, "uniform", w->s->uniform);
    cJSON_AddStringToObject(out, "network", w->s->checkpoint ? w->s->checkpoint : w->s->model.name);
    cJSON_AddItemToObject(out, "space", cJSON_Duplicate(w->p.file, 1));
    if (w->s->tuner == TUNER_GRADIENT) cJSON_AddNumberToObject(out, "bops", (double)w->s->bops_share);
    if (w->p.n_blocks > 0) cJSON_AddNumberToObject(out, "max_trials", w->s->max_trials); /* they are shared out */
    return out;
}

static dt_status open_log(search_work *w)
{
    const char *name[DT_SEARCH_CHOICES];
    char prefix[PATH_BYTES];

    DT_TRY(run_dir_path(w->s->out, "", prefix));
    for (int c = 0; c < w->space->n_choices; c++) name[c] = w->space->choice[c].name;
    cJSON *key = key_of(w);
    const dt_status status = trial_log_open(prefix, key, name, w->space->n_choices, w->s->resume, &w->log);
    cJSON_Delete(key);
    return status;
}

static dt_status open_directory(search_work *w)
{
    const settings *s = w->s;

    DT_TRY(need_option("out", s->out));
    DT_CHECK(s->resume || !run_dir_has(s->out, "trials.jsonl"), DT_ERR_ARGUMENT,
             "%s has a search in it: go on with --resume, or choose another --out", s->out);
    DT_TRY(dt_folder_make(s->out));
    DT_TRY(run_dir_lock(s->out, 1, &w->lock));
    return open_log(w);
}

static dt_status make_room(search_work *w)
{
    const size_t n = (size_t)w->space->n_choices + 1;

    w->n_max = search_most_trials(w);
    w->trial = calloc((size_t)w->n_max + 1, sizeof *w->trial);
    w->frozen = malloc(n * sizeof *w->frozen);
    if (w->s->tuner == DT_TUNER_GREEDY) w->order = malloc(n * sizeof *w->order);
    if (w->s->tuner == TUNER_GRADIENT) w->learned = malloc(n * sizeof *w->learned);
    DT_CHECK(w->trial && w->frozen && (w->learned || w->s->tuner != TUNER_GRADIENT) &&
                 (w->order || w->s->tuner != DT_TUNER_GREEDY),
             DT_ERR_MEMORY, "no memory for %d trials", w->n_max);
    w->board.n = w->s->jobs;
    return DT_OK;
}

static void make_table(search_work *w)
{
    static const char *const names[] = { "weights", "biases", "activations" };
    int counts[DT_CHOICE_BITS] = { 0 };

    for (int c = 0; c < w->space->n_choices; c++) {
        if ((int)w->space->choice[c].role < DT_CHOICE_BITS) counts[w->space->choice[c].role]++;
    }
    for (int role = 0; role < DT_CHOICE_BITS; role++) {
        if (w->p.what.bits[role].n == 0) continue;
        const int width = 2 * counts[role] > 12 ? 2 * counts[role] : 12;
        w->table.text[w->table.n_texts++] = (table_column){ names[role], width };
    }
    w->table.size = (table_column){ w->p.goal.kind == DT_SIZE_ENERGY ? "pJ" : dt_size_kind_names[w->p.goal.kind], 14 };
    w->table.has_score = 1;
}

static dt_status search(search_work *w, int *exit_code)
{
    DT_TRY(open_space(w));
    const settings *s = w->s; /* with the file's images */
    if (s->plan) {
        if (s->json) return search_print_space_json(&w->p, w->space);
        search_print_space(&w->p, w->space);
        return DT_OK;
    }
    search_sort_blocks(w);
    DT_TRY(open_directory(w));
    DT_TRY(make_room(w));
    setvbuf(stdout, NULL, _IOLBF, 0);
    interrupt_install();
    if (w->order) DT_TRY(search_order(s, &w->o, w->space, w->order));
    if (!s->json) search_print_space(&w->p, w->space);
    if (w->learned) DT_TRY(search_learn(w));
    make_table(w);
    if (!s->json) printf("\n");
    if (!s->json) trial_table_head(&w->table);
    progress_begin(&w->bar, s->json);
    w->begin = clock_seconds();
    DT_TRY(search_run_blocks(w));
    return search_finish(w, exit_code);
}

static void close_all(search_work *w)
{
    for (int i = 0; w->trial && i < w->n_max; i++) free(w->trial[i].configuration);
    free(w->trial);
    free(w->frozen);
    free(w->order);
    free(w->learned);
    trial_log_close(&w->log);
    dt_search_space_destroy(w->space);
    search_plan_free(&w->p);
    session_close(&w->o);
    if (w->lock >= 0) close(w->lock);
}

dt_status search_bits_run(const settings *s, int *exit_code)
{
    static search_work w;

    w.s = s;
    w.lock = -1;
    const dt_status status = search(&w, exit_code);
    jobs_ask_to_stop(&w.board); /* of a search that failed */
    close_all(&w);
    return status;
}
