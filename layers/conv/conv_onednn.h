/*
 * conv_onednn.h - the state of a convolution by oneDNN: its primitives, and how its scratch is cut.
 *
 * conv_primitives_onednn.c makes the state, and conv_onednn.c runs it.
 */
#ifndef DT_CONV_ONEDNN_H
#define DT_CONV_ONEDNN_H

#include "conv_kernels.h"
#include "onednn.h"

/* A convolution in one direction, for one group of images. */
typedef struct {
    dt_dnnl_call call;        /* call.primitive is NULL where the share does not have the direction */
    dnnl_memory_desc_t md[3]; /* layouts of the first operand, the second operand and the result */
    size_t pad_bytes;         /* oneDNN's own scratch */
} dt_conv_direction;

/* The primitives of one thread. A copy whose primitive is NULL is not needed, because the operand is used where it
 * lies. */
typedef struct {
    dt_conv_direction forward, backward_x, backward_w;
    dt_dnnl_call copy_codes;      /* x for forward */
    dt_dnnl_call copy_x, copy_dy; /* for backward */
} dt_conv_worker;

/* Offsets in scratch, in bytes: filters in oneDNN's layout, real filters, dw of each group, dw, and the first of the
 * workers' rooms. */
typedef struct {
    size_t filters, real, group_dw, dw, room;
} dt_conv_regions;

/* Offsets in a worker's room, in bytes: the copy of x, the copy of dy, dx before it is added, and oneDNN's scratch. */
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

/* Makes share->state and sets its scratch_bytes. Destroy share->state even if this fails. */
DT_MUST_CHECK dt_status dt_onednn_conv_create(const dt_node *node, const dt_exec *ex, dt_conv_share *share);
void dt_onednn_conv_destroy(dt_conv_share *share);

/* Returns the bytes of a layout, rounded up to whole cache lines. */
size_t dt_conv_bytes(const dnnl_memory_desc_t *md);

#endif /* DT_CONV_ONEDNN_H */
