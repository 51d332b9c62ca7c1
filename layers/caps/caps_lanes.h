/*
 * caps_lanes.h - sums over the values of many capsules at once, on the CPU: what routing and squash spend their time
 * in.
 *
 * There are two sets of functions, plain loops and AVX-512, with equal bits: each sum has the order of dt_caps_dot
 * (squash.h). Routing takes its input capsules in groups of DT_CAPS_GROUP. What it knows of each input and output
 * capsule of a group, a logit or a coupling, lies as [M][n], so that one vector holds all inputs of one output capsule.
 */
#ifndef DT_CAPS_LANES_H
#define DT_CAPS_LANES_H

#include "../../core/arith/capsules.h"
#include "../../core/op_params.h"

#include <stdint.h>

enum {
    DT_CAPS_GROUP = 16,
    DT_CAPS_TERMS = 2 * (DT_MAX_ROUTING - 1) /* most terms of a gradient: two of each iteration but the first */
};

/* The votes of n <= DT_CAPS_GROUP inputs for the capsules of one image. */
typedef struct {
    const float *u; /* of the first input: [M][dim] codes or real values; the next input's lie M * dim further */
    float scale;    /* the real vote is scale * u */
    int64_t capsules;
    int dim, n;
} dt_vote_group;

/* A part of the gradient of a group's votes: pair[m][l] * capsule[m][d]. */
typedef struct {
    const float *pair;    /* [M][n] */
    const float *capsule; /* [M][dim] */
} dt_vote_term;

/* The gradients of a group's votes. */
typedef struct {
    float first;
    const float *capsule; /* [M][dim] */
    dt_vote_term term[DT_CAPS_TERMS];
    int64_t capsules;
    int n_terms, dim, n;
    int fresh; /* 1: they overwrite */
    int far;   /* 1: nobody reads them before the caches have forgotten them */
} dt_vote_gradient;

/* A logit's code is dt_caps_logit_code's. Values times `up` are codes, and codes times step are values. */
typedef struct {
    int64_t keep;
    dt_ratio agree;
    float was_up, agreed_up, step;
    int bits;
} dt_logit_format;

/* A coupling's code is dt_coupling_code's. up is of logits. */
typedef struct {
    dt_ratio exp;
    float up, step;
    int bits, frac;
} dt_coupling_format;

typedef struct {
    /* at[m][l] = <scale * u[l][m], v[m]> */
    void (*agreements)(const dt_vote_group *g, const float *v, float *at);
    /* sum[m] += w[m][l] * (scale * u[l][m]), l in order */
    void (*add_weighted)(const dt_vote_group *g, const float *w, float *sum);
    /* sum[m] += u[l][m], l in order; the scale is not looked at */
    void (*add)(const dt_vote_group *g, float *sum);
    /* c[m][l] = softmax of b[m][l] over the span of capsules that m lies in */
    void (*softmax)(const float *b, int64_t capsules, int64_t span, int n, float *c);
    /* db = c * (dc - sum over the span of c * dc): the gradient of those b, in place of dc */
    void (*softmax_backward)(const float *c, int64_t capsules, int64_t span, int n, float *dc);
    /* b[k] = the logit that follows from the one that it was and an agreement, k < n */
    void (*logit_codes)(const dt_logit_format *f, const float *was, const float *agreed, int64_t n, float *b);
    /* c[m][l] = couplings, the softmax of b[m][l] as softmax has it, in codes; span <= DT_CAPS_SPAN_MAX */
    void (*coupling_codes)(const dt_coupling_format *f, const float *b, int64_t capsules, int64_t span, int n,
                           float *c);
    /* du[l][m] += first * capsule[m], and then the terms in order; du = them where it is fresh */
    void (*give)(const dt_vote_gradient *t, float *du);
    /* dt_squash and dt_squash_backward of n capsules that follow each other */
    void (*squash)(const float *s, int64_t n, int dim, float *v);
    void (*squash_backward)(const float *s, const float *dv, int64_t n, int dim, int fresh, float *ds);
} dt_caps_lanes;

/* The plain loops, which every CPU has. */
extern const dt_caps_lanes dt_caps_lanes_plain;
/* Those of AVX-512; on other processors than x86-64 the plain loops. */
extern const dt_caps_lanes *const dt_caps_lanes_avx512;
/* Returns the functions of this CPU's level. */
const dt_caps_lanes *dt_caps_lanes_now(void);

#endif /* DT_CAPS_LANES_H */
