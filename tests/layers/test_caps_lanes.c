/*
 * test_caps_lanes.c - sums over the values of many capsules: AVX-512 against the plain loops, by bits, and both against
 *                     one sum after another. What routing and squash make of them is tested in their own files.
 */
#include "../../core/cpu_level.h"
#include "../../layers/caps/caps_lanes.h"
#include "../../layers/caps/squash.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST = DT_CAPS_GROUP * 40 * 33, EDGE = 16 };

/* Between -1 and 1, a function of i. */
static float number(int64_t i, unsigned seed)
{
    uint32_t h = (uint32_t)i * 2654435761u + seed * 40503u;
    h = (h ^ h >> 15) * 2246822519u;
    return (float)(int32_t)(h ^ h >> 13) * 0x1p-31f;
}

static float *filled(float *x, int64_t n, unsigned seed)
{
    for (int64_t i = 0; i < n; i++) x[i] = number(i, seed);
    return x;
}

static void same(const float *got, const float *want, int64_t n, const char *what, const dt_vote_group *g)
{
    for (int64_t i = 0; i < n; i++) {
        cr_assert(memcmp(&got[i], &want[i], sizeof *got) == 0 || (got[i] == 0.0f && want[i] == 0.0f),
                  "%s, %d inputs, %lld capsules of %d, scale %g: value %lld is %.9g, expected %.9g", what, g->n,
                  (long long)g->capsules, g->dim, (double)g->scale, (long long)i, (double)got[i], (double)want[i]);
    }
    cr_assert(got[n] == 7.0f, "%s, %d inputs, %lld capsules of %d: a value behind the last is written", what, g->n,
              (long long)g->capsules, g->dim);
}

static const dt_caps_lanes *sets[2];

static int n_sets(void)
{
    sets[0] = &dt_caps_lanes_plain;
    sets[1] = dt_caps_lanes_avx512;
    if (dt_cpu_level_best() >= DT_CPU_AVX512) return 2;
    printf("skipped: AVX-512, which this machine has not\n");
    return 1;
}

/* Every dim that has loops of its own and some that have none; whole groups, single inputs, what a last group may be.
 */
static const dt_vote_group groups[] = {
    { .n = 16, .capsules = 10, .dim = 16, .scale = 1.0f }, { .n = 16, .capsules = 10, .dim = 16, .scale = 0.3f },
    { .n = 16, .capsules = 10, .dim = 32, .scale = 1.0f }, { .n = 16, .capsules = 3, .dim = 32, .scale = 0.3f },
    { .n = 16, .capsules = 33, .dim = 8, .scale = 1.0f },  { .n = 16, .capsules = 32, .dim = 8, .scale = 0.3f },
    { .n = 16, .capsules = 7, .dim = 5, .scale = 0.3f },   { .n = 16, .capsules = 1, .dim = 33, .scale = 1.0f },
    { .n = 1, .capsules = 40, .dim = 8, .scale = 0.3f },   { .n = 1, .capsules = 10, .dim = 16, .scale = 1.0f },
    { .n = 7, .capsules = 10, .dim = 16, .scale = 0.3f },  { .n = 15, .capsules = 2, .dim = 32, .scale = 1.0f },
    { .n = 9, .capsules = 33, .dim = 1, .scale = 1.0f },
};

enum { N_GROUPS = sizeof groups / sizeof groups[0] };

static float u[MOST], v[MOST], w[MOST], want[MOST + EDGE];
static _Alignas(64) float got[MOST + EDGE]; /* as the votes' gradients are, which may go past the caches */

static void start(int64_t n)
{
    filled(got, n, 5);
    filled(want, n, 5);
    got[n] = want[n] = 7.0f;
}

Test(caps_lanes, agreements)
{
    for (int k = 0; k < N_GROUPS * n_sets(); k++) {
        dt_vote_group g = groups[k % N_GROUPS];
        const int64_t width = g.capsules * g.dim;
        g.u = filled(u, g.n * width, 1);
        filled(v, width, 2);
        start(g.capsules * g.n);
        for (int64_t m = 0; m < g.capsules; m++) {
            for (int l = 0; l < g.n; l++)
                want[m * g.n + l] = dt_caps_dot(u + l * width + m * g.dim, g.scale, v + m * g.dim, g.dim);
        }
        sets[k / N_GROUPS]->agreements(&g, v, got);
        same(got, want, g.capsules * g.n, "agreements", &g);
    }
}

Test(caps_lanes, weighted_votes)
{
    for (int k = 0; k < N_GROUPS * n_sets(); k++) {
        dt_vote_group g = groups[k % N_GROUPS];
        const int64_t width = g.capsules * g.dim;
        g.u = filled(u, g.n * width, 1);
        filled(w, g.capsules * g.n, 3);
        start(width);
        for (int64_t at = 0; at < width; at++) {
            for (int l = 0; l < g.n; l++) want[at] += w[at / g.dim * g.n + l] * (g.scale * u[l * width + at]);
        }
        sets[k / N_GROUPS]->add_weighted(&g, w, got);
        same(got, want, width, "weighted votes", &g);
    }
}

Test(caps_lanes, votes)
{
    for (int k = 0; k < N_GROUPS * n_sets(); k++) {
        dt_vote_group g = groups[k % N_GROUPS];
        const int64_t width = g.capsules * g.dim;
        g.u = filled(u, g.n * width, 1);
        start(width);
        for (int64_t at = 0; at < g.n * width; at++) want[at % width] += u[at];
        sets[k / N_GROUPS]->add(&g, got);
        same(got, want, width, "votes", &g);
    }
}

/* Codes of `bits` bits, times 2^-frac. */
static void fill_codes(float *x, int64_t n, int bits, int frac, unsigned seed)
{
    for (int64_t i = 0; i < n; i++) x[i] = ldexpf(floorf(ldexpf(number(i, seed), bits - 1)), -frac);
}

/* Of 8 and 16 bits: steps below and above 1, and what is kept shifted far. */
static const struct {
    dt_logit_format f;
    int was_frac, frac, agreed_frac;
} logits[] = {
    { { .keep = 1, .agree = { 20000, 18 }, .bits = 8 }, 3, 3, 7 },
    { { .keep = (int64_t)1 << 33, .agree = { 16385, 36 }, .bits = 16 }, 8, 5, 12 },
    { { .keep = 0, .agree = { 32767, 0 }, .bits = 8 }, 0, -3, 0 },
};

Test(caps_lanes, codes_of_logits)
{
    for (int k = 0; k < 3 * N_GROUPS * n_sets(); k++) {
        const dt_vote_group *g = &groups[k / 3 % N_GROUPS];
        dt_logit_format f = logits[k % 3].f;
        const int64_t n = g->capsules * g->n;
        f.was_up = ldexpf(1.0f, logits[k % 3].was_frac);
        f.agreed_up = ldexpf(1.0f, logits[k % 3].agreed_frac);
        f.step = ldexpf(1.0f, -logits[k % 3].frac);
        fill_codes(v, n, f.bits, logits[k % 3].was_frac, 6);
        fill_codes(w, n, 24, logits[k % 3].agreed_frac, 7);
        start(n);
        for (int64_t i = 0; i < n; i++) {
            const int64_t was = (int64_t)(v[i] * f.was_up), agreed = (int64_t)(w[i] * f.agreed_up);
            want[i] = f.step * (float)dt_caps_logit_code(was, f.keep, agreed, f.agree, f.bits);
        }
        sets[k / 3 / N_GROUPS]->logit_codes(&f, v, w, n, got);
        same(got, want, n, "logits", g);
    }
}

/* One row after another, by the functions of one value. */
static void want_couplings(const dt_coupling_format *f, const dt_vote_group *g, int64_t span)
{
    for (int64_t row = 0; row < g->capsules / span * g->n; row++) {
        const int64_t first = row / g->n * span * g->n + row % g->n, end = first + span * g->n;
        uint32_t e[64], sum = 0;
        float top = v[first];
        for (int64_t i = first; i < end; i += g->n) top = fmaxf(top, v[i]);
        for (int64_t i = first, m = 0; i < end; i += g->n, m++)
            sum += e[m] = dt_exp_code(dt_caps_table.exp, (int64_t)((top - v[i]) * f->up), f->exp);
        const dt_softmax_divisor d = dt_softmax_divisor_of(sum, (uint32_t)1 << 31);
        for (int64_t i = first, m = 0; i < end; i += g->n, m++)
            want[i] = f->step * (float)dt_coupling_code(d, e[m], f->bits, f->frac);
    }
}

Test(caps_lanes, codes_of_couplings)
{
    static const struct {
        int logit_bits, logit_frac, bits, frac;
    } formats[] = { { 8, 3, 9, 9 }, { 16, 12, 16, 16 }, { 5, -2, 4, 6 }, { 8, 7, 1, 1 } };

    for (int k = 0; k < 4 * N_GROUPS * n_sets(); k++) {
        const dt_vote_group *g = &groups[k / 4 % N_GROUPS];
        const int frac = formats[k % 4].logit_frac, c_frac = formats[k % 4].frac;
        const dt_coupling_format f = { dt_exp_ratio(frac), ldexpf(1.0f, frac), ldexpf(1.0f, -c_frac),
                                       formats[k % 4].bits, c_frac };
        fill_codes(v, g->capsules * g->n, formats[k % 4].logit_bits, frac, 8);
        for (int64_t span = g->capsules % 5 == 0 ? 5 : g->capsules; span <= g->capsules; span *= 2) {
            if (g->capsules % span != 0) continue;
            start(g->capsules * g->n);
            want_couplings(&f, g, span);
            sets[k / 4 / N_GROUPS]->coupling_codes(&f, v, g->capsules, span, g->n, got);
            same(got, want, g->capsules * g->n, "couplings", g);
        }
    }
}

/* terms: 0, 2, 4, 6, of one to four iterations */
Test(caps_lanes, gradients_of_votes)
{
    static float pair[DT_CAPS_TERMS][MOST], capsule[DT_CAPS_TERMS][MOST];

    for (int k = 0; k < 16 * N_GROUPS * n_sets(); k++) {
        const dt_vote_group g = groups[k / 16 % N_GROUPS];
        const int64_t width = g.capsules * g.dim;
        dt_vote_gradient t = { .first = 0.1f, .capsule = v, .capsules = g.capsules, .dim = g.dim, .n = g.n };
        t.n_terms = k % 4 * 2;
        t.fresh = k / 4 % 2;
        t.far = k / 8 % 2;
        filled(v, width, 2);
        start(g.n * width);
        for (int i = 0; i < t.n_terms; i++) {
            t.term[i].pair = filled(pair[i], g.capsules * g.n, 10 + (unsigned)i);
            t.term[i].capsule = filled(capsule[i], width, 20 + (unsigned)i);
        }
        for (int64_t at = 0; at < g.n * width; at++) {
            const int64_t l = at / width, c = at % width;
            want[at] = t.fresh ? 0.1f * v[c] : want[at] + 0.1f * v[c];
            for (int i = 0; i < t.n_terms; i++) want[at] += pair[i][c / g.dim * g.n + l] * capsule[i][c];
        }
        sets[k / 16 / N_GROUPS]->give(&t, got);
        same(got, want, g.n * width, "gradients", &g);
    }
}

/* Logits up to `size`, against double: an exponential errs by 1.5e-7 of its value, a sum and a product by 1e-7, and the
 * difference of two logits, up to 2 * size, by 2^-24 of itself. */
static void check_softmax(const dt_caps_lanes *set, const dt_vote_group *g, int64_t span, float size)
{
    filled(v, g->capsules * g->n, 4);
    for (int64_t i = 0; i < g->capsules * g->n; i++) v[i] *= size;
    start(g->capsules * g->n);
    const double share = 4e-7 + 0x1p-23 * (double)size;
    set->softmax(v, g->capsules, span, g->n, got);
    for (int64_t i = 0; i < g->capsules * g->n; i++) {
        const int64_t first = i / g->n / span * span * g->n + i % g->n;
        double sum = 0.0;
        for (int64_t k = 0; k < span; k++) sum += exp((double)v[first + k * g->n] - (double)v[i]);
        cr_assert(fabs((double)got[i] - 1.0 / sum) <= share / sum + 1e-37,
                  "softmax of %d, logits to %g: %.9g, not %.9g", (int)span, (double)size, (double)got[i], 1.0 / sum);
    }
    dt_caps_lanes_plain.softmax(v, g->capsules, span, g->n, want);
    same(got, want, g->capsules * g->n, "softmax", g);
}

Test(caps_lanes, softmax)
{
    static const float sizes[] = { 0.0f, 0.01f, 3.0f, 40.0f, 3000.0f };

    for (int k = 0; k < 5 * N_GROUPS * n_sets(); k++) {
        const dt_vote_group *g = &groups[k / 5 % N_GROUPS];
        check_softmax(sets[k / 5 / N_GROUPS], g, g->capsules, sizes[k % 5]);
        if (g->capsules % 5 == 0) check_softmax(sets[k / 5 / N_GROUPS], g, 5, sizes[k % 5]);
    }
}

Test(caps_lanes, softmax_keeps_a_nan)
{
    for (int k = 0; k < n_sets(); k++) {
        filled(v, 160, 4);
        v[35] = NAN; /* of input 3 */
        sets[k]->softmax(v, 10, 10, 16, got);
        for (int i = 0; i < 160; i++) cr_assert(isnan(got[i]) == (i % 16 == 3), "value %d is %g", i, (double)got[i]);
    }
}

Test(caps_lanes, softmax_backward)
{
    for (int k = 0; k < N_GROUPS * n_sets(); k++) {
        const dt_vote_group *g = &groups[k % N_GROUPS];
        filled(v, g->capsules * g->n, 4);
        start(g->capsules * g->n);
        for (int64_t i = 0; i < g->capsules * g->n; i++) {
            double mean = 0.0;
            for (int64_t m = i % g->n; m < g->capsules * g->n; m += g->n) mean += (double)(v[m] * got[m]);
            want[i] = v[i] * (got[i] - (float)mean);
        }
        sets[k / N_GROUPS]->softmax_backward(v, g->capsules, g->capsules, g->n, got);
        same(got, want, g->capsules * g->n, "softmax backward", g);
    }
}

static const dt_vote_group rows_of_capsules[] = {
    { .capsules = 32, .dim = 4 },  { .capsules = 35, .dim = 4 },  { .capsules = 32, .dim = 8 },
    { .capsules = 7, .dim = 8 },   { .capsules = 33, .dim = 8 },  { .capsules = 16, .dim = 16 },
    { .capsules = 10, .dim = 16 }, { .capsules = 20, .dim = 16 }, { .capsules = 17, .dim = 32 },
    { .capsules = 16, .dim = 5 },
};

Test(caps_lanes, squash)
{
    enum { N = sizeof rows_of_capsules / sizeof rows_of_capsules[0] };

    for (int k = 0; k < N * n_sets(); k++) {
        const dt_vote_group *g = &rows_of_capsules[k % N];
        const int64_t n = g->capsules * g->dim;
        filled(u, n, 1);
        memset(u + g->dim, 0, (size_t)g->dim * sizeof *u); /* one of length 0 */
        start(n);
        for (int64_t m = 0; m < n; m += g->dim) dt_squash(u + m, g->dim, want + m);
        sets[k / N]->squash(u, g->capsules, g->dim, got);
        same(got, want, n, "squash", g);
        for (int fresh = 0; fresh < 2; fresh++) {
            filled(v, n, 2);
            start(n);
            for (int64_t m = 0; m < n; m += g->dim) dt_squash_backward(u + m, v + m, g->dim, fresh, want + m);
            sets[k / N]->squash_backward(u, v, g->capsules, g->dim, fresh, got);
            same(got, want, n, fresh ? "squash backward" : "squash backward, which adds", g);
        }
    }
}
