/*
 * search.h - the two halves of `detent search`: what it does (search.c) and what it says (search_report.c).
 */
#ifndef DT_SEARCH_H
#define DT_SEARCH_H

#include "cli.h"

enum { MAX_OUTCOMES = 3 };

/* An outcome of the search, as a network. */
typedef struct {
    const char *name; /* "satisfied" */
    const dt_qcaps_outcome *outcome;
    dt_qcaps_cost cost;
    double test_accuracy; /* 0..1 */
    char path[PATH_BYTES];
} found_network;

typedef struct {
    const settings *s;
    session o;              /* train_set: the validation images, or NULL */
    const dt_dataset *tune; /* the images that decide: of o */
    int64_t n_tune, n_test;
    dt_qcaps_options opt;
    dt_qcaps_shape shape;

    progress bar;
    progress_task task;
    char what[VALUE_BYTES]; /* task's */
    int in_full_precision;  /* until trial 1 begins */
    int64_t n_done;         /* images of the evaluation that runs */
    cJSON *trials;          /* owned, for --json; else NULL */

    dt_qcaps_result result;
    double full_test_accuracy; /* 0..1 */
    found_network found[MAX_OUTCOMES];
    int n_found;
} search;

/* search_report.c */
void report_search_begin(const search *r, int trained_on_tune);
void report_trial(const search *r, const dt_qcaps_trial *t, double seconds);
void report_search_end(const search *r);
void report_plan(const settings *s, const dt_model *m, const dt_qcaps_shape *shape, const dt_qcaps_bits *bits);
cJSON *trial_json(const search *r, const dt_qcaps_trial *t);
/* What a network found keeps in its file. */
cJSON *found_json(const search *r, const found_network *f);
DT_MUST_CHECK dt_status report_search_json(search *r);
DT_MUST_CHECK dt_status report_plan_json(const settings *s, const dt_model *m, const dt_qcaps_shape *shape,
                                         const dt_qcaps_bits *bits);

#endif /* DT_SEARCH_H */
