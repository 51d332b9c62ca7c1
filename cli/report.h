/*
 * report.h - `detent report RUN...`: one HTML page about runs of `detent train`, which needs no network, no other file
 *            and no script.
 *
 *   report.c            the subcommand
 *   report_metrics.c    metrics.jsonl as columns
 *   report_gather.c     what a run's network is and does: its codes, its program on an array, its mistakes
 *   report_page.c       the page, and what compares runs
 *   report_settings.c   which settings differ
 *   report_sections.c   the part of one run: training, clips, codes, psums, the array
 *   report_images.c     that of its images: classes, mistakes, reconstructions
 */
#ifndef DT_CLI_REPORT_H
#define DT_CLI_REPORT_H

#include "cli.h"
#include "layer_codes.h"
#include "wrong_images.h"

enum { WRONG_MOST = 12, WHY_BYTES = 512, REPORT_DRAWN = 11 };

/* The columns of metrics.jsonl; accuracies in %. */
typedef enum {
    COLUMN_TRAIN_LOSS,
    COLUMN_TRAIN_ACCURACY,
    COLUMN_EVAL_LOSS, /* on the split that decides */
    COLUMN_EVAL_ACCURACY,
    COLUMN_RATE, /* lr */
    COLUMN_IMAGES_PER_S,
    COLUMN_SECONDS,
    COLUMNS
} metrics_column;

/* The course of a clip. */
typedef struct {
    char *name;    /* owned; of the parameter; of a range with "low" or "high" behind it */
    double *value; /* [n of the columns], owned; NaN where the line has none */
} clip_course;

typedef struct {
    int n;                   /* epochs */
    double *column[COLUMNS]; /* [n], owned; NaN where the line has null */
    clip_course *clip;       /* [n_clips], owned */
    int n_clips;
    int has_val;               /* 1: the split that decides is val, of images held out, else test */
    int best_epoch;            /* 0: none */
    double best_accuracy;      /* in %, on that split; NaN: none */
    double best_test_accuracy; /* in %, on the test set, of the network that images held out have chosen; NaN: none */
} run_metrics;

/* Reads metrics.jsonl of a run; without that file there are no epochs. The caller calls run_metrics_free, also where
 * this fails. */
DT_MUST_CHECK dt_status run_metrics_read(const char *dir, run_metrics *out);
void run_metrics_free(run_metrics *m);

/* A run, as the page shows it. A part that cannot be shown has the reason in no_... instead, which is "" otherwise. */
typedef struct {
    const char *dir;
    int look;      /* its colour */
    cJSON *config; /* owned */
    settings own;  /* the run's options; texts are config's */
    run_metrics metrics;
    char file[PATH_BYTES]; /* its checkpoint */
    network_text network;
    dt_model_info is; /* its name is not valid */
    int64_t n_parameters;
    network_cost cost;
    char no_data[WHY_BYTES];
    char data_name[DT_DATASET_NAME_BYTES];
    cJSON *clips; /* owned; metrics_clips of the network; NULL: there are none */
    network_codes codes;
    char no_codes[WHY_BYTES];
    dt_array array;
    dt_array_report *on_array; /* [n_on_array], owned, as their names are */
    int n_on_array;
    int64_t array_images; /* 0: the psums are not known */
    char no_array[WHY_BYTES];
    int n_classes;
    char **class_name;        /* [n_classes], owned; NULL: there are numbers */
    dt_metrics found;         /* on the test set */
    dt_class_report *classes; /* owned; NULL: no_classes says why */
    dt_label_report *labels;  /* owned; of a network of labels */
    char no_classes[WHY_BYTES];
    wrong_image wrong[WRONG_MOST];
    picture wrong_picture[WRONG_MOST];
    int n_wrong;
    char no_wrong[WHY_BYTES];
    picture reconstructions; /* pixels is NULL: no_reconstructions says why */
    char no_reconstructions[WHY_BYTES];
} shown_run;

/* Finds out all of it. s: the options of the report. The caller calls shown_run_free, also where this fails. */
DT_MUST_CHECK dt_status shown_run_open(const settings *s, const char *dir, shown_run *out);
void shown_run_free(shown_run *r);

/* ---- the page ---- */

typedef struct {
    shown_run *run; /* [n] */
    int n;
} shown_runs;

/* Writes the page. */
DT_MUST_CHECK dt_status report_page_write(const shown_runs *all, const char *path);
/* Write parts of it. `at` counts runs from 1, for the ids. */
void report_write_settings(FILE *to, const shown_runs *all);
void report_write_training(FILE *to, const shown_run *r, int at);
void report_write_codes(FILE *to, const shown_run *r, int at);
void report_write_psums(FILE *to, const shown_run *r, int at);
void report_write_array(FILE *to, const shown_run *r, int at);
void report_write_images(FILE *to, const shown_run *r, int at);

/* Helpers for these. */
/* Begins a part of a run: a heading whose id is "run-AT-WORD". */
void report_heading(FILE *to, int at, const char *word, const char *title);
/* Writes a paragraph that says why something is not shown. */
void report_absent(FILE *to, const char *what, const char *why);
/* Begins a table in a box that scrolls and can be reached by keyboard, and ends it. */
void report_table_begin(FILE *to, const char *caption);
void report_table_end(FILE *to);
/* Writes a cell with a number, of which -5 has a minus. */
void report_count_cell(FILE *to, int64_t n);

#endif /* DT_CLI_REPORT_H */
