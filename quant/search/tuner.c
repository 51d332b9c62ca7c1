/*
 * tuner.c - chooses the next trial of a search: at random, or step by step down from the most bits.
 *
 * Trial n draws numbers of its own (core/rng.h), so that the choice is a function of seed, n and the trials before it.
 *
 * Greedy: the base is the best trial so far. Choices are taken in their order, and the first is lowered by one
 * candidate of which that has not been tried in vain: no trial differs in this step alone from a trial that was at
 * least as good. When no such choice is left, steps that failed elsewhere are tried from the base, too.
 *
 * Tests: tests/quant/test_tuner.c.
 */
#include "tuner.h"

#include "../../core/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const dt_tuner_mode_names[] = { "random", "tpe", "gp", "greedy", NULL };

enum { MOST_DRAWS = 1000, FIRST_TPE = 10, FIRST_GP = 5 };

int dt_tuning_is_open(const dt_tuning *u, int c)
{
    return u->s->choice[c].candidates.n > 1 && (!u->t->frozen || u->t->frozen[c] == DT_SEARCH_OPEN);
}

static uint32_t next_bits(dt_tuning *u)
{
    return dt_random(u->t->seed, DT_STREAM_SEARCH, (uint32_t)u->n, u->draws++).v[0];
}

double dt_tuning_uniform(dt_tuning *u)
{
    return (double)dt_uniform(next_bits(u));
}

/* What a choice is that is not open. */
static int fixed_value(const dt_tuning *u, int c)
{
    return u->t->frozen && u->t->frozen[c] != DT_SEARCH_OPEN ? u->t->frozen[c] : 0;
}

void dt_tuning_draw(dt_tuning *u, int *configuration)
{
    for (int c = 0; c < u->s->n_choices; c++) {
        configuration[c] = dt_tuning_is_open(u, c) ? (int)dt_below(next_bits(u), (uint32_t)u->s->choice[c].candidates.n)
                                                   : fixed_value(u, c);
    }
}

static int is_equal(const dt_tuning *u, const int *a, const int *b)
{
    return memcmp(a, b, (size_t)u->s->n_choices * sizeof *a) == 0;
}

int dt_tuning_has(const dt_tuning *u, const int *configuration)
{
    for (int i = 0; i < u->n; i++) {
        if (is_equal(u, u->trial[i].configuration, configuration)) return 1;
    }
    return 0;
}

int dt_tuning_rank(const dt_tuning *u, int *by_score)
{
    int n = 0;

    for (int i = 0; i < u->n; i++) {
        if (isnan(u->trial[i].score)) continue;
        int at = n++;
        while (at > 0 && u->trial[by_score[at - 1]].score < u->trial[i].score) {
            by_score[at] = by_score[at - 1];
            at--;
        }
        by_score[at] = i;
    }
    return n;
}

/* ---- at random ---- */

/* The configurations one after another, the last choice changing fastest; 0 behind the last. */
static int step_on(const dt_tuning *u, int *configuration)
{
    for (int c = u->s->n_choices - 1; c >= 0; c--) {
        if (!dt_tuning_is_open(u, c)) continue;
        if (++configuration[c] < u->s->choice[c].candidates.n) return 1;
        configuration[c] = 0;
    }
    return 0;
}

/* A new configuration is drawn; or, where draws find none, it is the first that there is. */
static int choose_random(dt_tuning *u, int *configuration)
{
    for (int i = 0; i < MOST_DRAWS; i++) {
        dt_tuning_draw(u, configuration);
        if (!dt_tuning_has(u, configuration)) return 1;
    }
    for (int c = 0; c < u->s->n_choices; c++) configuration[c] = fixed_value(u, c);
    do {
        if (!dt_tuning_has(u, configuration)) return 1;
    } while (step_on(u, configuration));
    return 0;
}

/* ---- greedy ---- */

/* The candidate with the most bits below that of index `from`; NONE if from has the fewest. from NONE: with the most of
 * all. */
enum { NONE = -1 };

static int lower_candidate(const dt_candidates *c, int from)
{
    int best = NONE;

    for (int i = 0; i < c->n; i++) {
        const int is_below = from == NONE || c->value[i] < c->value[from];
        if (is_below && (best == NONE || c->value[i] > c->value[best])) best = i;
    }
    return best;
}

/* 1 if the two differ in choice c alone. */
static int differ_in(const dt_tuning *u, const int *a, const int *b, int c)
{
    for (int k = 0; k < u->s->n_choices; k++) {
        if ((a[k] != b[k]) != (k == c)) return 0;
    }
    return 1;
}

/* 1 if the step of choice c from candidate `from` to `to` has made a trial no better. */
static int has_failed(const dt_tuning *u, int c, int from, int to)
{
    for (int i = 0; i < u->n; i++) {
        for (int k = 0; k < u->n; k++) {
            const dt_search_trial *a = &u->trial[i], *b = &u->trial[k];
            if (a->configuration[c] != from || b->configuration[c] != to) continue;
            if (b->score <= a->score && differ_in(u, a->configuration, b->configuration, c)) return 1;
        }
    }
    return 0;
}

static int step_down(const dt_tuning *u, const int *base, int again, int *configuration)
{
    for (int i = 0; i < u->s->n_choices; i++) {
        const int c = u->t->order ? u->t->order[i] : i;
        if (!dt_tuning_is_open(u, c)) continue;
        const int to = lower_candidate(&u->s->choice[c].candidates, base[c]);
        if (to == NONE || (!again && has_failed(u, c, base[c], to))) continue;
        memcpy(configuration, base, (size_t)u->s->n_choices * sizeof *base);
        configuration[c] = to;
        if (!dt_tuning_has(u, configuration)) return 1;
    }
    return 0;
}

static int choose_greedy(const dt_tuning *u, const int *by_score, int n_ranked, int *configuration)
{
    if (n_ranked > 0) {
        const int *base = u->trial[by_score[0]].configuration;
        return step_down(u, base, 0, configuration) || step_down(u, base, 1, configuration);
    }
    for (int c = 0; c < u->s->n_choices; c++) {
        configuration[c] =
            dt_tuning_is_open(u, c) ? lower_candidate(&u->s->choice[c].candidates, NONE) : fixed_value(u, c);
    }
    if (!dt_tuning_has(u, configuration)) return 1;
    return u->n > 0 && step_down(u, u->trial[0].configuration, 0, configuration); /* no result is known yet */
}

/* ---- all of them ---- */

static dt_status choose(dt_tuning *u, int *by_score, int *configuration, int *found)
{
    const int n_ranked = dt_tuning_rank(u, by_score);
    const int is_tpe = u->t->mode == DT_TUNER_TPE, learns = is_tpe || u->t->mode == DT_TUNER_GP;
    const int n_first = u->t->n_first > 0 ? u->t->n_first : is_tpe ? FIRST_TPE : FIRST_GP;

    if (u->t->mode == DT_TUNER_GREEDY) {
        *found = choose_greedy(u, by_score, n_ranked, configuration);
        return DT_OK;
    }
    *found = 0;
    if (learns && n_ranked >= n_first) {
        DT_TRY(is_tpe ? dt_tune_tpe(u, configuration, found) : dt_tune_gp(u, configuration, found));
    }
    if (!*found) *found = choose_random(u, configuration);
    return DT_OK;
}

dt_status dt_tuner_next(const dt_search_space *s, const dt_tuner *t, const dt_search_trial *trials, int n,
                        int *configuration, int *is_new)
{
    dt_tuning u = { .s = s, .t = t, .trial = trials, .n = n };
    int *by_score = malloc(((size_t)n + 1) * sizeof *by_score);

    DT_CHECK(by_score, DT_ERR_MEMORY, "no memory to rank %d trials", n);
    const dt_status status = choose(&u, by_score, configuration, is_new);
    free(by_score);
    return status;
}
