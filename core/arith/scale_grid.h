/*
 * scale_grid.h - the grid of a quantizer whose scale is given: QONNX's Quant and BipolarQuant, and ONNX's
 * QuantizeLinear with the limits of a Clip.
 *
 *   code = integer(limit(v / scale + zero)) - zero,  limit to low + zero .. high + zero,  each operation in f32
 *   bipolar: code = 1 where v >= 0, else -1
 *
 * A file stores code + zero, so that a tie is to even as the file counts. Gradient of the value, straight through: 1
 * where the limits leave v / scale + zero as it is, else 0; bipolar: 1 where |v| <= scale. A NaN has the code NaN.
 *
 * Sources: QONNX's definition of Quant and BipolarQuant (arXiv 2206.07527, and the package's numpy code); ONNX's
 * QuantizeLinear; for the bipolar gradient Courbariaux et al., arXiv 1602.02830, eq. 4.
 * Operator: quant/scale_quant.c.  Tests: tests/quant/test_scale_quant.c.
 */
#ifndef DT_SCALE_GRID_H
#define DT_SCALE_GRID_H

#include <math.h>

#include "../op_params.h"
#include "grid.h" /* dt_clamp */

/* Returns the integer that v is rounded to. */
static inline DT_HD float dt_integer_of(float v, dt_code_rounding rounding)
{
    switch (rounding) {
    case DT_TO_HALF_EVEN: return rintf(v);
    case DT_TO_HALF_UP: return copysignf(floorf(fabsf(v) + 0.5f), v);
    case DT_TO_HALF_DOWN: return copysignf(ceilf(fabsf(v) - 0.5f), v);
    case DT_TO_CEIL: return ceilf(v);
    case DT_TO_FLOOR: return floorf(v);
    case DT_TO_UP: return copysignf(ceilf(fabsf(v)), v);
    case DT_TO_DOWN: return truncf(v);
    case DT_TO_SIGN: break; /* of no number */
    }
    return v != v ? v : v >= 0.0f ? 1.0f : -1.0f;
}

/* Returns the code of a value. Code 0 has no sign. */
static inline DT_HD float dt_scale_code(float v, float scale, const dt_scale_quant_params *p)
{
    const float zero = (float)p->zero;

    if (p->rounding == DT_TO_SIGN) return dt_integer_of(v, DT_TO_SIGN);
    const float limited = dt_clamp(v / scale + zero, (float)p->low + zero, (float)p->high + zero);
    return dt_integer_of(limited, p->rounding) - zero + 0.0f;
}

/* Returns the factor on the gradient of the value. */
static inline DT_HD float dt_scale_slope(float v, float scale, const dt_scale_quant_params *p)
{
    const float zero = (float)p->zero, q = v / scale + zero;

    if (p->rounding == DT_TO_SIGN) return fabsf(v) <= scale ? 1.0f : 0.0f;
    return q >= (float)p->low + zero && q <= (float)p->high + zero ? 1.0f : 0.0f;
}

#endif /* DT_SCALE_GRID_H */
