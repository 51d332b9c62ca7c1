/*
 * conv_params.h - a convolution's parameters: the usual form, and the size of the output.
 *
 * Axis 0 is rows, axis 1 columns. Of pad, [axis] is before the map (top, left) and [axis + 2] after it (bottom, right).
 */
#ifndef DT_CONV_PARAMS_H
#define DT_CONV_PARAMS_H

#include "op_params.h"

#include <stdint.h>

/* One stride, one pad, one group, no dilation. The macro is for constant initialisers. */
#define DT_CONV_SQUARE(stride, pad)                             \
    {                                                           \
        { stride, stride }, { pad, pad, pad, pad }, { 1, 1 }, 1 \
    }

static inline dt_conv_params dt_conv_square(int stride, int pad)
{
    const dt_conv_params p = DT_CONV_SQUARE(stride, pad);
    return p;
}

/* Positions of the input that a window of `taps` spans. */
static inline int64_t dt_conv_span(const dt_conv_params *p, int axis, int64_t taps)
{
    return p->dilation[axis] * (taps - 1) + 1;
}

static inline int64_t dt_conv_padded(const dt_conv_params *p, int axis, int64_t size)
{
    return size + p->pad[axis] + p->pad[axis + 2];
}

/* Positions of the output; the window fits in the padded input. */
static inline int64_t dt_conv_out_size(const dt_conv_params *p, int axis, int64_t size, int64_t taps)
{
    return (dt_conv_padded(p, axis, size) - dt_conv_span(p, axis, taps)) / p->stride[axis] + 1;
}

/* 1 if dt_conv_square makes p. */
static inline int dt_conv_is_square(const dt_conv_params *p)
{
    return p->groups == 1 && p->dilation[0] == 1 && p->dilation[1] == 1 && p->stride[0] == p->stride[1] &&
           p->pad[1] == p->pad[0] && p->pad[2] == p->pad[0] && p->pad[3] == p->pad[0];
}

#endif /* DT_CONV_PARAMS_H */
