/*
 * grid.h - the arithmetic of the integer grid: from a real value to its code, and the straight-through gradients.
 *
 * The CPU, CUDA and the emulated array all include this header, so that they cannot disagree. Rounding is half to even
 * everywhere (rintf in the default mode). The operations and their order are those of the notebook's f32 quantizers,
 * and no product is contracted with a sum. Therefore equal inputs give equal bits on every backend.
 *
 * Weights, clip rules (b bits, n = 2^(b-1) - 1, clip alpha, mean mu and unbiased deviation sd of the weights that share
 * alpha):
 *   x = ((w + (-mu)) / sd) / alpha,  code = sign(x) * rint(min(|x|, 1) * n),  real = code * (alpha / n)
 *   Weights without spread have an infinite sd, so that x, codes and gradients are 0.
 * Weights, LSQ (step s, codes -2^(b-1)..n):
 *   x = w / s,  code = rint(clip(x)),  real = code * s
 * Activations, clip rules (m = 2^b - 1, or 2^(b-1) - 1 if signed; clip alpha):
 *   x = v / alpha,  code = rint(clip(x, low, 1) * m),  real = code * (alpha / m)
 *   low is 0, or -1 if signed; there is none if unclamped, as in the notebook (behind a ReLU that changes nothing)
 * Activations, LSQ (step s, codes 0..m):
 *   x = v / s,  code = rint(clip(x, low, m)),  real = code * s
 *   low is 0, or -m if signed; there is none if unclamped
 *
 * Gradients, with g = dL/d real. A rule multiplies g by one factor for the gradient of the value, and by another for
 * that of alpha, which is summed over all values:
 *   rule     value, inside | outside    alpha, inside                  alpha, outside
 *   ECE284   1             | 0          0                              sign(x)
 *   SCREAM   1             | 0          code/n - x                     sign(x)
 *   APOT     1             | 1 (weights), 0 (activations)  code/n - x  sign(x)
 *   PACT     1 for 0 <= v < alpha | 0   0                              1 for v >= alpha (weights: as ECE284)
 *   LSQ      1             | 0          code - x                       -Qn or Qp, all times 1/sqrt(count * Qp)
 * A value is outside if |x| > 1 (weights), or if x > 1 or x < low (activations); with LSQ if x <= -Qn or x >= Qp, the
 * least and the largest code. The gradient takes mu and sd as constants: dL/dw = factor * g / sd.
 *
 * Sources: the VGG16 QAT notebook's weight_quantize_fn and act_quantization (ECE284); Li, Dong, Wang, "Additive powers
 * of two quantization", ICLR 2020 (APOT); Choi et al., "PACT", arXiv 1805.06085, eq. 1-3; Esser et al., "Learned step
 * size quantization", ICLR 2020, eq. 1-3 and section 2.2.
 * Ops: weight_quant.c, act_quant.c.  Tests: tests/core/test_grid.c, and golden values in tests/golden/.
 */
#ifndef DT_GRID_H
#define DT_GRID_H

#include <math.h>

#include "detent/detent.h"
#include "../rng.h" /* DT_HD */

/* f32 holds every integer up to this magnitude, so that sums of codes that stay below it are exact in any order. */
#define DT_F32_EXACT ((int64_t)1 << 24)

/* A quantizer's constants. Codes lie in [low, high]; high is n, m or Qp above. */
typedef struct {
    int low, high;
    float step_factor; /* LSQ: 1/sqrt(count * Qp), on the gradient of the step */
} dt_grid;

/* The two factors on g for one value: dL/dv += value * g, dL/dalpha += alpha * g. */
typedef struct {
    float value, alpha;
} dt_grid_slope;

/* Returns the largest code of a weight, n. */
static inline DT_HD int dt_weight_high(int bits)
{
    return (1 << (bits - 1)) - 1;
}

/* Returns the least code of a weight. */
static inline DT_HD int dt_weight_low(int bits, dt_quant_rule rule)
{
    return rule == DT_RULE_LSQ ? -(1 << (bits - 1)) : -dt_weight_high(bits);
}

/* Returns the largest code of an activation, m. */
static inline DT_HD int dt_act_high(int bits, int is_signed)
{
    return is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
}

/* Where codes are unclamped, they are taken to be no less than this. The code of a normalised pixel is far above it for
 * any useful clip. */
enum { DT_ACT_UNCLAMPED_LOW = -32767 };

/* Returns the least code of an activation. */
static inline DT_HD int dt_act_low(int bits, int is_signed, int unclamped)
{
    return unclamped ? (int)DT_ACT_UNCLAMPED_LOW : is_signed ? -dt_act_high(bits, 1) : 0;
}

/* Returns the scale: alpha / high for the clip rules; for LSQ alpha, which is the step itself. */
static inline DT_HD float dt_grid_scale(float alpha, int high, dt_quant_rule rule)
{
    return rule == DT_RULE_LSQ ? alpha : alpha / (float)high;
}

/* Returns x limited to [low, high]. It compares instead of calling fminf: loops vectorise, and a NaN stays one. */
static inline DT_HD float dt_clamp(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}

/* Returns LSQ's factors, for weights and activations. x is the value in steps. */
static inline DT_HD dt_grid_slope dt_step_slope(float x, float low, const dt_grid *grid)
{
    const float high = (float)grid->high;
    const float alpha = x <= low ? low : x >= high ? high : rintf(x) - x;
    const dt_grid_slope s = { x <= low ? 0.0f : x >= high ? 0.0f : 1.0f, alpha * grid->step_factor };
    return s;
}

/* Returns the factor of element-wise gradient scaling on a gradient g of a value that is x steps from 0: g grows where
 * it moves the value away from its code, and shrinks where it moves it towards the code. 1 where ewgs is 0. Source:
 * Lee, Kim, Ham, "Network quantization with element-wise gradient scaling", CVPR 2021, eq. 5, in steps. */
static inline DT_HD float dt_ewgs_factor(float x, float g, float ewgs)
{
    const float off = x - rintf(x);
    return 1.0f + ewgs * (g > 0.0f ? off : g < 0.0f ? -off : 0.0f);
}

/* Returns that factor for an activation, whose x is v / alpha, and whose quantizer has these constants. */
static inline DT_HD float dt_act_ewgs_factor(float x, float g, const dt_grid *grid, dt_quant_rule rule, float ewgs)
{
    return dt_ewgs_factor(rule == DT_RULE_LSQ ? x : x * (float)grid->high, g, ewgs);
}

/* ---- weights ---- */

/* Returns x: w standardised, in units of the clip; for LSQ w in steps. */
static inline DT_HD float dt_weight_unit(float w, float mean, float deviation, float alpha, dt_quant_rule rule)
{
    return rule == DT_RULE_LSQ ? w / alpha : (w + -mean) / deviation / alpha;
}

/* Returns the code of a weight from its x. */
static inline DT_HD float dt_weight_code(float x, const dt_grid *grid, dt_quant_rule rule)
{
    if (rule == DT_RULE_LSQ) return rintf(dt_clamp(x, (float)grid->low, (float)grid->high));
    return rintf(dt_clamp(x, -1.0f, 1.0f) * (float)grid->high); /* equals the form above: both are odd in x */
}

/* Returns the factors of a weight from its x. */
static inline DT_HD dt_grid_slope dt_weight_slope(float x, const dt_grid *grid, dt_quant_rule rule)
{
    if (rule == DT_RULE_LSQ) return dt_step_slope(x, (float)grid->low, grid);
    const int outside = fabsf(x) > 1.0f, learns_inside = rule == DT_RULE_APOT || rule == DT_RULE_SCREAM;
    const float sign = x > 0.0f ? 1.0f : -1.0f;
    const float inside = learns_inside ? dt_weight_code(x, grid, rule) / (float)grid->high - x : 0.0f;
    const dt_grid_slope s = { rule == DT_RULE_APOT ? 1.0f : outside ? 0.0f : 1.0f, outside ? sign : inside };
    return s;
}

/* ---- activations ---- */

/* Returns the code of an activation from x = v / alpha. */
static inline DT_HD float dt_act_unit_code(float x, const dt_grid *grid, int unclamped, dt_quant_rule rule)
{
    if (rule == DT_RULE_LSQ) return rintf(dt_clamp(x, unclamped ? -INFINITY : (float)grid->low, (float)grid->high));
    const float low = unclamped ? -INFINITY : grid->low < 0 ? -1.0f : 0.0f;
    return rintf(dt_clamp(x, low, 1.0f) * (float)grid->high);
}

/* Returns the code of an activation v. */
static inline DT_HD float dt_act_code(float v, float alpha, const dt_grid *grid, int unclamped, dt_quant_rule rule)
{
    return dt_act_unit_code(v / alpha, grid, unclamped, rule);
}

/* Returns the factors of an activation from x = v / alpha. */
static inline DT_HD dt_grid_slope dt_act_unit_slope(float x, const dt_grid *grid, int unclamped, dt_quant_rule rule)
{
    if (rule == DT_RULE_LSQ) return dt_step_slope(x, unclamped ? -INFINITY : (float)grid->low, grid);
    const float at_low = grid->low < 0 ? -1.0f : 0.0f, low = unclamped ? -INFINITY : at_low;
    if (rule == DT_RULE_PACT) {
        const float reached = x >= 1.0f ? 1.0f : 0.0f; /* exactly where v >= alpha: a smaller v gives x < 1 */
        const dt_grid_slope s = { x < low ? 0.0f : 1.0f - reached, reached };
        return s;
    }
    const int learns_inside = rule == DT_RULE_APOT || rule == DT_RULE_SCREAM;
    const float inside = learns_inside ? rintf(x * (float)grid->high) / (float)grid->high - x : 0.0f;
    const float below = x < low ? at_low : inside;
    const dt_grid_slope s = { x > 1.0f ? 0.0f : x < low ? 0.0f : 1.0f, x > 1.0f ? 1.0f : below };
    return s;
}

/* Returns the factors of an activation v. */
static inline DT_HD dt_grid_slope dt_act_slope(float v, float alpha, const dt_grid *grid, int unclamped,
                                               dt_quant_rule rule)
{
    return dt_act_unit_slope(v / alpha, grid, unclamped, rule);
}

#endif /* DT_GRID_H */
