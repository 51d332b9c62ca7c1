/*
 * test_codes.c - stored codes, the table of pixels, and integers made real, against copies and look-ups in double.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static void codes_oracle(const op_case *c, const double *const *in, double *out)
{
    const int64_t count = dt_count(&c->in[0].shape), n_scale = dt_count(&c->in[1].shape);

    for (int64_t i = 0; i < count; i++) out[i] = in[0][i] * in[1][i / (count / n_scale)];
}

static void table_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_shape *x = &c->in[0].shape;
    const int64_t channels = x->dim[x->ndim - 1], columns = c->in[1].shape.dim[1];
    const int64_t first = ((const dt_table_params *)c->params)->first;

    for (int64_t i = 0; i < dt_count(x); i++) {
        const int64_t row = (int64_t)in[0][i] - first;
        out[i] = in[1][row * columns + (columns == 1 ? 0 : i % channels)] * in[2][0];
    }
}

static void real_oracle(const op_case *c, const double *const *in, double *out)
{
    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) out[i] = in[0][i];
}

static const dt_codes_params seven = { -7, 7, 0 }, eight = { -128, 127, 0 };
static const dt_table_params any_sign = { -7, 7, 0 }, positive = { 0, 15, 0 }, shifted = { 0, 15, -128 };

#define CODES .op = DT_OP_CODES, .n_in = 2, .oracle = codes_oracle, .agree = AGREE_INTEGERS
#define TABLE .op = DT_OP_TABLE, .n_in = 3, .oracle = table_oracle, .agree = AGREE_INTEGERS
#define REAL  .op = DT_OP_DEQUANTIZE, .n_in = 1, .oracle = real_oracle, .agree = AGREE_BITS
#define SCALES(...)                                                \
    {                                                              \
        OP_SHAPE(__VA_ARGS__), .fill = FILL_POSITIVE, .size = 0.1f \
    }

static const op_case cases[] = {
    { CODES, .why = "codes: one", .params = &seven, .in = { { OP_SHAPE(1, 1), .fill = FILL_INTEGER }, SCALES(1) } },
    { CODES, .why = "codes: filters of one scale", .params = &seven,
      .in = { { OP_SHAPE(7, 3, 3, 33), .fill = FILL_INTEGER }, SCALES(1) } },
    { CODES, .why = "codes: a scale for each filter", .params = &eight, .out_scale_first = 1,
      .in = { { OP_SHAPE(33, 3, 1, 7), .fill = FILL_INTEGER, .size = 127.0f }, SCALES(33) } },
    { TABLE, .why = "table: one pixel", .params = &any_sign,
      .in = { { OP_SHAPE(1, 1, 1, 1), .type = DT_U8, .fill = FILL_COUNT, .size = 255.0f },
              { OP_SHAPE(256, 1), .fill = FILL_INTEGER },
              SCALES(1) } },
    { TABLE, .why = "table: odd sizes, all pixel values", .params = &positive,
      .in = { { OP_SHAPE(7, 9, 5, 3), .type = DT_U8, .fill = FILL_COUNT, .size = 255.0f },
              { OP_SHAPE(256, 3), .fill = FILL_COUNT },
              SCALES(1) } },
    { TABLE, .why = "table: signed codes, one column", .params = &shifted,
      .in = { { OP_SHAPE(7, 5, 3), .fill = FILL_INTEGER, .size = 7.0f, .scale = 1.0f },
              { OP_SHAPE(256, 1), .fill = FILL_COUNT },
              SCALES(1) } },
    { REAL, .why = "dequantize: one code", .in = { { OP_SHAPE(1, 1), .fill = FILL_INTEGER, .scale = 0.3f } } },
    { REAL, .why = "dequantize: a map of one scale",
      .in = { { OP_SHAPE(3, 5, 7, 33), .fill = FILL_INTEGER, .scale = 0.3f } } },
    { REAL, .why = "dequantize: a scale for each channel",
      .in = { { OP_SHAPE(3, 5, 2, 33), .fill = FILL_INTEGER, .scale = 0.3f, .n_scale = 33 } } },
};

Test(codes, operators_match_their_oracles)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

Test(codes, misfits_are_refused)
{
    const dt_codes_params empty = { 1, 0, 0 };
    op_case c = { CODES, .why = "codes", .params = &seven, .in = { { OP_SHAPE(7, 3) }, { OP_SHAPE(3) } } };
    op_case_refused(&c, DT_ERR_SHAPE, "codes: 3 scales for 7 filters");
    c.in[1] = (op_input)SCALES(7);
    c.params = &empty;
    op_case_refused(&c, DT_ERR_ARGUMENT, "the range of the codes is 1..0");
    c.params = &seven;
    c.in[0].scale = 0.5f;
    op_case_refused(&c, DT_ERR_UNSUPPORTED, "they are a grid tensor already");
}

Test(codes, reals_are_not_dequantized)
{
    const op_case c = { REAL, .why = "reals", .in = { { OP_SHAPE(2, 3) } } };
    op_case_refused(&c, DT_ERR_UNSUPPORTED, "dequantize: takes integers, and its input is real");
}

Test(codes, misfits_of_the_table_are_refused)
{
    const dt_table_params empty = { 1, 0, 0 };
    op_case c = cases[4];
    c.params = &empty;
    op_case_refused(&c, DT_ERR_ARGUMENT, "table: the range of the codes is 1..0");
    c.params = &positive;
    c.in[1] = (op_input){ OP_SHAPE(256, 2), .fill = FILL_REAL };
    op_case_refused(&c, DT_ERR_SHAPE, "x is 7x9x5x3, the table is 256x2");
    c.in[1] = (op_input){ OP_SHAPE(255, 3), .fill = FILL_REAL };
    op_case_refused(&c, DT_ERR_SHAPE, "x has the values 0..255, and the table has rows for 0..254");
    c = cases[4];
    c.in[2] = (op_input)SCALES(3);
    op_case_refused(&c, DT_ERR_SHAPE, "takes one scale, got 3");
    c.in[0].type = DT_F32;
    op_case_refused(&c, DT_ERR_ARGUMENT, "x must be bytes");
}
