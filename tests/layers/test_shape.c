/*
 * test_shape.c - flatten, identity, add, transpose and concat against copies and sums in double.
 */
#include "../support/op_case.h"

#include "../../core/grid_facts.h"

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

/* Walks x in memory order, and counts the place in y. */
static void transpose_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_transpose_params *p = c->params;
    const int64_t image = dt_count(&c->in[0].shape) / c->in[0].shape.dim[0], inner = image / p->rows / p->columns;
    const double *x = in[0];

    for (int64_t n = 0; n < c->in[0].shape.dim[0]; n++) {
        for (int64_t row = 0; row < p->rows; row++) {
            for (int64_t column = 0; column < p->columns; column++) {
                double *y = out + n * image + column * p->rows * inner + row * inner;
                for (int64_t i = 0; i < inner; i++) y[i] = *x++;
            }
        }
    }
}

/* Walks y, and asks which input its place along the axis belongs to. */
static void concat_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_concat_params *p = c->params;
    const dt_shape *first = &c->in[0].shape;
    int64_t outer = 1, inner = 1;

    for (int i = 0; i < p->axis; i++) outer *= first->dim[i];
    for (int i = p->axis + 1; i < first->ndim; i++) inner *= first->dim[i];
    for (int64_t o = 0; o < outer; o++) {
        for (int k = 0; k < c->n_in; k++) {
            const int64_t length = c->in[k].shape.dim[p->axis];
            for (int64_t i = 0; i < length * inner; i++) *out++ = in[k][o * length * inner + i];
        }
    }
}

static const dt_transpose_params matrix = { 7, 33, 3, { 1, 33, 7 } };    /* of the only image */
static const dt_transpose_params capsules = { 12, 5, 3, { 2, 60, 3 } };  /* H*W = 12, 5 types of dimension 3 */
static const dt_transpose_params split = { 12, 5, 4, { 10, 3, 4, 3 } };  /* N*types images for one convolution */
static const dt_transpose_params joined = { 5, 12, 4, { 2, 3, 4, 15 } }; /* and back: rows of x are its types */
static const dt_transpose_params still = { 1, 1, 2, { 7, 5 } };
static const dt_concat_params second = { 1 }, third = { 2 }, channels = { 3 };
static const dt_transpose_params uneven = { 5, 3, 2, { 7, 33 } }, other = { 3, 11, 3, { 7, 33, 2 } };

#define TRANSPOSE(p)    .op = DT_OP_TRANSPOSE, .params = &(p), .n_in = 1, .oracle = transpose_oracle
#define CONCAT          .op = DT_OP_CONCAT, .params = &second, .n_in = 2, .oracle = concat_oracle
#define CONCAT_OF(p, n) .op = DT_OP_CONCAT, .params = &(p), .n_in = n, .oracle = concat_oracle
#define FLATTEN         .op = DT_OP_FLATTEN, .n_in = 1, .oracle = copy_oracle
#define IDENTITY        .op = DT_OP_IDENTITY, .n_in = 1, .oracle = copy_oracle
#define ADD             .op = DT_OP_ADD, .n_in = 2, .oracle = add_oracle

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
    { ADD, .why = "add: integers of one scale", .agree = AGREE_INTEGERS,
      .in = { { OP_SHAPE(2, 33), .fill = FILL_INTEGER, .scale = 0.3f },
              { OP_SHAPE(2, 33), .fill = FILL_COUNT, .scale = 0.3f, .scale_of_first = 1 } } },
    { ADD, .why = "add: integers whose sum f32 does not hold", .agree = AGREE_BITS, .no_slopes = "large",
      .in = { { OP_SHAPE(2, 33), .fill = FILL_INTEGER, .size = 8388608.0f, .scale = 0.25f },
              { OP_SHAPE(2, 33), .fill = FILL_INTEGER, .size = 8388608.0f, .scale = 0.25f, .scale_of_first = 1 } } },
    { TRANSPOSE(matrix), .why = "transpose: a matrix", .in = { { OP_SHAPE(1, 7, 33) } }, .agree = AGREE_BITS },
    { TRANSPOSE(capsules), .why = "transpose: capsules", .in = { { OP_SHAPE(2, 3, 4, 15) } }, .agree = AGREE_BITS },
    { TRANSPOSE(split), .why = "transpose: types become images", .agree = AGREE_INTEGERS,
      .in = { { OP_SHAPE(2, 3, 4, 15), .fill = FILL_DISTINCT, .scale = 0.25f } } },
    { TRANSPOSE(joined), .why = "transpose: and back", .in = { { OP_SHAPE(2, 60, 3) } }, .agree = AGREE_BITS },
    { TRANSPOSE(still), .why = "transpose: nothing moves", .in = { { OP_SHAPE(7, 5) } }, .agree = AGREE_BITS },
    { CONCAT, .why = "concat: one value each", .in = { { OP_SHAPE(1, 1) }, { OP_SHAPE(1, 1) } }, .agree = AGREE_BITS },
    { CONCAT, .why = "concat: odd sizes", .in = { { OP_SHAPE(7, 3, 5) }, { OP_SHAPE(7, 1, 5) } }, .agree = AGREE_BITS },
    { CONCAT, .why = "concat: b is the larger", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(3, 2, 2, 3) }, { OP_SHAPE(3, 33, 2, 3) } } },
    { CONCAT_OF(third, 3), .why = "concat: three along columns", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(3, 5, 2, 3) }, { OP_SHAPE(3, 5, 1, 3) }, { OP_SHAPE(3, 5, 7, 3) } } },
    { CONCAT_OF(channels, 6), .why = "concat: six along channels", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(2, 3, 3, 2) },
              { OP_SHAPE(2, 3, 3, 1) },
              { OP_SHAPE(2, 3, 3, 33) },
              { OP_SHAPE(2, 3, 3, 7) },
              { OP_SHAPE(2, 3, 3, 1) },
              { OP_SHAPE(2, 3, 3, 4) } } },
    { CONCAT_OF(channels, 3), .why = "concat: codes of other scales, and reals, become real", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(2, 3, 3, 2), .fill = FILL_COUNT, .scale = 0.3f },
              { OP_SHAPE(2, 3, 3, 7), .fill = FILL_INTEGER, .scale = 0.7f, .n_scale = 7 },
              { OP_SHAPE(2, 3, 3, 5) } } },
    { CONCAT_OF(second, 2), .why = "concat: a scale for each channel, along rows", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(2, 3, 3, 7), .fill = FILL_COUNT, .scale = 0.3f, .n_scale = 7 },
              { OP_SHAPE(2, 1, 3, 7), .fill = FILL_INTEGER, .scale = 0.7f, .n_scale = 7 } } },
};

Test(shape, operators_match_their_oracles)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

/* Two quantizers with one clip have equal scales, which lie apart. */
Test(shape, add_stays_on_the_grid_of_one_clip)
{
    const dt_tensor clip = { .name = "clip" }, second_clip = { .name = "another clip" };
    dt_tensor a = { .shape = OP_SHAPE(2, 3), .qmin = -7, .qmax = 7 }, b = { .shape = OP_SHAPE(2, 3), .qmax = 15 },
              y = { 0 };
    dt_node node = { .kind = DT_OP_ADD, .name = "join", .in = { &a, &b }, .n_in = 2, .out = &y };

    dt_scale_follows(&a, &clip, 7);
    dt_scale_follows(&b, &clip, 7);
    cr_assert(dt_ops[DT_OP_ADD]->infer(&node) == DT_OK && y.n_scale == 1 && y.qmin == -7 && y.qmax == 22);
    cr_assert(y.scale_of == &clip && y.scale_form == 7);
    y = (dt_tensor){ 0 };
    b.scale_form = 15;
    cr_assert(dt_ops[DT_OP_ADD]->infer(&node) == DT_OK && y.n_scale == 0, "of one clip, but of other bits");
    dt_scale_follows(&b, &second_clip, 7);
    cr_assert(dt_ops[DT_OP_ADD]->infer(&node) == DT_OK && y.n_scale == 0, "of two clips");
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

Test(shape, transpose_stays_on_the_grid_in_the_shape_asked_for)
{
    const op_case c = { TRANSPOSE(split), .why = "split",
                        .in = { { OP_SHAPE(2, 12, 15), .fill = FILL_COUNT, .scale = 2.0f } } };
    const dt_shape want = OP_SHAPE(10, 3, 4, 3);
    op_rig rig;
    cr_assert(op_rig_open(&rig, "cpu", 1, &c));
    cr_assert(rig.out.n_scale == 1 && rig.out.scale == rig.in[0].scale && rig.out.qmax == 15);
    cr_assert(dt_same_shape(&rig.out.shape, &want));
    op_rig_close(&rig);
}

Test(shape, transpose_and_concat_refuse_misfits)
{
    const op_case rows = { TRANSPOSE(uneven), .why = "33 is not 5 x 3", .in = { { OP_SHAPE(7, 33) } } };
    op_case_refused(&rows, DT_ERR_SHAPE, "x is 7x33, which is not 5 rows of 3 columns");
    const op_case count = { TRANSPOSE(other), .why = "twice as many", .in = { { OP_SHAPE(7, 33) } } };
    op_case_refused(&count, DT_ERR_SHAPE, "x is 7x33, y is to be 7x33x2");
    const op_case scales = { TRANSPOSE(still), .why = "a scale for each channel",
                             .in = { { OP_SHAPE(7, 5), .fill = FILL_COUNT, .scale = 1.0f, .n_scale = 5 } } };
    op_case_refused(&scales, DT_ERR_UNSUPPORTED, "x is 7x5 with a scale for each channel, which y cannot keep");
    const op_case batch = { CONCAT, .why = "batches", .in = { { OP_SHAPE(2, 3, 4) }, { OP_SHAPE(3, 3, 4) } } };
    op_case_refused(&batch, DT_ERR_SHAPE,
                    "layer: concat: input 1 is 3x3x4, input 0 is 2x3x4; they may differ along axis 1 only");
    const op_case flat = { CONCAT, .why = "one axis", .in = { { OP_SHAPE(3) }, { OP_SHAPE(3) } } };
    op_case_refused(&flat, DT_ERR_ARGUMENT, "concat: axis 1 of 3, allowed are 1 to 0");
    const dt_concat_params images = { 0 };
    const op_case batches = { CONCAT_OF(images, 2), .why = "images", .in = { { OP_SHAPE(2, 3) }, { OP_SHAPE(2, 3) } } };
    op_case_refused(&batches, DT_ERR_ARGUMENT, "concat: axis 0 of 2x3, allowed are 1 to 1");
}

/* What one quantizer gave keeps its scale, and has the widest of the ranges; a second quantizer of equal scale is
 * another. */
Test(shape, concat_stays_on_the_grid_of_one_scale)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const op_case c = { CONCAT_OF(channels, 3), .why = "one scale",
                        .in = { { OP_SHAPE(2, 3, 3, 2), .fill = FILL_COUNT, .scale = 0.3f },
                                { OP_SHAPE(2, 3, 3, 7), .fill = FILL_INTEGER, .scale = 0.3f },
                                { OP_SHAPE(2, 3, 3, 1), .fill = FILL_COUNT, .size = 99.0f, .scale = 0.3f } } };
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        cr_assert(rig.out.n_scale == 0, "three scales have no common one");
        float *const own[2] = { rig.in[1].scale, rig.in[2].scale };
        rig.in[1].scale = rig.in[2].scale = rig.in[0].scale;
        cr_assert(dt_ops[DT_OP_CONCAT]->infer(&rig.node) == DT_OK, "%s", dt_last_error());
        cr_assert(rig.out.n_scale == 1 && rig.out.scale == rig.in[0].scale);
        cr_assert(rig.out.qmin == -7 && rig.out.qmax >= 90, "codes of %lld..%lld", (long long)rig.out.qmin,
                  (long long)rig.out.qmax);
        op_rig_forward(&rig);
        float *y = op_rig_read(&rig, rig.out.data, 10), *x = op_rig_read(&rig, rig.in[1].data, 7);
        for (int i = 0; i < 7; i++) {
            cr_assert(y[2 + i] == x[i], "%s: y[%d] is %g, expected the code %g", backends[b], 2 + i, (double)y[2 + i],
                      (double)x[i]);
        }
        free(x);
        free(y);
        rig.in[1].scale = own[0];
        rig.in[2].scale = own[1];
        op_rig_close(&rig);
    }
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
