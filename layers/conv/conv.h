/*
 * conv.h - the sizes of one convolution by name, and what its kernels share.
 */
#ifndef DT_CONV_H
#define DT_CONV_H

#include "../../core/conv_params.h"
#include "../../core/op.h"

typedef struct {
    int64_t N, H, W, C; /* x */
    int64_t K, R, S;    /* w */
    int64_t P, Q;       /* y */
    int64_t stride[2];  /* this and the next three as in dt_conv_params */
    int64_t pad[4];
    int64_t dilation[2];
    int64_t groups;
    int64_t terms; /* products in one psum: R * S * C / groups */
} dt_conv_shape;

/* Returns the number of channels that a filter reads: those of its group. */
static inline int64_t dt_conv_group_channels(const dt_conv_shape *s)
{
    return s->C / s->groups;
}

/* Returns the first channel that filter k reads. */
static inline int64_t dt_conv_first_channel(const dt_conv_shape *s, int64_t k)
{
    return k / (s->K / s->groups) * dt_conv_group_channels(s);
}

/* Returns the position in x that output position `at` reads by a tap, along an axis (0 rows, 1 columns). It may lie
 * outside of x. */
static inline int64_t dt_conv_reach(const dt_conv_shape *s, int axis, int64_t at, int64_t tap)
{
    return at * s->stride[axis] + tap * s->dilation[axis] - s->pad[axis];
}

/* Returns the sizes of a convolution with parameters p. x, w and y are the axes of its input, filters and output. */
static inline dt_conv_shape dt_conv_shape_from(const int64_t *x, const int64_t *w, const int64_t *y,
                                               const dt_conv_params *p)
{
    const dt_conv_shape s = { x[0],
                              x[1],
                              x[2],
                              x[3],
                              w[0],
                              w[1],
                              w[2],
                              y[1],
                              y[2],
                              { p->stride[0], p->stride[1] },
                              { p->pad[0], p->pad[1], p->pad[2], p->pad[3] },
                              { p->dilation[0], p->dilation[1] },
                              p->groups,
                              w[1] * w[2] * w[3] };
    return s;
}

/* Returns the sizes of a CONV2D node, or of one whose params begin with dt_conv_params. */
static inline dt_conv_shape dt_conv_shape_of(const dt_node *node)
{
    return dt_conv_shape_from(node->in[0]->shape.dim, node->in[1]->shape.dim, node->out->shape.dim,
                              (const dt_conv_params *)node->params);
}

/* Is the infer of such a node: it checks the node and sets out's facts. */
DT_MUST_CHECK dt_status dt_conv_infer(dt_node *node);

/* Sets y's scale from those of x and w, in host memory. */
static inline void dt_conv_scale(const dt_node *node)
{
    for (int k = 0; k < node->out->n_scale; k++) node->out->scale[k] = node->in[0]->scale[0] * node->in[1]->scale[k];
}

#endif /* DT_CONV_H */
