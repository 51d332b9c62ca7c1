/*
 * linear.h - the products of a fully connected layer, which the operators LINEAR and LINEAR_XENT share.
 *
 * The first inputs of both are x, w and b. linear.c has the mathematics and the shapes.
 */
#ifndef DT_LINEAR_H
#define DT_LINEAR_H

#include "../core/op.h"

enum { DT_LINEAR_X, DT_LINEAR_W, DT_LINEAR_B };

typedef struct {
    int64_t batch, inputs, features; /* N, I, O */
} dt_linear_size;

/* Returns the sizes of a node. */
static inline dt_linear_size dt_linear_size_of(const dt_node *node)
{
    const dt_shape *x = &node->in[DT_LINEAR_X]->shape;
    const dt_linear_size size = { x->dim[0], dt_count(x) / x->dim[0], node->in[DT_LINEAR_W]->shape.dim[0] };
    return size;
}

/* DT_ERR_SHAPE if the shapes do not fit each other. */
DT_MUST_CHECK dt_status dt_linear_check(const dt_node *node);

/* Returns 1 if y is summed in order and in double, 0 if a GEMM computes it. */
int dt_linear_sums_in_order(const dt_node *node);

/* Computes y, [N][O], summed in order, on the CPU. */
void dt_linear_in_order(const dt_node *node, float *y);
/* Adds to dx, dw and db, or overwrites them where they are fresh, on the CPU; those that are NULL are left out. dy and
 * for_x are [N][O]. for_x is dy times the scale of each feature's w, or dy itself where w is real. */
DT_MUST_CHECK dt_status dt_linear_gradients(const dt_node *node, const float *dy, const float *for_x);

#endif /* DT_LINEAR_H */
