/*
 * test_tuner.c - the choice of the next trial: that it depends on seed and results alone, never comes twice, holds to
 * what is frozen, and that the ways that learn find what a function rewards, sooner than draws do.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "detent/search.h"

enum { CHOICES = 8, CANDIDATES = 4, MOST = 300, SMALL = 3 };

/* A space made up: CHOICES of 2, 4, 6, 8 bits. */
typedef struct {
    dt_search_choice choice[CHOICES];
    dt_search_space space;
    int configuration[MOST][CHOICES];
    dt_search_trial trial[MOST];
    int n;
} search;

static void open_search(search *s, int n_choices)
{
    memset(s, 0, sizeof *s);
    for (int c = 0; c < n_choices; c++) {
        s->choice[c] = (dt_search_choice){ "choice", DT_CHOICE_KERNEL, { { 4, 8, 2, 6 }, CANDIDATES } };
    }
    s->space = (dt_search_space){ .choice = s->choice, .n_choices = n_choices };
}

static int next(search *s, const dt_tuner *t)
{
    int is_new = 0;
    cr_assert(s->n < MOST);
    cr_assert(dt_tuner_next(&s->space, t, s->trial, s->n, s->configuration[s->n], &is_new) == DT_OK, "%s",
              dt_last_error());
    s->trial[s->n] = (dt_search_trial){ s->configuration[s->n], NAN };
    return is_new;
}

/* Choice c wants the bits of candidate c % 4, and every third choice counts most. */
static double reward(const int *configuration)
{
    double sum = 0.0;
    for (int c = 0; c < CHOICES; c++) sum += (configuration[c] == c % CANDIDATES) * (c % 3 == 0 ? 3.0 : 1.0);
    return sum;
}

/* The best of n trials. */
static double best_of(const dt_tuner *t, int n)
{
    static search s;
    double best = -INFINITY;
    open_search(&s, CHOICES);
    for (s.n = 0; s.n < n; s.n++) {
        cr_assert(next(&s, t));
        s.trial[s.n].score = reward(s.configuration[s.n]);
        best = fmax(best, s.trial[s.n].score);
    }
    return best;
}

static double mean_best(dt_tuner_mode mode, int n)
{
    double sum = 0.0;
    for (uint64_t seed = 0; seed < 8; seed++) sum += best_of(&(dt_tuner){ .mode = mode, .seed = seed }, n) / 8;
    return sum;
}

/* All 14 points of 8 choices, of which draws alone find about 9 in 40 trials. */
Test(tuner, those_that_learn_beat_draws)
{
    const double random = mean_best(DT_TUNER_RANDOM, 40), tpe = mean_best(DT_TUNER_TPE, 40),
                 gp = mean_best(DT_TUNER_GP, 40);
    cr_assert(tpe > random + 1.0, "TPE %g, random %g", tpe, random);
    cr_assert(gp > random + 1.0, "GP %g, random %g", gp, random);
}

/* Seed and results alone: a search that is begun anew from its first trials goes on as it did. */
Test(tuner, a_search_that_goes_on_chooses_the_same)
{
    for (int mode = 0; dt_tuner_mode_names[mode]; mode++) {
        static search a, b;
        const dt_tuner t = { .mode = (dt_tuner_mode)mode, .seed = 42 };
        open_search(&a, CHOICES);
        for (a.n = 0; a.n < 25 && next(&a, &t); a.n++) a.trial[a.n].score = -reward(a.configuration[a.n]);
        for (int cut = 0; cut < a.n; cut += 3) {
            open_search(&b, CHOICES);
            memcpy(b.configuration, a.configuration, sizeof b.configuration);
            memcpy(b.trial, a.trial, sizeof b.trial);
            b.n = cut;
            cr_assert(next(&b, &t));
            cr_assert(memcmp(a.configuration[cut], b.configuration[cut], sizeof a.configuration[cut]) == 0,
                      "%s: trial %d is another", dt_tuner_mode_names[mode], cut);
        }
    }
}

Test(tuner, another_seed_is_another_search)
{
    static search a, b;
    open_search(&a, CHOICES);
    open_search(&b, CHOICES);
    next(&a, &(dt_tuner){ .seed = 1 });
    next(&b, &(dt_tuner){ .seed = 2 });
    cr_assert(memcmp(a.configuration[0], b.configuration[0], sizeof a.configuration[0]) != 0);
}

/* 4^3 configurations: each comes once, then none is left. */
Test(tuner, no_configuration_comes_twice)
{
    static const dt_tuner_mode modes[] = { DT_TUNER_RANDOM, DT_TUNER_TPE, DT_TUNER_GP };
    for (int m = 0; m < 3; m++) {
        static search s;
        const dt_tuner t = { .mode = modes[m], .seed = 7 };
        int seen[64] = { 0 };
        open_search(&s, SMALL);
        for (s.n = 0; s.n < 64; s.n++) {
            cr_assert(next(&s, &t), "mode %d: trial %d", m, s.n);
            s.trial[s.n].score = s.n % 5;
            const int *c = s.configuration[s.n];
            cr_assert(seen[16 * c[0] + 4 * c[1] + c[2]]++ == 0);
        }
        cr_assert(!next(&s, &t), "a 65th of 64");
    }
}

Test(tuner, frozen_choices_stay)
{
    static const int frozen[CHOICES] = {
        2, DT_SEARCH_OPEN, DT_SEARCH_REAL, DT_SEARCH_OPEN, DT_SEARCH_OPEN, DT_SEARCH_OPEN, 1, DT_SEARCH_OPEN
    };
    for (int mode = 0; dt_tuner_mode_names[mode]; mode++) {
        static search s;
        const dt_tuner t = { .mode = (dt_tuner_mode)mode, .frozen = frozen };
        open_search(&s, CHOICES);
        for (s.n = 0; s.n < 20 && next(&s, &t); s.n++) {
            s.trial[s.n].score = reward(s.configuration[s.n]);
            for (int c = 0; c < CHOICES; c++) {
                cr_assert(frozen[c] == DT_SEARCH_OPEN || s.configuration[s.n][c] == frozen[c], "%s: choice %d",
                          dt_tuner_mode_names[mode], c);
            }
        }
        cr_assert(s.n > 10);
    }
}

/* ---- greedy: candidates 4, 8, 2, 6 by their index are 1 (8 bits), 3 (6), 0 (4), 2 (2) downwards */

/* Choice 0 may fall to 4 bits, choice 1 not at all, choice 2 to 2 bits; each bit less is a gain. */
static double greedy_score(const int *c, const search *s)
{
    static const int need[SMALL] = { 4, 8, 2 };
    double score = 0.0;
    for (int k = 0; k < SMALL; k++) {
        const int bits = s->choice[k].candidates.value[c[k]];
        score -= bits < need[k] ? 100.0 : bits;
    }
    return score;
}

Test(tuner, greedy_goes_down_in_the_order_and_leaves_what_fails)
{
    static const int order[SMALL] = { 2, 0, 1 };
    static const int want[][SMALL] = { { 1, 1, 1 }, { 1, 1, 3 }, { 1, 1, 0 }, { 1, 1, 2 },
                                       { 3, 1, 2 }, { 0, 1, 2 }, { 2, 1, 2 }, { 0, 3, 2 } };
    static search s;
    const dt_tuner t = { .mode = DT_TUNER_GREEDY, .order = order };
    open_search(&s, SMALL);
    for (s.n = 0; next(&s, &t); s.n++) {
        cr_assert(s.n < 8, "trial %d", s.n);
        for (int c = 0; c < SMALL; c++) {
            cr_assert(s.configuration[s.n][c] == want[s.n][c], "trial %d, choice %d: %d, expected %d", s.n, c,
                      s.configuration[s.n][c], want[s.n][c]);
        }
        s.trial[s.n].score = greedy_score(s.configuration[s.n], &s);
    }
    cr_assert(s.n == 8, "ends after %d trials", s.n);
}

/* Trials that run side by side, whose scores are not known yet, are others. */
Test(tuner, greedy_has_other_steps_while_results_are_missing)
{
    static search s;
    const dt_tuner t = { .mode = DT_TUNER_GREEDY };
    open_search(&s, SMALL);
    for (s.n = 0; s.n < 3; s.n++) cr_assert(next(&s, &t));
    cr_assert(s.configuration[1][0] == 3 && s.configuration[2][1] == 3);
}
