/*
 * test_linear.c - the fully connected layer against sums of products in double.
 */
#include "op_case.h"

#include <criterion/criterion.h>
#include <stdlib.h>

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

Test(linear, misfits_are_refused)
{
    const op_case inputs = { LINEAR, .why = "inputs", .n_in = 2, .in = { { OP_SHAPE(2, 7) }, { OP_SHAPE(3, 8) } } };
    op_case_refused(&inputs, DT_ERR_SHAPE, "linear: x is 2x7, w is 3x8");
    const op_case cells = { LINEAR, .why = "cells", .n_in = 2, .in = { { OP_SHAPE(2, 2, 7) }, { OP_SHAPE(3, 7) } } };
    op_case_refused(&cells, DT_ERR_SHAPE, "linear: x is 2x2x7, w is 3x7");
    const op_case bias = { LINEAR, .why = "bias", .n_in = 3,
                           .in = { { OP_SHAPE(2, 7) }, { OP_SHAPE(3, 7) }, { OP_SHAPE(2) } } };
    op_case_refused(&bias, DT_ERR_SHAPE, "b has 2 values, w gives 3 features");
    const op_case codes = { LINEAR, .why = "codes", .n_in = 2,
                            .in = { { OP_SHAPE(2, 7), .fill = FILL_COUNT, .scale = 0.1f }, { OP_SHAPE(3, 7) } } };
    op_case_refused(&codes, DT_ERR_UNSUPPORTED, "x is a grid tensor");
}
