/*
 * caps_lanes_avx512.c - see caps_lanes.h. Sums within a capsule have intrinsics, because no compiler makes vectors of
 *                       them: 16 capsules' products are folded together, by halves, as dt_caps_dot folds one's.
 *
 * Tests: tests/layers/test_caps_lanes.c.
 */
#include "caps_lanes.h"

#include "../../core/cpu_level.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define ALWAYS            static inline __attribute__((always_inline)) DT_TARGET_AVX512
#define STORE_PAST(to, v) _mm512_stream_ps(to, (__m512)(v))
#include "caps_loops.h"

/* Each of a and b has segments of 16, 8, 4 or 2 lanes. The result has the sum of the halves of each, those of a before
 * those of b: fold_2 and fold_4 within each quarter of a vector. */
ALWAYS __m512 fold_16(__m512 a, __m512 b)
{
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
}

ALWAYS __m512 fold_8(__m512 a, __m512 b)
{
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD));
}

ALWAYS __m512 fold_4(__m512 a, __m512 b)
{
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xEE));
}

ALWAYS __m512 fold_2(__m512 a, __m512 b)
{
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xDD));
}

/* The sums of 16 capsules, whose values fill p[0..n-1], n = 4, 8 or 16, one capsule after another. The sum of capsule
 * 4 k + j is lane 4 j + k, for j and k in 0..3. */
ALWAYS __m512 fold_capsules(__m512 *p, int n)
{
    if (n == 16) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) p[i] = fold_16(p[2 * i], p[2 * i + 1]);
    }
    if (n >= 8) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) p[i] = fold_8(p[2 * i], p[2 * i + 1]);
    }
    return fold_2(fold_4(p[0], p[1]), fold_4(p[2], p[3]));
}

/* The input whose products fold_capsules takes as capsule q, so that lane l has the sum of input l. */
ALWAYS int input_of(int q)
{
    return 4 * (q % 4) + q / 4;
}

ALWAYS __m512 product(__m512 u, float scale, __m512 v, int scaled)
{
    return _mm512_mul_ps(scaled ? _mm512_mul_ps(_mm512_set1_ps(scale), u) : u, v);
}

/* Two capsules of 8 values. */
ALWAYS __m512 both(const float *a, const float *b)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(a)), _mm256_loadu_ps(b), 1);
}

ALWAYS __m512 agree_8(const float *u, int64_t next, float scale, const float *v, int scaled)
{
    const __m512 twice = _mm512_broadcast_f32x8(_mm256_loadu_ps(v));
    __m512 p[8];

#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        p[i] = product(both(u + input_of(2 * i) * next, u + input_of(2 * i + 1) * next), scale, twice, scaled);
    }
    return fold_capsules(p, 8);
}

ALWAYS __m512 agree_16(const float *u, int64_t next, float scale, const float *v, int scaled)
{
    const __m512 all = _mm512_loadu_ps(v);
    __m512 p[16];

#pragma GCC unroll 16
    for (int q = 0; q < 16; q++) p[q] = product(_mm512_loadu_ps(u + input_of(q) * next), scale, all, scaled);
    return fold_capsules(p, 16);
}

/* dt_caps_dot adds the second half of a capsule of 32 to the folded first half, 8 values after 8. */
ALWAYS __m512 agree_32(const float *u, int64_t next, float scale, const float *v, int scaled)
{
    const __m512 low = _mm512_loadu_ps(v), high = _mm512_loadu_ps(v + 16);
    __m512 p[8];

#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        const float *a = u + input_of(2 * i) * next, *b = u + input_of(2 * i + 1) * next;
        const __m512 a_high = product(_mm512_loadu_ps(a + 16), scale, high, scaled);
        const __m512 b_high = product(_mm512_loadu_ps(b + 16), scale, high, scaled);
        p[i] =
            fold_16(product(_mm512_loadu_ps(a), scale, low, scaled), product(_mm512_loadu_ps(b), scale, low, scaled));
        p[i] = _mm512_add_ps(p[i], _mm512_shuffle_f32x4(a_high, b_high, 0x44));
        p[i] = _mm512_add_ps(p[i], _mm512_shuffle_f32x4(a_high, b_high, 0xEE));
    }
    return fold_capsules(p, 8);
}

ALWAYS void agree(const dt_vote_group *g, const float *v, int dim, int scaled, float *at)
{
    const int64_t next = g->capsules * dim;

    for (int64_t m = 0; m < g->capsules; m++) {
        const float *u = g->u + m * dim, *with = v + m * dim;
        const __m512 sums = dim == 8    ? agree_8(u, next, g->scale, with, scaled)
                            : dim == 16 ? agree_16(u, next, g->scale, with, scaled)
                                        : agree_32(u, next, g->scale, with, scaled);
        _mm512_storeu_ps(at + m * DT_CAPS_GROUP, sums);
    }
}

static DT_TARGET_AVX512 void agreements_avx512(const dt_vote_group *g, const float *v, float *at)
{
    const int scaled = g->scale != 1.0f, dim = g->n == DT_CAPS_GROUP ? g->dim : 0;

    switch (2 * dim + scaled) {
    case 16: agree(g, v, 8, 0, at); break;
    case 17: agree(g, v, 8, 1, at); break;
    case 32: agree(g, v, 16, 0, at); break;
    case 33: agree(g, v, 16, 1, at); break;
    case 64: agree(g, v, 32, 0, at); break;
    case 65: agree(g, v, 32, 1, at); break;
    default: dt_caps_lanes_plain.agreements(g, v, at);
    }
}

typedef int32_t lane_numbers __attribute__((vector_size(64)));

/* What fold_capsules has left of each capsule, beside each value of vector i of n. */
ALWAYS __m512 beside_values(__m512 folded, int i, int n)
{
    const lane_numbers lane = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    const lane_numbers capsule = (16 * i + lane) / n;

    return _mm512_permutexvar_ps((__m512i)(4 * (capsule % 4) + capsule / 4), folded);
}

/* 16 capsules; the arithmetic is dt_squash's. */
ALWAYS void squash_16(const float *s, int dim, float *v)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    __m512 x[16], p[16];

#pragma GCC unroll 16
    for (int i = 0; i < dim; i++) {
        x[i] = _mm512_loadu_ps(s + 16 * i);
        p[i] = _mm512_mul_ps(x[i], x[i]);
    }
    const __m512 square = fold_capsules(p, dim);
    const __m512 factor = _mm512_div_ps(_mm512_sqrt_ps(square), _mm512_add_ps(one, square));
#pragma GCC unroll 16
    for (int i = 0; i < dim; i++) _mm512_storeu_ps(v + 16 * i, _mm512_mul_ps(beside_values(factor, i, dim), x[i]));
}

ALWAYS void squash_whole(const float *s, int64_t n, int dim, float *v)
{
    for (int64_t i = 0; i < n; i += 16) squash_16(s + i * dim, dim, v + i * dim);
}

static DT_TARGET_AVX512 void squash_avx512(const float *s, int64_t n, int dim, float *v)
{
    const int64_t whole = dim == 4 || dim == 8 || dim == 16 ? n / 16 * 16 : 0;

    if (dim == 4) squash_whole(s, whole, 4, v);
    if (dim == 8) squash_whole(s, whole, 8, v);
    if (dim == 16) squash_whole(s, whole, 16, v);
    if (whole < n) dt_caps_lanes_plain.squash(s + whole * dim, n - whole, dim, v + whole * dim);
}

/* 16 capsules; the arithmetic is dt_squash_backward's. */
ALWAYS void squash_backward_16(const float *s, const float *dv, int dim, int fresh, float *ds)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    __m512 p[16], q[16];

#pragma GCC unroll 16
    for (int i = 0; i < dim; i++) {
        const __m512 x = _mm512_loadu_ps(s + 16 * i);
        p[i] = _mm512_mul_ps(x, x);
        q[i] = _mm512_mul_ps(x, _mm512_loadu_ps(dv + 16 * i));
    }
    const __m512 square = fold_capsules(p, dim), along = fold_capsules(q, dim);
    const __m512 length = _mm512_sqrt_ps(square), shrink = _mm512_div_ps(one, _mm512_add_ps(one, square));
    const __m512 a = _mm512_mul_ps(length, shrink), less = _mm512_mul_ps(along, _mm512_sub_ps(one, square));
    const __m512 shrunk = _mm512_mul_ps(_mm512_mul_ps(less, shrink), shrink);
    const __mmask16 is_long = _mm512_cmp_ps_mask(length, _mm512_setzero_ps(), _CMP_GT_OQ);
    const __m512 k = _mm512_maskz_div_ps(is_long, shrunk, length);
#pragma GCC unroll 16
    for (int i = 0; i < dim; i++) {
        const __m512 straight = _mm512_mul_ps(beside_values(a, i, dim), _mm512_loadu_ps(dv + 16 * i));
        const __m512 bent = _mm512_mul_ps(beside_values(k, i, dim), _mm512_loadu_ps(s + 16 * i));
        const __m512 slope = _mm512_add_ps(straight, bent);
        _mm512_storeu_ps(ds + 16 * i, fresh ? slope : _mm512_add_ps(_mm512_loadu_ps(ds + 16 * i), slope));
    }
}

ALWAYS void squash_backward_whole(const float *s, const float *dv, int64_t n, int dim, int fresh, float *ds)
{
    for (int64_t i = 0; i < n; i += 16) squash_backward_16(s + i * dim, dv + i * dim, dim, fresh, ds + i * dim);
}

static DT_TARGET_AVX512 void squash_backward_avx512(const float *s, const float *dv, int64_t n, int dim, int fresh,
                                                    float *ds)
{
    const int64_t whole = dim == 4 || dim == 8 || dim == 16 ? n / 16 * 16 : 0, at = whole * dim;

    if (dim == 4) squash_backward_whole(s, dv, whole, 4, fresh, ds);
    if (dim == 8) squash_backward_whole(s, dv, whole, 8, fresh, ds);
    if (dim == 16) squash_backward_whole(s, dv, whole, 16, fresh, ds);
    if (whole < n) dt_caps_lanes_plain.squash_backward(s + at, dv + at, n - whole, dim, fresh, ds + at);
}

static DT_TARGET_AVX512 void add_weighted_avx512(const dt_vote_group *g, const float *w, float *sum)
{
    add_weighted(g, w, sum);
}

static DT_TARGET_AVX512 void add_avx512(const dt_vote_group *g, float *sum)
{
    add(g, sum);
}

static DT_TARGET_AVX512 void logit_codes_avx512(const dt_logit_format *f, const float *was, const float *agreed,
                                                int64_t n, float *b)
{
    logit_codes(f, was, agreed, n, b);
}

/* Of dt_exp_code: entry y mod 32 of the table, shifted by y / 32 and rounded half up. */
ALWAYS __m512i exp_codes(const dt_coupling_format *f, __m512 below_top)
{
    const __m512i low = _mm512_loadu_si512(dt_caps_table.exp), high = _mm512_loadu_si512(dt_caps_table.exp + 16);
    const __m512i t = _mm512_cvttps_epi32(_mm512_mul_ps(below_top, _mm512_set1_ps(f->up)));
    const __m512i scaled = _mm512_mullo_epi32(t, _mm512_set1_epi32(f->exp.mul));
    const __m512i half = _mm512_set1_epi32(1 << f->exp.shift >> 1);
    const __m512i y = _mm512_sra_epi32(_mm512_add_epi32(scaled, half), _mm_cvtsi32_si128(f->exp.shift));
    const __m512i entry = _mm512_permutex2var_epi32(low, y, high), octaves = _mm512_srli_epi32(y, DT_EXP_BITS);
    const __m512i halves = _mm512_srli_epi32(_mm512_sllv_epi32(_mm512_set1_epi32(1), octaves), 1);

    return _mm512_srlv_epi32(_mm512_add_epi32(entry, halves), octaves);
}

/* Of dt_softmax_divisor_of. Doubles hold both numbers, and no quotient of theirs is nearer to a larger whole number
 * than 2^-16, so that the quotient's whole part is right. */
ALWAYS __m512i factors(__m512i sum, __m512i z)
{
    const __m512i by = _mm512_srlv_epi32(sum, _mm512_sub_epi32(z, _mm512_set1_epi32(DT_EXP_ONE)));
    const __m512d one = _mm512_set1_pd(0x1p31);
    const __m256i low = _mm512_cvttpd_epi32(_mm512_div_pd(one, _mm512_cvtepi32_pd(_mm512_castsi512_si256(by))));
    const __m256i high = _mm512_cvttpd_epi32(_mm512_div_pd(one, _mm512_cvtepi32_pd(_mm512_extracti32x8_epi32(by, 1))));

    return _mm512_inserti32x8(_mm512_castsi256_si512(low), high, 1);
}

/* Of 16 inputs; e * factor is at most 2^31. Half up: (x / 2^(shift - 1) + 1) / 2, rounded down twice. */
ALWAYS void coupling_codes_16(const dt_coupling_format *f, const float *b, int64_t span, float *c)
{
    const __m512i most = _mm512_set1_epi32((1 << f->bits) - 1), one = _mm512_set1_epi32(1);
    __m512 top = _mm512_loadu_ps(b);
    __m512i sum = _mm512_setzero_si512();

    for (int64_t k = 1; k < span; k++) top = _mm512_max_ps(top, _mm512_loadu_ps(b + 16 * k));
    for (int64_t k = 0; k < span; k++) {
        const __m512i e = exp_codes(f, _mm512_sub_ps(top, _mm512_loadu_ps(b + 16 * k)));
        _mm512_storeu_ps(c + 16 * k, _mm512_cvtepi32_ps(e));
        sum = _mm512_add_epi32(sum, e);
    }
    const __m512i exponent = _mm512_srli_epi32(_mm512_castps_si512(_mm512_cvtepi32_ps(sum)), 23); /* sum <= 2^24 */
    const __m512i z = _mm512_sub_epi32(exponent, _mm512_set1_epi32(127)), factor = factors(sum, z);
    const __m512i shift = _mm512_add_epi32(z, _mm512_set1_epi32(16 - f->frac - 1));
    for (int64_t k = 0; k < span; k++) {
        const __m512i e = _mm512_cvttps_epi32(_mm512_loadu_ps(c + 16 * k));
        const __m512i twice = _mm512_srlv_epi32(_mm512_mullo_epi32(e, factor), shift);
        const __m512i code = _mm512_min_epu32(_mm512_srli_epi32(_mm512_add_epi32(twice, one), 1), most);
        _mm512_storeu_ps(c + 16 * k, _mm512_mul_ps(_mm512_set1_ps(f->step), _mm512_cvtepi32_ps(code)));
    }
}

static DT_TARGET_AVX512 void coupling_codes_avx512(const dt_coupling_format *f, const float *b, int64_t capsules,
                                                   int64_t span, int n, float *c)
{
    if (n != DT_CAPS_GROUP) dt_caps_lanes_plain.coupling_codes(f, b, capsules, span, n, c);
    for (int64_t m = 0; n == DT_CAPS_GROUP && m < capsules; m += span)
        coupling_codes_16(f, b + m * DT_CAPS_GROUP, span, c + m * DT_CAPS_GROUP);
}

static DT_TARGET_AVX512 void softmax_avx512(const float *b, int64_t capsules, int64_t span, int n, float *c)
{
    softmax(b, capsules, span, n, c);
}

static DT_TARGET_AVX512 void softmax_backward_avx512(const float *c, int64_t capsules, int64_t span, int n, float *dc)
{
    softmax_backward(c, capsules, span, n, dc);
}

static DT_TARGET_AVX512 void give_avx512(const dt_vote_gradient *t, float *du)
{
    const int64_t width = t->capsules * t->dim;

    if (t->far && t->fresh && (uintptr_t)du % 64 == 0 && width % 16 == 0) {
        give(t, 1, du);
        _mm_sfence();
    } else {
        give(t, 0, du);
    }
}

static const dt_caps_lanes lanes = {
    .agreements = agreements_avx512,
    .add_weighted = add_weighted_avx512,
    .add = add_avx512,
    .logit_codes = logit_codes_avx512,
    .coupling_codes = coupling_codes_avx512,
    .softmax = softmax_avx512,
    .softmax_backward = softmax_backward_avx512,
    .give = give_avx512,
    .squash = squash_avx512,
    .squash_backward = squash_backward_avx512,
};

const dt_caps_lanes *const dt_caps_lanes_avx512 = &lanes;

#else

const dt_caps_lanes *const dt_caps_lanes_avx512 = &dt_caps_lanes_plain;

#endif
