/*
 * test_conv_types.c - the CPU's convolution of tensors that core/tape/types.c narrows (codes in bytes, gradients in
 * bf16) against the same convolution of f32 tensors, which test_conv.c judges.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/backend.h"
#include "../../core/half.h"
#include "../support/conv_lists.h"
#include "../support/op_case.h"
#include "../support/op_rig.h"

static const dt_conv_params same = DT_CONV_SQUARE(1, 1), bare = DT_CONV_SQUARE(1, 0), half = DT_CONV_SQUARE(2, 1);

/* strides, pads (top, left, bottom, right), dilations, groups */
static const dt_conv_params by_2 = { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 2 };
static const dt_conv_params by_16 = { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 16 };
static const dt_conv_params by_33 = { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 33 };
static const dt_conv_params by_32_half = { { 2, 2 }, { 0, 0, 1, 1 }, { 1, 1 }, 32 };
static const dt_conv_params by_16_all = { { 1, 2 }, { 0, 3, 1, 2 }, { 2, 1 }, 16 };
static const dt_conv_params dilated = { { 1, 1 }, { 2, 2, 2, 2 }, { 2, 2 }, 1 };
static const dt_conv_params sides = { { 2, 1 }, { 1, 0, 2, 1 }, { 1, 1 }, 1 };

#define CONV .op = DT_OP_CONV2D, .n_in = 2
#define CODES(largest, ...)                                                       \
    {                                                                             \
        OP_SHAPE(__VA_ARGS__), .fill = FILL_COUNT, .size = largest, .scale = 0.5f \
    }
#define SIGNED(largest, ...)                                                         \
    {                                                                                \
        OP_SHAPE(__VA_ARGS__), .fill = FILL_INTEGER, .size = largest, .scale = 0.25f \
    }
#define FILTERS(largest, K, ...)                                                                        \
    {                                                                                                   \
        OP_SHAPE(K, __VA_ARGS__), .fill = FILL_INTEGER, .size = largest, .scale = 0.125f, .n_scale = K, \
                                  .scale_first = 1                                                      \
    }

static const op_case cases[] = {
    { CONV, .why = "3x3, vectors of channels", .params = &same,
      .in = { CODES(15, 19, 6, 7, 16), FILTERS(7, 32, 3, 3, 16) } },
    { CONV, .why = "3x3, vectors of channels, 2x2", .params = &same,
      .in = { CODES(3, 33, 2, 2, 64), FILTERS(7, 48, 3, 3, 64) } },
    { CONV, .why = "3x3, signed, vectors of channels", .params = &same,
      .in = { SIGNED(15, 3, 5, 5, 32), FILTERS(7, 16, 3, 3, 32) } },
    { CONV, .why = "odd channels", .params = &same, .in = { CODES(15, 3, 7, 5, 33), FILTERS(7, 33, 3, 3, 33) } },
    { CONV, .why = "odd channels, smallest map", .params = &same,
      .in = { CODES(15, 19, 2, 2, 33), FILTERS(7, 7, 3, 3, 33) } },
    { CONV, .why = "odd channels, smallest map, signed", .params = &same,
      .in = { SIGNED(7, 19, 2, 2, 33), FILTERS(7, 7, 3, 3, 33) } },
    { CONV, .why = "stride 2", .params = &half, .in = { CODES(15, 2, 9, 7, 16), FILTERS(7, 16, 3, 3, 16) } },
    { CONV, .why = "1x1", .params = &bare, .in = { CODES(15, 2, 5, 4, 16), FILTERS(7, 33, 1, 1, 16) } },
    { CONV, .why = "three channels", .params = &same, .in = { SIGNED(127, 2, 6, 5, 3), FILTERS(7, 16, 3, 3, 3) } },
    { CONV, .why = "8 bits", .params = &same, .in = { CODES(255, 2, 5, 4, 16), FILTERS(127, 16, 3, 3, 16) } },
    { CONV, .why = "depthwise, odd channels", .params = &by_33,
      .in = { CODES(15, 19, 7, 9, 33), FILTERS(7, 33, 3, 3, 1) } },
    { CONV, .why = "depthwise, odd channels, signed", .params = &by_33,
      .in = { SIGNED(127, 19, 7, 9, 33), FILTERS(127, 33, 3, 3, 1) } },
    { CONV, .why = "pairs of products that 16 bits just hold", .params = &same,
      .in = { CODES(255, 2, 5, 4, 16), FILTERS(64, 16, 3, 3, 16) } },
    { CONV, .why = "depthwise, stride 2, vectors of channels, 8 bits", .params = &by_32_half,
      .in = { CODES(255, 3, 12, 10, 32), FILTERS(127, 32, 3, 3, 1) } },
    { CONV, .why = "depthwise, of everything that is not square", .params = &by_16_all,
      .in = { CODES(15, 5, 9, 8, 16), FILTERS(7, 16, 2, 3, 1) } },
    { CONV, .why = "depth multiplier 2", .params = &by_16, .in = { CODES(15, 3, 7, 6, 16), FILTERS(7, 32, 3, 3, 1) } },
    { CONV, .why = "2 groups", .params = &by_2, .in = { SIGNED(7, 3, 6, 7, 32), FILTERS(7, 16, 3, 3, 16) } },
    { CONV, .why = "dilation 2", .params = &dilated, .in = { CODES(15, 3, 7, 6, 16), FILTERS(7, 16, 3, 3, 16) } },
    { CONV, .why = "dilation 2, smallest map", .params = &dilated,
      .in = { CODES(15, 19, 2, 2, 16), FILTERS(7, 16, 3, 3, 16) } },
    { CONV, .why = "a stride and a pad of its own for each", .params = &sides,
      .in = { CODES(15, 3, 7, 6, 16), FILTERS(7, 16, 3, 3, 16) } },
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

/* Tensors of a rig in the types of a storage; on the CPU the host's memory is the device's. */
typedef struct {
    op_rig rig;
    dt_storage storage;
    void *wide[3]; /* of the rig: data of x and w, gradient of x */
} narrow_rig;

static dt_exec training(const op_rig *rig)
{
    dt_exec ex = dt_context_exec(rig->ctx);
    ex.training = 1;
    return ex;
}

static void *narrowed(const float *from, dt_dtype type, int64_t n)
{
    char *to = malloc((size_t)n * dt_type_bytes(type));
    for (int64_t i = 0; i < n; i++) {
        if (type == DT_F32)
            ((float *)(void *)to)[i] = from[i];
        else
            to[i] = (char)(int)from[i];
    }
    return to;
}

/* bf16 or f32 values as floats; the caller frees them */
static float *widened(const void *from, dt_dtype type, int64_t n)
{
    float *to = malloc((size_t)n * sizeof *to);
    for (int64_t i = 0; i < n; i++) {
        to[i] = type == DT_F32 ? ((const float *)from)[i] : dt_from_bf16(((const uint16_t *)from)[i]);
    }
    return to;
}

/* kernel: NULL: the table's */
static void narrow_open(narrow_rig *r, const op_case *c, int threads, const dt_kernel *kernel)
{
    op_rig *rig = &r->rig;
    size_t bytes = 0;

    cr_assert(op_rig_open_with(rig, "cpu", threads, c, kernel));
    dt_tensor *x = &rig->in[0], *w = &rig->in[1];
    dt_exec ex = training(rig);
    r->storage = rig->ctx->backend->storage(&rig->node, &ex);
    r->wide[0] = x->data;
    r->wide[1] = w->data;
    r->wide[2] = x->grad;
    x->data = narrowed(x->data, r->storage.x, dt_count(&x->shape));
    w->data = narrowed(w->data, r->storage.w, dt_count(&w->shape));
    x->type = r->storage.x;
    w->type = r->storage.w;
    x->grad_type = r->storage.x_grad;
    rig->out.grad_type = r->storage.y_grad;
    x->grad = malloc(dt_grad_bytes(x));
    rig->kernel->release(&rig->node);
    const int before = dt_context_enter(rig->ctx);
    cr_assert(rig->kernel->prepare(&rig->node, &ex, &bytes) == DT_OK, "%s: %s", c->why, dt_last_error());
    dt_context_leave(before);
    cr_assert(dt_context_reserve(rig->ctx, 0, bytes) == DT_OK);
    rig->ex = dt_context_exec(rig->ctx);
}

static void narrow_close(narrow_rig *r)
{
    dt_tensor *x = &r->rig.in[0], *w = &r->rig.in[1];
    free(x->data);
    free(w->data);
    free(x->grad);
    x->type = w->type = x->grad_type = DT_F32;
    x->data = r->wide[0];
    w->data = r->wide[1];
    x->grad = r->wide[2];
    op_rig_close(&r->rig);
}

/* Values that bf16 holds. */
static float slope_at(int64_t i)
{
    return dt_from_bf16(dt_to_bf16(sinf((float)(i * i % 1009))));
}

/* dx is written over NaN, dw added to 0.5. */
static void run_backward(op_rig *rig)
{
    const dt_tensor *y = &rig->out, *x = &rig->in[0], *w = &rig->in[1];
    memset(x->grad, 0xff, dt_grad_bytes(x));
    for (int64_t i = 0; i < dt_count(&w->shape); i++) dt_grads(w)[i] = 0.5f;
    for (int64_t i = 0; i < dt_count(&y->shape); i++) {
        if (y->grad_type == DT_F32)
            dt_grads(y)[i] = slope_at(i);
        else
            ((uint16_t *)y->grad)[i] = dt_to_bf16(slope_at(i));
    }
    rig->node.fresh = 1u;
    const int before = dt_context_enter(rig->ctx);
    cr_assert(rig->kernel->backward(&rig->node, &rig->ex) == DT_OK, "%s", dt_last_error());
    dt_context_leave(before);
    rig->node.fresh = 0;
}

static void compare(const char *why, const char *what, const float *want, const float *got, int64_t n, double tolerance)
{
    double largest = 0.0;
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)want[i]));
    for (int64_t i = 0; i < n; i++) {
        cr_assert(fabs((double)want[i] - (double)got[i]) <= tolerance * largest, "%s: %s [%lld] is %.9g, expected %.9g",
                  why, what, (long long)i, (double)got[i], (double)want[i]);
    }
}

/* What one run leaves. */
typedef struct {
    float *y, *scale, *dx, *dw;
} outcome;

static outcome outcome_of(op_rig *rig)
{
    const dt_tensor *x = &rig->in[0], *w = &rig->in[1];
    op_rig_forward(rig);
    run_backward(rig);
    return (outcome){ widened(rig->out.data, DT_F32, dt_count(&rig->out.shape)),
                      widened(rig->out.scale, DT_F32, rig->out.n_scale),
                      widened(x->grad, x->grad_type, dt_count(&x->shape)),
                      widened(w->grad, DT_F32, dt_count(&w->shape)) };
}

static void outcome_free(outcome *o)
{
    free(o->y);
    free(o->scale);
    free(o->dx);
    free(o->dw);
}

static void compare_outcomes(const op_case *c, const op_rig *rig, const outcome *want, const outcome *got,
                             double tolerance)
{
    compare(c->why, "psum", want->y, got->y, dt_count(&rig->out.shape), 0.0);
    compare(c->why, "scale", want->scale, got->scale, rig->out.n_scale, 0.0);
    compare(c->why, "dx", want->dx, got->dx, dt_count(&rig->in[0].shape), tolerance);
    compare(c->why, "0.5 + dw", want->dw, got->dw, dt_count(&rig->in[1].shape), tolerance);
}

/* What was prepared for three threads, in a caller's parallel region, where OpenMP grants one. */
static void run_in_a_team(const op_case *c, const dt_kernel *kernel, const op_rig *wide, const outcome *want)
{
    narrow_rig narrow;
    outcome got = { NULL };

    narrow_open(&narrow, c, 3, kernel);
#pragma omp parallel num_threads(2)
    {
#pragma omp master
        got = outcome_of(&narrow.rig);
    }
    compare_outcomes(c, wide, want, &got, 0.0);
    outcome_free(&got);
    narrow_close(&narrow);
}

static void run_case(const op_case *c, const dt_kernel *kernel, double tolerance)
{
    op_rig wide;
    outcome one = { NULL };

    cr_assert(op_rig_open_with(&wide, "cpu", 1, c, &conv_by_plain));
    outcome want = outcome_of(&wide);
    for (int threads = 1; threads <= 3; threads++) {
        narrow_rig narrow;
        narrow_open(&narrow, c, threads, kernel);
        outcome got = outcome_of(&narrow.rig);
        compare_outcomes(c, &wide, &want, &got, tolerance);
        if (threads == 1) {
            one = got;
        } else {
            compare_outcomes(c, &wide, &one, &got, 0.0);
            outcome_free(&got);
        }
        narrow_close(&narrow);
    }
    run_in_a_team(c, kernel, &wide, &one);
    outcome_free(&want);
    outcome_free(&one);
    op_rig_close(&wide);
}

/* 0 where pretend_int8.c stands in for VNNI, and the sums of two products that oneDNN then takes in 16 bits do not hold
 * those of the case. Signed codes are such: oneDNN adds 128 to them. */
static int is_exact_in_onednn(const op_case *c)
{
    if (!getenv("DETENT_PRETEND_INT8")) return 1;
    return c->in[0].fill == FILL_COUNT && 2 * c->in[0].size * c->in[1].size <= INT16_MAX;
}

/* The table's kernel, and those that need no oneDNN. */
static void run_kernels(const op_case *c, double tolerance)
{
    if (is_exact_in_onednn(c)) run_case(c, NULL, tolerance);
    run_case(c, &conv_by_own, tolerance);
    run_case(c, &conv_by_integers, tolerance);
    run_case(c, &conv_by_plain, tolerance);
}

Test(conv_types, bytes_give_the_psums_and_gradients_of_f32)
{
    /* psums are equal; gradients are the same sums in f32, in another order: up to 800 terms of 2^-24 */
    for (int i = 0; i < N_CASES; i++) run_kernels(&cases[i], 5e-5);
}

Test(conv_types, bf16_gradients_are_those_of_f32_rounded)
{
    for (int i = 0; i < N_CASES; i++) {
        op_case c = cases[i];
        c.precision = DT_PRECISION_MIXED;
        run_kernels(&c, 1.0 / 128.0); /* of bf16: filters, the result, and what a transform may round */
    }
}

static dt_storage storage_of(const op_case *c, int is_training)
{
    op_rig rig;
    cr_assert(op_rig_open(&rig, "cpu", 1, c));
    dt_exec ex = training(&rig);
    ex.training = is_training;
    const dt_storage s = rig.ctx->backend->storage(&rig.node, &ex);
    op_rig_close(&rig);
    return s;
}

Test(conv_types, storage_is_as_narrow_as_the_codes_and_the_cpu_allow)
{
    op_case unsigned_codes = cases[0], signed_codes = cases[2];
    const op_case wide_codes = { CONV, .why = "codes that no byte holds", .params = &same,
                                 .in = { SIGNED(300, 1, 4, 4, 16), FILTERS(7, 16, 3, 3, 16) } };
    const op_case real = { CONV, .why = "real", .params = &same,
                           .in = { { OP_SHAPE(1, 4, 4, 16) }, { OP_SHAPE(16, 3, 3, 16) } } };
    const dt_storage u8 = storage_of(&unsigned_codes, 1), s8 = storage_of(&signed_codes, 1);
    cr_assert(u8.y == DT_F32 && u8.x_grad == DT_F32 && u8.y_grad == DT_F32);
    cr_assert(storage_of(&wide_codes, 1).x == DT_F32 && storage_of(&wide_codes, 1).w == DT_F32);
    cr_assert(storage_of(&real, 1).x == DT_F32 && storage_of(&real, 1).w == DT_F32);
    if (dt_conv_has_int8()) cr_assert(u8.x == DT_U8 && u8.w == DT_I8 && s8.x == DT_I8);
    unsigned_codes.precision = DT_PRECISION_MIXED;
    const dt_dtype grad = dt_conv_has_bf16() ? DT_BF16 : DT_F32;
    cr_assert(storage_of(&unsigned_codes, 1).x_grad == grad && storage_of(&unsigned_codes, 1).y_grad == grad);
    cr_assert(storage_of(&unsigned_codes, 0).x_grad == DT_F32, "evaluation has no gradients");
}

Test(conv_types, bf16_gradients_with_f32_products_are_refused)
{
    op_rig rig;
    size_t bytes;
    cr_assert(op_rig_open(&rig, "cpu", 1, &cases[3]));
    const dt_exec ex = training(&rig);
    rig.kernel->release(&rig.node);
    rig.out.grad_type = DT_BF16;
    cr_assert(rig.kernel->prepare(&rig.node, &ex, &bytes) == DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "gradients are stored in bf16") != NULL, "%s", dt_last_error());
    rig.out.grad_type = DT_F32;
    op_rig_close(&rig);
}
