/*
 * test_threshold.c - codes by comparison against a count in double.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

/* Counts those that are not passed, from the top; in[0] is scale * psum, so it is divided by the case's scale. */
static void threshold_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_threshold_params *p = c->params;
    const int64_t levels = c->in[1].shape.dim[0], channels = c->in[1].shape.dim[1];

    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) {
        const int64_t channel = i % channels;
        const double scale = (double)c->in[0].scale * (c->in[0].n_scale > 1 ? 1.0 + (double)channel / 8.0 : 1.0);
        const double psum = rint(in[0][i] / scale);
        int64_t above = 0;
        for (int64_t t = levels - 1; t >= 0; t--) above += in[2][channel] * psum < in[1][t * channels + channel];
        out[i] = (double)(p->low + levels - above) * in[3][0];
    }
}

static const dt_threshold_params zero = { 0 }, below = { -7 };

#define THRESHOLD .op = DT_OP_THRESHOLD, .n_in = 4, .oracle = threshold_oracle, .agree = AGREE_INTEGERS
/* thresholds, signs, scale */
#define STEPS(levels, channels, reach)                                                                                \
    { OP_SHAPE(levels, channels), .fill = FILL_ASCENDING, .size = reach }, { OP_SHAPE(channels), .fill = FILL_SIGN }, \
    {                                                                                                                 \
        OP_SHAPE(1), .fill = FILL_POSITIVE, .size = 0.1f                                                              \
    }

static const op_case cases[] = {
    { THRESHOLD, .why = "one psum, one threshold", .params = &zero,
      .in = { { OP_SHAPE(1, 1), .fill = FILL_INTEGER, .scale = 0.5f }, STEPS(1, 1, 7.0f) } },
    { THRESHOLD, .why = "2 bits, channels fewer than lanes, ties", .params = &zero,
      .in = { { OP_SHAPE(2, 5, 3, 7), .fill = FILL_INTEGER, .size = 12.0f, .scale = 0.25f }, STEPS(3, 7, 9.0f) } },
    { THRESHOLD, .why = "4 bits, a channel past the lanes, a scale for each", .params = &zero,
      .in = { { OP_SHAPE(3, 7, 33), .fill = FILL_INTEGER, .size = 200.0f, .scale = 0.1f, .n_scale = 33 },
              STEPS(15, 33, 150.0f) } },
    { THRESHOLD, .why = "4 bits, two lanes full", .params = &zero,
      .in = { { OP_SHAPE(9, 64), .fill = FILL_INTEGER, .size = 90.0f, .scale = 0.1f }, STEPS(15, 64, 70.0f) } },
    { THRESHOLD, .why = "codes below 0", .params = &below,
      .in = { { OP_SHAPE(33, 7), .fill = FILL_INTEGER, .size = 70.0f, .scale = 1.0f }, STEPS(14, 7, 60.0f) } },
    { THRESHOLD, .why = "8 bits, equal thresholds", .params = &zero,
      .in = { { OP_SHAPE(33, 37), .fill = FILL_INTEGER, .size = 80.0f, .scale = 0.1f }, STEPS(255, 37, 64.0f) } },
    { THRESHOLD, .why = "psums of 24 bits", .params = &zero,
      .in = { { OP_SHAPE(33, 7), .fill = FILL_INTEGER, .size = 16777215.0f, .scale = 0.125f },
              STEPS(15, 7, 16777215.0f) } },
    { THRESHOLD, .why = "zeros", .params = &zero,
      .in = { { OP_SHAPE(2, 7), .fill = FILL_ZERO, .scale = 0.1f }, STEPS(4, 7, 2.0f) } },
};

Test(threshold, matches_its_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

/* Every rule by hand: a tie passes, a falling channel, one that all psums pass and one that none does. */
Test(threshold, ties_signs_and_infinities)
{
    static const char *const backends[] = { "cpu", "cuda" };
    enum { C = 4 };
    const op_case c = { THRESHOLD, .why = "by hand", .params = &below,
                        .in = { { OP_SHAPE(3, C), .fill = FILL_INTEGER, .scale = 0.5f }, STEPS(2, C, 7.0f) } };
    const float psum[3 * C] = { 4, 4, 4, 4, 5, 5, 5, 5, -6, -6, -6, -6 };
    const float threshold[2 * C] = { 5, -4, -INFINITY, INFINITY, 6, 6, -INFINITY, INFINITY };
    const float sign[C] = { 1, -1, 1, -1 };
    const float want[3 * C] = { -7, -6, -5, -7, -6, -7, -5, -7, -7, -5, -5, -7 };

    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, psum, sizeof psum);
        op_rig_write(&rig, rig.in[1].data, threshold, sizeof threshold);
        op_rig_write(&rig, rig.in[2].data, sign, sizeof sign);
        op_rig_forward(&rig);
        float *code = op_rig_read(&rig, rig.out.data, 3 * C);
        cr_assert(rig.out.qmin == -7 && rig.out.qmax == -5);
        for (int i = 0; i < 3 * C; i++) {
            cr_assert(code[i] == want[i], "%s: code[%d] is %g, expected %g", backends[b], i, (double)code[i],
                      (double)want[i]);
        }
        free(code);
        op_rig_close(&rig);
    }
}

Test(threshold, misfits_are_refused)
{
    op_case c = cases[1];
    c.in[0].scale = 0.0f;
    op_case_refused(&c, DT_ERR_UNSUPPORTED, "takes psums, and its input is real");
    c = cases[1];
    c.in[1] = (op_input){ OP_SHAPE(7, 3), .fill = FILL_REAL };
    op_case_refused(&c, DT_ERR_SHAPE, "thresholds are 7x3, the psums have 7 channels");
    c = cases[1];
    c.in[2] = (op_input){ OP_SHAPE(1), .fill = FILL_SIGN };
    op_case_refused(&c, DT_ERR_SHAPE, "1 signs, the psums have 7 channels");
    c = cases[1];
    c.in[3] = (op_input){ OP_SHAPE(7), .fill = FILL_POSITIVE };
    op_case_refused(&c, DT_ERR_SHAPE, "takes one scale, got 7");
}
