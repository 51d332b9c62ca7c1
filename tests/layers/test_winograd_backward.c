/*
 * test_winograd_backward.c - dx and dw from transformed tiles against a direct convolution in double.
 *
 * Small integers stay exact through both, so they are compared with ==; what bf16 rounds is measured on real numbers.
 */
#include "../support/backward_problem.h"

#include "../../layers/conv/winograd.h"
#include "../../layers/gemm/word_gemm.h"

#include <criterion/logging.h>

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

static const backward_by by_tiles = { dt_winograd_backward_x_scratch, dt_winograd_backward_w_scratch,
                                      dt_winograd_backward_x, dt_winograd_backward_w };

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
        run(&p, &by_tiles, 1);
        expect_equal(&rows[i], "dx", &p.x, p.dx, rows[i].fresh & 1u);
        expect_equal(&rows[i], "dw", &p.w, p.dw, rows[i].fresh & 2u);
        close_problem(&p);
    }
}

Test(winograd_backward, threads_give_equal_bits)
{
    skip_without_bf16();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) expect_equal_bits_on_threads(&rows[i], &by_tiles);
}

/* The bounds are those of winograd_backward_[xw].c for magnitudes that are alike, the dearest place of a map: dx 49/4
 * and dw 25 times 2^-8 for each operand that is rounded. The norm of the error is near 5/3 of what rounding operands of
 * a direct convolution gives, which is 2^-9 or a little more; more on a map of one tile, where a direct sum has fewer
 * terms. 2^-7 leaves room for both. */
static void measure(const row *c, int n_rounded)
{
    problem p;
    open_problem(&p, c, 1);
    run(&p, &by_tiles, 2);
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
