/*
 * saver.c - see saver.h. Tests: tests/cli/test_cli_train.sh, tests/cli/test_cli_shortage.sh.
 */
#include "saver.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>

void saver_add(saver *s, dt_run_copy *copy, const char *path)
{
    assert(!s->is_started && s->n < SAVER_FILES);
    saver_file *f = &s->file[s->n];

    if (s->n > 0 && f[-1].copy == copy) f[-1].owns = 0;
    f->copy = copy;
    f->owns = 1;
    snprintf(f->path, sizeof f->path, "%s", path);
    s->n++;
}

/* Messages of a failure are a thread's own, so this one's is kept for the thread that waits. */
static void *write_all(void *user)
{
    saver *s = user;

    s->status = DT_OK;
    for (int i = 0; i < s->n && s->status == DT_OK; i++)
        s->status = dt_run_copy_write(s->file[i].copy, s->file[i].path);
    if (s->status != DT_OK) snprintf(s->error, sizeof s->error, "%s", dt_last_error());
    return NULL;
}

/* Signals are for the thread that trains. */
void saver_start(saver *s)
{
    sigset_t all, before;

    assert(!s->is_started);
    s->is_started = 1;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    s->has_thread = pthread_create(&s->thread, NULL, write_all, s) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!s->has_thread) write_all(s);
}

void saver_close(saver *s)
{
    if (s->has_thread) pthread_join(s->thread, NULL);
    s->has_thread = s->is_started = 0;
    for (int i = 0; i < s->n; i++) {
        if (s->file[i].owns) dt_run_copy_destroy(s->file[i].copy);
    }
    s->n = 0;
}

dt_status saver_wait(saver *s)
{
    saver_close(s);
    const dt_status status = s->status;

    s->status = DT_OK; /* it is told once */
    return status == DT_OK ? DT_OK : dt_raise(status, __FILE__, __LINE__, "%s", s->error);
}
