/*
 * test_batch_stats.c - statistics of channels against two-pass sums in double, and when they stay as they are.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static void batch_stats_oracle(const op_case *c, const double *const *in, double *out)
{
    const int64_t channels = dt_count(&c->in[0].shape);
    const int64_t rows = c->n_in > 2 ? dt_count(&c->in[2].shape) / channels : 0;

    for (int64_t j = 0; j < channels; j++) {
        double mean = in[0][j], var = in[1][j];
        if (c->purpose.training && rows) {
            mean = var = 0.0;
            for (int64_t r = 0; r < rows; r++) mean += in[2][r * channels + j] / (double)rows;
            for (int64_t r = 0; r < rows; r++) var += pow(in[2][r * channels + j] - mean, 2.0) / (double)rows;
        }
        out[j] = mean;
        out[channels + j] = var;
    }
}

static const dt_batch_stats_params usual = { .momentum = 0.1f }, freezes = { .momentum = 0.1f, .freeze = 3 };

#define RUNNING(C)                                     \
    { OP_SHAPE(C), .state = 1 },                       \
    {                                                  \
        OP_SHAPE(C), .fill = FILL_POSITIVE, .state = 1 \
    }
#define STATS(N, P) .op = DT_OP_BATCH_STATS, .n_in = N, .oracle = batch_stats_oracle, .params = P
#define EVAL        STATS(3, &usual)
#define TRAIN       STATS(3, &usual), .purpose = { .training = 1 }

static const op_case cases[] = {
    { TRAIN, .why = "two rows are the fewest", .in = { RUNNING(3), { OP_SHAPE(2, 3) } } },
    { TRAIN, .why = "odd sizes", .in = { RUNNING(33), { OP_SHAPE(3, 7, 1, 33) } } },
    { TRAIN, .why = "one channel", .in = { RUNNING(1), { OP_SHAPE(7, 3, 3, 1) } } },
    { TRAIN, .why = "integers, whose sums are exact", .agree = AGREE_BITS,
      .in = { RUNNING(7), { OP_SHAPE(3, 3, 3, 7), .fill = FILL_INTEGER } } },
    { TRAIN, .why = "large values", .in = { RUNNING(3), { OP_SHAPE(5, 2, 2, 3), .size = 1e4f } } },
    { TRAIN, .why = "zeros", .in = { RUNNING(3), { OP_SHAPE(5, 2, 2, 3), .fill = FILL_ZERO } } },
    { TRAIN, .why = "rows in many blocks", .no_slopes = "large", .in = { RUNNING(7), { OP_SHAPE(5, 33, 31, 7) } } },
    { EVAL, .why = "evaluation", .in = { RUNNING(5), { OP_SHAPE(2, 7, 3, 5) } }, .agree = AGREE_BITS },
    { STATS(2, &usual), .why = "running statistics alone", .in = { RUNNING(33) }, .agree = AGREE_BITS },
};

Test(batch_stats, matches_its_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

static void set_step(op_rig *rig, int64_t step)
{
    const dt_step_in in = { .step = step };
    op_rig_write(rig, &rig->ex.step->in, &in, sizeof in);
}

/* 3 rows of 1, 2, 6: mean 3, variance 14 / 3 over n, 7 over n - 1 */
Test(batch_stats, statistics_move_until_they_freeze)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const op_case c = { STATS(3, &freezes), .purpose = { .training = 1 }, .why = "freeze",
                        .in = { RUNNING(1), { OP_SHAPE(3, 1) } } };
    const float x[3] = { 1.0f, 2.0f, 6.0f }, dy[2] = { 5.0f, 7.0f };

    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_write(&rig, rig.in[2].data, x, sizeof x);
        float *mean = op_rig_read(&rig, rig.in[0].data, 1), *var = op_rig_read(&rig, rig.in[1].data, 1);
        for (int64_t step = 0; step < 6; step++) {
            set_step(&rig, step);
            op_rig_forward(&rig);
            op_rig_backward(&rig, dy);
            float *stats = op_rig_read(&rig, rig.out.data, 2), *dx = op_rig_read(&rig, rig.in[2].grad, 3);
            float *mean_now = op_rig_read(&rig, rig.in[0].data, 1), *var_now = op_rig_read(&rig, rig.in[1].data, 1);
            const int moves = step < 3;
            cr_assert((*mean_now != *mean) == moves && (*var_now != *var) == moves, "%s: step %d: mean %g, var %g",
                      backends[b], (int)step, (double)*mean_now, (double)*var_now);
            cr_assert(stats[0] == (moves ? 3.0f : *mean), "%s: step %d: %g", backends[b], (int)step, (double)stats[0]);
            cr_assert(stats[1] == (moves ? (float)(14.0 / 3.0) : *var), "%s: step %d", backends[b], (int)step);
            if (moves) cr_assert_float_eq(*mean_now, 0.9f * *mean + 0.3f, 1e-6f);
            if (moves) cr_assert_float_eq(*var_now, 0.9f * *var + 0.7f, 1e-6f);
            /* gradients start at 0.5, and each step adds 5 / 3 + 7 2 (6 - 3) / 3 */
            cr_assert_float_eq(dx[2], 0.5f + (float)(moves ? step + 1 : 3) * (5.0f / 3.0f + 14.0f), 1e-4f,
                               "%s: step %d: %g", backends[b], (int)step, (double)dx[2]);
            *mean = *mean_now;
            *var = *var_now;
            free(stats);
            free(dx);
            free(mean_now);
            free(var_now);
        }
        free(mean);
        free(var);
        op_rig_close(&rig);
    }
}

Test(batch_stats, misfits_are_refused)
{
    const op_case single = { TRAIN, .why = "no variance", .in = { RUNNING(8), { OP_SHAPE(1, 1, 1, 8) } } };
    op_case_refused(&single, DT_ERR_SHAPE, "one value a channel has no variance");
    const op_case channels = { TRAIN, .why = "channels", .in = { RUNNING(8), { OP_SHAPE(2, 3, 3, 16) } } };
    op_case_refused(&channels, DT_ERR_SHAPE, "x has 16 channels, mean has 8 values");
    const op_case codes = { TRAIN, .why = "codes",
                            .in = { RUNNING(3), { OP_SHAPE(2, 3), .fill = FILL_DISTINCT, .scale = 1.0f } } };
    op_case_refused(&codes, DT_ERR_UNSUPPORTED, "x is on the grid");
}
