/*
 * test_caps_class.c - lengths of capsules and the labelled capsule, against norms and copies in double.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int dim_of(const op_case *c)
{
    return ((const dt_caps_params *)c->params)->dim;
}

/* hypot of all values, one after another: another way to a length than a sum of squares */
static void length_oracle(const op_case *c, const double *const *in, double *out)
{
    const int64_t count = dt_count(&c->in[0].shape), dim = dim_of(c);

    memset(out, 0, (size_t)(count / dim) * sizeof *out);
    for (int64_t i = 0; i < count; i++) out[i / dim] = hypot(out[i / dim], in[0][i]);
}

static void mask_oracle(const op_case *c, const double *const *in, double *out)
{
    const int64_t *v = c->in[0].shape.dim, dim = dim_of(c);

    for (int64_t n = 0; n < v[0]; n++) {
        for (int64_t i = 0; i < v[1]; i++) {
            if (i / dim == (int64_t)in[1][n]) out[n * dim + i % dim] = in[0][n * v[1] + i];
        }
    }
}

static const dt_caps_params one = { 1 }, seven = { 7 }, sixteen = { 16 }, thirty_two = { 32 };

#define LENGTH .op = DT_OP_CAPS_LENGTH, .n_in = 1, .oracle = length_oracle, .agree = AGREE_BITS
#define MASK   .op = DT_OP_CAPS_MASK, .n_in = 2, .oracle = mask_oracle, .agree = AGREE_BITS
#define LABELS(N, J)                                                                                  \
    {                                                                                                 \
        OP_SHAPE(N), .type = DT_I32, .fill = (J) > 1 ? FILL_COUNT : FILL_ZERO, .size = (float)((J)-1) \
    }

static const op_case cases[] = {
    { LENGTH, .why = "one value: its magnitude", .params = &one, .in = { { OP_SHAPE(1, 1) } } },
    { LENGTH, .why = "odd sizes", .params = &seven, .in = { { OP_SHAPE(33, 21) } } },
    { LENGTH, .why = "ten classes of 16", .params = &sixteen, .in = { { OP_SHAPE(7, 160), .size = 0.3f } } },
    { LENGTH, .why = "ten classes of 32", .params = &thirty_two, .in = { { OP_SHAPE(3, 320) } } },
    { LENGTH, .why = "large values", .params = &seven, .in = { { OP_SHAPE(3, 7), .size = 1e15f } } },
    { LENGTH, .why = "small values", .params = &seven, .in = { { OP_SHAPE(3, 7), .size = 1e-6f } },
      .no_slopes = "steps of 1e-6 are as long as the capsules" },
    { MASK, .why = "one class", .params = &seven, .in = { { OP_SHAPE(3, 7) }, LABELS(3, 1) } },
    { MASK, .why = "odd sizes", .params = &seven, .in = { { OP_SHAPE(33, 77) }, LABELS(33, 11) } },
    { MASK, .why = "ten classes of 16", .params = &sixteen, .in = { { OP_SHAPE(7, 160) }, LABELS(7, 10) } },
    { MASK, .why = "capsules of one value", .params = &one, .in = { { OP_SHAPE(7, 3) }, LABELS(7, 3) } },
};

Test(caps_class, operators_match_their_oracles)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

/* One capsule of 0, and one whose squares vanish: no gradient, no NaN. The third has length 5. */
Test(caps_class, a_capsule_of_length_0_gets_no_gradient)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const dt_caps_params two = { 2 };
    const op_case c = { LENGTH, .why = "zero", .params = &two, .in = { { OP_SHAPE(1, 6) } } };
    const float v[6] = { 0.0f, 0.0f, 1e-30f, 0.0f, 3.0f, -4.0f }, dy[3] = { 10.0f, 10.0f, 10.0f };
    const float want[6] = { 0.5f, 0.5f, 0.5f, 0.5f, 6.5f, -7.5f };
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, v, sizeof v);
        op_rig_forward(&rig);
        op_rig_backward(&rig, dy);
        float *y = op_rig_read(&rig, rig.out.data, 3), *dv = op_rig_read(&rig, rig.in[0].grad, 6);
        cr_assert(y[0] == 0.0f && y[1] == 0.0f && y[2] == 5.0f, "%s: lengths are %g, %g, %g", backends[b], (double)y[0],
                  (double)y[1], (double)y[2]);
        for (int i = 0; i < 6; i++) {
            cr_assert(fabsf(dv[i] - want[i]) < 1e-5f, "%s: dv[%d] is %g, expected %g", backends[b], i, (double)dv[i],
                      (double)want[i]);
        }
        free(y);
        free(dv);
        op_rig_close(&rig);
    }
}

Test(caps_class, misfits_are_refused)
{
    const dt_caps_params none = { 0 };
    const op_case part = { LENGTH, .why = "part", .params = &seven, .in = { { OP_SHAPE(2, 15) } } };
    op_case_refused(&part, DT_ERR_SHAPE,
                    "v is 2x15; needed are N,C, with C a multiple of the capsules' dim, which is 7");
    const op_case empty = { LENGTH, .why = "dim", .params = &none, .in = { { OP_SHAPE(2, 15) } } };
    op_case_refused(&empty, DT_ERR_SHAPE, "which is 0");
    const op_case map = { MASK, .why = "axes", .params = &one, .in = { { OP_SHAPE(2, 4, 4, 7) }, LABELS(2, 7) } };
    op_case_refused(&map, DT_ERR_SHAPE, "v is 2x4x4x7");
    const op_case labels = { MASK, .why = "labels", .params = &seven, .in = { { OP_SHAPE(2, 14) }, LABELS(3, 2) } };
    op_case_refused(&labels, DT_ERR_SHAPE, "3 labels for 2 images");
    const op_case codes = { LENGTH, .why = "codes", .params = &seven,
                            .in = { { OP_SHAPE(2, 14), .fill = FILL_INTEGER, .scale = 0.5f } } };
    op_case_refused(&codes, DT_ERR_UNSUPPORTED, "v is a grid tensor");
}
