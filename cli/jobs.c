/*
 * jobs.c - see jobs.h.
 *
 * Tests: tests/cli/test_cli_sweep.sh, tests/cli/test_cli_search.sh.
 */
#include "jobs.h"

#include "sweep.h"

#include <errno.h>
#include <fcntl.h>
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

/* ---- the command line ---- */

void job_word(job_line *c, const char *fmt, ...)
{
    va_list ap;

    if (c->n == JOB_WORDS) return; /* options are each once, and there are fewer */
    va_start(ap, fmt);
    vsnprintf(c->text[c->n], JOB_WORD_BYTES, fmt, ap);
    va_end(ap);
    c->word[c->n] = c->text[c->n];
    c->n++;
    c->word[c->n] = NULL;
}

void job_begin(job_line *c, const char *subcommand)
{
    c->n = 0;
    job_word(c, "detent");
    job_word(c, "%s", subcommand);
}

void job_options(job_line *c, const cJSON *options)
{
    const cJSON *item;
    char value[JOB_WORD_BYTES - VALUE_BYTES];

    cJSON_ArrayForEach(item, options)
    {
        sweep_value(item, value, sizeof value);
        if (cJSON_IsTrue(item))
            job_word(c, "--%.60s", item->string);
        else if (!cJSON_IsFalse(item))
            job_word(c, "--%.60s=%s", item->string, value);
    }
}

/* ---- processes ---- */

int jobs_free_place(const job_board *b)
{
    for (int k = 0; k < b->n; k++) {
        if (b->place[k].pid == 0) return k;
    }
    return -1;
}

int jobs_run(const job_board *b)
{
    for (int k = 0; k < b->n; k++) {
        if (b->place[k].pid > 0) return 1;
    }
    return 0;
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

/* In the child. */
static void become(const job_board *b, int at, pid_t parent, int log, char **words)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(EXIT_INTERRUPTED);
    take_cores(at, b->n);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execv("/proc/self/exe", words);
    dprintf(STDERR_FILENO, "detent: /proc/self/exe: %s\n", strerror(errno));
    _exit(EXIT_FAILED);
}

dt_status jobs_start(job_board *b, int at, int task, job_line *line, const char *log_path)
{
    const pid_t parent = getpid();
    const int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);

    DT_CHECK(log >= 0, DT_ERR_IO, "%s: %s", log_path, strerror(errno));
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) become(b, at, parent, log, line->word);
    const int failed = pid < 0 ? errno : 0;
    close(log);
    DT_CHECK(!failed, DT_ERR_IO, "%s: a process for it: %s", log_path, strerror(failed));
    b->place[at] = (job_place){ pid, task };
    return DT_OK;
}

int jobs_take_end(job_board *b, job_end *out)
{
    int status;

    for (int k = 0; k < b->n; k++) {
        job_place *p = &b->place[k];
        if (p->pid == 0 || waitpid(p->pid, &status, WNOHANG) != p->pid) continue;
        *out = (job_end){ .task = p->task,
                          .code = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED,
                          .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0 };
        p->pid = 0;
        return 1;
    }
    return 0;
}

void jobs_ask_to_stop(job_board *b)
{
    if (b->asked) return;
    b->asked = 1;
    for (int k = 0; k < b->n; k++) {
        if (b->place[k].pid > 0) kill(b->place[k].pid, SIGTERM);
    }
}

void jobs_wait(void)
{
    const struct timespec turn = { 0, 20000000 };

    nanosleep(&turn, NULL);
}

void jobs_last_words(const char *log_path, const char *otherwise, char *text, size_t bytes)
{
    char *content = NULL, *rest = NULL;
    size_t n;

    snprintf(text, bytes, "%s", otherwise);
    if (read_file(log_path, &content, &n) != DT_OK || !content) return;
    for (char *line = strtok_r(content, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, "Try ", 4) != 0) snprintf(text, bytes, "%s", line);
    }
    free(content);
}
