/*
 * train.h - a run of `detent train`. train_open.c opens it, train_ranks.c shares it with others, train.c runs it,
 * train_state.c saves it and knows when it is over, train_log.c writes the lines of --log-every, train_board.c those of
 * --tensorboard, and train_report.c prints for people.
 */
#ifndef DT_TRAIN_H
#define DT_TRAIN_H

#include "cli.h"
#include "event_file.h"
#include "saver.h"

#define TRAIN_LAST "last.safetensors"
#define TRAIN_BEST "best.safetensors"
#define TRAIN_MEAN \
    "ema.safetensors" /* where a mean of the parameters is kept: the network of it, of the last evaluation */

/* What a run needs to go on, beside what the trainer's checkpoint holds. It is saved as the checkpoint's `extra`. */
typedef struct {
    int epochs_ended;     /* epochs that are evaluated, in metrics.jsonl, and saved */
    int best_epoch;       /* 0: none yet */
    double best_accuracy; /* 0..1, on the images held out, or else on the test set; -1: none yet */
    double test_accuracy; /* 0..1, of the best network, if images are held out; -1: not measured yet */
    double lr;            /* of the last step */
    dt_metrics logged;    /* of this epoch, up to its last line of --log-every; images is 0 before the first */
} run_state;

/* The clocks at some moment. A resumed run starts them anew. */
typedef struct {
    double seconds;      /* clock_seconds() */
    double data_seconds; /* dt_trainer_data_seconds() */
    int64_t steps;
} log_mark;

typedef struct {
    const settings *s; /* of this rank */
    session o;
    dt_dist *dist;    /* the other ranks; NULL: there are none */
    int rank;         /* rank 0 alone writes and prints */
    dt_model_info is; /* o.model's */
    run_state state;
    dt_evaluator *epochs; /* of o.model, on the images that decide which epoch is the best; kept for all epochs */
    int lock;             /* file descriptor that locks the run directory; -1: none */
    int goes_on;          /* 1: the run goes on from last.safetensors */
    int64_t n_train;      /* training images */
    double peak;          /* images a second at which all ranks' devices would do nothing but the products of a step, as
                             fast as was measured; NaN: not measured */
    int64_t saved_step;   /* steps done in last.safetensors; -1: it does not exist */
    saver saver;          /* of the files of this run, on rank 0 */
    event_file *board;    /* of --tensorboard; NULL: none */
    progress bar;
    double run_begin;     /* clock_seconds() at this process's first step */
    int64_t first_step;   /* steps that were done then */
    double epoch_begin;   /* clock_seconds() at this process's first step in this epoch */
    int64_t epoch_images; /* images on which this process has trained in this epoch */
    log_mark log_epoch;   /* at this process's first step in this epoch */
    log_mark log_line;    /* at the last line of --log-every */
    struct {
        int64_t step;    /* at the last look */
        dt_metrics seen; /* of this epoch, at the last look */
        int64_t n_high;  /* steps in a row whose loss was too high */
        int has_said_loss, has_seen_clips;
    } watch; /* of this process: a resumed run looks anew */
} run;

/* ---- train_peak.c ---- */

/* Measures r->peak where it will be shown and the device has such a number, which is on GPUs. */
DT_MUST_CHECK dt_status measure_peak(run *r);

/* ---- train_plan.c ---- */

/* Returns 1 if the options ask for several runs: stages, or a run of several seeds. */
int train_is_plan(const settings *s);
/* Makes all of them, by run_one, in directories of their own in s->out. It stops where run_one fails or sets an exit
 * code. */
DT_MUST_CHECK dt_status train_plan(const settings *s, dt_status (*run_one)(const settings *s, int *exit_code),
                                   int *exit_code);

/* ---- train_watch.c ---- */

/* Returns the number of steps until the run is looked at for what goes wrong. */
int64_t watch_steps_left(const run *r);
/* Says at once what goes wrong: clips without a gradient, a loss that stays above that of guessing. Call it
 * after steps. */
DT_MUST_CHECK dt_status watch_steps(run *r);

/* ---- train_open.c ---- */

/* Checks whether the run may be started in its directory, before anything slow happens. If it goes on with an earlier
 * run, it reads that run's state. */
DT_MUST_CHECK dt_status train_look_into_directory(run *r);
/* Opens data, model, trainer and run directory, and prints what they are. */
DT_MUST_CHECK dt_status train_open(run *r);

/* ---- train_ranks.c ---- */

/* Meets the other ranks and checks that they have the same options. */
DT_MUST_CHECK dt_status train_meet(run *r, const rank_place *place);
/* Looks into the run directory, as rank 0 finds it. */
DT_MUST_CHECK dt_status train_share_directory(run *r);
/* Checks that all ranks have the same network and images, and gives them what rank 0 starts from. */
DT_MUST_CHECK dt_status train_share_start(run *r);
/* Sets *out to 1 if a signal has asked any rank to stop. */
DT_MUST_CHECK dt_status train_is_asked_to_stop(run *r, int *out);

/* ---- train_state.c ---- */

typedef enum { END_NOT_YET, END_ALL_EPOCHS, END_STOP_AT, END_PATIENCE } run_end;

/* Returns whether the run is over, and why. It depends on the saved state alone, so that a run stays over. */
run_end train_end(const run *r);
/* Returns 1 if images held out have chosen the best network, and it has not been evaluated on the test set yet. */
int train_owes_test(const run *r);
/* Returns the split that decides which network is the best: "val" if images are held out, else "test". */
const char *train_split(const run *r);
/* Returns its images. */
const dt_dataset *train_decides(const run *r);
/* Returns 1 if what is done every `every` epochs is due after `epoch` epochs. It always is after the last one, and
 * after the last planned one of a run that is extended. */
int train_is_due(int epoch, int every, const run *r);
/* Reads the state from a checkpoint. */
DT_MUST_CHECK dt_status train_read_state(const char *path, run_state *out);
/* Copies the run while its mean is in the model, to ema.safetensors, and before that to best.safetensors if `best` is
 * 1. Nothing is written yet. All ranks call it, as they do the next, and rank 0 alone saves. It waits until what was
 * saved before is on the disk. */
DT_MUST_CHECK dt_status train_copy_mean(run *r, int best);
/* Copies the run to last.safetensors, and before that to best.safetensors if `best` is 1. All copies are then written
 * in their order, while the run goes on. */
DT_MUST_CHECK dt_status train_save_last(run *r, int best);
/* Waits until all that was saved is on the disk. */
DT_MUST_CHECK dt_status train_saved(run *r);
/* Saves the run, unless that is done already, and returns DT_ERR_INTERRUPTED. The message says how to go on. */
DT_MUST_CHECK dt_status train_stop_here(run *r);

/* ---- train_log.c ---- */

/* Starts the clocks of an epoch. Call it at this process's first step in an epoch. */
void log_epoch_begins(run *r);
/* Returns the number of steps until the next line is due. */
int64_t log_steps_left(const run *r);
/* Writes a line if one is due. Call it after steps. */
DT_MUST_CHECK dt_status log_steps(run *r);
/* Prepares evaluations of m on d. The caller destroys *out. */
DT_MUST_CHECK dt_status log_open_evaluation(const run *r, dt_model *m, const dt_dataset *d, dt_evaluator **out);
/* Evaluates by what that made for d, and writes its lines. split is "val" or "test". */
DT_MUST_CHECK dt_status log_evaluation(run *r, dt_evaluator *by, const dt_dataset *d, const char *split,
                                       dt_metrics *out);

/* ---- train_board.c: does nothing without --tensorboard ---- */

/* Opens the file of events of this process. */
DT_MUST_CHECK dt_status board_open(run *r);
/* Writes what there is to see at an epoch's end. */
DT_MUST_CHECK dt_status board_epoch(run *r, const epoch_line *line);
/* Writes a line of --log-every. */
DT_MUST_CHECK dt_status board_batch(const run *r, const batch_line *line);
/* Writes what the best network reaches on the test set. */
DT_MUST_CHECK dt_status board_end(const run *r, const end_line *line);

/* ---- train_report.c: prints nothing if --quiet is given ---- */

/* Prints model, data and device. */
void report_begin(const run *r);
/* Prints where the run starts or goes on. */
void report_position(const run *r);
/* Shows progress if it is time to. */
DT_MUST_CHECK dt_status report_progress(run *r);
/* Prints a line of --log-every. */
void report_batch(const run *r, const batch_line *line);
/* Prints the line of an epoch. best is 1 if it is the best so far. */
void report_epoch(const run *r, const epoch_line *line, int best);
/* Says which clips get no gradient, and what helps; with --quiet on stderr. */
void warn_of_stuck_clips(const run *r, const dt_quant_report *q, int n);
/* Prints the quantizers on the next batch, what is wrong with them, and how many weights oscillate. */
DT_MUST_CHECK dt_status report_quantizers(const run *r);
/* Prints how the run has ended. */
void report_end(const run *r);
/* Returns the part of a loss that is not the decoder's, or NaN if there is no decoder. */
double margin_of(const run *r, double loss, double reconstruction);

#endif /* DT_TRAIN_H */
