/*
 * conv.h - the sizes of one convolution, named, and what its kernels share.
 */
#ifndef DT_CONV_H
#define DT_CONV_H

#include "../../core/conv_params.h"
#include "../../core/op.h"

typedef struct {
    int64_t N, H, W, C; /* x */
    int64_t K, R, S;    /* w */
    int64_t P, Q;       /* y */
    int64_t stride[2];  /* as dt_conv_params has them */
    int64_t pad[4];
    int64_t dilation[2];
    int64_t groups;
    int64_t terms; /* products in one psum: R * S * C / groups */
} dt_conv_shape;

/* Channels of one group: what a filter reads. */
static inline int64_t dt_conv_group_channels(const dt_conv_shape *s)
{
    return s->C / s->groups;
}

/* The first channel that filter k reads. */
static inline int64_t dt_conv_first_channel(const dt_conv_shape *s, int64_t k)
{
    return k / (s->K / s->groups) * dt_conv_group_channels(s);
}

/* Where in x the tap falls, of output position `at`, along an axis: 0 for rows, 1 for columns. May be outside x. */
static inline int64_t dt_conv_reach(const dt_conv_shape *s, int axis, int64_t at, int64_t tap)
{
    return at * s->stride[axis] + tap * s->dilation[axis] - s->pad[axis];
}

/* Of a convolution with parameters p that takes a tensor of shape x, by filters w, to one of shape y. */
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

/* Of CONV2D, or of an operator whose parameters begin as a convolution's. */
static inline dt_conv_shape dt_conv_shape_of(const dt_node *node)
{
    return dt_conv_shape_from(node->in[0]->shape.dim, node->in[1]->shape.dim, node->out->shape.dim,
                              (const dt_conv_params *)node->params);
}

/* Checks such a node and sets out's facts. */
DT_MUST_CHECK dt_status dt_conv_infer(dt_node *node);

/* y's scale from those of x and w, on the host. */
static inline void dt_conv_scale(const dt_node *node)
{
    for (int k = 0; k < node->out->n_scale; k++) node->out->scale[k] = node->in[0]->scale[0] * node->in[1]->scale[k];
}

#endif /* DT_CONV_H */
