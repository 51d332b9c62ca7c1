/*
 * requantize_lines.c - see requantize_lines.h.
 *
 * Loops have no branches and read constants from arrays, so that the compiler makes vectors of them. They are compiled
 * once for each level of CPU, and for each way to round a product.  Tests: tests/quant/test_requantize_lines.c.
 */
#include "requantize_lines.h"

#include "../core/cpu_level.h"
#include "requantize_avx512.h"

#include <string.h>

#define ALWAYS static inline __attribute__((always_inline))

enum { SHORTEST_LINE = 128 };

/* The number of sums in a line. */
static int64_t line_length(int64_t channels)
{
    return channels >= SHORTEST_LINE ? channels : channels * ((SHORTEST_LINE + channels - 1) / channels);
}

size_t dt_requant_line_bytes(int64_t channels)
{
    return (size_t)line_length(channels) * (sizeof(double) + sizeof(float) + 6 * sizeof(int32_t));
}

/* 1: the lanes hold the products of channel c, and a cast of a real one to an integer does not overflow. */
static int channel_fits(const dt_requant_view *v, int64_t c)
{
    const int64_t bias = v->bias ? v->bias[c] : 0, most = (bias < 0 ? -bias : bias) + DT_F32_EXACT;
    const double limit = 0x1p62, sum = (double)most, real = sum * v->exact[c];

    switch (v->product) {
    case DT_ROUND_TWICE: return v->shift[c] < 30 && most << (v->shift[c] > 0 ? v->shift[c] : 0) < DT_LANE_MOST;
    case DT_ROUND_ONCE: return v->shift[c] <= 0 && most < DT_LANE_MOST;
    case DT_ROUND_F32: return most < DT_LANE_MOST && sum * (double)v->factor[c] < limit;
    case DT_ROUND_EXACT: return most < DT_LANE_MOST && real < limit;
    case DT_ROUND_EIGHTH_BITS: return most < DT_LANE_MOST && v->factor[c] < 0x1p21f;
    default: return most < DT_LANE_MOST && real < 0x1p126 && real / (double)*v->scale_y < limit;
    }
}

int dt_requant_line_make(const dt_requant_view *v, void *room, dt_requant_line *out)
{
    const int64_t n = line_length(v->channels);
    dt_requant_line l = { .product = v->product,
                          .low = v->params.low,
                          .high = v->params.high,
                          .scale_y = *v->scale_y,
                          .n = n,
                          .exact = room };
    int fits = 1;

    l.factor = (float *)(l.exact + n);
    l.multiplier = (int32_t *)(l.factor + n);
    l.left = l.multiplier + n;
    l.right = l.left + n;
    l.half = l.right + n;
    l.below = l.half + n;
    l.bias = l.below + n;
    for (int64_t i = 0; i < l.n; i++) {
        const int64_t c = i % v->channels;
        l.exact[i] = v->exact[c];
        l.factor[i] = v->factor[c];
        l.multiplier[i] = v->multiplier[c];
        l.left[i] = v->shift[c] > 0 ? v->shift[c] : 0;
        const dt_lane_shift right = dt_lane_shift_of(v->shift[c] > 0 ? 0 : -v->shift[c]);
        l.right[i] = right.bits;
        l.half[i] = right.half;
        l.below[i] = right.below;
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
        return (float)dt_lane_within(
            dt_lane_twice(sum, l->multiplier[i], l->left[i], (dt_lane_shift){ l->right[i], l->half[i], l->below[i] }),
            l->low, l->high);
    case DT_ROUND_ONCE: return (float)dt_lane_within(dt_lane_once(sum, l->multiplier[i], l->right[i]), l->low, l->high);
    case DT_ROUND_F32: return dt_lane_nearest((float)sum * l->factor[i], low, high);
    case DT_ROUND_EXACT: return dt_lane_limited(rint((double)sum * l->exact[i]), wide_low, wide_high);
    case DT_ROUND_EIGHTH_BITS: /* below 2^52, so that doubles are exact */
        return dt_lane_limited(floor(((double)sum * (double)l->factor[i] + 128.0) / 256.0), wide_low, wide_high);
    default: return dt_lane_nearest((float)((double)sum * l->exact[i]) / l->scale_y, low, high);
    }
}

/* The bits of a float without its sign: they grow with its magnitude, and those of a NaN are the largest. */
ALWAYS int32_t magnitude(float x)
{
    int32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits & INT32_MAX;
}

/* Makes codes of sums that have none a NaN; most is the largest magnitude. Returns 1 if one is too large for f32. */
ALWAYS int line_end(int32_t most, const float *x, int64_t n, float *code)
{
    int is_inexact = 0;

    if (most < magnitude((float)DT_F32_EXACT)) return 0;
    for (int64_t i = 0; i < n; i++) {
        if (!(fabsf(x[i]) < (float)DT_F32_EXACT)) code[i] = NAN;
        is_inexact |= fabsf(x[i]) >= (float)DT_F32_EXACT;
    }
    return is_inexact;
}

/* An integer within +-2^24; of a NaN, one of them */
ALWAYS int32_t cast(float x)
{
    const float most = (float)DT_F32_EXACT, limited = x < most ? x : most;

    return (int32_t)(limited > -most ? limited : -most);
}

/* n codes, at most a line. Returns 1 if a sum is too large for f32. */
ALWAYS int one_line(const dt_requant_line *line, dt_product product, const float *restrict x, int64_t n,
                    float *restrict code)
{
    const dt_requant_line l = *line; /* so that no store may change it */
    int32_t most = 0;

    for (int64_t i = 0; i < n; i++) {
        most = most > magnitude(x[i]) ? most : magnitude(x[i]);
        code[i] = line_code(&l, product, i, dt_lane_add(cast(x[i]), l.bias[i]));
    }
    return line_end(most, x, n, code);
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
    case DT_ROUND_TWICE:
    case DT_ROUND_ONCE: return most < 1024 && adder->a_shift <= 0 && adder->b_shift <= 0 && adder->shift <= 0;
    case DT_ROUND_F32: return most < 256 && adder->shift >= 1 && adder->shift <= 30;
    default: return real < 0x1p126 && real / (double)adder->scale_y < 0x1p62;
    }
}

static int multiplies_integers(dt_product product)
{
    return product == DT_ROUND_TWICE || product == DT_ROUND_ONCE;
}

static dt_adder_lanes lanes_of(const dt_adder *r, const dt_qbinary_params *p)
{
    const int is_f32 = r->product == DT_ROUND_F32, is_swapped = !(r->scale_a >= fabsf(r->scale_b));
    const int32_t b_sign = r->b < 0 ? -1 : 0;
    dt_adder_lanes l = { .product = r->product,
                         .is_swapped = is_swapped && multiplies_integers(r->product),
                         .far_multiplier = is_swapped ? r->a
                                           : r->b < 0 ? -r->b
                                                      : r->b,
                         .y_multiplier = r->y,
                         .near_sign = is_swapped ? b_sign : 0,
                         .far_sign = is_swapped ? 0 : b_sign,
                         .a = r->a,
                         .b = r->b,
                         .shift = r->shift,
                         .low = p->low,
                         .high = p->high,
                         .scale_a = r->scale_a,
                         .scale_b = r->scale_b,
                         .scale_y = r->scale_y };

    l.half = is_f32 ? (int32_t)1 << (r->shift - 1) : 0;
    l.far_shift = dt_lane_shift_of(is_f32 ? 0 : is_swapped ? -r->a_shift : -r->b_shift);
    l.y_shift = dt_lane_shift_of(is_f32 ? 0 : -r->shift);
    return l;
}

/* -x if sign is -1, x if it is 0 */
ALWAYS int32_t signed_by(int32_t x, int32_t sign)
{
    return (x ^ sign) - sign;
}

/* product is a constant wherever this is inlined. Codes are below 1024, and addends at most half of them times 2^20, so
 * that products are below DT_LANE_MOST; F32: codes are below 256, factors at most 2^21, and half at most 2^29. */
ALWAYS float sum_code(const dt_adder_lanes *l, dt_product product, int32_t qa, int32_t qb)
{
    int32_t near, far, sum;

    switch (product) {
    case DT_ROUND_TWICE:
        near = signed_by(qa * (1 << 19), l->near_sign);
        far = signed_by(dt_lane_twice(qb * (1 << 20), l->far_multiplier, 0, l->far_shift), l->far_sign);
        sum = dt_lane_twice(near + far, l->y_multiplier, 0, l->y_shift);
        break;
    case DT_ROUND_ONCE:
        near = signed_by(qa * (1 << 19), l->near_sign);
        far = signed_by(dt_lane_once(qb * (1 << 20), l->far_multiplier, l->far_shift.bits), l->far_sign);
        sum = dt_lane_once(near + far, l->y_multiplier, l->y_shift.bits);
        break;
    case DT_ROUND_F32: sum = (qa * l->a + qb * l->b + l->half) >> l->shift; break;
    default:
        return dt_lane_nearest(((float)qa * l->scale_a + (float)qb * l->scale_b) / l->scale_y, (float)l->low,
                               (float)l->high);
    }
    return (float)dt_lane_within(sum, l->low, l->high);
}

/* A code as an integer; 0 for a NaN */
ALWAYS int32_t code_of(float x)
{
    return (int32_t)(x == x ? x : 0.0f);
}

/* Makes the code of a NaN a NaN. It runs behind the loop over codes, because there a choice would be a branch. */
ALWAYS void mark_nan(const float *a, const float *b, int64_t n, float *code)
{
    int has_nan = 0;

    for (int64_t i = 0; i < n; i++) has_nan |= isnan(a[i] + b[i]);
    for (int64_t i = 0; has_nan && i < n; i++) code[i] = isnan(a[i] + b[i]) ? NAN : code[i];
}

ALWAYS void sums_by(const dt_adder_lanes *lanes, dt_product product, const float *restrict a, const float *restrict b,
                    int64_t n, float *restrict code)
{
    const dt_adder_lanes l = *lanes; /* so that no store may change it */

    for (int64_t i = 0; i < n; i++) code[i] = sum_code(&l, product, code_of(a[i]), code_of(b[i]));
    mark_nan(a, b, n, code);
}

ALWAYS void sums(const dt_qbinary_view *v, const dt_adder *adder, int64_t first, int64_t n)
{
    const dt_adder_lanes l = lanes_of(adder, &v->params);
    const float *a = (l.is_swapped ? v->b : v->a) + first, *b = (l.is_swapped ? v->a : v->b) + first;
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

#define AVX2 __attribute__((target("avx2")))

static AVX2 int requantize_avx2(const dt_requant_line *l, const float *x, int64_t n, float *code)
{
    return lines(l, x, n, code);
}

static DT_TARGET_AVX512 int requantize_avx512(const dt_requant_line *l, const float *x, int64_t n, float *code)
{
    int is_inexact = 0;

    if (!multiplies_integers(l->product)) return lines(l, x, n, code);
    for (int64_t at = 0; at < n; at += l->n) {
        const int64_t count = n - at < l->n ? n - at : l->n;
        const int32_t most = dt_requantize_avx512(l, x + at, count, code + at);
        is_inexact |= line_end(most, x + at, count, code + at);
    }
    return is_inexact;
}

static AVX2 void qadd_avx2(const dt_qbinary_view *v, const dt_adder *adder, int64_t first, int64_t n)
{
    sums(v, adder, first, n);
}

static DT_TARGET_AVX512 void qadd_avx512(const dt_qbinary_view *v, const dt_adder *adder, int64_t first, int64_t n)
{
    const float *a = v->a + first, *b = v->b + first;
    float *code = v->code + first;

    if (!multiplies_integers(adder->product)) {
        sums(v, adder, first, n);
        return;
    }
    const dt_adder_lanes l = lanes_of(adder, &v->params);
    dt_qadd_avx512(&l, l.is_swapped ? b : a, l.is_swapped ? a : b, n, code);
    mark_nan(a, b, n, code);
}

dt_lines_level dt_lines_best(void)
{
    const dt_cpu_level level = dt_cpu_level_now();
    return level >= DT_CPU_AVX512 ? DT_LINES_AVX512 : level == DT_CPU_AVX2 ? DT_LINES_AVX2 : DT_LINES_PLAIN;
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
