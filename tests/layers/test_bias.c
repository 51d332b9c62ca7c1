/*
 * test_bias.c - a bias for each channel against sums in double.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static void bias_oracle(const op_case *c, const double *const *in, double *out)
{
    const int64_t channels = dt_count(&c->in[1].shape);

    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) out[i] = in[0][i] + in[1][i % channels];
}

#define BIAS .op = DT_OP_BIAS, .n_in = 2, .oracle = bias_oracle, .agree = AGREE_BITS

static const op_case cases[] = {
    { BIAS, .why = "one", .in = { { OP_SHAPE(1, 1) }, { OP_SHAPE(1) } } },
    { BIAS, .why = "odd sizes", .in = { { OP_SHAPE(1, 5, 7, 33) }, { OP_SHAPE(33) } } },
    { BIAS, .why = "one axis, and a bias of capsules by dimensions", .in = { { OP_SHAPE(21) }, { OP_SHAPE(7, 3) } } },
    { BIAS, .why = "row blocks of two sizes", .in = { { OP_SHAPE(135, 3) }, { OP_SHAPE(3) } } },
    { BIAS, .why = "psums", .in = { { OP_SHAPE(7, 33), .fill = FILL_INTEGER, .scale = 0.3f }, { OP_SHAPE(33) } } },
    { BIAS, .why = "psums, a scale for each filter",
      .in = { { OP_SHAPE(3, 2, 2, 7), .fill = FILL_DISTINCT, .scale = 0.3f, .n_scale = 7 }, { OP_SHAPE(7) } } },
    { BIAS, .why = "zeros", .in = { { OP_SHAPE(2, 7), .fill = FILL_ZERO }, { OP_SHAPE(7) } } },
};

Test(bias, matches_its_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

/* In every column 2^24 comes, 4,095 ones and -2^24: an f32 sum would lose the ones, one in double is exact. */
Test(bias, column_sums_are_wide)
{
    static const char *const backends[] = { "cpu", "cuda" };
    enum { ROWS = 4097, CHANNELS = 3 };
    const op_case c = { BIAS, .why = "many rows", .in = { { OP_SHAPE(ROWS, CHANNELS) }, { OP_SHAPE(CHANNELS) } } };
    float *dy = malloc(ROWS * CHANNELS * sizeof *dy);

    for (int i = 0; i < ROWS * CHANNELS; i++) dy[i] = 1.0f;
    for (int i = 0; i < CHANNELS; i++) {
        dy[i] = 0x1p24f;
        dy[(ROWS - 1) * CHANNELS + i] = -0x1p24f;
    }
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 2, &c)) continue;
        op_rig_backward(&rig, dy);
        float *db = op_rig_read(&rig, rig.in[1].grad, CHANNELS);
        for (int i = 0; i < CHANNELS; i++) {
            cr_assert(db[i] == 0.5f + 4095.0f, "%s: db[%d] is %.9g", backends[b], i, (double)db[i]);
        }
        free(db);
        op_rig_close(&rig);
    }
    free(dy);
}

Test(bias, misfits_are_refused)
{
    const op_case few = { BIAS, .why = "count", .in = { { OP_SHAPE(2, 7) }, { OP_SHAPE(3) } } };
    op_case_refused(&few, DT_ERR_SHAPE, "layer: bias: b has 3 values, x has 7 channels");
    const op_case codes = { BIAS, .why = "codes",
                            .in = { { OP_SHAPE(2, 7) }, { OP_SHAPE(7), .fill = FILL_COUNT, .scale = 1.0f } } };
    op_case_refused(&codes, DT_ERR_UNSUPPORTED, "bias: b is a grid tensor");
}
