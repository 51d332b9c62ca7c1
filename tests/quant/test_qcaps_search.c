/*
 * test_qcaps_search.c - the search of Q-CapsNets on accuracies made up here: which bits it tries, where it ends, and
 * what it does at the edges.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "../support/qcaps_network.h"

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
