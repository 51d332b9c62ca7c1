/*
 * test_requantize.c - codes of reals and of sums, under every profile, against arithmetic with 128-bit integers. What
 *                     engines themselves recorded is in test_engine_vectors.c.
 */
#include "../../core/arith/requantize.h"
#include "../support/engine_oracle.h"
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* A number of 64 bits for each i; not for anything but tests. */
static uint64_t scramble(uint64_t i)
{
    i = (i ^ (i >> 30)) * 0xbf58476d1ce4e5b9u;
    i = (i ^ (i >> 27)) * 0x94d049bb133111ebu;
    return i ^ (i >> 31);
}

Test(requantize, multipliers_have_31_bits)
{
    for (uint64_t i = 1; i < 20000; i++) {
        const double m = ldexp(1.0 + (double)(scramble(i) >> 12) * 0x1p-52, -(int)(i % 32));
        int32_t multiplier;
        int shift, bits;
        dt_multiplier_of(m, &multiplier, &shift);
        cr_assert_eq((int64_t)oracle_mantissa(m, &bits), multiplier, "M = %a", m);
        cr_assert_eq(31 - shift, bits, "M = %a", m);
    }
}

Test(requantize, multipliers_at_the_ends)
{
    int32_t multiplier;
    int shift;

    dt_multiplier_of(0.0, &multiplier, &shift);
    cr_assert(multiplier == 0 && shift == 0);
    dt_multiplier_of(0x1p-34, &multiplier, &shift);
    cr_assert(multiplier == 0 && shift == 0, "below the least shift");
    dt_multiplier_of(0x1p-32, &multiplier, &shift);
    cr_assert(multiplier == 1 << 30 && shift == -31, "the least shift: %d %d", multiplier, shift);
    dt_multiplier_of(1.0 - 0x1p-40, &multiplier, &shift);
    cr_assert(multiplier == 1 << 30 && shift == 1, "rounds up to 1: %d %d", multiplier, shift);
}

Test(requantize, products_are_rounded_twice_or_once)
{
    for (uint64_t i = 1; i < 40000; i++) {
        const double m = ldexp(1.0 + (double)(scramble(i) >> 12 >> (i % 53) << (i % 53)) * 0x1p-52, -(int)(i % 14));
        const int64_t x = (int64_t)(scramble(i + 77777) % 33554433u) - 16777216;
        int32_t multiplier;
        int shift;
        dt_multiplier_of(m, &multiplier, &shift);
        cr_assert_eq(dt_product_twice(x, multiplier, shift), oracle_twice(x, m), "%lld * %a twice", (long long)x, m);
        cr_assert_eq(dt_product_once(x, multiplier, shift), oracle_once(x, m), "%lld * %a once", (long long)x, m);
    }
}

/* Ties, by hand: 5 / 2 and -5 / 2, 1 / 4 + 1 / 4 as the two roundings make it. */
Test(requantize, ties_go_where_each_rounding_sends_them)
{
    cr_assert_eq(dt_product_twice(5, 1 << 30, 0), 3);
    cr_assert_eq(dt_product_twice(-5, 1 << 30, 0), -2, "the product, half up");
    cr_assert_eq(dt_product_twice(-5, 1 << 30, 1 - 2), -1);
    cr_assert_eq(dt_product_twice(-6, 1 << 30, 1 - 2), -2, "the shift of -3, half away");
    cr_assert_eq(dt_product_once(5, 1 << 30, 0), 3);
    cr_assert_eq(dt_product_once(-5, 1 << 30, 0), -2);
    cr_assert_eq(dt_product_twice(1, 1 << 30, -1), 1, "1/4 becomes 1/2, which becomes 1");
    cr_assert_eq(dt_product_once(1, 1 << 30, -1), 0);
}

Test(requantize, averages_round_away_from_the_stored_zero)
{
    cr_assert_eq(dt_averaged(1, 2, -128, DT_PROFILE_LITERT_REF), 0, "stored: -255 / 2 = -127.5, away: -128");
    cr_assert_eq(dt_averaged(1, 2, 3, DT_PROFILE_LITERT_REF), 1, "stored: 7 / 2 = 3.5, away: 4");
    cr_assert_eq(dt_averaged(1, 2, 3, DT_PROFILE_ONNX), 0, "0.5, to even");
    cr_assert_eq(dt_averaged(3, 2, 0, DT_PROFILE_ONNX), 2);
    cr_assert_eq(dt_averaged(-7, 3, 0, DT_PROFILE_FP32_RNE), -2);
}

/* ---- the operators ---- */

/* The cast of a host, with integers: of int8 or, `up` by 128, of uint8. */
static double truncated_code(float x, float scale, int zero, int up)
{
    const int64_t whole = (int64_t)(float)(x / scale + (float)(zero + up)); /* C cuts off toward 0 */
    const int64_t byte = ((whole + 128 - up) % 256 + 256) % 256;

    return (double)(byte - 128 + up - (zero + up));
}

static void quantize_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_quantize_params *p = c->params;
    const float scale = (float)in[1][0];

    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) {
        const float x = (float)in[0][i], quotient = x / scale, product = x * (1.0f / scale);
        const double away = quotient < 0.0f ? -floor(0.5 - (double)quotient) : floor(0.5 + (double)quotient);
        const double code = p->profile == DT_PROFILE_FP32_RNE ? oracle_even((double)product)
                            : p->profile == DT_PROFILE_ONNX   ? oracle_even((double)quotient)
                                                              : away;
        out[i] = oracle_limit(code, p->low, p->high) * in[1][0];
        if (p->cast == DT_CAST_ROUND) continue;
        out[i] = truncated_code(x, scale, p->zero, p->cast == DT_CAST_TRUNCATE_I8 ? 0 : 128) * in[1][0];
    }
}

/* The profile's product of a sum by M, which the case's kind of sum has in double or in f32. */
static double requantized(const dt_requantize_params *p, int64_t sum, double sx, double sw, double sy)
{
    const int is_linear = p->of == DT_REQUANT_LINEAR;
    const double m = sx * sw / sy;
    const float f = (float)sx * (float)sw / (float)sy;

    switch (p->profile) {
    case DT_PROFILE_LITERT_REF: return (double)(is_linear ? oracle_once(sum, m) : oracle_twice(sum, m));
    case DT_PROFILE_REF_DOUBLE: return (double)oracle_twice(sum, m);
    case DT_PROFILE_REF_SINGLE: return (double)oracle_once(sum, m);
    case DT_PROFILE_FP32_RNE: return oracle_even((double)((float)sum * f));
    default: return oracle_even((double)((float)((double)sum * (sx * sw)) / (float)sy));
    }
}

static void requantize_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_requantize_params *p = c->params;
    const int64_t channels = c->in[0].shape.dim[c->in[0].shape.ndim - 1];

    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) {
        const int64_t k = i % channels;
        const double sw = c->n_in < 4 ? 1.0 : in[3][dt_count(&c->in[3].shape) == 1 ? 0 : k];
        const int64_t sum = (int64_t)in[0][i] + (c->n_in < 5 ? 0 : (int64_t)in[4][k]);
        out[i] = oracle_limit(requantized(p, sum, in[1][0], sw, in[2][0]), p->low, p->high) * in[2][0];
    }
}

#define QUANTIZE   .op = DT_OP_QUANTIZE, .n_in = 2, .oracle = quantize_oracle, .agree = AGREE_INTEGERS
#define REQUANTIZE .op = DT_OP_REQUANTIZE, .oracle = requantize_oracle, .agree = AGREE_INTEGERS
#define SCALE(of)                                        \
    {                                                    \
        OP_SHAPE(1), .fill = FILL_POSITIVE, .size = (of) \
    }
#define SUMS(...)                                                                    \
    {                                                                                \
        OP_SHAPE(__VA_ARGS__), .fill = FILL_INTEGER, .size = 90000.0f, .scale = 1.0f \
    }

static const dt_quantize_params away = { DT_PROFILE_LITERT_REF, -100, 155, 0, DT_CAST_ROUND },
                                by_product = { DT_PROFILE_FP32_RNE, -128, 127, 0, DT_CAST_ROUND },
                                even = { DT_PROFILE_ONNX, 0, 255, 0, DT_CAST_ROUND },
                                cast_i8 = { DT_PROFILE_LITERT_REF, -131, 124, 3, DT_CAST_TRUNCATE_I8 },
                                cast_u8 = { DT_PROFILE_ONNX, -88, 167, -40, DT_CAST_TRUNCATE_U8 };
static const dt_requantize_params litert = { DT_PROFILE_LITERT_REF, DT_REQUANT_CONV, -120, 135, 1, 0 },
                                  litert_linear = { DT_PROFILE_LITERT_REF, DT_REQUANT_LINEAR, 0, 135, 1, 0 },
                                  twice = { DT_PROFILE_REF_DOUBLE, DT_REQUANT_LINEAR, -128, 127, 1, 0 },
                                  once = { DT_PROFILE_REF_SINGLE, DT_REQUANT_CONV, -1, 254, 1, 0 },
                                  f32 = { DT_PROFILE_FP32_RNE, DT_REQUANT_CONV, -255, 0, 1, 0 },
                                  reals = { DT_PROFILE_ONNX, DT_REQUANT_CONV, -32768, 32767, 1, 0 },
                                  codes = { DT_PROFILE_REF_DOUBLE, DT_REQUANT_CODES, -128, 127, 1, 0 };

static const op_case cases[] = {
    { QUANTIZE, .why = "quantize: one", .params = &away, .in = { { OP_SHAPE(1, 1) }, SCALE(0.01f) } },
    { QUANTIZE, .why = "quantize: half away, clamped", .params = &away,
      .in = { { OP_SHAPE(7, 33), .size = 2.0f }, SCALE(0.01f) } },
    { QUANTIZE, .why = "quantize: by 1/s", .params = &by_product, .in = { { OP_SHAPE(3, 5, 7, 3) }, SCALE(0.009f) } },
    { QUANTIZE, .why = "quantize: half to even, from 0", .params = &even,
      .in = { { OP_SHAPE(3, 5, 7, 3) }, SCALE(0.25f) } },
    { QUANTIZE, .why = "quantize: a cast to int8 that wraps", .params = &cast_i8,
      .in = { { OP_SHAPE(7, 33), .size = 20.0f }, SCALE(0.01f) } },
    { QUANTIZE, .why = "quantize: a cast to uint8 that wraps", .params = &cast_u8,
      .in = { { OP_SHAPE(3, 5, 7, 3), .size = 9.0f }, SCALE(0.01f) } },
    { REQUANTIZE, .why = "requantize: one", .params = &litert, .n_in = 4,
      .in = { SUMS(1, 1), SCALE(0.02f), SCALE(0.3f), SCALE(0.01f) } },
    { REQUANTIZE, .why = "requantize: a scale and a bias for each channel", .params = &litert, .n_in = 5,
      .in = { SUMS(3, 5, 2, 7),
              SCALE(0.02f),
              SCALE(0.3f),
              { OP_SHAPE(7), .fill = FILL_POSITIVE, .size = 0.01f },
              { OP_SHAPE(7), .type = DT_I32, .fill = FILL_INTEGER, .size = 30000.0f } } },
    { REQUANTIZE, .why = "requantize: a linear layer", .params = &litert_linear, .n_in = 5,
      .in = { SUMS(7, 33),
              SCALE(0.02f),
              SCALE(0.3f),
              SCALE(0.01f),
              { OP_SHAPE(33), .type = DT_I32, .fill = FILL_INTEGER, .size = 2e9f } } },
    { REQUANTIZE, .why = "requantize: two roundings", .params = &twice, .n_in = 4,
      .in = { SUMS(7, 33), SCALE(0.02f), SCALE(0.3f), SCALE(0.01f) } },
    { REQUANTIZE, .why = "requantize: one rounding", .params = &once, .n_in = 4,
      .in = { SUMS(7, 33), SCALE(0.02f), SCALE(0.3f), SCALE(0.01f) } },
    { REQUANTIZE, .why = "requantize: f32, only below 0", .params = &f32, .n_in = 4,
      .in = { SUMS(7, 33), SCALE(0.02f), SCALE(0.3f), SCALE(0.01f) } },
    { REQUANTIZE, .why = "requantize: real values, 16 bits", .params = &reals, .n_in = 4,
      .in = { SUMS(7, 33), SCALE(0.02f), SCALE(0.3f), SCALE(0.01f) } },
    { REQUANTIZE, .why = "requantize: codes of another scale", .params = &codes, .n_in = 3,
      .in = { { OP_SHAPE(9, 5), .fill = FILL_INTEGER, .size = 200.0f, .scale = 1.0f }, SCALE(0.02f), SCALE(0.03f) } },
};

Test(requantize, operators_match_their_oracles)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

/* 1/n goes into the multiplier, which loses bits by it: the recorded vectors have that. The others are exact. */
Test(requantize, means_are_divided)
{
    const dt_requant_case c = { DT_PROFILE_FP32_RNE, DT_REQUANT_MEAN, 49, 0.5f, 1.0f, 0.25f };
    const dt_requantizer r = dt_requantizer_of(&c);

    for (int64_t sum = -9000; sum <= 9000; sum++) {
        cr_assert_eq(dt_requantized(&r, sum), (int64_t)oracle_even((double)sum * 2.0 / 49.0), "%lld", (long long)sum);
    }
}

/* 2^24 and NaN have no codes. */
Test(requantize, sums_beyond_f32_are_refused)
{
    op_case c = cases[6];
    op_rig *rig = malloc(sizeof *rig);
    const float large = 16777216.0f, good = 16777215.0f;

    cr_assert(op_rig_open(rig, "cpu", 1, &c));
    op_rig_write(rig, rig->in[0].data, &good, sizeof good);
    cr_assert_eq(rig->kernel->forward(&rig->node, &rig->ex), DT_OK);
    op_rig_write(rig, rig->in[0].data, &large, sizeof large);
    cr_assert_eq(rig->kernel->forward(&rig->node, &rig->ex), DT_ERR_NUMERIC);
    float *code = op_rig_read(rig, rig->out.data, 1);
    cr_assert(isnan(code[0]));
    free(code);
    op_rig_close(rig);
    free(rig);
}

/* By hand: 0.5 and -0.5 go to 0, which is why a cast is not a rounding; 128 of int8 is -128, 256 of uint8 is 0. */
Test(requantize, casts_cut_off_and_wrap)
{
    static const struct {
        float x;
        int zero;
        dt_image_cast cast;
        float code;
    } rows[] = {
        { 0.99f, 0, DT_CAST_TRUNCATE_I8, 0.0f },      { -0.99f, 0, DT_CAST_TRUNCATE_I8, 0.0f },
        { -1.0f, 0, DT_CAST_TRUNCATE_I8, -1.0f },     { 127.9f, 0, DT_CAST_TRUNCATE_I8, 127.0f },
        { 128.0f, 0, DT_CAST_TRUNCATE_I8, -128.0f },  { -129.0f, 0, DT_CAST_TRUNCATE_I8, 127.0f },
        { 1000.0f, 5, DT_CAST_TRUNCATE_I8, -24.0f },  { 4294967296.0f, 0, DT_CAST_TRUNCATE_I8, 0.0f },
        { 127.9f, 0, DT_CAST_TRUNCATE_U8, 127.0f },   { -0.5f, 0, DT_CAST_TRUNCATE_U8, -1.0f },
        { -128.5f, 0, DT_CAST_TRUNCATE_U8, -128.0f }, { -129.0f, 0, DT_CAST_TRUNCATE_U8, 127.0f },
        { 128.0f, 0, DT_CAST_TRUNCATE_U8, -128.0f },  { 0.5f, -128, DT_CAST_TRUNCATE_U8, 0.0f },
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const float code = dt_cast_code(rows[i].x, 1.0f, rows[i].zero, rows[i].cast);
        cr_assert(code == rows[i].code, "%g by %s: %g, expected %g", (double)rows[i].x,
                  dt_image_cast_names[rows[i].cast], (double)code, (double)rows[i].code);
    }
    cr_assert(isnan(dt_cast_code(NAN, 1.0f, 0, DT_CAST_TRUNCATE_I8)));
}

Test(requantize, misfits_are_refused)
{
    const dt_quantize_params above = { DT_PROFILE_ONNX, 1, 9, 0, DT_CAST_ROUND };
    const dt_quantize_params narrow = { DT_PROFILE_ONNX, -8, 7, 0, DT_CAST_TRUNCATE_I8 };
    const dt_requantize_params counted = { DT_PROFILE_ONNX, DT_REQUANT_CONV, -9, 9, 4, 0 };
    op_case c = cases[0];

    c.in[0].scale = 0.5f;
    op_case_refused(&c, DT_ERR_UNSUPPORTED, "x has codes already");
    c = cases[0];
    c.params = &above;
    op_case_refused(&c, DT_ERR_ARGUMENT, "the range of the codes is 1..9, which must hold 0");
    c.params = &narrow;
    op_case_refused(&c, DT_ERR_ARGUMENT, "the cast truncate-i8 makes -128..127");
    c = cases[7];
    c.in[0].scale = 0.0f;
    op_case_refused(&c, DT_ERR_UNSUPPORTED, "takes integers, and x is real");
    c = cases[7];
    c.params = &counted;
    op_case_refused(&c, DT_ERR_ARGUMENT, "count is 4");
    c = cases[7];
    c.in[3].shape.dim[0] = 6;
    op_case_refused(&c, DT_ERR_SHAPE, "input 3 has 6 scales, expected 1 or one for each channel");
    c = cases[7];
    c.in[4].type = DT_F32;
    op_case_refused(&c, DT_ERR_SHAPE, "the bias must be 7 integers of 32 bits");
}
