/*
 * saver.h - files of a run that are written while it goes on.
 *
 * A saver has one thread at most, which writes what was added, in that order, and stops where a file cannot be written.
 * Only the thread of the caller uses the functions.
 */
#ifndef DT_SAVER_H
#define DT_SAVER_H

#include "cli.h"

#include <pthread.h>

enum { SAVER_FILES = 3, SAVER_ERROR_BYTES = 1024 };

typedef struct {
    dt_run_copy *copy;
    int owns; /* 1: the copy is destroyed with this file, which is the last one of it */
    char path[PATH_BYTES];
} saver_file;

typedef struct {
    saver_file file[SAVER_FILES];
    int n;
    int is_started; /* 1: the files are written, or being written */
    int has_thread;
    pthread_t thread;
    dt_status status; /* of the files that were written */
    char error[SAVER_ERROR_BYTES];
} saver;

/* Adds a file to those that the next start writes; what was started has been waited for. It takes over the copy; if the
 * file before has the same one, they share it. */
void saver_add(saver *s, dt_run_copy *copy, const char *path);
/* Begins to write. Where no thread can be had, all is written when this returns. */
void saver_start(saver *s);
/* Waits until all is written. The result is that of the writing, with its message. */
DT_MUST_CHECK dt_status saver_wait(saver *s);
/* Waits likewise, and leaves the last message as it is. */
void saver_close(saver *s);

#endif /* DT_SAVER_H */
