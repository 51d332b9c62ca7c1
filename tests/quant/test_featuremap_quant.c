/*
 * test_featuremap_quant.c - images that are rounded as the QKeras-Mod notebook does in training, against an oracle of
 * its own, all values with ==; cases that a pencil can check; the gradient passes.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static double away(double v)
{
    return v < 0.0 ? -floor(-v + 0.5) : floor(v + 0.5);
}

/* quantized_bits_featuremap of one image, step by step. */
static void round_image(const double *x, int64_t n, int bits, double *y)
{
    const double high = pow(2.0, bits - 1) - 1.0;
    double least = INFINITY, most = -INFINITY, largest = 0.0;

    for (int64_t i = 0; i < n; i++) {
        const double v = fabs(x[i]) < 1e-7 ? 0.0 : x[i];
        least = fmin(least, v);
        most = fmax(most, v);
        largest = fmax(largest, fabs(v));
    }
    const double scale = 2.0 * largest / (2.0 * high);
    const double zero = most == least ? 0.0 : away((-high * most - high * least) / (most - least));
    for (int64_t i = 0; i < n; i++) {
        const double v = fabs(x[i]) < 1e-7 ? 0.0 : x[i];
        const double code = away((scale == 0.0 ? 0.0 : v / scale) + zero - 0.00001526);
        y[i] = (double)(float)(scale * (fmax(-high, fmin(high, code)) - zero));
    }
}

static void featuremap_oracle(const op_case *c, const double *const *in, double *out)
{
    const int bits = ((const dt_featuremap_quant_params *)c->params)->bits;
    const int64_t images = c->in[0].shape.dim[0], n = dt_count(&c->in[0].shape) / images;

    for (int64_t i = 0; i < images; i++) round_image(in[0] + i * n, n, bits, out + i * n);
}

static const dt_featuremap_quant_params eight = { 8 }, two = { 2 }, sixteen = { 16 };

#define QUANT(P)                                                                                             \
    .op = DT_OP_FEATUREMAP_QUANT, .n_in = 1, .params = &P, .oracle = featuremap_oracle, .agree = AGREE_BITS, \
    .no_slopes = "rounding"

static const op_case cases[] = {
    { QUANT(eight), .why = "one value", .in = { { OP_SHAPE(1, 1) } } },
    { QUANT(eight), .why = "a map", .in = { { OP_SHAPE(1, 7, 5, 3), .size = 2.5f } } },
    { QUANT(eight), .why = "images, more values than a block", .in = { { OP_SHAPE(7, 9, 11, 33), .size = 2.5f } } },
    { QUANT(two), .why = "2 bits", .in = { { OP_SHAPE(3, 33) } } },
    { QUANT(sixteen), .why = "16 bits", .in = { { OP_SHAPE(3, 33) } } },
    { QUANT(eight), .why = "a range without 0", .in = { { OP_SHAPE(3, 33), .fill = FILL_POSITIVE, .size = 4.0f } } },
    { QUANT(eight), .why = "zeros", .in = { { OP_SHAPE(3, 33), .fill = FILL_ZERO } } },
    { QUANT(eight), .why = "integers: ties", .in = { { OP_SHAPE(7, 33), .fill = FILL_INTEGER, .size = 300.0f } } },
    { QUANT(eight), .why = "large", .in = { { OP_SHAPE(3, 33), .size = 1e30f } } },
    { QUANT(eight), .why = "below what Keras takes for 0", .in = { { OP_SHAPE(3, 33), .size = 1.5e-7f } } },
};

Test(featuremap_quant, operators_match_their_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

/* Runs two images, each with a grid of its own; compares with ==. */
static void expect(const float *x, const float *expected, int64_t n)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const op_case c = { QUANT(eight), .why = "by hand", .in = { { OP_SHAPE(2, 4) } } };

    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, x, (size_t)n * sizeof *x);
        op_rig_forward(&rig);
        float *y = op_rig_read(&rig, rig.out.data, n);
        for (int64_t i = 0; i < n; i++) {
            const int same = isnan(expected[i]) ? isnan(y[i]) : y[i] == expected[i];
            cr_assert(same, "%s: %g is %.9g, expected %.9g", backends[b], (double)x[i], (double)y[i],
                      (double)expected[i]);
        }
        free(y);
        op_rig_close(&rig);
    }
}

/* Range 0..254: scale 2, zero -127; a tie of steps, 1.5, falls by the bias. Range -127..127: scale 1, zero 0. */
Test(featuremap_quant, each_image_has_a_grid_of_its_own)
{
    const float x[] = { 0.0f, 254.0f, 3.0f, 3.01f, -127.0f, 127.0f, 0.5f, -2.4f };
    const float y[] = { 0.0f, 254.0f, 2.0f, 4.0f, -127.0f, 127.0f, 0.0f, -2.0f };

    expect(x, y, 8);
}

Test(featuremap_quant, what_is_no_number_stays_none)
{
    const float x[] = { 0.0f, NAN, 3.0f, 1.0f, -127.0f, 127.0f, 1.0f, -2.0f };
    const float y[] = { NAN, NAN, NAN, NAN, -127.0f, 127.0f, 1.0f, -2.0f };

    expect(x, y, 8);
}

Test(featuremap_quant, the_gradient_passes)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const op_case c = { QUANT(two), .why = "slopes", .in = { { OP_SHAPE(3, 33) } } };
    float dy[99];

    for (int i = 0; i < 99; i++) dy[i] = (float)(i - 40) / 8.0f;
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_backward(&rig, dy);
        float *dx = op_rig_read(&rig, rig.in[0].grad, 99);
        for (int i = 0; i < 99; i++) cr_assert(dx[i] == 0.5f + dy[i], "%s: %d is %g", backends[b], i, (double)dx[i]);
        free(dx);
        op_rig_close(&rig);
    }
}

Test(featuremap_quant, misfits_are_refused)
{
    const dt_featuremap_quant_params wide = { 17 };
    const op_case bits = { QUANT(wide), .why = "bits", .in = { { OP_SHAPE(2, 3) } } };
    op_case_refused(&bits, DT_ERR_ARGUMENT, "activations of 17 bits, allowed are 2..16");
    const op_case codes = { QUANT(eight), .why = "codes",
                            .in = { { OP_SHAPE(2, 3), .fill = FILL_COUNT, .scale = 1.0f } } };
    op_case_refused(&codes, DT_ERR_UNSUPPORTED, "x has codes already");
}
