/*
 * test_bias_relu.c - a bias with a ReLU behind it, against limits in double. test_bias_pairs.c compares it with the two
 *                    operators that it stands for.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>

static void bias_relu_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_relu_params *p = c->params;
    const int64_t count = dt_count(&c->in[0].shape), channels = dt_count(&c->in[1].shape);

    for (int64_t i = 0; i < count; i++) {
        out[i] = fmax(in[0][i] + in[1][i % channels], 0.0);
        if (p->most > 0.0f) out[i] = fmin(out[i], (double)p->most);
    }
}

static const dt_relu_params no_limit = { 0.0f }, one = { 1.0f };

#define CASE .op = DT_OP_BIAS_RELU, .n_in = 2, .oracle = bias_relu_oracle, .agree = AGREE_BITS

static const op_case cases[] = {
    { CASE, .why = "one channel", .params = &no_limit, .in = { { OP_SHAPE(7, 1) }, { OP_SHAPE(1) } } },
    { CASE, .why = "a map", .params = &no_limit, .in = { { OP_SHAPE(2, 3, 5, 12) }, { OP_SHAPE(12) } } },
    { CASE, .why = "row blocks of two sizes", .params = &no_limit, .in = { { OP_SHAPE(135, 33) }, { OP_SHAPE(33) } } },
    { CASE, .why = "an upper limit", .params = &one,
      .in = { { OP_SHAPE(9, 16), .size = 2.0f }, { OP_SHAPE(16), .size = 0.25f } } },
    { CASE, .why = "psums", .params = &no_limit,
      .in = { { OP_SHAPE(7, 48), .fill = FILL_DISTINCT, .scale = 0.3f }, { OP_SHAPE(48), .size = 0.1f } } },
    { CASE, .why = "psums, a scale for each filter", .params = &no_limit,
      .in = { { OP_SHAPE(3, 2, 2, 8), .fill = FILL_DISTINCT, .scale = 0.3f, .n_scale = 8 },
              { OP_SHAPE(8), .size = 0.1f } } },
    { CASE, .why = "at 0: 0, and slope 0", .params = &no_limit, .no_slopes = "ties",
      .in = { { OP_SHAPE(3, 16), .fill = FILL_ZERO }, { OP_SHAPE(16), .fill = FILL_ZERO } } },
};

Test(bias_relu, matches_its_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

Test(bias_relu, misfits_are_refused)
{
    const op_case few = { CASE, .why = "a bias of few", .params = &no_limit,
                          .in = { { OP_SHAPE(2, 16) }, { OP_SHAPE(8) } } };
    op_case_refused(&few, DT_ERR_SHAPE, "x has 16 channels, b 8 values");
}
