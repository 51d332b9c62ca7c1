/*
 * test_route_real.c - differences of routing by integers from routing by reals: by hand where sums are easy, by the
 *                     bounds of the formats, and that more bits differ less; what verification reports of a network.
 */
#include "../../accel/verify/route_real.h"
#include "../support/caps_network.h"

#include "../../layers/caps/route_int.h"

/* Two inputs vote for two capsules of one value. */
typedef struct {
    dt_route_int_params p;
    int32_t votes[4], room[64];
    float bias[2];
    double reals[64];
} small;

static dt_route_error error_of(small *t, int gives_s, const int32_t *s, const int32_t *c)
{
    dt_route_error e = { 0 };

    t->p = (dt_route_int_params){ .iterations = 2, .inputs = 2, .dim = 1, .gives_s = gives_s };
    for (int r = 0; r < 2; r++) t->p.s_frac[r] = t->p.v_frac[r] = t->p.c_frac[r] = 8;
    const dt_route_int_sizes z = { .inputs = 2, .types = 2, .capsules = 2, .span = 2, .dim = 1 };
    const dt_route_int_trace trace = dt_route_int_trace_in(&t->p, &z, t->room);
    memset(t->room, 0, sizeof t->room);
    for (int k = 0; k < 2; k++) trace.s[2 + k] = trace.v[2 + k] = s[k];
    for (int k = 0; k < 4; k++) trace.c[k] = c[k];
    cr_assert(dt_route_error_room(&z) <= 64);
    dt_route_error_add(&(dt_route_pair){ &t->p, z, 0.5f, t->bias, t->votes, &trace }, t->reals, &e);
    return e;
}

/* Votes of 1 and -1/2: in the first iteration s is 1 and -1/2, v 1/2 and -1/5, and the logits of both inputs become 1/2
 * and 1/10, of which the couplings follow. */
Test(route_real, by_hand)
{
    const double c = 1.0 / (1.0 + exp(-0.4)), s0 = 2.0 * c, s1 = -(1.0 - c);
    const double v0 = s0 * s0 / (1.0 + s0 * s0), v1 = -s1 * s1 / (1.0 + s1 * s1);
    small t = { .votes = { 2, -1, 2, -1 } };
    const int32_t codes[2] = { 256, 512 }, couplings[4] = { 128, 64, 128, 0 };

    dt_route_error e = error_of(&t, 0, codes, couplings);
    cr_assert(fabs(e.sum - (fabs(1.0 - v0) + fabs(2.0 - v1))) < 1e-12, "%g", e.sum);
    cr_assert(fabs(e.largest - (2.0 - v1)) < 1e-12 && e.n_values == 2 && e.images == 1 && e.n_classes_differ == 0);
    cr_assert(fabs(e.largest_coupling - (1.0 - c)) < 1e-12, "%g", e.largest_coupling);
    e = error_of(&t, 1, codes, couplings); /* s of 1 and 2: v of 1/2 and 4/5; the second is the longest, and is not */
    cr_assert(fabs(e.sum - (fabs(0.5 - v0) + fabs(0.8 - v1))) < 1e-12, "%g", e.sum);
    cr_assert(e.n_classes_differ == 1);
}

static dt_verify_layer layer_named(const dt_verify_report *r, const char *name)
{
    for (int i = 0; i < r->n_layers; i++) {
        if (strcmp(r->layer[i].array.name, name) == 0) return r->layer[i];
    }
    cr_assert(0, "%s was not verified", name);
    return r->layer[0];
}

typedef struct {
    lowered r;
    dt_verify_report *report;
} verified;

static verified verify_with(int routing_bits)
{
    const dt_array array = { .rows = 8, .cols = 8, .psum_bits = 24 };
    verified v = { .r = caps_lowered("cpu", routing_bits, 20) };

    MUST(dt_verify(v.r.model, v.r.data, 0, 20, NULL, &array, NULL, &v.report));
    cr_assert(v.report->mismatches == 0);
    return v;
}

static void verified_close(verified *v)
{
    dt_verify_report_destroy(v->report);
    lowered_close(&v->r);
}

/* Each routing has its own differences: capsules of convolutions, 3-D routing, class capsules; nothing else has any. */
static void each_routing_is_compared(const dt_verify_report *r)
{
    static const char *const routings[] = { "one.squash", "two.squash", "skip", "digit" };
    int n = 0;

    for (int i = 0; i < r->n_layers; i++) n += r->layer[i].is_routing;
    cr_assert(n == DT_LENGTH(routings), "%d routings are compared", n);
    for (int i = 0; i < n; i++) {
        const dt_verify_layer l = layer_named(r, routings[i]);
        const int iterates = i >= 2;
        cr_assert(l.is_routing && l.mean_error > 0.0 && l.mean_error < 0.02 && l.mean_error <= l.largest_error,
                  "%s: mean error %g, largest %g", routings[i], l.mean_error, l.largest_error);
        cr_assert(l.largest_error < 2.0 && (l.largest_coupling_error > 0.0) == iterates &&
                      l.largest_coupling_error < 0.1,
                  "%s: largest error %g, of couplings %g", routings[i], l.largest_error, l.largest_coupling_error);
        cr_assert(i == 3 || l.class_error == 0.0, "%s has no classes", routings[i]);
    }
    const dt_verify_layer sum = layer_named(r, "sum"), conv = layer_named(r, "conv1");
    cr_assert(!sum.is_routing && sum.mean_error == 0.0 && !conv.is_routing && conv.mean_error == 0.0);
}

/* A capsule of one vote has s of 12 fraction bits and v of 15, and the table's error of 0.0018 in its length. In this
 * network some s are beyond the range of 16 bits, and their capsules differ by more. */
Test(route_real, networks)
{
    verified by_8 = verify_with(8), by_4 = verify_with(4);
    const dt_verify_layer one = layer_named(by_8.report, "one.squash"), eight = layer_named(by_8.report, "digit"),
                          four = layer_named(by_4.report, "digit");

    each_routing_is_compared(by_8.report);
    cr_assert(one.mean_error < 0.0018 + 0x1p-12, "one vote: mean error %g", one.mean_error);
    cr_assert(one.largest_error < 0.0018 + 0x1p-12 || one.array.max == INT16_MAX, "one vote: %g, codes up to %lld",
              one.largest_error, (long long)one.array.max);
    cr_assert(four.mean_error > 2.0 * eight.mean_error, "mean error %g of 4 bits, %g of 8", four.mean_error,
              eight.mean_error);
    cr_assert(eight.class_error <= four.class_error);
    verified_close(&by_8);
    verified_close(&by_4);
}
