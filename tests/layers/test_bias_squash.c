/*
 * test_bias_squash.c - a bias with the capsules' non-linearity behind it, against lengths in double.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>

/* As the paper writes it, of x + b. */
static void bias_squash_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_caps_params *p = c->params;
    const int64_t count = dt_count(&c->in[0].shape), channels = dt_count(&c->in[1].shape);

    for (int64_t i = 0; i < count; i++) {
        double square = 0.0;
        for (int64_t j = i / p->dim * p->dim; j < (i / p->dim + 1) * p->dim; j++) {
            square += pow(in[0][j] + in[1][j % channels], 2.0);
        }
        const double s = in[0][i] + in[1][i % channels];
        out[i] = square > 0.0 ? square / (1.0 + square) * (s / sqrt(square)) : 0.0;
    }
}

#define CASE(dim) \
    .op = DT_OP_BIAS_SQUASH, .n_in = 2, .oracle = bias_squash_oracle, .agree = AGREE_BITS, .params = &of[dim]

static const dt_caps_params of[] = { [1] = { 1 }, [4] = { 4 }, [5] = { 5 }, [8] = { 8 }, [16] = { 16 }, [33] = { 33 } };

static const op_case cases[] = {
    { CASE(1), .why = "capsules of one value", .in = { { OP_SHAPE(3, 7) }, { OP_SHAPE(7) } } },
    { CASE(4), .why = "of 4", .in = { { OP_SHAPE(2, 3, 3, 12) }, { OP_SHAPE(12) } } },
    { CASE(5), .why = "of 5, row blocks of two sizes", .in = { { OP_SHAPE(135, 15) }, { OP_SHAPE(15) } } },
    { CASE(8), .why = "of 8, 16 and more in a row", .in = { { OP_SHAPE(3, 2, 144) }, { OP_SHAPE(18, 8) } } },
    { CASE(16), .why = "psums", .in = { { OP_SHAPE(7, 48), .fill = FILL_INTEGER, .scale = 0.3f }, { OP_SHAPE(48) } } },
    { CASE(4), .why = "psums, a scale for each filter",
      .in = { { OP_SHAPE(3, 2, 2, 8), .fill = FILL_DISTINCT, .scale = 0.3f, .n_scale = 8 }, { OP_SHAPE(8) } } },
    { CASE(33), .why = "of 33: vectors and a rest", .in = { { OP_SHAPE(3, 33) }, { OP_SHAPE(33) } } },
    { CASE(8), .why = "zeros: 0, and slope 0",
      .in = { { OP_SHAPE(3, 16), .fill = FILL_ZERO }, { OP_SHAPE(16), .fill = FILL_ZERO } } },
};

Test(bias_squash, matches_its_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

Test(bias_squash, misfits_are_refused)
{
    const op_case few = { CASE(8), .why = "a bias of few", .in = { { OP_SHAPE(2, 16) }, { OP_SHAPE(8) } } };
    op_case_refused(&few, DT_ERR_SHAPE, "x has 16 channels, b 8 values");
    const op_case odd = { CASE(8), .why = "no capsules", .in = { { OP_SHAPE(2, 12) }, { OP_SHAPE(12) } } };
    op_case_refused(&odd, DT_ERR_SHAPE, "in capsules of 8");
}
