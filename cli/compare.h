/*
 * compare.h - what the files of `detent compare` share: networks side by side, on the same images.
 *
 *   compare.c            opens both, runs them, prints each image's classes
 *   compare_values.c     how far values inside are apart
 *   compare_profiles.c   one network under every profile
 */
#ifndef DT_CLI_COMPARE_H
#define DT_CLI_COMPARE_H

#include "cli.h"

/* A network that computes. */
typedef struct {
    const char *path;
    session o;       /* owned */
    dt_model *made;  /* owned; of o.program; NULL: o.model computes */
    dt_model *model; /* what computes */
    float *scores;   /* [n][n_classes], owned */
    int32_t
        *classes; /* [n] the largest score's, the first of equal ones; of a network of labels those it says; owned */
    int64_t hits; /* images whose class is their label */
} subject;

/* Counts of runs of several networks, for progress. */
typedef struct {
    progress bar;
    progress_task task;
    int64_t before, total; /* images */
} compare_progress;

/* Makes what computes the program of a->o. */
DT_MUST_CHECK dt_status subject_use_program(subject *a);
/* Makes a's scores and classes of all images: at once, or where `look` is not NULL, it is called as in dt_prediction.
 */
DT_MUST_CHECK dt_status subject_allocate(subject *a, const chosen_images *images);
/* Runs images first .. first + n - 1, counted within `images`. */
DT_MUST_CHECK dt_status subject_run(subject *a, const chosen_images *images, int64_t first, int64_t n,
                                    const dt_prediction *how, compare_progress *p);
/* Sets classes and hits once all images have run. */
void subject_judge(subject *a, const chosen_images *images);

void compare_progress_begin(compare_progress *p, int64_t total);

/* ---- values inside (compare_values.c) ----------------------------------------------------------- */

/* How far one value of A is from one of B. */
typedef struct {
    char *a, *b; /* names; owned */
    double largest, sum;
    int64_t n; /* numbers that were compared */
} value_distance;

/* What a network gave for the batch at hand. */
typedef struct {
    char *name;
    float *real; /* [count] */
    int64_t count;
} value_kept;

typedef struct {
    value_kept *kept; /* [n_kept] of A; owned */
    int n_kept;
    value_distance *row; /* [n_rows] in B's order; owned */
    int n_rows;
} value_comparison;

/* Are the `look` of A's predictions and of B's, with a value_comparison as user. A batch of A comes before that of B.
 */
DT_MUST_CHECK dt_status values_keep(void *user, const dt_value_batch *v);
DT_MUST_CHECK dt_status values_compare(void *user, const dt_value_batch *v);
void values_next_batch(value_comparison *c);
void values_free(value_comparison *c);
void values_print(const value_comparison *c);
cJSON *values_json(const value_comparison *c);

/* ---- profiles (compare_profiles.c) ---------------------------------------------------------------- */

/* Runs a's program under every profile, and prints how many output codes differ between each two. */
DT_MUST_CHECK dt_status compare_profiles(const settings *s, subject *a, const chosen_images *images);

#endif /* DT_CLI_COMPARE_H */
