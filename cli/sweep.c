/*
 * sweep.c - `detent sweep`: many runs of `detent train`, --jobs of them at once, each in a directory of its own.
 *
 * Each run is a process `detent train --resume`, whatever has happened before: it starts, goes on, or sees that it is
 * complete. So a sweep that was killed goes on by the same command, and what a run is does not depend on its sweep. A
 * run that fails is noted, and the others go on. The sweep writes no file but log.txt of each run and the tables.
 *
 * A place is a group of the machine's cores, and one of its GPUs. A run whose directory another process works
 * in waits until that has ended: the runs of a sweep that was just killed still save what they have.
 *
 * Tests: tests/cli/test_cli_sweep.sh.
 */
#include "sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_JOBS = 256, MOST_WORDS = 128, WORD_BYTES = 1200 };

#define LOG "log.txt"

typedef struct {
    pid_t pid; /* 0: the place is free */
    int run;
} place;

typedef struct {
    const settings *s;
    sweep all;
    place place[MOST_JOBS]; /* [s->jobs] */
    int first, end;         /* the runs that are to be made: first .. end - 1 */
    int n_over;             /* of these */
    int n_gpus;             /* that places take in turn */
    int asked;              /* 1: the runs were asked to stop */
    double begin;
    progress bar;
} work;

/* The command line of a run. */
typedef struct {
    char text[MOST_WORDS][WORD_BYTES];
    char *word[MOST_WORDS + 1];
    int n;
} command_line;

DT_PRINTF(2, 3) static void add_word(command_line *c, const char *fmt, ...)
{
    va_list ap;

    if (c->n == MOST_WORDS) return; /* options are each once, and there are fewer */
    va_start(ap, fmt);
    vsnprintf(c->text[c->n], WORD_BYTES, fmt, ap);
    va_end(ap);
    c->word[c->n] = c->text[c->n];
    c->n++;
}

static void add_options(command_line *c, const cJSON *options)
{
    const cJSON *item;
    char value[WORD_BYTES - VALUE_BYTES];

    cJSON_ArrayForEach(item, options)
    {
        sweep_value(item, value, sizeof value);
        if (cJSON_IsTrue(item))
            add_word(c, "--%.60s", item->string);
        else if (!cJSON_IsFalse(item))
            add_word(c, "--%.60s=%s", item->string, value);
    }
}

static int has_option(const work *w, const sweep_run_of *run, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(w->all.options, name) || cJSON_GetObjectItemCaseSensitive(run->own, name);
}

static void write_command(const work *w, const sweep_run_of *run, int at, const char *dir, command_line *c)
{
    c->n = 0;
    add_word(c, "detent");
    add_word(c, "train");
    add_word(c, "--resume");
    add_options(c, w->all.options);
    add_options(c, run->own);
    if (w->n_gpus > 0 && !has_option(w, run, "gpu")) add_word(c, "--gpu=%d", at % w->n_gpus);
    add_word(c, "--out=%s", dir);
    c->word[c->n] = NULL;
}

/* Place k of n gets every core from C k / n up to C (k + 1) / n, or one, where there are fewer than n. */
static void take_cores(int k, int n)
{
    cpu_set_t all, mine;
    int seen = 0;

    if (n == 1 || sched_getaffinity(0, sizeof all, &all) != 0) return;
    const int cores = CPU_COUNT(&all), first = n <= cores ? cores * k / n : k % cores;
    const int end = n <= cores ? cores * (k + 1) / n : first + 1;
    CPU_ZERO(&mine);
    for (size_t c = 0; c < CPU_SETSIZE; c++) {
        if (!CPU_ISSET(c, &all)) continue;
        if (seen >= first && seen < end) CPU_SET(c, &mine);
        seen++;
    }
    sched_setaffinity(0, sizeof mine, &mine);
}

/* In the child: it is asked to stop when the sweep ends, however that happens. */
static void become_run(const work *w, int at, pid_t parent, int log, char **words)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(EXIT_INTERRUPTED);
    take_cores(at, w->s->jobs);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execv("/proc/self/exe", words);
    dprintf(STDERR_FILENO, "detent sweep: /proc/self/exe: %s\n", strerror(errno));
    _exit(EXIT_FAILED);
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
    static command_line c;
    sweep_run_of *run = &w->all.run[i];
    char dir[PATH_BYTES], log_path[PATH_BYTES];
    const pid_t parent = getpid();

    DT_TRY(run_path(w, run, NULL, dir));
    DT_TRY(run_path(w, run, LOG, log_path));
    write_command(w, run, at, dir, &c);
    const int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    DT_CHECK(log >= 0, DT_ERR_IO, "%s: %s", log_path, strerror(errno));
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) become_run(w, at, parent, log, c.word);
    const int failed = pid < 0 ? errno : 0;
    close(log);
    DT_CHECK(!failed, DT_ERR_IO, "%s: a process for it: %s", dir, strerror(failed));
    w->place[at] = (place){ .pid = pid, .run = i };
    run->state = RUN_RUNS;
    return DT_OK;
}

/* Sets *busy to 1 if another process works in the run's directory. */
static dt_status try_directory(const work *w, const sweep_run_of *run, int *busy)
{
    char dir[PATH_BYTES];
    int fd = -1;

    DT_TRY(run_path(w, run, NULL, dir));
    DT_TRY(run_dir_create(dir));
    *busy = run_dir_lock(dir, &fd) != DT_OK;
    if (fd >= 0) close(fd);
    return DT_OK;
}

/* The last line of a run's log that says something. */
static void read_error(const work *w, sweep_run_of *run)
{
    char path[PATH_BYTES], *content = NULL, *line, *rest = NULL;
    size_t bytes;

    snprintf(run->error, sizeof run->error, "it failed; " LOG " says nothing");
    if (run_path(w, run, LOG, path) != DT_OK || read_file(path, &content, &bytes) != DT_OK || !content) return;
    for (line = strtok_r(content, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, "Try ", 4) != 0) snprintf(run->error, sizeof run->error, "%s", line);
    }
    free(content);
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

static dt_status note_end(work *w, place *p, int status)
{
    sweep_run_of *run = &w->all.run[p->run];
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;

    p->pid = 0;
    if (code == EXIT_GOOD) return over(w, run, RUN_DONE);
    if (code == EXIT_INTERRUPTED && w->asked) return over(w, run, RUN_STOPPED);
    read_error(w, run);
    if (WIFSIGNALED(status)) snprintf(run->error, sizeof run->error, "ended by signal %d", WTERMSIG(status));
    if (code == EXIT_INTERRUPTED) snprintf(run->error, sizeof run->error, "a signal stopped it; it has saved");
    return over(w, run, RUN_FAILED);
}

static dt_status take_ends(work *w)
{
    int status;

    for (int k = 0; k < w->s->jobs; k++) {
        place *p = &w->place[k];
        if (p->pid > 0 && waitpid(p->pid, &status, WNOHANG) == p->pid) DT_TRY(note_end(w, p, status));
    }
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
    int at = 0;

    for (int i = w->first; i < w->end; i++) {
        if (w->all.run[i].state != RUN_WAITS) continue;
        while (at < w->s->jobs && w->place[at].pid > 0) at++;
        if (at == w->s->jobs) return DT_OK;
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

static void ask_to_stop(work *w)
{
    if (w->asked) return;
    w->asked = 1;
    for (int k = 0; k < w->s->jobs; k++) {
        if (w->place[k].pid > 0) kill(w->place[k].pid, SIGTERM);
    }
}

static void show(work *w)
{
    const int n = w->end - w->first;
    const double seconds = clock_seconds() - w->begin;

    if (!progress_due(&w->bar)) return;
    progress_show(&w->bar, &(progress_view){ .what = "runs",
                                             .done = w->n_over,
                                             .total = n,
                                             .images_per_s = NAN,
                                             .loss = NAN,
                                             .margin = NAN,
                                             .accuracy = NAN,
                                             .seconds_left = w->n_over ? seconds * (n - w->n_over) / w->n_over : NAN });
}

static dt_status run_all(work *w)
{
    const struct timespec turn = { 0, 20000000 };

    while (any_is(w, RUN_RUNS) || (!w->asked && any_is(w, RUN_WAITS))) {
        if (interrupt_requested()) ask_to_stop(w);
        DT_TRY(take_ends(w));
        if (!w->asked) DT_TRY(fill_places(w));
        show(w);
        nanosleep(&turn, NULL);
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
    DT_CHECK(!w->asked, DT_ERR_INTERRUPTED,
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
    DT_TRY(run_dir_create(s->out));
    setvbuf(stdout, NULL, _IOLBF, 0);
    interrupt_install();
    progress_begin(&w->bar, s->quiet);
    w->begin = clock_seconds();
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
