/*
 * test_rescue_rounding.c - AdaRound: a filter against the best of all ways to round it, layers against their errors in
 * double, which are written here.
 */
#include "../support/rescue_rig.h"

#include <criterion/criterion.h>
#include <math.h>

/* ---- AdaRound ---- */

enum { N = 10, POSITIONS = 40 };

/* A filter of N weights with positions that are drawn; E by its definition. */
typedef struct {
    double x[POSITIONS][N], off[POSITIONS], ratio[N], gram[N * N], h[N];
    dt_filter_rounding r;
} drawn_filter;

static void draw_filter(uint32_t seed, drawn_filter *f)
{
    *f = (drawn_filter){ .off = { 0 } };
    for (int i = 0; i < N; i++) f->ratio[i] = 6.8 * (double)drawn_number(seed * 1000u + (uint32_t)i);
    f->ratio[3] = 7.0; /* it makes the scale */
    f->ratio[4] = -2.0;
    f->r = (dt_filter_rounding){ .n = N, .gram = f->gram, .h = f->h, .S = 0.05, .high = 7, .ratio = f->ratio };
    for (int p = 0; p < POSITIONS; p++) {
        for (int i = 0; i < N; i++) {
            f->x[p][i] = floor(60.0 + 60.0 * (double)drawn_number(seed * 7777u + (uint32_t)(N * p + i)));
            f->off[p] += f->r.S * f->ratio[i] * f->x[p][i];
        }
        f->off[p] += 0.5 * (double)drawn_number(seed * 31u + (uint32_t)p);
        for (int i = 0; i < N; i++) {
            f->h[i] += f->x[p][i] * f->off[p];
            for (int k = 0; k < N; k++) f->gram[i * N + k] += f->x[p][i] * f->x[p][k];
        }
        f->r.T += f->off[p] * f->off[p];
    }
}

static double error_by_definition(const drawn_filter *f, const int *code)
{
    double sum = 0.0;

    for (int p = 0; p < POSITIONS; p++) {
        double y = 0.0;
        for (int i = 0; i < N; i++) y += f->r.S * (double)code[i] * f->x[p][i];
        sum += (f->off[p] - y) * (f->off[p] - y);
    }
    return sum;
}

/* The least error of all 2^N ways to round. */
static double least_error(const drawn_filter *f)
{
    double least = INFINITY;

    for (unsigned bits = 0; bits < 1u << N; bits++) {
        int code[N];
        if (!(bits & 1u << 3) && !(bits & 1u << 4)) {
            for (int i = 0; i < N; i++)
                code[i] = (int)floor(f->ratio[i]) + (i == 3 || i == 4 ? 0 : (int)(bits >> i & 1u));
            least = fmin(least, error_by_definition(f, code));
        }
    }
    return least;
}

Test(rescue_rounding, rounding_is_near_the_best_of_all)
{
    int n_best = 0;

    for (uint32_t seed = 1; seed <= 40; seed++) {
        drawn_filter f;
        double room[6 * N];
        int code[N], nearest[N];
        draw_filter(seed, &f);
        dt_rounding_solve(&f.r, 300, room, code);
        for (int i = 0; i < N; i++) {
            nearest[i] = (int)floor(f.ratio[i] + 0.5);
            cr_assert(code[i] == (int)floor(f.ratio[i]) || code[i] == (int)ceil(f.ratio[i]),
                      "seed %u: code %d of the ratio %g", seed, code[i], f.ratio[i]);
        }
        cr_assert(code[3] == 7 && code[4] == -2);
        const double is = error_by_definition(&f, code), least = least_error(&f),
                     plain = error_by_definition(&f, nearest);
        cr_assert(fabs(dt_rounding_error_of(&f.r, code) - is) < 1e-9 * f.r.T, "seed %u: E is %g, by definition %g",
                  seed, dt_rounding_error_of(&f.r, code), is);
        cr_assert(is <= plain * (1.0 + 1e-9) && is >= least * (1.0 - 1e-9), "seed %u: %g, nearest %g, best %g", seed,
                  is, plain, least);
        n_best += is <= least * 1.01 + 1e-12;
    }
    cr_assert(n_best >= 30, "%d of 40 filters are within 1 %% of the best", n_best);
}

/* The mean squared error of a layer's outputs, as a share of those of reals. */
static double layer_error(const rig *r, dt_model *q, int i)
{
    values real = values_of(r, r->folded, r->layers.layer[i].out), is = values_of(r, q, quantized_layer(r, q, i).out);
    double error = 0.0, signal = 0.0;

    cr_assert(real.n == is.n);
    for (int64_t k = 0; k < real.n; k++) {
        error += ((double)real.at[k] - (double)is.at[k]) * ((double)real.at[k] - (double)is.at[k]);
        signal += (double)real.at[k] * (double)real.at[k];
    }
    free(real.at);
    free(is.at);
    return error / signal;
}

static void check_adaround(int per_layer)
{
    rig r = open_rig(chain);
    r.what.per_layer = per_layer;
    dt_model *q = quantize(&r), *before = quantize(&r);
    const dt_rescue_work w = { &r.what, r.folded, q, &r.layers };
    double sum = 0.0;
    dt_rounding_error e;
    int n;

    MUST(dt_rescue_adaround(&w, 200, &n, &e));
    cr_assert(n == 5);
    cr_assert(e.after < 0.9 * e.before, "errors %g, rounded to nearest %g", e.after, e.before);
    for (int i = 0; i < r.layers.n; i++) sum += layer_error(&r, q, i);
    cr_assert(fabs(sum / e.after - 1.0) < 1e-3, "the outputs' errors are %g, the pass says %g", sum, e.after);
    /* the first layer reads what it read before */
    cr_assert(layer_error(&r, q, 0) < layer_error(&r, before, 0), "%g, rounded to nearest %g", layer_error(&r, q, 0),
              layer_error(&r, before, 0));
    dt_model_destroy(before);
    dt_model_destroy(q);
    close_rig(&r);
}

Test(rescue_rounding, adaround_lowers_the_errors_of_layers)
{
    check_adaround(0);
    check_adaround(1);
}
