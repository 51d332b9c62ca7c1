/*
 * test_conv.c - convolution against its definition in double.
 *
 * A convolution is linear in each operand, so gradients have a closed form: where central differences of the oracle
 * would take too long, every product is added to what it belongs to, in double.
 */
#include "../support/conv_lists.h"
#include "../support/conv_products.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* stride, pad */
static const dt_conv_params same = DT_CONV_SQUARE(1, 1), bare = DT_CONV_SQUARE(1, 0), wide = DT_CONV_SQUARE(1, 2),
                            half = DT_CONV_SQUARE(2, 1), half_bare = DT_CONV_SQUARE(2, 0);

/* strides, pads (top, left, bottom, right), dilations, groups */
#define GROUPED(n)                            \
    {                                         \
        { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, n \
    }
static const dt_conv_params by_2 = GROUPED(2), by_3 = GROUPED(3), by_7 = GROUPED(7), by_16 = GROUPED(16),
                            by_33 = GROUPED(33), by_64 = GROUPED(64);
static const dt_conv_params by_16_half = { { 2, 2 }, { 1, 1, 1, 1 }, { 1, 1 }, 16 };
static const dt_conv_params by_16_tf = { { 2, 2 }, { 0, 0, 1, 1 }, { 1, 1 }, 16 }; /* TensorFlow's SAME */
static const dt_conv_params by_5_bare = { { 1, 1 }, { 0, 0, 0, 0 }, { 1, 1 }, 5 };
static const dt_conv_params by_32_dilated = { { 1, 1 }, { 2, 2, 2, 2 }, { 2, 2 }, 32 };
static const dt_conv_params dilated = { { 1, 1 }, { 2, 2, 2, 2 }, { 2, 2 }, 1 };
static const dt_conv_params dilated_rows = { { 1, 1 }, { 3, 1, 3, 1 }, { 3, 1 }, 1 };
static const dt_conv_params apart = { { 1, 1 }, { 4, 4, 4, 4 }, { 4, 4 }, 1 };
static const dt_conv_params sides = { { 1, 1 }, { 1, 0, 2, 1 }, { 1, 1 }, 1 };
static const dt_conv_params after = { { 2, 2 }, { 0, 0, 1, 1 }, { 1, 1 }, 1 };
static const dt_conv_params tall = { { 2, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 1 };
static const dt_conv_params wide_steps = { { 1, 3 }, { 1, 1, 1, 1 }, { 1, 1 }, 1 };
static const dt_conv_params all_3 = { { 2, 1 }, { 1, 0, 2, 3 }, { 1, 2 }, 3 };
static const dt_conv_params all_16 = { { 1, 2 }, { 0, 3, 1, 2 }, { 2, 1 }, 16 };

/* The scales are powers of two: then the oracle's real values are exact too, and a psum of 0 is 0. */
#define CODES(...)                                                              \
    {                                                                           \
        OP_SHAPE(__VA_ARGS__), .fill = FILL_COUNT, .size = 15.0f, .scale = 0.5f \
    }
#define FILTERS(...)                                                               \
    {                                                                              \
        OP_SHAPE(__VA_ARGS__), .fill = FILL_INTEGER, .size = 7.0f, .scale = 0.125f \
    }
#define SCALED_FILTERS(K, ...)                                                                                        \
    {                                                                                                                 \
        OP_SHAPE(K, __VA_ARGS__), .fill = FILL_INTEGER, .size = 7.0f, .scale = 0.125f, .n_scale = K, .scale_first = 1 \
    }

static const op_case real_cases[] = {
    { CONV, .why = "one product", .params = &bare, .in = { { OP_SHAPE(1, 1, 1, 1) }, { OP_SHAPE(1, 1, 1, 1) } } },
    { CONV, .why = "3x3, pad 1, odd map", .params = &same,
      .in = { { OP_SHAPE(2, 5, 4, 3) }, { OP_SHAPE(7, 3, 3, 3) } } },
    { CONV, .why = "3x3, stride 2", .params = &half, .in = { { OP_SHAPE(2, 7, 6, 8) }, { OP_SHAPE(7, 3, 3, 8) } } },
    { CONV, .why = "3x3, stride 2, the last row and column unread", .params = &half_bare,
      .in = { { OP_SHAPE(1, 6, 8, 3) }, { OP_SHAPE(3, 3, 3, 3) } } },
    { CONV, .why = "5x5, pad 2", .params = &wide, .in = { { OP_SHAPE(1, 6, 7, 3) }, { OP_SHAPE(3, 5, 5, 3) } } },
    { CONV, .why = "5x5, stride 2, no pad", .params = &half_bare,
      .in = { { OP_SHAPE(1, 9, 8, 1) }, { OP_SHAPE(7, 5, 5, 1) } } },
    { CONV, .why = "1x1, stride 2: three of four pixels unread", .params = &half_bare,
      .in = { { OP_SHAPE(2, 5, 4, 16) }, { OP_SHAPE(33, 1, 1, 16) } } },
    { CONV, .why = "1x1, pad 2: a frame of zeros", .params = &wide,
      .in = { { OP_SHAPE(1, 3, 2, 8) }, { OP_SHAPE(7, 1, 1, 8) } } },
    { CONV, .why = "the kernel is the padded input", .params = &same,
      .in = { { OP_SHAPE(7, 1, 1, 33) }, { OP_SHAPE(7, 3, 3, 33) } } },
    { CONV, .why = "1x3: not square", .params = &bare, .in = { { OP_SHAPE(1, 4, 5, 3) }, { OP_SHAPE(1, 1, 3, 3) } } },
    { CONV, .why = "one channel, one filter", .params = &same,
      .in = { { OP_SHAPE(3, 4, 5, 1) }, { OP_SHAPE(1, 3, 3, 1) } } },
    { CONV, .why = "zeros", .params = &same,
      .in = { { OP_SHAPE(1, 3, 3, 3), .fill = FILL_ZERO }, { OP_SHAPE(3, 3, 3, 3), .fill = FILL_ZERO } } },
    { CONV, .why = "large values", .params = &same,
      .in = { { OP_SHAPE(1, 3, 3, 3), .size = 1e4f }, { OP_SHAPE(3, 3, 3, 3), .size = 1e4f } } },
    { CONV, .why = "depthwise, odd channels", .params = &by_7,
      .in = { { OP_SHAPE(2, 5, 4, 7) }, { OP_SHAPE(7, 3, 3, 1) } } },
    { CONV, .why = "depthwise, a vector of channels, stride 2", .params = &by_16_half,
      .in = { { OP_SHAPE(1, 5, 6, 16) }, { OP_SHAPE(16, 3, 3, 1) } } },
    { CONV, .why = "depthwise, 5x3, no pad", .params = &by_5_bare,
      .in = { { OP_SHAPE(2, 6, 4, 5) }, { OP_SHAPE(5, 5, 3, 1) } } },
    { CONV, .why = "depthwise, 1x1", .params = &by_5_bare,
      .in = { { OP_SHAPE(1, 3, 2, 5) }, { OP_SHAPE(5, 1, 1, 1) } } },
    { CONV, .why = "depth multiplier 2", .params = &by_3,
      .in = { { OP_SHAPE(1, 5, 4, 3) }, { OP_SHAPE(6, 3, 3, 1) } } },
    { CONV, .why = "2 groups, more filters than channels", .params = &by_2,
      .in = { { OP_SHAPE(2, 4, 5, 6) }, { OP_SHAPE(10, 3, 3, 3) } } },
    { CONV, .why = "7 groups, fewer filters than channels", .params = &by_7,
      .in = { { OP_SHAPE(1, 3, 4, 21) }, { OP_SHAPE(7, 3, 3, 3) } } },
    { CONV, .why = "dilation 2", .params = &dilated, .in = { { OP_SHAPE(1, 7, 6, 3) }, { OP_SHAPE(3, 3, 3, 3) } } },
    { CONV, .why = "dilation of rows alone", .params = &dilated_rows,
      .in = { { OP_SHAPE(2, 5, 4, 2) }, { OP_SHAPE(7, 3, 3, 2) } } },
    { CONV, .why = "dilation that leaves the middle tap alone in the map", .params = &apart,
      .in = { { OP_SHAPE(3, 3, 2, 8) }, { OP_SHAPE(7, 3, 3, 8) } } },
    { CONV, .why = "a pad of its own on each side", .params = &sides,
      .in = { { OP_SHAPE(2, 5, 4, 3) }, { OP_SHAPE(7, 3, 3, 3) } } },
    { CONV, .why = "stride 2, pads at the bottom and right alone", .params = &after,
      .in = { { OP_SHAPE(1, 6, 8, 3) }, { OP_SHAPE(3, 3, 3, 3) } } },
    { CONV, .why = "strides 2,1", .params = &tall, .in = { { OP_SHAPE(2, 7, 4, 3) }, { OP_SHAPE(5, 3, 3, 3) } } },
    { CONV, .why = "strides 1,3", .params = &wide_steps, .in = { { OP_SHAPE(1, 4, 9, 3) }, { OP_SHAPE(5, 3, 3, 3) } } },
    { CONV, .why = "all at once, 3 groups", .params = &all_3,
      .in = { { OP_SHAPE(2, 6, 5, 6) }, { OP_SHAPE(9, 3, 2, 2) } } },
    { CONV, .why = "all at once, depthwise", .params = &all_16,
      .in = { { OP_SHAPE(1, 5, 4, 16) }, { OP_SHAPE(16, 2, 3, 1) } } },
};

static const op_case grid_cases[] = {
    { CONV, .why = "w4a4", .params = &same, .agree = AGREE_INTEGERS, .in = { CODES(2, 5, 4, 3), FILTERS(7, 3, 3, 3) } },
    { CONV, .why = "a scale for each filter", .params = &same, .agree = AGREE_INTEGERS,
      .in = { CODES(2, 3, 4, 8), SCALED_FILTERS(7, 3, 3, 8) } },
    { CONV, .why = "codes, stride 2", .params = &half, .agree = AGREE_INTEGERS,
      .in = { CODES(1, 7, 6, 3), SCALED_FILTERS(8, 3, 3, 3) } },
    { CONV, .why = "codes, 5x5, pad 2", .params = &wide, .agree = AGREE_INTEGERS,
      .in = { CODES(1, 4, 5, 3), FILTERS(3, 5, 5, 3) } },
    { CONV, .why = "codes, 1x1, stride 2", .params = &half_bare, .agree = AGREE_INTEGERS,
      .in = { CODES(2, 5, 4, 16), FILTERS(33, 1, 1, 16) } },
    { CONV, .why = "the layer of the 8x8 array", .params = &same, .agree = AGREE_INTEGERS,
      .in = { CODES(2, 4, 4, 8), FILTERS(8, 3, 3, 8) } },
    { CONV, .why = "signed 8-bit image", .params = &same, .agree = AGREE_INTEGERS,
      .in = { { OP_SHAPE(2, 5, 4, 3), .fill = FILL_INTEGER, .size = 127.0f, .scale = 0.0625f },
              FILTERS(16, 3, 3, 3) } },
    { CONV, .why = "unsigned 8-bit codes", .params = &same, .agree = AGREE_INTEGERS,
      .in = { { OP_SHAPE(2, 5, 4, 3), .fill = FILL_COUNT, .size = 255.0f, .scale = 0.0625f },
              { OP_SHAPE(7, 3, 3, 3), .fill = FILL_INTEGER, .size = 127.0f, .scale = 0.125f } } },
    { CONV, .why = "unclamped image: codes that no byte holds", .params = &same, .agree = AGREE_INTEGERS,
      .in = { { OP_SHAPE(2, 5, 4, 3), .fill = FILL_INTEGER, .size = 300.0f, .scale = 0.25f }, FILTERS(8, 3, 3, 3) } },
    { CONV, .why = "codes, depthwise, odd channels", .params = &by_7, .agree = AGREE_INTEGERS,
      .in = { CODES(2, 5, 4, 7), SCALED_FILTERS(7, 3, 3, 1) } },
    { CONV, .why = "codes, depthwise, stride 2, pads at the bottom and right alone", .params = &by_16_tf,
      .agree = AGREE_INTEGERS, .in = { CODES(2, 6, 5, 16), SCALED_FILTERS(16, 3, 3, 1) } },
    { CONV, .why = "signed codes, depthwise", .params = &by_16, .agree = AGREE_INTEGERS,
      .in = { { OP_SHAPE(1, 4, 5, 16), .fill = FILL_INTEGER, .size = 127.0f, .scale = 0.0625f },
              { OP_SHAPE(16, 3, 3, 1), .fill = FILL_INTEGER, .size = 127.0f, .scale = 0.125f } } },
    { CONV, .why = "unsigned 8-bit codes, depthwise", .params = &by_7, .agree = AGREE_INTEGERS,
      .in = { { OP_SHAPE(1, 4, 5, 7), .fill = FILL_COUNT, .size = 255.0f, .scale = 0.0625f },
              { OP_SHAPE(7, 3, 3, 1), .fill = FILL_INTEGER, .size = 127.0f, .scale = 0.125f } } },
    { CONV, .why = "codes that no byte holds, depthwise", .params = &by_3, .agree = AGREE_INTEGERS,
      .in = { { OP_SHAPE(2, 5, 4, 3), .fill = FILL_INTEGER, .size = 300.0f, .scale = 0.25f }, FILTERS(3, 3, 3, 1) } },
    { CONV, .why = "codes, depth multiplier 2", .params = &by_3, .agree = AGREE_INTEGERS,
      .in = { CODES(2, 4, 5, 3), SCALED_FILTERS(6, 3, 3, 1) } },
    { CONV, .why = "codes, 2 groups", .params = &by_2, .agree = AGREE_INTEGERS,
      .in = { CODES(2, 5, 4, 6), SCALED_FILTERS(8, 3, 3, 3) } },
    { CONV, .why = "codes, dilation 2", .params = &dilated, .agree = AGREE_INTEGERS,
      .in = { CODES(1, 7, 6, 3), FILTERS(8, 3, 3, 3) } },
    { CONV, .why = "codes, a pad of its own on each side", .params = &sides, .agree = AGREE_INTEGERS,
      .in = { CODES(2, 5, 4, 3), FILTERS(7, 3, 3, 3) } },
    { CONV, .why = "codes, strides 2,1", .params = &tall, .agree = AGREE_INTEGERS,
      .in = { CODES(2, 7, 4, 3), FILTERS(8, 3, 3, 3) } },
    { CONV, .why = "codes, all at once, 3 groups", .params = &all_3, .agree = AGREE_INTEGERS,
      .in = { CODES(2, 6, 5, 6), SCALED_FILTERS(9, 3, 2, 2) } },
    { CONV, .why = "codes, all at once, depthwise", .params = &all_16, .agree = AGREE_INTEGERS,
      .in = { CODES(1, 5, 4, 16), SCALED_FILTERS(16, 2, 3, 1) } },
};

/* Their gradients are compared with the closed form: see gradients_are_the_sums_of_their_products. */
static const op_case large_cases[] = {
    { CONV, .why = "odd channels, small maps, odd batch", .params = &same, .no_slopes = "large",
      .in = { { OP_SHAPE(19, 2, 2, 33) }, { OP_SHAPE(33, 3, 3, 33) } } },
    { CONV, .why = "odd channels, stride 2, 5x5", .params = &half, .no_slopes = "large",
      .in = { { OP_SHAPE(2, 9, 7, 33) }, { OP_SHAPE(7, 5, 5, 33) } } },
    { CONV, .why = "w4a4, odd channels", .params = &same, .no_slopes = "large", .agree = AGREE_INTEGERS,
      .in = { CODES(3, 7, 5, 33), SCALED_FILTERS(33, 3, 3, 33) } },
    { CONV, .why = "w4a4, odd batch", .params = &same, .no_slopes = "large", .agree = AGREE_INTEGERS,
      .in = { CODES(19, 6, 7, 16), FILTERS(32, 3, 3, 16) } },
    { CONV, .why = "w4a4, vectors of channels", .params = &same, .no_slopes = "large", .agree = AGREE_INTEGERS,
      .in = { CODES(3, 7, 5, 32), SCALED_FILTERS(48, 3, 3, 32) } },
    { CONV, .why = "depthwise, 33 channels, odd batch", .params = &by_33, .no_slopes = "large",
      .in = { { OP_SHAPE(19, 7, 9, 33) }, { OP_SHAPE(33, 3, 3, 1) } } },
    { CONV, .why = "depthwise, vectors of channels", .params = &by_64, .no_slopes = "large",
      .in = { { OP_SHAPE(17, 8, 7, 64) }, { OP_SHAPE(64, 3, 3, 1) } } },
    { CONV, .why = "depthwise, smallest map", .params = &by_33, .no_slopes = "large",
      .in = { { OP_SHAPE(19, 2, 2, 33) }, { OP_SHAPE(33, 3, 3, 1) } } },
    { CONV, .why = "depthwise, dilated 5x5", .params = &by_32_dilated, .no_slopes = "large",
      .in = { { OP_SHAPE(3, 9, 11, 32) }, { OP_SHAPE(32, 5, 5, 1) } } },
    { CONV, .why = "w4a4, depthwise, 33 channels", .params = &by_33, .no_slopes = "large", .agree = AGREE_INTEGERS,
      .in = { CODES(19, 7, 9, 33), SCALED_FILTERS(33, 3, 3, 1) } },
    { CONV, .why = "w4a4, depthwise, vectors of channels", .params = &by_64, .no_slopes = "large",
      .agree = AGREE_INTEGERS, .in = { CODES(17, 8, 7, 64), SCALED_FILTERS(64, 3, 3, 1) } },
    { CONV, .why = "w4a4, depth multiplier 2", .params = &by_16, .no_slopes = "large", .agree = AGREE_INTEGERS,
      .in = { CODES(5, 7, 6, 16), SCALED_FILTERS(32, 3, 3, 1) } },
    { CONV, .why = "w4a4, 2 groups of vectors", .params = &by_2, .no_slopes = "large", .agree = AGREE_INTEGERS,
      .in = { CODES(3, 7, 6, 32), SCALED_FILTERS(64, 3, 3, 16) } },
    { CONV, .why = "w4a4, dilation 2, smallest map", .params = &dilated, .no_slopes = "large", .agree = AGREE_INTEGERS,
      .in = { CODES(19, 3, 2, 33), SCALED_FILTERS(16, 3, 3, 33) } },
};

#define COUNT(cases) (sizeof cases / sizeof cases[0])

/* 33 * 25 products a psum, 19 * 42 a weight gradient: up to 1,000 terms of 2^-24 */
static const double long_sum = 6e-5;

Test(conv, real_values_match_the_oracle)
{
    op_cases_run(real_cases, COUNT(real_cases));
}

Test(conv, codes_match_the_oracle_exactly)
{
    op_cases_run(grid_cases, COUNT(grid_cases));
}

Test(conv, large_layers_match_the_oracle)
{
    for (size_t i = 0; i < COUNT(large_cases); i++) {
        op_case c = large_cases[i];
        c.tolerance = long_sum;
        op_case_run(&c);
    }
}

/* bf16 keeps 8 bits of dy and of the other operand: a product errs by up to 2^-8, and where products cancel, their
 * magnitudes sum to twice the largest gradient and more, though not all err the same way. Codes are exact in bf16, and
 * psums are integers all the same. */
static const double bf16_products = 1.0 / 128.0;

Test(conv, mixed_precision_matches_the_oracle)
{
    for (size_t i = 0; i < COUNT(grid_cases); i++) {
        op_case c = grid_cases[i];
        c.precision = DT_PRECISION_MIXED;
        c.tolerance = bf16_products;
        op_case_run(&c);
    }
    for (size_t i = 1; i < COUNT(real_cases); i++) { /* not the one product: 0.5 + its gradient nearly cancels */
        op_case c = real_cases[i];
        c.precision = DT_PRECISION_MIXED;
        c.tolerance = bf16_products;
        op_case_run(&c);
    }
}

Test(conv, all_ones_count_the_taps_inside)
{
    static const float want[9] = { 4.0f, 6.0f, 4.0f, 6.0f, 9.0f, 6.0f, 4.0f, 6.0f, 4.0f };
    static const char *const backends[] = { "cpu", "cuda" };
    const op_case c = { CONV, .why = "ones", .params = &same,
                        .in = { { OP_SHAPE(1, 3, 3, 1) }, { OP_SHAPE(1, 3, 3, 1) } } };
    const float ones[9] = { 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f };
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, ones, sizeof ones);
        op_rig_write(&rig, rig.in[1].data, ones, sizeof ones);
        op_rig_forward(&rig);
        float *y = op_rig_read(&rig, rig.out.data, 9);
        for (int i = 0; i < 9; i++) cr_assert(y[i] == want[i], "%s: [%d] is %g", backends[b], i, (double)y[i]);
        free(y);
        op_rig_close(&rig);
    }
}

/* ---- gradients in closed form ---- */

typedef struct {
    const double *x, *w; /* real values */
    const float *dy;
    double *dx, *dw;
} gradient_run;

static void gradient_product(void *user, const conv_product *at)
{
    const gradient_run *run = user;
    run->dx[at->x] += (double)run->dy[at->y] * run->w[at->w];
    run->dw[at->w] += (double)run->dy[at->y] * run->x[at->x];
}

static double *real_input(const op_rig *rig, int k)
{
    const dt_tensor *t = &rig->in[k];
    const int64_t n = dt_count(&t->shape), in_scale = t->n_scale > 1 ? n / t->n_scale : n;
    float *data = op_rig_read(rig, t->data, n), *scale = op_rig_read(rig, t->scale, t->n_scale);
    double *real = malloc((size_t)n * sizeof *real);
    for (int64_t i = 0; i < n; i++) real[i] = (double)data[i] * (t->n_scale ? (double)scale[i / in_scale] : 1.0);
    free(data);
    free(scale);
    return real;
}

static void check_gradient(const op_case *c, const op_rig *rig, int k, const double *want, const char *backend)
{
    const int64_t n = dt_count(&rig->in[k].shape);
    float *got = op_rig_read(rig, rig->in[k].grad, n);
    double largest = 0.0;
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs(want[i]));
    for (int64_t i = 0; i < n; i++) {
        cr_assert(fabs((double)got[i] - 0.5 - want[i]) <= c->tolerance * largest,
                  "%s: %s: 0.5 + gradient of input %d [%lld] is %.9g, expected %.9g", c->why, backend, k, (long long)i,
                  (double)got[i], 0.5 + want[i]);
    }
    free(got);
}

static void run_gradients(const op_case *c, const char *backend)
{
    op_rig rig;
    if (!op_rig_open(&rig, backend, 0, c)) return;
    const int64_t n_x = dt_count(&rig.in[0].shape), n_w = dt_count(&rig.in[1].shape), n_y = dt_count(&rig.out.shape);
    double *x = real_input(&rig, 0), *w = real_input(&rig, 1);
    double *dx = calloc((size_t)n_x, sizeof *dx), *dw = calloc((size_t)n_w, sizeof *dw);
    float *dy = malloc((size_t)n_y * sizeof *dy);
    gradient_run run = { x, w, dy, dx, dw };

    for (int64_t i = 0; i < n_y; i++) dy[i] = sinf((float)(i * i % 1009));
    each_product(c, gradient_product, &run);
    op_rig_forward(&rig);
    op_rig_backward(&rig, dy);
    check_gradient(c, &rig, 0, dx, backend);
    check_gradient(c, &rig, 1, dw, backend);
    free(x);
    free(w);
    free(dx);
    free(dw);
    free(dy);
    op_rig_close(&rig);
}

Test(conv, gradients_are_the_sums_of_their_products)
{
    for (size_t i = 0; i < COUNT(large_cases); i++) {
        op_case c = large_cases[i];
        c.tolerance = long_sum;
        run_gradients(&c, "cpu");
        run_gradients(&c, "cuda");
        c.precision = DT_PRECISION_MIXED;
        c.tolerance = bf16_products;
        run_gradients(&c, "cpu");
        run_gradients(&c, "cuda");
    }
}

/* ---- the kernels that stand behind oneDNN where it is built in ---- */

static void run_own(const op_case *c)
{
    char fault[OP_FAULT_BYTES];

    cr_assert(op_case_holds(c, &(op_stand_ins){ .cpu = &conv_by_own }, fault), "own kernels: %s", fault);
    cr_assert(op_case_holds(c, &(op_stand_ins){ .cpu = &conv_by_plain }, fault), "plain loops: %s", fault);
}

Test(conv, own_kernels_match_the_oracle)
{
    for (size_t i = 0; i < COUNT(real_cases); i++) run_own(&real_cases[i]);
    for (size_t i = 0; i < COUNT(grid_cases); i++) run_own(&grid_cases[i]);
    for (size_t i = 0; i < COUNT(large_cases); i++) {
        op_case c = large_cases[i];
        c.tolerance = long_sum;
        run_own(&c);
    }
}

static void compare_kernels(const op_case *c)
{
    const double tolerance = c->agree == AGREE_INTEGERS ? 0.0 : long_sum;
    double largest = 0.0;
    op_rig rig;
    cr_assert(op_rig_open(&rig, "cpu", 0, c));
    const int64_t n = dt_count(&rig.out.shape);
    op_rig_forward(&rig);
    float *table = op_rig_read(&rig, rig.out.data, n);
    forward_plain(&rig);
    float *plain = op_rig_read(&rig, rig.out.data, n);
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)plain[i]));
    for (int64_t i = 0; i < n; i++) {
        cr_assert(fabs((double)plain[i] - (double)table[i]) <= tolerance * largest,
                  "%s: y[%lld] is %.9g in plain loops and %.9g in the table's kernel", c->why, (long long)i,
                  (double)plain[i], (double)table[i]);
    }
    free(table);
    free(plain);
    op_rig_close(&rig);
}

Test(conv, plain_loops_agree_with_the_tables_kernel)
{
    for (size_t i = 0; i < COUNT(real_cases); i++) compare_kernels(&real_cases[i]);
    for (size_t i = 0; i < COUNT(grid_cases); i++) compare_kernels(&grid_cases[i]);
    for (size_t i = 0; i < COUNT(large_cases); i++) compare_kernels(&large_cases[i]);
}

Test(conv, misfits_are_refused)
{
    const op_case channels = { CONV, .why = "channels", .params = &same,
                               .in = { { OP_SHAPE(1, 4, 4, 3) }, { OP_SHAPE(8, 3, 3, 4) } } };
    op_case_refused(&channels, DT_ERR_SHAPE, "x has 3 channels, w expects 4");
    const op_case kernel = { CONV, .why = "kernel", .params = &same,
                             .in = { { OP_SHAPE(1, 4, 2, 3) }, { OP_SHAPE(8, 5, 5, 3) } } };
    op_case_refused(&kernel, DT_ERR_SHAPE, "kernel 5x5, with dilation 1,1, is larger than the padded input 6x4");
    const op_case flat = { CONV, .why = "axes", .params = &same,
                           .in = { { OP_SHAPE(4, 3) }, { OP_SHAPE(8, 3, 3, 3) } } };
    op_case_refused(&flat, DT_ERR_SHAPE, "got 2 and 4 dimensions");
}

Test(conv, parameters_out_of_range_are_refused)
{
    static const struct {
        dt_conv_params params;
        const char *text;
        dt_status status;
        int channels; /* of x; w has 8 filters of 3 */
    } rows[] = {
        { { { 0, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 1 }, "stride is 0,1; both must be", DT_ERR_ARGUMENT, 3 },
        { { { 1, 0 }, { 1, 1, 1, 1 }, { 1, 1 }, 1 }, "stride is 1,0; both must be", DT_ERR_ARGUMENT, 3 },
        { { { 1, 1 }, { 1, 1, 1, 1 }, { 0, 1 }, 1 }, "dilation is 0,1; both must be", DT_ERR_ARGUMENT, 3 },
        { { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 0 }, 1 }, "dilation is 1,0; both must be", DT_ERR_ARGUMENT, 3 },
        { { { 1, 1 }, { 1, 1, 1, -1 }, { 1, 1 }, 1 }, "pad is 1,1,1,-1; none may", DT_ERR_ARGUMENT, 3 },
        { { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 0 }, "groups is 0, must be", DT_ERR_ARGUMENT, 3 },
        { { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 2 }, "x has 3 channels, which 2 groups do not", DT_ERR_SHAPE, 3 },
        { { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 3 }, "w has 8 filters, which 3 groups do not", DT_ERR_SHAPE, 3 },
        { { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 2 },
          "x has 4 channels, w expects 6: 3 in each of 2 groups",
          DT_ERR_SHAPE,
          4 },
        { { { 1, 1 }, { 0, 1, 1, 1 }, { 2, 1 }, 1 },
          "kernel 5x3, with dilation 2,1, is larger than the padded input 4x6",
          DT_ERR_SHAPE,
          3 },
        { { { 1, 1 }, { 1, 0, 1, 0 }, { 1, 3 }, 1 },
          "kernel 3x7, with dilation 1,3, is larger than the padded input 5x4",
          DT_ERR_SHAPE,
          3 },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const op_case c = { CONV, .why = rows[i].text, .params = &rows[i].params,
                            .in = { { OP_SHAPE(1, 3, 4, rows[i].channels) }, { OP_SHAPE(8, 3, 3, 3) } } };
        op_case_refused(&c, rows[i].status, rows[i].text);
    }
}

Test(conv, half_a_grid_and_sums_past_32_bits_are_refused)
{
    const op_case one_grid = { CONV, .why = "x alone on the grid", .params = &same,
                               .in = { CODES(1, 4, 4, 3), { OP_SHAPE(8, 3, 3, 3) } } };
    op_case_refused(&one_grid, DT_ERR_ARGUMENT, "both x (one scale) and w are on the grid, or neither");
    const op_case scales = { CONV, .why = "x with a scale a channel", .params = &same,
                             .in = { { OP_SHAPE(1, 4, 4, 3), .fill = FILL_COUNT, .scale = 0.5f, .n_scale = 3 },
                                     FILTERS(8, 3, 3, 3) } };
    op_case_refused(&scales, DT_ERR_ARGUMENT, "both x (one scale)");
    /* 9 * 8192 * 255 * 127 = 2,387,681,280 */
    const op_case wraps = { CONV, .why = "32 bits", .params = &same,
                            .in = {
                                { OP_SHAPE(1, 3, 3, 8192), .fill = FILL_COUNT, .size = 255.0f, .scale = 0.5f },
                                { OP_SHAPE(1, 3, 3, 8192), .fill = FILL_INTEGER, .size = 127.0f, .scale = 0.5f } } };
    op_case_refused(&wraps, DT_ERR_NUMERIC, "psums may reach 2387681280, beyond 32 bits");
}
