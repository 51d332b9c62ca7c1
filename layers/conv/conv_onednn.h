/*
 * conv_onednn.h - what oneDNN keeps for a convolution, from prepare to its runs: primitives, and how scratch is cut.
 *
 * conv_primitives_onednn.c makes it, conv_onednn.c runs it.
 */
#ifndef DT_CONV_ONEDNN_H
#define DT_CONV_ONEDNN_H

#include "conv_kernels.h"
#include "onednn.h"

/* A convolution in one direction, of one group. md: layouts of operand a, operand b and the result. */
typedef struct {
    dt_dnnl_call call; /* call.primitive NULL: not a direction of the share */
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
    dt_conv_worker *worker;
    int n_workers;
    int64_t group, n_groups; /* images in a group; groups in the batch */
    dt_dnnl_call copy_forward_w, copy_backward_w, copy_dw;
    dt_conv_regions forward_region, backward_region;
    dt_conv_rooms forward_room, backward_room;
} dt_onednn_conv;

/* share->state; also after a failure, in part */
DT_MUST_CHECK dt_status dt_onednn_conv_create(const dt_node *node, const dt_exec *ex, dt_conv_share *share);
void dt_onednn_conv_destroy(dt_conv_share *share);

/* bytes of a layout, rounded up to cache lines */
size_t dt_conv_bytes(const dnnl_memory_desc_t *md);

#endif /* DT_CONV_ONEDNN_H */
