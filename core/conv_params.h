/*
 * conv_params.h - a convolution's parameters: the square form, and the size of the output.
 *
 * Axis 0 is rows, axis 1 is columns. pad[axis] is the padding before the map (top, left), pad[axis + 2] that after it
 * (bottom, right).
 */
#ifndef DT_CONV_PARAMS_H
#define DT_CONV_PARAMS_H

#include "op_params.h"

#include <stdint.h>

/* Initialises dt_conv_params in the square form: the same stride on both axes, the same pad on all sides, one group and
 * no dilation. */
#define DT_CONV_SQUARE(stride, pad)                             \
    {                                                           \
        { stride, stride }, { pad, pad, pad, pad }, { 1, 1 }, 1 \
    }

/* Returns parameters in the square form. */
static inline dt_conv_params dt_conv_square(int stride, int pad)
{
    const dt_conv_params p = DT_CONV_SQUARE(stride, pad);
    return p;
}

/* Returns the positions of the input that a window of `taps` taps spans along an axis. */
static inline int64_t dt_conv_span(const dt_conv_params *p, int axis, int64_t taps)
{
    return p->dilation[axis] * (taps - 1) + 1;
}

/* Returns the size of an axis with its padding. */
static inline int64_t dt_conv_padded(const dt_conv_params *p, int axis, int64_t size)
{
    return size + p->pad[axis] + p->pad[axis + 2];
}

/* Returns the size of the output along an axis. The window must fit into the padded input. */
static inline int64_t dt_conv_out_size(const dt_conv_params *p, int axis, int64_t size, int64_t taps)
{
    return (dt_conv_padded(p, axis, size) - dt_conv_span(p, axis, taps)) / p->stride[axis] + 1;
}

/* 1 if p has the square form, which dt_conv_square makes. */
static inline int dt_conv_is_square(const dt_conv_params *p)
{
    return p->groups == 1 && p->dilation[0] == 1 && p->dilation[1] == 1 && p->stride[0] == p->stride[1] &&
           p->pad[1] == p->pad[0] && p->pad[2] == p->pad[0] && p->pad[3] == p->pad[0];
}

#endif /* DT_CONV_PARAMS_H */
