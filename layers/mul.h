/*
 * mul.h - the sizes of a product, for CPU and CUDA. mul.c has the mathematics.
 */
#ifndef DT_MUL_H
#define DT_MUL_H

#include "../core/grid_facts.h"
#include "../core/op.h"

enum { DT_MUL_A, DT_MUL_B };

/* a is seen as [images][cells][channels], and b as the same, or as [images][channels]. If both have the same shape, all
 * of it counts as one image. */
typedef struct {
    int64_t images, cells, channels;
    int per_image; /* 1: b has one value for each image and channel */
} dt_mul_view;

/* Returns the sizes of a node. */
static inline dt_mul_view dt_mul_look(const dt_node *node)
{
    const dt_shape *a = &node->in[DT_MUL_A]->shape, *b = &node->in[DT_MUL_B]->shape;
    const int per_image = !dt_same_shape(a, b);
    const int64_t images = per_image ? a->dim[0] : 1;
    const dt_mul_view v = { images, dt_rows(a) / images, dt_channels(a), per_image };
    return v;
}

/* Returns the offset of the channels of b that are multiplied with cell `cell` of a. Cells count through all images. */
static inline DT_HD int64_t dt_mul_b(const dt_mul_view *v, int64_t cell)
{
    return (v->per_image ? cell / v->cells : cell) * v->channels;
}

#endif /* DT_MUL_H */
