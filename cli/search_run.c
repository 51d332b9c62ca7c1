/*
 * search_run.c - runs the trials of a mixed-precision search, several at once.
 *
 * Trial k is chosen from the results of the trials up to k - jobs and from the configurations of all before it. It so
 * does not depend on which of those that run side by side ends first, and a search that was killed goes on with the
 * same next trial. Results are logged in the order of the trials; one that ended before its turn when the search was
 * killed is found complete in its directory.
 */
#include "search_work.h"

#include "sweep.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TRIAL_NAME_BYTES = 32 };

static dt_status dir_of(const search_work *w, int trial, char dir[PATH_BYTES])
{
    char name[TRIAL_NAME_BYTES];

    snprintf(name, sizeof name, "trials/%04d", trial + 1);
    return run_dir_path(w->s->out, name, dir);
}

/* ---- which trial comes next ---- */

/* The candidate of a choice whose value is nearest to that of a width. */
static int nearest(const dt_candidates *c, int value)
{
    int best = 0;

    for (int i = 1; i < c->n; i++) {
        if (abs(c->value[i] - value) < abs(c->value[best] - value)) best = i;
    }
    return best;
}

/* Widths that weights and activations have both; with --uniform, trial i has the i-th. */
static int uniform_width(const search_work *w, int i)
{
    const dt_candidates *kernel = &w->p.what.bits[DT_CHOICE_KERNEL], *value = &w->p.what.bits[DT_CHOICE_ACTIVATION];

    for (int k = 0; k < kernel->n; k++) {
        for (int v = 0; v < value->n; v++) {
            if (kernel->value[k] == value->value[v] && i-- == 0) return kernel->value[k];
        }
    }
    return 0;
}

int search_is_uniform(const search_work *w, int trial)
{
    return w->s->uniform && w->block <= 0 && uniform_width(w, trial) > 0;
}

static void choose_uniform(const search_work *w, int trial, int *configuration)
{
    const int width = uniform_width(w, trial);

    for (int c = 0; c < w->space->n_choices; c++) {
        const dt_search_choice *choice = &w->space->choice[c];
        const int is_bits = choice->role == DT_CHOICE_KERNEL || choice->role == DT_CHOICE_ACTIVATION;
        if (w->frozen[c] != DT_SEARCH_OPEN)
            configuration[c] = w->frozen[c];
        else if (is_bits)
            configuration[c] = nearest(&choice->candidates, width);
        else
            configuration[c] = choice->role == DT_CHOICE_FILTERS ? nearest(&choice->candidates, 100) : 0;
    }
}

/* Scores count up to trial k - jobs. */
static dt_status choose_by_tuner(search_work *w, int k, int *configuration, int *is_new)
{
    const int n = k - w->first, known = k - w->s->jobs;
    const dt_tuner t = { .mode = (dt_tuner_mode)w->s->tuner,
                         .seed = w->s->seed + (uint64_t)(w->block > 0 ? w->block : 0),
                         .order = w->order,
                         .frozen = w->frozen };
    dt_search_trial *before = malloc(((size_t)n + 1) * sizeof *before);

    DT_CHECK(before, DT_ERR_MEMORY, "no memory for %d trials", n);
    for (int i = 0; i < n; i++) {
        const int at = w->first + i;
        const double score = at < w->n_taken ? w->log.row[at].score : NAN;
        before[i] = (dt_search_trial){ w->trial[at].configuration, at <= known ? score : NAN };
    }
    const dt_status status = dt_tuner_next(w->space, &t, before, n, configuration, is_new);
    free(before);
    return status;
}

/* What was learned is one trial, behind those of --uniform. */
static void choose_learned(const search_work *w, int k, int *configuration, int *is_new)
{
    *is_new = k == w->first || search_is_uniform(w, k - 1);
    memcpy(configuration, w->learned, (size_t)w->space->n_choices * sizeof *configuration);
}

dt_status search_choose(search_work *w, int k)
{
    int is_new = 1;
    int *configuration = calloc((size_t)w->space->n_choices + 1, sizeof *configuration);

    DT_CHECK(configuration, DT_ERR_MEMORY, "no memory for trial %d", k + 1);
    free(w->trial[k].configuration); /* of a block that ended before this trial */
    w->trial[k] = (trial_state){ .configuration = configuration, .accuracy = NAN };
    if (search_is_uniform(w, k))
        choose_uniform(w, k, configuration);
    else if (w->learned)
        choose_learned(w, k, configuration, &is_new);
    else
        DT_TRY(choose_by_tuner(w, k, configuration, &is_new));
    if (is_new)
        w->n_chosen++;
    else
        w->is_exhausted = 1;
    return DT_OK;
}

/* ---- trials run ---- */

static dt_status start_trial(search_work *w, int at, int k)
{
    static job_line line;
    char dir[PATH_BYTES], log_path[PATH_BYTES];
    int fd = -1;

    DT_TRY(dir_of(w, k, dir));
    DT_TRY(search_trial_line(&w->maker, w->trial[k].configuration, w->s->trial_epochs, dir, &line));
    DT_TRY(run_dir_path(dir, SEARCH_LOG, log_path));
    if (run_dir_lock(dir, 1, &fd) != DT_OK) return DT_OK; /* a trial of a search that was just killed still saves */
    close(fd);
    w->trial[k].is_running = 1;
    w->trial[k].begin = clock_seconds();
    return jobs_start(&w->board, at, k, &line, log_path);
}

static dt_status note_end(search_work *w, const job_end *end)
{
    trial_state *t = &w->trial[end->task];
    char dir[PATH_BYTES], path[PATH_BYTES];
    sweep_run_of run = { 0 };

    t->is_running = 0;
    if (end->code == EXIT_INTERRUPTED && w->board.asked) return DT_OK;
    DT_CHECK(end->code != EXIT_INTERRUPTED, DT_ERR_INTERRUPTED, "a signal stopped trial %d; go on with --resume",
             end->task + 1);
    DT_TRY(dir_of(w, end->task, dir));
    DT_TRY(run_dir_path(dir, SEARCH_LOG, path));
    DT_TRY(sweep_look(dir, &run));
    t->is_over = 1;
    t->seconds = clock_seconds() - t->begin;
    if (end->code == EXIT_GOOD) t->accuracy = run.best_accuracy;
    if (end->code != EXIT_GOOD) jobs_last_words(path, "it failed", t->error, sizeof t->error);
    return DT_OK;
}

short_text search_size_text(const search_work *w, double size)
{
    short_text out;

    if (w->p.goal.kind != DT_SIZE_ENERGY) return text_count((int64_t)size);
    snprintf(out.s, sizeof out.s, "%.3f", size);
    return out;
}

void search_print_row(const search_work *w, const trial_row *row, int is_best)
{
    const int *configuration = w->trial[row->trial - 1].configuration;
    static char text[DT_CHOICE_BITS][1024];
    const char *texts[DT_CHOICE_BITS];
    int n = 0;

    for (int role = 0; role < DT_CHOICE_BITS; role++) {
        if (w->p.what.bits[role].n == 0) continue;
        search_format_role(w->space, configuration, (dt_choice_role)role, text[n], sizeof text[n]);
        texts[n] = text[n];
        n++;
    }
    trial_table_line(&w->table, row, texts, search_size_text(w, row->size).s, is_best);
}

void search_fill_values(const search_work *w, const int *configuration, int *value)
{
    for (int c = 0; c < w->space->n_choices; c++) {
        value[c] = configuration[c] >= 0 ? w->space->choice[c].candidates.value[configuration[c]] : 0;
    }
}

/* Trial k goes into the log, and is printed. */
static dt_status log_trial(search_work *w, int k)
{
    const trial_state *t = &w->trial[k];
    const trial_row *best = trial_log_best(&w->log, w->first, w->n_taken);
    int value[DT_SEARCH_CHOICES];
    dt_search_size size;
    trial_row row = { .trial = k + 1, .value = value, .accuracy = 100.0 * t->accuracy, .seconds = t->seconds };

    DT_TRY(search_trial_size(&w->maker, t->configuration, &size));
    if (w->block >= 0) snprintf(row.step, sizeof row.step, "b%d", w->block + 1);
    if (search_is_uniform(w, k)) snprintf(row.step, sizeof row.step, "u%d", uniform_width(w, k));
    search_fill_values(w, t->configuration, value);
    row.size = size.total;
    row.score = dt_search_score(&w->p.goal, w->maker.reference, size.total, t->accuracy);
    const int is_best = !isnan(row.score) && (!best || row.score > best->score);
    DT_TRY(trial_log_add(&w->log, &row));
    w->n_taken++;
    progress_wipe(&w->bar);
    if (w->s->json) return DT_OK;
    search_print_row(w, &w->log.row[k], is_best);
    if (t->error[0]) printf("           %s\n", t->error);
    return DT_OK;
}

static dt_status take_ends(search_work *w)
{
    job_end end;

    while (jobs_take_end(&w->board, &end)) DT_TRY(note_end(w, &end));
    while (w->n_taken < w->n_chosen && w->trial[w->n_taken].is_over) DT_TRY(log_trial(w, w->n_taken));
    return DT_OK;
}

int search_out_of_patience(const search_work *w)
{
    const trial_row *best = trial_log_best(&w->log, w->first, w->n_taken);

    return w->s->search_patience > 0 && best && w->n_taken - best->trial >= w->s->search_patience;
}

static dt_status fill_places(search_work *w)
{
    for (int k = w->n_taken; k < w->end; k++) {
        const int is_known = k - w->s->jobs < w->n_taken || k - w->s->jobs < w->first;
        if (!is_known || w->is_exhausted) return DT_OK;
        if (k == w->n_chosen) DT_TRY(search_choose(w, k));
        if (k == w->n_chosen) return DT_OK; /* nothing is left */
        if (w->trial[k].is_running || w->trial[k].is_over) continue;
        const int at = jobs_free_place(&w->board);
        if (at < 0) return DT_OK;
        DT_TRY(start_trial(w, at, k));
    }
    return DT_OK;
}

static int is_over(const search_work *w)
{
    const int is_done = w->n_taken >= w->end || (w->is_exhausted && w->n_taken == w->n_chosen);

    return is_done || search_out_of_patience(w) || w->board.asked;
}

static void show(search_work *w)
{
    if (progress_due(&w->bar)) progress_count(&w->bar, "trials", w->n_taken, w->end, NAN, NAN);
}

dt_status search_run_trials(search_work *w)
{
    while (!is_over(w)) {
        if (interrupt_requested()) jobs_ask_to_stop(&w->board);
        DT_TRY(take_ends(w));
        if (!w->board.asked && !is_over(w)) DT_TRY(fill_places(w));
        show(w);
        jobs_wait();
    }
    const int was_asked = w->board.asked;
    jobs_ask_to_stop(&w->board); /* those that a search out of patience still has */
    while (jobs_run(&w->board)) {
        DT_TRY(take_ends(w));
        jobs_wait();
    }
    w->board.asked = was_asked;
    progress_wipe(&w->bar);
    DT_CHECK(!was_asked, DT_ERR_INTERRUPTED,
             "stopped after %d trials, those that ran have saved; go on with the same command and --resume",
             w->n_taken);
    return DT_OK;
}
