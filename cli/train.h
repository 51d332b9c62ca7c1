/*
 * train.h - a run of `detent train`: train_open.c opens it, train.c moves it on, train_state.c saves it and knows when
 * it is over, train_log.c writes the lines of --log-every, train_report.c tells people of it.
 */
#ifndef DT_TRAIN_H
#define DT_TRAIN_H

#include "cli.h"

#define TRAIN_LAST "last.safetensors"
#define TRAIN_BEST "best.safetensors"

/* What the run must know to go on, beside what the trainer's checkpoint holds; saved as the checkpoint's `extra`. */
typedef struct {
    int epochs_ended;     /* evaluated, in metrics.jsonl and saved */
    int best_epoch;       /* 0: none yet */
    double best_accuracy; /* on the images that decide: those held out, else the test set; -1: none yet */
    double test_accuracy; /* of the best network, where held-out images decide; -1: not measured yet */
    double lr;            /* of the last step */
    dt_metrics logged;    /* of this epoch, as of its last line of --log-every; images 0: none yet */
} run_state;

/* Where the clocks stood; a resumed run starts them anew. */
typedef struct {
    double seconds;      /* clock_seconds() */
    double data_seconds; /* dt_trainer_data_seconds() */
    int64_t steps;
} log_mark;

typedef struct {
    const settings *s;
    session o;
    dt_model_info is; /* o.model's */
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
    log_mark log_epoch;   /* at this process's first step in this epoch */
    log_mark log_line;    /* at the last line of --log-every */
} run;

/* ---- train_open.c ---- */

/* Cheap questions first: whether this may be started at all; where there is a run to go on with, its state. */
DT_MUST_CHECK dt_status train_look_into_directory(run *r);
/* Data, model, trainer and run directory, and what is said of them. */
DT_MUST_CHECK dt_status train_open(run *r);

/* ---- train_state.c ---- */

typedef enum { END_NOT_YET, END_ALL_EPOCHS, END_STOP_AT, END_PATIENCE } run_end;

/* Of the state alone, so that a run that is over stays so. */
run_end train_end(const run *r);
/* Held-out images have chosen the best network, and the test set has not judged it yet. */
int train_owes_test(const run *r);
/* "val" where images are held out, else "test": what decides which network is the best. */
const char *train_split(const run *r);
int train_is_due(int epoch, int every, const run *r);
DT_MUST_CHECK dt_status train_read_state(const char *path, run_state *out);
DT_MUST_CHECK dt_status train_save_best(const run *r);
DT_MUST_CHECK dt_status train_save_last(run *r);
/* Saves unless that is done, and returns DT_ERR_INTERRUPTED with how to go on. */
DT_MUST_CHECK dt_status train_stop_here(run *r);

/* ---- train_log.c ---- */

/* At this process's first step in an epoch. */
void log_epoch_begins(run *r);
/* How many steps may be done before the next line is due. */
int64_t log_steps_left(const run *r);
/* After steps: the line, if it is due. */
DT_MUST_CHECK dt_status log_steps(run *r);
/* Evaluates m on d, with the lines; split: "val" or "test". */
DT_MUST_CHECK dt_status log_evaluation(run *r, dt_model *m, const dt_dataset *d, const char *split, dt_metrics *out);

/* ---- train_report.c: prints nothing when --quiet is given ---- */

void report_begin(const run *r);    /* model, data, device */
void report_position(const run *r); /* where it starts or goes on */
DT_MUST_CHECK dt_status report_progress(run *r);
void report_batch(const run *r, const batch_line *line);
void report_epoch(const run *r, const epoch_line *line, int best);
DT_MUST_CHECK dt_status report_quantizers(const run *r); /* of the next batch, and what is wrong with them */
void report_end(const run *r);
/* Of a loss, the part that is not the decoder's; NaN where there is no decoder. */
double margin_of(const run *r, double loss, double reconstruction);

#endif /* DT_TRAIN_H */
