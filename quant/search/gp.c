/*
 * gp.c - a Gaussian process over configurations, and the one that promises most.
 *
 *   x of a choice   (index + 1/2) / candidates, the middle of its slot in [0, 1]
 *   kernel          Matern 5/2: (1 + s + s^2 / 3) exp(-s), s = sqrt(5) |x - x'| / length
 *   y               scores less their mean, divided by their deviation; 1e-4 on the diagonal
 *   taken           the configuration with the largest mu + 2.6 sigma
 *
 * The length is that of a few with the largest likelihood. Configurations that are judged are draws, and all that
 * differ from one of the best trials in one choice: the space has no gradient to climb.
 *
 * Source: keras-tuner's Bayesian oracle, which AutoQKeras uses: kernel, noise and 2.6; Rasmussen and Williams,
 * "Gaussian Processes for Machine Learning", 2006, algorithm 2.1.  Tests: tests/quant/test_tuner.c.
 */
#include "tuner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DRAWS = 1000, N_LENGTHS = 6, N_BEST = 5 };

#define NOISE 1e-4
#define BETA  2.6

typedef struct {
    dt_tuning *u;
    int n;          /* trials with a score */
    int *ranked;    /* [n] their indices, the best first */
    double *y;      /* [n] normalised */
    double *factor; /* [n][n] lower triangle L of the kernel matrix L L' */
    double *solved; /* [n] inverse matrix times y */
    double *k;      /* [n] room */
    double length;
    int *drawn;       /* [n_choices] room */
    double best;      /* the largest mu + 2.6 sigma */
    int *out, *found; /* the configuration that has it */
} process;

static double square(double x)
{
    return x * x;
}

/* A choice that is frozen as real has no slot, and is equal in all trials that have it so. */
static double distance(const process *p, const int *a, const int *b)
{
    double sum = 0.0;

    for (int c = 0; c < p->u->s->n_choices; c++) sum += square((double)(a[c] - b[c]) / p->u->s->choice[c].candidates.n);
    return sqrt(sum);
}

static double kernel(const process *p, const int *a, const int *b)
{
    const double s = sqrt(5.0) * distance(p, a, b) / p->length;

    return (1.0 + s + s * s / 3.0) * exp(-s);
}

static const int *configuration_of(const process *p, int i)
{
    return p->u->trial[p->ranked[i]].configuration;
}

/* x becomes the solution of L x = x, in place. */
static void solve_lower(const process *p, double *x)
{
    for (int i = 0; i < p->n; i++) {
        for (int k = 0; k < i; k++) x[i] -= p->factor[i * p->n + k] * x[k];
        x[i] /= p->factor[i * p->n + i];
    }
}

/* x becomes the solution of L' x = x, in place. */
static void solve_upper(const process *p, double *x)
{
    for (int i = p->n - 1; i >= 0; i--) {
        for (int k = i + 1; k < p->n; k++) x[i] -= p->factor[k * p->n + i] * x[k];
        x[i] /= p->factor[i * p->n + i];
    }
}

static void factorize(const process *p)
{
    for (int i = 0; i < p->n; i++) {
        for (int k = 0; k <= i; k++) {
            double sum = kernel(p, configuration_of(p, i), configuration_of(p, k)) + (i == k ? NOISE : 0.0);
            for (int j = 0; j < k; j++) sum -= p->factor[i * p->n + j] * p->factor[k * p->n + j];
            p->factor[i * p->n + k] = i == k ? sqrt(fmax(sum, NOISE / 2)) : sum / p->factor[k * p->n + k];
        }
    }
}

/* Fits the process of p->length, and returns the logarithm of its likelihood, but for a constant. */
static double fit(process *p)
{
    double likelihood = 0.0;

    factorize(p);
    memcpy(p->solved, p->y, (size_t)p->n * sizeof *p->y);
    solve_lower(p, p->solved);
    solve_upper(p, p->solved);
    for (int i = 0; i < p->n; i++) likelihood -= 0.5 * p->y[i] * p->solved[i] + log(p->factor[i * p->n + i]);
    return likelihood;
}

static void fit_length(process *p)
{
    double best = -INFINITY, length = 1.0;

    for (int i = 0; i < N_LENGTHS; i++) {
        p->length = 0.125 * (double)(1 << i);
        const double likelihood = fit(p);
        if (likelihood > best) length = p->length;
        if (likelihood > best) best = likelihood;
    }
    p->length = length;
    fit(p);
}

static void normalise(process *p)
{
    double mean = 0.0, variance = 0.0;

    for (int i = 0; i < p->n; i++) mean += p->u->trial[p->ranked[i]].score / p->n;
    for (int i = 0; i < p->n; i++) variance += square(p->u->trial[p->ranked[i]].score - mean) / p->n;
    const double deviation = variance > 0.0 ? sqrt(variance) : 1.0;
    for (int i = 0; i < p->n; i++) p->y[i] = (p->u->trial[p->ranked[i]].score - mean) / deviation;
}

/* What p->drawn promises; it is kept if that is the most. */
static void judge(process *p)
{
    double mu = 0.0, variance = 1.0 + NOISE;

    if (dt_tuning_has(p->u, p->drawn)) return;
    for (int i = 0; i < p->n; i++) p->k[i] = kernel(p, p->drawn, configuration_of(p, i));
    for (int i = 0; i < p->n; i++) mu += p->k[i] * p->solved[i];
    solve_lower(p, p->k);
    for (int i = 0; i < p->n; i++) variance -= p->k[i] * p->k[i];
    const double promise = mu + BETA * sqrt(fmax(variance, 0.0));
    if (promise <= p->best) return;
    p->best = promise;
    *p->found = 1;
    memcpy(p->out, p->drawn, (size_t)p->u->s->n_choices * sizeof *p->out);
}

/* All that differ from trial i in one choice. */
static void judge_neighbours(process *p, int i)
{
    const int *base = configuration_of(p, i);

    for (int c = 0; c < p->u->s->n_choices; c++) {
        if (!dt_tuning_is_open(p->u, c)) continue;
        for (int v = 0; v < p->u->s->choice[c].candidates.n; v++) {
            dt_tuning_draw(p->u, p->drawn); /* frozen choices may have been others in that trial */
            for (int k = 0; k < p->u->s->n_choices; k++) {
                if (dt_tuning_is_open(p->u, k) && base[k] >= 0) p->drawn[k] = base[k];
            }
            p->drawn[c] = v;
            judge(p);
        }
    }
}

static void choose(process *p)
{
    normalise(p);
    fit_length(p);
    p->best = -INFINITY;
    for (int i = 0; i < DRAWS; i++) {
        dt_tuning_draw(p->u, p->drawn);
        judge(p);
    }
    for (int i = 0; i < p->n && i < N_BEST; i++) judge_neighbours(p, i);
}

dt_status dt_tune_gp(dt_tuning *u, int *configuration, int *found)
{
    process p = { .u = u, .out = configuration, .found = found };

    *found = 0;
    p.ranked = malloc(((size_t)u->n + 1) * sizeof *p.ranked);
    p.drawn = malloc(((size_t)u->s->n_choices + 1) * sizeof *p.drawn);
    if (p.ranked) p.n = dt_tuning_rank(u, p.ranked);
    const size_t n = (size_t)p.n + 1;
    p.y = malloc(n * sizeof *p.y);
    p.solved = malloc(n * sizeof *p.solved);
    p.k = malloc(n * sizeof *p.k);
    p.factor = malloc(n * n * sizeof *p.factor);
    const int has_memory = p.ranked && p.drawn && p.y && p.solved && p.k && p.factor;
    if (has_memory) choose(&p);
    free(p.ranked);
    free(p.drawn);
    free(p.y);
    free(p.solved);
    free(p.k);
    free(p.factor);
    DT_CHECK(has_memory, DT_ERR_MEMORY, "no memory for a Gaussian process of %d trials", u->n);
    return DT_OK;
}
