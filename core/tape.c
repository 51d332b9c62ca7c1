/*
 * tape.c - records nodes, plans their memory, runs them.
 *
 * Time for the planner: the forward of node i happens at i, its backward at 2n - 1 - i, n the number of nodes.
 * Tests: tests/test_tape.c.
 */
#include "tape.h"

#include "plan.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A node with what the tape owns for it. */
typedef struct {
    dt_node node;
    dt_tensor out;
    char name[64];
    int owns_scale;
    int keep;     /* out must survive the run */
    int backward; /* the loss depends on out, and out on something trained */
} tape_entry;

/* Which pointer a planned buffer is for. */
typedef enum { SLOT_DATA, SLOT_GRAD, SLOT_AUX } slot_kind;

typedef struct {
    slot_kind kind;
    tape_entry *entry;
    size_t offset;
} tape_slot;

struct dt_tape {
    dt_context *ctx;
    tape_entry **entry;
    int n, room;
    int compiled, training;
    tape_slot *slot;
    int n_slots;
    size_t workspace_bytes, scratch_bytes;
    int generation; /* of the context when the slots were bound */
    dt_tensor *loss;
    float *one; /* device: d loss / d loss */
};

dt_status dt_tape_create(dt_context *ctx, dt_tape **out)
{
    dt_tape *tape = calloc(1, sizeof *tape);
    DT_CHECK(tape, DT_ERR_MEMORY, "no memory for a tape");
    tape->ctx = ctx;
    tape->generation = -1;
    *out = tape;
    return DT_OK;
}

static const dt_kernel *tape_kernel(const dt_tape *tape, const dt_node *node)
{
    return tape->ctx->backend->kernels()[node->kind];
}

static void entry_destroy(dt_tape *tape, tape_entry *e)
{
    if (e->node.plan) tape_kernel(tape, &e->node)->release(&e->node);
    if (e->owns_scale) dt_device_free(tape->ctx, e->out.scale, (size_t)e->out.n_scale * sizeof(float));
    free((void *)e->node.params);
    free(e);
}

void dt_tape_destroy(dt_tape *tape)
{
    if (!tape) return;
    for (int i = tape->n - 1; i >= 0; i--) entry_destroy(tape, tape->entry[i]);
    dt_device_free(tape->ctx, tape->one, sizeof(float));
    free(tape->entry);
    free(tape->slot);
    free(tape);
}

static dt_status entry_infer(dt_tape *tape, tape_entry *e)
{
    dt_node *node = &e->node;
    const dt_op *op = dt_ops[node->kind];
    int constant = 1, wants_grad = 0;

    DT_CHECK(node->n_in >= op->min_in && node->n_in <= op->max_in, DT_ERR_ARGUMENT,
             "%s: %s takes %d to %d inputs, got %d", e->name, op->name, op->min_in, op->max_in, node->n_in);
    DT_TRY(op->infer(node));
    for (int k = 0; k < node->n_in; k++) {
        constant &= node->in[k]->constant;
        wants_grad |= node->in[k]->wants_grad;
    }
    e->out.constant = constant;
    e->out.wants_grad = wants_grad && !op->no_grad;
    if (e->out.n_scale > 0 && !e->out.scale) {
        DT_TRY(dt_device_alloc(tape->ctx, (size_t)e->out.n_scale * sizeof(float), (void **)&e->out.scale));
        e->owns_scale = 1;
    }
    return DT_OK;
}

static dt_status tape_grow(dt_tape *tape)
{
    if (tape->n < tape->room) return DT_OK;
    const int room = tape->room ? 2 * tape->room : 64;
    tape_entry **bigger = realloc(tape->entry, (size_t)room * sizeof *bigger);
    DT_CHECK(bigger, DT_ERR_MEMORY, "no memory for %d nodes", room);
    tape->entry = bigger;
    tape->room = room;
    return DT_OK;
}

dt_status dt_tape_apply(dt_tape *tape, dt_op_kind kind, const char *name, const void *params, dt_tensor *const *in,
                        int n_in, dt_tensor **out)
{
    const dt_op *op = dt_ops[kind];

    DT_CHECK(!tape->compiled, DT_ERR_SEALED, "%s: the tape is compiled and takes no more nodes", op->name);
    DT_CHECK(n_in <= DT_MAX_IN, DT_ERR_ARGUMENT, "%s: %d inputs, at most %d", op->name, n_in, DT_MAX_IN);
    DT_TRY(tape_grow(tape));
    tape_entry *e = calloc(1, sizeof *e);
    void *copy = op->params_bytes ? malloc(op->params_bytes) : NULL;
    if (!e || (op->params_bytes && !copy)) {
        free(e);
        free(copy);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for a node");
    }
    if (copy) memcpy(copy, params, op->params_bytes);
    snprintf(e->name, sizeof e->name, "%s", name ? name : op->name);
    e->node = (dt_node){ .kind = kind, .name = e->name, .params = copy, .n_in = n_in, .out = &e->out };
    memcpy(e->node.in, in, (size_t)n_in * sizeof *in);
    e->out.name = e->name;

    const dt_status status = entry_infer(tape, e);
    if (status != DT_OK) {
        entry_destroy(tape, e);
        return dt_forward(status, __FILE__, __LINE__);
    }
    tape->entry[tape->n++] = e;
    *out = &e->out;
    return DT_OK;
}

/* The node that makes t, or -1 for a tensor from outside. */
static int tape_maker(const dt_tape *tape, const dt_tensor *t)
{
    for (int i = 0; i < tape->n; i++) {
        if (&tape->entry[i]->out == t) return i;
    }
    return -1;
}

void dt_tape_keep(dt_tape *tape, const dt_tensor *t)
{
    const int i = tape_maker(tape, t);
    assert(i >= 0 && !tape->compiled);
    tape->entry[i]->keep = 1;
}

/* Marks, from the loss down, the nodes whose backward runs. */
static void tape_mark_backward(dt_tape *tape)
{
    for (int i = tape->n - 1; i >= 0; i--) {
        tape_entry *e = tape->entry[i];
        if (!tape->training || !e->out.wants_grad) continue;
        if (&e->out == tape->loss) e->backward = 1;
        if (!e->backward) continue;
        for (int k = 0; k < e->node.n_in; k++) {
            const int maker = tape_maker(tape, e->node.in[k]);
            if (maker >= 0) tape->entry[maker]->backward = tape->entry[maker]->out.wants_grad;
        }
    }
}

static int later(int a, int b)
{
    return a > b ? a : b;
}

/* Last time that entry i's output is read, and the last node that adds to its gradient (-1: none). */
static int last_read(const dt_tape *tape, int i, int *last_user)
{
    const int end = 2 * tape->n - 1;
    const dt_tensor *out = &tape->entry[i]->out;
    int last = i;

    *last_user = -1;
    if (tape->entry[i]->backward && dt_ops[tape->entry[i]->node.kind]->backward_reads & DT_READS_OUT) last = end - i;
    for (int j = i + 1; j < tape->n; j++) {
        const dt_node *user = &tape->entry[j]->node;
        for (int k = 0; k < user->n_in; k++) {
            if (user->in[k] != out) continue;
            last = later(last, j);
            if (!tape->entry[j]->backward) continue;
            *last_user = j;
            if (dt_ops[user->kind]->backward_reads & DT_READS_IN(k)) last = later(last, end - j);
        }
    }
    return last;
}

static void slot_add(dt_tape *tape, dt_buffer *buffer, slot_kind kind, tape_entry *e, size_t bytes, int first, int last)
{
    tape->slot[tape->n_slots] = (tape_slot){ .kind = kind, .entry = e };
    buffer[tape->n_slots++] = (dt_buffer){ .bytes = bytes, .first = first, .last = last };
}

/* The buffers of entry i with their lifetimes; marks who clears its gradient. */
static void entry_lifetimes(dt_tape *tape, int i, dt_buffer *buffer)
{
    tape_entry *e = tape->entry[i];
    const int end = 2 * tape->n - 1;
    int user = -1;
    const int last = last_read(tape, i, &user);
    const int whole_run = e->keep || (!tape->training && e->out.constant);

    slot_add(tape, buffer, SLOT_DATA, e, dt_tensor_bytes(&e->out), whole_run ? -1 : i, whole_run ? end + 1 : last);
    if (e->node.aux_bytes) {
        slot_add(tape, buffer, SLOT_AUX, e, e->node.aux_bytes, i, e->backward ? end - i : i);
    }
    if (!e->backward || user < 0) return;
    slot_add(tape, buffer, SLOT_GRAD, e, (size_t)dt_count(&e->out.shape) * sizeof(float), end - user, end - i);
    dt_node *first_adder = &tape->entry[user]->node;
    for (int k = 0; k < first_adder->n_in; k++) {
        if (first_adder->in[k] != &e->out) continue;
        first_adder->fresh |= 1u << k;
        break;
    }
}

static dt_status tape_plan(dt_tape *tape)
{
    const size_t most = 3 * (size_t)tape->n;
    dt_buffer *buffer = malloc(most * sizeof *buffer);
    tape->slot = malloc(most * sizeof *tape->slot);
    if (!buffer || !tape->slot) {
        free(buffer);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory to plan %d nodes", tape->n);
    }
    tape_mark_backward(tape);
    for (int i = 0; i < tape->n; i++) entry_lifetimes(tape, i, buffer);
    const dt_status placed = dt_plan_place(buffer, tape->n_slots, &tape->workspace_bytes);
    for (int i = 0; placed == DT_OK && i < tape->n_slots; i++) tape->slot[i].offset = buffer[i].offset;
    free(buffer);
    return placed;
}

static dt_status tape_prepare(dt_tape *tape)
{
    dt_exec ex = dt_context_exec(tape->ctx);
    ex.training = tape->training;
    for (int i = 0; i < tape->n; i++) {
        dt_node *node = &tape->entry[i]->node;
        const dt_kernel *kernel = tape_kernel(tape, node);
        size_t bytes = 0;
        DT_CHECK(kernel && kernel->forward, DT_ERR_UNSUPPORTED, "%s: backend %s has no kernel for %s", node->name,
                 tape->ctx->backend->name, dt_ops[node->kind]->name);
        if (kernel->prepare) DT_TRY(kernel->prepare(node, &ex, &bytes));
        if (bytes > tape->scratch_bytes) tape->scratch_bytes = bytes;
    }
    return DT_OK;
}

/* d loss / d loss */
static dt_status tape_seed(dt_tape *tape)
{
    const float one = 1.0f;
    DT_CHECK(dt_count(&tape->loss->shape) == 1 && tape->loss->wants_grad, DT_ERR_SHAPE,
             "%s: only one element that depends on a trained parameter can be differentiated", tape->loss->name);
    DT_TRY(dt_device_alloc(tape->ctx, sizeof one, (void **)&tape->one));
    DT_TRY(dt_device_write(tape->ctx, tape->one, &one, sizeof one));
    tape->loss->grad = tape->one;
    return DT_OK;
}

dt_status dt_tape_compile(dt_tape *tape, dt_tensor *loss)
{
    DT_CHECK(!tape->compiled, DT_ERR_SEALED, "the tape is compiled already");
    DT_CHECK(tape->n > 0, DT_ERR_ARGUMENT, "the tape is empty");
    tape->loss = loss;
    tape->training = loss != NULL;
    if (loss) {
        dt_tape_keep(tape, loss);
        DT_TRY(tape_seed(tape));
    }
    tape->compiled = 1;
    DT_TRY(tape_plan(tape));
    DT_TRY(tape_prepare(tape));
    return dt_context_reserve(tape->ctx, tape->workspace_bytes, tape->scratch_bytes);
}

/* Points every planned tensor into the workspace, which may have moved since the last run. */
static void tape_bind(dt_tape *tape)
{
    if (tape->generation == tape->ctx->generation) return;
    char *base = tape->ctx->workspace;
    for (int i = 0; i < tape->n_slots; i++) {
        const tape_slot *s = &tape->slot[i];
        void *p = base + s->offset;
        switch (s->kind) {
        case SLOT_DATA: s->entry->out.data = p; break;
        case SLOT_GRAD: s->entry->out.grad = p; break;
        case SLOT_AUX: s->entry->node.aux = p; break;
        }
    }
    tape->generation = tape->ctx->generation;
}

static dt_status run_forward(dt_tape *tape, int constants, const dt_exec *ex, dt_node_hook hook, void *user)
{
    for (int i = 0; i < tape->n; i++) {
        const dt_node *node = &tape->entry[i]->node;
        const int constant = !tape->training && node->out->constant;
        if (constant != constants) continue;
        DT_TRY(tape_kernel(tape, node)->forward(node, ex));
        if (hook) DT_TRY(hook(user, node));
    }
    return DT_OK;
}

static dt_status run_backward(dt_tape *tape, const dt_exec *ex, dt_node_hook hook, void *user)
{
    for (int i = tape->n - 1; i >= 0; i--) {
        const tape_entry *e = tape->entry[i];
        if (!e->backward) continue;
        const dt_kernel *kernel = tape_kernel(tape, &e->node);
        for (int k = 0; k < e->node.n_in; k++) {
            const dt_tensor *in = e->node.in[k];
            if (!(e->node.fresh & ~kernel->overwrites & 1u << k)) continue;
            DT_TRY(dt_device_zero(tape->ctx, in->grad, (size_t)dt_count(&in->shape) * sizeof(float)));
        }
        DT_TRY(kernel->backward(&e->node, ex));
        if (hook) DT_TRY(hook(user, &e->node));
    }
    return DT_OK;
}

dt_status dt_tape_run(dt_tape *tape, dt_pass pass, dt_node_hook hook, void *user)
{
    DT_CHECK(tape->compiled, DT_ERR_ARGUMENT, "the tape is not compiled");
    DT_CHECK(pass != DT_PASS_BACKWARD || tape->training, DT_ERR_ARGUMENT, "an inference tape has no backward");
    tape_bind(tape);
    const dt_exec ex = dt_context_exec(tape->ctx);
    if (pass == DT_PASS_BACKWARD) return run_backward(tape, &ex, hook, user);
    return run_forward(tape, pass == DT_PASS_CONSTANT, &ex, hook, user);
}

int dt_tape_n_nodes(const dt_tape *tape)
{
    return tape->n;
}

const dt_node *dt_tape_node(const dt_tape *tape, int i)
{
    return &tape->entry[i]->node;
}

size_t dt_tape_workspace_bytes(const dt_tape *tape)
{
    return tape->workspace_bytes;
}
