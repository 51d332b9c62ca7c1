/*
 * test_affine.c - a line for each channel and its gradients against double, and against batch norm bit for bit.
 */
#include "../support/op_case.h"

#include "../../layers/batchnorm.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

/* in[0] is scale * code, so it is divided by the case's scale. */
static void affine_oracle(const op_case *c, const double *const *in, double *out)
{
    const int64_t channels = dt_count(&c->in[1].shape);

    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) {
        const double x = c->in[0].scale > 0.0f ? in[0][i] / (double)c->in[0].scale : in[0][i];
        out[i] = in[1][i % channels] * x + in[2][i % channels];
    }
}

#define AFFINE .op = DT_OP_AFFINE, .n_in = 3, .oracle = affine_oracle, .agree = AGREE_BITS

static const op_case cases[] = {
    { AFFINE, .why = "one", .in = { { OP_SHAPE(1, 1) }, { OP_SHAPE(1) }, { OP_SHAPE(1) } } },
    { AFFINE, .why = "odd sizes", .in = { { OP_SHAPE(3, 5, 7, 33) }, { OP_SHAPE(33) }, { OP_SHAPE(33) } } },
    { AFFINE, .why = "psums count as codes",
      .in = { { OP_SHAPE(33, 7), .fill = FILL_INTEGER, .size = 5000.0f, .scale = 0.1f },
              { OP_SHAPE(7), .size = 0.01f },
              { OP_SHAPE(7) } } },
    { AFFINE, .why = "large", .no_slopes = "differences of 1e12 do not show b",
      .in = { { OP_SHAPE(7, 33), .size = 1e6f }, { OP_SHAPE(33), .size = 1e6f }, { OP_SHAPE(33) } } },
    { AFFINE, .why = "zeros", .in = { { OP_SHAPE(2, 7), .fill = FILL_ZERO }, { OP_SHAPE(7) }, { OP_SHAPE(7) } } },
};

Test(affine, matches_its_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

enum { ROWS = 33, CHANNELS = 37, COUNT = ROWS * CHANNELS };

#define PSUMS                                                                             \
    {                                                                                     \
        OP_SHAPE(ROWS, CHANNELS), .fill = FILL_INTEGER, .size = 30000.0f, .scale = 0.003f \
    }

/* Batch norm of psums in evaluation; fills the lines that it comes to. */
static float *batchnorm_of(const char *backend, float *a, float *b)
{
    const dt_batchnorm_params params = { .epsilon = 1e-5f, .momentum = 0.1f };
    const op_case c = { .why = "batchnorm",
                        .op = DT_OP_BATCHNORM,
                        .params = &params,
                        .n_in = 5,
                        .in = { PSUMS,
                                { OP_SHAPE(CHANNELS) },
                                { OP_SHAPE(CHANNELS) },
                                { OP_SHAPE(CHANNELS), .size = 9.0f, .state = 1 },
                                { OP_SHAPE(CHANNELS), .fill = FILL_POSITIVE, .size = 50.0f, .state = 1 } } };
    float *in[4];
    op_rig rig;
    if (!op_rig_open(&rig, backend, 1, &c)) return NULL;
    op_rig_forward(&rig);
    float *y = op_rig_read(&rig, rig.out.data, COUNT);
    for (int k = 0; k < 4; k++) in[k] = op_rig_read(&rig, rig.in[k + 1].data, CHANNELS);
    for (int i = 0; i < CHANNELS; i++) {
        const float inv = dt_batchnorm_inv(in[3][i], params.epsilon);
        const dt_batchnorm_line line = dt_batchnorm_fold(in[0][i], in[1][i], in[2][i], inv, c.in[0].scale);
        a[i] = line.a;
        b[i] = line.b;
    }
    for (int k = 0; k < 4; k++) free(in[k]);
    op_rig_close(&rig);
    return y;
}

Test(affine, is_batch_norm_in_evaluation_bit_for_bit)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const op_case c = { AFFINE, .why = "affine", .in = { PSUMS, { OP_SHAPE(CHANNELS) }, { OP_SHAPE(CHANNELS) } } };
    float a[CHANNELS], b[CHANNELS];

    for (int i = 0; i < 2; i++) {
        op_rig rig;
        float *want = batchnorm_of(backends[i], a, b);
        if (!want) continue;
        cr_assert(op_rig_open(&rig, backends[i], 1, &c));
        op_rig_write(&rig, rig.in[1].data, a, sizeof a);
        op_rig_write(&rig, rig.in[2].data, b, sizeof b);
        op_rig_forward(&rig);
        float *y = op_rig_read(&rig, rig.out.data, COUNT);
        for (int j = 0; j < COUNT; j++) {
            cr_assert(y[j] == want[j], "%s: y[%d] is %.9g, batch norm's %.9g", backends[i], j, (double)y[j],
                      (double)want[j]);
        }
        free(y);
        free(want);
        op_rig_close(&rig);
    }
}

Test(affine, misfits_are_refused)
{
    op_case c = cases[1];
    c.in[2] = (op_input){ OP_SHAPE(7), .fill = FILL_REAL };
    op_case_refused(&c, DT_ERR_SHAPE, "x has 33 channels, a has 33 values, b 7");
    c = cases[1];
    c.in[1] = (op_input){ OP_SHAPE(7), .fill = FILL_REAL };
    op_case_refused(&c, DT_ERR_SHAPE, "x has 33 channels, a has 7 values, b 33");
}
