/*
 * test_winograd4.c - dx and dw from transformed tiles of 4x4 in f32 against a direct convolution in double.
 */
#include "../support/backward_problem.h"

#include "../../core/cpu_level.h"
#include "../../layers/conv/conv_kernels.h"
#include "../../layers/conv/winograd4.h"
#include "../../layers/gemm/float_gemm.h"

#include <criterion/logging.h>

static const row rows[] = {
    { "one pixel", 1, 1, 1, 16, 16, DT_U8, DT_I8, DT_F32, DT_F32, ONE_SCALE, 3 },
    { "one tile, all of it", 2, 4, 4, 48, 32, DT_U8, DT_I8, DT_F32, DT_F32, ONE_SCALE, 3 },
    { "partial tiles both ways, added", 3, 3, 5, 16, 48, DT_U8, DT_I8, DT_F32, DT_F32, ONE_SCALE, 0 },
    { "a row of pixels", 3, 1, 7, 16, 16, DT_I8, DT_I8, DT_F32, DT_F32, ONE_SCALE, 3 },
    { "dx added, filters of their own scales", 1, 6, 6, 32, 16, DT_I8, DT_F32, DT_F32, DT_F32, FILTER_SCALES, 2 },
    { "real operands, dw added", 2, 7, 7, 16, 32, DT_F32, DT_F32, DT_F32, DT_F32, NO_SCALES, 1 },
    { "real operands, one column", 2, 9, 1, 16, 32, DT_F32, DT_F32, DT_F32, DT_F32, NO_SCALES, 3 },
    { "several chunks of tiles", 3, 32, 30, 16, 16, DT_U8, DT_I8, DT_F32, DT_F32, FILTER_SCALES, 3 },
    { "several parts of the tiles, added", 5, 43, 41, 16, 16, DT_U8, DT_I8, DT_F32, DT_F32, ONE_SCALE, 0 },
    { "several parts of the tiles, fresh", 6, 44, 40, 16, 16, DT_U8, DT_I8, DT_F32, DT_F32, ONE_SCALE, 3 },
    { "many filters beside few channels", 1, 3, 2, 16, 320, DT_F32, DT_F32, DT_F32, DT_F32, ONE_SCALE, 3 },
    { "ragged blocks of channels", 2, 4, 3, 272, 16, DT_U8, DT_I8, DT_F32, DT_F32, ONE_SCALE, 0 },
    { "ragged blocks of both", 1, 3, 3, 144, 336, DT_U8, DT_I8, DT_F32, DT_F32, FILTER_SCALES, 0 },
};

static const backward_by by_tiles4 = { dt_winograd4_backward_x_scratch, dt_winograd4_backward_w_scratch,
                                       dt_winograd4_backward_x, dt_winograd4_backward_w };

static void skip_without_fma(void)
{
    if (!dt_float_gemm_has_fma()) cr_skip_test("this CPU, its level, or this build lacks AVX2 with FMA");
}

/* What a gradient that was not fresh held is taken off again. */
static double *added(const dt_tensor *t, int fresh)
{
    double *grads = grads_of(t);

    for (int64_t i = 0; i < dt_count(&t->shape); i++) grads[i] -= fresh ? 0.0 : (double)start;
    return grads;
}

/* Adds the mean to each: a tile's values meet before they part, and each errs by its neighbours' sizes too. */
static void add_mean(double *sizes, int64_t n)
{
    double sum = 0.0;

    for (int64_t i = 0; i < n; i++) sum += sizes[i];
    for (int64_t i = 0; i < n; i++) sizes[i] += sum / (double)n;
}

/* A value may err by 2^-13 of the sum of magnitudes that it is made of: along an axis the transforms make up to 48 of
 * 1, so that 2^-24 becomes 48^2 / 9 as much of the 9 taps' mean, and a few operations follow each other. A wrong
 * coefficient errs by far more. As a norm, where errors are as random as they are, 2^-17 is seldom reached. */
static void measure(const row *c, int is_real)
{
    problem p;

    open_problem(&p, c, is_real);
    run(&p, &by_tiles4, 2);
    double *dx = added(&p.x, p.node.fresh & 1u), *dw = added(&p.w, (p.node.fresh & 2u) != 0);
    const pair sizes = of_operands(&p, c, 1);
    const double error_dx = norm_of_error(p.dx, dx, p.n_x), error_dw = norm_of_error(p.dw, dw, p.n_w);

    cr_log_info("%s: relative error of dx %.2e, of dw %.2e", c->why, error_dx, error_dw);
    add_mean(sizes.dx, p.n_x);
    add_mean(sizes.dw, p.n_w);
    expect_within(c, "dx", dx, p.dx, sizes.dx, p.n_x, 0x1p-13);
    expect_within(c, "dw", dw, p.dw, sizes.dw, p.n_w, 0x1p-13);
    cr_assert(error_dx < 0x1p-17 && error_dw < 0x1p-17, "%s: relative errors of dx %g and dw %g, limit 2^-17", c->why,
              error_dx, error_dw);
    free(dx);
    free(dw);
    free(sizes.dx);
    free(sizes.dw);
    close_problem(&p);
}

Test(winograd4, integers_are_near)
{
    skip_without_fma();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) measure(&rows[i], 0);
}

Test(winograd4, real_numbers_are_near)
{
    skip_without_fma();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) measure(&rows[i], 1);
}

Test(winograd4, threads_give_equal_bits)
{
    skip_without_fma();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) expect_equal_bits_on_threads(&rows[i], &by_tiles4);
}

/* 1 if both directions of a row's convolution are taken. */
static int is_taken(const row *c, const dt_conv_params *params, dt_precision precision)
{
    const dt_exec ex = { .precision = precision, .training = 1 };
    problem p;

    open_problem(&p, c, 0);
    p.params = *params;
    const int dx = dt_winograd4_backward_x_refuses(&p.node, &ex) == NULL;
    const int dw = dt_winograd4_backward_w_refuses(&p.node, &ex) == NULL;
    close_problem(&p);
    cr_assert(dx == dw, "%s: dx and dw are of different minds", c->why);
    return dx;
}

/* Where CPUs do not multiply bf16 mixed precision is f32, and these kernels take its 3x3 layers. */
Test(winograd4, what_gains_is_taken)
{
    const dt_conv_params plain = dt_conv_square(1, 1), strided = dt_conv_square(2, 1);
    const int here = dt_float_gemm_has_fma() && !dt_conv_has_bf16();
    row c = { "as in VGG16", 1, 8, 8, 64, 64, DT_U8, DT_I8, DT_F32, DT_F32, ONE_SCALE, 3 };

    cr_assert(is_taken(&c, &plain, DT_PRECISION_MIXED) == here, "a layer of VGG16");
    cr_assert(!is_taken(&c, &plain, DT_PRECISION_F32), "gradients are wanted in f32");
    cr_assert(!is_taken(&c, &strided, DT_PRECISION_MIXED), "stride 2");
    c.C = 24;
    cr_assert(!is_taken(&c, &plain, DT_PRECISION_MIXED), "24 channels");
    c.C = c.K = 16;
    cr_assert(!is_taken(&c, &plain, DT_PRECISION_MIXED), "16 channels, 16 filters: oneDNN is faster");
    c.C = c.K = 64;
    c.H = c.W = 5;
    cr_assert(!is_taken(&c, &plain, DT_PRECISION_MIXED), "5x5: most of four tiles is padding");
    c.H = c.W = 2;
    cr_assert(!is_taken(&c, &plain, DT_PRECISION_MIXED), "2x2: conv_small.c is faster");
}
