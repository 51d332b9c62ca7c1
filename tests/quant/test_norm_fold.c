/*
 * test_norm_fold.c - the weights and the bias of a batch norm that is folded while it trains, against formulas in
 *                    double; and that a bias without correction is that of BIAS to the bit.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static const dt_fold_weight_params of_weights = { .epsilon = 1e-3f };
static const dt_fold_bias_params plain = { .epsilon = 1e-3f }, corrects = { .epsilon = 1e-3f, .corrects = 1 };

static void fold_weight_oracle(const op_case *c, const double *const *in, double *out)
{
    const int64_t filters = c->in[0].shape.dim[0], n = dt_count(&c->in[0].shape) / filters;
    const double epsilon = (double)((const dt_fold_weight_params *)c->params)->epsilon;

    for (int64_t i = 0; i < filters * n; i++) {
        out[i] = in[0][i] * in[1][i / n] / sqrt(in[2][filters + i / n] + epsilon);
    }
}

static void fold_bias_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_fold_bias_params *p = c->params;
    const int64_t channels = dt_count(&c->in[1].shape);
    const double *bias = c->n_in > 4 + p->corrects ? in[4 + p->corrects] : NULL;

    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) {
        const int64_t k = i % channels;
        const double deviation = sqrt(in[3][channels + k] + (double)p->epsilon);
        const double folded = p->corrects ? sqrt(in[4][channels + k] + (double)p->epsilon) : deviation;
        const double centred = (bias ? bias[k] : 0.0) - in[3][k];
        out[i] = in[0][i] * folded / deviation + in[1][k] * centred / deviation + in[2][k];
    }
}

#define WEIGHT \
    .op = DT_OP_FOLD_WEIGHT, .n_in = 3, .params = &of_weights, .oracle = fold_weight_oracle, .agree = AGREE_BITS
/* means and variances of C channels; variances must not be below 0 */
#define STATS(C)                              \
    {                                         \
        OP_SHAPE(2, C), .fill = FILL_POSITIVE \
    }
#define RUNS(C)                                                         \
    {                                                                   \
        OP_SHAPE(2, C), .fill = FILL_POSITIVE, .size = 3.0f, .state = 1 \
    }

static const op_case weights[] = {
    { WEIGHT, .why = "one", .in = { { OP_SHAPE(1, 1) }, { OP_SHAPE(1) }, STATS(1) } },
    { WEIGHT, .why = "filters of odd sizes", .in = { { OP_SHAPE(7, 3, 1, 5) }, { OP_SHAPE(7) }, STATS(7) } },
    { WEIGHT, .why = "a linear layer", .in = { { OP_SHAPE(33, 21) }, { OP_SHAPE(33) }, STATS(33) } },
    { WEIGHT, .why = "more weights than a block has threads",
      .in = { { OP_SHAPE(2, 3, 3, 33) }, { OP_SHAPE(2) }, STATS(2) } },
    { WEIGHT, .why = "large", .in = { { OP_SHAPE(3, 7), .size = 1e4f }, { OP_SHAPE(3) }, STATS(3) } },
    { WEIGHT, .why = "zeros", .in = { { OP_SHAPE(3, 7), .fill = FILL_ZERO }, { OP_SHAPE(3) }, STATS(3) } },
};

Test(norm_fold, weights_match_their_oracle)
{
    op_cases_run(weights, sizeof weights / sizeof weights[0]);
}

#define BIAS(N, P) .op = DT_OP_FOLD_BIAS, .n_in = N, .params = &P, .oracle = fold_bias_oracle, .agree = AGREE_BITS
/* gamma, beta and stats of C channels */
#define LINE(C) { OP_SHAPE(C) }, { OP_SHAPE(C) }, STATS(C)
#define PSUMS(N)                                                                  \
    {                                                                             \
        OP_SHAPE(3, 3, 3, 7), .fill = FILL_DISTINCT, .scale = 0.03f, .n_scale = N \
    }

static const op_case biases[] = {
    { BIAS(4, plain), .why = "one", .in = { { OP_SHAPE(1, 1) }, LINE(1) } },
    { BIAS(4, plain), .why = "odd sizes", .in = { { OP_SHAPE(3, 7, 1, 33) }, LINE(33) } },
    { BIAS(5, plain), .why = "a bias of its own", .in = { { OP_SHAPE(5, 3) }, LINE(3), { OP_SHAPE(3) } } },
    { BIAS(5, corrects), .why = "corrected", .in = { { OP_SHAPE(3, 7, 5, 3) }, LINE(3), RUNS(3) } },
    { BIAS(6, corrects), .why = "corrected, a bias of its own",
      .in = { { OP_SHAPE(5, 33) }, LINE(33), RUNS(33), { OP_SHAPE(33) } } },
    { BIAS(6, corrects), .why = "psums of one scale", .in = { PSUMS(1), LINE(7), RUNS(7), { OP_SHAPE(7) } } },
    { BIAS(5, corrects), .why = "psums, a scale for each channel", .in = { PSUMS(7), LINE(7), RUNS(7) } },
    { BIAS(4, plain), .why = "psums, not corrected", .in = { PSUMS(7), LINE(7) } },
    { BIAS(5, corrects), .why = "rows in many blocks", .no_slopes = "large",
      .in = { { OP_SHAPE(5, 33, 31, 7) }, LINE(7), RUNS(7) } },
};

Test(norm_fold, biases_match_their_oracle)
{
    op_cases_run(biases, sizeof biases / sizeof biases[0]);
}

/* The same statistics twice: x / x is 1, so that y has the bits of scale * code + b, as BIAS computes it. */
Test(norm_fold, equal_statistics_correct_nothing)
{
    static const char *const backends[] = { "cpu", "cuda" };
    enum { C = 7, N = 3 * 3 * 3 * C };
    const op_case c = { BIAS(5, corrects), .why = "equal", .in = { PSUMS(C), LINE(C), RUNS(C) } };

    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        float *stats = op_rig_read(&rig, rig.in[3].data, 2 * C);
        op_rig_write(&rig, rig.in[4].data, stats, 2 * C * sizeof *stats);
        op_rig_forward(&rig);
        float *q = op_rig_read(&rig, rig.in[0].data, N), *y = op_rig_read(&rig, rig.out.data, N);
        float *scale = op_rig_read(&rig, rig.in[0].scale, C), *gamma = op_rig_read(&rig, rig.in[1].data, C);
        float *beta = op_rig_read(&rig, rig.in[2].data, C);
        for (int i = 0; i < N; i++) {
            const int k = i % C;
            const float inv = 1.0f / sqrtf(stats[C + k] + corrects.epsilon);
            const float offset = gamma[k] * inv * (0.0f - stats[k]) + beta[k];
            cr_assert(y[i] == scale[k] * q[i] + offset, "%s: y[%d] is %.9g", backends[b], i, (double)y[i]);
        }
        free(stats);
        free(q);
        free(y);
        free(scale);
        free(gamma);
        free(beta);
        op_rig_close(&rig);
    }
}

Test(norm_fold, misfits_are_refused)
{
    const op_case gamma = { WEIGHT, .why = "gamma", .in = { { OP_SHAPE(7, 3) }, { OP_SHAPE(3) }, STATS(7) } };
    op_case_refused(&gamma, DT_ERR_SHAPE, "gamma has 3 values and stats 14, for 7 filters");
    const op_case codes = { WEIGHT, .why = "codes",
                            .in = {
                                { OP_SHAPE(7, 3), .fill = FILL_COUNT, .scale = 1.0f }, { OP_SHAPE(7) }, STATS(7) } };
    op_case_refused(&codes, DT_ERR_SHAPE, "wants real filters");
    const op_case few = { BIAS(4, corrects), .why = "few", .in = { { OP_SHAPE(2, 7) }, LINE(7) } };
    op_case_refused(&few, DT_ERR_ARGUMENT, "takes 5 inputs, or 6 with a bias, got 4");
    const op_case bias = { BIAS(5, plain), .why = "bias", .in = { { OP_SHAPE(2, 7) }, LINE(7), { OP_SHAPE(8) } } };
    op_case_refused(&bias, DT_ERR_SHAPE, "has 8 real values, expected 7");
}
