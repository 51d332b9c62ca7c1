/*
 * requantize.h - from a sum of codes to a code, as inference engines compute it: each arithmetic has a name.
 *
 * Engines agree that a layer's integer sum becomes a code of the next scale, y = sum * M with M = s_x * s_w / s_y, and
 * they disagree on how that product is rounded. A *profile* names one engine's arithmetic:
 *
 *   profile     M as                        product rounded                        where it is found
 *   ref-double  31-bit integer and shift    twice: half up, then half from zero    TensorFlow Lite Micro, CMSIS-NN
 *   ref-single  31-bit integer and shift    once, half up                          TFLite with single rounding
 *   litert-ref  as ref-double, but fully connected layers round once               LiteRT 2.3's reference kernels
 *   fp32-rne    f32                         in f32, then half to even              XNNPACK, LiteRT's default
 *   onnx        none: real values           fl32(real sum) / s_y, half to even     ONNX Runtime, quantize-dequantize
 *   exact       none: thresholds            each step in f32, half to even         detent's evaluation of the model
 *
 * Under `exact` no REQUANTIZE is in a program: thresholds stand for it, which were bisected from evaluation. The image,
 * and sums and products of codes of two scales, are computed as evaluation's operators compute them, here.
 *
 * Codes here are q - zero point, so that code 0 is real 0. A zero point is where a code's range lies, and no addend.
 *
 * Sources: Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
 * inference", CVPR 2018, section 2.2 (31-bit multipliers); the TensorFlow Lite quantization specification. The
 * differences between engines were measured on their own outputs.
 * Ops: quant/requantize.c, quant/qbinary.c, quant/qmatmul.c, quant/qpool.c; softmax is in qsoftmax.h.
 * Tests: tests/quant/test_requantize.c, tests/quant/test_engine_vectors.c.
 */
#ifndef DT_REQUANTIZE_H
#define DT_REQUANTIZE_H

#include <math.h>

#include "detent/detent.h"
#include "../op_params.h"
#include "../rng.h" /* DT_HD */
#include "../declared.h"

/* How a product is rounded to an integer. */
typedef enum {
    DT_ROUND_TWICE,
    DT_ROUND_ONCE,
    DT_ROUND_F32,
    DT_ROUND_EXACT,
    DT_ROUND_EIGHTH_BITS,
    DT_ROUND_REAL,
    DT_ROUND_EVALUATED
} dt_product;

/* M of one channel, in the forms that its product needs. */
typedef struct {
    dt_product product;
    int32_t multiplier; /* in 2^30 .. 2^31 - 1, or 0 */
    int shift;          /* M = multiplier * 2^(shift - 31) */
    float factor;       /* F32: M; EIGHTH_BITS: M in 256ths; REAL: the scale of the sum */
    float scale_y;      /* REAL */
    double exact;       /* EXACT: M */
} dt_requantizer;

/* Sets multiplier and shift for M >= 0: a mantissa of 31 bits, rounded half up. An M below 2^-32 is 0. */
static inline DT_HD void dt_multiplier_of(double m, int32_t *multiplier, int *shift)
{
    int exponent = 0;
    int64_t mantissa = (int64_t)floor(frexp(m, &exponent) * 2147483648.0 + 0.5);

    if (mantissa == (int64_t)1 << 31) {
        mantissa /= 2;
        exponent++;
    }
    *multiplier = m == 0.0 || exponent < -31 ? 0 : (int32_t)mantissa;
    *shift = *multiplier == 0 ? 0 : exponent;
}

/* Returns x limited to 32 bits of two's complement. */
static inline DT_HD int64_t dt_saturate32(int64_t x)
{
    return x > INT32_MAX ? INT32_MAX : x < INT32_MIN ? INT32_MIN : x;
}

/* Returns a * b / 2^31, rounded half up; a and b have 32 bits. Engines add 2^30, or below zero 1 - 2^30, and truncate:
 * that is the same. */
static inline DT_HD int64_t dt_high_product(int64_t a, int64_t b)
{
    dt_declared_bits(a, 32, "high product", "factor");
    dt_declared_bits(b, 32, "high product", "factor");
    return dt_saturate32((a * b + ((int64_t)1 << 30)) >> 31);
}

/* Returns x / 2^bits, rounded half away from zero. */
static inline DT_HD int64_t dt_shift_away(int64_t x, int bits)
{
    const int64_t mask = ((int64_t)1 << dt_declared(bits, 0, 62, "shift away from zero", "shift")) - 1, rest = x & mask;

    return (x >> bits) + (rest > (mask >> 1) + (x < 0));
}

/* Returns x * multiplier * 2^(shift - 31), rounded after the product and again after the shift. Like the engines, it
 * wraps x * 2^shift to 32 bits. */
static inline DT_HD int64_t dt_product_twice(int64_t x, int32_t multiplier, int shift)
{
    const int left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
    const int32_t wrapped = (int32_t)(uint32_t)((uint64_t)x << left);

    return dt_shift_away(((int64_t)wrapped * multiplier + ((int64_t)1 << 30)) >> 31, right); /* a multiplier is >= 0 */
}

/* Returns the same product, rounded once, half up. */
static inline DT_HD int64_t dt_product_once(int64_t x, int32_t multiplier, int shift)
{
    const int bits = (int)dt_declared(31 - shift, 1, 62, "product rounded once", "shift");

    return (x * multiplier + ((int64_t)1 << (bits - 1))) >> bits;
}

/* Returns how a profile rounds the products of a kind of layer. */
static inline DT_HD dt_product dt_product_of(dt_profile profile, dt_requant_of of)
{
    if (profile == DT_PROFILE_EXACT) return DT_ROUND_EVALUATED;
    if (profile == DT_PROFILE_ONNX) return DT_ROUND_REAL;
    if (profile == DT_PROFILE_REF_SINGLE) return DT_ROUND_ONCE;
    if (profile == DT_PROFILE_LITERT_REF) return of == DT_REQUANT_LINEAR ? DT_ROUND_ONCE : DT_ROUND_TWICE;
    if (profile == DT_PROFILE_REF_DOUBLE || of == DT_REQUANT_MATMUL_SHIFTED) return DT_ROUND_TWICE;
    if (of == DT_REQUANT_MEAN) return DT_ROUND_EXACT;
    return of == DT_REQUANT_CODES ? DT_ROUND_EIGHTH_BITS : DT_ROUND_F32;
}

/* What a channel's requantizer follows from. A scale that there is none of is 1. */
typedef struct {
    dt_profile profile;
    dt_requant_of of;
    int count; /* MEAN: cells in a sum; else 1 */
    float scale_x, scale_w, scale_y;
} dt_requant_case;

/* Returns M in the precision in which the engines compute it for that kind of layer. */
static inline DT_HD double dt_requant_ratio(const dt_requant_case *c)
{
    const float product = c->scale_x * c->scale_w;

    switch (c->of) {
    case DT_REQUANT_MUL: return (double)(product / c->scale_y);
    case DT_REQUANT_MATMUL:
    case DT_REQUANT_MATMUL_SHIFTED: return (double)product / (double)c->scale_y;
    default: return (double)c->scale_x * (double)c->scale_w / (double)c->scale_y;
    }
}

/* Returns the requantizer of one channel. */
static inline DT_HD dt_requantizer dt_requantizer_of(const dt_requant_case *c)
{
    const double ratio = dt_requant_ratio(c);
    dt_requantizer r = { dt_product_of(c->profile, c->of),     0,          0,
                         c->scale_x * c->scale_w / c->scale_y, c->scale_y, ratio / (double)c->count };

    dt_multiplier_of(ratio, &r.multiplier, &r.shift);
    if (c->of == DT_REQUANT_MEAN) { /* the integer takes the division, as far as its bits go */
        int bits = 0;
        while (bits < 31 && (c->count >> (bits + 1)) > 0) bits++;
        if (bits > 31 + r.shift) bits = 31 + r.shift;
        r.multiplier = (int32_t)(((int64_t)r.multiplier << bits) / c->count);
        r.shift -= bits;
    }
    if (r.product == DT_ROUND_EIGHTH_BITS) r.factor = rintf(256.0f * (c->scale_x / c->scale_y));
    if (r.product == DT_ROUND_REAL) r.exact = (double)c->scale_x * (double)c->scale_w / (double)c->count;
    return r;
}

/* Returns the code of a sum, which has 32 bits, before it is limited to its range. product is r's; loops give it as a
 * constant. */
static inline DT_HD int64_t dt_requantized_by(dt_product product, const dt_requantizer *r, int64_t sum)
{
    dt_declared_bits(sum, 32, "requantize", "sum");
    switch (product) {
    case DT_ROUND_TWICE: return dt_product_twice(sum, r->multiplier, r->shift);
    case DT_ROUND_ONCE: return dt_product_once(sum, r->multiplier, r->shift);
    case DT_ROUND_F32: return (int64_t)rintf((float)sum * r->factor);
    case DT_ROUND_EXACT: return (int64_t)rint((double)sum * r->exact);
    case DT_ROUND_EIGHTH_BITS: return (sum * (int64_t)r->factor + 128) >> 8;
    default: return (int64_t)rintf((float)((double)sum * r->exact) / r->scale_y);
    }
}

/* Returns the code of a product of two codes, EVALUATED: both are made real. It is not limited to its range. */
static inline DT_HD int64_t dt_evaluated_product(float a, float scale_a, float b, float scale_b, float scale_y)
{
    const float real_a = scale_a * a, real_b = scale_b * b;

    return (int64_t)rintf(real_a * real_b / scale_y);
}

/* Returns the code of a sum, as above. */
static inline DT_HD int64_t dt_requantized(const dt_requantizer *r, int64_t sum)
{
    return dt_requantized_by(r->product, r, sum);
}

/* Returns x limited to low..high. */
static inline DT_HD int64_t dt_within(int64_t x, int low, int high)
{
    return x < low ? low : x > high ? high : x;
}

/* Returns x rounded to an integer, half away from zero. */
static inline DT_HD double dt_half_away(double x)
{
    return x < 0.0 ? ceil(x - 0.5) : floor(x + 0.5);
}

/* Returns the code of a real value, not limited to its range yet. A NaN stays one. */
static inline DT_HD float dt_quantized(float x, float scale, dt_profile profile)
{
    if (profile == DT_PROFILE_FP32_RNE) return rintf(x * (1.0f / scale));
    if (profile == DT_PROFILE_ONNX || profile == DT_PROFILE_EXACT) return rintf(x / scale);
    return (float)dt_half_away((double)(x / scale));
}

/* Returns the code that a truncating cast makes of a real value; zero is the zero point of int8. The remainder of the
 * division by 256 is exact. A NaN stays one, and an infinity becomes one. */
static inline DT_HD float dt_cast_code(float x, float scale, int zero, dt_image_cast cast)
{
    const float lowest = cast == DT_CAST_TRUNCATE_I8 ? -128.0f : 0.0f;
    const float stored_zero = (float)(cast == DT_CAST_TRUNCATE_I8 ? zero : zero + 128);
    float stored = fmodf(truncf(x / scale + stored_zero), 256.0f);

    if (stored < lowest) stored += 256.0f;
    if (stored > lowest + 255.0f) stored -= 256.0f;
    return stored - stored_zero;
}

/* Returns the code of a real value of the image, within its range. A NaN stays one. */
static inline DT_HD float dt_image_code(float x, float scale, const dt_quantize_params *p)
{
    const float code =
        p->cast == DT_CAST_ROUND ? dt_quantized(x, scale, p->profile) : dt_cast_code(x, scale, p->zero, p->cast);

    return code < (float)p->low ? (float)p->low : code > (float)p->high ? (float)p->high : code;
}

/* The sum or the difference of codes of two scales. */
typedef struct {
    dt_product product; /* TWICE and ONCE: each addend, 20 bits up, and the sum are multiplied; F32: integers a and b of
                           `shift` fraction bits; REAL, EVALUATED: f32 */
    int32_t a, b, y;
    int a_shift, b_shift, shift;
    float scale_a, scale_b, scale_y; /* scale_b has the difference's sign */
} dt_adder;

/* Returns the adder of a profile. sign is 1 for a sum, and -1 for a difference. */
static inline DT_HD dt_adder dt_adder_of(dt_profile profile, float scale_a, float scale_b, float scale_y, int sign)
{
    const double larger = scale_a > scale_b ? (double)scale_a : (double)scale_b;
    dt_adder r = { dt_product_of(profile, DT_REQUANT_MUL), 0, 0, 0, 0, 0, 0, scale_a, (float)sign * scale_b, scale_y };

    if (r.product == DT_ROUND_F32) {
        const float ratio_a = scale_a / scale_y, ratio_b = scale_b / scale_y;
        int exponent = 0;
        frexp((double)(ratio_a > ratio_b ? ratio_a : ratio_b), &exponent);
        r.shift = 21 - (exponent > -40 ? exponent : -40); /* so that it stays below 62; smaller addends are 0 */
        r.a = (int32_t)rint(ldexp((double)ratio_a, r.shift));
        r.b = (int32_t)rint(ldexp((double)ratio_b, r.shift));
    } else {
        dt_multiplier_of((double)scale_a / (2.0 * larger), &r.a, &r.a_shift);
        dt_multiplier_of((double)scale_b / (2.0 * larger), &r.b, &r.b_shift);
        dt_multiplier_of(2.0 * larger / (1048576.0 * (double)scale_y), &r.y, &r.shift);
    }
    if (r.product != DT_ROUND_REAL && sign < 0) r.b = -r.b;
    return r;
}

/* Returns the code of a +- b before it is limited to its range. */
static inline DT_HD int64_t dt_added(const dt_adder *r, int64_t a, int64_t b)
{
    const int64_t up = (int64_t)1 << 20;

    switch (r->product) {
    case DT_ROUND_TWICE: {
        const int64_t first = dt_product_twice(a * up, r->a, r->a_shift);
        const int64_t second =
            r->b < 0 ? -dt_product_twice(b * up, -r->b, r->b_shift) : dt_product_twice(b * up, r->b, r->b_shift);
        return dt_product_twice(first + second, r->y, r->shift);
    }
    case DT_ROUND_ONCE: {
        const int64_t first = dt_product_once(a * up, r->a, r->a_shift);
        const int64_t second =
            r->b < 0 ? -dt_product_once(b * up, -r->b, r->b_shift) : dt_product_once(b * up, r->b, r->b_shift);
        return dt_product_once(first + second, r->y, r->shift);
    }
    case DT_ROUND_F32: return (a * r->a + b * r->b + ((int64_t)1 << (r->shift - 1))) >> r->shift;
    default: return (int64_t)rintf(((float)a * r->scale_a + (float)b * r->scale_b) / r->scale_y);
    }
}

/* Returns the average of n codes of that sum: rounded half away from the code whose stored integer is 0, because the
 * engines average stored integers, q = code + zero. ONNX Runtime rounds the real average half to even. */
static inline DT_HD int64_t dt_averaged(int64_t sum, int n, int zero, dt_profile profile)
{
    const int64_t stored = sum + (int64_t)n * zero, half = n / 2;

    if (profile == DT_PROFILE_ONNX) return (int64_t)rint((double)sum / (double)n);
    return (stored > 0 ? (stored + half) / n : -((-stored + half) / n)) - zero;
}

#endif /* DT_REQUANTIZE_H */
