/*
 * test_activation.c - ReLU against max(x, 0), and the sigmoid against tanh, in double.
 */
#include "op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static void relu_oracle(const op_case *c, const double *const *in, double *out)
{
    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) out[i] = fmax(in[0][i], 0.0);
}

#define RELU .op = DT_OP_RELU, .n_in = 1, .oracle = relu_oracle

static const op_case cases[] = {
    { RELU, .why = "one value", .in = { { OP_SHAPE(1, 1) } }, .agree = AGREE_BITS },
    { RELU, .why = "odd sizes, no vector's multiple", .in = { { OP_SHAPE(1, 7, 33, 1) } }, .agree = AGREE_BITS },
    { RELU, .why = "large values", .in = { { OP_SHAPE(3, 7), .size = 1e30f } }, .agree = AGREE_BITS },
    { RELU, .why = "psum codes, one scale", .in = { { OP_SHAPE(2, 3, 3, 7), .fill = FILL_DISTINCT, .scale = 0.03f } },
      .agree = AGREE_INTEGERS },
    { RELU, .why = "psum codes, a scale for each channel",
      .in = { { OP_SHAPE(2, 3, 3, 7), .fill = FILL_DISTINCT, .scale = 0.03f, .n_scale = 7 } },
      .agree = AGREE_INTEGERS },
    { RELU, .why = "zeros and equal codes", .no_slopes = "at 0 there is none",
      .in = { { OP_SHAPE(2, 33), .fill = FILL_INTEGER, .scale = 0.5f } }, .agree = AGREE_INTEGERS },
};

Test(activation, relu_matches_its_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

static const op_case zeros = { RELU, .why = "zeros", .in = { { OP_SHAPE(1, 3), .fill = FILL_ZERO } } };

Test(activation, relu_passes_no_gradient_at_zero)
{
    const float dy[3] = { 1.0f, 1.0f, 1.0f };
    op_rig rig;
    cr_assert(op_rig_open(&rig, "cpu", 1, &zeros));
    op_rig_forward(&rig);
    op_rig_backward(&rig, dy);
    float *dx = op_rig_read(&rig, rig.in[0].grad, 3);
    for (int i = 0; i < 3; i++) cr_assert(dx[i] == 0.5f, "dx[%d] is %g, expected the 0.5 it had", i, (double)dx[i]);
    free(dx);
    op_rig_close(&rig);
}

Test(activation, relu_passes_nan_on)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const float x[3] = { NAN, -1.0f, 2.0f };
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &zeros)) continue;
        op_rig_write(&rig, rig.in[0].data, x, sizeof x);
        op_rig_forward(&rig);
        float *y = op_rig_read(&rig, rig.out.data, 3);
        cr_assert(isnan(y[0]) && y[1] == 0.0f && y[2] == 2.0f, "%s: relu(NaN, -1, 2) is %g, %g, %g", backends[b],
                  (double)y[0], (double)y[1], (double)y[2]);
        free(y);
        op_rig_close(&rig);
    }
}

Test(activation, relu_of_codes_has_a_range_of_codes_and_the_same_scale)
{
    op_rig rig;
    cr_assert(op_rig_open(&rig, "cpu", 1, &cases[3]));
    cr_assert(rig.in[0].qmin < 0 && rig.out.qmin == 0 && rig.out.qmax == rig.in[0].qmax);
    cr_assert(rig.out.n_scale == 1 && rig.out.scale == rig.in[0].scale);
    op_rig_close(&rig);
}

/* (1 + tanh(x / 2)) / 2: the same curve without the kernels' exponential */
static void sigmoid_oracle(const op_case *c, const double *const *in, double *out)
{
    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) out[i] = 0.5 * (1.0 + tanh(0.5 * in[0][i]));
}

#define SIGMOID .op = DT_OP_SIGMOID, .n_in = 1, .oracle = sigmoid_oracle

static const op_case sigmoids[] = {
    { SIGMOID, .why = "sigmoid of one value", .in = { { OP_SHAPE(1, 1) } } },
    { SIGMOID, .why = "sigmoid, odd sizes", .in = { { OP_SHAPE(1, 7, 33, 1), .size = 5.0f } } },
    { SIGMOID, .why = "sigmoid of zeros is exactly 1/2", .in = { { OP_SHAPE(2, 33), .fill = FILL_ZERO } },
      .agree = AGREE_BITS },
    { SIGMOID, .why = "sigmoid of large values", .in = { { OP_SHAPE(3, 7), .size = 1000.0f } } },
};

Test(activation, sigmoid_matches_its_oracle)
{
    op_cases_run(sigmoids, sizeof sigmoids / sizeof sigmoids[0]);
}

Test(activation, sigmoid_saturates_and_passes_nan_on)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const op_case c = { SIGMOID, .why = "extremes", .in = { { OP_SHAPE(1, 4) } } };
    const float x[4] = { NAN, -3e38f, 3e38f, INFINITY }, dy[4] = { 1.0f, 1.0f, 1.0f, 1.0f };
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, x, sizeof x);
        op_rig_forward(&rig);
        op_rig_backward(&rig, dy);
        float *y = op_rig_read(&rig, rig.out.data, 4), *dx = op_rig_read(&rig, rig.in[0].grad, 4);
        cr_assert(isnan(y[0]) && y[1] == 0.0f && y[2] == 1.0f && y[3] == 1.0f,
                  "%s: sigmoid(NaN, -3e38, 3e38, inf) is %g, %g, %g, %g", backends[b], (double)y[0], (double)y[1],
                  (double)y[2], (double)y[3]);
        cr_assert(isnan(dx[0]) && dx[1] == 0.5f && dx[2] == 0.5f && dx[3] == 0.5f,
                  "%s: 0.5 + gradients are %g, %g, %g, %g", backends[b], (double)dx[0], (double)dx[1], (double)dx[2],
                  (double)dx[3]);
        free(y);
        free(dx);
        op_rig_close(&rig);
    }
}

Test(activation, sigmoid_of_codes_is_refused)
{
    const op_case codes = { SIGMOID, .why = "codes",
                            .in = { { OP_SHAPE(2, 7), .fill = FILL_INTEGER, .scale = 0.5f } } };
    op_case_refused(&codes, DT_ERR_UNSUPPORTED, "x is a grid tensor, and this layer takes real values");
}
