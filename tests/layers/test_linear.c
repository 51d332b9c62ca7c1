/*
 * test_linear.c - the fully connected layer, of real values and of codes, against sums of products in double.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void linear_oracle(const op_case *c, const double *const *in, double *out)
{
    const int64_t batch = c->in[0].shape.dim[0], inputs = c->in[1].shape.dim[1], features = c->in[1].shape.dim[0];

    for (int64_t n = 0; n < batch; n++) {
        for (int64_t o = 0; o < features; o++) {
            double y = c->n_in > 2 ? in[2][o] : 0.0;
            for (int64_t i = 0; i < inputs; i++) y += in[0][n * inputs + i] * in[1][o * inputs + i];
            out[n * features + o] = y;
        }
    }
}

static const dt_linear_params gemm = { .in_order = 0 }, in_order = { .in_order = 1 };

#define LINEAR   .op = DT_OP_LINEAR, .oracle = linear_oracle, .params = &gemm
#define IN_ORDER .op = DT_OP_LINEAR, .oracle = linear_oracle, .params = &in_order, .agree = AGREE_BITS

#define CODES .op = DT_OP_LINEAR, .oracle = linear_oracle, .params = &gemm, .n_in = 2, .agree = AGREE_INTEGERS
#define CODES_IN_ORDER \
    .op = DT_OP_LINEAR, .oracle = linear_oracle, .params = &in_order, .n_in = 2, .agree = AGREE_INTEGERS
#define X_CODES(...)                                             \
    {                                                            \
        OP_SHAPE(__VA_ARGS__), .fill = FILL_COUNT, .scale = 0.5f \
    }
#define W_CODES(O, I)                                         \
    {                                                         \
        OP_SHAPE(O, I), .fill = FILL_INTEGER, .scale = 0.125f \
    }

static const op_case cases[] = {
    { LINEAR, .why = "one of each", .n_in = 3, .in = { { OP_SHAPE(1, 1) }, { OP_SHAPE(1, 1) }, { OP_SHAPE(1) } } },
    { LINEAR, .why = "odd sizes", .n_in = 3, .in = { { OP_SHAPE(7, 33) }, { OP_SHAPE(3, 33) }, { OP_SHAPE(3) } } },
    { LINEAR, .why = "no bias", .n_in = 2, .in = { { OP_SHAPE(33, 7) }, { OP_SHAPE(5, 7) } } },
    { LINEAR, .why = "x of four cells", .n_in = 3,
      .in = { { OP_SHAPE(5, 2, 2, 3) }, { OP_SHAPE(7, 12) }, { OP_SHAPE(7) } } },
    { LINEAR, .why = "integers are exact", .n_in = 3, .agree = AGREE_INTEGERS,
      .in = { { OP_SHAPE(7, 33), .fill = FILL_COUNT },
              { OP_SHAPE(10, 33), .fill = FILL_INTEGER },
              { OP_SHAPE(10), .fill = FILL_INTEGER } } },
    { LINEAR, .why = "large values", .n_in = 3,
      .in = { { OP_SHAPE(2, 7), .size = 1e4f }, { OP_SHAPE(3, 7), .size = 1e4f }, { OP_SHAPE(3), .size = 1e4f } } },
    { LINEAR, .why = "zeros", .n_in = 3,
      .in = { { OP_SHAPE(2, 7), .fill = FILL_ZERO },
              { OP_SHAPE(3, 7), .fill = FILL_ZERO },
              { OP_SHAPE(3), .fill = FILL_ZERO } } },
    { LINEAR, .why = "VGG16's classifier", .n_in = 3, .no_slopes = "128x512: too many",
      .tolerance = 512 * 6e-8, /* 512 terms, 2^-24 each */
      .in = { { OP_SHAPE(128, 512) }, { OP_SHAPE(10, 512) }, { OP_SHAPE(10) } } },
    { IN_ORDER, .why = "in order: one of each", .n_in = 3,
      .in = { { OP_SHAPE(1, 1) }, { OP_SHAPE(1, 1) }, { OP_SHAPE(1) } } },
    { IN_ORDER, .why = "in order: odd sizes", .n_in = 3,
      .in = { { OP_SHAPE(7, 33) }, { OP_SHAPE(3, 33) }, { OP_SHAPE(3) } } },
    { IN_ORDER, .why = "in order: no bias", .n_in = 2, .in = { { OP_SHAPE(33, 7) }, { OP_SHAPE(5, 7) } } },
    { IN_ORDER, .why = "in order: large and small", .n_in = 3,
      .in = { { OP_SHAPE(2, 7), .size = 1e18f }, { OP_SHAPE(3, 7), .size = 1e-15f }, { OP_SHAPE(3) } } },
    { CODES, .why = "codes: one of each", .in = { X_CODES(1, 1), W_CODES(1, 1) } },
    { CODES, .why = "codes: odd sizes", .in = { X_CODES(7, 33), W_CODES(5, 33) } },
    { CODES, .why = "codes: a scale for each feature, x of four cells",
      .in = { X_CODES(5, 2, 2, 3),
              { OP_SHAPE(9, 12), .fill = FILL_INTEGER, .scale = 0.125f, .n_scale = 9, .scale_first = 1 } } },
    { CODES, .why = "codes: signed and 8 bits wide",
      .in = { { OP_SHAPE(3, 129), .fill = FILL_INTEGER, .size = 127.0f, .scale = 0.02f },
              { OP_SHAPE(4, 129), .fill = FILL_INTEGER, .size = 127.0f, .scale = 0.01f } } },
    { CODES, .why = "codes: psums that f32 does not hold",
      .in = { { OP_SHAPE(3, 33), .fill = FILL_INTEGER, .size = 4095.0f, .scale = 0.02f },
              { OP_SHAPE(4, 33), .fill = FILL_COUNT, .size = 4095.0f, .scale = 0.01f, .n_scale = 4,
                .scale_first = 1 } } },
    { CODES, .why = "codes: zeros", .in = { { OP_SHAPE(2, 7), .fill = FILL_ZERO, .scale = 0.5f }, W_CODES(3, 7) } },
    { CODES_IN_ORDER, .why = "codes, in order", .in = { X_CODES(7, 33), W_CODES(5, 33) } },
};

Test(linear, matches_its_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

/* Two terms cancel that are so large that a double loses those between them: another order gives other bits. */
Test(linear, in_order_is_a_loop_in_double_bit_for_bit)
{
    static const char *const backends[] = { "cpu", "cuda" };
    enum { N = 33, I = 512, O = 10, UP = 100, DOWN = 300 };
    const op_case c = { IN_ORDER, .why = "a loop", .n_in = 3,
                        .in = { { OP_SHAPE(N, I), .size = 3.0f }, { OP_SHAPE(O, I) }, { OP_SHAPE(O) } } };

    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 2, &c)) continue;
        float *x = op_rig_read(&rig, rig.in[0].data, N * I), *w = op_rig_read(&rig, rig.in[1].data, O * I);
        for (int n = 0; n < N; n++) x[n * I + UP] = 1e18f;
        for (int n = 0; n < N; n++) x[n * I + DOWN] = -1e18f;
        for (int o = 0; o < O; o++) w[o * I + DOWN] = w[o * I + UP];
        op_rig_write(&rig, rig.in[0].data, x, N * I * sizeof *x);
        op_rig_write(&rig, rig.in[1].data, w, O * I * sizeof *w);
        op_rig_forward(&rig);
        float *bias = op_rig_read(&rig, rig.in[2].data, O), *y = op_rig_read(&rig, rig.out.data, N * O);
        for (int n = 0; n < N; n++) {
            for (int o = 0; o < O; o++) {
                double want = (double)bias[o];
                for (int i = 0; i < I; i++) want += (double)x[n * I + i] * (double)w[o * I + i];
                cr_assert(y[n * O + o] == (float)want, "%s: y[%d][%d] is %.9g, expected %.9g", backends[b], n, o,
                          (double)y[n * O + o], (double)(float)want);
            }
        }
        free(x);
        free(w);
        free(bias);
        free(y);
        op_rig_close(&rig);
    }
}

Test(linear, of_codes_are_codes)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const op_case c = {
        CODES, .why = "facts",
        .in = { X_CODES(2, 4), { OP_SHAPE(3, 4), .fill = FILL_INTEGER, .scale = 0.3f, .n_scale = 3, .scale_first = 1 } }
    };
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_forward(&rig);
        float *sw = op_rig_read(&rig, rig.in[1].scale, 3), *scale = op_rig_read(&rig, rig.out.scale, 3);
        cr_assert(rig.out.n_scale == 3 && rig.out.qmin == -rig.out.qmax &&
                  rig.out.qmax == 4 * dt_code_bound(&rig.in[0]) * dt_code_bound(&rig.in[1]));
        for (int o = 0; o < 3; o++) {
            cr_assert(scale[o] == 0.5f * sw[o], "%s: scale[%d] is %.9g, expected %.9g", backends[b], o,
                      (double)scale[o], (double)(0.5f * sw[o]));
        }
        free(scale);
        free(sw);
        op_rig_close(&rig);
    }
}

/* 3999^2 + 1000^2 is odd and above 2^24: an f32 sum loses 1 there, and then each of the ones that follow. */
Test(linear, psums_beyond_f32_are_rounded_once)
{
    enum { I = 33 };
    static const char *const backends[] = { "cpu", "cuda" };
    const op_case c = { CODES, .why = "large",
                        .in = { { OP_SHAPE(1, I), .fill = FILL_COUNT, .size = 4095.0f, .scale = 1.0f },
                                { OP_SHAPE(1, I), .fill = FILL_COUNT, .size = 4095.0f, .scale = 1.0f } } };
    float codes[I] = { 3999.0f, 1000.0f };
    for (int i = 2; i < I; i++) codes[i] = 1.0f;
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, codes, sizeof codes);
        op_rig_write(&rig, rig.in[1].data, codes, sizeof codes);
        op_rig_forward(&rig);
        float *y = op_rig_read(&rig, rig.out.data, 1);
        cr_assert(*y == 16992032.0f, "%s: the psum is %.9g, expected 16992032", backends[b], (double)*y);
        free(y);
        op_rig_close(&rig);
    }
}

Test(linear, misfits_are_refused)
{
    const op_case inputs = { LINEAR, .why = "inputs", .n_in = 2, .in = { { OP_SHAPE(2, 7) }, { OP_SHAPE(3, 8) } } };
    op_case_refused(&inputs, DT_ERR_SHAPE, "linear: x is 2x7, w is 3x8");
    const op_case cells = { LINEAR, .why = "cells", .n_in = 2, .in = { { OP_SHAPE(2, 2, 7) }, { OP_SHAPE(3, 7) } } };
    op_case_refused(&cells, DT_ERR_SHAPE, "linear: x is 2x2x7, w is 3x7");
    const op_case bias = { LINEAR, .why = "bias", .n_in = 3,
                           .in = { { OP_SHAPE(2, 7) }, { OP_SHAPE(3, 7) }, { OP_SHAPE(2) } } };
    op_case_refused(&bias, DT_ERR_SHAPE, "b has 2 values, w gives 3 features");
    const op_case half = { LINEAR, .why = "one of them on the grid", .n_in = 2,
                           .in = { { OP_SHAPE(2, 7), .fill = FILL_COUNT, .scale = 0.1f }, { OP_SHAPE(3, 7) } } };
    op_case_refused(&half, DT_ERR_UNSUPPORTED,
                    "layer: linear: x has 1 scales, w has 0; needed is one of x and one or 3");
    const op_case scales = { LINEAR, .why = "a scale for each input", .n_in = 2,
                             .in = { { OP_SHAPE(2, 7), .fill = FILL_COUNT, .scale = 0.1f, .n_scale = 7 },
                                     W_CODES(3, 7) } };
    op_case_refused(&scales, DT_ERR_UNSUPPORTED, "x has 7 scales, w has 1");
    const op_case real = { LINEAR, .why = "a bias", .n_in = 3,
                           .in = { X_CODES(2, 7), W_CODES(3, 7), { OP_SHAPE(3) } } };
    op_case_refused(&real, DT_ERR_UNSUPPORTED, "b is real, and x and w are grid tensors, whose sums are integers");
}

static dt_status infer_codes(int64_t x_bound, int64_t w_bound)
{
    dt_tensor x = { .shape = OP_SHAPE(2, 8), .n_scale = 1, .qmax = x_bound }, out = { 0 };
    dt_tensor w = { .shape = OP_SHAPE(5, 8), .n_scale = 1, .qmin = -w_bound, .qmax = w_bound - 1 };
    dt_node node = { .kind = DT_OP_LINEAR, .name = "layer", .params = &gemm, .in = { &x, &w }, .n_in = 2, .out = &out };
    return dt_ops[DT_OP_LINEAR]->infer(&node);
}

Test(linear, of_codes_are_exact_or_refused)
{
    cr_assert(infer_codes(16383, 16384) == DT_OK, "%s", dt_last_error());
    cr_assert(infer_codes(16384, 16384) == DT_ERR_NUMERIC);
    cr_assert(strstr(dt_last_error(), "layer: linear: 8 products may sum to 2147483648, beyond 32 bits"), "%s",
              dt_last_error());
    /* beyond 64 bits */
    cr_assert(infer_codes((int64_t)1 << 31, (int64_t)1 << 31) == DT_ERR_NUMERIC);
}
