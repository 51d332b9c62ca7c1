/*
 * train.h - a run of `detent train`: train.c moves it on, train_report.c tells people of it.
 */
#ifndef DT_TRAIN_H
#define DT_TRAIN_H

#include "cli.h"

/* What the run must know to go on, beside what the trainer's checkpoint holds; saved as the checkpoint's `extra`. */
typedef struct {
    int epochs_ended;     /* evaluated, in metrics.jsonl and saved */
    int best_epoch;       /* 0: none yet */
    double best_accuracy; /* on the test set; -1: none yet */
    double lr;            /* of the last step */
} run_state;

typedef struct {
    const settings *s;
    session o;
    run_state state;
    int lock;           /* file descriptor that holds the run directory, -1: none */
    int goes_on;        /* 1: from last.safetensors, not from the run's begin */
    int64_t n_train;    /* images */
    int64_t saved_step; /* that last.safetensors holds, -1: none */
    progress bar;
    double run_begin;     /* clock_seconds() of this process's first step */
    int64_t first_step;   /* steps done then */
    double epoch_begin;   /* clock_seconds() of this process's first step in this epoch */
    int64_t epoch_images; /* trained on by this process in this epoch */
} run;

/* Nothing below prints when --quiet is given. */
void report_begin(const run *r);    /* model, data, device */
void report_position(const run *r); /* where it starts or goes on */
DT_MUST_CHECK dt_status report_progress(run *r);
void report_epoch(const run *r, const metrics_line *line, int best);
DT_MUST_CHECK dt_status report_quantizers(const run *r); /* of the next batch, and what is wrong with them */
void report_end(const run *r);

#endif /* DT_TRAIN_H */
