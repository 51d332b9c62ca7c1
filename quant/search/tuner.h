/*
 * tuner.h - what the ways to choose the next trial share: tuner.c has draws and the greedy way, tpe.c and gp.c the two
 *           that learn from the results.
 */
#ifndef DT_SEARCH_TUNER_H
#define DT_SEARCH_TUNER_H

#include "detent/search.h"

typedef struct {
    const dt_search_space *s;
    const dt_tuner *t;
    const dt_search_trial *trial; /* [n] */
    int n;
    uint32_t draws; /* random numbers that have been drawn for this trial */
} dt_tuning;

/* Returns 1 if choice c is to be chosen: it has several candidates and is not frozen. */
int dt_tuning_is_open(const dt_tuning *u, int c);
/* Returns the next random number of this trial, uniform in [0, 1). */
double dt_tuning_uniform(dt_tuning *u);
/* Fills a configuration, [n_choices]: frozen choices, and draws for the open ones. */
void dt_tuning_draw(dt_tuning *u, int *configuration);
/* Returns 1 if a trial has had the configuration. */
int dt_tuning_has(const dt_tuning *u, const int *configuration);
/* Writes the indices of the trials with a score to by_score, [n], the best first, and returns how many there are. Of
 * equal scores the earlier trial is first. */
int dt_tuning_rank(const dt_tuning *u, int *by_score);

/* Choose a configuration that no trial has had; *found is 0 if they find none. In tpe.c and gp.c. */
DT_MUST_CHECK dt_status dt_tune_tpe(dt_tuning *u, int *configuration, int *found);
DT_MUST_CHECK dt_status dt_tune_gp(dt_tuning *u, int *configuration, int *found);

#endif /* DT_SEARCH_TUNER_H */
