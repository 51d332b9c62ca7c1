/*
 * test_winograd_backward.c - dx and dw from transformed tiles against a direct convolution in double.
 *
 * Small integers stay exact through both, so they are compared with ==; what bf16 rounds is measured on real numbers.
 */
#include "../support/draws.h"

#include "../../core/half.h"
#include "../../layers/conv/winograd.h"
#include "../../layers/gemm/word_gemm.h"

#include <criterion/criterion.h>
#include <criterion/logging.h>
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

static const row rows[] = {
    { "one pixel", 1, 1, 1, 16, 16, DT_U8, DT_I8, DT_BF16, DT_BF16, ONE_SCALE, 3 },
    { "one tile, all of it", 2, 2, 2, 48, 32, DT_U8, DT_I8, DT_BF16, DT_BF16, ONE_SCALE, 3 },
    { "partial tiles both ways, added", 3, 3, 5, 16, 48, DT_U8, DT_I8, DT_F32, DT_F32, ONE_SCALE, 0 },
    { "a row of pixels", 3, 1, 7, 16, 16, DT_I8, DT_I8, DT_BF16, DT_F32, ONE_SCALE, 3 },
    { "an odd number of tiles, dx added", 1, 5, 5, 32, 16, DT_I8, DT_F32, DT_BF16, DT_F32, FILTER_SCALES, 2 },
    { "real operands, dw added", 2, 7, 7, 16, 32, DT_F32, DT_F32, DT_F32, DT_F32, NO_SCALES, 1 },
    { "real operands, 16-bit gradients", 2, 8, 8, 16, 32, DT_F32, DT_F32, DT_BF16, DT_BF16, NO_SCALES, 3 },
    { "codes in f32, filters of their own scales", 1, 8, 8, 32, 32, DT_F32, DT_F32, DT_F32, DT_BF16, FILTER_SCALES, 1 },
    { "several chunks of tiles", 3, 16, 14, 16, 16, DT_U8, DT_I8, DT_BF16, DT_BF16, FILTER_SCALES, 3 },
    { "several parts of the tiles, added", 5, 23, 21, 16, 16, DT_U8, DT_I8, DT_BF16, DT_F32, ONE_SCALE, 0 },
    { "several parts of the tiles, fresh", 6, 24, 20, 16, 16, DT_U8, DT_I8, DT_BF16, DT_F32, ONE_SCALE, 3 },
    { "wide f32 gradients beside the edge", 1, 3, 1, 16, 144, DT_F32, DT_F32, DT_F32, DT_F32, ONE_SCALE, 3 },
    { "ragged blocks of channels", 2, 4, 3, 272, 16, DT_U8, DT_I8, DT_BF16, DT_F32, ONE_SCALE, 0 },
    { "ragged blocks of filters and columns", 1, 3, 3, 144, 336, DT_U8, DT_I8, DT_BF16, DT_F32, FILTER_SCALES, 0 },
};

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
static double noise(draws *d)
{
    return 2.0 * draw_real(d) - 1.0;
}

static void *room(size_t bytes)
{
    void *p = aligned_alloc(64, dt_round_up(bytes, 64));
    cr_assert(p != NULL, "no memory");
    return memset(p, 0xff, bytes); /* NaN in every type of float */
}

/* Stores a value; returns what is then there. */
static double put(void *data, dt_dtype type, int64_t i, double value)
{
    switch (type) {
    case DT_U8: return ((uint8_t *)data)[i] = (uint8_t)value;
    case DT_I8: return ((int8_t *)data)[i] = (int8_t)value;
    case DT_BF16: return (double)dt_from_bf16(((uint16_t *)data)[i] = dt_to_bf16((float)value));
    default: return (double)(((float *)data)[i] = (float)value);
    }
}

static float get(const void *data, dt_dtype type, int64_t i)
{
    return type == DT_BF16 ? dt_from_bf16(((const uint16_t *)data)[i]) : ((const float *)data)[i];
}

static dt_tensor tensor(dt_dtype type, dt_dtype grad_type, int64_t a, int64_t b, int64_t c, int64_t d)
{
    dt_tensor t = { .type = type, .grad_type = grad_type, .shape = { 4, { a, b, c, d } } };
    t.data = room(dt_tensor_bytes(&t));
    t.grad = room(dt_grad_bytes(&t));
    return t;
}

/* The definition: every pair of an output and a tap that meet in the map. */
static void direct(const row *c, const double *x, const double *w, const double *dy, double *dx, double *dw)
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
static void open_problem(problem *p, const row *c, int is_real)
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

static void close_problem(problem *p)
{
    void *const rooms[] = { p->x.data, p->x.grad, p->w.data,  p->w.grad, p->y.data, p->y.grad,
                            p->real_x, p->real_w, p->real_dy, p->dx,     p->dw };
    for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++) free(rooms[i]);
}

/* Both passes. Fresh gradients start as NaN, the others at `start`, scratch as NaN. */
static void run(problem *p, int threads)
{
    void *scratch_x = room(dt_winograd_backward_x_scratch(&p->node, NULL, threads));
    void *scratch_w = room(dt_winograd_backward_w_scratch(&p->node, NULL, threads));
    const dt_exec x = { .scratch = scratch_x }, w = { .scratch = scratch_w };

    for (int64_t i = 0; i < p->n_x; i++)
        put(p->x.grad, p->x.grad_type, i, p->node.fresh & 1u ? (double)NAN : (double)start);
    for (int64_t i = 0; i < p->n_w; i++) put(p->w.grad, DT_F32, i, p->node.fresh & 2u ? (double)NAN : (double)start);
    dt_winograd_backward_x(&p->node, &x, threads);
    dt_winograd_backward_w(&p->node, &w, threads);
    free(scratch_x);
    free(scratch_w);
}

static void skip_without_bf16(void)
{
    if (!dt_word_gemm_has_bf16()) cr_skip_test("this CPU, or this build, lacks AVX512-BF16");
}

static void expect_equal(const row *c, const char *what, const dt_tensor *t, const double *truth, int fresh)
{
    for (int64_t i = 0; i < dt_count(&t->shape); i++) {
        const float from = fresh ? 0.0f : start, got = get(t->grad, t->grad_type, i);
        float expected = (float)truth[i] + from;
        if (t->grad_type == DT_BF16) expected = dt_from_bf16(dt_to_bf16(expected));
        cr_assert(got == expected, "%s: %s[%lld] is %g, expected %g", c->why, what, (long long)i, (double)got,
                  (double)expected);
    }
}

/* Integers below 2^24, times powers of two: nothing but the result in bf16 is rounded. */
Test(winograd_backward, integers_are_exact)
{
    skip_without_bf16();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        problem p;
        open_problem(&p, &rows[i], 0);
        run(&p, 1);
        expect_equal(&rows[i], "dx", &p.x, p.dx, rows[i].fresh & 1u);
        expect_equal(&rows[i], "dw", &p.w, p.dw, rows[i].fresh & 2u);
        close_problem(&p);
    }
}

/* Of real numbers, where another order of a sum would show. */
Test(winograd_backward, threads_give_equal_bits)
{
    skip_without_bf16();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        problem p;
        open_problem(&p, &rows[i], 1);
        run(&p, 1);
        const size_t dx_bytes = dt_grad_bytes(&p.x), dw_bytes = dt_grad_bytes(&p.w);
        void *dx = memcpy(room(dx_bytes), p.x.grad, dx_bytes), *dw = memcpy(room(dw_bytes), p.w.grad, dw_bytes);
        for (int threads = 2; threads <= 3; threads++) {
            run(&p, threads);
            cr_assert(memcmp(dx, p.x.grad, dx_bytes) == 0, "%s: dx differs on %d threads", rows[i].why, threads);
            cr_assert(memcmp(dw, p.w.grad, dw_bytes) == 0, "%s: dw differs on %d threads", rows[i].why, threads);
        }
        free(dx);
        free(dw);
        close_problem(&p);
    }
}

static double norm_of_error(const double *truth, const double *other, int64_t n)
{
    double error = 0.0, size = 0.0;
    for (int64_t i = 0; i < n; i++) {
        error += (other[i] - truth[i]) * (other[i] - truth[i]);
        size += truth[i] * truth[i];
    }
    return sqrt(error / size);
}

static double *grads_of(const dt_tensor *t)
{
    const int64_t n = dt_count(&t->shape);
    double *grads = room((size_t)n * sizeof *grads);
    for (int64_t i = 0; i < n; i++) grads[i] = (double)get(t->grad, t->grad_type, i);
    return grads;
}

static double *rounded(const double *a, int64_t n, int absolute)
{
    double *b = room((size_t)n * sizeof *b);
    for (int64_t i = 0; i < n; i++) b[i] = absolute ? fabs(a[i]) : (double)dt_from_bf16(dt_to_bf16((float)a[i]));
    return b;
}

/* Every element within bound * sum |a| |b|, sums of f32 aside (2^-24 a term). */
static void expect_within(const row *c, const char *what, const double *got, const double *truth, const double *sizes,
                          int64_t n, double bound)
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

static pair of_operands(const problem *p, const row *c, int absolute)
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

/* The bounds are those of winograd_backward_[xw].c for magnitudes that are alike, the dearest place of a map: dx 49/4
 * and dw 25 times 2^-8 for each operand that is rounded. The norm of the error is near 5/3 of what rounding operands of
 * a direct convolution gives, which is 2^-9 or a little more; more on a map of one tile, where a direct sum has fewer
 * terms. 2^-7 leaves room for both. */
static void measure(const row *c, int n_rounded)
{
    problem p;
    open_problem(&p, c, 1);
    run(&p, 2);
    double *dx = grads_of(&p.x), *dw = grads_of(&p.w);
    const pair sizes = of_operands(&p, c, 1), plain = of_operands(&p, c, 0);
    const double unit = n_rounded * 0x1p-8, error_dx = norm_of_error(p.dx, dx, p.n_x);
    const double error_dw = norm_of_error(p.dw, dw, p.n_w);

    cr_log_info("%s: relative error of dx %.2e (operands in bf16: %.2e), of dw %.2e (%.2e)", c->why, error_dx,
                norm_of_error(p.dx, plain.dx, p.n_x), error_dw, norm_of_error(p.dw, plain.dw, p.n_w));
    expect_within(c, "dx", dx, p.dx, sizes.dx, p.n_x, 49.0 / 4.0 * unit);
    expect_within(c, "dw", dw, p.dw, sizes.dw, p.n_w, 25.0 * unit);
    cr_assert(error_dx < 0x1p-7 && error_dw < 0x1p-7, "%s: relative errors of dx %g and dw %g, limit 2^-7", c->why,
              error_dx, error_dw);
    free(dx);
    free(dw);
    free(sizes.dx);
    free(sizes.dw);
    free(plain.dx);
    free(plain.dw);
    close_problem(&p);
}

Test(winograd_backward, real_numbers_err_by_what_is_rounded)
{
    const row real = { "real 8x8", 8, 8, 8, 48, 32, DT_F32, DT_F32, DT_F32, DT_F32, NO_SCALES, 3 };
    const row codes = { "codes 8x8", 8, 8, 8, 48, 32, DT_U8, DT_I8, DT_F32, DT_F32, ONE_SCALE, 3 };
    const row small = { "codes 2x2", 64, 2, 2, 48, 32, DT_U8, DT_I8, DT_BF16, DT_F32, FILTER_SCALES, 3 };

    skip_without_bf16();
    measure(&real, 2);
    measure(&codes, 1);
    measure(&small, 2);
}

static void expect_refused(const row *c, const dt_conv_params *params, dt_precision precision, const char *why)
{
    const dt_exec ex = { .precision = precision, .training = 1 };
    problem p;

    open_problem(&p, c, 0);
    p.params = *params;
    cr_assert(dt_winograd_backward_x_refuses(&p.node, &ex), "dx: %s", why);
    cr_assert(dt_winograd_backward_w_refuses(&p.node, &ex), "dw: %s", why);
    close_problem(&p);
}

Test(winograd_backward, misfits_are_refused)
{
    const dt_conv_params plain = dt_conv_square(1, 1), strided = dt_conv_square(2, 1), unpadded = dt_conv_square(1, 0);
    row c = { "row", 1, 8, 8, 64, 64, DT_U8, DT_I8, DT_BF16, DT_BF16, ONE_SCALE, 3 };

    expect_refused(&c, &plain, DT_PRECISION_F32, "gradients are wanted in f32");
    expect_refused(&c, &strided, DT_PRECISION_MIXED, "stride 2");
    expect_refused(&c, &unpadded, DT_PRECISION_MIXED, "no padding");
    c.C = 24;
    expect_refused(&c, &plain, DT_PRECISION_MIXED, "24 channels");
    c.C = 64;
    c.K = 24;
    expect_refused(&c, &plain, DT_PRECISION_MIXED, "24 filters");
    c.C = c.K = 16;
    expect_refused(&c, &plain, DT_PRECISION_MIXED, "16 channels, 16 filters: oneDNN is faster");
    c.C = c.K = 64;
    c.H = c.W = 1;
    expect_refused(&c, &plain, DT_PRECISION_MIXED, "one pixel: oneDNN is faster");
}

Test(winograd_backward, layers_of_vgg16_fit)
{
    const dt_exec ex = { .precision = DT_PRECISION_MIXED, .training = 1 };
    const row c = { "row", 8, 8, 8, 64, 64, DT_U8, DT_I8, DT_BF16, DT_BF16, ONE_SCALE, 3 };
    problem p;

    skip_without_bf16();
    open_problem(&p, &c, 0);
    cr_assert(!dt_winograd_backward_x_refuses(&p.node, &ex));
    cr_assert(!dt_winograd_backward_w_refuses(&p.node, &ex));
    close_problem(&p);
}
