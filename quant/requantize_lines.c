/*
 * requantize_lines.c - see requantize_lines.h.
 *
 * Loops have no branches and read constants from arrays, so that the compiler makes vectors of them. They are compiled
 * once for each level of CPU, and for each way to round a product.  Tests: tests/quant/test_requantize_lines.c.
 */
#include "requantize_lines.h"

#include "../core/arith/requantize_lanes.h"

#define ALWAYS static inline __attribute__((always_inline))

enum { SHORTEST_LINE = 128 };

int64_t dt_requant_line_length(int64_t channels)
{
    return channels >= SHORTEST_LINE ? channels : channels * ((SHORTEST_LINE + channels - 1) / channels);
}

size_t dt_requant_line_bytes(int64_t channels)
{
    return (size_t)dt_requant_line_length(channels) * (sizeof(double) + sizeof(float) + 4 * sizeof(int32_t));
}

/* 1: the lanes hold the products of channel c, and a cast of a real one to an integer does not overflow. */
static int channel_fits(const dt_requant_view *v, int64_t c)
{
    const int64_t bias = v->bias ? v->bias[c] : 0, most = (bias < 0 ? -bias : bias) + DT_F32_EXACT;
    const double limit = 0x1p62, sum = (double)most, real = sum * v->exact[c];

    switch (v->product) {
    case DT_ROUND_TWICE: return v->shift[c] < 32;
    case DT_ROUND_ONCE: return v->shift[c] <= 0 && most <= DT_LANE_MOST;
    case DT_ROUND_F32: return most <= DT_LANE_MOST && sum * (double)v->factor[c] < limit;
    case DT_ROUND_EXACT: return most <= DT_LANE_MOST && real < limit;
    case DT_ROUND_EIGHTH_BITS: return most <= DT_LANE_MOST && v->factor[c] < 0x1p21f;
    default: return most <= DT_LANE_MOST && real < 0x1p126 && real / (double)*v->scale_y < limit;
    }
}

int dt_requant_line_make(const dt_requant_view *v, void *room, dt_requant_line *out)
{
    dt_requant_line l = { v->product, v->params.low, v->params.high, *v->scale_y, dt_requant_line_length(v->channels),
                          room,       NULL,          NULL,           NULL,        NULL,
                          NULL };
    int fits = 1;

    l.factor = (float *)(l.exact + l.n);
    l.multiplier = (int32_t *)(l.factor + l.n);
    l.left = l.multiplier + l.n;
    l.right = l.left + l.n;
    l.bias = l.right + l.n;
    for (int64_t i = 0; i < l.n; i++) {
        const int64_t c = i % v->channels;
        l.exact[i] = v->exact[c];
        l.factor[i] = v->factor[c];
        l.multiplier[i] = v->multiplier[c];
        l.left[i] = v->shift[c] > 0 ? v->shift[c] : 0;
        l.right[i] = v->shift[c] > 0 ? 0 : -v->shift[c];
        l.bias[i] = v->bias ? v->bias[c] : 0;
        fits &= channel_fits(v, c);
    }
    *out = l;
    return fits;
}

/* The code of a sum of the line's element i; product is a constant wherever this is inlined. */
ALWAYS float line_code(const dt_requant_line *l, dt_product product, int64_t i, int32_t sum)
{
    const float low = (float)l->low, high = (float)l->high;
    const double wide_low = (double)l->low, wide_high = (double)l->high;

    switch (product) {
    case DT_ROUND_TWICE:
        return (float)dt_lane_within(dt_lane_twice(sum, l->multiplier[i], l->left[i], l->right[i]), l->low, l->high);
    case DT_ROUND_ONCE: return (float)dt_lane_within(dt_lane_once(sum, l->multiplier[i], l->right[i]), l->low, l->high);
    case DT_ROUND_F32: return dt_lane_nearest((float)sum * l->factor[i], low, high);
    case DT_ROUND_EXACT: return dt_lane_limited(rint((double)sum * l->exact[i]), wide_low, wide_high);
    case DT_ROUND_EIGHTH_BITS: /* below 2^52, so that doubles are exact */
        return dt_lane_limited(floor(((double)sum * (double)l->factor[i] + 128.0) / 256.0), wide_low, wide_high);
    default: return dt_lane_nearest((float)((double)sum * l->exact[i]) / l->scale_y, low, high);
    }
}

/* n codes, at most a line */
ALWAYS int one_line(const dt_requant_line *line, dt_product product, const float *restrict x, int64_t n,
                    float *restrict code)
{
    const dt_requant_line l = *line; /* so that no store may change it */
    int is_inexact = 0;

    for (int64_t i = 0; i < n; i++) {
        const int is_exact = fabsf(x[i]) < (float)DT_F32_EXACT;
        const int32_t sum = dt_lane_add((int32_t)(is_exact ? x[i] : 0.0f), l.bias[i]);
        const float y = line_code(&l, product, i, sum);
        code[i] = is_exact ? y : NAN;
        is_inexact |= fabsf(x[i]) >= (float)DT_F32_EXACT;
    }
    return is_inexact;
}

ALWAYS int lines_by(const dt_requant_line *l, dt_product product, const float *x, int64_t n, float *code)
{
    int is_inexact = 0;

    for (int64_t at = 0; at < n; at += l->n) {
        is_inexact |= one_line(l, product, x + at, n - at < l->n ? n - at : l->n, code + at);
    }
    return is_inexact;
}

ALWAYS int lines(const dt_requant_line *l, const float *x, int64_t n, float *code)
{
    switch (l->product) {
    case DT_ROUND_TWICE: return lines_by(l, DT_ROUND_TWICE, x, n, code);
    case DT_ROUND_ONCE: return lines_by(l, DT_ROUND_ONCE, x, n, code);
    case DT_ROUND_F32: return lines_by(l, DT_ROUND_F32, x, n, code);
    case DT_ROUND_EXACT: return lines_by(l, DT_ROUND_EXACT, x, n, code);
    case DT_ROUND_EIGHTH_BITS: return lines_by(l, DT_ROUND_EIGHTH_BITS, x, n, code);
    default: return lines_by(l, DT_ROUND_REAL, x, n, code);
    }
}

int dt_qadd_line_fits(const dt_adder *adder, int64_t most)
{
    const double real = (double)most * ((double)adder->scale_a + fabs((double)adder->scale_b));

    switch (adder->product) {
    case DT_ROUND_TWICE: return adder->a_shift < 32 && adder->b_shift < 32 && adder->shift < 32;
    case DT_ROUND_ONCE: return most < 1024 && adder->a_shift <= 0 && adder->b_shift <= 0 && adder->shift <= 0;
    case DT_ROUND_F32: return most < 256 && adder->shift >= 1 && adder->shift <= 30;
    default: return real < 0x1p126 && real / (double)adder->scale_y < 0x1p62;
    }
}

/* An adder with its shifts taken apart. */
typedef struct {
    int32_t a, b, y, a_left, a_right, b_left, b_right, y_left, y_right;
    int32_t sign, shift, half; /* of b; F32 */
    int32_t low, high;
    float scale_a, scale_b, scale_y;
} adder_lanes;

static adder_lanes adder_lanes_of(const dt_adder *r, const dt_qbinary_params *p)
{
    adder_lanes l = { .a = r->a,
                      .b = r->b < 0 && r->product != DT_ROUND_F32 ? -r->b : r->b,
                      .y = r->y,
                      .sign = r->b < 0 ? -1 : 0,
                      .low = p->low,
                      .high = p->high,
                      .scale_a = r->scale_a,
                      .scale_b = r->scale_b,
                      .scale_y = r->scale_y };

    l.a_left = r->a_shift > 0 ? r->a_shift : 0;
    l.a_right = r->a_shift > 0 ? 0 : -r->a_shift;
    l.b_left = r->b_shift > 0 ? r->b_shift : 0;
    l.b_right = r->b_shift > 0 ? 0 : -r->b_shift;
    if (r->product == DT_ROUND_F32) {
        l.shift = r->shift;
        l.half = r->shift >= 1 && r->shift <= 30 ? 1 << (r->shift - 1) : 0;
    } else {
        l.y_left = r->shift > 0 ? r->shift : 0;
        l.y_right = r->shift > 0 ? 0 : -r->shift;
    }
    return l;
}

/* -x modulo 2^32 if sign is -1, x if it is 0 */
ALWAYS int32_t signed_by(int32_t x, int32_t sign)
{
    return (int32_t)(((uint32_t)x ^ (uint32_t)sign) - (uint32_t)sign);
}

/* a times 2^20 modulo 2^32 */
ALWAYS int32_t up(int32_t x)
{
    return (int32_t)((uint32_t)x << 20);
}

/* product is a constant wherever this is inlined */
ALWAYS float sum_code(const adder_lanes *l, dt_product product, float a, float b)
{
    const int32_t qa = (int32_t)a, qb = (int32_t)b;

    switch (product) {
    case DT_ROUND_TWICE: {
        const int32_t first = dt_lane_twice(up(qa), l->a, l->a_left, l->a_right);
        const int32_t second = signed_by(dt_lane_twice(up(qb), l->b, l->b_left, l->b_right), l->sign);
        const int32_t sum = dt_lane_twice(dt_lane_add(first, second), l->y, l->y_left, l->y_right);
        return (float)dt_lane_within(sum, l->low, l->high);
    }
    case DT_ROUND_ONCE: { /* codes below 1024, and products of at most 1/2: the sum is below 2^30 */
        const int32_t first = dt_lane_once(up(qa), l->a, l->a_right);
        const int32_t second = signed_by(dt_lane_once(up(qb), l->b, l->b_right), l->sign);
        const int32_t sum = dt_lane_once(dt_lane_add(first, second), l->y, l->y_right);
        return (float)dt_lane_within(sum, l->low, l->high);
    }
    case DT_ROUND_F32: /* codes below 256, factors up to 2^21, half up to 2^29 */
        return (float)dt_lane_within((qa * l->a + qb * l->b + l->half) >> l->shift, l->low, l->high);
    default:
        return dt_lane_nearest(((float)qa * l->scale_a + (float)qb * l->scale_b) / l->scale_y, (float)l->low,
                               (float)l->high);
    }
}

ALWAYS void sums_by(const adder_lanes *lanes, dt_product product, const float *restrict a, const float *restrict b,
                    int64_t n, float *restrict code)
{
    const adder_lanes l = *lanes; /* so that no store may change it */

    for (int64_t i = 0; i < n; i++) {
        const int is_number = !isnan(a[i] + b[i]);
        const float y = sum_code(&l, product, is_number ? a[i] : 0.0f, is_number ? b[i] : 0.0f);
        code[i] = is_number ? y : NAN;
    }
}

ALWAYS void sums(const dt_qbinary_view *v, const dt_adder *adder, int64_t first, int64_t n)
{
    const adder_lanes l = adder_lanes_of(adder, &v->params);
    const float *a = v->a + first, *b = v->b + first;
    float *code = v->code + first;

    switch (adder->product) {
    case DT_ROUND_TWICE: sums_by(&l, DT_ROUND_TWICE, a, b, n, code); break;
    case DT_ROUND_ONCE: sums_by(&l, DT_ROUND_ONCE, a, b, n, code); break;
    case DT_ROUND_F32: sums_by(&l, DT_ROUND_F32, a, b, n, code); break;
    default: sums_by(&l, DT_ROUND_REAL, a, b, n, code); break;
    }
}

static int requantize_plain(const dt_requant_line *l, const float *x, int64_t n, float *code)
{
    return lines(l, x, n, code);
}

static void qadd_plain(const dt_qbinary_view *v, const dt_adder *adder, int64_t first, int64_t n)
{
    sums(v, adder, first, n);
}

#if defined(__x86_64__)

#define AVX2   __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")))

static AVX2 int requantize_avx2(const dt_requant_line *l, const float *x, int64_t n, float *code)
{
    return lines(l, x, n, code);
}

static AVX512 int requantize_avx512(const dt_requant_line *l, const float *x, int64_t n, float *code)
{
    return lines(l, x, n, code);
}

static AVX2 void qadd_avx2(const dt_qbinary_view *v, const dt_adder *adder, int64_t first, int64_t n)
{
    sums(v, adder, first, n);
}

static AVX512 void qadd_avx512(const dt_qbinary_view *v, const dt_adder *adder, int64_t first, int64_t n)
{
    sums(v, adder, first, n);
}

dt_lines_level dt_lines_best(void)
{
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return DT_LINES_AVX512;
    return __builtin_cpu_supports("avx2") ? DT_LINES_AVX2 : DT_LINES_PLAIN;
}

#else

#define requantize_avx2   requantize_plain
#define requantize_avx512 requantize_plain
#define qadd_avx2         qadd_plain
#define qadd_avx512       qadd_plain

dt_lines_level dt_lines_best(void)
{
    return DT_LINES_PLAIN;
}

#endif

int dt_requantize_line_at(dt_lines_level level, const dt_requant_line *line, const float *x, int64_t n, float *code)
{
    switch (level) {
    case DT_LINES_AVX512: return requantize_avx512(line, x, n, code);
    case DT_LINES_AVX2: return requantize_avx2(line, x, n, code);
    default: return requantize_plain(line, x, n, code);
    }
}

void dt_qadd_line_at(dt_lines_level level, const dt_qbinary_view *v, const dt_adder *adder, int64_t first, int64_t n)
{
    switch (level) {
    case DT_LINES_AVX512: qadd_avx512(v, adder, first, n); break;
    case DT_LINES_AVX2: qadd_avx2(v, adder, first, n); break;
    default: qadd_plain(v, adder, first, n); break;
    }
}

int dt_requantize_line(const dt_requant_line *line, const float *x, int64_t n, float *code)
{
    return dt_requantize_line_at(dt_lines_best(), line, x, n, code);
}

void dt_qadd_line(const dt_qbinary_view *v, const dt_adder *adder, int64_t first, int64_t n)
{
    dt_qadd_line_at(dt_lines_best(), v, adder, first, n);
}
