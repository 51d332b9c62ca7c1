/*
 * winograd.h - 3x3 convolutions of stride 1 and pad 1 by minimal filtering. A tile of 2x2 outputs takes 16 products for
 *              each channel and filter, where the definition takes 36.
 *
 * Integers stay integers, so that psums are exact. Each direction has three functions. _refuses returns NULL if a
 * node qualifies on this machine, else why not; it reads the tensors' shapes, types and code ranges, never their data,
 * so that the node need not be prepared. _scratch returns the bytes of scratch for a number of threads. The third
 * computes, on at most that many threads. Scratch and tensors are aligned to 64 bytes.
 *
 * Source: Lavin, Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, F(2x2,3x3).
 */
#ifndef DT_WINOGRAD_H
#define DT_WINOGRAD_H

#include "conv.h"

enum { DT_WINOGRAD_POINTS = 16 }; /* values of a transformed tile, 4x4 */

/* Returns NULL if the transforms are written for these sizes, C and K being whole vectors, else why not. */
static inline const char *dt_winograd_shape_refuses(const dt_conv_shape *s)
{
    for (int i = 0; i < 2; i++) {
        if (s->stride[i] != 1 || s->dilation[i] != 1) return "stride or dilation";
        if (s->pad[i] != 1 || s->pad[i + 2] != 1) return "padding is not 1";
    }
    if (s->groups != 1) return "groups";
    if (s->R != 3 || s->S != 3) return "not 3x3";
    return s->C % 16 == 0 && s->K % 16 == 0 ? NULL : "channels or filters are no multiple of 16";
}

/* winograd_forward.c: computes the psums of out. The caller sets out's scale. */
const char *dt_winograd_forward_refuses(const dt_node *node, const dt_exec *ex);
size_t dt_winograd_forward_scratch(const dt_node *node, const dt_exec *ex, int threads);
void dt_winograd_forward(const dt_node *node, const dt_exec *ex, int threads);

/* winograd_backward_x.c: computes dx in in[0]'s grad_type. It is added to an f32 gradient that is not fresh. */
const char *dt_winograd_backward_x_refuses(const dt_node *node, const dt_exec *ex);
size_t dt_winograd_backward_x_scratch(const dt_node *node, const dt_exec *ex, int threads);
void dt_winograd_backward_x(const dt_node *node, const dt_exec *ex, int threads);

/* winograd_backward_w.c: computes dw in f32. It is added where the gradient is not fresh. */
const char *dt_winograd_backward_w_refuses(const dt_node *node, const dt_exec *ex);
size_t dt_winograd_backward_w_scratch(const dt_node *node, const dt_exec *ex, int threads);
void dt_winograd_backward_w(const dt_node *node, const dt_exec *ex, int threads);

#endif /* DT_WINOGRAD_H */
