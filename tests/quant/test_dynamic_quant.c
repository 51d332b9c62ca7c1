/*
 * test_dynamic_quant.c - images that are rounded to grids of their own: values against an oracle, all of them with
 * ==; cases that a pencil can check; the gradient passes.
 */
#include "../support/dynamic_oracle.h"
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static const char *const backends[] = { "cpu", "cuda" };

static void dynamic_quant_oracle(const op_case *c, const double *const *in, double *out)
{
    const int64_t images = c->in[0].shape.dim[0], n = dt_count(&c->in[0].shape) / images;

    for (int64_t i = 0; i < images; i++) {
        const float scale = dynamic_oracle_codes(in[0] + i * n, n, out + i * n);
        for (int64_t k = i * n; k < (i + 1) * n; k++) out[k] = (double)(scale * (float)out[k]);
    }
}

#define DYNAMIC \
    .op = DT_OP_DYNAMIC_QUANT, .n_in = 1, .oracle = dynamic_quant_oracle, .agree = AGREE_BITS, .no_slopes = "rounding"
#define X(...)                              \
    {                                       \
        OP_SHAPE(__VA_ARGS__), .size = 2.5f \
    }

static const op_case cases[] = {
    { DYNAMIC, .why = "one value", .in = { X(1, 1) } },
    { DYNAMIC, .why = "a map", .in = { X(1, 7, 5, 3) } },
    { DYNAMIC, .why = "images, more values than a block", .in = { X(7, 9, 11, 33) } },
    { DYNAMIC, .why = "rows", .in = { X(33, 257) } },
    { DYNAMIC, .why = "none is below 0", .in = { { OP_SHAPE(3, 33), .fill = FILL_POSITIVE, .size = 4.0f } } },
    { DYNAMIC, .why = "zeros", .in = { { OP_SHAPE(3, 33), .fill = FILL_ZERO } } },
    { DYNAMIC, .why = "integers: ties", .in = { { OP_SHAPE(7, 33), .fill = FILL_INTEGER, .size = 300.0f } } },
    { DYNAMIC, .why = "large", .in = { { OP_SHAPE(3, 33), .size = 1e30f } } },
    { DYNAMIC, .why = "small", .in = { { OP_SHAPE(3, 33), .size = 1e-30f } } },
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

Test(dynamic_quant, operators_match_their_oracle)
{
    op_cases_run(cases, N_CASES);
}

/* Runs a case's own values, n of them; the caller frees what comes. NULL: the backend does not open. */
static float *run(const char *backend, const op_case *c, const float *x)
{
    op_rig rig;

    if (!op_rig_open(&rig, backend, 0, c)) return NULL;
    const int64_t n = dt_count(&rig.out.shape);
    op_rig_write(&rig, rig.in[0].data, x, (size_t)n * sizeof *x);
    op_rig_forward(&rig);
    float *y = op_rig_read(&rig, rig.out.data, n);
    op_rig_close(&rig);
    return y;
}

static void expect_equal(const op_case *c, const float *x, const float *expected)
{
    for (int b = 0; b < 2; b++) {
        float *y = run(backends[b], c, x);
        for (int64_t i = 0; y && i < dt_count(&c->in[0].shape); i++) {
            const int same = isnan(expected[i]) ? isnan(y[i]) : y[i] == expected[i];
            cr_assert(same, "%s: %s: [%lld] of %.9g is %.9g, expected %.9g", backends[b], c->why, (long long)i,
                      (double)x[i], (double)y[i], (double)expected[i]);
        }
        free(y);
    }
}

/* The steps of these grids are powers of two, so that a pencil gives the values. Ties go away from 0 of what is stored,
 * zero point included: with a zero point of 27, 0.5 steps are stored as 27.5, so 28, and -0.5 as 26.5, so 27. */
Test(dynamic_quant, each_image_has_a_grid_of_its_own)
{
    static const op_case c = { DYNAMIC, .why = "by hand", .in = { X(4, 5) } };
    static const float x[4][5] = { { -155.0f, 100.0f, 0.5f, -0.5f, 1.4f }, /* scale 1, zero 27 */
                                   { 0.0f, 127.5f, 0.25f, 0.2f, 64.125f }, /* scale 0.5, zero -128 */
                                   { -255.0f, -3.5f, -3.4f, -0.5f, 0.0f }, /* scale 1, zero 127 */
                                   { 0.0f, 0.0f, 0.0f, 0.0f, 0.0f } };
    static const float y[4][5] = { { -155.0f, 100.0f, 1.0f, 0.0f, 1.0f },
                                   { 0.0f, 127.5f, 0.0f, 0.0f, 64.0f },
                                   { -255.0f, -3.0f, -3.0f, 0.0f, 0.0f },
                                   { 0.0f, 0.0f, 0.0f, 0.0f, 0.0f } };

    expect_equal(&c, x[0], y[0]);
}

Test(dynamic_quant, all_values_equal_the_oracles)
{
    for (int i = 0; i < N_CASES; i++) {
        const int64_t n = dt_count(&cases[i].in[0].shape);
        float *x = malloc((size_t)n * sizeof *x), *expected = malloc((size_t)n * sizeof *x);
        double *in = malloc((size_t)n * sizeof *in), *out = malloc((size_t)n * sizeof *out);
        for (int64_t k = 0; k < n; k++) {
            x[k] = (float)(cases[i].in[0].size ? (double)cases[i].in[0].size : 0.0) * sinf((float)(k * k % 1009));
            in[k] = (double)x[k];
        }
        dynamic_quant_oracle(&cases[i], (const double *const[]){ in }, out);
        for (int64_t k = 0; k < n; k++) expected[k] = (float)out[k];
        expect_equal(&cases[i], x, expected);
        free(out);
        free(in);
        free(expected);
        free(x);
    }
}

Test(dynamic_quant, a_value_that_is_no_number_spoils_its_image_alone)
{
    static const op_case c = { DYNAMIC, .why = "NaN", .in = { X(4, 3) } };
    static const float x[4][3] = { { 1.0f, NAN, 2.0f },
                                   { 255.0f, 3.0f, 0.0f },
                                   { INFINITY, 0.0f, 1.0f },
                                   { 1e-40f, -1e-41f, 0.0f } /* too small for a scale */ };
    static const float y[4][3] = { { NAN, NAN, NAN }, { 255.0f, 3.0f, 0.0f }, { NAN, NAN, NAN }, { 0.0f, 0.0f, 0.0f } };

    expect_equal(&c, x[0], y[0]);
}

Test(dynamic_quant, gradients_pass_and_add)
{
    op_cases_pass_gradients(cases, N_CASES);
}

Test(dynamic_quant, codes_are_refused)
{
    const op_case c = { DYNAMIC, .why = "codes", .in = { { OP_SHAPE(2, 3), .fill = FILL_INTEGER, .scale = 0.5f } } };

    op_case_refused(&c, DT_ERR_UNSUPPORTED, "dynamic_quant: x has codes already");
}
