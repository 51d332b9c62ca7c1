/*
 * conv_plain.c - a convolution by plain loops, which any CPU runs. It computes every node, and is slow.
 *
 * Every sum is taken in double, which holds any psum exactly, and rounded to f32 once. The order of each sum is fixed.
 * Narrow operands are widened first.
 *
 * The mathematics is in conv.c.
 * Tests: tests/layers/test_conv.c, tests/layers/test_conv_extremes.c, tests/layers/test_conv_types.c.
 */
#include "conv_kernels.h"
#include "conv_lines.h"

#include "../../core/half.h"

#include <assert.h>

/* One output position: acc[k] = sum over the taps inside the image. double holds any sum of codes exactly. */
static void conv_at(const dt_conv_shape *s, const float *x, const float *w, int64_t p, int64_t q, double *acc)
{
    const int64_t channels = dt_conv_group_channels(s);

    for (int64_t k = 0; k < s->K; k++) {
        const int64_t first = dt_conv_first_channel(s, k);
        double sum = 0.0;
        for (int64_t r = 0; r < s->R; r++) {
            const int64_t h = dt_conv_reach(s, 0, p, r);
            if (h < 0 || h >= s->H) continue;
            for (int64_t t = 0; t < s->S; t++) {
                const int64_t v = dt_conv_reach(s, 1, q, t);
                if (v < 0 || v >= s->W) continue;
                const float *xc = x + (h * s->W + v) * s->C + first, *wc = w + ((k * s->R + r) * s->S + t) * channels;
                for (int64_t c = 0; c < channels; c++) sum += (double)xc[c] * (double)wc[c];
            }
        }
        acc[k] = sum;
    }
}

typedef struct {
    dt_conv_shape s;
    double *sums;            /* of each row of y; then of each row of dx; then of each tap of dw */
    const float *x, *w, *dy; /* in f32; NULL where the directions do not read it */
} loops;

static const char *plain_refuses(const dt_node *node, const dt_exec *ex, unsigned direction)
{
    (void)node, (void)ex, (void)direction;
    return NULL;
}

static size_t sums_bytes(const dt_conv_shape *s)
{
    const int64_t sums[3] = { s->N * s->P * s->K, s->N * s->H * s->C, s->K * s->terms };
    int64_t most = 0;

    for (int i = 0; i < 3; i++) most = sums[i] > most ? sums[i] : most;
    return dt_round_up((size_t)most * sizeof(double), DT_CACHE_LINE);
}

/* [sums][x][w][dy], the last three where they are not F32 */
static dt_status plain_prepare(const dt_node *node, const dt_exec *ex, dt_conv_share *share)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_tensor *x = node->in[0], *w = node->in[1], *y = node->out;
    (void)ex;

    share->scratch_bytes = sums_bytes(&s) + dt_wide_bytes(x->type, dt_count(&x->shape)) +
                           dt_wide_bytes(w->type, dt_count(&w->shape)) +
                           dt_wide_bytes(y->grad_type, dt_count(&y->shape));
    return DT_OK;
}

/* Widens what the directions read. */
static loops loops_of(const dt_node *node, const dt_exec *ex, unsigned directions)
{
    const dt_tensor *x = node->in[0], *w = node->in[1], *y = node->out;
    loops l = { .s = dt_conv_shape_of(node), .sums = ex->scratch };
    float *x_at = (float *)((char *)ex->scratch + sums_bytes(&l.s));
    float *w_at = x_at + dt_wide_bytes(x->type, dt_count(&x->shape)) / sizeof(float);
    float *dy_at = w_at + dt_wide_bytes(w->type, dt_count(&w->shape)) / sizeof(float);

    if (directions & (DT_CONV_Y | DT_CONV_DW)) l.x = dt_widened(x->data, x->type, dt_count(&x->shape), x_at);
    if (directions & (DT_CONV_Y | DT_CONV_DX)) l.w = dt_widened(w->data, w->type, dt_count(&w->shape), w_at);
    if (directions & (DT_CONV_DX | DT_CONV_DW)) l.dy = dt_widened(y->grad, y->grad_type, dt_count(&y->shape), dy_at);
    return l;
}

static void forward(const loops *l, float *y)
{
    const dt_conv_shape *s = &l->s;

#pragma omp parallel for
    for (int64_t row = 0; row < s->N * s->P; row++) {
        const int64_t n = row / s->P, p = row % s->P;
        double *acc = l->sums + row * s->K;
        for (int64_t q = 0; q < s->Q; q++) {
            conv_at(s, l->x + n * s->H * s->W * s->C, l->w, p, q, acc);
            for (int64_t k = 0; k < s->K; k++) y[(row * s->Q + q) * s->K + k] = (float)acc[k];
        }
    }
}

/* dx at one position (h, v) of one image: acc[c] = sum over the taps and filters that saw it. */
static void backward_x_at(const loops *l, const dt_tensor *w, const float *dy, const int64_t at[2], double *acc)
{
    const dt_conv_shape *s = &l->s;
    const int64_t channels = dt_conv_group_channels(s);

    for (int64_t i = 0; i < s->C; i++) acc[i] = 0.0;
    for (int64_t tap = 0; tap < s->R * s->S; tap++) {
        const int64_t up = at[0] - dt_conv_reach(s, 0, 0, tap / s->S);
        const int64_t left = at[1] - dt_conv_reach(s, 1, 0, tap % s->S);
        const int64_t p = up / s->stride[0], q = left / s->stride[1];
        if (up < 0 || left < 0 || up % s->stride[0] || left % s->stride[1] || p >= s->P || q >= s->Q) continue;
        for (int64_t k = 0; k < s->K; k++) {
            const double scale = w->n_scale ? (double)w->scale[w->n_scale > 1 ? k : 0] : 1.0;
            const double g = scale * (double)dy[(p * s->Q + q) * s->K + k];
            const float *wc = l->w + (k * s->R * s->S + tap) * channels;
            double *sum = acc + dt_conv_first_channel(s, k);
            for (int64_t i = 0; i < channels; i++) sum[i] += g * (double)wc[i];
        }
    }
}

/* Writes a pixel's C channels, or adds them where dx is not fresh. at: of the first */
static void give_dx(const dt_tensor *x, int fresh, const double *sum, int64_t at, int64_t C)
{
    assert(fresh || x->grad_type == DT_F32);

    for (int64_t c = 0; c < C; c++) {
        if (x->grad_type == DT_BF16)
            ((uint16_t *)x->grad)[at + c] = dt_to_bf16((float)sum[c]);
        else
            dt_grads(x)[at + c] = (float)sum[c] + (fresh ? 0.0f : dt_grads(x)[at + c]);
    }
}

static void backward_x(const loops *l, const dt_node *node)
{
    const dt_conv_shape *s = &l->s;
    const int fresh = (node->fresh & 1u) != 0;

#pragma omp parallel for
    for (int64_t row = 0; row < s->N * s->H; row++) {
        const float *dy = l->dy + row / s->H * s->P * s->Q * s->K;
        double *acc = l->sums + row * s->C;
        for (int64_t v = 0; v < s->W; v++) {
            backward_x_at(l, node->in[1], dy, (const int64_t[2]){ row % s->H, v }, acc);
            give_dx(node->in[0], fresh, acc, (row * s->W + v) * s->C, s->C);
        }
    }
}

/* dw of one tap of one filter, at (k R + r) S + s: sum over the batch in double, in a fixed order. acc: [C / groups] */
static void backward_w_at(const loops *l, int64_t at, double *acc)
{
    const dt_conv_shape *s = &l->s;
    const int64_t k = at / (s->R * s->S), tap = at % (s->R * s->S);
    const int64_t channels = dt_conv_group_channels(s), first = dt_conv_first_channel(s, k);

    for (int64_t i = 0; i < channels; i++) acc[i] = 0.0;
    for (int64_t row = 0; row < s->N * s->P; row++) {
        const int64_t n = row / s->P, h = dt_conv_reach(s, 0, row % s->P, tap / s->S);
        if (h < 0 || h >= s->H) continue;
        for (int64_t q = 0; q < s->Q; q++) {
            const int64_t v = dt_conv_reach(s, 1, q, tap % s->S);
            if (v < 0 || v >= s->W) continue;
            const double g = (double)l->dy[(row * s->Q + q) * s->K + k];
            const float *xc = l->x + ((n * s->H + h) * s->W + v) * s->C + first;
            for (int64_t i = 0; i < channels; i++) acc[i] += g * (double)xc[i];
        }
    }
}

static void backward_w(const loops *l, const dt_node *node)
{
    const dt_tensor *x = node->in[0], *w = node->in[1];
    const int64_t channels = dt_conv_group_channels(&l->s);
    const double sx = x->n_scale ? (double)x->scale[0] : 1.0;
    const int fresh = (node->fresh & 2u) != 0;
    float *dw = dt_grads(w);

#pragma omp parallel for
    for (int64_t at = 0; at < l->s.K * l->s.R * l->s.S; at++) {
        double *acc = l->sums + at * channels;
        backward_w_at(l, at, acc);
        for (int64_t i = at * channels; i < (at + 1) * channels; i++) {
            dw[i] = (float)(sx * acc[i - at * channels]) + (fresh ? 0.0f : dw[i]);
        }
    }
}

static dt_status plain_run(const dt_node *node, const dt_exec *ex, const dt_conv_share *share, unsigned directions)
{
    const loops l = loops_of(node, ex, directions);
    (void)share;

    if (directions & DT_CONV_Y) forward(&l, node->out->data);
    if (directions & DT_CONV_DX) backward_x(&l, node);
    if (directions & DT_CONV_DW) backward_w(&l, node);
    return DT_OK;
}

const dt_conv_kernel dt_conv_plain = {
    .name = "plain",
    .refuses = plain_refuses,
    .prepare = plain_prepare,
    .run = plain_run,
};
