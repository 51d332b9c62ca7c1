/*
 * search.h - what the two files of `detent search` share: search.c does the work, and search_report.c prints.
 */
#ifndef DT_SEARCH_H
#define DT_SEARCH_H

#include "trials.h"

enum { MAX_OUTCOMES = 3, QCAPS_VALUES = 3 * DT_QCAPS_LAYERS };

/* An outcome of the search, as a network. */
typedef struct {
    const char *name; /* such as "satisfied" */
    const dt_qcaps_outcome *outcome;
    dt_qcaps_cost cost;
    double test_accuracy; /* 0..1 */
    char path[PATH_BYTES];
} found_network;

typedef struct {
    const settings *s;
    session o;              /* train_set holds the validation images, or is NULL */
    const dt_dataset *tune; /* the images by which the search decides; one of o's */
    int64_t n_tune, n_test;
    dt_qcaps_options opt;
    dt_qcaps_shape shape;

    progress bar;
    progress_task task;
    char what[VALUE_BYTES]; /* text of task.what */
    int in_full_precision;  /* 1 until trial 1 begins */
    int64_t n_done;         /* images that the running evaluation has done */
    trial_log log;
    dt_status log_status; /* of what was logged last */
    cJSON *trials;        /* owned; the trials so far, for --json; else NULL */

    dt_qcaps_result result;
    double full_test_accuracy; /* 0..1 */
    found_network found[MAX_OUTCOMES];
    int n_found;
} search;

/* ---- search_report.c ---- */

/* Prints what is searched. If trained_on_tune is 1, it warns that the network was trained on the images that decide. */
void report_search_begin(const search *r, int trained_on_tune);
/* Prints the line of a trial, which is `row` of the log. */
void report_trial(const search *r, const dt_qcaps_trial *t, const trial_row *row);
/* Makes a JSON object of the search's options. */
cJSON *search_options_json(const search *r);
/* Prints the networks that were found. */
void report_search_end(const search *r);
/* Prints the bits of --plan and their cost. */
void report_plan(const settings *s, const dt_model *m, const dt_qcaps_shape *shape, const dt_qcaps_bits *bits);
/* Makes a JSON object of a trial. */
cJSON *trial_json(const search *r, const dt_qcaps_trial *t);
/* Makes the JSON object that the file of a network found has as its extra. */
cJSON *found_json(const search *r, const found_network *f);
/* Prints the whole search as JSON. */
DT_MUST_CHECK dt_status report_search_json(search *r);
/* Prints the bits of --plan and their cost as JSON. */
DT_MUST_CHECK dt_status report_plan_json(const settings *s, const dt_model *m, const dt_qcaps_shape *shape,
                                         const dt_qcaps_bits *bits);

#endif /* DT_SEARCH_H */
