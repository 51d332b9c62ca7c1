/*
 * study_run.c - runs the commands of a study, some of them at once, each as a process of this program. See study.h.
 *
 * A command that has succeeded leaves a mark, and is not run again. One that was killed is: what it writes, it writes
 * whole, and a training goes on where it stood.
 */
#include "debug.h"
#include "study.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
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
    DT_TRY(run_dir_create(folder));
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

static dt_status leave_mark(const char *path)
{
    const int fd = open(path, O_WRONLY | O_CREAT, 0666);

    DT_CHECK(fd >= 0, DT_ERR_IO, "%s: %s", path, strerror(errno));
    close(fd);
    return DT_OK;
}

static dt_status end(running *r, worker *w, int status)
{
    const study_job *j = &w->chain->job[w->next];
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;

    w->pid = 0;
    r->n_running--;
    if (code == EXIT_GOOD) {
        DT_TRY(leave_mark(j->mark));
        w->next++;
        r->n_done++;
        if (!r->s->quiet)
            printf("[%4d of %d] %-70s %s\n", r->n_done, r->n_all, j->what, text_seconds(clock_seconds() - w->begin).s);
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
    int status;

    nanosleep(&turn, NULL);
    for (int i = 0; i < r->n; i++) {
        worker *w = &r->worker[i];
        if (w->pid && waitpid(w->pid, &status, WNOHANG) == w->pid) DT_TRY(end(r, w, status));
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
