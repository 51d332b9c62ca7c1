/*
 * test_activation.c - ReLU and clip against their limits, and the sigmoid against tanh, in double.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static void relu_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_relu_params *p = c->params;
    const double most = p->most > 0.0f ? (double)p->most : INFINITY;

    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) out[i] = fmin(fmax(in[0][i], 0.0), most);
}

static const dt_relu_params no_limit = { 0.0f }, six = { 6.0f };

#define RELU  .op = DT_OP_RELU, .n_in = 1, .oracle = relu_oracle, .params = &no_limit
#define RELU6 .op = DT_OP_RELU, .n_in = 1, .oracle = relu_oracle, .params = &six

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
    { RELU6, .why = "6: values beyond both limits", .in = { { OP_SHAPE(1, 7, 33, 1), .size = 12.0f } },
      .agree = AGREE_BITS },
    { RELU6, .why = "6: psum codes leave the grid", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(2, 3, 3, 7), .fill = FILL_DISTINCT, .scale = 0.13f } } },
    { RELU6, .why = "6: psum codes, a scale for each channel", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(2, 3, 3, 7), .fill = FILL_DISTINCT, .scale = 0.13f, .n_scale = 7 } } },
};

Test(activation, relu_matches_its_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

/* The gradients of y at x[0..n), on every backend, added to 0.5: PyTorch's hardtanh passes none at its limits. */
static void check_gradients(const op_case *c, const float *x, const float *want, int n)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const float dy[8] = { 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f };
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, c)) continue;
        op_rig_write(&rig, rig.in[0].data, x, (size_t)n * sizeof *x);
        op_rig_forward(&rig);
        op_rig_backward(&rig, dy);
        float *dx = op_rig_read(&rig, rig.in[0].grad, n);
        for (int i = 0; i < n; i++) {
            cr_assert(dx[i] == 0.5f + want[i], "%s: %s: dx at %g is %g, expected %g more than 0.5", c->why, backends[b],
                      (double)x[i], (double)dx[i], (double)want[i]);
        }
        free(dx);
        op_rig_close(&rig);
    }
}

static const op_case zeros = { RELU, .why = "zeros", .in = { { OP_SHAPE(1, 3), .fill = FILL_ZERO } } };

Test(activation, relu_passes_no_gradient_at_its_limits)
{
    const op_case limited = { RELU6, .why = "6", .in = { { OP_SHAPE(1, 5) } } };
    check_gradients(&zeros, (float[]){ 0.0f, 7.0f, INFINITY }, (float[]){ 0.0f, 1.0f, 1.0f }, 3);
    check_gradients(&limited, (float[]){ 0.0f, 1e-30f, 5.9999995f, 6.0f, INFINITY },
                    (float[]){ 0.0f, 1.0f, 1.0f, 0.0f, 0.0f }, 5);
}

Test(activation, relu_passes_nan_on)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const op_case c[2] = { zeros, { RELU6, .why = "6", .in = { { OP_SHAPE(1, 3) } } } };
    const float x[3] = { NAN, -1.0f, 2.0f };
    for (int b = 0; b < 4; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b % 2], 1, &c[b / 2])) continue;
        op_rig_write(&rig, rig.in[0].data, x, sizeof x);
        op_rig_forward(&rig);
        float *y = op_rig_read(&rig, rig.out.data, 3);
        cr_assert(isnan(y[0]) && y[1] == 0.0f && y[2] == 2.0f, "%s: relu(NaN, -1, 2) is %g, %g, %g", backends[b % 2],
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

Test(activation, relu_with_a_limit_leaves_the_grid)
{
    const op_case codes = { RELU6, .why = "codes", .in = { { OP_SHAPE(2, 7), .fill = FILL_INTEGER, .scale = 0.5f } } };
    op_rig rig;
    cr_assert(op_rig_open(&rig, "cpu", 1, &codes));
    cr_assert(rig.out.n_scale == 0 && !rig.out.scale);
    op_rig_close(&rig);
}

static void clip_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_clip_params *p = c->params;

    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) {
        out[i] = in[0][i] <= (double)p->low ? (double)p->low : in[0][i] >= (double)p->high ? (double)p->high : in[0][i];
    }
}

static const dt_clip_params around = { -0.5f, 0.25f }, above = { 2.0f, 7.5f }, below = { -INFINITY, -1.0f };

#define CLIP .op = DT_OP_CLIP, .n_in = 1, .oracle = clip_oracle

static const op_case clips[] = {
    { CLIP, .why = "clip, one value", .params = &around, .in = { { OP_SHAPE(1, 1) } }, .agree = AGREE_BITS },
    { CLIP, .why = "clip around zero", .params = &around, .in = { { OP_SHAPE(1, 7, 33, 1) } }, .agree = AGREE_BITS },
    { CLIP, .why = "clip above zero", .params = &above, .in = { { OP_SHAPE(3, 33), .size = 12.0f } },
      .agree = AGREE_BITS },
    { CLIP, .why = "clip, no lower limit", .params = &below, .in = { { OP_SHAPE(3, 33), .size = 3.0f } },
      .agree = AGREE_BITS },
    { CLIP, .why = "clip of psum codes leaves the grid", .params = &around, .agree = AGREE_BITS,
      .in = { { OP_SHAPE(2, 3, 3, 7), .fill = FILL_DISTINCT, .scale = 0.013f, .n_scale = 7 } } },
};

Test(activation, clip_matches_its_oracle)
{
    op_cases_run(clips, sizeof clips / sizeof clips[0]);
}

Test(activation, clip_passes_no_gradient_at_its_limits)
{
    const op_case c = { CLIP, .why = "clip", .params = &around, .in = { { OP_SHAPE(1, 5) } } };
    check_gradients(&c, (float[]){ -7.0f, -0.5f, 0.0f, 0.25f, 7.0f }, (float[]){ 0.0f, 0.0f, 1.0f, 0.0f, 0.0f }, 5);
}

Test(activation, limits_that_are_none_are_refused)
{
    const dt_relu_params negative = { -6.0f }, nan = { NAN };
    const dt_clip_params turned = { 1.0f, 1.0f }, unordered = { 0.0f, NAN };
    const op_case cases_of[] = {
        { .op = DT_OP_RELU, .n_in = 1, .why = "negative", .params = &negative, .in = { { OP_SHAPE(1, 3) } } },
        { .op = DT_OP_RELU, .n_in = 1, .why = "NaN", .params = &nan, .in = { { OP_SHAPE(1, 3) } } },
        { CLIP, .why = "nothing between", .params = &turned, .in = { { OP_SHAPE(1, 3) } } },
        { CLIP, .why = "NaN", .params = &unordered, .in = { { OP_SHAPE(1, 3) } } },
    };
    op_case_refused(&cases_of[0], DT_ERR_ARGUMENT, "layer: relu: most is -6, must be above 0, or 0 for no upper limit");
    op_case_refused(&cases_of[1], DT_ERR_ARGUMENT, "most is nan, must be above 0");
    op_case_refused(&cases_of[2], DT_ERR_ARGUMENT, "layer: clip: low is 1, which must be less than high, 1");
    op_case_refused(&cases_of[3], DT_ERR_ARGUMENT, "low is 0, which must be less than high, nan");
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
