/*
 * grid_facts.h - what an operator does with a grid tensor: it stays on the grid, or it leaves it.
 *
 * Staying: the output holds codes of the input's range, and shares its scale. Leaving: the kernel reads scale * code,
 * and the output is real, which is how a tape's output starts out.
 */
#ifndef DT_GRID_FACTS_H
#define DT_GRID_FACTS_H

#include "rng.h" /* DT_HD */
#include "tensor.h"

static inline void dt_stay_on_grid(dt_tensor *out, const dt_tensor *in)
{
    out->type = in->type;
    out->n_scale = in->n_scale;
    out->scale = in->scale;
    out->scale_of = in->scale_of;
    out->scale_form = in->scale_form;
    out->qmin = in->qmin;
    out->qmax = in->qmax;
}

/* out's one scale follows from the parameter by that form, which is its own among those of the operator. */
static inline void dt_scale_follows(dt_tensor *out, const dt_tensor *parameter, int form)
{
    out->n_scale = 1;
    out->scale_of = parameter;
    out->scale_form = form;
}

/* 1 if both are integers of one scale, and of the same. */
static inline int dt_share_scale(const dt_tensor *a, const dt_tensor *b)
{
    const int is_one = a->scale && a->scale == b->scale;
    const int is_equal = a->scale_of && a->scale_of == b->scale_of && a->scale_form == b->scale_form;

    return a->n_scale == 1 && b->n_scale == 1 && (is_one || is_equal);
}

/* The scale of channel c; 1 for real values, so that multiplying by it changes no bit. */
static inline DT_HD float dt_scale_at(const float *scale, int n_scale, int64_t c)
{
    return n_scale == 0 ? 1.0f : scale[n_scale == 1 ? 0 : c];
}

/* Channels are the last axis; everything before it is rows. */
static inline int64_t dt_channels(const dt_shape *s)
{
    return s->dim[s->ndim - 1];
}

static inline int64_t dt_rows(const dt_shape *s)
{
    return dt_count(s) / dt_channels(s);
}

#endif /* DT_GRID_FACTS_H */
