/*
 * tape_entry.h - inside dt_tape: what tape.c records and runs, and tape_place.c places.
 */
#ifndef DT_TAPE_ENTRY_H
#define DT_TAPE_ENTRY_H

#include "tape.h"

/* A node with what the tape owns for it. */
typedef struct {
    dt_node node;
    dt_tensor out;
    char *name; /* owned; node's and out's */
    int owns_scale;
    int keep;     /* out must survive the run */
    int backward; /* the loss depends on out, and out on something trained */
    int deferred; /* its backward is the optimiser's */
    int turn;
} tape_entry;

/* Which pointer a placed buffer is for. */
typedef enum { SLOT_DATA, SLOT_GRAD, SLOT_AUX } slot_kind;

typedef struct {
    slot_kind kind;
    tape_entry *entry;
    size_t offset;
} tape_slot;

struct dt_tape {
    dt_context *ctx;
    dt_purpose purpose;
    tape_entry **entry;
    const dt_node **node; /* those of the entries; from compile on */
    int n, room;
    int n_turns;
    int compiled, training; /* 1: backward runs */
    tape_slot *slot;
    int n_slots;
    size_t workspace_bytes, scratch_bytes;
    int generation; /* of the context when the slots were bound */
    dt_tensor *loss;
};

static inline const dt_kernel *dt_tape_kernel(const dt_tape *tape, const dt_node *node)
{
    return tape->ctx->backend->kernels()[node->kind];
}

/* Marks whose backward runs and who finds a gradient fresh, sets the turns, and places every tensor. */
DT_MUST_CHECK dt_status dt_tape_place(dt_tape *tape);

#endif /* DT_TAPE_ENTRY_H */
