/*
 * sweep.c - `detent sweep`: many runs of `detent train`, --jobs of them at once, each in a directory of its own.
 *
 * Each run is a process `detent train --resume`, whatever has happened before: it starts, goes on, or sees that it is
 * complete. So a sweep that was killed goes on by the same command, and what a run is does not depend on its sweep. A
 * run that fails is noted, and the others go on. The sweep writes no file but log.txt of each run and the tables.
 *
 * A run whose directory another process works in waits until that has ended: the runs of a sweep that was just killed
 * still save what they have. jobs.c has the processes.
 *
 * Tests: tests/cli/test_cli_sweep.sh.
 */
#include "sweep.h"

#include "jobs.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOG "log.txt"

typedef struct {
    const settings *s;
    sweep all;
    job_board board; /* places, whose tasks are runs */
    int first, end;  /* the runs that are to be made: first .. end - 1 */
    int n_over;      /* of these */
    int n_gpus;      /* that places take in turn */
    double begin;
    progress bar;
} work;

static int has_option(const work *w, const sweep_run_of *run, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(w->all.options, name) || cJSON_GetObjectItemCaseSensitive(run->own, name);
}

static void write_command(const work *w, const sweep_run_of *run, int at, const char *dir, job_line *c)
{
    job_begin(c, "train");
    job_word(c, "--resume");
    job_options(c, w->all.options);
    job_options(c, run->own);
    if (w->n_gpus > 0 && !has_option(w, run, "gpu")) job_word(c, "--gpu=%d", at % w->n_gpus);
    job_word(c, "--out=%s", dir);
}

static dt_status run_path(const work *w, const sweep_run_of *run, const char *name, char path[PATH_BYTES])
{
    char dir[PATH_BYTES];

    DT_TRY(run_dir_path(w->s->out, run->name, dir));
    if (name) return run_dir_path(dir, name, path);
    strcpy(path, dir);
    return DT_OK;
}

static dt_status start(work *w, int at, int i)
{
    static job_line c;
    sweep_run_of *run = &w->all.run[i];
    char dir[PATH_BYTES], log_path[PATH_BYTES];

    DT_TRY(run_path(w, run, NULL, dir));
    DT_TRY(run_path(w, run, LOG, log_path));
    write_command(w, run, at, dir, &c);
    DT_TRY(jobs_start(&w->board, at, i, &c, log_path));
    run->state = RUN_RUNS;
    return DT_OK;
}

/* Sets *busy to 1 if another process works in the run's directory. */
static dt_status try_directory(const work *w, const sweep_run_of *run, int *busy)
{
    char dir[PATH_BYTES];
    int fd = -1;

    DT_TRY(run_path(w, run, NULL, dir));
    DT_TRY(dt_folder_make(dir));
    *busy = run_dir_lock(dir, 1, &fd) != DT_OK;
    if (fd >= 0) close(fd);
    return DT_OK;
}

static void read_error(const work *w, sweep_run_of *run)
{
    char path[PATH_BYTES] = "";

    if (run_path(w, run, LOG, path) != DT_OK) return;
    jobs_last_words(path, "it failed; " LOG " says nothing", run->error, sizeof run->error);
}

static dt_status over(work *w, sweep_run_of *run, sweep_state state)
{
    char dir[PATH_BYTES];

    run->state = state;
    if (state != RUN_STOPPED) w->n_over++;
    DT_TRY(run_path(w, run, NULL, dir));
    DT_TRY(sweep_look(dir, run));
    progress_wipe(&w->bar);
    if (w->s->json || state == RUN_STOPPED) return DT_OK;
    printf("[%d/%d] %s  ", w->n_over, w->end - w->first, run->name);
    if (state == RUN_FAILED)
        printf("failed: %s\n", run->error);
    else if (isnan(run->accuracy))
        printf("%d epochs\n", run->epochs);
    else
        printf("%d epochs  %.2f %%\n", run->epochs, 100.0 * run->accuracy);
    return DT_OK;
}

static dt_status note_end(work *w, const job_end *end)
{
    sweep_run_of *run = &w->all.run[end->task];

    if (end->code == EXIT_GOOD) return over(w, run, RUN_DONE);
    if (end->code == EXIT_INTERRUPTED && w->board.asked) return over(w, run, RUN_STOPPED);
    read_error(w, run);
    if (end->signal) snprintf(run->error, sizeof run->error, "ended by signal %d", end->signal);
    if (end->code == EXIT_INTERRUPTED) snprintf(run->error, sizeof run->error, "a signal stopped it; it has saved");
    return over(w, run, RUN_FAILED);
}

static dt_status take_ends(work *w)
{
    job_end end;

    while (jobs_take_end(&w->board, &end)) DT_TRY(note_end(w, &end));
    return DT_OK;
}

/* Starts run i at a place, unless another process is at work on it. */
static dt_status try_run(work *w, int at, int i)
{
    sweep_run_of *run = &w->all.run[i];
    int busy = 0;

    dt_status status = try_directory(w, run, &busy);
    if (status == DT_OK && busy) return DT_OK;
    if (status == DT_OK) status = start(w, at, i);
    if (status == DT_OK) return DT_OK;
    snprintf(run->error, sizeof run->error, "%s", dt_last_error());
    return over(w, run, RUN_FAILED);
}

static dt_status fill_places(work *w)
{
    for (int i = w->first; i < w->end; i++) {
        if (w->all.run[i].state != RUN_WAITS) continue;
        const int at = jobs_free_place(&w->board);
        if (at < 0) return DT_OK;
        DT_TRY(try_run(w, at, i));
    }
    return DT_OK;
}

/* Returns 1 if a run is in this state. */
static int any_is(const work *w, sweep_state state)
{
    for (int i = w->first; i < w->end; i++) {
        if (w->all.run[i].state == state) return 1;
    }
    return 0;
}

static void show(work *w)
{
    const int n = w->end - w->first;
    const double seconds = clock_seconds() - w->begin;

    if (!progress_due(&w->bar)) return;
    progress_count(&w->bar, "runs", w->n_over, n, NAN, w->n_over ? seconds * (n - w->n_over) / w->n_over : NAN);
}

static dt_status run_all(work *w)
{
    while (any_is(w, RUN_RUNS) || (!w->board.asked && any_is(w, RUN_WAITS))) {
        if (interrupt_requested()) jobs_ask_to_stop(&w->board);
        DT_TRY(take_ends(w));
        if (!w->board.asked) DT_TRY(fill_places(w));
        show(w);
        jobs_wait();
    }
    progress_wipe(&w->bar);
    return DT_OK;
}

/* ---- the command ---- */

static void print_plan(const work *w)
{
    for (int i = w->first; i < w->end; i++) printf("%4d  %s\n", i, w->all.run[i].name);
}

static dt_status finish(work *w, int *exit_code)
{
    int n_failed = 0, n_done = 0;

    for (int i = w->first; i < w->end; i++) n_failed += w->all.run[i].state == RUN_FAILED;
    for (int i = w->first; i < w->end; i++) n_done += w->all.run[i].state == RUN_DONE;
    if (w->end - w->first == w->all.n_runs) DT_TRY(sweep_report(&w->all, w->s->out, w->s->json));
    DT_CHECK(!w->board.asked, DT_ERR_INTERRUPTED,
             "stopped after %d of %d runs, the others have saved; go on with the same command", n_done + n_failed,
             w->end - w->first);
    if (n_failed > 0) *exit_code = EXIT_FAILED;
    return DT_OK;
}

static dt_status sweep_all(work *w, int *exit_code)
{
    const settings *s = w->s;

    w->end = w->all.n_runs;
    DT_CHECK(s->sweep_index < w->all.n_runs, DT_ERR_ARGUMENT, "--index %d: %s has the runs 0..%d", s->sweep_index,
             s->grid, w->all.n_runs - 1);
    if (s->sweep_index >= 0) w->first = s->sweep_index;
    if (s->sweep_index >= 0) w->end = s->sweep_index + 1;
    if (s->plan) {
        print_plan(w);
        return DT_OK;
    }
    DT_TRY(need_option("out", s->out));
    DT_TRY(dt_folder_make(s->out));
    setvbuf(stdout, NULL, _IOLBF, 0);
    interrupt_install();
    progress_begin(&w->bar, s->quiet);
    w->begin = clock_seconds();
    w->board.n = s->jobs;
    w->n_gpus = s->gpus < 0 ? dt_gpu_count() : s->gpus;
    DT_TRY(run_all(w));
    return finish(w, exit_code);
}

dt_status sweep_run(const settings *s, int *exit_code)
{
    static work w;

    *exit_code = EXIT_GOOD;
    w.s = s;
    DT_TRY(need_option("grid", s->grid));
    DT_TRY(sweep_read(s->grid, &w.all));
    const dt_status status = sweep_all(&w, exit_code);
    sweep_free(&w.all);
    return status;
}
