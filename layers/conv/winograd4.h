/*
 * winograd4.h - the backward passes of 3x3 convolutions of stride 1 and pad 1 by minimal filtering, in f32 on a CPU
 * with AVX2. A tile of 4x4 outputs takes 36 products for each channel and filter, where the definition takes 144.
 *
 * It is for mixed precision on CPUs that do not multiply bf16, where backward's operands stay f32. The functions are
 * those of winograd.h, and so is what they promise.
 *
 * Source: Lavin, Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, F(4x4,3x3).
 */
#ifndef DT_WINOGRAD4_H
#define DT_WINOGRAD4_H

#include "conv.h"

enum { DT_WINOGRAD4_SIDE = 4, DT_WINOGRAD4_POINTS = 36 }; /* outputs along a side; values of a transformed tile, 6x6 */

/* winograd4.c: returns NULL if backward of a node qualifies on this machine, whatever the type of its weights or
 * inputs, else why not. */
const char *dt_winograd4_refuses(const dt_node *node, const dt_exec *ex);

/* winograd4_backward_x.c: computes dx in f32. It is added where the gradient is not fresh. */
const char *dt_winograd4_backward_x_refuses(const dt_node *node, const dt_exec *ex);
size_t dt_winograd4_backward_x_scratch(const dt_node *node, const dt_exec *ex, int threads);
void dt_winograd4_backward_x(const dt_node *node, const dt_exec *ex, int threads);

/* winograd4_backward_w.c: computes dw in f32. It is added where the gradient is not fresh. */
const char *dt_winograd4_backward_w_refuses(const dt_node *node, const dt_exec *ex);
size_t dt_winograd4_backward_w_scratch(const dt_node *node, const dt_exec *ex, int threads);
void dt_winograd4_backward_w(const dt_node *node, const dt_exec *ex, int threads);

#endif /* DT_WINOGRAD4_H */
