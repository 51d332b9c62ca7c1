/*
 * test_qcaps_search_random.c - the search of Q-CapsNets on accuracies drawn at random: it ends where the rules say and
 * within its bounds, its trials are those of before, and a stopped one goes on.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "../support/draws.h"
#include "../support/qcaps_network.h"

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

Test(qcaps_search_random, any_thresholds)
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

Test(qcaps_search_random, accuracy_without_any_order)
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
Test(qcaps_search_random, trials_are_those_of_before)
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
Test(qcaps_search_random, goes_on_from_any_trial)
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
