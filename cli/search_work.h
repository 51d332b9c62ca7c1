/*
 * search_work.h - a mixed-precision search at work: search_bits.c opens it, search_run.c runs its trials,
 * search_blocks.c goes from block to block, search_winner.c trains what has won.
 */
#ifndef DT_CLI_SEARCH_WORK_H
#define DT_CLI_SEARCH_WORK_H

#include "search_bits.h"

#define SEARCH_LOG "log.txt" /* what a run says, in its directory */

enum { SEARCH_ERROR_BYTES = 512 };

/* A trial that has been chosen and is not in the log yet. */
typedef struct {
    int *configuration; /* [n_choices] owned */
    int is_running, is_over;
    double begin, seconds; /* of this process */
    double accuracy;       /* 0..1 on the images held out; NaN: it failed */
    char error[SEARCH_ERROR_BYTES];
} trial_state;

typedef struct {
    const settings *s;
    settings with_images; /* what s is, with the images that the file's options name */
    search_plan p;
    session o;
    dt_search_space *space;
    trial_maker maker;
    trial_log log;
    job_board board;     /* whose tasks are trials, from 0 */
    trial_state *trial;  /* [max] */
    int n_chosen, n_max; /* of these; the most that there may be */
    int n_taken;         /* trials of the log that the search has come to: fewer than it has while one that was stopped
                            goes through them again */
    int first;           /* trial with which the block begins */
    int end;             /* trial with which it ends */
    int block;           /* -1: there are no blocks */
    int *frozen, *order; /* [n_choices]; order is NULL where it is not needed */
    int *learned;        /* [n_choices] the configuration of --mode gradient; NULL in other modes */
    int is_exhausted;    /* 1: nothing is left to search_choose */
    trial_table table;
    progress bar;
    int lock;
    double begin;
} search_work;

/* ---- search_run.c ---- */

/* Chooses trial k, the next one; if nothing is left to choose, it sets is_exhausted instead. */
DT_MUST_CHECK dt_status search_choose(search_work *w, int k);
/* Runs the trials of the block that are not in the log yet, and logs them. */
DT_MUST_CHECK dt_status search_run_trials(search_work *w);
/* Returns 1 if the block's trials have gone on without a new best for too long. */
int search_out_of_patience(const search_work *w);
/* Returns 1 if trial k is one of --uniform. */
int search_is_uniform(const search_work *w, int k);
/* Sets value, [n_choices], to the values of a configuration; real numbers have 0. */
void search_fill_values(const search_work *w, const int *configuration, int *value);
/* Prints the line of a trial that is in the log. */
void search_print_row(const search_work *w, const trial_row *row, int is_best);
short_text search_size_text(const search_work *w, double size);

/* ---- search_blocks.c ---- */

/* Puts the blocks into their order. */
void search_sort_blocks(search_work *w);
/* Returns the most trials that there may be. */
int search_most_trials(const search_work *w);
/* Searches block after block; without blocks all at once. */
DT_MUST_CHECK dt_status search_run_blocks(search_work *w);

/* ---- search_gradient.c ---- */

/* Learns w->learned, or reads it from DIR/learned.json. */
DT_MUST_CHECK dt_status search_learn(search_work *w);

/* ---- search_winner.c ---- */

/* Writes the tables, and trains, verifies and prints the winner. */
DT_MUST_CHECK dt_status search_finish(search_work *w, int *exit_code);

#endif /* DT_CLI_SEARCH_WORK_H */
