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

static dt_verify_layer verified(int routing_bits, const char *name)
{
    const dt_array array = { .rows = 8, .cols = 8, .psum_bits = 24 };
    lowered r = caps_lowered("cpu", routing_bits, 20);
    dt_verify_report *report;

    MUST(dt_verify(r.model, r.data, 0, 20, NULL, &array, NULL, &report));
    cr_assert(report->mismatches == 0);
    const dt_verify_layer digit = layer_named(report, name), sum = layer_named(report, "sum");
    cr_assert(digit.is_routing && !sum.is_routing && sum.mean_error == 0.0);
    dt_verify_report_destroy(report);
    lowered_close(&r);
    return digit;
}

/* A capsule of one vote has s of 12 fraction bits and v of 15, and the table's error of 0.0018 in its length. In this
 * network some s are beyond the range of 16 bits, and their capsules differ by more. */
Test(route_real, networks)
{
    const dt_verify_layer one = verified(8, "one.squash"), eight = verified(8, "digit"), four = verified(4, "digit");

    cr_assert(one.mean_error > 0.0 && one.mean_error < 0.0018 + 0x1p-12 && one.largest_coupling_error == 0.0,
              "one vote: mean error %g, couplings %g", one.mean_error, one.largest_coupling_error);
    cr_assert(one.largest_error < 0.0018 + 0x1p-12 || one.array.max == INT16_MAX, "one vote: %g, codes up to %lld",
              one.largest_error, (long long)one.array.max);
    cr_assert(eight.mean_error > 0.0 && eight.mean_error < 0.02, "mean error %g of 8 bits", eight.mean_error);
    cr_assert(eight.largest_coupling_error > 0.0 && eight.largest_coupling_error < 0.1, "%g",
              eight.largest_coupling_error);
    cr_assert(four.mean_error > 2.0 * eight.mean_error, "mean error %g of 4 bits, %g of 8", four.mean_error,
              eight.mean_error);
    cr_assert(eight.class_error <= four.class_error);
}
