/*
 * sweep.h - `detent sweep`: sweep_file.c reads which runs there are, sweep.c trains them, several at once, and
 *           sweep_table.c brings together what they reached.
 *
 *   { "options": { "dataset": "cifar10", "epochs": 100 },           for all runs
 *     "runs": [ { "wbits": 4, "abits": 4 }, { "wbits": 2 } ],       values that belong together
 *     "grid": { "lr": [0.1, 0.01], "seed": [0, 1, 2] } }            each value with each of the others
 *
 * Names are options of `detent train`. There is a run for each of "runs" with each point of "grid". Runs that differ in
 * nothing but "seed" are of one setting.
 */
#ifndef DT_CLI_SWEEP_H
#define DT_CLI_SWEEP_H

#include "cli.h"

enum { SWEEP_AXES_MOST = 32, SWEEP_RUNS_MOST = 10000, SWEEP_NAME_BYTES = 200, SWEEP_ERROR_BYTES = 512 };

typedef enum { RUN_WAITS, RUN_RUNS, RUN_DONE, RUN_STOPPED, RUN_FAILED } sweep_state;

/* A run of the sweep. */
typedef struct {
    char name[SWEEP_NAME_BYTES]; /* of its directory, such as "wbits=2,seed=0" */
    cJSON *own;                  /* owned; its options but for those of all runs, in the order of the axes */
    sweep_state state;
    char error[SWEEP_ERROR_BYTES]; /* FAILED: what it said last */
    int epochs;                    /* of metrics.jsonl */
    int best_epoch;                /* 0: nothing has been evaluated */
    double best_accuracy;          /* 0..1, of that epoch; NaN: none */
    double accuracy;               /* 0..1, on the test set: of the network that the images held out have chosen, or of
                                      the last evaluation; NaN: none */
} sweep_run_of;

typedef struct {
    cJSON *file;                       /* owned */
    const cJSON *options;              /* of all runs; NULL: none */
    const char *axis[SWEEP_AXES_MOST]; /* [n_axes] names of the options in which runs differ */
    int n_axes;
    sweep_run_of *run; /* [n_runs], owned */
    int n_runs;
} sweep;

/* Reads a sweep's file. Every option is checked, so that what is written wrong is told before anything runs. The caller
 * calls sweep_free. */
DT_MUST_CHECK dt_status sweep_read(const char *path, sweep *out);
void sweep_free(sweep *s);
/* Checks an object of options of `detent train` and their values. DT_ERR_FORMAT names path, where and the option. */
DT_MUST_CHECK dt_status sweep_check_options(const char *path, const char *where, const cJSON *object);
/* Writes the value of an option, as the command line has it, to text. */
void sweep_value(const cJSON *value, char *text, size_t bytes);

/* Reads from metrics.jsonl in dir what a run has reached. */
DT_MUST_CHECK dt_status sweep_look(const char *dir, sweep_run_of *run);
/* Prints the table of settings, and writes it to table.csv and table.json in dir. as_json: prints the latter instead.
 */
DT_MUST_CHECK dt_status sweep_report(const sweep *s, const char *dir, int as_json);

#endif /* DT_CLI_SWEEP_H */
