/*
 * requantize_avx512.c - see requantize_avx512.h. The arithmetic, with its ranges, is that of the functions of the same
 *                       names in core/arith/requantize_lanes.h.  Tests: tests/quant/test_requantize_lines.c.
 */
#include "requantize_avx512.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define LANES __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))

enum { WIDTH = 16 };

/* (x * multiplier + add) >> bits, of which 32 bits are all; bits is a constant */
static inline LANES __m512i high(__m512i x, __m512i multiplier, int64_t add, int bits)
{
    const __m512i rounds = _mm512_set1_epi64(add);
    const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(x, multiplier), rounds);
    const __m512i x_odd = _mm512_srli_epi64(x, 32), multiplier_odd = _mm512_srli_epi64(multiplier, 32);
    const __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(x_odd, multiplier_odd), rounds);

    return _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, (unsigned)bits),
                                   _mm512_slli_epi64(odd, (unsigned)(32 - bits)));
}

/* How a vector of high products is shifted: dt_lane_shift. */
typedef struct {
    __m512i bits, half, below;
} shifts;

static inline LANES __m512i lanes_twice(__m512i x, __m512i multiplier, const shifts *s)
{
    const __m512i h = high(x, multiplier, (int64_t)1 << 30, 31);
    const __m512i down = _mm512_and_si512(_mm512_srai_epi32(h, 31), s->below);

    return _mm512_srav_epi32(_mm512_add_epi32(_mm512_add_epi32(h, s->half), down), s->bits);
}

static inline LANES __m512i lanes_once(__m512i x, __m512i multiplier, const shifts *s)
{
    const __m512i h = _mm512_srav_epi32(high(x, multiplier, 0, 30), s->bits);

    return _mm512_srai_epi32(_mm512_add_epi32(h, _mm512_set1_epi32(1)), 1);
}

static inline LANES __m512i product_of(dt_product product, __m512i x, __m512i multiplier, const shifts *s)
{
    return product == DT_ROUND_TWICE ? lanes_twice(x, multiplier, s) : lanes_once(x, multiplier, s);
}

/* The mask of a whole vector. A loop over whole vectors has it as a constant, of which the compiler makes no mask:
 * masked stores are slow. */
enum { ALL = 0xffff };

/* The mask of n < WIDTH lanes. */
static inline LANES __mmask16 lanes_of(int64_t n)
{
    return (__mmask16)((1u << n) - 1u);
}

static inline LANES __m512 load_floats(__mmask16 mask, const float *x)
{
    return mask == ALL ? _mm512_loadu_ps(x) : _mm512_maskz_loadu_ps(mask, x);
}

static inline LANES __m512i load_integers(__mmask16 mask, const int32_t *x)
{
    return mask == ALL ? _mm512_loadu_si512(x) : _mm512_maskz_loadu_epi32(mask, x);
}

static inline LANES void store_within(float *code, __mmask16 mask, __m512i q, int32_t low, int32_t most)
{
    const __m512i limited = _mm512_min_epi32(_mm512_max_epi32(q, _mm512_set1_epi32(low)), _mm512_set1_epi32(most));

    if (mask == ALL)
        _mm512_storeu_ps(code, _mm512_cvtepi32_ps(limited));
    else
        _mm512_mask_storeu_ps(code, mask, _mm512_cvtepi32_ps(limited));
}

/* Codes i .. of the mask; most grows to the sums' magnitude. product and ALL are constants wherever this is inlined. */
static inline __attribute__((always_inline)) LANES void line_vector(const dt_requant_line *l, dt_product product,
                                                                    const float *x, __mmask16 mask, int64_t i,
                                                                    __m512i *most, float *code)
{
    const __m512 limit = _mm512_set1_ps((float)DT_F32_EXACT), least = _mm512_set1_ps(-(float)DT_F32_EXACT);
    const __m512 real = load_floats(mask, x + i);
    const __m512i sum = _mm512_add_epi32(_mm512_cvttps_epi32(_mm512_max_ps(_mm512_min_ps(real, limit), least)),
                                         load_integers(mask, l->bias + i));
    const __m512i raised = _mm512_sllv_epi32(sum, load_integers(mask, l->left + i));
    const shifts s = { load_integers(mask, l->right + i), load_integers(mask, l->half + i),
                       load_integers(mask, l->below + i) };
    const __m512i q = product_of(product, raised, load_integers(mask, l->multiplier + i), &s);

    *most = _mm512_max_epi32(*most, _mm512_and_si512(_mm512_castps_si512(real), _mm512_set1_epi32(INT32_MAX)));
    store_within(code + i, mask, q, l->low, l->high);
}

/* product is a constant wherever this is inlined */
static inline __attribute__((always_inline)) LANES int32_t one_line(const dt_requant_line *line, dt_product product,
                                                                    const float *x, int64_t n, float *code)
{
    const dt_requant_line l = *line; /* so that no store may change it */
    __m512i most = _mm512_setzero_si512();
    int64_t i = 0;

    for (; i + WIDTH <= n; i += WIDTH) line_vector(&l, product, x, ALL, i, &most, code);
    if (i < n) line_vector(&l, product, x, lanes_of(n - i), i, &most, code);
    return _mm512_reduce_max_epi32(most);
}

LANES int32_t dt_requantize_avx512(const dt_requant_line *line, const float *x, int64_t n, float *code)
{
    if (line->product == DT_ROUND_TWICE) return one_line(line, DT_ROUND_TWICE, x, n, code);
    return one_line(line, DT_ROUND_ONCE, x, n, code);
}

static inline LANES shifts shifts_of(const dt_lane_shift *s)
{
    return (shifts){ _mm512_set1_epi32(s->bits), _mm512_set1_epi32(s->half), _mm512_set1_epi32(s->below) };
}

/* Codes as integers, times 2^bits, with a sign of 0 or -1; bits is a constant. */
static inline LANES __m512i codes_up(const float *x, __mmask16 mask, unsigned bits)
{
    const __m512 code = load_floats(mask, x);

    return _mm512_slli_epi32(_mm512_maskz_cvttps_epi32(_mm512_cmp_ps_mask(code, code, _CMP_ORD_Q), code), bits);
}

static inline LANES __m512i signed_by(__m512i x, __m512i sign)
{
    return _mm512_sub_epi32(_mm512_xor_si512(x, sign), sign);
}

/* Codes of the mask. product and ALL are constants wherever this is inlined. */
static inline __attribute__((always_inline)) LANES void sum_vector(const dt_adder_lanes *l, dt_product product,
                                                                   const float *near, const float *far, __mmask16 mask,
                                                                   float *code)
{
    const shifts far_shift = shifts_of(&l->far_shift), y_shift = shifts_of(&l->y_shift);
    const __m512i raised = codes_up(far, mask, 20);
    const __m512i part = product_of(product, raised, _mm512_set1_epi32(l->far_multiplier), &far_shift);
    const __m512i second = signed_by(part, _mm512_set1_epi32(l->far_sign));
    const __m512i first = signed_by(codes_up(near, mask, 19), _mm512_set1_epi32(l->near_sign));
    const __m512i sum = _mm512_add_epi32(first, second);

    store_within(code, mask, product_of(product, sum, _mm512_set1_epi32(l->y_multiplier), &y_shift), l->low, l->high);
}

/* product is a constant wherever this is inlined */
static inline __attribute__((always_inline)) LANES void
sums_by(const dt_adder_lanes *lanes, dt_product product, const float *near, const float *far, int64_t n, float *code)
{
    const dt_adder_lanes l = *lanes; /* so that no store may change it */
    int64_t i = 0;

    for (; i + WIDTH <= n; i += WIDTH) sum_vector(&l, product, near + i, far + i, ALL, code + i);
    if (i < n) sum_vector(&l, product, near + i, far + i, lanes_of(n - i), code + i);
}

LANES void dt_qadd_avx512(const dt_adder_lanes *lanes, const float *near, const float *far, int64_t n, float *code)
{
    if (lanes->product == DT_ROUND_TWICE)
        sums_by(lanes, DT_ROUND_TWICE, near, far, n, code);
    else
        sums_by(lanes, DT_ROUND_ONCE, near, far, n, code);
}

#endif /* else never called: see dt_lines_best */
