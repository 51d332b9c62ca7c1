/*
 * caps_route.c - dynamic routing by agreement: every input capsule i votes for every output capsule j, and in the next
 *                iteration its vote counts more for those capsules that agree with it.
 *
 *   b = 0;  R times:
 *     c[i,j] = softmax of b[i,:]
 *     s[j] = sum over i of c[i,j] u[i,j] + bias[j]
 *     v[j] = squash(s[j])
 *     b[i,j] += <u[i,j], v[j]>           not after the last iteration
 *
 * The softmax spans the J capsules of a position, or those of all positions together (DeepCaps' 3-D routing). In the
 * first iteration c is 1 divided by their number. Primary capsules are routed too, with R = 1 and one input, whose vote
 * is the output of a convolution: v = squash(u / J + bias).
 *
 * Backward goes through all iterations. ds^r is the gradient of s in iteration r = 1..R, likewise for the others, and
 * db^R = 0:
 *   ds^r = squash's gradient of dv^r;  dbias = sum of ds^r over images, positions and r
 *   dc^r[i,j] = <u[i,j], ds^r[j]>
 *   db^(r-1)[i,j] = db^r[i,j] + c^r[i,j] (dc^r[i,j] - sum over j' of c^r[i,j'] dc^r[i,j'])
 *   dv^(r-1)[j] = sum over i of db^(r-1)[i,j] u[i,j]
 *   du[i,j] = sum over r of c^r[i,j] ds^r[j]  +  sum over r < R of db^r[i,j] v^r[j]
 *
 * So an iteration is one sweep over the votes, in which the logits, couplings and weighted votes of a group of inputs
 * follow one another (caps_lanes.h). An iteration of backward is one sweep too, and du is written in one more, which
 * reads no votes. Images are taken one at a time, so that their votes stay in a core's cache.
 *
 * With params.fixed, c, s (with its bias), v and b are rounded as soon as they are computed, and nothing flows back.
 *
 * Sources: Sabour, Frosst, Hinton, "Dynamic Routing Between Capsules", NIPS 2017, procedure 1; Rajasegaran et al.,
 * "DeepCaps", CVPR 2019; rounding: Marchisio et al., "Q-CapsNets", DAC 2020.
 * Shapes: votes N,I,C or N*I,H,W,C, real or on a grid with one scale; bias C = J * D -> y N,C or N,H,W,C; P = H * W.
 * Memory: caps_route.h.  CUDA: cuda/caps_route.cu.  Tests: tests/layers/test_caps_route.c.
 */
#include "caps_route.h"

#include "../../core/align.h"
#include "../../core/grid_facts.h"
#include "caps_lanes.h"

#include <assert.h>
#include <string.h>

/* A block's sums are added to the others': 64 + I / 64 roundings in a row, instead of I. It is whole groups. */
enum { BLOCK = 4 * DT_CAPS_GROUP };

/* Of an image: the sum of the current block of inputs, and a gradient of v. */
enum { PART_BLOCK, PART_DV, N_PARTS };

enum { VOTES, BIAS };

static dt_status route_check_params(const dt_node *node)
{
    const dt_caps_route_params *p = node->params;

    DT_CHECK(p->iterations >= 1 && p->iterations <= DT_MAX_ROUTING, DT_ERR_ARGUMENT,
             "%s: caps_route: %d iterations, allowed are 1 to %d", node->name, p->iterations, DT_MAX_ROUTING);
    DT_CHECK(p->inputs >= 1 && p->dim >= 1, DT_ERR_ARGUMENT, "%s: caps_route: inputs %d and dim %d must be 1 or more",
             node->name, p->inputs, p->dim);
    return DT_OK;
}

static dt_status route_check_shapes(const dt_node *node)
{
    const dt_caps_route_params *p = node->params;
    const dt_tensor *votes = node->in[VOTES], *bias = node->in[BIAS];
    const dt_shape *u = &votes->shape;
    char text[64];

    DT_CHECK(u->ndim == 3 || u->ndim == 4, DT_ERR_SHAPE,
             "%s: caps_route: votes are %s, needed are the axes N,I,C or N*I,H,W,C", node->name,
             dt_shape_text(u, text, sizeof text));
    DT_CHECK(u->ndim == 3 ? u->dim[1] == p->inputs : u->dim[0] % p->inputs == 0, DT_ERR_SHAPE,
             "%s: caps_route: votes are %s, which are no images of %d input capsules", node->name,
             dt_shape_text(u, text, sizeof text), p->inputs);
    DT_CHECK(dt_channels(u) % p->dim == 0, DT_ERR_SHAPE,
             "%s: caps_route: votes have %lld channels, which are no capsules of %d values", node->name,
             (long long)dt_channels(u), p->dim);
    DT_CHECK(dt_count(&bias->shape) == dt_channels(u), DT_ERR_SHAPE,
             "%s: caps_route: bias has %lld values, votes have %lld channels", node->name,
             (long long)dt_count(&bias->shape), (long long)dt_channels(u));
    DT_CHECK(votes->n_scale <= 1 && bias->n_scale == 0, DT_ERR_ARGUMENT,
             "%s: caps_route: votes have %d scales, bias %d; votes may have one, bias none", node->name, votes->n_scale,
             bias->n_scale);
    return DT_OK;
}

/* Values in the arrays of a node, which caps_route.h lists. */
typedef struct {
    size_t capsules, pairs; /* of one array */
    size_t aux;             /* all of s and c */
    size_t scratch;         /* all of b, ds and v */
} route_sizes;

static route_sizes route_sizes_of(const dt_node *node)
{
    const dt_caps_route_params *p = node->params;
    const size_t iterations = (size_t)p->iterations, later = iterations - 1;
    route_sizes size = { .capsules = (size_t)dt_count(&node->out->shape) };

    size.pairs = size.capsules / (size_t)p->dim * (size_t)p->inputs;
    size.aux = iterations * size.capsules + later * size.pairs;
    size.scratch = (later > 0 ? later : 1) * size.pairs + (iterations + later) * size.capsules;
    return size;
}

static dt_status route_infer(dt_node *node)
{
    const dt_caps_route_params *p = node->params;
    const dt_shape *u = &node->in[VOTES]->shape;
    assert(node->in[VOTES]->type == DT_F32 && node->in[BIAS]->type == DT_F32);

    DT_TRY(route_check_params(node));
    DT_TRY(route_check_shapes(node));
    node->out->shape = *u;
    if (u->ndim == 3)
        node->out->shape = (dt_shape){ .ndim = 2, .dim = { u->dim[0], u->dim[2] } };
    else
        node->out->shape.dim[0] /= p->inputs;

    node->aux_bytes = sizeof(dt_route_ranges) + route_sizes_of(node).aux * sizeof(float);
    return DT_OK;
}

static const dt_field caps_route_fields[] = {
    { DT_MEMBER(dt_caps_route_params, iterations), DT_INT(1, DT_MAX_ROUTING) },
    { DT_MEMBER(dt_caps_route_params, inputs), DT_INT(1, 1 << 24) },
    { DT_MEMBER(dt_caps_route_params, dim), DT_INT(1, 1 << 20) },
    { DT_MEMBER(dt_caps_route_params, joint), DT_INT(0, 1) },
};

const dt_op dt_op_caps_route = {
    .name = "caps_route",
    .min_in = 2,
    .max_in = 2,
    DT_OP_PARAMS(dt_caps_route_params, caps_route_fields),
    .backward_reads = DT_READS_IN(VOTES) | DT_READS_AUX,
    .infer = route_infer,
};

dt_route dt_route_look(const dt_node *node, void *scratch, int group)
{
    const dt_caps_route_params *p = node->params;
    const dt_tensor *votes = node->in[VOTES];
    const dt_shape *y = &node->out->shape;
    const route_sizes size = route_sizes_of(node);
    dt_route t = { .images = y->dim[0], .inputs = p->inputs, .dim = p->dim, .iterations = p->iterations };

    t.group = group;
    t.types = dt_channels(y) / p->dim;
    t.capsules = dt_count(y) / t.images / p->dim;
    t.stored = t.images;
    t.span = p->joint ? t.capsules : t.types;
    t.votes = votes->data;
    t.scale = votes->scale;
    t.n_scale = votes->n_scale;
    t.bias = node->in[BIAS]->data;
    t.y = node->out->data;
    t.seen = node->aux;
    t.s = (float *)(t.seen + 1);
    t.c = t.s + (size_t)t.iterations * size.capsules;
    t.part = (float *)scratch + size.scratch;
    t.v = t.part - (size_t)(t.iterations - 1) * size.capsules;
    t.ds = t.v - (size_t)t.iterations * size.capsules;
    t.b = scratch;
    return t;
}

dt_status dt_route_prepare(const dt_node *node, const dt_exec *ex, int64_t parts, size_t *scratch_bytes)
{
    const dt_caps_route_params *p = node->params;
    const route_sizes size = route_sizes_of(node);
    const int wants_grad = node->in[VOTES]->wants_grad || node->in[BIAS]->wants_grad;

    DT_CHECK(!(p->fixed && ex->training && wants_grad), DT_ERR_UNSUPPORTED,
             "%s: caps_route: nothing flows back through fixed-point routing; train without it", node->name);
    *scratch_bytes = (size.scratch + (size_t)parts * size.capsules) * sizeof(float);
    return DT_OK;
}

/* One image of a run. */
typedef struct {
    const dt_route *t;
    const dt_caps_lanes *lanes;
    const dt_caps_route_params *p;
    const dt_step_in *step;
    int64_t n;
    float scale;
    dt_route_ranges *seen; /* of this image */
} route_image;

static dt_vote_group group_of(const route_image *im, int64_t first)
{
    const dt_route *t = im->t;
    const int64_t left = t->inputs - first;

    return (dt_vote_group){ .u = dt_route_votes(t, im->n, first),
                            .scale = im->scale,
                            .capsules = t->capsules,
                            .dim = t->dim,
                            .n = (int)(left < t->group ? left : t->group) };
}

/* Values that lie `stride` elements apart. */
typedef struct {
    float *x;
    int64_t count, stride;
} spread;

/* What follows the computation of values: a look at the largest magnitude, and rounding. draw: number of the first. */
static void settle(const route_image *im, const dt_fixed_format *f, float *largest, spread s, int64_t draw)
{
    for (int64_t k = 0; im->p->observe && k < s.count; k++) *largest = fmaxf(*largest, fabsf(s.x[k * s.stride]));
    for (int64_t k = 0; im->p->fixed && k < s.count; k++) {
        s.x[k * s.stride] = dt_route_round(f, im->step, draw + k, s.x[k * s.stride]);
    }
}

static void settle_capsules(const route_image *im, const dt_fixed_format *f, float *largest, float *x)
{
    const int64_t width = dt_route_width(im->t);
    settle(im, f, largest, (spread){ x, width, 1 }, (im->step->first + im->n) * width);
}

/* x: pairs of the group of n inputs that begins with input `first` */
static void settle_pairs(const route_image *im, const dt_fixed_format *f, float *largest, float *x, int64_t first)
{
    const dt_route *t = im->t;
    const int n = group_of(im, first).n;

    for (int l = 0; l < n; l++) {
        const int64_t input = (im->step->first + im->n) * t->inputs + first + l;
        settle(im, f, largest, (spread){ x + l, t->capsules, n }, input * t->capsules);
    }
}

/* Weights for the votes of the group that begins with input `first`: [M][n]. */
typedef const float *(*route_weights)(const route_image *im, int r, const dt_vote_group *g, int64_t first);

/* total[m] = sum over the inputs of weight * vote: one sweep over an image's votes. */
static void sum_votes(const route_image *im, int r, route_weights weights_of, float *total)
{
    const dt_route *t = im->t;
    const int64_t width = dt_route_width(t);
    float *block = dt_route_capsules(t, t->part, PART_BLOCK, im->n);

    memset(total, 0, (size_t)width * sizeof *total);
    for (int64_t first = 0; first < t->inputs; first += BLOCK) {
        memset(block, 0, (size_t)width * sizeof *block);
        for (int64_t i = first; i < first + BLOCK && i < t->inputs;) {
            const dt_vote_group g = group_of(im, i);
            im->lanes->add_weighted(&g, weights_of(im, r, &g, i), block);
            i += g.n;
        }
        for (int64_t k = 0; k < width; k++) total[k] += block[k];
    }
}

/* c of iteration r; before it, b gets the agreement with v of the iteration before. */
static const float *couplings(const route_image *im, int r, const dt_vote_group *g, int64_t first)
{
    const dt_route *t = im->t;
    const dt_route_format *format = im->p->format;
    const int64_t count = t->capsules * g->n;
    float *b = dt_route_pairs(t, t->b, 0, im->n, first);

    if (r == 0) {
        for (int64_t k = 0; k < count; k++) b[k] = dt_route_first_coupling(t);
        settle_pairs(im, &format[0].c, &im->seen->c[0], b, first);
        return b;
    }
    float *c = dt_route_pairs(t, t->c, r - 1, im->n, first); /* the agreements at first */
    im->lanes->agreements(g, dt_route_capsules(t, t->y, 0, im->n), c);
    for (int64_t k = 0; k < count; k++) b[k] = r == 1 ? c[k] : b[k] + c[k];
    settle_pairs(im, &format[r - 1].b, &im->seen->b[r - 1], b, first);
    im->lanes->softmax(b, t->capsules, t->span, g->n, c);
    settle_pairs(im, &format[r].c, &im->seen->c[r], c, first);
    return c;
}

static void route_image_forward(const route_image *im)
{
    const dt_route *t = im->t;
    const int64_t channels = t->types * t->dim;
    float *v = dt_route_capsules(t, t->y, 0, im->n);

    for (int r = 0; r < t->iterations; r++) {
        float *s = dt_route_capsules(t, t->s, r, im->n);
        sum_votes(im, r, couplings, s);
        for (int64_t first = 0; first < dt_route_width(t); first += channels) {
            for (int64_t k = 0; k < channels; k++) s[first + k] += t->bias[k];
        }
        settle_capsules(im, &im->p->format[r].s, &im->seen->s[r], s);
        im->lanes->squash(s, t->capsules, t->dim, v);
        settle_capsules(im, &im->p->format[r].v, &im->seen->v[r], v);
    }
}

static void widen(dt_route_ranges *all, const dt_route_ranges *one)
{
    for (int r = 0; r < DT_MAX_ROUTING; r++) {
        all->c[r] = fmaxf(all->c[r], one->c[r]);
        all->s[r] = fmaxf(all->s[r], one->s[r]);
        all->v[r] = fmaxf(all->v[r], one->v[r]);
        all->b[r] = fmaxf(all->b[r], one->b[r]);
    }
}

static dt_status route_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    return dt_route_prepare(node, ex, N_PARTS, scratch_bytes);
}

static dt_status route_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_route t = dt_route_look(node, ex->scratch, DT_CAPS_GROUP);
    const dt_caps_lanes *lanes = dt_caps_lanes_now();

    *t.seen = (dt_route_ranges){ 0 };
#pragma omp parallel for
    for (int64_t n = 0; n < t.images; n++) {
        dt_route_ranges seen = { 0 };
        const float scale = dt_scale_at(t.scale, t.n_scale, 0);
        route_image_forward(&(route_image){ &t, lanes, node->params, &ex->step->in, n, scale, &seen });
#pragma omp critical(dt_caps_route_ranges)
        widen(t.seen, &seen); /* maxima, so in any order */
    }
    return DT_OK;
}

/* Leaves of n gradients those of codes within their range. */
static void gate(float *gradient, const float *x, int64_t n, float low, float high)
{
    for (int64_t k = 0; k < n; k++) gradient[k] = dt_route_gated(gradient[k], x[k], low, high);
}

/* db of iteration r - 1 */
static const float *logit_gradients(const route_image *im, int r, const dt_vote_group *g, int64_t first)
{
    const dt_route *t = im->t;
    const int64_t count = t->capsules * g->n;
    const float *c = dt_route_pairs(t, t->c, r - 1, im->n, first);
    float *db = dt_route_pairs(t, t->b, r - 1, im->n, first); /* dc at first */

    im->lanes->agreements(g, dt_route_capsules(t, t->ds, r, im->n), db);
    if (t->on_grid) gate(db, c, count, -INFINITY, t->limits.c_high[r - 1]);
    im->lanes->softmax_backward(c, t->capsules, t->span, g->n, db);
    if (r < t->iterations - 1) {
        const float *later = dt_route_pairs(t, t->b, r, im->n, first);
        for (int64_t k = 0; k < count; k++) db[k] += later[k];
    }
    if (t->on_grid) {
        const dt_route_limits *l = &t->limits;
        gate(db, dt_route_pairs(t, t->logits, r - 1, im->n, first), count, l->b_low[r - 1], l->b_high[r - 1]);
    }
    return db;
}

/* The gradients of the votes of an image, from what all iterations have left. */
static void vote_gradients(const route_image *im, int fresh, float *du)
{
    const dt_route *t = im->t;
    const int64_t width = dt_route_width(t), bytes = t->images * t->inputs * width * (int64_t)sizeof *du;
    dt_vote_gradient v = { .first = dt_route_first_coupling(t),
                           .capsule = dt_route_capsules(t, t->ds, 0, im->n),
                           .capsules = t->capsules,
                           .n_terms = 2 * (t->iterations - 1),
                           .dim = t->dim,
                           .fresh = fresh,
                           .far = bytes >= DT_FAR_BYTES };

    for (int64_t i = 0; i < t->inputs; i += v.n) {
        v.n = group_of(im, i).n;
        for (int r = 1; r < t->iterations; r++) {
            const float *c = dt_route_pairs(t, t->c, r - 1, im->n, i), *db = dt_route_pairs(t, t->b, r - 1, im->n, i);
            v.term[2 * r - 2] = (dt_vote_term){ c, dt_route_capsules(t, t->ds, r, im->n) };
            v.term[2 * r - 1] = (dt_vote_term){ db, dt_route_capsules(t, t->v, r - 1, im->n) };
        }
        im->lanes->give(&v, du + i * width);
    }
}

/* ds of iteration r, whose v has the gradient dv; on the grid dv is changed. */
static void capsules_backward(const route_image *im, int r, float *dv)
{
    const dt_route *t = im->t;
    const int64_t width = dt_route_width(t);
    const dt_route_limits *l = &t->limits;
    const float *s = dt_route_capsules(t, t->s, r, im->n);
    float *ds = dt_route_capsules(t, t->ds, r, im->n);

    if (t->on_grid && t->gives_s && r == t->iterations - 1) {
        memcpy(ds, dv, (size_t)width * sizeof *ds);
    } else {
        if (t->on_grid) gate(dv, dt_route_capsules(t, t->v, r, im->n), width, l->v_low[r], l->v_high[r]);
        im->lanes->squash_backward(s, dv, t->capsules, t->dim, 1, ds);
    }
    if (t->on_grid) gate(ds, s, width, l->s_low[r], l->s_high[r]);
}

/* Leaves ds, v and db of all iterations in the scratch; dy and du are of the batch, du may be NULL. */
static void route_image_backward(const route_image *im, const float *dy, int fresh, float *du)
{
    const dt_route *t = im->t;
    const int64_t width = dt_route_width(t);
    float *dv = dt_route_capsules(t, t->part, PART_DV, im->n);

    memcpy(dv, dy + im->n * width, (size_t)width * sizeof *dv);
    for (int r = t->iterations - 1; r >= 0; r--) {
        const float *s = dt_route_capsules(t, t->s, r, im->n);
        if (!t->on_grid && r < t->iterations - 1)
            im->lanes->squash(s, t->capsules, t->dim, dt_route_capsules(t, t->v, r, im->n));
        capsules_backward(im, r, dv);
        if (r > 0) sum_votes(im, r, logit_gradients, dv);
    }
    if (du) vote_gradients(im, fresh, du + im->n * t->inputs * width);
}

/* Gives the sum of ds over iterations, images and positions to db. LANES channels at a time: a cache line of each row.
 */
static void bias_backward(const dt_route *t, int fresh, float *db)
{
    enum { LANES = 16 };
    const int64_t channels = t->types * t->dim, rows = t->iterations * t->images * dt_route_width(t) / channels;

#pragma omp parallel for
    for (int64_t first = 0; first < channels; first += LANES) {
        const int64_t lanes = channels - first < LANES ? channels - first : LANES;
        double sum[LANES] = { 0 };
        for (int64_t row = 0; row < rows; row++) {
            for (int64_t l = 0; l < lanes; l++) sum[l] += (double)t->ds[row * channels + first + l];
        }
        for (int64_t l = 0; l < lanes; l++) db[first + l] = (float)sum[l] + (fresh ? 0.0f : db[first + l]);
    }
}

dt_status dt_route_backward(const dt_node *node, const dt_route *t)
{
    const int fresh = node->fresh & 1u << VOTES ? 1 : 0;
    const dt_caps_lanes *lanes = dt_caps_lanes_now();
    float *du = node->in[VOTES]->grad, *dbias = node->in[BIAS]->grad;
    if (!du && !dbias) return DT_OK;

#pragma omp parallel for
    for (int64_t n = 0; n < t->images; n++) {
        const route_image im = { .t = t, .lanes = lanes, .n = n, .scale = dt_scale_at(t->scale, t->n_scale, 0) };
        route_image_backward(&im, node->out->grad, fresh, du);
    }
    if (dbias) bias_backward(t, (int)(node->fresh & 1u << BIAS), dbias);
    return DT_OK;
}

static dt_status route_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_route t = dt_route_look(node, ex->scratch, DT_CAPS_GROUP);

    return dt_route_backward(node, &t);
}

const dt_kernel dt_cpu_caps_route = {
    .prepare = route_prepare,
    .forward = route_forward,
    .backward = route_backward,
    .overwrites = 1u << VOTES | 1u << BIAS,
};
