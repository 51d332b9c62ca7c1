/*
 * test_softmax.c - softmax against 1 / sum of e^(x[j] - x[i]), which has no maximum to subtract, in double.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static void softmax_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_shape *s = &c->in[0].shape;
    const int64_t channels = s->dim[s->ndim - 1];

    for (int64_t i = 0; i < dt_count(s); i++) {
        const double *row = in[0] + i / channels * channels;
        double sum = 0.0;
        for (int64_t j = 0; j < channels; j++) sum += exp(row[j] - in[0][i]);
        out[i] = 1.0 / sum;
    }
}

#define SOFTMAX .op = DT_OP_SOFTMAX, .n_in = 1, .oracle = softmax_oracle

/* AGREE_CLOSELY: the exponentials of CPU and GPU may differ in the last bit of a double */
static const op_case cases[] = {
    { SOFTMAX, .why = "one value is certain", .in = { { OP_SHAPE(1, 1) } }, .agree = AGREE_BITS },
    { SOFTMAX, .why = "ten classes", .in = { { OP_SHAPE(7, 10), .size = 3.0f } } },
    { SOFTMAX, .why = "odd sizes of a map", .in = { { OP_SHAPE(2, 3, 1, 33), .size = 5.0f } } },
    { SOFTMAX, .why = "one axis", .in = { { OP_SHAPE(33), .size = 5.0f } } },
    { SOFTMAX, .why = "zeros share alike", .in = { { OP_SHAPE(3, 4), .fill = FILL_ZERO } }, .agree = AGREE_BITS },
    { SOFTMAX, .why = "exponentials that f32 does not hold", .in = { { OP_SHAPE(5, 7), .size = 300.0f } } },
};

Test(softmax, matches_its_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

/* e^1000 is beyond a double too; minus infinity is the score of what cannot be */
Test(softmax, extremes_stay_probabilities_and_nan_is_passed_on)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const op_case c = { SOFTMAX, .why = "extremes", .in = { { OP_SHAPE(3, 3) } } };
    const float x[9] = { 1000.0f, 1000.0f, -3e38f, -INFINITY, 3e38f, 0.0f, 1.0f, NAN, 2.0f };
    const float want[6] = { 0.5f, 0.5f, 0.0f, 0.0f, 1.0f, 0.0f };
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, x, sizeof x);
        op_rig_forward(&rig);
        float *y = op_rig_read(&rig, rig.out.data, 9);
        for (int i = 0; i < 9; i++) {
            cr_assert(i < 6 ? y[i] == want[i] : isnan(y[i]), "%s: y[%d] is %g, expected %g", backends[b], i,
                      (double)y[i], i < 6 ? (double)want[i] : (double)NAN);
        }
        free(y);
        op_rig_close(&rig);
    }
}

Test(softmax, of_codes_is_refused)
{
    const op_case codes = { SOFTMAX, .why = "codes",
                            .in = { { OP_SHAPE(2, 7), .fill = FILL_INTEGER, .scale = 0.5f } } };
    op_case_refused(&codes, DT_ERR_UNSUPPORTED, "layer: softmax: x is a grid tensor, and this layer takes real values");
}
