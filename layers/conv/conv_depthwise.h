/*
 * conv_depthwise.h - convolutions of one channel a group, as MobileNets have them, where oneDNN is slow at them;
 *                    conv_depthwise.c says how.
 *
 * fits reads shapes and code ranges of an inferred node. Scratch is what either direction wants for that many threads;
 * each runs on at most that many. Tensors are of any type that core/tape/fuse.c gives them.
 */
#ifndef DT_CONV_DEPTHWISE_H
#define DT_CONV_DEPTHWISE_H

#include "conv.h"

int dt_depthwise_forward_fits(const dt_node *node);
int dt_depthwise_backward_fits(const dt_node *node, int from_bf16); /* 1: oneDNN would take bf16 operands */
size_t dt_depthwise_scratch(const dt_node *node, int threads);

/* Overwrites y; scales are left to the caller. */
void dt_depthwise_forward(const dt_node *node, void *scratch, int threads);

/* dx and dw, each where there is such a gradient: written where it is fresh, else added to an f32 gradient. */
void dt_depthwise_backward(const dt_node *node, void *scratch, int threads);

#endif /* DT_CONV_DEPTHWISE_H */
