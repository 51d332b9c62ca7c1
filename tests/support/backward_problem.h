/*
 * backward_problem.h - a 3x3 convolution of stride 1 and pad 1 with its gradients by a direct convolution in double,
 * and two functions that compute them otherwise.
 */
#ifndef DT_TEST_BACKWARD_PROBLEM_H
#define DT_TEST_BACKWARD_PROBLEM_H

#include "draws.h"

#include "../../core/half.h"
#include "../../layers/conv/conv.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Scales: none, x and w are real; one; one a filter. Fresh bits as in dt_node: 1 dx, 2 dw. */
typedef enum { NO_SCALES, ONE_SCALE, FILTER_SCALES } scales;

typedef struct {
    const char *why;
    int64_t N, H, W, C, K;
    dt_dtype x, w, dy, dx;
    scales scales;
    unsigned fresh;
} row;

/* A convolution, its real operands in double, and the truth. */
typedef struct {
    dt_conv_params params;
    dt_tensor x, w, y;
    dt_node node;
    float x_scale[1], w_scale[512];
    int64_t n_x, n_w, n_y;
    double *real_x, *real_w, *real_dy, *dx, *dw;
} problem;

static const float start = 3.0f; /* what gradients that are added to hold */

/* Between -1 and 1. */
static inline double noise(draws *d)
{
    return 2.0 * draw_real(d) - 1.0;
}

static inline void *room(size_t bytes)
{
    void *p = aligned_alloc(64, dt_round_up(bytes, 64));
    cr_assert(p != NULL, "no memory");
    return memset(p, 0xff, bytes); /* NaN in every type of float */
}

/* Stores a value; returns what is then there. */
static inline double put(void *data, dt_dtype type, int64_t i, double value)
{
    switch (type) {
    case DT_U8: return ((uint8_t *)data)[i] = (uint8_t)value;
    case DT_I8: return ((int8_t *)data)[i] = (int8_t)value;
    case DT_BF16: return (double)dt_from_bf16(((uint16_t *)data)[i] = dt_to_bf16((float)value));
    default: return (double)(((float *)data)[i] = (float)value);
    }
}

static inline float get(const void *data, dt_dtype type, int64_t i)
{
    return type == DT_BF16 ? dt_from_bf16(((const uint16_t *)data)[i]) : ((const float *)data)[i];
}

static inline dt_tensor tensor(dt_dtype type, dt_dtype grad_type, int64_t a, int64_t b, int64_t c, int64_t d)
{
    dt_tensor t = { .type = type, .grad_type = grad_type, .shape = { 4, { a, b, c, d } } };
    t.data = room(dt_tensor_bytes(&t));
    t.grad = room(dt_grad_bytes(&t));
    return t;
}

/* The definition: every pair of an output and a tap that meet in the map. */
static inline void direct(const row *c, const double *x, const double *w, const double *dy, double *dx, double *dw)
{
    memset(dx, 0, (size_t)(c->N * c->H * c->W * c->C) * sizeof *dx);
    memset(dw, 0, (size_t)(c->K * 9 * c->C) * sizeof *dw);
    for (int64_t at = 0; at < c->N * c->H * c->W * 9; at++) {
        const int64_t pixel = at / 9, tap = at % 9, r = tap / 3 - 1, s = tap % 3 - 1;
        const int64_t h = pixel / c->W % c->H + r, v = pixel % c->W + s, seen = pixel + r * c->W + s;
        if (h < 0 || h >= c->H || v < 0 || v >= c->W) continue;
        for (int64_t k = 0; k < c->K; k++) {
            const double g = dy[pixel * c->K + k];
            for (int64_t i = 0; i < c->C; i++) {
                dx[seen * c->C + i] += g * w[(k * 9 + tap) * c->C + i];
                dw[(k * 9 + tap) * c->C + i] += g * x[seen * c->C + i];
            }
        }
    }
}

/* is_real: x and w of NO_SCALES, and dy, are no integers. */
static inline void open_problem(problem *p, const row *c, int is_real)
{
    draws d = { .seed = 7 };
    const int on_grid = c->scales != NO_SCALES;

    *p = (problem){ .params = dt_conv_square(1, 1), .x_scale = { 0.25f }, .n_x = c->N * c->H * c->W * c->C };
    p->n_y = c->N * c->H * c->W * c->K;
    p->n_w = c->K * 9 * c->C;
    p->x = tensor(c->x, c->dx, c->N, c->H, c->W, c->C);
    p->w = tensor(c->w, DT_F32, c->K, 3, 3, c->C);
    p->y = tensor(DT_F32, c->dy, c->N, c->H, c->W, c->K);
    for (int k = 0; k < 512; k++) p->w_scale[k] = is_real ? 0.01f * (float)(k + 1) : 0.5f * (float)(1 << k % 3);
    p->x.scale = p->x_scale;
    p->x.n_scale = on_grid;
    p->w.scale = p->w_scale;
    p->w.n_scale = c->scales == FILTER_SCALES ? (int)c->K : on_grid;
    p->node = (dt_node){ .kind = DT_OP_CONV2D,
                         .name = "conv",
                         .params = &p->params,
                         .in = { &p->x, &p->w },
                         .n_in = 2,
                         .out = &p->y,
                         .fresh = c->fresh };
    p->real_x = room((size_t)p->n_x * sizeof(double));
    p->real_w = room((size_t)p->n_w * sizeof(double));
    p->real_dy = room((size_t)p->n_y * sizeof(double));
    p->dx = room((size_t)p->n_x * sizeof(double));
    p->dw = room((size_t)p->n_w * sizeof(double));
    for (int64_t i = 0; i < p->n_x; i++) {
        const double v = c->x == DT_U8 ? 8.0 + 7.9 * noise(&d) : 7.9 * noise(&d);
        p->real_x[i] = put(p->x.data, c->x, i, is_real && !on_grid ? v : trunc(v)) * (on_grid ? 0.25 : 1.0);
    }
    for (int64_t i = 0; i < p->n_w; i++) {
        const double v = 7.9 * noise(&d), scale = (double)p->w_scale[p->w.n_scale > 1 ? i / (9 * c->C) : 0];
        p->real_w[i] = put(p->w.data, c->w, i, is_real && !on_grid ? v : trunc(v)) * (on_grid ? scale : 1.0);
    }
    for (int64_t i = 0; i < p->n_y; i++) {
        const double v = 7.9 * noise(&d);
        p->real_dy[i] = put(p->y.grad, c->dy, i, is_real ? v : trunc(v));
    }
    direct(c, p->real_x, p->real_w, p->real_dy, p->dx, p->dw);
}

static inline void close_problem(problem *p)
{
    void *const rooms[] = { p->x.data, p->x.grad, p->w.data,  p->w.grad, p->y.data, p->y.grad,
                            p->real_x, p->real_w, p->real_dy, p->dx,     p->dw };
    for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++) free(rooms[i]);
}

/* Who computes dx and dw, and in what scratch. */
typedef struct {
    size_t (*scratch_x)(const dt_node *node, const dt_exec *ex, int threads);
    size_t (*scratch_w)(const dt_node *node, const dt_exec *ex, int threads);
    void (*dx)(const dt_node *node, const dt_exec *ex, int threads);
    void (*dw)(const dt_node *node, const dt_exec *ex, int threads);
} backward_by;

/* Both passes. Fresh gradients start as NaN, the others at `start`, scratch as NaN. */
static inline void run(problem *p, const backward_by *by, int threads)
{
    void *scratch_x = room(by->scratch_x(&p->node, NULL, threads));
    void *scratch_w = room(by->scratch_w(&p->node, NULL, threads));
    const dt_exec x = { .scratch = scratch_x }, w = { .scratch = scratch_w };

    for (int64_t i = 0; i < p->n_x; i++)
        put(p->x.grad, p->x.grad_type, i, p->node.fresh & 1u ? (double)NAN : (double)start);
    for (int64_t i = 0; i < p->n_w; i++) put(p->w.grad, DT_F32, i, p->node.fresh & 2u ? (double)NAN : (double)start);
    by->dx(&p->node, &x, threads);
    by->dw(&p->node, &w, threads);
    free(scratch_x);
    free(scratch_w);
}

/* Of real numbers, where another order of a sum would show: 2 and 3 threads give the bits of one. */
static inline void expect_equal_bits_on_threads(const row *c, const backward_by *by)
{
    problem p;

    open_problem(&p, c, 1);
    run(&p, by, 1);
    const size_t dx_bytes = dt_grad_bytes(&p.x), dw_bytes = dt_grad_bytes(&p.w);
    void *dx = memcpy(room(dx_bytes), p.x.grad, dx_bytes), *dw = memcpy(room(dw_bytes), p.w.grad, dw_bytes);
    for (int threads = 2; threads <= 3; threads++) {
        run(&p, by, threads);
        cr_assert(memcmp(dx, p.x.grad, dx_bytes) == 0, "%s: dx differs on %d threads", c->why, threads);
        cr_assert(memcmp(dw, p.w.grad, dw_bytes) == 0, "%s: dw differs on %d threads", c->why, threads);
    }
    free(dx);
    free(dw);
    close_problem(&p);
}

static inline double norm_of_error(const double *truth, const double *other, int64_t n)
{
    double error = 0.0, size = 0.0;
    for (int64_t i = 0; i < n; i++) {
        error += (other[i] - truth[i]) * (other[i] - truth[i]);
        size += truth[i] * truth[i];
    }
    return sqrt(error / size);
}

static inline double *grads_of(const dt_tensor *t)
{
    const int64_t n = dt_count(&t->shape);
    double *grads = room((size_t)n * sizeof *grads);
    for (int64_t i = 0; i < n; i++) grads[i] = (double)get(t->grad, t->grad_type, i);
    return grads;
}

static inline double *rounded(const double *a, int64_t n, int absolute)
{
    double *b = room((size_t)n * sizeof *b);
    for (int64_t i = 0; i < n; i++) b[i] = absolute ? fabs(a[i]) : (double)dt_from_bf16(dt_to_bf16((float)a[i]));
    return b;
}

/* Every element within bound * sum |a| |b|, sums of f32 aside (2^-24 a term). */
static inline void expect_within(const row *c, const char *what, const double *got, const double *truth,
                                 const double *sizes, int64_t n, double bound)
{
    for (int64_t i = 0; i < n; i++) {
        cr_assert(fabs(got[i] - truth[i]) <= bound * sizes[i], "%s: %s[%lld] is %.9g, expected %.9g, within %g", c->why,
                  what, (long long)i, got[i], truth[i], bound * sizes[i]);
    }
}

/* dx and dw of the same operands: `convolve`d directly from their magnitudes, and from each rounded to bf16. */
typedef struct {
    double *dx, *dw;
} pair;

static inline pair of_operands(const problem *p, const row *c, int absolute)
{
    double *x = rounded(p->real_x, p->n_x, absolute), *w = rounded(p->real_w, p->n_w, absolute);
    double *dy = rounded(p->real_dy, p->n_y, absolute);
    const pair to = { room((size_t)p->n_x * sizeof(double)), room((size_t)p->n_w * sizeof(double)) };

    direct(c, x, w, dy, to.dx, to.dw);
    free(x);
    free(w);
    free(dy);
    return to;
}

#endif /* DT_TEST_BACKWARD_PROBLEM_H */
