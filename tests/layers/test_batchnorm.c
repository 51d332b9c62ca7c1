/*
 * test_batchnorm.c - batch normalisation against two-pass statistics in double.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static void batchnorm_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_batchnorm_params *p = c->params;
    const dt_shape *s = &c->in[0].shape;
    const int64_t channels = s->dim[s->ndim - 1], rows = dt_count(s) / channels;

    for (int64_t j = 0; j < channels; j++) {
        double mean = in[3][j], var = in[4][j];
        if (c->purpose.training) {
            mean = var = 0.0;
            for (int64_t r = 0; r < rows; r++) mean += in[0][r * channels + j] / (double)rows;
            for (int64_t r = 0; r < rows; r++) var += pow(in[0][r * channels + j] - mean, 2.0) / (double)rows;
        }
        for (int64_t r = 0; r < rows; r++) {
            const double x = in[0][r * channels + j];
            out[r * channels + j] = in[1][j] * (x - mean) / sqrt(var + (double)p->epsilon) + in[2][j];
        }
    }
}

static const dt_batchnorm_params usual = { 1e-5f, 0.1f };

/* gamma, beta, running mean, running variance of C channels */
#define REST(C)                                                                           \
    { OP_SHAPE(C), .fill = FILL_POSITIVE }, { OP_SHAPE(C) }, { OP_SHAPE(C), .state = 1 }, \
    {                                                                                     \
        OP_SHAPE(C), .fill = FILL_POSITIVE, .state = 1                                    \
    }
#define EVAL  .op = DT_OP_BATCHNORM, .n_in = 5, .oracle = batchnorm_oracle, .params = &usual
#define TRAIN EVAL, .purpose = { .training = 1 }

static const op_case cases[] = {
    { TRAIN, .why = "two rows are the fewest", .in = { { OP_SHAPE(2, 3) }, REST(3) },
      .tolerance = 2e-5 /* xhat is +-1 and dx nearly cancels */ },
    { TRAIN, .why = "odd sizes", .in = { { OP_SHAPE(3, 7, 1, 33) }, REST(33) } },
    { TRAIN, .why = "one channel", .in = { { OP_SHAPE(7, 3, 3, 1) }, REST(1) } },
    { TRAIN, .why = "psum codes, one scale",
      .in = { { OP_SHAPE(3, 3, 3, 7), .fill = FILL_DISTINCT, .scale = 0.03f }, REST(7) }, .agree = AGREE_BITS },
    { TRAIN, .why = "psum codes, a scale for each channel",
      .in = { { OP_SHAPE(3, 3, 3, 7), .fill = FILL_DISTINCT, .scale = 0.03f, .n_scale = 7 }, REST(7) },
      .agree = AGREE_BITS },
    { TRAIN, .why = "large values", .in = { { OP_SHAPE(5, 2, 2, 3), .size = 1e4f }, REST(3) } },
    { TRAIN, .why = "a dead channel: zeros", .in = { { OP_SHAPE(5, 2, 2, 3), .fill = FILL_ZERO }, REST(3) } },
    { TRAIN, .why = "rows in many blocks, threads in other numbers", .no_slopes = "large",
      .in = { { OP_SHAPE(5, 33, 31, 7) }, REST(7) } },
    { TRAIN, .why = "codes in many blocks", .no_slopes = "large", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(5, 33, 31, 7), .fill = FILL_INTEGER, .size = 2000.0f, .scale = 0.01f }, REST(7) } },
    { EVAL, .why = "evaluation, one value a channel", .in = { { OP_SHAPE(1, 33) }, REST(33) }, .agree = AGREE_BITS },
    { EVAL, .why = "evaluation, odd sizes", .in = { { OP_SHAPE(2, 7, 3, 5) }, REST(5) }, .agree = AGREE_BITS },
    { EVAL, .why = "evaluation, psum codes", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(2, 3, 3, 7), .fill = FILL_INTEGER, .scale = 0.03f, .n_scale = 7 }, REST(7) } },
};

Test(batchnorm, matches_its_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

/* x = 1e4 + {-1, 0, 1}: the sum of squares keeps the variance only because it is taken in double */
Test(batchnorm, a_large_mean_leaves_the_variance_right)
{
    const op_case c = { TRAIN, .why = "offset", .in = { { OP_SHAPE(3, 1) }, REST(1) } };
    const float x[3] = { 9999.0f, 10000.0f, 10001.0f }, gamma = 1.0f, beta = 0.0f;
    const double want = 1.0 / sqrt(2.0 / 3.0 + 1e-5);
    op_rig rig;
    cr_assert(op_rig_open(&rig, "cpu", 1, &c));
    op_rig_write(&rig, rig.in[0].data, x, sizeof x);
    op_rig_write(&rig, rig.in[1].data, &gamma, sizeof gamma);
    op_rig_write(&rig, rig.in[2].data, &beta, sizeof beta);
    op_rig_forward(&rig);
    float *y = op_rig_read(&rig, rig.out.data, 3);
    /* y = a x + b with |a x| = 1.2e4: f32 leaves 2^-24 of that */
    cr_assert(fabs((double)y[2] - want) < 2e-3 && fabs((double)y[0] + want) < 2e-3, "y is %g, %g, expected -+%g",
              (double)y[0], (double)y[2], want);
    free(y);
    op_rig_close(&rig);
}

/* codes 1, 2, 3, 6 of scale 0.5: mean 1.5, variance 0.875 over n, 3.5 / 3 over n - 1 */
Test(batchnorm, running_statistics_are_of_real_values_and_unbiased)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const op_case c = { TRAIN, .why = "running",
                        .in = { { OP_SHAPE(4, 1), .fill = FILL_DISTINCT, .scale = 0.5f }, REST(1) } };
    const float q[4] = { 1.0f, 2.0f, 3.0f, 6.0f }, before[2] = { 10.0f, 20.0f };
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, q, sizeof q);
        op_rig_write(&rig, rig.in[3].data, &before[0], sizeof before[0]);
        op_rig_write(&rig, rig.in[4].data, &before[1], sizeof before[1]);
        op_rig_forward(&rig);
        float *mean = op_rig_read(&rig, rig.in[3].data, 1), *var = op_rig_read(&rig, rig.in[4].data, 1);
        cr_assert(fabs((double)*mean - (0.9 * 10.0 + 0.1 * 1.5)) < 1e-6, "%s: mean is %.9g", backends[b],
                  (double)*mean);
        cr_assert(fabs((double)*var - (0.9 * 20.0 + 0.1 * 3.5 / 3.0)) < 3e-6, "%s: var is %.9g", backends[b],
                  (double)*var);
        free(mean);
        free(var);
        op_rig_close(&rig);
    }
}

Test(batchnorm, evaluation_leaves_the_running_statistics_alone)
{
    const op_case *c = &cases[10];
    op_rig rig;
    cr_assert(op_rig_open(&rig, "cpu", 1, c));
    for (int k = 3; k <= 4; k++) {
        float *before = op_rig_read(&rig, rig.in[k].data, 5);
        op_rig_forward(&rig);
        float *after = op_rig_read(&rig, rig.in[k].data, 5);
        for (int i = 0; i < 5; i++) cr_assert(before[i] == after[i], "input %d moved", k);
        free(before);
        free(after);
    }
    op_rig_close(&rig);
}

Test(batchnorm, misfits_are_refused)
{
    const op_case single = { TRAIN, .why = "no variance", .in = { { OP_SHAPE(1, 1, 1, 8) }, REST(8) } };
    op_case_refused(&single, DT_ERR_SHAPE, "x is 1x1x1x8, and one value a channel has no variance");
    const op_case channels = { TRAIN, .why = "channels", .in = { { OP_SHAPE(2, 3, 3, 16) }, REST(8) } };
    op_case_refused(&channels, DT_ERR_SHAPE, "gamma has 8 values, x has 16 channels");
    const dt_batchnorm_params sharp = { 0.0f, 0.1f };
    op_case epsilon = cases[1];
    epsilon.params = &sharp;
    op_case_refused(&epsilon, DT_ERR_ARGUMENT, "epsilon is 0");
}
