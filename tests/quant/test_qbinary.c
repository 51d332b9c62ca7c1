/*
 * test_qbinary.c - sums, differences and products of codes, against arithmetic with 128-bit integers.
 */
#include "../support/engine_oracle.h"
#include "../support/op_case.h"

#include <criterion/criterion.h>

static double added(const dt_qbinary_params *p, int64_t a, int64_t b, const double scale[3])
{
    const double larger = 2.0 * fmax(scale[0], scale[1]), sign = p->subtract ? -1.0 : 1.0;
    const double out = larger / (1048576.0 * scale[2]);
    const int64_t up = 1 << 20;

    if (p->profile == DT_PROFILE_LITERT_REF || p->profile == DT_PROFILE_REF_DOUBLE) {
        const int64_t first = oracle_twice(a * up, scale[0] / larger), second = oracle_twice(b * up, scale[1] / larger);
        return (double)oracle_twice(first + (int64_t)sign * second, out);
    }
    if (p->profile == DT_PROFILE_REF_SINGLE) {
        const int64_t first = oracle_once(a * up, scale[0] / larger), second = oracle_once(b * up, scale[1] / larger);
        return (double)oracle_once(first + (int64_t)sign * second, out);
    }
    if (p->profile == DT_PROFILE_ONNX || p->profile == DT_PROFILE_EXACT) {
        const float sum = (float)a * (float)scale[0] + (float)sign * ((float)b * (float)scale[1]);
        return oracle_even((double)(sum / (float)scale[2]));
    }
    const float ra = (float)scale[0] / (float)scale[2], rb = (float)scale[1] / (float)scale[2];
    const int shift = 20 - (int)floor(log2((double)fmaxf(ra, rb)));
    const wide one = 1, ka = (wide)oracle_even(ldexp((double)ra, shift)),
               kb = (wide)oracle_even(ldexp((double)rb, shift));
    return (double)oracle_divide_up(a * ka + (int64_t)sign * (b * kb), one << shift);
}

static double multiplied(const dt_qbinary_params *p, int64_t a, int64_t b, const double scale[3])
{
    const float f = (float)scale[0] * (float)scale[1] / (float)scale[2];

    switch (p->profile) {
    case DT_PROFILE_REF_SINGLE: return (double)oracle_once(a * b, (double)f);
    case DT_PROFILE_FP32_RNE: return oracle_even((double)((float)(a * b) * f));
    case DT_PROFILE_ONNX:
        return oracle_even((double)((float)((double)(a * b) * (scale[0] * scale[1])) / (float)scale[2]));
    case DT_PROFILE_EXACT: {
        const float real_a = (float)a * (float)scale[0], real_b = (float)b * (float)scale[1];
        return oracle_even((double)(real_a * real_b / (float)scale[2]));
    }
    default: return (double)oracle_twice(a * b, (double)f);
    }
}

static void oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_qbinary_params *p = c->params;
    const double scale[3] = { in[2][0], in[3][0], in[4][0] };

    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) {
        const int64_t a = (int64_t)in[0][i], b = (int64_t)in[1][i];
        const double code = c->op == DT_OP_QADD ? added(p, a, b, scale) : multiplied(p, a, b, scale);
        out[i] = oracle_limit(code, p->low, p->high) * scale[2];
    }
}

#define OF(kind) .op = (kind), .n_in = 5, .oracle = oracle, .agree = AGREE_INTEGERS
#define SCALE(of)                                        \
    {                                                    \
        OP_SHAPE(1), .fill = FILL_POSITIVE, .size = (of) \
    }
#define CODES(...)                                                                 \
    {                                                                              \
        OP_SHAPE(__VA_ARGS__), .fill = FILL_INTEGER, .size = 200.0f, .scale = 1.0f \
    }

static const dt_qbinary_params litert = { DT_PROFILE_LITERT_REF, -128, 127, 0, 0 },
                               minus = { DT_PROFILE_REF_DOUBLE, -50, 205, 1, 0 },
                               once = { DT_PROFILE_REF_SINGLE, 0, 255, 0, 0 },
                               once_minus = { DT_PROFILE_REF_SINGLE, -128, 127, 1, 0 },
                               f32 = { DT_PROFILE_FP32_RNE, -128, 127, 0, 0 },
                               f32_minus = { DT_PROFILE_FP32_RNE, -128, 127, 1, 0 },
                               onnx = { DT_PROFILE_ONNX, -128, 127, 0, 0 },
                               exact = { DT_PROFILE_EXACT, -100, 155, 0, 0 };

static const op_case cases[] = {
    { OF(DT_OP_QADD), .why = "qadd: one", .params = &litert,
      .in = { CODES(1, 1), CODES(1, 1), SCALE(0.1f), SCALE(0.2f), SCALE(0.2f) } },
    { OF(DT_OP_QADD), .why = "qadd: maps, b the coarser", .params = &litert,
      .in = { CODES(3, 5, 7, 3), CODES(3, 5, 7, 3), SCALE(0.03f), SCALE(0.07f), SCALE(0.09f) } },
    { OF(DT_OP_QADD), .why = "qadd: a difference", .params = &minus,
      .in = { CODES(7, 33), CODES(7, 33), SCALE(0.07f), SCALE(0.03f), SCALE(0.05f) } },
    { OF(DT_OP_QADD), .why = "qadd: one rounding", .params = &once,
      .in = { CODES(7, 33), CODES(7, 33), SCALE(0.07f), SCALE(0.03f), SCALE(0.05f) } },
    { OF(DT_OP_QADD), .why = "qadd: one rounding, a difference", .params = &once_minus,
      .in = { CODES(7, 33), CODES(7, 33), SCALE(0.07f), SCALE(0.03f), SCALE(0.05f) } },
    { OF(DT_OP_QADD), .why = "qadd: shared shift", .params = &f32,
      .in = { CODES(7, 33), CODES(7, 33), SCALE(0.07f), SCALE(0.03f), SCALE(0.05f) } },
    { OF(DT_OP_QADD), .why = "qadd: shared shift, a difference", .params = &f32_minus,
      .in = { CODES(7, 33), CODES(7, 33), SCALE(0.01f), SCALE(0.03f), SCALE(0.05f) } },
    { OF(DT_OP_QADD), .why = "qadd: real values", .params = &onnx,
      .in = { CODES(7, 33), CODES(7, 33), SCALE(0.07f), SCALE(0.03f), SCALE(0.05f) } },
    { OF(DT_OP_QADD), .why = "qadd: evaluation's", .params = &exact,
      .in = { CODES(7, 33), CODES(7, 33), SCALE(0.07f), SCALE(0.03f), SCALE(0.05f) } },
    { OF(DT_OP_QMUL), .why = "qmul: one", .params = &litert,
      .in = { CODES(1, 1), CODES(1, 1), SCALE(0.1f), SCALE(0.2f), SCALE(2.0f) } },
    { OF(DT_OP_QMUL), .why = "qmul: two roundings", .params = &litert,
      .in = { CODES(3, 5, 7, 3), CODES(3, 5, 7, 3), SCALE(0.03f), SCALE(0.07f), SCALE(0.9f) } },
    { OF(DT_OP_QMUL), .why = "qmul: one rounding", .params = &once,
      .in = { CODES(7, 33), CODES(7, 33), SCALE(0.07f), SCALE(0.03f), SCALE(0.5f) } },
    { OF(DT_OP_QMUL), .why = "qmul: f32", .params = &f32,
      .in = { CODES(7, 33), CODES(7, 33), SCALE(0.07f), SCALE(0.03f), SCALE(0.5f) } },
    { OF(DT_OP_QMUL), .why = "qmul: real values", .params = &onnx,
      .in = { CODES(7, 33), CODES(7, 33), SCALE(0.07f), SCALE(0.03f), SCALE(0.5f) } },
    { OF(DT_OP_QMUL), .why = "qmul: evaluation's", .params = &exact,
      .in = { CODES(7, 33), CODES(7, 33), SCALE(0.07f), SCALE(0.03f), SCALE(0.5f) } },
};

Test(qbinary, operators_match_their_oracles)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

Test(qbinary, misfits_are_refused)
{
    op_case c = cases[1];

    c.in[1].shape.dim[3] = 1;
    op_case_refused(&c, DT_ERR_SHAPE, "a is 3x5x7x3, b is 3x5x7x1");
    c = cases[1];
    c.in[1].scale = 0.0f;
    op_case_refused(&c, DT_ERR_UNSUPPORTED, "a has 1 scales, b 0");
    c = cases[1];
    c.in[3].shape.dim[0] = 2;
    op_case_refused(&c, DT_ERR_SHAPE, "takes one scale for each of a and b");
}
