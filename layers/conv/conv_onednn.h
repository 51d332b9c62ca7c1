/*
 * conv_onednn.h - what one CONV2D node keeps from prepare to its runs: who computes each direction, oneDNN's primitives
 *                 where it is oneDNN, and how scratch is cut.
 *
 * conv_plan_onednn.c makes it, conv_onednn.c runs it.
 */
#ifndef DT_CONV_ONEDNN_H
#define DT_CONV_ONEDNN_H

#include "conv.h"
#include "onednn.h"

/* A convolution in one direction, of one group. md: layouts of operand a, operand b and the result. */
typedef struct {
    dt_dnnl_call call; /* call.primitive NULL: another computes this direction, or nobody wants it */
    dnnl_memory_desc_t md[3];
    size_t pad_bytes;
} dt_conv_direction;

/* One thread's primitives. A copy whose primitive is NULL is not needed: the operand is used where it lies. */
typedef struct {
    dt_conv_direction forward, backward_x, backward_w;
    dt_dnnl_call copy_codes;      /* x for forward */
    dt_dnnl_call copy_x, copy_dy; /* for backward */
} dt_conv_worker;

/* Scratch, shared: [filters in oneDNN's layout][real filters][dw of each group][dw]; then [room] of each worker. */
typedef struct {
    size_t filters, real, group_dw, dw, room;
} dt_conv_regions;

/* Within a worker's room: copy of x, copy of dy, dx before it is added, oneDNN's own scratch. */
typedef struct {
    size_t x, dy, dx, pad;
} dt_conv_rooms;

typedef struct {
    int forward_winograd, x_winograd, w_winograd; /* winograd_*.c computes psums, dx, dw */
    int forward_depthwise, backward_depthwise;    /* conv_depthwise.c computes y; dx and dw */
    int forward_plain;                            /* conv.c computes psums */
    int w_small;                                  /* conv_small.c computes dw */
    dt_conv_worker *worker;
    int n_workers;
    int64_t group, n_groups; /* images in a group; groups in the batch */
    dt_dnnl_call copy_forward_w, copy_backward_w, copy_dw;
    dt_conv_regions forward_region, backward_region;
    dt_conv_rooms forward_room, backward_room;
    size_t wide_x, wide_dy; /* bytes of f32 copies for conv_small.c, which has scratch to itself */
    size_t scratch_bytes;
} dt_conv_plan;

/* node->plan; also after a failure, in part */
DT_MUST_CHECK dt_status dt_conv_plan_create(dt_node *node, const dt_exec *ex);
void dt_conv_plan_destroy(dt_node *node);

/* bytes of a layout, rounded up to cache lines */
size_t dt_conv_bytes(const dnnl_memory_desc_t *md);

/* Codes of x and w as bytes: they fit, and this CPU multiplies bytes exactly. */
int dt_conv_has_bytes(const dt_node *node);

#endif /* DT_CONV_ONEDNN_H */
