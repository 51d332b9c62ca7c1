/*
 * grid_facts.h - what an operator does with a grid tensor: its output stays on the grid, or leaves it.
 *
 * An output that stays on the grid holds codes in the input's range, and shares the input's scale. One that leaves it
 * is real: the kernel reads scale * code, and infer sets no grid facts.
 */
#ifndef DT_GRID_FACTS_H
#define DT_GRID_FACTS_H

#include "rng.h" /* DT_HD */
#include "tensor.h"

/* Gives out the type, scale and range of in. */
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

/* Notes that out has one scale, which follows from the parameter alone. form tells apart the ways in which an operator
 * computes a scale from a parameter. */
static inline void dt_scale_follows(dt_tensor *out, const dt_tensor *parameter, int form)
{
    out->n_scale = 1;
    out->scale_of = parameter;
    out->scale_form = form;
}

/* Forms from DT_CLIP_FORM on are those of dt_grid_scale. Their parameter is the clip. */
enum { DT_CLIP_FORM = 1 << 16, DT_CLIP_RULES = 16 };

/* Returns the form of the scale of codes up to `high`. */
static inline int dt_clip_form(int high, dt_quant_rule rule)
{
    return (int)DT_CLIP_FORM + high * (int)DT_CLIP_RULES + (int)rule;
}

/* Returns the rule of such a form. */
static inline dt_quant_rule dt_clip_rule(int form)
{
    return (dt_quant_rule)(form % (int)DT_CLIP_RULES);
}

/* Returns the narrowest type that holds a grid tensor's integers; F32 if none narrower does. */
static inline dt_dtype dt_codes_type(const dt_tensor *t)
{
    if (t->qmin >= 0 && t->qmax <= UINT8_MAX) return DT_U8;
    if (t->qmin >= INT8_MIN && t->qmax <= INT8_MAX) return DT_I8;
    return t->qmin >= INT16_MIN && t->qmax <= INT16_MAX ? DT_I16 : DT_F32;
}

/* Returns 1 if both are grid tensors with one scale, and the scales are known to be equal. */
static inline int dt_share_scale(const dt_tensor *a, const dt_tensor *b)
{
    const int is_one = a->scale && a->scale == b->scale;
    const int is_equal = a->scale_of && a->scale_of == b->scale_of && a->scale_form == b->scale_form;

    return a->n_scale == 1 && b->n_scale == 1 && (is_one || is_equal);
}

/* Returns the scale of channel c. It is 1 for real values (n_scale 0), so that multiplying by it changes no bit. */
static inline DT_HD float dt_scale_at(const float *scale, int n_scale, int64_t c)
{
    return n_scale == 0 ? 1.0f : scale[n_scale == 1 ? 0 : c];
}

/* Writes the real values of t's elements at .. at + n - 1 to v. t is on the CPU. */
static inline void dt_real_values(const dt_tensor *t, int64_t at, int64_t n, float *v)
{
    const float *x = (const float *)t->data + at;
    const float whole = dt_scale_at(t->scale, t->n_scale, 0);

    if (t->n_scale > 1) {
        for (int64_t i = 0; i < n; i++) v[i] = t->scale[(at + i) % t->n_scale] * x[i];
    } else {
        for (int64_t i = 0; i < n; i++) v[i] = whole * x[i];
    }
}

/* Returns the length of the last axis. */
static inline int64_t dt_channels(const dt_shape *s)
{
    return s->dim[s->ndim - 1];
}

/* Returns the product of all axes but the last. */
static inline int64_t dt_rows(const dt_shape *s)
{
    return dt_count(s) / dt_channels(s);
}

#endif /* DT_GRID_FACTS_H */
