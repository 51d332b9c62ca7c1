/*
 * tape_place.c - finds the nodes whose backward runs, the nodes that run together, and the place of each tensor in
 *                memory while it is alive.
 *
 * Nodes run in turns. A turn is one node, or several of one kind that a kernel takes in one call. Of n turns, the
 * forward of turn t runs at time t, and its backward at time 2n - 1 - t. place.c places the buffers by these times.
 * What a kernel can compute in place shares a buffer with what it is made of: memory that has just been read is in the
 * caches, and memory that is only written would be fetched first.
 * Tests: tests/core/test_tape.c.
 */
#include "place.h"
#include "tape_entry.h"

#include <stdlib.h>

/* Marks, from the loss down, the nodes whose backward runs. */
static void tape_mark_backward(dt_tape *tape)
{
    for (int i = tape->n - 1; i >= 0; i--) {
        tape_entry *e = tape->entry[i];
        if (!tape->training || !e->out.wants_grad) continue;
        if (&e->out == tape->loss) e->backward = 1;
        if (!e->backward) continue;
        for (int k = 0; k < e->node.n_in; k++) {
            const int maker = dt_tape_maker(tape, e->node.in[k]);
            if (maker >= 0) tape->entry[maker]->backward = tape->entry[maker]->out.wants_grad;
        }
    }
}

/* Nodes side by side that are alike share a turn where their kernel can take several. */
static void tape_set_turns(dt_tape *tape)
{
    for (int i = 0; i < tape->n; i++) {
        tape_entry *e = tape->entry[i];
        const tape_entry *before = i > 0 ? tape->entry[i - 1] : NULL;
        const dt_kernel *kernel = dt_tape_kernel(tape, &e->node);
        const int shares = before && kernel && kernel->forward_all && before->node.kind == e->node.kind &&
                           before->backward == e->backward && before->deferred == e->deferred &&
                           before->out.constant == e->out.constant;
        if (!shares) tape->n_turns++;
        e->turn = tape->n_turns - 1;
    }
}

static int later(int a, int b)
{
    return a > b ? a : b;
}

static int backward_time(const dt_tape *tape, const tape_entry *e)
{
    return 2 * tape->n_turns - 1 - e->turn;
}

/* Last time that entry i's output is read, and the last node that adds to its gradient (NULL: none). */
static int last_read(const dt_tape *tape, int i, const tape_entry **last_user)
{
    const tape_entry *e = tape->entry[i];
    int last = e->turn;

    *last_user = NULL;
    if (e->backward && dt_ops[e->node.kind]->backward_reads & DT_READS_OUT) last = backward_time(tape, e);
    for (int j = i + 1; j < tape->n; j++) {
        const tape_entry *user = tape->entry[j];
        for (int k = 0; k < user->node.n_in; k++) {
            if (user->node.in[k] != &e->out) continue;
            last = later(last, user->turn);
            if (!user->backward) continue;
            *last_user = user;
            if (dt_ops[user->node.kind]->backward_reads & DT_READS_IN(k)) last = later(last, backward_time(tape, user));
        }
    }
    return last;
}

/* its: the slot's size and lifetime */
static void slot_add(dt_tape *tape, dt_buffer *buffer, slot_kind kind, tape_entry *e, const dt_buffer *its)
{
    tape->slot[tape->n_slots] = (tape_slot){ .kind = kind, .entry = e };
    buffer[tape->n_slots++] = *its;
}

/* The buffers of entry i with their lifetimes. */
static void entry_lifetimes(dt_tape *tape, int i, dt_buffer *buffer)
{
    tape_entry *e = tape->entry[i];
    const tape_entry *user;
    const int after_all = 2 * tape->n_turns, last = last_read(tape, i, &user);
    const int whole_run = e->keep || (!tape->training && e->out.constant);
    const int done = e->deferred ? after_all : backward_time(tape, e); /* when its backward has run */
    const dt_buffer data = { .bytes = dt_tensor_bytes(&e->out),
                             .first = whole_run ? -1 : e->turn,
                             .last = whole_run ? after_all : last };
    const dt_buffer real = { .bytes = data.bytes, .first = e->turn, .last = last }; /* as long as codes are read */
    const dt_buffer aux = { .bytes = e->node.aux_bytes, .first = e->turn, .last = e->backward ? done : e->turn };

    slot_add(tape, buffer, SLOT_DATA, e, &data);
    if (aux.bytes) slot_add(tape, buffer, SLOT_AUX, e, &aux);
    if (e->out.wants_real) slot_add(tape, buffer, SLOT_REAL, e, &real);
    if (!e->backward || !user) return;
    if (e->deferred && e->out.grad_type == DT_F32) {
        e->out.grad = e->node.in[0]->grad;
        return;
    }
    const dt_buffer grad = { .bytes = dt_grad_bytes(&e->out), .first = backward_time(tape, user), .last = done };
    slot_add(tape, buffer, SLOT_GRAD, e, &grad);
}

/* Among the nodes whose backward has run before that of node i, and its inputs before k: one that adds to t. */
static int has_adder(const dt_tape *tape, const dt_tensor *t, int i, int k)
{
    for (int m = 0; m < k; m++) {
        if (tape->entry[i]->node.in[m] == t) return 1;
    }
    for (int j = i + 1; j < tape->n; j++) {
        const tape_entry *e = tape->entry[j];
        if (!e->backward || e->deferred) continue;
        for (int m = 0; m < e->node.n_in; m++) {
            if (e->node.in[m] == t) return 1;
        }
    }
    return 0;
}

/* Marks who finds a gradient empty, be it of an output or of a parameter. */
static void tape_mark_fresh(dt_tape *tape)
{
    for (int i = 0; i < tape->n; i++) {
        dt_node *node = &tape->entry[i]->node;
        if (!tape->entry[i]->backward || tape->entry[i]->deferred) continue;
        for (int k = 0; k < node->n_in; k++) {
            if (node->in[k]->wants_grad && !has_adder(tape, node->in[k], i, k)) node->fresh |= 1u << k;
        }
    }
}

/* The slot of such a pointer of an entry; -1: it has none. */
static int slot_of(const dt_tape *tape, slot_kind kind, const tape_entry *e)
{
    for (int i = 0; i < tape->n_slots; i++) {
        if (tape->slot[i].kind == kind && tape->slot[i].entry == e) return i;
    }
    return -1;
}

/* Makes `later`, whose life begins when that of `earlier` ends, a part of the same buffer. shared[i]: the slot whose
 * buffer slot i has. */
static void share(dt_buffer *buffer, int *shared, int earlier, int later)
{
    if (earlier < 0 || later < 0) return;
    const int root = shared[earlier];
    dt_buffer *b = &buffer[root], *joins = &buffer[later];

    if (joins->bytes != b->bytes || joins->first != b->last || joins->last < b->last) return;
    b->last = joins->last;
    joins->bytes = 0;
    shared[later] = root;
}

/* The maker of what entry e reads first, if e alone reads it; else NULL. */
static tape_entry *sole_source(const dt_tape *tape, const tape_entry *e)
{
    const dt_tensor *x = e->node.in[0];
    const int maker = dt_tape_maker(tape, x);

    return maker >= 0 && dt_tape_reader(tape, x) >= 0 ? tape->entry[maker] : NULL;
}

static int computes_in_place(const dt_tape *tape, const tape_entry *e)
{
    const dt_kernel *kernel = dt_tape_kernel(tape, &e->node);

    return e->node.n_in > 0 && kernel && kernel->in_place;
}

/* Values forward, in the order of the tape; gradients backward. Gradients join where they are overwritten. */
static void share_buffers(const dt_tape *tape, dt_buffer *buffer, int *shared)
{
    for (int i = 0; i < tape->n; i++) {
        const tape_entry *e = tape->entry[i], *source = computes_in_place(tape, e) ? sole_source(tape, e) : NULL;
        if (source) share(buffer, shared, slot_of(tape, SLOT_DATA, source), slot_of(tape, SLOT_DATA, e));
    }
    for (int i = tape->n - 1; i >= 0; i--) {
        const tape_entry *e = tape->entry[i], *source = computes_in_place(tape, e) ? sole_source(tape, e) : NULL;
        if (!source || !(e->node.fresh & dt_tape_kernel(tape, &e->node)->overwrites & 1u)) continue;
        share(buffer, shared, slot_of(tape, SLOT_GRAD, e), slot_of(tape, SLOT_GRAD, source));
    }
}

dt_status dt_tape_place(dt_tape *tape)
{
    const size_t most = SLOT_KINDS * (size_t)tape->n;
    dt_buffer *buffer = malloc(most * sizeof *buffer);
    int *shared = malloc(most * sizeof *shared);
    tape->slot = malloc(most * sizeof *tape->slot);
    if (!buffer || !shared || !tape->slot) {
        free(buffer);
        free(shared);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory to place %d nodes", tape->n);
    }
    tape_mark_backward(tape);
    tape_mark_fresh(tape);
    tape_set_turns(tape);
    for (int i = 0; i < tape->n; i++) entry_lifetimes(tape, i, buffer);
    for (int i = 0; i < tape->n_slots; i++) shared[i] = i;
    if (tape->training) share_buffers(tape, buffer, shared); /* in evaluation hooks look at inputs */
    const dt_status placed = dt_place_buffers(buffer, tape->n_slots, &tape->workspace_bytes);
    for (int i = 0; placed == DT_OK && i < tape->n_slots; i++) tape->slot[i].offset = buffer[shared[i]].offset;
    free(buffer);
    free(shared);
    return placed;
}
