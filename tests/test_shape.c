/*
 * test_shape.c - flatten, identity and add against copies and sums in double.
 */
#include "op_case.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static void copy_oracle(const op_case *c, const double *const *in, double *out)
{
    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) out[i] = in[0][i];
}

static void add_oracle(const op_case *c, const double *const *in, double *out)
{
    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) out[i] = in[0][i] + in[1][i];
}

#define FLATTEN  .op = DT_OP_FLATTEN, .n_in = 1, .oracle = copy_oracle
#define IDENTITY .op = DT_OP_IDENTITY, .n_in = 1, .oracle = copy_oracle
#define ADD      .op = DT_OP_ADD, .n_in = 2, .oracle = add_oracle

static const op_case cases[] = {
    { FLATTEN, .why = "flatten: odd sizes", .in = { { OP_SHAPE(7, 1, 3, 33) } }, .agree = AGREE_BITS },
    { FLATTEN, .why = "flatten: codes", .agree = AGREE_INTEGERS,
      .in = { { OP_SHAPE(2, 3, 3, 2), .fill = FILL_INTEGER, .scale = 0.25f } } },
    { FLATTEN, .why = "flatten: a 1x1 map keeps a scale for each channel", .agree = AGREE_INTEGERS,
      .in = { { OP_SHAPE(2, 1, 1, 7), .fill = FILL_INTEGER, .scale = 0.25f, .n_scale = 7 } } },
    { IDENTITY, .why = "identity: odd sizes", .in = { { OP_SHAPE(1, 7, 33) } }, .agree = AGREE_BITS },
    { IDENTITY, .why = "identity: psums, a scale for each filter", .agree = AGREE_INTEGERS,
      .in = { { OP_SHAPE(2, 2, 2, 8), .fill = FILL_DISTINCT, .scale = 0.1f, .n_scale = 8 } } },
    { ADD, .why = "add: one value", .in = { { OP_SHAPE(1, 1) }, { OP_SHAPE(1, 1) } }, .agree = AGREE_BITS },
    { ADD, .why = "add: odd sizes", .in = { { OP_SHAPE(1, 7, 33) }, { OP_SHAPE(1, 7, 33) } }, .agree = AGREE_BITS },
    { ADD, .why = "add: a real value and codes with a scale for each channel", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(3, 2, 2, 7) }, { OP_SHAPE(3, 2, 2, 7), .fill = FILL_INTEGER, .scale = 0.3f, .n_scale = 7 } } },
    { ADD, .why = "add: codes of two scales", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(2, 33), .fill = FILL_INTEGER, .scale = 0.3f },
              { OP_SHAPE(2, 33), .fill = FILL_COUNT, .scale = 0.07f } } },
};

Test(shape, operators_match_their_oracles)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

Test(shape, add_leaves_the_grid_and_identity_stays)
{
    op_rig rig;
    cr_assert(op_rig_open(&rig, "cpu", 1, &cases[8]));
    cr_assert(rig.out.n_scale == 0);
    op_rig_close(&rig);
    cr_assert(op_rig_open(&rig, "cpu", 1, &cases[4]));
    cr_assert(rig.out.n_scale == 8 && rig.out.scale == rig.in[0].scale && rig.out.qmax == rig.in[0].qmax);
    op_rig_close(&rig);
}

/* x + x: both inputs are one tensor, whose gradient is 2 dy */
Test(shape, add_of_a_tensor_to_itself_adds_its_gradient_twice)
{
    const op_case c = { ADD, .why = "x + x", .in = { { OP_SHAPE(1, 3) }, { OP_SHAPE(1, 3) } } };
    const float dy[3] = { 1.0f, -2.0f, 4.0f };
    op_rig rig;
    cr_assert(op_rig_open(&rig, "cpu", 2, &c));
    rig.node.in[1] = rig.node.in[0];
    op_rig_backward(&rig, dy);
    float *dx = op_rig_read(&rig, rig.in[0].grad, 3);
    for (int i = 0; i < 3; i++) cr_assert(dx[i] == 0.5f + 2.0f * dy[i], "dx[%d] is %g", i, (double)dx[i]);
    free(dx);
    op_rig_close(&rig);
}

Test(shape, misfits_are_refused)
{
    const op_case add = { ADD, .why = "two shapes", .in = { { OP_SHAPE(2, 3) }, { OP_SHAPE(3, 2) } } };
    op_case_refused(&add, DT_ERR_SHAPE, "add: a is 2x3, b is 3x2");
    const op_case flatten = { FLATTEN, .why = "four pixels share a channel's scale",
                              .in = { { OP_SHAPE(1, 2, 2, 3), .fill = FILL_COUNT, .scale = 1.0f, .n_scale = 3 } } };
    op_case_refused(&flatten, DT_ERR_UNSUPPORTED, "x is 1x2x2x3 with a scale for each channel, which 12 features");
    const op_case flat = { FLATTEN, .why = "one axis", .in = { { OP_SHAPE(5) } } };
    op_case_refused(&flat, DT_ERR_SHAPE, "needs two axes");
}
