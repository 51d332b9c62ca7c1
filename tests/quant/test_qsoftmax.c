/*
 * test_qsoftmax.c - softmax of codes, against probabilities in double: fixed point may be off by one step, the others
 *                   are exact but where a probability lies on a half step. What engines recorded is in
 *                   test_engine_vectors.c.
 */
#include "../../core/arith/qsoftmax.h"
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

/* A polynomial of the fourth degree leaves (1/8)^5 / 5! at the ends of the quarter, 2.6e-7. */
Test(qsoftmax, fixed_exponentials_are_exponentials)
{
    for (int64_t x = 0; x > -((int64_t)1 << 31); x -= 999983) {
        const double wanted = exp((double)x / 67108864.0), got = (double)dt_fixed_exp(x) / 2147483648.0;
        cr_assert_float_eq(got, wanted, 2.6e-7, "e^%g is %g", (double)x / 67108864.0, got);
    }
}

Test(qsoftmax, fixed_reciprocals_are_reciprocals)
{
    for (int64_t x = 0; x < (int64_t)1 << 31; x += 999983) {
        const double wanted = 1.0 / (1.0 + (double)x / 2147483648.0);
        const double got = (double)dt_fixed_reciprocal(x) / 2147483648.0;
        cr_assert_float_eq(got, wanted, 0x1p-27, "1 / (1 + %g) is %g", (double)x / 2147483648.0, got);
    }
}

/* Codes of a row whose codes descend in equal steps. */
static void check_row(dt_profile profile, int n, float scale, int step, double tolerance)
{
    float *x = malloc((size_t)n * sizeof *x), *y = malloc((size_t)n * sizeof *y);
    double sum = 0.0;

    for (int i = 0; i < n; i++) {
        x[i] = (float)(127 - (i * step) % 255);
        sum += exp((double)scale * ((double)x[i] - 127.0));
    }
    dt_qsoftmax_row(profile, 1.0f, scale, 1.0f / 256.0f, x, n, y);
    for (int i = 0; i < n; i++) {
        const double share = fmin(256.0 * exp((double)scale * ((double)x[i] - 127.0)) / sum, 255.0);
        cr_assert(fabs((double)y[i] - share) <= tolerance, "profile %d, row of %d: value %d is %g, probability %g",
                  (int)profile, n, i, (double)y[i], share);
    }
    free(y);
    free(x);
}

Test(qsoftmax, rows_are_probabilities)
{
    for (int profile = 0; profile <= DT_PROFILE_EXACT; profile++) {
        for (int n = 1; n < 120; n += 7) {
            check_row((dt_profile)profile, n, 0.05f, 3, 0.5 + 0x1p-10);
            check_row((dt_profile)profile, n, 0.3f, 11, 0.5 + 0x1p-10);
        }
    }
}

/* The operator on every backend: rows of one value, whose share is all there is. */
static void one_oracle(const op_case *c, const double *const *in, double *out)
{
    (void)in;
    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) out[i] = 255.0 * in[2][0];
}

static const dt_qsoftmax_params litert = { DT_PROFILE_LITERT_REF, 1.0f }, f32 = { DT_PROFILE_FP32_RNE, 1.0f };

#define SOFTMAX .op = DT_OP_QSOFTMAX, .n_in = 3, .oracle = one_oracle, .agree = AGREE_INTEGERS
#define SCALE(of)                                        \
    {                                                    \
        OP_SHAPE(1), .fill = FILL_POSITIVE, .size = (of) \
    }

static const op_case cases[] = {
    { SOFTMAX, .why = "qsoftmax: rows of one", .params = &litert,
      .in = { { OP_SHAPE(7, 1), .fill = FILL_INTEGER, .scale = 0.1f }, SCALE(0.1f), SCALE(0.004f) } },
    { SOFTMAX, .why = "qsoftmax: rows of one, f32", .params = &f32,
      .in = { { OP_SHAPE(3, 5, 1), .fill = FILL_INTEGER, .scale = 0.1f }, SCALE(0.1f), SCALE(0.004f) } },
};

Test(qsoftmax, operators_match_their_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

Test(qsoftmax, misfits_are_refused)
{
    const dt_qsoftmax_params none = { DT_PROFILE_ONNX, 0.0f };
    op_case c = cases[0];

    c.in[0].scale = 0.0f;
    op_case_refused(&c, DT_ERR_UNSUPPORTED, "takes codes of one scale, and x has 0 scales");
    c = cases[0];
    c.params = &none;
    op_case_refused(&c, DT_ERR_ARGUMENT, "beta is 0");
}
