/*
 * test_mul.c - the product against products in double.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* Finds b's element by its axes: where b has one, every index stands for it. */
static void mul_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_shape *a = &c->in[0].shape, *b = &c->in[1].shape;

    for (int64_t i = 0; i < dt_count(a); i++) {
        int64_t rest = i, at = 0, stride = 1;
        for (int axis = a->ndim - 1; axis >= 0; axis--) {
            at += rest % a->dim[axis] % b->dim[axis] * stride;
            stride *= b->dim[axis];
            rest /= a->dim[axis];
        }
        out[i] = in[0][i] * in[1][at];
    }
}

#define MUL .op = DT_OP_MUL, .n_in = 2, .oracle = mul_oracle

static const op_case cases[] = {
    { MUL, .why = "one value", .in = { { OP_SHAPE(1) }, { OP_SHAPE(1) } }, .agree = AGREE_BITS },
    { MUL, .why = "one shape, odd sizes", .in = { { OP_SHAPE(1, 7, 33) }, { OP_SHAPE(1, 7, 33) } },
      .agree = AGREE_BITS },
    { MUL, .why = "one shape, codes and reals", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(3, 2, 2, 7), .fill = FILL_INTEGER, .scale = 0.3f, .n_scale = 7 }, { OP_SHAPE(3, 2, 2, 7) } } },
    { MUL, .why = "one shape, codes of two scales", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(2, 33), .fill = FILL_INTEGER, .scale = 0.3f },
              { OP_SHAPE(2, 33), .fill = FILL_COUNT, .scale = 0.07f } } },
    { MUL, .why = "a factor for each channel", .in = { { OP_SHAPE(3, 5, 7, 3) }, { OP_SHAPE(3, 1, 1, 3) } },
      .agree = AGREE_BITS },
    { MUL, .why = "a factor for each channel, past the lanes", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(2, 3, 1, 133) }, { OP_SHAPE(2, 1, 1, 133) } } },
    { MUL, .why = "a factor for each channel, codes of both", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(2, 5, 7, 3), .fill = FILL_COUNT, .scale = 0.3f, .n_scale = 3 },
              { OP_SHAPE(2, 1, 1, 3), .fill = FILL_INTEGER, .scale = 0.07f } } },
    { MUL, .why = "three axes", .in = { { OP_SHAPE(3, 7, 5) }, { OP_SHAPE(3, 1, 5) } }, .agree = AGREE_BITS },
    { MUL, .why = "a map of one cell", .in = { { OP_SHAPE(3, 1, 1, 7) }, { OP_SHAPE(3, 1, 1, 7) } },
      .agree = AGREE_BITS },
    { MUL, .why = "large values", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(3, 7), .size = 1e15f }, { OP_SHAPE(3, 7), .size = 1e15f } } },
    { MUL, .why = "zeros", .in = { { OP_SHAPE(3, 7), .fill = FILL_ZERO }, { OP_SHAPE(3, 7) } }, .agree = AGREE_BITS },
};

Test(mul, matches_its_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

Test(mul, leaves_the_grid)
{
    op_rig rig;
    cr_assert(op_rig_open(&rig, "cpu", 1, &cases[3]));
    cr_assert(rig.out.n_scale == 0 && !rig.out.scale);
    op_rig_close(&rig);
}

/* x x: both inputs are one tensor, whose gradient is 2 x dy */
Test(mul, of_a_tensor_with_itself_adds_its_gradient_twice)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const op_case c = { MUL, .why = "x x", .in = { { OP_SHAPE(1, 3) }, { OP_SHAPE(1, 3) } } };
    const float x[3] = { 3.0f, 0.0f, -5.0f }, dy[3] = { 1.0f, -2.0f, 4.0f }, want[3] = { 6.5f, 0.5f, -39.5f };
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 2, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, x, sizeof x);
        rig.node.in[1] = rig.node.in[0];
        op_rig_backward(&rig, dy);
        float *dx = op_rig_read(&rig, rig.in[0].grad, 3);
        for (int i = 0; i < 3; i++) {
            cr_assert(dx[i] == want[i], "%s: dx[%d] is %g, expected %g", backends[b], i, (double)dx[i],
                      (double)want[i]);
        }
        free(dx);
        op_rig_close(&rig);
    }
}

/* dy a is 2^-24 for each of the map's cells but the first, where it is 1: an f32 sum stays at 1. */
Test(mul, sums_over_the_map_in_double)
{
    enum { CELLS = 1 << 12 };
    static const char *const backends[] = { "cpu", "cuda" };
    const op_case c = { MUL, .why = "long", .in = { { OP_SHAPE(1, CELLS, 1) }, { OP_SHAPE(1, 1, 1) } } };
    static float a[CELLS], dy[CELLS];
    for (int i = 0; i < CELLS; i++) a[i] = i ? 0x1p-24f : 1.0f;
    for (int i = 0; i < CELLS; i++) dy[i] = 1.0f;
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, a, sizeof a);
        op_rig_backward(&rig, dy);
        float *db = op_rig_read(&rig, rig.in[1].grad, 1);
        const float want = 0.5f + (1.0f + 0x1p-12f - 0x1p-24f);
        cr_assert(*db == want, "%s: db is %.9g, expected %.9g", backends[b], (double)*db, (double)want);
        free(db);
        op_rig_close(&rig);
    }
}

Test(mul, misfits_are_refused)
{
    const op_case shapes = { MUL, .why = "two shapes", .in = { { OP_SHAPE(2, 3) }, { OP_SHAPE(3, 2) } } };
    op_case_refused(&shapes, DT_ERR_SHAPE, "layer: mul: a is 2x3, b is 3x2; b must have a's shape, or 1 for each axis");
    const op_case images = { MUL, .why = "one for all", .in = { { OP_SHAPE(2, 3, 3, 5) }, { OP_SHAPE(1, 1, 1, 5) } } };
    op_case_refused(&images, DT_ERR_SHAPE, "mul: a is 2x3x3x5, b is 1x1x1x5");
    const op_case cells = { MUL, .why = "cells", .in = { { OP_SHAPE(2, 3, 3, 5) }, { OP_SHAPE(2, 3, 3, 1) } } };
    op_case_refused(&cells, DT_ERR_SHAPE, "mul: a is 2x3x3x5, b is 2x3x3x1");
}
