/*
 * tpe.c - the tree-structured Parzen estimator of choices without an order.
 *
 * The best quarter of the trials is good. Of each choice, good and bad trials give each a distribution over the K
 * candidates: (count + 1 / K) / (trials + 1). Configurations are drawn from the good ones' distributions, and the one
 * is taken for which good / bad, multiplied over the choices, is the largest.
 *
 * Source: Bergstra, Bardenet, Bengio, Kegl, "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011, section 4.
 * Tests: tests/quant/test_tuner.c.
 */
#include "tuner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DRAWS = 64, GOOD_SHARE = 4 /* one in */ };

/* Shares of the candidates of choice c among trials, ranked[0..n-1]. */
static void estimate(const dt_tuning *u, int c, const int *ranked, int n, double *share)
{
    const int k = u->s->choice[c].candidates.n;

    for (int v = 0; v < k; v++) share[v] = 1.0 / k;
    for (int i = 0; i < n; i++) {
        const int v = u->trial[ranked[i]].configuration[c];
        if (v >= 0) share[v] += 1.0;
    }
    for (int v = 0; v < k; v++) share[v] /= n + 1;
}

static int draw(dt_tuning *u, const double *share, int n)
{
    double left = dt_tuning_uniform(u);

    for (int v = 0; v < n - 1; v++) {
        left -= share[v];
        if (left < 0.0) return v;
    }
    return n - 1;
}

/* Draws a configuration from the good, and returns the logarithm of good / bad. */
static double draw_good(dt_tuning *u, const double *good, const double *bad, int *configuration)
{
    double ratio = 0.0;

    dt_tuning_draw(u, configuration); /* the frozen ones stay */
    for (int c = 0; c < u->s->n_choices; c++) {
        if (!dt_tuning_is_open(u, c)) continue;
        const int v = draw(u, good + c * DT_CANDIDATES_MOST, u->s->choice[c].candidates.n);
        configuration[c] = v;
        ratio += log(good[c * DT_CANDIDATES_MOST + v] / bad[c * DT_CANDIDATES_MOST + v]);
    }
    return ratio;
}

static void choose(dt_tuning *u, double *share, int *drawn, int *configuration, int *found)
{
    const int n_choices = u->s->n_choices;
    int *ranked = drawn + n_choices;
    const int n = dt_tuning_rank(u, ranked), n_good = (n + GOOD_SHARE - 1) / GOOD_SHARE;
    double *good = share, *bad = share + n_choices * DT_CANDIDATES_MOST, best = -INFINITY;

    for (int c = 0; c < n_choices; c++) {
        estimate(u, c, ranked, n_good, good + c * DT_CANDIDATES_MOST);
        estimate(u, c, ranked + n_good, n - n_good, bad + c * DT_CANDIDATES_MOST);
    }
    for (int i = 0; i < MOST_DRAWS; i++) {
        const double ratio = draw_good(u, good, bad, drawn);
        if (ratio <= best || dt_tuning_has(u, drawn)) continue;
        best = ratio;
        *found = 1;
        memcpy(configuration, drawn, (size_t)n_choices * sizeof *drawn);
    }
}

dt_status dt_tune_tpe(dt_tuning *u, int *configuration, int *found)
{
    const size_t n_choices = (size_t)u->s->n_choices;
    double *share = malloc(2 * n_choices * DT_CANDIDATES_MOST * sizeof *share + 1);
    int *drawn = malloc((n_choices + (size_t)u->n + 1) * sizeof *drawn);

    *found = 0;
    if (share && drawn) choose(u, share, drawn, configuration, found);
    const int has_memory = share && drawn;
    free(share);
    free(drawn);
    DT_CHECK(has_memory, DT_ERR_MEMORY, "no memory to estimate %zu choices", n_choices);
    return DT_OK;
}
