/*
 * qbinary.h - what the kernels of QADD and QMUL share, for CPU and CUDA. qbinary.c has the mathematics.
 */
#ifndef DT_QBINARY_H
#define DT_QBINARY_H

#include "requantize.h"

/* One QADD or QMUL. */
typedef struct {
    dt_qbinary_params params;
    const float *a, *b, *scale_a, *scale_b, *scale_y;
    float *code;
} dt_qbinary_view;

/* Returns the view of a node. */
static inline dt_qbinary_view dt_qbinary_look(const dt_node *node)
{
    const dt_qbinary_view v = { *(const dt_qbinary_params *)node->params,
                                (const float *)node->in[DT_QBINARY_A]->data,
                                (const float *)node->in[DT_QBINARY_B]->data,
                                (const float *)node->in[DT_QBINARY_SCALE_A]->data,
                                (const float *)node->in[DT_QBINARY_SCALE_B]->data,
                                (const float *)node->in[DT_QBINARY_SCALE_Y]->data,
                                (float *)node->out->data };
    return v;
}

static inline DT_HD dt_adder dt_qadd_adder(const dt_qbinary_view *v)
{
    return dt_adder_of(v->params.profile, *v->scale_a, *v->scale_b, *v->scale_y, v->params.subtract ? -1 : 1);
}

static inline DT_HD dt_requantizer dt_qmul_requantizer(const dt_qbinary_view *v)
{
    const dt_requant_case of = { v->params.profile, DT_REQUANT_MUL, 1, *v->scale_a, *v->scale_b, *v->scale_y };
    return dt_requantizer_of(&of);
}

/* Returns the code of element i; a NaN stays one. */
static inline DT_HD float dt_qadd_value(const dt_qbinary_view *v, const dt_adder *adder, int64_t i)
{
    if (isnan(v->a[i] + v->b[i])) return NAN;
    return (float)dt_within(dt_added(adder, (int64_t)v->a[i], (int64_t)v->b[i]), v->params.low, v->params.high);
}

static inline DT_HD float dt_qmul_value(const dt_qbinary_view *v, const dt_requantizer *r, int64_t i)
{
    if (isnan(v->a[i] + v->b[i])) return NAN;
    if (r->product == DT_ROUND_EVALUATED) {
        const int64_t code = dt_evaluated_product(v->a[i], *v->scale_a, v->b[i], *v->scale_b, *v->scale_y);
        return (float)dt_within(code, v->params.low, v->params.high);
    }
    return (float)dt_within(dt_requantized(r, (int64_t)v->a[i] * (int64_t)v->b[i]), v->params.low, v->params.high);
}

#endif /* DT_QBINARY_H */
