/*
 * caps_loops.h - inside caps_lanes: loops over the inputs of a group and over the values of a capsule. Their lengths
 * are constants where it matters, so that the compiler makes vectors of them. Each set of functions inlines them, for
 * its own instructions.
 */
#ifndef DT_CAPS_LOOPS_H
#define DT_CAPS_LOOPS_H

#include "caps_lanes.h"

#include <string.h>

/* The values of a capsule, or a part of them, which lie anywhere. */
typedef float vec8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef float vec16 __attribute__((vector_size(64), aligned(4), may_alias));

/* ---- sums over inputs; n and dim are constants wherever these are inlined, but for odd sizes ---- */

ALWAYS void add_weighted_16(const dt_vote_group *g, const float *w, int n, int dim, int scaled, float *sum)
{
    const int64_t next = g->capsules * dim;

    for (int64_t at = 0; at < next; at += 16) {
        const float *weight = w + at / dim * n, *u = g->u + at;
        vec16 acc = *(const vec16 *)(sum + at);
        for (int l = 0; l < n; l++, u += next) {
            vec16 vote = *(const vec16 *)u;
            if (scaled) vote *= g->scale;
            acc += weight[l] * vote;
        }
        *(vec16 *)(sum + at) = acc;
    }
}

ALWAYS void add_weighted_8(const dt_vote_group *g, const float *w, int n, int scaled, float *sum)
{
    const int64_t next = g->capsules * 8;

    for (int64_t at = 0; at < next; at += 8) {
        const float *weight = w + at / 8 * n, *u = g->u + at;
        vec8 acc = *(const vec8 *)(sum + at);
        for (int l = 0; l < n; l++, u += next) {
            vec8 vote = *(const vec8 *)u;
            if (scaled) vote *= g->scale;
            acc += weight[l] * vote;
        }
        *(vec8 *)(sum + at) = acc;
    }
}

ALWAYS void add_weighted_of(const dt_vote_group *g, const float *w, float *restrict sum)
{
    const int64_t next = g->capsules * g->dim;

    for (int l = 0; l < g->n; l++) {
        const float *u = g->u + l * next;
        for (int64_t m = 0; m < g->capsules; m++) {
            const float weight = w[m * g->n + l];
            for (int64_t k = m * g->dim; k < (m + 1) * g->dim; k++) sum[k] += weight * (g->scale * u[k]);
        }
    }
}

ALWAYS void add_weighted_by(const dt_vote_group *g, const float *w, int n, int scaled, float *sum)
{
    switch (g->dim) {
    case 8: add_weighted_8(g, w, n, scaled, sum); break;
    case 16: add_weighted_16(g, w, n, 16, scaled, sum); break;
    case 32: add_weighted_16(g, w, n, 32, scaled, sum); break;
    default: add_weighted_of(g, w, sum);
    }
}

ALWAYS void add_weighted(const dt_vote_group *g, const float *w, float *sum)
{
    const int is_whole = g->n == DT_CAPS_GROUP;

    if (is_whole && g->scale == 1.0f)
        add_weighted_by(g, w, DT_CAPS_GROUP, 0, sum);
    else if (is_whole)
        add_weighted_by(g, w, DT_CAPS_GROUP, 1, sum);
    else
        add_weighted_by(g, w, g->n, 1, sum);
}

ALWAYS void add(const dt_vote_group *g, float *restrict sum)
{
    const int64_t width = g->capsules * g->dim;
    int64_t at = 0;

    for (; at + 16 <= width; at += 16) {
        vec16 acc = *(const vec16 *)(sum + at);
        for (int l = 0; l < g->n; l++) acc += *(const vec16 *)(g->u + l * width + at);
        *(vec16 *)(sum + at) = acc;
    }
    for (; at < width; at++) {
        for (int l = 0; l < g->n; l++) sum[at] += g->u[l * width + at];
    }
}

/* e^x for x <= 0 within two units of the last place, 0 below e^-87; a NaN stays one. It is e^r 2^k, where r = x - k ln
 * 2 and e^r a polynomial. Source of its coefficients: Moshier, Cephes, expf.c. */
ALWAYS float exp_below(float x)
{
    const float shift = 0x1.8p23f, t = x * 1.44269504f + shift,
                k = t - shift; /* k: rounded, also in the last bits of t */
    const float r = x - k * 0.693359375f - k * -2.12194440e-4f;
    float p = 1.9875691500e-4f, power;
    uint32_t bits;

    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    memcpy(&bits, &t, sizeof bits);
    bits = (bits + 127) << 23; /* 2^k; what shift leaves above them is lost */
    memcpy(&power, &bits, sizeof power);
    return x < -87.0f ? 0.0f : (p * (r * r) + r + 1.0f) * power;
}

ALWAYS void softmax_of(const float *restrict b, int64_t span, int n, float *restrict c)
{
    float top[DT_CAPS_GROUP], inverse[DT_CAPS_GROUP];
    double sum[DT_CAPS_GROUP];

    for (int l = 0; l < n; l++) {
        top[l] = b[l];
        sum[l] = 0.0;
    }
    for (int64_t k = n; k < span * n; k += n) {
        for (int l = 0; l < n; l++) top[l] = b[k + l] > top[l] ? b[k + l] : top[l];
    }
    for (int64_t k = 0; k < span * n; k += n) {
        for (int l = 0; l < n; l++) {
            const float e = exp_below(b[k + l] - top[l]);
            c[k + l] = e;
            sum[l] += (double)e;
        }
    }
    for (int l = 0; l < n; l++) inverse[l] = (float)(1.0 / sum[l]);
    for (int64_t k = 0; k < span * n; k += n) {
        for (int l = 0; l < n; l++) c[k + l] *= inverse[l];
    }
}

ALWAYS void softmax(const float *b, int64_t capsules, int64_t span, int n, float *c)
{
    for (int64_t m = 0; m < capsules; m += span) {
        if (n == DT_CAPS_GROUP)
            softmax_of(b + m * DT_CAPS_GROUP, span, DT_CAPS_GROUP, c + m * DT_CAPS_GROUP);
        else
            softmax_of(b + m * n, span, n, c + m * n);
    }
}

ALWAYS void softmax_backward_of(const float *restrict c, int64_t span, int n, float *restrict dc)
{
    double mean[DT_CAPS_GROUP] = { 0 };

    for (int64_t k = 0; k < span * n; k += n) {
        for (int l = 0; l < n; l++) mean[l] += (double)(c[k + l] * dc[k + l]);
    }
    for (int64_t k = 0; k < span * n; k += n) {
        for (int l = 0; l < n; l++) dc[k + l] = c[k + l] * (dc[k + l] - (float)mean[l]);
    }
}

ALWAYS void softmax_backward(const float *c, int64_t capsules, int64_t span, int n, float *dc)
{
    for (int64_t m = 0; m < capsules; m += span) {
        if (n == DT_CAPS_GROUP)
            softmax_backward_of(c + m * DT_CAPS_GROUP, span, DT_CAPS_GROUP, dc + m * DT_CAPS_GROUP);
        else
            softmax_backward_of(c + m * n, span, n, dc + m * n);
    }
}

/* ---- codes of routing by integers ---- */

ALWAYS void logit_codes(const dt_logit_format *f, const float *was, const float *agreed, int64_t n, float *restrict b)
{
    const dt_logit_format h = *f; /* which no store changes */

    for (int64_t k = 0; k < n; k++) {
        const int64_t old = (int64_t)(was[k] * h.was_up), a = (int64_t)(agreed[k] * h.agreed_up);
        b[k] = h.step * (float)dt_caps_logit_code(old, h.keep, a, h.agree, h.bits);
    }
}

/* ---- gradients of votes: nothing is summed but the terms ---- */

/* n_terms and dim, a multiple of 16, are constants wherever this is inlined, but for odd ones. past: to store past the
 * caches; du is aligned then */
ALWAYS void give_16(const dt_vote_gradient *t, int dim, int n_terms, int past, float *du)
{
    const int64_t next = t->capsules * dim;

    for (int l = 0; l < t->n; l++, du += next) {
        for (int64_t at = 0; at < next; at += 16) {
            vec16 sum = t->first * *(const vec16 *)(t->capsule + at);
            if (!t->fresh) sum += *(const vec16 *)(du + at);
            for (int k = 0; k < n_terms; k++) {
                const vec16 capsule = *(const vec16 *)(t->term[k].capsule + at);
                sum += t->term[k].pair[at / dim * t->n + l] * capsule;
            }
            if (past)
                STORE_PAST(du + at, sum);
            else
                *(vec16 *)(du + at) = sum;
        }
    }
}

ALWAYS void give_8(const dt_vote_gradient *t, int n_terms, float *du)
{
    const int64_t next = t->capsules * 8;

    for (int l = 0; l < t->n; l++, du += next) {
        for (int64_t at = 0; at < next; at += 8) {
            vec8 sum = t->first * *(const vec8 *)(t->capsule + at);
            if (!t->fresh) sum += *(const vec8 *)(du + at);
            for (int k = 0; k < n_terms; k++) {
                const vec8 capsule = *(const vec8 *)(t->term[k].capsule + at);
                sum += t->term[k].pair[at / 8 * t->n + l] * capsule;
            }
            *(vec8 *)(du + at) = sum;
        }
    }
}

ALWAYS void give_of(const dt_vote_gradient *t, float *du)
{
    const int64_t next = t->capsules * t->dim;

    for (int l = 0; l < t->n; l++, du += next) {
        for (int64_t at = 0; at < next; at++) {
            float sum = t->first * t->capsule[at];
            if (!t->fresh) sum += du[at];
            for (int k = 0; k < t->n_terms; k++)
                sum += t->term[k].pair[at / t->dim * t->n + l] * t->term[k].capsule[at];
            du[at] = sum;
        }
    }
}

ALWAYS void give_by(const dt_vote_gradient *t, int n_terms, int past, float *du)
{
    switch (t->dim) {
    case 8: give_8(t, n_terms, du); break;
    case 16: give_16(t, 16, n_terms, past, du); break;
    case 32: give_16(t, 32, n_terms, past, du); break;
    default: give_of(t, du);
    }
}

ALWAYS void give(const dt_vote_gradient *t, int past, float *du)
{
    switch (t->n_terms) {
    case 0: give_by(t, 0, 0, du); break;
    case 4: give_by(t, 4, past, du); break; /* three iterations */
    default: give_by(t, t->n_terms, 0, du);
    }
}

#endif /* DT_CAPS_LOOPS_H */
