/*
 * test_fixed_point.c - fixed-point rounding: by hand, against double, its statistics; CPU and CUDA bit for bit.
 */
#include "../support/op_case.h"

#include "../../core/arith/fixed_point.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char *const backends[] = { "cpu", "cuda" };

#define FORMAT(rule, n, s)                                    \
    {                                                         \
        .bits = n, .rounding = DT_ROUND_##rule, .scale = s##f \
    }
#define PUBLISHED(rule, n)                                     \
    {                                                          \
        .bits = n, .rounding = DT_ROUND_##rule, .published = 1 \
    }
#define PUBLISHED_WEIGHT(rule, n)                                              \
    {                                                                          \
        .bits = n, .rounding = DT_ROUND_##rule, .published = 1, .is_weight = 1 \
    }

/* ---- by hand ---- */

enum { VALUES = 8 };

#define END    \
    {          \
        NAN, 0 \
    }

/* x to value; u is the draw of all of them. */
static const struct {
    const char *why;
    dt_fixed_format format;
    float u;
    struct {
        float x, value;
    } at[VALUES + 1];
} rows[] = {
    { "nearest: ties to even",
      FORMAT(NEAREST, 3, 4.0),
      0,
      { { -2.5f, -2 }, { -1.5f, -2 }, { -0.5f, 0 }, { -0.0f, 0 }, { 0.5f, 0 }, { 1.5f, 2 }, { 2.5f, 2 }, END } },
    { "nearest: both ends",
      FORMAT(NEAREST, 3, 4.0),
      0,
      { { -INFINITY, -4 }, { -9, -4 }, { -4, -4 }, { 3.4f, 3 }, { 3.5f, 3 }, { 4, 3 }, { INFINITY, 3 }, END } },
    { "nearest: step 1/4",
      FORMAT(NEAREST, 3, 1.0),
      0,
      { { -1, -1 }, { -0.9f, -1 }, { 0.3f, 0.25f }, { 0.4f, 0.5f }, { 0.74f, 0.75f }, { 1, 0.75f }, END } },
    { "nearest: 1 bit has -scale and 0",
      FORMAT(NEAREST, 1, 2.0),
      0,
      { { -7, -2 }, { -1.1f, -2 }, { -1, 0 }, { -0.9f, 0 }, { 0.9f, 0 }, { 1.9f, 0 }, { 7, 0 }, END } },
    { "nearest: 32 bits hold any float of their range",
      FORMAT(NEAREST, 32, 1.0),
      0,
      { { -1, -1 },
        { -0.3f, -0.3f },
        { 0.9999999f, 0.9999999f },
        { 0x1p-31f, 0x1p-31f },
        { 0x1p-32f, 0 },
        { 0x3p-32f, 0x2p-31f },
        { -1.5f, -1 },
        END } },
    { "truncation",
      FORMAT(TRUNCATION, 3, 4.0),
      0,
      { { -9, -4 }, { -3.5f, -4 }, { -0.01f, -1 }, { -0.0f, 0 }, { 0.99f, 0 }, { 1, 1 }, { 3.99f, 3 }, { 9, 3 } } },
    { "truncation: 1 bit", FORMAT(TRUNCATION, 1, 2.0), 0, { { -9, -2 }, { -0.01f, -2 }, { 0, 0 }, { 1.9f, 0 }, END } },
    { "truncation: 32 bits",
      FORMAT(TRUNCATION, 32, 2.0),
      0,
      { { -2, -2 }, { 1.7f, 1.7f }, { -0x1p-31f, -0x1p-30f }, { 0x1p-31f, 0 }, END } },
    { "stochastic: a low draw goes up, but for integers",
      FORMAT(STOCHASTIC, 3, 4.0),
      0.24f,
      { { -9, -4 }, { -0.75f, 0 }, { -0.5f, 0 }, { 0, 0 }, { 0.25f, 1 }, { 2, 2 }, { 3.5f, 3 }, { 9, 3 } } },
    { "stochastic: the draw is compared with the fraction",
      FORMAT(STOCHASTIC, 3, 4.0),
      0.25f,
      { { -1.75f, -2 }, { -1.5f, -1 }, { 0.25f, 0 }, { 0.5f, 1 }, { 2.75f, 3 }, END } },
    { "logarithmic: 3 magnitudes, scale's the largest",
      FORMAT(LOGARITHMIC, 3, 1.0),
      0,
      { { -3, -1 },
        { 0.71f, 1 },
        { 0.7f, 0.5f },
        { -0.3f, -0.25f },
        { 0.18f, 0.25f },
        { 0.17f, 0 },
        { -0.0f, 0 },
        END } },
    { "logarithmic: about the roots of 2",
      FORMAT(LOGARITHMIC, 4, 2.0),
      0,
      { { 0x1.6a09e6p0f, 1 }, { 0x1.6a09e8p0f, 2 }, { 0x1.6a09e6p-1f, 0.5f }, { 0x1.6a09e8p-1f, 1 }, END } },
    { "logarithmic: a scale between powers",
      FORMAT(LOGARITHMIC, 2, 3.0),
      0,
      { { 3, 4 }, { 100, 4 }, { -2.9f, -4 }, { 2.8f, 0 }, { INFINITY, 4 }, END } },
    { "logarithmic: 1 bit has 0 alone", FORMAT(LOGARITHMIC, 1, 1.0), 0, { { 1, 0 }, { -9, 0 }, END } },
    { "published nearest adds step/2 steps, not 1/2",
      PUBLISHED(NEAREST, 2),
      0,
      { { 0.2f, 0 }, { 0.22f, 0.25f }, { -0.1f, -0.25f }, { -0.01f, 0 }, { 7.9f, 7.75f }, { -9, -9 }, END } },
    { "published nearest of 0 bits is right",
      PUBLISHED(NEAREST, 0),
      0,
      { { -0.6f, -1 }, { -0.5f, 0 }, { 0.4f, 0 }, { 0.5f, 1 }, { 700.7f, 701 }, END } },
    { "published nearest cuts weights",
      PUBLISHED_WEIGHT(NEAREST, 2),
      0,
      { { 0.2f, 0 }, { 0.249f, 0 }, { 0.25f, 0.25f }, { -0.01f, -0.25f }, { 7.9f, 7.75f }, END } },
    { "published truncation clamps nothing",
      PUBLISHED(TRUNCATION, 2),
      0,
      { { 0.24f, 0 }, { -0.01f, -0.25f }, { 5.3f, 5.25f }, { -1000.1f, -1000.25f }, END } },
    { "published truncation of 32 bits",
      PUBLISHED_WEIGHT(TRUNCATION, 32),
      0,
      { { 0.3f, 0.3f }, { -5.5f, -5.5f }, { 0x1p-33f, 0 }, { -0x1p-33f, -0x1p-32f }, END } },
    { "published stochastic, low draw",
      PUBLISHED(STOCHASTIC, 2),
      0.79f,
      { { 0.2f, 0.25f }, { 0.19f, 0 }, { 0.22f, 0.25f }, { -0.05f, 0 }, { -0.06f, -0.25f }, { 9, 9 }, END } },
    { "published stochastic: what was moved up stays",
      PUBLISHED_WEIGHT(STOCHASTIC, 2),
      0,
      { { 0.22f, 0.25f }, { 0.2f, 0.25f }, { 0.25f, 0.25f }, END } },
    { "published logarithmic: at most 2^10",
      PUBLISHED(LOGARITHMIC, 3),
      0,
      { { 1000, 1024 }, { -1449, -1024 }, { 1e30f, 1024 }, { INFINITY, 1024 }, { 3, 4 }, { -2.8f, -2 }, END } },
    { "published logarithmic: 0 below step",
      PUBLISHED_WEIGHT(LOGARITHMIC, 3),
      0,
      { { 0.0884f, 0.125f }, { 0.0883f, 0 }, { -0.0884f, -0.125f }, { 0, 0 }, { -1e-20f, 0 }, END } },
    { "published logarithmic: 1e-8 is added",
      PUBLISHED(LOGARITHMIC, 32),
      0,
      { { 0, 0 }, { 1e-20f, 0x1p-27f }, { -1e-8f, -0x1p-26f }, { 1e-7f, 0x1p-23f }, END } },
    { "no format", FORMAT(NEAREST, -1, 1.0), 0, { { 0.3f, 0.3f }, { -7.7f, -7.7f }, { INFINITY, INFINITY }, END } },
};

Test(fixed_point, by_hand)
{
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        for (int i = 0; i < VALUES && !isnan(rows[r].at[i].x); i++) {
            const float got = dt_fixed_value(&rows[r].format, rows[r].at[i].x, rows[r].u);
            cr_assert(got == rows[r].at[i].value, "%s: %.9g becomes %.9g, expected %.9g", rows[r].why,
                      (double)rows[r].at[i].x, (double)got, (double)rows[r].at[i].value);
        }
        const float nan = dt_fixed_value(&rows[r].format, NAN, rows[r].u);
        cr_assert(isnan(nan), "%s: NaN becomes %g", rows[r].why, (double)nan);
    }
}

Test(fixed_point, step_is_scale_over_half_the_codes)
{
    const dt_fixed_format four = FORMAT(NEAREST, 4, 0.7), one = FORMAT(NEAREST, 1, 0.7),
                          fraction = PUBLISHED(NEAREST, 4);
    cr_assert(dt_fixed_step(&four) == 0.7f / 8.0f && dt_fixed_step(&one) == 0.7f);
    cr_assert(dt_fixed_step(&fraction) == 1.0f / 16.0f);
    cr_assert(dt_fixed_code(&four, 0.35f, 0.0f) == 4.0f && dt_fixed_code(&four, -9.0f, 0.0f) == -8.0f);
}

/* Powers of sqrt(2)/8 from far below to far above: each magnitude is met. */
Test(fixed_point, logarithmic_bits_count_magnitudes)
{
    for (int bits = 1; bits <= 6; bits++) {
        const dt_fixed_format f = { .bits = bits, .rounding = DT_ROUND_LOGARITHMIC, .scale = 0.3f };
        float last = 0.0f;
        int n = 0;
        for (int i = -400; i <= 40; i++) {
            const float value = dt_fixed_value(&f, 0.3f * exp2f((float)i / 8.0f), 0.0f);
            if (value == last) continue;
            cr_assert(last == 0.0f || value == 2.0f * last, "%d bits: %g follows %g", bits, (double)value,
                      (double)last);
            last = value;
            n++;
        }
        cr_assert(n == (1 << (bits - 1)) - 1, "%d bits have %d magnitudes", bits, n);
        cr_assert(bits == 1 || last == 0.25f, "%d bits: the largest is %g, scale is 0.3", bits, (double)last);
    }
}

/* ---- statistics of stochastic rounding ---- */

enum { DRAWS = 1 << 20 };

/* Mean of (value - x) in steps, over x spread evenly between two codes. The variance of one rounding is at most
 * frac (1 - frac), 1/6 on the mean: 5 standard deviations of the mean of DRAWS are 0.0020. */
static double mean_error(dt_fixed_format f)
{
    const double step = (double)dt_fixed_step(&f);
    double sum = 0.0;
    for (int64_t i = 0; i < DRAWS; i++) {
        const float x = (float)(((double)i + 0.5) / DRAWS * step);
        sum += ((double)dt_fixed_value(&f, x, dt_fixed_draw(&f, 42, (uint64_t)i)) - (double)x) / step;
    }
    return sum / DRAWS;
}

Test(fixed_point, stochastic_rounding_is_unbiased)
{
    const dt_fixed_format f = FORMAT(STOCHASTIC, 5, 0.7);
    const double error = mean_error(f);
    cr_assert(fabs(error) < 0.0020, "off by %g steps on the mean", error);
}

/* Fractions from 1 - h on always go up, h = 2^-(bits + 1): h^2 / 2 on the mean. */
Test(fixed_point, published_stochastic_rounding_is_biased_where_it_was)
{
    for (int bits = 0; bits <= 4; bits++) {
        const dt_fixed_format f = { .bits = bits, .rounding = DT_ROUND_STOCHASTIC, .published = 1 };
        const double h = ldexp(1.0, -bits - 1), error = mean_error(f);
        cr_assert(fabs(error - h * h / 2.0) < 0.0020, "%d bits: off by %g steps on the mean, expected %g", bits, error,
                  h * h / 2.0);
    }
}

/* ---- the operator ---- */

/* In double; the draws of parameters, whose seed the case leaves 0. */
static double published_value(const dt_fixed_format *f, double x, double u)
{
    const double per_one = pow(2.0, f->bits), offset = pow(2.0, -f->bits - 1);
    double q;

    switch (f->rounding) {
    case DT_ROUND_TRUNCATION: return floor(x * per_one) / per_one;
    case DT_ROUND_NEAREST: return floor(x * per_one + (f->is_weight ? 0.0 : offset)) / per_one;
    case DT_ROUND_STOCHASTIC:
        q = floor(x * per_one + offset) / per_one;
        return u < (x - q) * per_one ? q + 1.0 / per_one : q;
    case DT_ROUND_LOGARITHMIC: break;
    }
    q = fmin(pow(2.0, nearbyint(log2(fabs(x) + 1e-8))), 1024.0);
    return q < 1.0 / per_one || x == 0.0 ? 0.0 : copysign(q, x);
}

static double corrected_value(const dt_fixed_format *f, double x, double u)
{
    const double half = pow(2.0, f->bits - 1), step = (double)f->scale / half, at = x / step;
    double code = 0.0;

    switch (f->rounding) {
    case DT_ROUND_TRUNCATION: code = floor(at); break;
    case DT_ROUND_NEAREST: code = nearbyint(at); break;
    case DT_ROUND_STOCHASTIC: code = floor(at + 1.0 - u - 1e-12); break;
    case DT_ROUND_LOGARITHMIC: {
        const double top = nearbyint(log2((double)f->scale)), e = fmin(nearbyint(log2(fabs(x) + 1e-300)), top);
        return e < top - (half - 2.0) ? 0.0 : copysign(pow(2.0, e), x);
    }
    }
    return step * fmin(fmax(code, -half), half - 1.0);
}

static void fixed_point_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_fixed_point_params *p = c->params;
    const dt_fixed_format *f = &p->format;

    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) {
        const double u = (dt_random(0, DT_STREAM_ROUND, f->tensor, (uint64_t)i).v[0] >> 8) / 16777216.0, x = in[0][i];
        if (p->observe || f->bits < 0)
            out[i] = x;
        else
            out[i] = f->published ? published_value(f, x, u) : corrected_value(f, x, u);
    }
}

#define FIXED_POINT .op = DT_OP_FIXED_POINT, .n_in = 1, .oracle = fixed_point_oracle, .agree = AGREE_BITS
#define PARAMS(...)                          \
    .params = &(const dt_fixed_point_params) \
    {                                        \
        __VA_ARGS__                          \
    }
/* 9,933 values, more than two pieces of the CPU's, up to 1.5 of the scale */
#define MANY .in = { { OP_SHAPE(7, 33, 43), .size = 1.05f } }
#define GRID .in = { { OP_SHAPE(7, 33), .fill = FILL_INTEGER, .size = 127.0f, .scale = 0.0078125f } }

static const op_case cases[] = {
    { FIXED_POINT, .why = "nearest", PARAMS(.format = FORMAT(NEAREST, 5, 0.7)), MANY },
    { FIXED_POINT, .why = "truncation", PARAMS(.format = FORMAT(TRUNCATION, 5, 0.7)), MANY },
    { FIXED_POINT, .why = "stochastic", PARAMS(.format = FORMAT(STOCHASTIC, 5, 0.7)), MANY },
    { FIXED_POINT, .why = "logarithmic", PARAMS(.format = FORMAT(LOGARITHMIC, 5, 0.7)), MANY },
    { FIXED_POINT, .why = "nearest, 32 bits", PARAMS(.format = FORMAT(NEAREST, 32, 0.7)), MANY },
    { FIXED_POINT, .why = "stochastic, another tensor", PARAMS(.format = { 4, DT_ROUND_STOCHASTIC, 1.0f, .tensor = 9 }),
      MANY },
    { FIXED_POINT, .why = "published nearest", PARAMS(.format = PUBLISHED(NEAREST, 3)), MANY },
    { FIXED_POINT, .why = "published nearest of weights", PARAMS(.format = PUBLISHED_WEIGHT(NEAREST, 3)), MANY },
    { FIXED_POINT, .why = "published truncation", PARAMS(.format = PUBLISHED(TRUNCATION, 3)), MANY },
    { FIXED_POINT, .why = "published stochastic", PARAMS(.format = PUBLISHED(STOCHASTIC, 3)), MANY },
    { FIXED_POINT, .why = "published logarithmic", PARAMS(.format = PUBLISHED(LOGARITHMIC, 6)), MANY },
    { FIXED_POINT, .why = "observed", PARAMS(.format = FORMAT(NEAREST, 5, 0.7), .observe = 1), MANY },
    { FIXED_POINT, .why = "no format", PARAMS(.format = FORMAT(NEAREST, -1, 0.7)), MANY },
    { FIXED_POINT, .why = "codes", PARAMS(.format = FORMAT(NEAREST, 5, 0.7), .codes = 1), MANY },
    { FIXED_POINT, .why = "codes cut", PARAMS(.format = FORMAT(TRUNCATION, 8, 0.7), .codes = 1), MANY },
    { FIXED_POINT, .why = "codes drawn", PARAMS(.format = FORMAT(STOCHASTIC, 2, 0.7), .codes = 1), MANY },
    { FIXED_POINT, .why = "codes of 1 bit", PARAMS(.format = FORMAT(NEAREST, 1, 0.7), .codes = 1), MANY },
    { FIXED_POINT, .why = "codes of 24 bits", PARAMS(.format = FORMAT(NEAREST, 24, 0.5), .codes = 1), MANY },
    { FIXED_POINT, .why = "one value", PARAMS(.format = FORMAT(NEAREST, 5, 0.7)), .in = { { OP_SHAPE(1) } } },
    { FIXED_POINT, .why = "zeros", PARAMS(.format = FORMAT(TRUNCATION, 5, 0.7)),
      .in = { { OP_SHAPE(33), FILL_ZERO } } },
    { FIXED_POINT, .why = "codes in, real values out", PARAMS(.format = FORMAT(NEAREST, 5, 0.5)), GRID },
    { FIXED_POINT, .why = "codes in, codes out, ties", PARAMS(.format = FORMAT(NEAREST, 5, 0.5), .codes = 1), GRID },
    { FIXED_POINT, .why = "codes in, powers out", PARAMS(.format = FORMAT(LOGARITHMIC, 3, 0.5)), GRID },
    { FIXED_POINT, .why = "codes in, observed", PARAMS(.format = FORMAT(NEAREST, 5, 0.5), .observe = 1), GRID },
};

Test(fixed_point, matches_its_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

Test(fixed_point, codes_fill_their_range)
{
    const op_case c = { FIXED_POINT, .why = "codes", PARAMS(.format = FORMAT(NEAREST, 5, 0.7), .codes = 1), MANY };
    op_rig rig;
    cr_assert(op_rig_open(&rig, "cpu", 1, &c));
    op_rig_forward(&rig);
    const int64_t n = dt_count(&rig.out.shape);
    float *code = op_rig_read(&rig, rig.out.data, n), low = 0.0f, high = 0.0f;
    for (int64_t i = 0; i < n; i++) {
        low = fminf(low, code[i]);
        high = fmaxf(high, code[i]);
    }
    cr_assert(rig.out.qmin == -16 && rig.out.qmax == 15 && low == -16.0f && high == 15.0f);
    cr_assert(rig.out.n_scale == 1 && *rig.out.scale == 0.7f / 16.0f);
    free(code);
    op_rig_close(&rig);
}

/* The output on one backend, which the caller frees; NULL if it is not here. */
static float *run_at(const char *backend, int threads, const op_case *c, const float *x, const dt_step_in *in)
{
    const dt_step step = { .in = *in };
    const int64_t n = dt_count(&c->in[0].shape);
    op_rig rig;
    if (!op_rig_open(&rig, backend, threads, c)) return NULL;
    op_rig_write(&rig, rig.in[0].data, x, (size_t)n * sizeof *x);
    op_rig_write(&rig, rig.ex.step, &step, sizeof step);
    op_rig_forward(&rig);
    float *out = op_rig_read(&rig, rig.out.data, n);
    op_rig_close(&rig);
    return out;
}

/* Every exponent, both signs; no NaN. */
static float any_float(uint64_t i)
{
    uint32_t bits = dt_random(3, DT_STREAM_SYNTHETIC, 0, i).v[0];
    float x;
    if ((bits >> 23 & 0xff) == 0xff) bits &= 0xff800000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

Test(fixed_point, cuda_has_the_bits_of_the_cpu_whatever_the_float)
{
    static const dt_fixed_format formats[] = {
        FORMAT(NEAREST, 6, 0.7),    FORMAT(NEAREST, 32, 1e-30),  FORMAT(STOCHASTIC, 6, 1e30),
        FORMAT(TRUNCATION, 1, 3.0), FORMAT(LOGARITHMIC, 8, 1e9), FORMAT(LOGARITHMIC, 32, 1.0),
        PUBLISHED(NEAREST, 0),      PUBLISHED(NEAREST, 62),      PUBLISHED(STOCHASTIC, 30),
        PUBLISHED(TRUNCATION, 4),   PUBLISHED(LOGARITHMIC, 40),
    };
    enum { N = 10007 };
    const dt_step_in in = { .seed = 0x123456789abcULL, .first = 1LL << 33 };
    static float x[N];
    for (int i = 0; i < N; i++) x[i] = any_float((uint64_t)i);
    for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
        const dt_fixed_point_params p = { .format = formats[f] };
        const op_case c = { FIXED_POINT, .why = "any float", .params = &p, .purpose = { .images = 1 },
                            .in = { { OP_SHAPE(N) } } };
        float *cpu = run_at("cpu", 1, &c, x, &in), *cuda = run_at("cuda", 1, &c, x, &in);
        for (int i = 0; cuda && i < N; i++) {
            cr_assert(memcmp(&cpu[i], &cuda[i], sizeof *cpu) == 0, "format %zu: %a becomes %a on the cpu, %a on cuda",
                      f, (double)x[i], (double)cpu[i], (double)cuda[i]);
        }
        free(cpu);
        free(cuda);
    }
}

/* Images 2..5 alone are rounded as they are among 0..7; a parameter does not ask where the batch is. */
Test(fixed_point, draws_belong_to_the_image)
{
    enum { IMAGE = 21, WHOLE = 8, PART = 4, FIRST = 2 };
    dt_fixed_point_params p = { .format = FORMAT(STOCHASTIC, 4, 1.0) };
    op_case c = { FIXED_POINT, .why = "draws", .params = &p, .in = { { OP_SHAPE(WHOLE, 7, 3) } } };
    const dt_step_in start = { .seed = 5 }, later = { .seed = 5, .first = FIRST }, other = { .seed = 6 };
    float x[WHOLE * IMAGE];
    for (int i = 0; i < WHOLE * IMAGE; i++) x[i] = 0.3f;

    for (int b = 0; b < 2; b++) {
        c.purpose.images = WHOLE;
        c.in[0].shape.dim[0] = WHOLE;
        float *whole = run_at(backends[b], 2, &c, x, &start);
        if (!whole) continue;
        float *reseeded = run_at(backends[b], 2, &c, x, &other);
        p.format.tensor = 1;
        float *neighbour = run_at(backends[b], 2, &c, x, &start);
        p.format.tensor = 0;
        c.purpose.images = 0;
        float *parameter = run_at(backends[b], 2, &c, x, &later);
        c.purpose.images = PART;
        c.in[0].shape.dim[0] = PART;
        float *part = run_at(backends[b], 2, &c, x, &later);
        cr_assert(memcmp(part, whole + FIRST * IMAGE, PART * IMAGE * sizeof *x) == 0, "%s", backends[b]);
        cr_assert(memcmp(part, whole, PART * IMAGE * sizeof *x) != 0, "%s", backends[b]);
        cr_assert(memcmp(parameter, whole, sizeof x) == 0, "%s", backends[b]);
        cr_assert(memcmp(reseeded, whole, sizeof x) != 0 && memcmp(neighbour, whole, sizeof x) != 0);
        free(whole);
        free(reseeded);
        free(neighbour);
        free(parameter);
        free(part);
    }
}

Test(fixed_point, misfits_are_refused)
{
    dt_fixed_point_params p = { .format = FORMAT(NEAREST, 8, 1.0) };
    op_case c = { FIXED_POINT, .why = "misfit", .params = &p, MANY };

    p.format.bits = 33;
    op_case_refused(&c, DT_ERR_ARGUMENT, "33 bits, allowed are 1..32");
    p.format.bits = 0;
    op_case_refused(&c, DT_ERR_ARGUMENT, "0 bits, allowed are 1..32");
    p.format = (dt_fixed_format)PUBLISHED(NEAREST, 63);
    op_case_refused(&c, DT_ERR_ARGUMENT, "63 fractional bits, allowed are 0..62");
    p = (dt_fixed_point_params){ .format = PUBLISHED(NEAREST, 4), .codes = 1 };
    op_case_refused(&c, DT_ERR_UNSUPPORTED, "have no codes");
    p.format = (dt_fixed_format)FORMAT(LOGARITHMIC, 4, 1.0);
    op_case_refused(&c, DT_ERR_UNSUPPORTED, "have no codes");
    p.format = (dt_fixed_format)FORMAT(NEAREST, 25, 1.0);
    op_case_refused(&c, DT_ERR_ARGUMENT, "codes of 25 bits, allowed are 1..24");
    p = (dt_fixed_point_params){ .format = FORMAT(NEAREST, 8, 0.0) };
    op_case_refused(&c, DT_ERR_ARGUMENT, "scale is 0");
    p = (dt_fixed_point_params){ .format = FORMAT(NEAREST, 8, 1.0) };
    c.purpose.images = 2;
    op_case_refused(&c, DT_ERR_SHAPE, "9933 values are not those of 2 images");
    c.purpose.images = 0;
    c.in[0] = (op_input){ OP_SHAPE(7, 33), .fill = FILL_INTEGER, .scale = 0.1f, .n_scale = 33 };
    op_case_refused(&c, DT_ERR_UNSUPPORTED, "codes of one scale, got 33 scales");
}

/* Parameters are trained elsewhere, so their gradient alone is no reason to refuse. */
Test(fixed_point, training_through_it_is_refused)
{
    const op_case c = { FIXED_POINT, .why = "training", PARAMS(.format = FORMAT(NEAREST, 8, 1.0)), MANY };
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        size_t scratch_bytes = 0;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        rig.in[0].wants_grad = 1;
        cr_assert(rig.kernel->prepare(&rig.node, &rig.ex, &scratch_bytes) == DT_OK);
        rig.ex.training = 1;
        cr_assert(rig.kernel->prepare(&rig.node, &rig.ex, &scratch_bytes) == DT_ERR_UNSUPPORTED);
        cr_assert(strstr(dt_last_error(), "evaluated, not trained"), "%s", dt_last_error());
        op_rig_close(&rig);
    }
}
