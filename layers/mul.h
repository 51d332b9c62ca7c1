/*
 * mul.h - how a product sees its inputs, for CPU and CUDA. The mathematics is in mul.c.
 */
#ifndef DT_MUL_H
#define DT_MUL_H

#include "../core/grid_facts.h"
#include "../core/op.h"

enum { DT_MUL_A, DT_MUL_B };

/* a is images x cells x channels; b as well, or images x channels. Where both have one shape, that is one image. */
typedef struct {
    int64_t images, cells, channels;
    int per_image; /* 1: b has one value for each image and channel */
} dt_mul_view;

static inline dt_mul_view dt_mul_look(const dt_node *node)
{
    const dt_shape *a = &node->in[DT_MUL_A]->shape, *b = &node->in[DT_MUL_B]->shape;
    const int per_image = !dt_same_shape(a, b);
    const int64_t images = per_image ? a->dim[0] : 1;
    const dt_mul_view v = { images, dt_rows(a) / images, dt_channels(a), per_image };
    return v;
}

/* Offset of the channels of b that belong to cell `cell` of a, counted through all images. */
static inline DT_HD int64_t dt_mul_b(const dt_mul_view *v, int64_t cell)
{
    return (v->per_image ? cell / v->cells : cell) * v->channels;
}

#endif /* DT_MUL_H */
