/*
 * jobs.h - commands of this program as processes, several at once: of `detent sweep` and of `detent search`.
 *
 * A place is a group of the machine's cores, and one of its GPUs.
 */
#ifndef DT_CLI_JOBS_H
#define DT_CLI_JOBS_H

#include <sys/types.h>

#include "cli.h"

enum { JOBS_MOST = 256, JOB_WORDS = MAX_OPTION_ROWS + 16, JOB_WORD_BYTES = 1200 };

/* The command line of a job. */
typedef struct {
    char text[JOB_WORDS][JOB_WORD_BYTES];
    char *word[JOB_WORDS + 1];
    int n;
} job_line;

/* Begins a line: "detent SUBCOMMAND". */
void job_begin(job_line *c, const char *subcommand);
DT_PRINTF(2, 3) void job_word(job_line *c, const char *fmt, ...);
/* Adds an option for each member of a JSON object; options may be NULL. */
void job_options(job_line *c, const cJSON *options);

typedef struct {
    pid_t pid; /* 0: the place is free */
    int task;  /* number of the caller's */
} job_place;

typedef struct {
    job_place place[JOBS_MOST]; /* [n] */
    int n;
    int asked; /* 1: the jobs were asked to stop */
} job_board;

/* How a job ended. */
typedef struct {
    int task;
    int code;   /* exit code; EXIT_FAILED if a signal ended it */
    int signal; /* that ended it; 0: none did */
} job_end;

/* Returns a free place, or -1. */
int jobs_free_place(const job_board *b);
/* Returns 1 if a job runs. */
int jobs_run(const job_board *b);
/* Starts a process of the command line at a place, which is asked to stop when this process ends, however that happens.
 * What it prints is appended to log_path. */
DT_MUST_CHECK dt_status jobs_start(job_board *b, int at, int task, job_line *line, const char *log_path);
/* Takes a job that has ended; returns 0 if none has. */
int jobs_take_end(job_board *b, job_end *out);
/* Asks the jobs to stop, once. */
void jobs_ask_to_stop(job_board *b);
/* Waits for 20 ms. */
void jobs_wait(void);
/* Reads what a job said last that tells something into text; `otherwise` if that is nothing. */
void jobs_last_words(const char *log_path, const char *otherwise, char *text, size_t bytes);

#endif /* DT_CLI_JOBS_H */
