/*
 * linear.h - the products of a fully connected layer, for the two operators that are one: LINEAR and LINEAR_XENT.
 *
 * Both have x, w and b first. The mathematics and the shapes are in linear.c.
 */
#ifndef DT_LINEAR_H
#define DT_LINEAR_H

#include "../core/op.h"

enum { DT_LINEAR_X, DT_LINEAR_W, DT_LINEAR_B };

typedef struct {
    int64_t batch, inputs, features; /* N, I, O */
} dt_linear_size;

static inline dt_linear_size dt_linear_size_of(const dt_node *node)
{
    const dt_shape *x = &node->in[DT_LINEAR_X]->shape;
    const dt_linear_size size = { x->dim[0], dt_count(x) / x->dim[0], node->in[DT_LINEAR_W]->shape.dim[0] };
    return size;
}

/* That the shapes fit each other. */
DT_MUST_CHECK dt_status dt_linear_check(const dt_node *node);

/* 1 if y is summed feature by feature in double, 0 if by a GEMM. */
int dt_linear_sums_in_order(const dt_node *node);

/* The CPU's; y and dy: [N][O]. gradients gives to dx, dw and db, those of them that are wanted; for_x: dy times the
 * scale of each feature's w, or dy where w is real. */
void dt_linear_in_order(const dt_node *node, float *y);
DT_MUST_CHECK dt_status dt_linear_gradients(const dt_node *node, const float *dy, const float *for_x);

#endif /* DT_LINEAR_H */
