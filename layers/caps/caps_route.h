/*
 * caps_route.h - inside dynamic routing: sizes, memory and the rounding of one value, one for CPU and CUDA. And what a
 *                run that observes tells. The mathematics is in caps_route.c.
 *
 * Iterations r count from 0 here. Two kinds of arrays exist, each for the whole batch:
 *   capsules  [..][N][M][D]  a value for each value of the output, M = P * J capsules of D values
 *   pairs     [..][N][I][M]  a value for each input and output capsule: couplings, logits
 */
#ifndef DT_CAPS_ROUTE_H
#define DT_CAPS_ROUTE_H

#include "../../core/op.h"
#include "../../core/arith/fixed_point.h"

/* params.observe: the largest magnitudes of a run, before any rounding. b[r] is of the logits after iteration r; those
 * after the last are never computed, and 0 here. */
typedef struct {
    float c[DT_MAX_ROUTING], s[DT_MAX_ROUTING], v[DT_MAX_ROUTING], b[DT_MAX_ROUTING];
} dt_route_ranges;

/* In device memory; with params.observe valid in a node's hook, right after its forward. */
static inline const dt_route_ranges *dt_route_ranges_of(const dt_node *node)
{
    return (const dt_route_ranges *)node->aux;
}

typedef struct {
    int64_t images, inputs; /* N, I */
    int64_t types;          /* J */
    int64_t capsules;       /* M = P * J */
    int64_t span;           /* capsules that share a softmax: M if joint, else J */
    int dim, iterations;    /* D, R */

    const float *votes, *scale; /* the real vote is scale * votes */
    int n_scale;
    const float *bias; /* [J][D] */
    float *y;          /* [N][M][D]: v of the iteration that ran last */

    /* aux */
    dt_route_ranges *seen;
    float *s; /* [R] of capsules, before squash */
    float *c; /* of pairs: couplings of iterations 1, 2, .. */

    /* scratch; forward uses b and part alone */
    float *b;    /* forward: pairs, the couplings of iteration 0, then the logits.
                  * backward: of pairs, gradients of the logits after iterations 0, 1, .. */
    float *ds;   /* [R] of capsules */
    float *v;    /* of capsules */
    float *part; /* [parts] of capsules: sums over a part of the inputs */
} dt_route;

static inline DT_HD int64_t dt_route_width(const dt_route *t)
{
    return t->capsules * t->dim;
}

/* Image n of array r. */
static inline DT_HD float *dt_route_capsules(const dt_route *t, float *arrays, int r, int64_t n)
{
    return arrays + (r * t->images + n) * dt_route_width(t);
}

/* Image n, input i of array r: [M]. */
static inline DT_HD float *dt_route_pairs(const dt_route *t, float *arrays, int r, int64_t n, int64_t i)
{
    return arrays + ((r * t->images + n) * t->inputs + i) * t->capsules;
}

/* Votes of input i of image n: [M][D] codes or real values. */
static inline DT_HD const float *dt_route_votes(const dt_route *t, int64_t n, int64_t i)
{
    return t->votes + (n * t->inputs + i) * dt_route_width(t);
}

/* c of iteration 0: the softmax of equal logits. */
static inline DT_HD float dt_route_first_coupling(const dt_route *t)
{
    return 1.0f / (float)t->span;
}

/* x in its format. draw: the number of its draw, counted through the images of the dataset, as a tensor's are. */
static inline DT_HD float dt_route_round(const dt_fixed_format *f, const dt_step_in *step, int64_t draw, float x)
{
    return dt_fixed_value(f, x, dt_fixed_draw(f, step->seed, (uint64_t)draw));
}

/* Sizes and pointers of a node that infer has accepted. */
dt_route dt_route_look(const dt_node *node, void *scratch);

/* A kernel's prepare. parts: of the inputs, for which the backend keeps sums apart. */
dt_status dt_route_prepare(const dt_node *node, const dt_exec *ex, int64_t parts, size_t *scratch_bytes);

#endif /* DT_CAPS_ROUTE_H */
