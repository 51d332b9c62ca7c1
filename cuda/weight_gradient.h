/*
 * weight_gradient.h - the gradient of a layer's weight codes, in f32 or where cuDNN has written it in fp16, for the
 *                     kernels that read it.
 *
 * Included by weight_quant.cu and optim.cu.
 */
#ifndef DT_WEIGHT_GRADIENT_H
#define DT_WEIGHT_GRADIENT_H

#include "kernel.h"

#include <cuda_fp16.h>

extern "C" {
#include "../quant/weight_quant.h"
}

/* Returns the gradient with respect to the real value of code i of a layer. */
__device__ static inline float dt_weight_gradient_at(const dt_weight_layer *l, int64_t i)
{
    if (l->g_type == DT_F32) return ((const float *)l->g)[i];
    return __half2float(((const __half *)l->g)[dt_weight_place(l, i)]) * l->g_unit * l->g_scale[0];
}

/* Sets to[k] to the gradient of the piece's code i + k * DT_BLOCK, or to 0 where the piece has none. */
__device__ static inline void dt_load_gradients(float to[DT_AT_ONCE], const dt_weight_layer *l,
                                                const dt_weight_piece *p, int i)
{
    for (int k = 0; k < DT_AT_ONCE; k++) {
        const int at = i + k * DT_BLOCK;
        to[k] = at < p->n ? dt_weight_gradient_at(l, p->first + at) : 0.0f;
    }
}

#endif /* DT_WEIGHT_GRADIENT_H */
