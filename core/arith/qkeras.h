/*
 * qkeras.h - integers as QKeras-Mod makes them: symmetric weights and biases, affine activations, and the product of
 *            both, all of it in double.
 *
 * A code of N bits lies in -high .. high with high = 2^(N-1) - 1, so that there are levels = 2 high = 2^N - 2 steps.
 * `away` rounds half away from 0.
 *
 * Weights and biases, quantized_bits(N, N, 1, 1, alpha = 'auto'), of one scale a channel or a tensor:
 *   scale = 2 max|w| / levels,  code = limit(away(w / scale)).  A channel of zeros has scale 0 and codes 0.
 *
 * Activations have two forms, which are not the same grid. With alpha and beta, the least and the largest value,
 *   t = (beta (-high) - alpha high) / (beta - alpha)
 *
 *   in training, quantized_bits_featuremap(N, N, 1, 1, alpha = 'auto', scale_axis = 0), of one image:
 *     values below 1e-7 in magnitude are 0;  scale = 2 max(|alpha|, |beta|) / levels;  zero = away(t)
 *     code = limit(away(x / scale + zero - 0.00001526)),  value = scale (code - zero)
 *     After a ReLU one half of the codes is not used.
 *   exported, with alpha and beta of the images of a calibration:
 *     scale = (beta - alpha) / levels;  zero = t rounded half to EVEN;  code = limit(away(x / scale + zero))
 *   A quotient that is no number, or infinite, is 0. zero is no code where the range does not hold 0, and the limits
 *   then cut the lowest or the highest values.
 *
 * The exported form of a sum of products, as Mao's log book has it (eq. of quantized matrix multiplication):
 *   Y = limit(away(zY + sb / sY (b - zb) + sX sW / sY (sum X W - zW sum X - zX sum W + p zX zW)))
 * Here zW = zb = 0. zX sum W depends on no image: it is the notebook's subq1. Padding must have the code zX.
 *
 * Two things differ from QKeras on purpose. There 2^N of 31 bits wraps to -2^31, so that scale and codes are negated;
 * and that of 32 bits wraps to 0, so that they are NaN. Here they are positive numbers of the formula.
 *
 * Sources: the QKeras-Mod notebook, chapters 1 and 3; quantizers.py of QKeras-Mod, measured; Mao, "Quantization for
 * Neural Networks", 2020.  Used by: quant/extract.c, quant/featuremap_quant.c.  Tests: tests/core/test_qkeras.c,
 * tests/quant/test_qkeras_network.c.
 */
#ifndef DT_QKERAS_H
#define DT_QKERAS_H

#include "range.h" /* dt_round_away */

#include <stdint.h>

enum { DT_QKERAS_BITS_MIN = 2, DT_QKERAS_BITS_MAX = 32 };

/* QKeras adds this before it rounds an activation's code, so that hardware and Keras agree on ties. */
#define DT_QKERAS_BIAS (-0.00001526)
/* Activations of a smaller magnitude are 0 in training: the epsilon of Keras. */
#define DT_QKERAS_EPSILON 1e-7

/* The codes of an activation. */
typedef struct {
    double scale; /* real size of one step; negative where alpha > beta, as a maximum of magnitudes may give */
    double zero;  /* the code of the value 0, an integer */
} dt_qkeras_grid;

/* Returns the largest code. bits: DT_QKERAS_BITS_MIN .. DT_QKERAS_BITS_MAX, here and below. */
static inline DT_HD double dt_qkeras_high(int bits)
{
    return (double)(((int64_t)1 << (bits - 1)) - 1);
}

static inline DT_HD double dt_qkeras_limit(double code, int bits)
{
    const double high = dt_qkeras_high(bits);

    return code < -high ? -high : code > high ? high : code;
}

static inline DT_HD double dt_qkeras_finite(double v)
{
    return fabs(v) < INFINITY ? v : 0.0;
}

/* ---- weights and biases ---- */

/* Returns the scale of weights whose largest magnitude is given; 0 if that is 0. */
static inline DT_HD double dt_qkeras_scale(double magnitude, int bits)
{
    return 2.0 * magnitude / (2.0 * dt_qkeras_high(bits));
}

/* Returns the code of a weight, 0 where the scale is 0. w is finite. */
static inline DT_HD int32_t dt_qkeras_code(double w, double scale, int bits)
{
    return scale == 0.0 ? 0 : (int32_t)dt_qkeras_limit(dt_round_away(w / scale), bits);
}

/* ---- activations ---- */

/* Returns t: where the value 0 lies among the codes, not rounded. 0 if the range has no width. */
static inline DT_HD double dt_qkeras_zero(double alpha, double beta, int bits)
{
    const double high = dt_qkeras_high(bits);

    return dt_qkeras_finite((beta * -high - alpha * high) / (beta - alpha));
}

/* Returns the value that training quantizes. */
static inline DT_HD double dt_qkeras_flush(double x)
{
    return fabs(x) < DT_QKERAS_EPSILON ? 0.0 : x;
}

/* Return the lesser and the greater of two values, and NaN if one of them is: in any order of more. */
static inline DT_HD double dt_qkeras_least(double a, double b)
{
    return isnan(a) || a < b ? a : b;
}

static inline DT_HD double dt_qkeras_most(double a, double b)
{
    return isnan(a) || a > b ? a : b;
}

/* Returns the grid of training for an image whose values, after dt_qkeras_flush, lie in alpha .. beta. */
static inline DT_HD dt_qkeras_grid dt_qkeras_training_grid(double alpha, double beta, int bits)
{
    const double magnitude = dt_qkeras_most(fabs(alpha), fabs(beta));
    const dt_qkeras_grid grid = { dt_qkeras_scale(magnitude, bits), dt_round_away(dt_qkeras_zero(alpha, beta, bits)) };

    return grid;
}

/* Returns the code that training gives a value, -high .. high. The value that it stands for is scale (code - zero). */
static inline DT_HD double dt_qkeras_training_code(double x, const dt_qkeras_grid *grid, int bits)
{
    const double steps = grid->scale == 0.0 ? 0.0 : dt_qkeras_flush(x) / grid->scale;

    return dt_qkeras_limit(dt_round_away(steps + grid->zero + DT_QKERAS_BIAS), bits);
}

/* Returns the value for which that code stands, as f32; NaN where the grid has no finite scale. */
static inline DT_HD float dt_qkeras_training_value(double x, const dt_qkeras_grid *grid, int bits)
{
    return (float)(grid->scale * (dt_qkeras_training_code(x, grid, bits) - grid->zero));
}

/* Returns the exported grid of a range. alpha > beta is allowed, and nothing good comes of it. */
static inline DT_HD dt_qkeras_grid dt_qkeras_export_grid(double alpha, double beta, int bits)
{
    const double levels = 2.0 * dt_qkeras_high(bits);
    const dt_qkeras_grid grid = { dt_qkeras_finite((beta - alpha) / levels), rint(dt_qkeras_zero(alpha, beta, bits)) };

    return grid;
}

/* Returns the code of a value on the exported grid, -high .. high. */
static inline DT_HD double dt_qkeras_export_code(double x, const dt_qkeras_grid *grid, int bits)
{
    const double steps = grid->scale == 0.0 ? 0.0 : x / grid->scale;

    return dt_qkeras_limit(dt_round_away(steps + grid->zero), bits);
}

/* ---- the product ---- */

/* One output of a layer: p products of codes X and W, and the code b of its bias. Sums are exact. */
typedef struct {
    int64_t sum_xw, sum_x, sum_w, p;
    int64_t b;
    int64_t x_zero, w_zero, b_zero; /* zero points; the product of any two, times p, fits 64 bits */
    double x_scale, w_scale, b_scale;
    dt_qkeras_grid y; /* its scale is not 0 */
} dt_qkeras_product;

/* Returns sum X W - zW sum X - zX sum W + p zX zW, which is the sum of (X - zX) (W - zW). */
static inline DT_HD int64_t dt_qkeras_sum(const dt_qkeras_product *p)
{
    return p->sum_xw - p->w_zero * p->sum_x - p->x_zero * p->sum_w + p->p * p->x_zero * p->w_zero;
}

/* Returns the code Y, -high .. high of so many bits. */
static inline DT_HD double dt_qkeras_output(const dt_qkeras_product *p, int bits)
{
    const double bias = p->b_scale / p->y.scale * (double)(p->b - p->b_zero);
    const double sum = p->x_scale * p->w_scale / p->y.scale * (double)dt_qkeras_sum(p);

    return dt_qkeras_limit(dt_round_away(p->y.zero + bias + sum), bits);
}

#endif /* DT_QKERAS_H */
