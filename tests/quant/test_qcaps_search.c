/*
 * test_qcaps_search.c - the search of Q-CapsNets on accuracies made up here: which bits it tries, where it ends, and
 * what it does at the edges.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../support/draws.h"
#include "../support/qcaps_shapes.h"

enum { MOST_TRIALS = 400, NEVER = 33 };

/* A network made up: `good` % while no layer has fewer bits than it needs, else `bad`; less `slope` for each bit that a
 * layer has below `from`. It keeps what it was asked and what was reported. */
typedef struct {
    int n_layers;
    int weight[DT_QCAPS_LAYERS], activation[DT_QCAPS_LAYERS], routing[DT_QCAPS_LAYERS];
    double good, bad;
    int weight_from, activation_from, routing_from;
    double weight_slope, activation_slope, routing_slope;
    draws noise;
    int fail_at, stop_at; /* a measurement that fails, a trial that stops; 0: none */
    int n_measured, n_trials;
    dt_qcaps_bits measured[MOST_TRIALS];
    dt_qcaps_trial trial[MOST_TRIALS];
} network;

static double loss(int bits, int from, double slope)
{
    return bits < from ? slope * (from - bits) : 0.0;
}

static dt_status measure(void *user, const dt_qcaps_bits *b, double *accuracy)
{
    network *net = user;
    cr_assert(net->n_measured < MOST_TRIALS);
    net->measured[net->n_measured++] = *b;
    if (net->n_measured == net->fail_at) return dt_raise(DT_ERR_DEVICE, __FILE__, __LINE__, "the device is gone");
    *accuracy = net->good;
    for (int l = 0; l < net->n_layers; l++) {
        if (b->weight[l] < net->weight[l] || b->activation[l] < net->activation[l] || b->routing[l] < net->routing[l]) {
            *accuracy = net->bad;
        }
        *accuracy -= loss(b->weight[l], net->weight_from, net->weight_slope);
        *accuracy -= loss(b->activation[l], net->activation_from, net->activation_slope);
        *accuracy -= b->routing[l] > 0 ? loss(b->routing[l], net->routing_from, net->routing_slope) : 0.0;
    }
    return DT_OK;
}

static int on_trial(void *user, const dt_qcaps_trial *t)
{
    network *net = user;
    cr_assert(net->n_trials < MOST_TRIALS && t->trial == net->n_trials + 1);
    net->trial[net->n_trials++] = *t;
    return net->n_trials == net->stop_at;
}

static dt_status search(int shape, const dt_qcaps_options *o, network *net, double full, dt_qcaps_result *r)
{
    const dt_qcaps_judge judge = { measure, net };
    const dt_qcaps_watch watch = { .trial = on_trial, .user = net };
    net->n_layers = qcaps_shapes[shape].n_layers;
    return dt_qcaps_run(&qcaps_shapes[shape], o, full, &judge, &watch, r);
}

static dt_qcaps_result searched(int shape, const dt_qcaps_options *o, network *net, double full)
{
    dt_qcaps_result r;
    cr_assert(search(shape, o, net, full, &r) == DT_OK, "%s", dt_last_error());
    cr_assert(r.n_trials == net->n_trials && r.full_accuracy == full);
    return r;
}

static dt_qcaps_options options(float budget, float tolerance)
{
    dt_qcaps_options o = qcaps_options(budget, 0);
    o.accuracy_tolerance = tolerance;
    return o;
}

static void same_bits(const int *is, const int *want, int n, const char *what)
{
    for (int l = 0; l < n; l++) {
        cr_assert(is[l] == want[l], "%s: layer %d has %d bits, expected %d", what, l, is[l], want[l]);
    }
}

static int count_step(const network *net, const char *step)
{
    int n = 0;
    for (int i = 0; i < net->n_trials; i++) n += strcmp(net->trial[i].step, step) == 0;
    return n;
}

/* ---- step 1 */

static void needs_everywhere(network *net, int bits)
{
    for (int l = 0; l < DT_QCAPS_LAYERS; l++) net->weight[l] = net->activation[l] = bits;
}

static void visits(int bits, const int *want, int n)
{
    network net = { .good = 99.0, .bad = 10.0 };
    const dt_qcaps_options o = options(20.0f, 0.2f);
    needs_everywhere(&net, bits);
    const dt_qcaps_result r = searched(SHALLOW, &o, &net, 99.0);

    cr_assert(r.uniform_bits == (bits > 32 ? 32 : bits), "%d bits are needed, %d found", bits, r.uniform_bits);
    cr_assert(count_step(&net, "1") == n, "%d bits: %d trials, expected %d", bits, count_step(&net, "1"), n);
    for (int i = 0; i < n; i++) {
        const dt_qcaps_bits *b = &net.trial[i].bits;
        same_bits(b->weight, (const int[]){ want[i], want[i], want[i], 0 }, 4, "weights");
        same_bits(b->activation, (const int[]){ want[i], want[i], want[i], 0 }, 4, "activations");
        same_bits(b->routing, (const int[]){ 0, want[i], want[i], 0 }, 4, "routing");
    }
}

Test(qcaps_search, visits_of_step_1)
{
    visits(7, (const int[]){ 32, 16, 8, 4, 6, 7 }, 6);
    visits(8, (const int[]){ 32, 16, 8, 4, 6, 7 }, 6);
    visits(11, (const int[]){ 32, 16, 8, 12, 10, 11 }, 6);
    visits(12, (const int[]){ 32, 16, 8, 12, 10, 11 }, 6);
    visits(31, (const int[]){ 32, 16, 24, 28, 30, 31 }, 6);
    visits(32, (const int[]){ 32, 16, 24, 28, 30, 31 }, 6);
    visits(1, (const int[]){ 32, 16, 8, 4, 2, 1 }, 6);
    visits(33, (const int[]){ 32 }, 1);
}

Test(qcaps_search, step_1_finds_every_threshold)
{
    for (int bits = 1; bits <= 32; bits++) {
        network net = { .good = 99.0, .bad = 10.0 };
        const dt_qcaps_options o = options(20.0f, 0.2f);
        needs_everywhere(&net, bits);
        cr_assert(searched(DEEP28, &o, &net, 99.0).uniform_bits == bits && count_step(&net, "1") == 6, "%d", bits);
    }
}

/* 95 % of the slack stay: with a tolerance of 10 %, what is above 99.5 of 100 is good. Three layers lose `slope` each
 * for each bit below 9. */
Test(qcaps_search, step_1_spends_5_percent_of_the_slack)
{
    static const struct {
        double slope;
        int bits;
    } rows[] = { { 0.5 / 3 + 1e-9, 9 }, { 0.5 / 3 - 1e-9, 8 }, { 0.5 / 6 + 1e-9, 8 }, { 0.5 / 6 - 1e-9, 7 }, { 0, 1 } };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        network net = { .good = 100.0, .weight_from = 9, .weight_slope = rows[i].slope };
        const dt_qcaps_options o = options(20.0f, 10.0f);
        const dt_qcaps_result r = searched(SHALLOW, &o, &net, 100.0);
        cr_assert(r.uniform_bits == rows[i].bits, "slope %g: %d bits, expected %d", rows[i].slope, r.uniform_bits,
                  rows[i].bits);
    }
}

/* Good at 16 and 10, not between: 10 is never visited, and of the visits the last good one counts. */
static dt_status measure_gaps(void *user, const dt_qcaps_bits *b, double *accuracy)
{
    const int n = b->weight[0];
    (void)user;
    *accuracy = n == 32 || n == 16 || n == 10 ? 99.0 : 10.0;
    return DT_OK;
}

Test(qcaps_search, step_1_takes_the_last_that_was_good)
{
    const dt_qcaps_options o = options(1.0f, 0.2f);
    const dt_qcaps_judge judge = { measure_gaps, NULL };
    dt_qcaps_result r; /* 32 good, 16 good, 8 not, 12 not, 14 not, 15 not */
    cr_assert(dt_qcaps_run(&qcaps_shapes[SHALLOW], &o, 99.0, &judge, NULL, &r) == DT_OK);
    cr_assert(r.uniform_bits == 16, "%d", r.uniform_bits);
}

/* ---- branch A */

Test(qcaps_search, satisfied_shallowcaps)
{
    network net = {
        .weight = { 4, 4, 4 }, .activation = { 7, 5, 4 }, .routing = { 0, 3, 2 }, .good = 99.5, .bad = 20.0
    };
    const dt_qcaps_options o = options(4.0f, 0.2f);
    const dt_qcaps_result r = searched(SHALLOW, &o, &net, 99.5);

    cr_assert(r.uniform_bits == 7 && fabs(r.min_accuracy - 99.301) < 1e-6);
    cr_assert(r.satisfied.present && !r.memory.present && !r.accuracy.present && r.satisfied.accuracy == 99.5);
    same_bits(r.satisfied.bits.weight, (const int[]){ 6, 5, 4 }, 3, "weights"); /* of 4 MiB */
    same_bits(r.satisfied.bits.activation, (const int[]){ 7, 5, 4 }, 3, "activations");
    same_bits(r.satisfied.bits.routing, (const int[]){ 0, 3, 2 }, 3, "routing"); /* 5 and 4 together to 3 and 2 */
    cr_assert(count_step(&net, "2") == 1 && count_step(&net, "3B") == 0);
    cr_assert(count_step(&net, "3A") == 2 + 4 + 3 + 1, "%d", count_step(&net, "3A"));
    cr_assert(count_step(&net, "4A") == 4 + 2 + 1, "%d", count_step(&net, "4A"));
}

/* 55 % of the slack go to activations, which so may cost 4.4 of the 8 between 98 and 90, 0.17 a bit and layer: 8 bits
 * in each of three layers, 1 more in the last. Routing may cost the rest, 3.75, at 0.6 a bit and layer below 7. */
Test(qcaps_search, slack_of_activations_and_of_routing)
{
    network net = {
        .good = 98.0, .activation_from = 16, .activation_slope = 0.17, .routing_from = 7, .routing_slope = 0.6
    };
    const dt_qcaps_options o = options(20.0f, 10.0f);
    const dt_qcaps_result r = searched(SHALLOW, &o, &net, 100.0);

    cr_assert(r.uniform_bits == 32); /* 98 is not above 99.5 */
    same_bits(r.satisfied.bits.activation, (const int[]){ 8, 8, 7 }, 3, "activations");
    same_bits(r.satisfied.bits.routing, (const int[]){ 0, 5, 3 }, 3, "routing");
    cr_assert(fabs(r.satisfied.accuracy - (98.0 - 25 * 0.17 - 6 * 0.6)) < 1e-9, "%g", r.satisfied.accuracy);
}

/* Step 2 must be above the minimum; steps 3B and 4A may go down to it. */
Test(qcaps_search, step_2_on_the_minimum_fails)
{
    network net = { .weight = { 8 }, .good = 100.0, .bad = 75.0 };
    const dt_qcaps_options o = options(4.0f, 25.0f); /* 6, 5, 4 bits */
    const dt_qcaps_result r = searched(SHALLOW, &o, &net, 100.0);
    cr_assert(r.min_accuracy == 75.0 && !r.satisfied.present && r.memory.present && r.memory.accuracy == 75.0);
    cr_assert(r.accuracy.present && r.accuracy.accuracy == 75.0);
    same_bits(r.accuracy.bits.weight, (const int[]){ 1, 1, 1 }, 3, "weights");
    net = (network){ .weight = { 8 }, .good = 100.0, .bad = 75.5 };
    cr_assert(searched(SHALLOW, &o, &net, 100.0).satisfied.present);
}

Test(qcaps_search, step_4A_goes_down_to_the_minimum_itself)
{
    for (int below = 0; below < 2; below++) {
        network net = { .activation = { 8, 8, 8 }, .routing = { 0, 4, 4 }, .good = 100.0, .bad = 75.0 - below };
        const dt_qcaps_options o = options(4.0f, 25.0f);
        const dt_qcaps_result r = searched(SHALLOW, &o, &net, 100.0);
        const int routing = below ? 4 : 1;
        same_bits(r.satisfied.bits.activation, (const int[]){ 8, 8, 8 }, 3, "activations");
        same_bits(r.satisfied.bits.routing, (const int[]){ 0, routing, routing }, 3, "routing");
    }
}

/* ---- branch B */

Test(qcaps_search, memory_and_accuracy)
{
    network net = { .weight = { 9, 4, 7, 6, 3, 5 }, .activation = { 5, 5, 5, 5, 5, 5 }, .good = 91.0, .bad = 30.0 };
    const dt_qcaps_options o = options(4.0f, 1.0f);
    const dt_qcaps_result r = searched(DEEP28, &o, &net, 91.0);

    cr_assert(!r.satisfied.present && r.memory.present && r.accuracy.present && r.uniform_bits == 9);
    cr_assert(r.memory.accuracy == 30.0 && r.accuracy.accuracy == 91.0);
    same_bits(r.memory.bits.weight, (const int[]){ 6, 5, 4, 3, 2, 2 }, 6, "weights of memory");
    same_bits(r.accuracy.bits.weight, (const int[]){ 9, 7, 7, 6, 5, 5 }, 6, "weights of accuracy");
    for (int l = 0; l < 6; l++) {
        const int routing = l >= 4 ? 9 : 0;
        cr_assert(r.memory.bits.activation[l] == 9 && r.accuracy.bits.activation[l] == 9);
        cr_assert(r.memory.bits.routing[l] == routing && r.accuracy.bits.routing[l] == routing);
    }
    cr_assert(count_step(&net, "3A") == 0 && count_step(&net, "4A") == 0);
    cr_assert(count_step(&net, "3B") == 2 + 4 + 2 + 3 + 3 + 2 + 1, "%d", count_step(&net, "3B"));
}

/* ---- any network whose accuracy falls with bits, against what the rules come to for thresholds */

static int larger(int a, int b)
{
    return a > b ? a : b;
}

static void random_needs(network *net, const dt_qcaps_shape *s, draws *d)
{
    const int most = 1 + draw(d, 12);
    for (int l = 0; l < s->n_layers; l++) {
        net->weight[l] = 1 + draw(d, most);
        net->activation[l] = 1 + draw(d, most);
        net->routing[l] = s->layer[l].routes > 0 ? 1 + draw(d, most) : 0;
    }
}

/* Activations of l, l + 1, .. fall together, routing with them: each stops at the most that any of these layers needs.
 * Then routing bits of l, l + 1, .. fall by what the one next to its need can lose. */
static void expect_satisfied(const network *net, const dt_qcaps_shape *s, dt_qcaps_bits *b)
{
    int need = 1;
    for (int l = s->n_layers - 1; l >= 0; l--) {
        need = larger(need, larger(net->activation[l], net->routing[l]));
        b->activation[l] = need;
        b->routing[l] = s->layer[l].routes > 0 ? need : 0;
    }
    for (int first = 0; first < s->n_layers; first++) {
        int spare = s->layer[first].routes > 0 ? 32 : 0;
        for (int l = first; l < s->n_layers; l++) {
            if (s->layer[l].routes > 0 && b->routing[l] - net->routing[l] < spare)
                spare = b->routing[l] - net->routing[l];
        }
        for (int l = first; l < s->n_layers; l++) b->routing[l] -= s->layer[l].routes > 0 ? spare : 0;
    }
}

Test(qcaps_search, any_thresholds)
{
    int n_satisfied = 0;
    draws d = { .seed = 7 };
    for (int i = 0; i < 3000; i++) {
        const int shape = i % N_SHAPES;
        const dt_qcaps_shape *s = &qcaps_shapes[shape];
        network net = { .good = 99.0, .bad = 9.0 };
        dt_qcaps_bits want = { 0 };
        random_needs(&net, s, &d);
        const dt_qcaps_options o = options(2.0f + (float)draw(&d, 12), 0.5f);
        const dt_qcaps_result r = searched(shape, &o, &net, 99.0);

        n_satisfied += r.satisfied.present;
        if (r.satisfied.present) {
            expect_satisfied(&net, s, &want);
            same_bits(r.satisfied.bits.activation, want.activation, s->n_layers, "activations");
            same_bits(r.satisfied.bits.routing, want.routing, s->n_layers, "routing");
            cr_assert(!r.memory.present && !r.accuracy.present && r.satisfied.accuracy == 99.0);
        } else {
            int need = 1;
            for (int l = s->n_layers - 1; l >= 0; l--) want.weight[l] = need = larger(need, net.weight[l]);
            same_bits(r.accuracy.bits.weight, want.weight, s->n_layers, "weights");
            cr_assert(r.memory.present && r.accuracy.present && r.accuracy.accuracy == 99.0);
        }
    }
    cr_assert(n_satisfied > 500 && n_satisfied < 2500, "%d: both branches are to be seen", n_satisfied);
}

static void in_bounds(const network *net, const dt_qcaps_shape *s)
{
    for (int i = 0; i < net->n_measured; i++) {
        const dt_qcaps_bits *b = &net->measured[i];
        for (int l = 0; l < s->n_layers; l++) {
            cr_assert(b->weight[l] >= 1 && b->weight[l] <= 32 && b->activation[l] >= 1 && b->activation[l] <= 32);
            cr_assert(s->layer[l].routes > 0 ? b->routing[l] >= 1 && b->routing[l] <= 32 : b->routing[l] == 0);
        }
    }
}

/* Accuracies without any order: the search ends within its bounds, and a deterministic one keeps its word. */
static dt_status measure_noise(void *user, const dt_qcaps_bits *b, double *accuracy)
{
    network *net = user;
    uint64_t hash = 1469598103934665603u;
    cr_assert(net->n_measured < MOST_TRIALS);
    net->measured[net->n_measured++] = *b;
    for (size_t i = 0; i < sizeof *b; i++) hash = (hash ^ ((const unsigned char *)b)[i]) * 1099511628211u;
    if (net->stop_at) hash += (uint64_t)draw(&net->noise, 1 << 30); /* draws anew */
    *accuracy = 98.0 + (double)(hash >> 20 & 1023) / 512.0;
    return DT_OK;
}

Test(qcaps_search, accuracy_without_any_order)
{
    draws d = { .seed = 3 };
    for (int i = 0; i < 2000; i++) {
        network net = { .stop_at = i % 2, .noise = { .seed = (uint64_t)i } }; /* here: stochastic */
        const dt_qcaps_judge judge = { measure_noise, &net };
        const dt_qcaps_shape *s = &qcaps_shapes[i % N_SHAPES];
        const float tolerance = (float)draw(&d, 21) / 10.0f;
        dt_qcaps_options o = options(2.0f + (float)draw(&d, 3), tolerance);
        dt_qcaps_result r;
        o.rounding = net.stop_at ? DT_ROUND_STOCHASTIC : DT_ROUND_TRUNCATION;
        const double full = 99.0 + draw(&d, 2);
        cr_assert(dt_qcaps_run(s, &o, full, &judge, NULL, &r) == DT_OK, "%s", dt_last_error());
        in_bounds(&net, s);
        cr_assert(r.satisfied.present || r.memory.present);
        cr_assert(!r.satisfied.present || r.satisfied.accuracy >= r.min_accuracy);
        cr_assert(!r.accuracy.present || r.accuracy.accuracy >= r.min_accuracy);
        cr_assert(r.n_trials < 128, "%d trials are more than the search remembers", r.n_trials);
    }
}

/* ---- edges */

Test(qcaps_search, accuracy_that_never_drops)
{
    network net = { .good = 99.0 };
    const dt_qcaps_options o = options(2.0f, 50.0f);
    const dt_qcaps_result r = searched(DEEP28, &o, &net, 99.0);
    cr_assert(r.uniform_bits == 1 && r.satisfied.present);
    same_bits(r.satisfied.bits.activation, (const int[]){ 1, 1, 1, 1, 1, 1 }, 6, "activations");
    same_bits(r.satisfied.bits.routing, (const int[]){ 0, 0, 0, 0, 1, 1 }, 6, "routing");
    in_bounds(&net, &qcaps_shapes[DEEP28]);

    dt_qcaps_options published = o;
    published.published = 1;
    dt_qcaps_result unused;
    net = (network){ .good = 99.0 };
    cr_assert(search(DEEP28, &published, &net, 99.0, &unused) == DT_ERR_RANGE);
    cr_assert(strstr(dt_last_error(), "step 3A, conv1: 0 bits still give 99.00 %"), "%s", dt_last_error());
}

/* Nothing is above the full accuracy, so step 1 fails at 32 and step 2 does too; 3B may lower what costs nothing. */
Test(qcaps_search, tolerance_0)
{
    network net = { .weight = { 9, 8, 7 }, .activation = { 6, 6, 6 }, .good = 99.0, .bad = 98.0 };
    dt_qcaps_options o = options(20.0f, 0.0f);
    const dt_qcaps_result r = searched(SHALLOW, &o, &net, 99.0);
    cr_assert(r.uniform_bits == 32 && r.memory.present && r.memory.accuracy == 99.0 && r.accuracy.present);
    same_bits(r.accuracy.bits.weight, (const int[]){ 9, 8, 7 }, 3, "weights");

    dt_qcaps_result unused;
    o.published = 1;
    net = (network){ .good = 99.0 };
    cr_assert(search(SHALLOW, &o, &net, 99.0, &unused) == DT_ERR_RANGE && net.n_trials == 1);
    cr_assert(strstr(dt_last_error(), "32 bits") && strstr(dt_last_error(), "larger tolerance"), "%s", dt_last_error());
}

/* Logarithmic rounding need not be exact with any bits. */
Test(qcaps_search, nothing_is_good_enough)
{
    network net = { .good = 80.0 };
    dt_qcaps_options o = options(20.0f, 1.0f);
    o.rounding = DT_ROUND_LOGARITHMIC;
    const dt_qcaps_result r = searched(SHALLOW, &o, &net, 99.0);
    cr_assert(r.uniform_bits == 32 && r.memory.present && !r.accuracy.present && !r.satisfied.present);
    in_bounds(&net, &qcaps_shapes[SHALLOW]);
}

Test(qcaps_search, stops_on_request)
{
    network net = { .good = 99.0, .stop_at = 5 };
    const dt_qcaps_options o = options(4.0f, 1.0f);
    dt_qcaps_result r = { .n_trials = -1 };
    cr_assert(search(SHALLOW, &o, &net, 99.0, &r) == DT_ERR_INTERRUPTED);
    cr_assert(net.n_trials == 5 && r.n_trials == -1 && strstr(dt_last_error(), "trial 5"), "%s", dt_last_error());
}

Test(qcaps_search, a_measurement_that_fails)
{
    network net = { .good = 99.0, .fail_at = 3 };
    const dt_qcaps_options o = options(4.0f, 1.0f);
    dt_qcaps_result r = { .n_trials = -1 };
    cr_assert(search(SHALLOW, &o, &net, 99.0, &r) == DT_ERR_DEVICE);
    cr_assert(net.n_trials == 2 && r.n_trials == -1 && strstr(dt_last_error(), "the device is gone"));
}

Test(qcaps_search, nonsense_is_refused_before_anything_is_measured)
{
    network net = { .good = 99.0 };
    dt_qcaps_options o = options(4.0f, -0.1f);
    dt_qcaps_result r;
    cr_assert(search(SHALLOW, &o, &net, 99.0, &r) == DT_ERR_ARGUMENT && strstr(dt_last_error(), "0..100"));
    o = options(4.0f, NAN);
    cr_assert(search(SHALLOW, &o, &net, 99.0, &r) == DT_ERR_ARGUMENT);
    o = options(0.5f, 1.0f);
    cr_assert(search(SHALLOW, &o, &net, 99.0, &r) == DT_ERR_ARGUMENT && strstr(dt_last_error(), "0.8112 MiB"));
    cr_assert(net.n_measured == 0);
}

/* ---- what is measured, what is remembered */

Test(qcaps_search, nothing_is_measured_twice)
{
    for (int stochastic = 0; stochastic < 2; stochastic++) {
        network net = { .activation = { 7, 5, 4 }, .routing = { 0, 3, 2 }, .good = 99.5, .bad = 20.0 };
        dt_qcaps_options o = options(4.0f, 0.2f);
        if (stochastic) o.rounding = DT_ROUND_STOCHASTIC;
        const dt_qcaps_result r = searched(SHALLOW, &o, &net, 99.5);
        int n_again = 0;
        for (int i = 0; i < net.n_measured; i++) {
            for (int j = 0; j < i; j++) {
                n_again += memcmp(&net.measured[i], &net.measured[j], sizeof net.measured[i]) == 0;
            }
        }
        cr_assert(stochastic ? net.n_measured == r.n_trials : n_again == 0 && net.n_measured < r.n_trials,
                  "%d measurements for %d trials, %d again", net.n_measured, r.n_trials, n_again);
        cr_assert(net.trial[r.n_trials - 1].accuracy == 99.5);
    }
}

/* ---- the published code */

/* block4's and capsLayer's routing bits follow those of block1 and block2. */
Test(qcaps_search, published_positions_of_routing_bits)
{
    for (int published = 0; published < 2; published++) {
        network net = { .activation = { 9, 9, 8, 7, 6, 5 }, .routing = { 0, 0, 0, 0, 6, 6 }, .good = 99.0, .bad = 9.0 };
        dt_qcaps_options o = options(8.0f, 0.5f);
        o.published = published;
        searched(DEEP28, &o, &net, 99.0);
        const dt_qcaps_trial *last = NULL;
        for (int i = 0; i < net.n_trials; i++) {
            if (strcmp(net.trial[i].step, "3A") == 0) last = &net.trial[i];
        }
        cr_assert(last != NULL);
        same_bits(last->bits.activation, (const int[]){ 9, 9, 8, 7, 6, published ? 5 : 6 }, 6, "activations");
        same_bits(last->bits.routing, (const int[]){ 0, 0, 0, 0, published ? 9 : 6, published ? 8 : 6 }, 6, "routing");
    }
}

/* primary has one iteration: its routing bits are those of step 3A. */
Test(qcaps_search, published_step_4A_leaves_one_iteration_alone)
{
    network net = { .activation = { 7, 5, 4 }, .routing = { 0, 3, 2 }, .good = 99.5, .bad = 20.0 };
    dt_qcaps_options o = options(8.0f, 0.2f);
    o.published = 1;
    const dt_qcaps_result r = searched(SHALLOW, &o, &net, 99.5);
    same_bits(r.satisfied.bits.weight, (const int[]){ 9, 8, 7 }, 3, "weights"); /* of 8 MB */
    same_bits(r.satisfied.bits.activation, (const int[]){ 7, 5, 4 }, 3, "activations");
    same_bits(r.satisfied.bits.routing, (const int[]){ 0, 5, 2 }, 3, "routing");
}

/* ---- the searches of before */

static uint64_t add_hash(uint64_t hash, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) hash = (hash ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
    return hash;
}

/* Step, bits and accuracy of each trial. */
static uint64_t hash_trials(const network *net, uint64_t hash)
{
    for (int i = 0; i < net->n_trials; i++) {
        const dt_qcaps_trial *t = &net->trial[i];
        hash = add_hash(hash, t->step, strlen(t->step));
        hash = add_hash(hash, &t->bits, sizeof t->bits);
        hash = add_hash(hash, &t->accuracy, sizeof t->accuracy);
    }
    return hash;
}

/* Search i of those below. Accuracies fall with bits, and by a little without any order. */
static dt_qcaps_result search_of_before(int i, network *net)
{
    draws d = { .seed = 100 + (uint64_t)i };
    const int shape = i % N_SHAPES;
    *net = (network){ .good = 99.0, .bad = 60.0, .weight_from = 9, .weight_slope = 0.01 * draw(&d, 9) };
    net->activation_from = 10;
    net->activation_slope = 0.01 * draw(&d, 9);
    net->routing_from = 8;
    net->routing_slope = 0.01 * draw(&d, 9);
    random_needs(net, &qcaps_shapes[shape], &d);
    const float tolerance = 0.1f * (float)(1 + draw(&d, 40));
    const dt_qcaps_options o = options(2.0f + (float)draw(&d, 8), tolerance);
    return searched(shape, &o, net, 99.0);
}

/* All trials of 60 searches, as they were before searches had a log. */
Test(qcaps_search, trials_are_those_of_before)
{
    static network net;
    uint64_t hash = 14695981039346656037u;
    int n_trials = 0;
    for (int i = 0; i < 60; i++) {
        search_of_before(i, &net);
        hash = hash_trials(&net, hash);
        n_trials += net.n_trials;
    }
    cr_assert(n_trials == 1483 && hash == 9517096161633340267u, "%d trials, hash %llu", n_trials,
              (unsigned long long)hash);
}

/* What a search that was stopped had measured. */
typedef struct {
    network *net;
    const network *before;
    int n_known;
} stopped_search;

static dt_status measure_again(void *user, const dt_qcaps_bits *b, double *accuracy)
{
    return measure(((stopped_search *)user)->net, b, accuracy);
}

static int trial_again(void *user, const dt_qcaps_trial *t)
{
    return on_trial(((stopped_search *)user)->net, t);
}

static int is_known(void *user, int trial, const dt_qcaps_bits *bits, double *accuracy)
{
    const stopped_search *s = user;
    if (trial > s->n_known) return 0;
    const dt_qcaps_trial *t = &s->before->trial[trial - 1];
    cr_assert(memcmp(&t->bits, bits, sizeof *bits) == 0, "trial %d has other bits", trial);
    *accuracy = t->accuracy;
    return 1;
}

/* Stopped after any trial, a search goes on to the same trials and measures none of those before. */
Test(qcaps_search, goes_on_from_any_trial)
{
    static network before, net;
    for (int i = 0; i < 6; i++) {
        const dt_qcaps_result was = search_of_before(i, &before);
        draws d = { .seed = 100 + (uint64_t)i };
        (void)draw(&d, 9), (void)draw(&d, 9), (void)draw(&d, 9);
        network unused = { 0 };
        random_needs(&unused, &qcaps_shapes[i % N_SHAPES], &d);
        const float tolerance = 0.1f * (float)(1 + draw(&d, 40));
        const dt_qcaps_options o = options(2.0f + (float)draw(&d, 8), tolerance);
        for (int n = 0; n <= was.n_trials; n++) {
            net = before;
            net.n_trials = net.n_measured = 0;
            stopped_search s = { &net, &before, n };
            const dt_qcaps_judge judge = { measure_again, &s };
            const dt_qcaps_watch watch = { .trial = trial_again, .known = is_known, .user = &s };
            dt_qcaps_result r;
            cr_assert(dt_qcaps_run(&qcaps_shapes[i % N_SHAPES], &o, 99.0, &judge, &watch, &r) == DT_OK);
            cr_assert(r.n_trials == was.n_trials && net.n_measured <= was.n_trials - n, "%d measured behind %d of %d",
                      net.n_measured, n, was.n_trials);
            cr_assert(hash_trials(&net, 0) == hash_trials(&before, 0));
        }
    }
}
