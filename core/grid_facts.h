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
    out->qmin = in->qmin;
    out->qmax = in->qmax;
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
