/*
 * caps_lanes.c - see caps_lanes.h. These are the plain loops, of which the compiler makes what the CPU of the build
 * has.
 *
 * Tests: tests/layers/test_caps_lanes.c.
 */
#include "caps_lanes.h"

#include "../../core/cpu_level.h"
#include "squash.h"

#define ALWAYS            static inline __attribute__((always_inline))
#define STORE_PAST(to, v) (*(vec16 *)(to) = (v))
#include "caps_loops.h"

ALWAYS void agreements_by(const dt_vote_group *g, const float *v, int dim, float *restrict at)
{
    const int64_t next = g->capsules * dim;

    for (int64_t m = 0; m < g->capsules; m++) {
        for (int l = 0; l < g->n; l++) {
            at[m * g->n + l] = dt_caps_dot(g->u + l * next + m * dim, g->scale, v + m * dim, dim);
        }
    }
}

/* With constant dims the compiler makes vectors. */
static void agreements_plain(const dt_vote_group *g, const float *v, float *at)
{
    switch (g->dim) {
    case 8: agreements_by(g, v, 8, at); break;
    case 16: agreements_by(g, v, 16, at); break;
    case 32: agreements_by(g, v, 32, at); break;
    default: agreements_by(g, v, g->dim, at);
    }
}

ALWAYS void squash_by(const float *s, int64_t n, int dim, float *v)
{
    for (int64_t i = 0; i < n; i++) dt_squash(s + i * dim, dim, v + i * dim);
}

static void squash_plain(const float *s, int64_t n, int dim, float *v)
{
    switch (dim) {
    case 4: squash_by(s, n, 4, v); break;
    case 8: squash_by(s, n, 8, v); break;
    case 16: squash_by(s, n, 16, v); break;
    case 32: squash_by(s, n, 32, v); break;
    default: squash_by(s, n, dim, v);
    }
}

ALWAYS void squash_backward_by(const float *s, const float *dv, int64_t n, int dim, int fresh, float *ds)
{
    for (int64_t i = 0; i < n; i++) dt_squash_backward(s + i * dim, dv + i * dim, dim, fresh, ds + i * dim);
}

static void squash_backward_plain(const float *s, const float *dv, int64_t n, int dim, int fresh, float *ds)
{
    switch (dim) {
    case 4: squash_backward_by(s, dv, n, 4, fresh, ds); break;
    case 8: squash_backward_by(s, dv, n, 8, fresh, ds); break;
    case 16: squash_backward_by(s, dv, n, 16, fresh, ds); break;
    case 32: squash_backward_by(s, dv, n, 32, fresh, ds); break;
    default: squash_backward_by(s, dv, n, dim, fresh, ds);
    }
}

static void add_weighted_plain(const dt_vote_group *g, const float *w, float *sum)
{
    add_weighted(g, w, sum);
}

static void add_plain(const dt_vote_group *g, float *sum)
{
    add(g, sum);
}

static void logit_codes_plain(const dt_logit_format *f, const float *was, const float *agreed, int64_t n, float *b)
{
    logit_codes(f, was, agreed, n, b);
}

/* The couplings of one input, of a softmax, n values apart. */
static void coupling_codes_row(const dt_coupling_format *f, const float *b, int64_t span, int n, float *c)
{
    uint32_t e[DT_CAPS_SPAN_MAX], sum = 0;
    float top = b[0];

    for (int64_t k = 1; k < span; k++) top = b[k * n] > top ? b[k * n] : top;
    for (int64_t k = 0; k < span; k++) {
        e[k] = dt_exp_code(dt_caps_table.exp, (int64_t)((top - b[k * n]) * f->up), f->exp);
        sum += e[k];
    }
    const dt_softmax_divisor d = dt_softmax_divisor_of(sum, (uint32_t)1 << 31);
    for (int64_t k = 0; k < span; k++) c[k * n] = f->step * (float)dt_coupling_code(d, e[k], f->bits, f->frac);
}

static void coupling_codes_plain(const dt_coupling_format *f, const float *b, int64_t capsules, int64_t span, int n,
                                 float *c)
{
    for (int64_t m = 0; m < capsules * n; m += span * n) {
        for (int l = 0; l < n; l++) coupling_codes_row(f, b + m + l, span, n, c + m + l);
    }
}

static void softmax_plain(const float *b, int64_t capsules, int64_t span, int n, float *c)
{
    softmax(b, capsules, span, n, c);
}

static void softmax_backward_plain(const float *c, int64_t capsules, int64_t span, int n, float *dc)
{
    softmax_backward(c, capsules, span, n, dc);
}

static void give_plain(const dt_vote_gradient *t, float *du)
{
    give(t, 0, du);
}

const dt_caps_lanes dt_caps_lanes_plain = {
    .agreements = agreements_plain,
    .add_weighted = add_weighted_plain,
    .add = add_plain,
    .logit_codes = logit_codes_plain,
    .coupling_codes = coupling_codes_plain,
    .softmax = softmax_plain,
    .softmax_backward = softmax_backward_plain,
    .give = give_plain,
    .squash = squash_plain,
    .squash_backward = squash_backward_plain,
};

const dt_caps_lanes *dt_caps_lanes_now(void)
{
    return dt_cpu_level_now() >= DT_CPU_AVX512 ? dt_caps_lanes_avx512 : &dt_caps_lanes_plain;
}
