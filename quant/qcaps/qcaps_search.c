/*
 * qcaps_search.c - the search of Q-CapsNets: few bits for weights, activations and routing, with an accuracy within a
 *                  tolerance of the full one and weights within a memory budget.
 *
 *   min = full * (1 - tolerance / 100)
 *
 *   1    The same bits N everywhere: 32, 16, then from N half the last distance down where the accuracy is above
 *        full - 0.05 (full - min), else up, until the distance is 1. N1 is the last N that was above.
 *   2    Weights as the budget allots them (quant/qcaps/qcaps_allot.c), the rest N1; accuracy A2.
 *   If A2 > min:
 *   3A   For l = 0, 1, ..: activations of the layers l, l + 1, .. lose a bit each, again and again while accuracy is
 *        at least A2 - 0.55 (A2 - min), then get one back. Routing bits are set from activation bits each time.
 *   4A   The same with routing bits, down to min: the outcome "satisfied".
 *   Otherwise:
 *   3B   The same with weight bits, down to min, from N1 for all: the outcome "accuracy"; that of step 2 is "memory".
 *   Each of 3A, 4A, 3B ends with a trial of what it arrived at.
 *
 *                        corrected                         published
 *   step 1 fails at 32   N1 = 32                           DT_ERR_RANGE; there an element past a list's end is read
 *   3A, routing bits     follow activations of the same    the k-th routing layer (k = 1, 2) follows layer k, counted
 *                        layer                             from 0: right for shallowcaps, not for deepcaps
 *   4A goes through      all layers that route             those with two iterations or more
 *   fewest bits          1: no lowering below              DT_ERR_RANGE below 0; there 2 to a negative integer power
 *                                                          is an error, except with logarithmic rounding
 *   most bits            32                                no limit
 *   last trial < min     4A: the outcome is "memory";      reported as if it were not
 *                        3B: there is none
 *
 *   A last trial can be below min because stochastic rounding draws anew, or, in 3B, because step 1 failed. Both
 *   searches give a layer one bit more whose first trial in 3A, 4A or 3B is not good.
 *
 * A choice of bits is not measured twice, except with stochastic rounding. If it comes again, it still counts and is
 * reported as a trial.
 *
 * Source: Marchisio et al., "Q-CapsNets", DAC 2020, and the code published with it; corrected: its authors' revision of
 *         2022, with bounds. Tests: tests/quant/test_qcaps_search.c, tests/quant/test_qcaps_search_random.c.
 */
#include "qcaps.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_BITS = 32, MAX_KNOWN = 128 /* a search takes about 100 trials at most */ };

typedef struct {
    const dt_qcaps_shape *shape;
    const dt_qcaps_options *opt;
    dt_qcaps_judge judge;
    const dt_qcaps_watch *watch; /* may be NULL */
    int n_trials;
    int n_known;
    struct {
        dt_qcaps_bits bits;
        double accuracy;
    } known[MAX_KNOWN];
} search;

typedef enum { WEIGHTS, ACTIVATIONS, ROUTING } quantity;

/* A step that lowers one quantity, layer after layer. */
typedef struct {
    const char *step;
    quantity of;
    double floor; /* %: the accuracy that is still good */
} descent;

static dt_status measure_once(search *s, const dt_qcaps_bits *bits, double *accuracy)
{
    for (int i = 0; i < s->n_known; i++) {
        if (memcmp(&s->known[i].bits, bits, sizeof *bits) != 0) continue;
        *accuracy = s->known[i].accuracy;
        return DT_OK;
    }
    const int is_known =
        s->watch && s->watch->known && s->watch->known(s->watch->user, s->n_trials + 1, bits, accuracy);
    if (!is_known) DT_TRY(s->judge.measure(s->judge.user, bits, accuracy));
    if (s->opt->rounding == DT_ROUND_STOCHASTIC || s->n_known == MAX_KNOWN) return DT_OK;
    s->known[s->n_known].bits = *bits;
    s->known[s->n_known++].accuracy = *accuracy;
    return DT_OK;
}

static dt_status test(search *s, const char *step, const dt_qcaps_bits *bits, double *accuracy)
{
    DT_TRY(measure_once(s, bits, accuracy));
    s->n_trials++;
    if (!s->watch || !s->watch->trial) return DT_OK;

    const dt_qcaps_trial t = { .step = step, .trial = s->n_trials, .bits = *bits, .accuracy = *accuracy };
    DT_CHECK(!s->watch->trial || s->watch->trial(s->watch->user, &t) == 0, DT_ERR_INTERRUPTED, "stopped after trial %d",
             t.trial);
    return DT_OK;
}

static dt_status find_uniform(search *s, double floor, int *out)
{
    int n = MOST_BITS, last = 2 * MOST_BITS, good = 0;

    for (;;) {
        const dt_qcaps_bits bits = dt_qcaps_uniform(s->shape, n);
        const int distance = abs(n - last);
        double accuracy;

        DT_TRY(test(s, "1", &bits, &accuracy));
        if (accuracy > floor) good = n;
        if (distance == 1 || good == 0) break;
        last = n;
        n += accuracy > floor ? -distance / 2 : distance / 2;
    }
    DT_CHECK(good > 0 || !s->opt->published, DT_ERR_RANGE,
             "accuracy with %d bits is not above %.4f %%, where the published code ends with an error; take a larger "
             "tolerance, another rounding, or the corrected search",
             MOST_BITS, floor);
    *out = good > 0 ? good : MOST_BITS;
    return DT_OK;
}

static int *bits_of(quantity of, dt_qcaps_bits *b)
{
    switch (of) {
    case WEIGHTS: return b->weight;
    case ACTIVATIONS: return b->activation;
    case ROUTING: break;
    }
    return b->routing;
}

static int has(const search *s, quantity of, int layer)
{
    return of != ROUTING || s->shape->layer[layer].routes > 0;
}

static int lowest(const search *s, quantity of, int first, dt_qcaps_bits *b)
{
    const int *q = bits_of(of, b);
    int low = q[first];

    for (int l = first; l < s->shape->n_layers; l++) {
        if (has(s, of, l) && q[l] < low) low = q[l];
    }
    return low;
}

static void follow_activations(const search *s, dt_qcaps_bits *b)
{
    int n_routing = 0;

    for (int l = 0; l < s->shape->n_layers; l++) {
        if (!has(s, ROUTING, l)) continue;
        n_routing++;
        b->routing[l] = b->activation[s->opt->published ? n_routing : l];
    }
}

/* Of the layers from first on; by: +1 or -1. */
static void change(const search *s, quantity of, int first, int by, dt_qcaps_bits *b)
{
    int *q = bits_of(of, b);

    for (int l = first; l < s->shape->n_layers; l++) {
        if (!has(s, of, l)) continue;
        q[l] += by;
        if (q[l] > MOST_BITS && !s->opt->published) q[l] = MOST_BITS;
    }
    if (of == ACTIVATIONS) follow_activations(s, b);
}

static dt_status descend_from(search *s, const descent *d, int first, dt_qcaps_bits *b)
{
    for (;;) {
        const int low = lowest(s, d->of, first, b);
        double accuracy;

        DT_TRY(test(s, d->step, b, &accuracy));
        if (!(accuracy >= d->floor)) {
            change(s, d->of, first, 1, b);
            return DT_OK;
        }
        if (low == 1 && !s->opt->published) return DT_OK;
        DT_CHECK(low > 0, DT_ERR_RANGE,
                 "step %s, %s: 0 bits still give %.2f %%, where the published code ends with an error; take a smaller "
                 "tolerance, or the corrected search",
                 d->step, s->shape->layer[first].name, accuracy);
        change(s, d->of, first, -1, b);
    }
}

/* b and accuracy: of the last trial. */
static dt_status descend(search *s, const descent *d, dt_qcaps_bits *b, double *accuracy)
{
    const int fewest_routes = s->opt->published ? 2 : 1;

    for (int l = 0; l < s->shape->n_layers; l++) {
        if (d->of == ROUTING && s->shape->layer[l].routes < fewest_routes) continue;
        DT_TRY(descend_from(s, d, l, b));
    }
    return test(s, d->step, b, accuracy);
}

/* Steps 3A and 4A, from step 2's bits and accuracy. */
static dt_status lower_activations(search *s, const dt_qcaps_outcome *step2, dt_qcaps_result *r)
{
    const double min = r->min_accuracy;
    const descent activations = { "3A", ACTIVATIONS, step2->accuracy - 0.55 * (step2->accuracy - min) };
    const descent routing = { "4A", ROUTING, min };
    dt_qcaps_outcome end = *step2;

    DT_TRY(descend(s, &activations, &end.bits, &end.accuracy));
    DT_TRY(descend(s, &routing, &end.bits, &end.accuracy));
    if (end.accuracy >= min || s->opt->published)
        r->satisfied = end;
    else
        r->memory = end;
    return DT_OK;
}

/* Step 3B. */
static dt_status lower_weights(search *s, const dt_qcaps_outcome *step2, dt_qcaps_result *r)
{
    const descent weights = { "3B", WEIGHTS, r->min_accuracy };
    dt_qcaps_outcome end = { .bits = dt_qcaps_uniform(s->shape, r->uniform_bits) };

    DT_TRY(descend(s, &weights, &end.bits, &end.accuracy));
    end.present = end.accuracy >= r->min_accuracy || s->opt->published;
    r->memory = *step2;
    r->accuracy = end;
    return DT_OK;
}

dt_status dt_qcaps_run(const dt_qcaps_shape *shape, const dt_qcaps_options *opt, double full_accuracy,
                       const dt_qcaps_judge *judge, const dt_qcaps_watch *watch, dt_qcaps_result *out)
{
    search s = { .shape = shape, .opt = opt, .judge = *judge, .watch = watch };
    const double tolerance = (double)opt->accuracy_tolerance;
    dt_qcaps_result r = { .full_accuracy = full_accuracy, .min_accuracy = full_accuracy * (1.0 - tolerance / 100.0) };
    dt_qcaps_outcome step2 = { .present = 1 };

    DT_CHECK(tolerance >= 0.0 && tolerance <= 100.0, DT_ERR_ARGUMENT, "accuracy tolerance %g %%, allowed are 0..100",
             tolerance);
    DT_TRY(dt_qcaps_allot(shape, opt, MOST_BITS, &step2.bits)); /* a budget that is too small is said at once */
    DT_CHECK(!opt->published || shape->layer[0].routes == 0, DT_ERR_UNSUPPORTED,
             "%s routes; the published search is for networks whose first layer does not", shape->layer[0].name);

    DT_TRY(find_uniform(&s, full_accuracy - 0.05 * (full_accuracy - r.min_accuracy), &r.uniform_bits));
    DT_TRY(dt_qcaps_allot(shape, opt, r.uniform_bits, &step2.bits));
    DT_TRY(test(&s, "2", &step2.bits, &step2.accuracy));
    if (step2.accuracy > r.min_accuracy)
        DT_TRY(lower_activations(&s, &step2, &r));
    else
        DT_TRY(lower_weights(&s, &step2, &r));
    r.n_trials = s.n_trials;
    *out = r;
    return DT_OK;
}
