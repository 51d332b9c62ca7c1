/*
 * test_requantize_lines.c - the vectors of REQUANTIZE and QADD against the definition, code by code and by ==, at every
 *                           level that this CPU has. The definition itself is tested in test_requantize.c.
 */
#include "../../core/arith/requantize_lanes.h"
#include "../../quant/requantize_lines.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CHANNELS = 70, MOST_CODES = 67 * 70 };

/* A number of 64 bits for each i; not for anything but tests. */
static uint64_t scramble(uint64_t i)
{
    i = (i ^ (i >> 30)) * 0xbf58476d1ce4e5b9u;
    i = (i ^ (i >> 27)) * 0x94d049bb133111ebu;
    return i ^ (i >> 31);
}

/* ---- single products ---- */

static int32_t extreme(uint64_t i)
{
    static const int32_t ends[] = { INT32_MIN, INT32_MIN + 1, INT32_MAX, INT32_MAX - 1, 0, 1, -1, 1 << 30, -(1 << 30) };

    return i % 3 ? (int32_t)(uint32_t)scramble(i) : ends[i / 3 % DT_LENGTH(ends)];
}

/* x within +-(2^30 - 1) */
static int32_t held(int32_t x)
{
    const int32_t most = (1 << 30) - 1;

    return x > most ? most : x < -most ? -most : x;
}

Test(requantize_lines, products_of_lanes)
{
    for (uint64_t i = 0; i < 400000; i++) {
        const int32_t multiplier = (int32_t)(scramble(i + 9) >> 34) | 1 << 30;
        const int32_t m = i % 17 ? multiplier : i % 2 ? INT32_MAX : 1 << 30, x = held(extreme(i));
        const int shift = (int)(scramble(i + 99) % 43) - 31, left = shift > 0 ? shift : 0,
                  right = shift > 0 ? 0 : -shift;
        const int32_t part = x / (1 << left);
        cr_assert_eq(dt_lane_twice(part, m, left, dt_lane_shift_of(right)), dt_product_twice(part, m, shift),
                     "%d * %d 2^%d, twice", part, m, shift);
        cr_assert_eq(dt_lane_once(x, m, right), dt_product_once(x, m, -right), "%d * %d 2^%d, once", x, m, -right);
    }
}

/* x = k * 2^n with M = 2^-(n + 1): each product is a tie, above 0 and below. */
Test(requantize_lines, ties_of_lanes)
{
    for (int bits = 0; bits < 30; bits++) {
        for (int32_t k = -7; k <= 7; k++) {
            const int32_t x = k * (1 << (bits > 26 ? 26 : bits));
            cr_assert_eq(dt_lane_twice(x, 1 << 30, 0, dt_lane_shift_of(bits)), dt_product_twice(x, 1 << 30, -bits),
                         "%d %d", x, bits);
            cr_assert_eq(dt_lane_once(x, 1 << 30, bits), dt_product_once(x, 1 << 30, -bits), "%d %d", x, bits);
        }
    }
}

/* ---- lines of sums ---- */

/* One REQUANTIZE, without a tape. */
typedef struct {
    dt_requant_view view;
    float scale_x, scale_y, scale_w[MOST_CHANNELS];
    int32_t bias[MOST_CHANNELS];
    float x[MOST_CODES], expected[MOST_CODES], code[MOST_CODES];
    double exact[MOST_CHANNELS];
    float factor[MOST_CHANNELS];
    int32_t multiplier[MOST_CHANNELS], shift[MOST_CHANNELS];
} rig;

/* How a row of the tests fills its rig. */
typedef struct {
    const char *why;
    float scale_w, scale_y; /* M is about scale_w / scale_y / 16 */
    int32_t bias;           /* about its magnitude */
    int fits;               /* 1: under every profile */
} line_case;

static const line_case line_cases[] = {
    { "M of a layer, small biases", 0.01f, 1.0f, 30000, 1 }, { "M of a layer, large biases", 0.01f, 1.0f, 1 << 29, 1 },
    { "ties: M is a power of two", 0.25f, 1.0f, 1000, 1 },   { "the least M", 0x1p-27f, 1.0f, 1000, 1 },
    { "below the least M", 0x1p-40f, 1.0f, 1000, 1 },        { "M above 1: shifts to the left", 40.0f, 0.5f, 1000, 0 },
    { "biases of 32 bits", 0.01f, 1.0f, INT32_MAX, 0 },
};

static float sum_at(uint64_t i)
{
    static const float ends[] = { 16777215.0f, -16777215.0f,  16777216.0f,    -16777216.0f, NAN,
                                  0.0f,        2147483648.0f, -2147483648.0f, 1e30f };
    const uint64_t r = scramble(i);
    const int64_t wide = (int64_t)(r % 33554431u) - 16777215, narrow = (int64_t)(r >> 40) % 4001 - 2000;

    if (r % 23 == 0) return ends[(r >> 8) % DT_LENGTH(ends)];
    return (float)(r % 2 ? wide : narrow);
}

static void fill(rig *r, const line_case *c, dt_profile profile, dt_requant_of of, int64_t channels)
{
    const int has_bias = channels % 4 != 3;

    r->scale_x = 0.0625f;
    r->scale_y = c->scale_y;
    r->view = (dt_requant_view){ .params = { profile, of, -133, 122, of == DT_REQUANT_MEAN ? 49 : 1, 0 },
                                 .x = r->x,
                                 .scale_x = &r->scale_x,
                                 .scale_y = &r->scale_y,
                                 .scale_w = r->scale_w,
                                 .bias = has_bias ? r->bias : NULL,
                                 .code = r->expected,
                                 .exact = r->exact,
                                 .factor = r->factor,
                                 .multiplier = r->multiplier,
                                 .shift = r->shift,
                                 .product = dt_product_of(profile, of),
                                 .channels = channels,
                                 .n_scale_w = channels };
    for (int64_t k = 0; k < channels; k++) {
        const uint64_t draw = scramble((uint64_t)k + 1000u * (uint64_t)channels);
        r->scale_w[k] =
            c->scale_w == 0.25f ? ldexpf(0.25f, -(int)(k % 9)) : c->scale_w * (1.0f + (float)(draw % 1000u) / 1000.0f);
        r->bias[k] = (int32_t)((double)c->bias * ((double)(draw >> 12) * 0x1p-51 - 1.0));
        if (c->bias == INT32_MAX && k % 3 == 0) r->bias[k] = k % 2 ? INT32_MIN : INT32_MAX;
        dt_requant_channel(&r->view, k);
    }
}

static int same(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static void check_lines(rig *r, const line_case *c, const dt_requant_line *line, int64_t n)
{
    int is_inexact = 0;

    for (int64_t i = 0; i < n; i++) {
        r->x[i] = sum_at((uint64_t)(i + 7919 * n) + (uint64_t)r->view.channels);
        r->expected[i] = dt_requant_value(&r->view, r->view.product, i % r->view.channels, r->x[i]);
        is_inexact |= fabsf(r->x[i]) >= 16777216.0f;
    }
    for (int level = 0; level <= (int)dt_lines_best(); level++) {
        r->code[n < MOST_CODES ? n : 0] = 4444.0f;
        cr_assert_eq(dt_requantize_line_at((dt_lines_level)level, line, r->x, n, r->code), is_inexact);
        for (int64_t i = 0; i < n; i++) {
            cr_assert(same(r->code[i], r->expected[i]),
                      "%s: profile %s, of %d, %lld channels, level %d: code %lld of %lld, sum %.9g: %g, expected %g",
                      c->why, dt_profile_names[r->view.params.profile], (int)r->view.params.of,
                      (long long)r->view.channels, level, (long long)i, (long long)n, (double)r->x[i],
                      (double)r->code[i], (double)r->expected[i]);
        }
        cr_assert(n == MOST_CODES || r->code[n] == 4444.0f, "a code behind the last is written");
    }
}

static void check_case(rig *r, const line_case *c, dt_profile profile, dt_requant_of of)
{
    void *room = malloc(dt_requant_line_bytes(256));

    for (int64_t channels = 1; channels <= MOST_CHANNELS; channels++) {
        dt_requant_line line;
        fill(r, c, profile, of, channels);
        const int fits = dt_requant_line_make(&r->view, room, &line);
        cr_assert(fits || !c->fits, "%s: profile %s, of %d does not fit", c->why, dt_profile_names[profile], (int)of);
        if (!fits) continue;
        for (int64_t rows = 1; rows <= 67; rows += channels % 7 ? 22 : 1) check_lines(r, c, &line, rows * channels);
    }
    free(room);
}

Test(requantize_lines, codes_of_sums, .timeout = 120)
{
    static const dt_requant_of kinds[] = { DT_REQUANT_CONV, DT_REQUANT_LINEAR, DT_REQUANT_MEAN, DT_REQUANT_CODES };
    rig *r = calloc(1, sizeof *r);

    for (size_t i = 0; i < DT_LENGTH(line_cases); i++) {
        for (int profile = 0; profile <= DT_PROFILE_ONNX; profile++) {
            for (size_t k = 0; k < DT_LENGTH(kinds); k++) check_case(r, &line_cases[i], (dt_profile)profile, kinds[k]);
        }
    }
    free(r);
}

/* What lanes do not hold is left to the definition, and is not computed wrongly. */
Test(requantize_lines, sums_that_lanes_do_not_hold_do_not_fit)
{
    rig *r = calloc(1, sizeof *r);
    void *room = malloc(dt_requant_line_bytes(256));
    dt_requant_line line;

    fill(r, &line_cases[6], DT_PROFILE_REF_SINGLE, DT_REQUANT_CONV, 5);
    cr_assert_eq(dt_requant_line_make(&r->view, room, &line), 0, "biases of 32 bits, one rounding");
    fill(r, &line_cases[6], DT_PROFILE_REF_DOUBLE, DT_REQUANT_CONV, 5);
    cr_assert_eq(dt_requant_line_make(&r->view, room, &line), 0, "biases of 32 bits, two roundings");
    fill(r, &line_cases[5], DT_PROFILE_REF_DOUBLE, DT_REQUANT_CONV, 5);
    cr_assert_eq(dt_requant_line_make(&r->view, room, &line), 1, "a shift to the left, two roundings");
    fill(r, &line_cases[5], DT_PROFILE_REF_SINGLE, DT_REQUANT_CONV, 5);
    cr_assert_eq(dt_requant_line_make(&r->view, room, &line), 0, "a shift to the left, one rounding");
    r->view.scale_w = NULL;
    r->scale_y = 0x1p-100f;
    fill(r, &(line_case){ "", 1.0f, 0x1p-100f, 0, 0 }, DT_PROFILE_FP32_RNE, DT_REQUANT_CONV, 5);
    cr_assert_eq(dt_requant_line_make(&r->view, room, &line), 0, "products beyond 64 bits");
    free(room);
    free(r);
}

/* ---- sums of codes ---- */

typedef struct {
    const char *why;
    float scale_a, scale_b, scale_y;
    int most;
} add_case;

static const add_case add_cases[] = {
    { "three scales", 0.05f, 0.031f, 0.0713f, 255 },
    { "equal scales", 0.05f, 0.05f, 0.05f, 255 },
    { "ties", 0.5f, 0.5f, 1.0f, 255 },
    { "a small addend", 0.05f, 1e-6f, 0.05f, 255 },
    { "a fine result", 0.05f, 0.04f, 0.0001f, 255 },
    { "a coarse result", 0.05f, 0.04f, 3.0f, 255 },
    { "codes of 16 bits", 0.05f, 0.031f, 0.0713f, 65535 },
    { "codes of 10 bits", 0.05f, 0.031f, 0.0713f, 1023 },
};

/* 1: the vectors took it. */
static int check_sums(rig *r, const add_case *c, dt_profile profile, int subtract, int64_t n)
{
    const float scale[3] = { c->scale_a, c->scale_b, c->scale_y };
    float *a = r->x, *b = r->code;
    const int high = c->most > 255 ? 32767 : 122;
    dt_qbinary_view v = {
        { profile, -high - 11, high, subtract, 0 }, a, b, &scale[0], &scale[1], &scale[2], r->expected
    };
    const dt_adder adder = dt_qadd_adder(&v);

    if (!dt_qadd_line_fits(&adder, c->most)) return 0;
    for (int64_t i = 0; i < n; i++) {
        const uint64_t draw = scramble((uint64_t)(i + 65537 * n));
        const int range = 2 * c->most + 1;
        a[i] = draw % 41 == 0  ? NAN
               : draw % 7 == 0 ? (float)c->most
                               : (float)((int)((draw >> 8) % (uint64_t)range) - c->most);
        b[i] = draw % 43 == 0   ? NAN
               : draw % 11 == 0 ? (float)-c->most
                                : (float)((int)((draw >> 36) % (uint64_t)range) - c->most);
    }
    for (int level = 0; level <= (int)dt_lines_best(); level++) {
        dt_qadd_line_at((dt_lines_level)level, &v, &adder, n / 3, n - n / 3);
        for (int64_t i = n / 3; i < n; i++) {
            const float expected = dt_qadd_value(&v, &adder, i);
            cr_assert(same(r->expected[i], expected),
                      "%s: profile %s, level %d: code %lld of %lld, %g and %g: %g, expected %g", c->why,
                      dt_profile_names[profile], level, (long long)i, (long long)n, (double)a[i], (double)b[i],
                      (double)r->expected[i], (double)expected);
        }
    }
    return 1;
}

Test(requantize_lines, codes_of_sums_of_codes)
{
    rig *r = calloc(1, sizeof *r);

    for (size_t i = 0; i < DT_LENGTH(add_cases); i++) {
        for (int profile = 0; profile <= DT_PROFILE_EXACT; profile++) {
            for (int64_t n = 1; n <= 67; n++) {
                const int fits = check_sums(r, &add_cases[i], (dt_profile)profile, (int)(n % 2), n);
                cr_assert(fits || add_cases[i].most > 255, "%s: profile %s does not fit", add_cases[i].why,
                          dt_profile_names[profile]);
            }
            check_sums(r, &add_cases[i], (dt_profile)profile, 0, 4099);
        }
    }
    free(r);
}
