/*
 * requantize.h - what the kernels of QUANTIZE and REQUANTIZE share, for CPU and CUDA. requantize.c has the mathematics.
 */
#ifndef DT_QUANT_REQUANTIZE_H
#define DT_QUANT_REQUANTIZE_H

#include "../core/arith/grid.h"
#include "../core/arith/requantize.h"
#include "../core/grid_facts.h"
#include "../core/op.h"

/* Inputs of QUANTIZE and REQUANTIZE. */
enum { DT_QUANTIZE_SCALE = 1 };
enum { DT_REQUANT_SCALE_X = 1, DT_REQUANT_SCALE_Y, DT_REQUANT_SCALE_W, DT_REQUANT_BIAS };
/* Those of QADD, QMUL and QMATMUL, and of QSOFTMAX. */
enum { DT_QBINARY_A, DT_QBINARY_B, DT_QBINARY_SCALE_A, DT_QBINARY_SCALE_B, DT_QBINARY_SCALE_Y };
enum { DT_QSOFTMAX_SCALE_X = 1, DT_QSOFTMAX_SCALE_Y };

/* Returns 1 if the codes have the range that the cast makes. */
static inline int dt_quantize_fits_cast(const dt_quantize_params *p)
{
    return p->cast == DT_CAST_ROUND || (p->low == INT8_MIN - p->zero && p->high == INT8_MAX - p->zero);
}

/* Sets the facts of codes low..high, whose scale is input `scale`; the caller sets their shape. In requantize.c. */
DT_MUST_CHECK dt_status dt_requant_out(dt_node *node, int low, int high, int scale);

/* One REQUANTIZE. */
typedef struct {
    dt_requantize_params params;
    const float *x, *scale_x, *scale_y;
    const float *scale_w; /* [n_scale_w]; NULL: none */
    const int32_t *bias;  /* [channels]; NULL: none */
    float *code;
    /* The channels' requantizers, [channels] each, in scratch: side by side, so that loops over channels vectorise. */
    double *exact;
    float *factor;
    int32_t *multiplier, *shift;
    dt_product product; /* of all channels */
    int64_t channels, n_scale_w;
} dt_requant_view;

/* Returns the bytes of scratch that a node needs. */
static inline size_t dt_requant_scratch(const dt_node *node)
{
    return (size_t)dt_channels(&node->out->shape) * (sizeof(double) + sizeof(float) + 2 * sizeof(int32_t));
}

/* Returns the view of a node. scratch has dt_requant_scratch bytes. */
static inline dt_requant_view dt_requant_look(const dt_node *node, void *scratch)
{
    const int has_w = node->n_in > DT_REQUANT_SCALE_W, has_bias = node->n_in > DT_REQUANT_BIAS;
    const dt_requantize_params *p = (const dt_requantize_params *)node->params;
    const int64_t channels = dt_channels(&node->out->shape);
    double *exact = (double *)scratch;
    float *factor = (float *)(exact + channels);
    int32_t *multiplier = (int32_t *)(factor + channels);
    const dt_requant_view v = { *p,
                                (const float *)node->in[0]->data,
                                (const float *)node->in[DT_REQUANT_SCALE_X]->data,
                                (const float *)node->in[DT_REQUANT_SCALE_Y]->data,
                                has_w ? (const float *)node->in[DT_REQUANT_SCALE_W]->data : NULL,
                                has_bias ? (const int32_t *)node->in[DT_REQUANT_BIAS]->data : NULL,
                                (float *)node->out->data,
                                exact,
                                factor,
                                multiplier,
                                multiplier + channels,
                                dt_product_of(p->profile, p->of),
                                channels,
                                has_w ? dt_count(&node->in[DT_REQUANT_SCALE_W]->shape) : 1 };
    return v;
}

/* Sets the requantizer of channel c. */
static inline DT_HD void dt_requant_channel(const dt_requant_view *v, int64_t c)
{
    const float scale_w = v->scale_w ? v->scale_w[v->n_scale_w == 1 ? 0 : c] : 1.0f;
    const dt_requant_case of = { v->params.profile, v->params.of, v->params.count, *v->scale_x, scale_w, *v->scale_y };
    const dt_requantizer r = dt_requantizer_of(&of);

    v->exact[c] = r.exact;
    v->factor[c] = r.factor;
    v->multiplier[c] = r.multiplier;
    v->shift[c] = r.shift;
}

/* Returns the code of x, a sum of channel c: a NaN where f32 may have rounded the sum. product is that of all channels,
 * and a constant in loops. */
static inline DT_HD float dt_requant_value(const dt_requant_view *v, dt_product product, int64_t c, float x)
{
    const int is_exact = fabsf(x) < (float)DT_F32_EXACT;
    const int64_t sum = (int64_t)(is_exact ? x : 0.0f) + (v->bias ? v->bias[c] : 0);
    const dt_requantizer r = { product, v->multiplier[c], v->shift[c], v->factor[c], *v->scale_y, v->exact[c] };
    const int64_t code = dt_requantized_by(product, &r, sum);

    return is_exact ? (float)dt_within(code, v->params.low, v->params.high) : NAN;
}

#endif /* DT_QUANT_REQUANTIZE_H */
