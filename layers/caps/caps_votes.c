/*
 * caps_votes.c - the vote of each input capsule for each output capsule: its prediction of that capsule.
 *
 *   votes[n,i,:] = sum over a of x[n,i,a] * w[i,a,:],  a in order
 *   dx[n,i,a] += dvotes[n,i,:] . w[i,a,:],  dw[i,a,:] += sum over n of x[n,i,a] * dvotes[n,i,:]
 *
 * If x and w are grid tensors, it sums codes. The votes are then a grid tensor with scale sx * sw; they are exact, or
 * the node is refused. The gradients are with respect to the real values.
 *
 * Votes are the largest tensor of a capsule network, 74 MB for 100 images in ShallowCapsNet. So each vote is written
 * once and its gradient is read once. A thread takes a block of input capsules, whose w and dw stay in its second
 * cache, through all images: the votes of an image's block follow each other in memory. Of each capsule it takes a few
 * images in turn, for which w and dw stay in the first cache. Where the sizes are those of votes_avx512.h, its
 * functions compute; the plain loops here have the same order of sums.
 *
 * Source: Sabour, Frosst, Hinton, "Dynamic Routing Between Capsules", NIPS 2017, eq. 2 (u_hat = W u).
 * Shapes: x N,I,A; w I,A,C; votes N,I,C, C being output capsules of some dimension.
 * CUDA: cuda/caps_votes.cu.  Tests: tests/layers/test_caps_votes.c.
 */
#include "../../core/op.h"
#include "../../core/align.h"
#include "../../core/grid_facts.h"
#include "../../core/arith/grid.h"
#include "votes_avx512.h"

#include <assert.h>
#include <string.h>

enum { X, W, N_IN };

enum {
    INPUTS = 16,              /* of a block: 80 KB of w, and as much of dw, in both networks */
    IMAGES = DT_VOTES_IMAGES, /* whose gradients wait in the first cache while they are used for dx and for dw */
    LANES = 16                /* sums of a dot product, which are folded by halves */
};

static dt_status votes_on_grid(dt_node *node)
{
    const dt_tensor *x = node->in[X], *w = node->in[W];
    const int64_t terms = x->shape.dim[2], x_bound = dt_code_bound(x), w_bound = dt_code_bound(w);
    const double most = (double)terms * (double)x_bound * (double)w_bound; /* may be beyond int64_t */
    dt_tensor *votes = node->out;

    DT_CHECK(x->n_scale == 1 && w->n_scale == 1, DT_ERR_UNSUPPORTED,
             "%s: caps_votes: x has %d scales, w has %d; needed is one of each, or real values of both", node->name,
             x->n_scale, w->n_scale);
    DT_CHECK(most < (double)DT_F32_EXACT, DT_ERR_UNSUPPORTED,
             "%s: caps_votes: %lld products of codes of x up to %lld and of w up to %lld may sum to %.0f, and f32 sums "
             "are exact below %lld; use fewer bits, or real values",
             node->name, (long long)terms, (long long)x_bound, (long long)w_bound, most, (long long)DT_F32_EXACT);
    votes->n_scale = 1;
    votes->qmax = (int64_t)most;
    votes->qmin = -votes->qmax;
    return DT_OK;
}

static dt_status caps_votes_infer(dt_node *node)
{
    const dt_tensor *x = node->in[X], *w = node->in[W];
    char text_x[64], text_w[64];
    assert(x->type == DT_F32 && w->type == DT_F32);

    DT_CHECK(x->shape.ndim == 3 && w->shape.ndim == 3 && x->shape.dim[1] == w->shape.dim[0] &&
                 x->shape.dim[2] == w->shape.dim[1],
             DT_ERR_SHAPE, "%s: caps_votes: x is %s, w is %s; needed are N,I,A and I,A,C", node->name,
             dt_shape_text(&x->shape, text_x, sizeof text_x), dt_shape_text(&w->shape, text_w, sizeof text_w));
    node->out->shape = x->shape;
    node->out->shape.dim[2] = w->shape.dim[2];
    if (x->n_scale > 0 || w->n_scale > 0) DT_TRY(votes_on_grid(node));
    return DT_OK;
}

const dt_op dt_op_caps_votes = {
    .name = "caps_votes",
    .min_in = N_IN,
    .max_in = N_IN,
    .backward_reads = DT_READS_IN(X) | DT_READS_IN(W),
    .infer = caps_votes_infer,
};

/* Rows of memory, or numbers, that lie `stride` elements apart. */
typedef struct {
    const float *at;
    int64_t stride;
} spread;

/* sum[c] += scale * factor[k] * row[k][c], k = 0, 1, ... n - 1 in order; four rows a pass save loads of sum. */
static void add_rows(spread factor, float scale, spread row, int64_t n, int64_t columns, float *restrict sum)
{
    int64_t k = 0;

    for (; k + 4 <= n; k += 4) {
        const float *f = factor.at + k * factor.stride;
        const float f0 = scale * f[0], f1 = scale * f[factor.stride];
        const float f2 = scale * f[2 * factor.stride], f3 = scale * f[3 * factor.stride];
        const float *restrict r0 = row.at + k * row.stride, *restrict r1 = r0 + row.stride;
        const float *restrict r2 = r1 + row.stride, *restrict r3 = r2 + row.stride;
        for (int64_t c = 0; c < columns; c++) sum[c] = sum[c] + f0 * r0[c] + f1 * r1[c] + f2 * r2[c] + f3 * r3[c];
    }
    for (; k < n; k++) {
        const float f = scale * factor.at[k * factor.stride];
        const float *restrict r = row.at + k * row.stride;
        for (int64_t c = 0; c < columns; c++) sum[c] += f * r[c];
    }
}

static float dot(const float *restrict u, const float *restrict v, int64_t n)
{
    float lane[LANES] = { 0.0f }, rest = 0.0f;
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (int l = 0; l < LANES; l++) lane[l] += u[i + l] * v[i + l];
    }
    for (; i < n; i++) rest += u[i] * v[i];
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int l = 0; l < half; l++) lane[l] += lane[l + half];
    }
    return lane[0] + rest;
}

/* The letters of the shapes; of one input capsule, images lie inputs * terms and inputs * columns apart. */
typedef struct {
    int64_t batch, inputs, terms, columns; /* N, I, A, C */
    int by_avx512;
} votes_view;

static votes_view votes_look(const dt_node *node)
{
    const int64_t *x = node->in[X]->shape.dim, columns = node->out->shape.dim[2];
    return (votes_view){ x[0], x[1], x[2], columns, dt_votes_avx512_fit(x[2], columns) };
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The vote of capsule i in one image. */
static void give_vote(const votes_view *v, const float *x, const float *w, int far, float *vote)
{
    if (v->by_avx512) {
        dt_vote_avx512(x, w, v->columns, far, vote);
        return;
    }
    memset(vote, 0, (size_t)v->columns * sizeof *vote);
    add_rows((spread){ x, 1 }, 1.0f, (spread){ w, v->columns }, v->terms, v->columns, vote);
}

static void block_forward(const dt_node *node, const votes_view *v, int64_t first)
{
    const float *x = node->in[X]->data, *w = node->in[W]->data;
    const int far = dt_tensor_bytes(node->out) >= DT_FAR_BYTES;
    float *votes = node->out->data;

    for (int64_t n = 0; n < v->batch; n += IMAGES) {
        for (int64_t i = first; i < least(first + INPUTS, v->inputs); i++) {
            for (int64_t k = n; k < least(n + IMAGES, v->batch); k++) {
                const int64_t at = k * v->inputs + i;
                give_vote(v, x + at * v->terms, w + i * v->terms * v->columns, far, votes + at * v->columns);
            }
        }
    }
    if (far) dt_votes_avx512_done();
}

static dt_status caps_votes_forward(const dt_node *node, const dt_exec *ex)
{
    const votes_view v = votes_look(node);
    const dt_tensor *x = node->in[X], *w = node->in[W];
    (void)ex;

#pragma omp parallel for
    for (int64_t first = 0; first < v.inputs; first += INPUTS) block_forward(node, &v, first);
    if (node->out->n_scale > 0) node->out->scale[0] = x->scale[0] * w->scale[0];
    return DT_OK;
}

/* dx of one image */
static void give_dx(const dt_vote_images *images, int k, const dt_vote_weights *weights)
{
    const float *dvote = images->dvotes + k * images->votes_next;
    float *dx = images->dx + k * images->x_next;

    for (int64_t a = 0; a < weights->terms; a++) {
        const float slope = weights->scale * dot(dvote, weights->w + a * weights->columns, weights->columns);
        dx[a] = images->fresh ? slope : dx[a] + slope;
    }
}

static void give_gradients(const votes_view *v, const dt_vote_images *images, const dt_vote_weights *weights)
{
    if (v->by_avx512) {
        dt_vote_gradients_avx512(images, weights);
        return;
    }
    for (int64_t a = 0; weights->dw && a < v->terms; a++) {
        add_rows((spread){ images->x + a, images->x_next }, images->x_scale,
                 (spread){ images->dvotes, images->votes_next }, images->n, v->columns, weights->dw + a * v->columns);
    }
    for (int k = 0; images->dx && k < images->n; k++) give_dx(images, k, weights);
}

static void block_backward(const dt_node *node, const votes_view *v, int64_t first)
{
    const dt_tensor *x = node->in[X], *w = node->in[W];
    const int64_t last = least(first + INPUTS, v->inputs), of_capsule = v->terms * v->columns;
    const float *dvotes = node->out->grad;
    float *dw = dt_grads(w), *dx = dt_grads(x);

    if (dw && node->fresh & 1u << W)
        memset(dw + first * of_capsule, 0, (size_t)((last - first) * of_capsule) * sizeof *dw);
    for (int64_t n = 0; n < v->batch; n += IMAGES) {
        for (int64_t i = first; i < last; i++) {
            const int64_t at = n * v->inputs + i;
            const dt_vote_images images = { .x = (const float *)x->data + at * v->terms,
                                            .dx = dx ? dx + at * v->terms : NULL,
                                            .dvotes = dvotes + at * v->columns,
                                            .x_next = v->inputs * v->terms,
                                            .votes_next = v->inputs * v->columns,
                                            .n = (int)least(IMAGES, v->batch - n),
                                            .fresh = (int)(node->fresh & 1u << X),
                                            .x_scale = dt_scale_at(x->scale, x->n_scale, 0) };
            const dt_vote_weights weights = { .w = (const float *)w->data + i * of_capsule,
                                              .dw = dw ? dw + i * of_capsule : NULL,
                                              .scale = dt_scale_at(w->scale, w->n_scale, 0),
                                              .terms = v->terms,
                                              .columns = v->columns };
            give_gradients(v, &images, &weights);
        }
    }
}

static dt_status caps_votes_backward(const dt_node *node, const dt_exec *ex)
{
    const votes_view v = votes_look(node);
    (void)ex;

#pragma omp parallel for
    for (int64_t first = 0; first < v.inputs; first += INPUTS) block_backward(node, &v, first);
    return DT_OK;
}

const dt_kernel dt_cpu_caps_votes = {
    .forward = caps_votes_forward,
    .backward = caps_votes_backward,
    .overwrites = 1u << X | 1u << W,
};
