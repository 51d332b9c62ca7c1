/*
 * test_qmatmul.c - products of matrices of codes, against arithmetic with 128-bit integers.
 */
#include "../support/engine_oracle.h"
#include "../support/op_case.h"

#include "../../core/op_params.h"

#include <criterion/criterion.h>

static double rounded(const dt_qmatmul_params *p, int64_t sum, const double scale[3])
{
    const float product = (float)scale[0] * (float)scale[1];
    const double m = (double)product / scale[2];

    switch (p->profile) {
    case DT_PROFILE_REF_SINGLE: return (double)oracle_once(sum, m);
    case DT_PROFILE_FP32_RNE:
        return p->shifted ? (double)oracle_twice(sum, m)
                          : oracle_even((double)((float)sum * (product / (float)scale[2])));
    case DT_PROFILE_ONNX: return oracle_even((double)((float)((double)sum * (scale[0] * scale[1])) / (float)scale[2]));
    default: return (double)oracle_twice(sum, m);
    }
}

/* Element `at` of an operand seen as [N][B][rows][columns], whose image or matrix may stand for all. */
static int64_t element(const double *x, const dt_shape *s, int64_t n, int64_t b, int64_t row, int64_t column)
{
    if (s->dim[0] == 1) n = 0;
    if (s->dim[1] == 1) b = 0;
    return (int64_t)x[((n * s->dim[1] + b) * s->dim[2] + row) * s->dim[3] + column];
}

static void oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_qmatmul_params *p = c->params;
    const dt_shape *a = &c->in[0].shape, *b = &c->in[1].shape;
    const int64_t R = a->dim[p->transpose_a ? 3 : 2], T = a->dim[p->transpose_a ? 2 : 3];
    const int64_t C = b->dim[p->transpose_b ? 2 : 3], B = a->dim[1] > b->dim[1] ? a->dim[1] : b->dim[1];
    const int64_t N = a->dim[0] > b->dim[0] ? a->dim[0] : b->dim[0];
    const double scale[3] = { in[2][0], in[3][0], in[4][0] };

    for (int64_t i = 0; i < N * B * R * C; i++) {
        const int64_t column = i % C, row = i / C % R, matrix = i / C / R % B, image = i / C / R / B;
        int64_t sum = 0;
        for (int64_t t = 0; t < T; t++) {
            sum +=
                (p->transpose_a ? element(in[0], a, image, matrix, t, row) : element(in[0], a, image, matrix, row, t)) *
                (p->transpose_b ? element(in[1], b, image, matrix, column, t)
                                : element(in[1], b, image, matrix, t, column));
        }
        out[i] = oracle_limit(rounded(p, sum, scale), p->low, p->high) * scale[2];
    }
}

#define OF .op = DT_OP_QMATMUL, .n_in = 5, .oracle = oracle, .agree = AGREE_INTEGERS
#define SCALE(of)                                        \
    {                                                    \
        OP_SHAPE(1), .fill = FILL_POSITIVE, .size = (of) \
    }
#define CODES(...)                                                                 \
    {                                                                              \
        OP_SHAPE(__VA_ARGS__), .fill = FILL_INTEGER, .size = 200.0f, .scale = 1.0f \
    }
#define SCALES SCALE(0.03f), SCALE(0.07f), SCALE(4.0f)

static const dt_qmatmul_params litert = { DT_PROFILE_LITERT_REF, -128, 127, 0, 0, 0, 0 },
                               left = { DT_PROFILE_REF_DOUBLE, -50, 205, -78, 1, 1, 0 },
                               right = { DT_PROFILE_LITERT_REF, -128, 127, 0, 1, 0, 1 },
                               both = { DT_PROFILE_REF_SINGLE, 0, 255, -128, 0, 1, 1 },
                               f32 = { DT_PROFILE_FP32_RNE, -128, 127, 0, 0, 0, 0 },
                               f32_shifted = { DT_PROFILE_FP32_RNE, -128, 127, 0, 1, 0, 0 },
                               onnx = { DT_PROFILE_ONNX, -128, 127, 0, 0, 0, 0 };

static const op_case cases[] = {
    { OF, .why = "one number", .params = &litert, .in = { CODES(1, 1, 1, 1), CODES(1, 1, 1, 1), SCALES } },
    { OF, .why = "matrices", .params = &litert, .in = { CODES(3, 2, 5, 7), CODES(3, 2, 7, 4), SCALES } },
    { OF, .why = "a transposed", .params = &left, .in = { CODES(3, 2, 7, 5), CODES(3, 2, 7, 4), SCALES } },
    { OF, .why = "b transposed", .params = &right, .in = { CODES(3, 2, 5, 7), CODES(3, 2, 4, 7), SCALES } },
    { OF, .why = "both, one rounding", .params = &both, .in = { CODES(2, 3, 7, 5), CODES(2, 3, 4, 7), SCALES } },
    { OF, .why = "b of one image", .params = &litert, .in = { CODES(3, 2, 5, 33), CODES(1, 2, 33, 4), SCALES } },
    { OF, .why = "a of one image and one matrix", .params = &right,
      .in = { CODES(1, 1, 5, 7), CODES(3, 2, 4, 7), SCALES } },
    { OF, .why = "f32", .params = &f32, .in = { CODES(3, 1, 5, 33), CODES(3, 1, 33, 7), SCALES } },
    { OF, .why = "f32, b with a zero point", .params = &f32_shifted,
      .in = { CODES(3, 1, 5, 33), CODES(3, 1, 33, 7), SCALES } },
    { OF, .why = "real values", .params = &onnx, .in = { CODES(3, 1, 5, 33), CODES(3, 1, 33, 7), SCALES } },
};

Test(qmatmul, products_match_their_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

Test(qmatmul, misfits_are_refused)
{
    op_case c = cases[1];

    c.in[1].shape.dim[2] = 6;
    op_case_refused(&c, DT_ERR_SHAPE, "a is 3x2x5x7 and b 3x2x6x4; needed are N,B,R,T and N,B,T,C");
    c = cases[2];
    c.in[0].shape.dim[2] = 6;
    op_case_refused(&c, DT_ERR_SHAPE, "a is 3x2x6x5, transposed, and b 3x2x7x4;");
    c = cases[1];
    c.in[1].shape.dim[1] = 3;
    op_case_refused(&c, DT_ERR_SHAPE, "a is 3x2x5x7 and b 3x3x7x4;");
    c = cases[1];
    c.in[0].shape = (dt_shape){ 2, { 5, 7 } };
    op_case_refused(&c, DT_ERR_SHAPE, "a has 2 axes and b 4; needed are 4 each");
    c = cases[1];
    c.in[1].scale = 0.0f;
    op_case_refused(&c, DT_ERR_UNSUPPORTED, "a has 1 scales, b 0");
    c = cases[1];
    c.in[3].shape.dim[0] = 2;
    op_case_refused(&c, DT_ERR_SHAPE, "takes one scale for each of a and b");
    c = cases[1];
    c.in[0].shape.dim[3] = c.in[1].shape.dim[2] = 60000;
    op_case_refused(&c, DT_ERR_UNSUPPORTED, "sums of 60000 terms may be 2.4e+09, and engines have 32 bits");
}
