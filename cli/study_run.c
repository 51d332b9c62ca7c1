/*
 * study_run.c - runs the commands of a study, some of them at once, each as a process of this program. See study.h.
 *
 * A command that has succeeded leaves a mark, and is not run again. One that was killed is: what it writes, it writes
 * whole, and a training goes on where it stood. The mark says how long the command took, so that the whole study's cost
 * is known after any number of stops; the time of commands that were stopped is not in it.
 */
#include "debug.h"
#include "study.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_JOBS = 64 };

/* A chain that is being worked on. */
typedef struct {
    study_chain *chain;
    int next;  /* index of the command that runs, or runs next */
    pid_t pid; /* 0: none runs */
    double begin;
} worker;

typedef struct {
    const settings *s;
    worker worker[STUDY_CHAINS + 1];
    int n, n_running;
    int n_done, n_all; /* commands */
    int failed;        /* 1: one has; no other is started */
    const study_job *culprit;
} running;

static int is_done(const study_job *j)
{
    return access(j->mark, F_OK) == 0;
}

static void folder_of(const char *path, char folder[PATH_BYTES])
{
    const char *slash = strrchr(path, '/');

    snprintf(folder, PATH_BYTES, "%.*s", slash ? (int)(slash - path) : 0, path);
}

/* In the new process: the command, whose output goes to its file. */
static void become(const study_job *j, int goes_on, pid_t parent)
{
    static char own[] = "detent", resume[] = "--resume";
    const int fd = open(j->output, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    char **line = calloc((size_t)j->n + 3, sizeof *line);

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) raise(SIGTERM);
    if (!line || fd < 0 || dup2(fd, STDOUT_FILENO) < 0) _exit(EXIT_FAILED);
    line[0] = own;
    for (int i = 0; i < j->n; i++) line[1 + i] = j->arg[i];
    if (goes_on) line[1 + j->n] = resume;
    execv("/proc/self/exe", line);
    _exit(EXIT_FAILED);
}

static dt_status start(running *r, worker *w)
{
    const study_job *j = &w->chain->job[w->next];
    const int goes_on = j->run && run_dir_has(j->run, "config.json");
    const pid_t parent = getpid();
    char folder[PATH_BYTES];

    folder_of(j->mark, folder);
    DT_TRY(dt_folder_make(folder));
    fflush(stdout);
    w->begin = clock_seconds();
    w->pid = fork();
    DT_CHECK(w->pid >= 0, DT_ERR_IO, "a process for '%s': %s", j->what, strerror(errno));
    if (w->pid == 0) become(j, goes_on, parent);
    r->n_running++;
    return DT_OK;
}

/* Starts what may be started, of the last chains first, because they take longest. Commands that are done are passed
 * over. */
static dt_status start_some(running *r, int most)
{
    for (int i = r->n - 1; i >= 0; i--) {
        worker *w = &r->worker[i];
        if (w->pid) continue;
        for (; w->next < w->chain->n && is_done(&w->chain->job[w->next]); w->next++) r->n_done++;
        if (w->next == w->chain->n || r->n_running >= most || r->failed || interrupt_requested()) continue;
        DT_TRY(start(r, w));
    }
    return DT_OK;
}

static dt_status leave_mark(const char *path, double wall, double processor)
{
    char text[VALUE_BYTES];
    const int length = snprintf(text, sizeof text, "%.3f %.3f\n", wall, processor);

    return dt_file_replace(path, text, (size_t)length);
}

/* Seconds of processor time, of the user and of the system. */
static double processor_seconds(const struct rusage *u)
{
    return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) +
           1e-6 * (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec);
}

static dt_status end(running *r, worker *w, int status, const struct rusage *used)
{
    const study_job *j = &w->chain->job[w->next];
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
    const double wall = clock_seconds() - w->begin, processor = processor_seconds(used);

    w->pid = 0;
    r->n_running--;
    if (code == EXIT_GOOD) {
        DT_TRY(dt_file_sync(j->output)); /* the tables read it, and the mark says that it is there */
        DT_TRY(leave_mark(j->mark, wall, processor));
        w->next++;
        r->n_done++;
        if (!r->s->quiet) printf("[%4d of %d] %-70s %s\n", r->n_done, r->n_all, j->what, text_seconds(wall).s);
    } else if (code != EXIT_INTERRUPTED && !interrupt_requested() && !r->failed) { /* a signal ends some at once */
        r->failed = 1;
        r->culprit = j;
    }
    return DT_OK;
}

/* Waits for a moment, and takes those that have ended. */
static dt_status wait_some(running *r)
{
    const struct timespec turn = { 0, 20000000 };
    struct rusage used;
    int status;

    nanosleep(&turn, NULL);
    for (int i = 0; i < r->n; i++) {
        worker *w = &r->worker[i];
        if (w->pid && wait4(w->pid, &status, WNOHANG, &used) == w->pid) DT_TRY(end(r, w, status, &used));
    }
    return DT_OK;
}

static void ask_to_stop(const running *r)
{
    for (int i = 0; i < r->n; i++) {
        if (r->worker[i].pid) kill(r->worker[i].pid, SIGTERM);
    }
}

static dt_status run_chains(running *r, int most)
{
    dt_status status = start_some(r, most);
    int told = 0;

    while (r->n_running > 0) {
        if ((interrupt_requested() || r->failed || status != DT_OK) && !told) {
            ask_to_stop(r);
            told = 1;
        }
        const dt_status waited = wait_some(r);
        if (status == DT_OK) status = waited;
        if (status == DT_OK) status = start_some(r, most);
    }
    DT_TRY(status);
    DT_CHECK(!r->failed, DT_ERR_IO,
             "the study's command '%s' has failed; its output is in %s, and the line in %s/commands.sh",
             r->culprit->what, r->culprit->output, r->s->out);
    DT_CHECK(!interrupt_requested(), DT_ERR_INTERRUPTED, "stopped after %d of %d commands; the same line goes on",
             r->n_done, r->n_all);
    return DT_OK;
}

dt_status study_run(const settings *s, study_plan *p)
{
    const int most = s->study_jobs < MOST_JOBS ? s->study_jobs : MOST_JOBS;
    running r = { .s = s, .n = STUDY_CHAINS, .n_all = p->end.n };

    interrupt_install();
    for (int i = 0; i < STUDY_CHAINS; i++) {
        r.worker[i].chain = &p->chain[i];
        r.n_all += p->chain[i].n;
    }
    DT_TRY(run_chains(&r, most));
    r.worker[0] = (worker){ .chain = &p->end };
    r.n = 1;
    return run_chains(&r, most);
}

/* ---- what it took ---- */

/* Time of the commands of one subcommand. */
typedef struct {
    const char *subcommand;
    double processor;
} cost;

enum { MOST_SUBCOMMANDS = 16 };

static int by_processor(const void *a, const void *b)
{
    const double x = ((const cost *)a)->processor, y = ((const cost *)b)->processor;

    return (x < y) - (x > y);
}

/* Adds the times that the marks of a chain have. Marks of an older program have none. */
static void add_costs(const study_chain *c, cost *all, int *n)
{
    for (int i = 0; i < c->n; i++) {
        double wall = 0.0, processor = 0.0;
        int k = 0;
        FILE *f = fopen(c->job[i].mark, "r");
        if (f && fscanf(f, "%lf %lf", &wall, &processor) != 2) processor = 0.0;
        if (f) fclose(f);
        while (k < *n && strcmp(all[k].subcommand, c->job[i].arg[0]) != 0) k++;
        if (k == MOST_SUBCOMMANDS) continue;
        if (k == *n) all[(*n)++] = (cost){ c->job[i].arg[0], 0.0 };
        all[k].processor += processor;
    }
}

void study_tell_cost(const study_plan *p)
{
    cost all[MOST_SUBCOMMANDS];
    double sum = 0.0;
    int n = 0;

    for (int i = 0; i < STUDY_CHAINS; i++) add_costs(&p->chain[i], all, &n);
    add_costs(&p->end, all, &n);
    qsort(all, (size_t)n, sizeof *all, by_processor);
    for (int i = 0; i < n; i++) sum += all[i].processor;
    printf("processor time %s:", text_seconds(sum).s);
    for (int i = 0; i < n; i++) printf("%s %s %s", i ? "," : "", all[i].subcommand, text_seconds(all[i].processor).s);
    printf("\n");
}

/* ---- the commands as a script ---- */

/* A word as a shell reads it. */
static void write_word(FILE *to, const char *word)
{
    if (word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:,=+")] == '\0') {
        fputs(word, to);
        return;
    }
    fputc('\'', to);
    for (; *word; word++) {
        if (*word == '\'')
            fputs("'\\''", to);
        else
            fputc(*word, to);
    }
    fputc('\'', to);
}

static void write_chain(FILE *to, const study_chain *c)
{
    for (int i = 0; i < c->n; i++) {
        const study_job *j = &c->job[i];
        fprintf(to, "# %s\ndetent", j->what);
        for (int k = 0; k < j->n; k++) {
            fputc(' ', to);
            write_word(to, j->arg[k]);
        }
        fputs(" >", to);
        write_word(to, j->output);
        fputc('\n', to);
    }
}

static void write_script(FILE *to, const void *user)
{
    const study_plan *p = user;

    fputs("#!/bin/sh\n# What the study runs. Folders must be there; training goes on with --resume.\nset -e\n", to);
    for (int i = 0; i < STUDY_CHAINS; i++) write_chain(to, &p->chain[i]);
    write_chain(to, &p->end);
}

dt_status study_write_commands(const settings *s, const study_plan *p)
{
    char path[PATH_BYTES];

    DT_TRY(run_dir_path(s->out, "commands.sh", path));
    return debug_file_write(path, write_script, p);
}
