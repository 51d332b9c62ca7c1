/*
 * tape_entry.h - inside dt_tape: its nodes, which tape.c records and runs, and their tensors, which tape_place.c
 *                places.
 */
#ifndef DT_TAPE_ENTRY_H
#define DT_TAPE_ENTRY_H

#include "tape.h"

/* A node with what the tape owns for it. */
typedef struct {
    dt_node node;
    dt_tensor out;
    char *name;     /* owned; node and out point to it */
    int owns_scale; /* 1: out.scale is memory of this entry */
    int keep;       /* 1: out stays valid until the run ends */
    int backward;   /* 1: its backward is needed, because the loss depends on out, and out on a trained parameter */
    int deferred;   /* 1: the optimiser does its backward */
    int turn;       /* 0..n_turns-1; nodes of one turn run in one call */
    dt_shape whole; /* out's, while a hook looks at a part of the batch */
} tape_entry;

/* The pointer of an entry to which a slot belongs: out.data, out.grad, out.real or node.aux. */
typedef enum { SLOT_DATA, SLOT_GRAD, SLOT_REAL, SLOT_AUX, SLOT_KINDS } slot_kind;

/* A pointer of an entry that is placed in the workspace, and its place. */
typedef struct {
    slot_kind kind;
    tape_entry *entry;
    size_t offset; /* bytes from the workspace's begin */
} tape_slot;

struct dt_tape {
    dt_context *ctx;
    dt_purpose purpose;
    tape_entry **entry;
    const dt_node **node; /* [n] pointers to the entries' nodes; NULL before compile */
    int n, room;          /* entries; entries for which there is memory */
    int n_turns;
    int compiled, training; /* training is 1 if the tape was compiled with a loss, so that backward can run */
    tape_slot *slot;
    int n_slots;
    size_t workspace_bytes, scratch_bytes;
    int generation; /* the context's when the slots' pointers were last set; -1: never */
    dt_tensor *loss;
};

/* Returns the kernel of a node on the tape's device; NULL if the device has none. */
static inline const dt_kernel *dt_tape_kernel(const dt_tape *tape, const dt_node *node)
{
    return tape->ctx->backend->kernels()[node->kind];
}

/* Sets backward and turn of each entry, fresh of each node, and the place of each tensor. */
DT_MUST_CHECK dt_status dt_tape_place(dt_tape *tape);

#endif /* DT_TAPE_ENTRY_H */
