/*
 * class_int.h - the lengths of an image's class capsules, which CPU and CUDA share. class_int.c has the mathematics.
 */
#ifndef DT_CLASS_INT_H
#define DT_CLASS_INT_H

#include "../../core/arith/capsules.h"
#include "../../core/op.h"

#define DT_LENGTH_STEP (1.0f / 16777216.0f) /* 2^-DT_LENGTH_BITS */

/* Returns the sum of squares of a capsule of codes. */
static inline DT_HD uint64_t dt_class_square(const float *s, int dim)
{
    uint64_t q = 0;

    for (int d = 0; d < dim; d++) {
        const int64_t code = (int64_t)s[d];
        q += (uint64_t)(code * code);
    }
    return q;
}

/* Writes the codes of the lengths of one image's capsules s [classes][dim]. */
static inline DT_HD void dt_class_lengths(const float *s, int64_t classes, const dt_class_int_params *p, float *y)
{
    int64_t best = 0, first = 0; /* the first largest of q, and of the lengths */
    uint64_t most = 0;

    for (int64_t j = 0; j < classes; j++) {
        const uint64_t q = dt_class_square(s + j * p->dim, p->dim);
        y[j] = (float)dt_caps_length_code(q, p->s_frac, DT_LENGTH_BITS);
        if (y[j] > y[first]) first = j;
        if (q > most) {
            most = q;
            best = j;
        }
    }
    if (first != best) y[best] += 1.0f;
}

/* Gives to ds [dim] what the gradient dy of the length leaves of a capsule of codes s. */
static inline DT_HD void dt_class_length_backward(const float *s, float dy, const dt_class_int_params *p, int fresh,
                                                  float *ds)
{
    const float step = 1.0f / (float)(1 << p->s_frac);
    const float one = 1.0f + (float)dt_class_square(s, p->dim) * step * step, slope = 2.0f * dy / (one * one);

    for (int d = 0; d < p->dim; d++) {
        const float add = slope * (step * s[d]);
        ds[d] = fresh ? add : ds[d] + add;
    }
}

#endif /* DT_CLASS_INT_H */
