/*
 * caps_route.h - inside dynamic routing: sizes, memory and the rounding of one value, which CPU and CUDA share, and the
 *                magnitudes that calibration observes. caps_route.c has the mathematics.
 *
 * Iterations r count from 0 here. There are two kinds of arrays, each for the whole batch:
 *   capsules  [..][N][M][D]  a value for each value of the output, M = P * J capsules of D values
 *   pairs     [..][N][I][M]  a value for each input and output capsule: couplings, logits
 * The pairs of an image lie in groups of up to dt_route.group inputs, each as [M][n] in the memory of its rows [n][M].
 * GPUs have groups of one input.
 */
#ifndef DT_CAPS_ROUTE_H
#define DT_CAPS_ROUTE_H

#include "../../core/op.h"
#include "../../core/arith/fixed_point.h"

/* With params.observe: the largest magnitudes of a run, before any rounding, for each iteration. b[r] is that of the
 * logits after iteration r; after the last they are not computed, and it is 0. */
typedef struct {
    float c[DT_MAX_ROUTING], s[DT_MAX_ROUTING], v[DT_MAX_ROUTING], b[DT_MAX_ROUTING];
} dt_route_ranges;

/* Returns the magnitudes that a node with params.observe has seen, in device memory. A hook may read them, right after
 * the node's forward. */
static inline const dt_route_ranges *dt_route_ranges_of(const dt_node *node)
{
    return (const dt_route_ranges *)node->aux;
}

/* Of routing by integers: the real values of the first and the last code of s, v and b, and of the last of c, for each
 * iteration. Nothing flows back through a code at its limit. */
typedef struct {
    float s_low[DT_MAX_ROUTING], s_high[DT_MAX_ROUTING], v_low[DT_MAX_ROUTING], v_high[DT_MAX_ROUTING];
    float b_low[DT_MAX_ROUTING], b_high[DT_MAX_ROUTING], c_high[DT_MAX_ROUTING];
} dt_route_limits;

typedef struct {
    int64_t images, inputs; /* N, I */
    int64_t types;          /* J */
    int64_t capsules;       /* M = P * J */
    int64_t span;           /* capsules that share a softmax: M if joint, else J */
    int dim, iterations;    /* D, R */
    int group;              /* inputs whose pairs lie together */
    int64_t stored;         /* images in each array: N, or more while a hook looks at a part of the batch */

    const void *votes;  /* F32; of CUDA's routing by reals also BF16 */
    const float *scale; /* the real vote is scale * votes */
    int n_scale;
    const float *bias; /* [J][D] */
    float *y;          /* [N][M][D]: v of the iteration that ran last */

    int on_grid;            /* 1: routing by integers, ROUTE_INT: s, c, v and logits are real values of codes */
    int whole;              /* 1: the couplings of iteration 0 are 1 */
    int gives_s;            /* 1: y is s of the last iteration */
    dt_route_limits limits; /* on_grid */

    /* These lie in aux. */
    dt_route_ranges *seen;
    float *s;      /* [R] arrays of capsules, before squash */
    float *c;      /* arrays of pairs: the couplings of iterations 1, 2, .. */
    float *logits; /* on_grid: arrays of pairs: b after iterations 0, 1, .. */

    /* These lie in scratch; forward uses b and part alone. */
    float *b;    /* forward: one array of pairs, first the couplings of iteration 0, then the logits;
                  * backward: arrays of pairs, the gradients of the logits after iterations 0, 1, .. */
    float *ds;   /* [R] arrays of capsules, the gradients of s */
    float *v;    /* arrays of capsules; on_grid: [R], in aux, where forward has left them */
    float *part; /* [parts] arrays of capsules: sums over a part of the inputs */
} dt_route;

/* Returns the values of all output capsules of an image. */
static inline DT_HD int64_t dt_route_width(const dt_route *t)
{
    return t->capsules * t->dim;
}

/* Returns the capsules of image n in array r. */
static inline DT_HD float *dt_route_capsules(const dt_route *t, float *arrays, int r, int64_t n)
{
    return arrays + (r * t->stored + n) * dt_route_width(t);
}

/* Returns the pairs of the group that begins with input i of image n in array r. */
static inline DT_HD float *dt_route_pairs(const dt_route *t, float *arrays, int r, int64_t n, int64_t i)
{
    return arrays + ((r * t->stored + n) * t->inputs + i) * t->capsules;
}

/* Returns where the votes of input i of image n begin, [M][D] codes or real values. */
static inline DT_HD int64_t dt_route_vote(const dt_route *t, int64_t n, int64_t i)
{
    return (n * t->inputs + i) * dt_route_width(t);
}

/* Returns the votes of input i of image n, which are F32. */
static inline DT_HD const float *dt_route_votes(const dt_route *t, int64_t n, int64_t i)
{
    return (const float *)t->votes + dt_route_vote(t, n, i);
}

/* Returns c of iteration 0, the softmax of equal logits. */
static inline DT_HD float dt_route_first_coupling(const dt_route *t)
{
    return t->whole ? 1.0f : 1.0f / (float)t->span;
}

/* Returns x rounded to its format. draw is dt_fixed_draw's index, which counts on from image to image. */
static inline DT_HD float dt_route_round(const dt_fixed_format *f, const dt_step_in *step, int64_t draw, float x)
{
    return dt_fixed_value(f, x, dt_fixed_draw(f, step->seed, (uint64_t)draw));
}

/* Returns the sizes and pointers of a node that infer has accepted. group: DT_CAPS_GROUP if it runs on a CPU, else 1.
 */
dt_route dt_route_look(const dt_node *node, void *scratch, int group);

/* Returns the gradient that flows through a code at x, whose range is low..high. */
static inline DT_HD float dt_route_gated(float gradient, float x, float low, float high)
{
    return x <= low || x >= high ? 0.0f : gradient;
}

/* Is the CPU's backward of a node that t looks at. */
dt_status dt_route_backward(const dt_node *node, const dt_route *t);

/* Is a kernel's prepare. parts is the number of parts into which the backend cuts the inputs to sum over each. */
dt_status dt_route_prepare(const dt_node *node, const dt_exec *ex, int64_t parts, size_t *scratch_bytes);

#endif /* DT_CAPS_ROUTE_H */
