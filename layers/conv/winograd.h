/*
 * winograd.h - 3x3 convolutions of stride 1 and pad 1 by minimal filtering: a tile of 2x2 outputs from 16 products a
 *              channel and filter, where the definition takes 36.
 *
 * Source: Lavin, Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, F(2x2,3x3). Integers stay
 * integers, so psums are exact. Each direction is a trio: whether a node qualifies on this machine (of an unprepared
 * node: its tensors' shapes, types and code ranges are read, never their data), the scratch that it wants for that
 * many threads, and the computation, which runs on at most that many. Scratch and tensors are aligned to 64 bytes.
 */
#ifndef DT_WINOGRAD_H
#define DT_WINOGRAD_H

#include "conv.h"

enum { DT_WINOGRAD_POINTS = 16 }; /* of a transformed tile, 4x4 */

/* The sizes that the transforms are written for: C and K in whole vectors. */
static inline int dt_winograd_shape_fits(const dt_conv_shape *s)
{
    for (int i = 0; i < 2; i++) {
        if (s->stride[i] != 1 || s->dilation[i] != 1 || s->pad[i] != 1 || s->pad[i + 2] != 1) return 0;
    }
    return s->groups == 1 && s->R == 3 && s->S == 3 && s->C % 16 == 0 && s->K % 16 == 0;
}

/* winograd_forward.c: overwrites out's psums; scales are left to the caller */
int dt_winograd_forward_fits(const dt_node *node, const dt_exec *ex);
size_t dt_winograd_forward_scratch(const dt_node *node, int threads);
void dt_winograd_forward(const dt_node *node, void *scratch, int threads);

/* winograd_backward_x.c: dx, in in[0]'s grad_type; added to what an f32 gradient holds, where it is not fresh */
int dt_winograd_backward_x_fits(const dt_node *node, const dt_exec *ex);
size_t dt_winograd_backward_x_scratch(const dt_node *node, int threads);
void dt_winograd_backward_x(const dt_node *node, void *scratch, int threads);

/* winograd_backward_w.c: dw, f32; added to what it holds, where it is not fresh */
int dt_winograd_backward_w_fits(const dt_node *node, const dt_exec *ex);
size_t dt_winograd_backward_w_scratch(const dt_node *node, int threads);
void dt_winograd_backward_w(const dt_node *node, void *scratch, int threads);

#endif /* DT_WINOGRAD_H */
