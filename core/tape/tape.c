/*
 * tape.c - records nodes and runs them; tape_place.c places their tensors.
 *
 * Tests: tests/core/test_tape.c.
 */
#include "range_check.h"
#include "tape_entry.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

dt_status dt_tape_create(dt_context *ctx, const dt_purpose *purpose, dt_tape **out)
{
    dt_tape *tape = calloc(1, sizeof *tape);
    DT_CHECK(tape, DT_ERR_MEMORY, "no memory for a tape");
    tape->ctx = ctx;
    if (purpose) tape->purpose = *purpose;
    tape->generation = -1;
    *out = tape;
    return DT_OK;
}

static void entry_destroy(dt_tape *tape, tape_entry *e)
{
    if (e->node.state) dt_tape_kernel(tape, &e->node)->release(&e->node);
    if (e->owns_scale) dt_device_free(tape->ctx, e->out.scale, (size_t)e->out.n_scale * sizeof(float));
    free((void *)e->node.params);
    free(e->name);
    free(e);
}

void dt_tape_destroy(dt_tape *tape)
{
    if (!tape) return;
    for (int i = tape->n - 1; i >= 0; i--) entry_destroy(tape, tape->entry[i]);
    free(tape->entry);
    free((void *)tape->node);
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
    for (int k = 0; k < node->n_in; k++) {
        constant &= node->in[k]->constant;
        wants_grad |= node->in[k]->wants_grad;
    }
    node->purpose = tape->purpose;
    if (constant) node->purpose.images = 0;
    DT_TRY(op->infer(node));
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
    DT_CHECK(!name || strlen(name) <= DT_NAME_MAX, DT_ERR_ARGUMENT,
             "%s: the name '%.40s...' has %zu bytes, at most %d are allowed", op->name, name, strlen(name),
             DT_NAME_MAX);
    DT_TRY(tape_grow(tape));
    tape_entry *e = calloc(1, sizeof *e);
    char *own_name = strdup(name ? name : op->name);
    void *copy = op->params_bytes ? calloc(1, op->params_bytes) : NULL;
    if (!e || !own_name || (op->params_bytes && !copy)) {
        free(e);
        free(own_name);
        free(copy);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for a node");
    }
    if (copy && params) memcpy(copy, params, op->params_bytes);
    e->name = own_name;
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

int dt_tape_maker(const dt_tape *tape, const dt_tensor *t)
{
    for (int i = 0; i < tape->n; i++) {
        if (&tape->entry[i]->out == t) return i;
    }
    return -1;
}

void dt_tape_keep(dt_tape *tape, const dt_tensor *t)
{
    const int i = dt_tape_maker(tape, t);
    assert(i >= 0 && !tape->compiled);
    tape->entry[i]->keep = 1;
}

int dt_tape_keeps(const dt_tape *tape, const dt_tensor *t)
{
    const int maker = dt_tape_maker(tape, t);

    return maker >= 0 && tape->entry[maker]->keep;
}

int dt_tape_reader(const dt_tape *tape, const dt_tensor *t)
{
    int reader = -1;

    for (int i = 0; i < tape->n; i++) {
        for (int k = 0; k < tape->entry[i]->node.n_in; k++) {
            if (tape->entry[i]->node.in[k] != t) continue;
            if (reader >= 0) return -1;
            reader = i;
        }
    }
    return dt_tape_keeps(tape, t) ? -1 : reader;
}

void dt_tape_to_front(dt_tape *tape, int i, int front)
{
    tape_entry *e = tape->entry[i];
    assert(!tape->compiled && front <= i);
    memmove(tape->entry + front + 1, tape->entry + front, (size_t)(i - front) * sizeof *tape->entry);
    tape->entry[front] = e;
}

dt_status dt_tape_merge(dt_tape *tape, const int *at, int n, dt_op_kind kind, const void *params, dt_tensor *const *in,
                        int n_in)
{
    const dt_op *op = dt_ops[kind];
    tape_entry *e = tape->entry[at[n - 1]];
    void *copy = malloc(op->params_bytes);

    assert(!tape->compiled);
    DT_CHECK(copy, DT_ERR_MEMORY, "%s: no memory for its parameters", e->name);
    memcpy(copy, params, op->params_bytes);
    free((void *)e->node.params);
    e->node = (dt_node){ .kind = kind, .name = e->name, .params = copy, .n_in = n_in, .out = &e->out };
    memcpy(e->node.in, in, (size_t)n_in * sizeof *in);
    for (int k = n - 2; k >= 0; k--) {
        entry_destroy(tape, tape->entry[at[k]]);
        tape->n--;
        memmove(tape->entry + at[k], tape->entry + at[k] + 1, (size_t)(tape->n - at[k]) * sizeof *tape->entry);
    }
    return entry_infer(tape, e);
}

/* Nobody else computes with what the node reads, nor makes it. */
static int owns_inputs(const dt_tape *tape, const dt_node *node)
{
    for (int k = 0; k < node->n_in; k++) {
        if (dt_tape_maker(tape, node->in[k]) >= 0 || dt_tape_reader(tape, node->in[k]) < 0) return 0;
    }
    return 1;
}

void dt_tape_defer(dt_tape *tape, dt_op_kind kind)
{
    assert(!tape->compiled);
    for (int i = 0; i < tape->n; i++) {
        tape_entry *e = tape->entry[i];
        if (e->node.kind == kind && e->node.in[0]->wants_grad) e->deferred = owns_inputs(tape, &e->node);
    }
}

int dt_tape_deferred(const dt_tape *tape, const dt_node **out)
{
    int n = 0;
    for (int i = 0; i < tape->n; i++) {
        if (tape->entry[i]->deferred && tape->entry[i]->backward) out[n++] = &tape->entry[i]->node;
    }
    return n;
}

/* Backward walks from the end. */
int dt_tape_last_adder(const dt_tape *tape, const dt_tensor *t)
{
    for (int i = 0; i < tape->n; i++) {
        const tape_entry *e = tape->entry[i];
        if (!e->backward) continue;
        for (int k = 0; k < e->node.n_in; k++) {
            if (e->node.in[k] != t) continue;
            if (!e->deferred) return i;
            if (k == 0) return dt_tape_last_adder(tape, &e->out);
        }
    }
    return -1;
}

static dt_status prepare_node(dt_tape *tape, int i, const dt_exec *ex, size_t *scratch_bytes)
{
    dt_node *node = &tape->entry[i]->node;
    const dt_kernel *kernel = dt_tape_kernel(tape, node);

    DT_CHECK(kernel && kernel->forward, DT_ERR_UNSUPPORTED, "%s: backend %s has no kernel for %s", node->name,
             tape->ctx->backend->name, dt_ops[node->kind]->name);
    *scratch_bytes = 0;
    return kernel->prepare ? kernel->prepare(node, ex, scratch_bytes) : DT_OK;
}

static dt_status tape_prepare(dt_tape *tape)
{
    dt_exec ex = dt_context_exec(tape->ctx);
    size_t bytes = 0;

    ex.training = tape->training;
    for (int i = 0; i < tape->n; i++) {
        size_t wanted;
        DT_TRY(prepare_node(tape, i, &ex, &wanted));
        if (i == 0 || tape->entry[i]->turn != tape->entry[i - 1]->turn) bytes = 0;
        bytes += dt_round_up(wanted, DT_ALIGN);
        if (bytes > tape->scratch_bytes) tape->scratch_bytes = bytes;
    }
    return DT_OK;
}

/* d loss / d loss is the loss scale, 1 where there is none */
static dt_status tape_seed(dt_tape *tape)
{
    DT_CHECK(dt_count(&tape->loss->shape) == 1 && tape->loss->wants_grad, DT_ERR_SHAPE,
             "%s: only one element that depends on a trained parameter can be differentiated", tape->loss->name);
    tape->loss->grad = &tape->ctx->step->scale.value;
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
    tape->node = malloc((size_t)tape->n * sizeof *tape->node);
    DT_CHECK(tape->node, DT_ERR_MEMORY, "no memory to compile %d nodes", tape->n);
    for (int i = 0; i < tape->n; i++) tape->node[i] = &tape->entry[i]->node;
    DT_TRY(dt_tape_place(tape));
    const int before = dt_context_enter(tape->ctx);
    const dt_status prepared = tape_prepare(tape);
    dt_context_leave(before);
    DT_TRY(prepared);
    return dt_context_reserve(tape->ctx, tape->workspace_bytes, tape->scratch_bytes);
}

/* Points every placed tensor into the workspace, which may have moved since the last run. */
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
        case SLOT_REAL: s->entry->out.real = p; break;
        case SLOT_AUX: s->entry->node.aux = p; break;
        case SLOT_KINDS: break;
        }
    }
    tape->generation = tape->ctx->generation;
}

void dt_tape_count(dt_tape *tape, int n)
{
    assert(tape->compiled && !tape->training && n >= 0 && n <= tape->purpose.images);
    tape->purpose.counted = n;
    for (int i = 0; i < tape->n; i++) tape->entry[i]->node.purpose.counted = n;
}

/* Returns the shape of t in a batch of n images. What nodes make of images begins with as many rows as the batch has
 * images, or with a multiple of them; a loss has one row. */
static dt_shape shape_in_batch(const dt_tape *tape, const dt_tensor *t, int n)
{
    const int64_t images = tape->purpose.images;
    dt_shape shape = t->shape;

    if (!t->constant && images > 0 && shape.dim[0] % images == 0) shape.dim[0] = shape.dim[0] / images * n;
    return shape;
}

dt_shape dt_tape_counted_shape(const dt_tape *tape, const dt_tensor *t)
{
    const int n = tape->purpose.counted;

    return shape_in_batch(tape, t, n > 0 ? n : tape->purpose.images);
}

/* Calls the hook for a node. */
static dt_status look(dt_tape *tape, const dt_node *node, dt_node_hook hook, void *user)
{
    if (tape->purpose.counted == 0) return hook(user, node);
    for (int i = 0; i < tape->n; i++) {
        tape_entry *e = tape->entry[i];
        e->whole = e->out.shape;
        e->out.shape = dt_tape_counted_shape(tape, &e->out);
    }
    const dt_status status = hook(user, node);
    for (int i = 0; i < tape->n; i++) tape->entry[i]->out.shape = tape->entry[i]->whole;
    return status;
}

/* The node after the last one of i's turn. */
static int turn_end(const dt_tape *tape, int i)
{
    int end = i + 1;
    while (end < tape->n && tape->entry[end]->turn == tape->entry[i]->turn) end++;
    return end;
}

static dt_status run_forward(dt_tape *tape, int constants, const dt_exec *ex, dt_node_hook hook, void *user)
{
    const int checks = DT_CHECKS_RANGES && tape->ctx->backend == &dt_backend_cpu;

    for (int i = 0, end; i < tape->n; i = end) {
        const dt_node *node = tape->node[i];
        const dt_kernel *kernel = dt_tape_kernel(tape, node);
        const int constant = !tape->training && node->out->constant;
        end = turn_end(tape, i);
        if (constant != constants) continue;
        DT_TRY(kernel->forward_all ? kernel->forward_all(tape->node + i, end - i, ex) : kernel->forward(node, ex));
        for (int k = i; checks && k < end; k++) dt_range_check(tape->node[k]->out, tape->node[k]->name);
        for (int k = i; hook && k < end; k++) DT_TRY(look(tape, tape->node[k], hook, user));
    }
    return DT_OK;
}

static dt_status clear_fresh(const dt_tape *tape, const dt_node *node, unsigned overwrites)
{
    for (int k = 0; k < node->n_in; k++) {
        const dt_tensor *in = node->in[k];
        if (!in->grad || !(node->fresh & ~overwrites & 1u << k)) continue;
        DT_TRY(dt_device_zero(tape->ctx, in->grad, dt_grad_bytes(in)));
    }
    return DT_OK;
}

static dt_status run_backward(dt_tape *tape, const dt_exec *ex, dt_node_hook hook, void *user)
{
    for (int i = tape->n - 1; i >= 0; i--) {
        const tape_entry *e = tape->entry[i];
        const dt_kernel *kernel = dt_tape_kernel(tape, &e->node);
        if (!e->backward || e->deferred) continue;
        const int end = i + 1;
        while (i > 0 && tape->entry[i - 1]->turn == e->turn) i--;
        for (int k = i; k < end; k++) DT_TRY(clear_fresh(tape, tape->node[k], kernel->overwrites));
        DT_TRY(kernel->backward_all ? kernel->backward_all(tape->node + i, end - i, ex)
                                    : kernel->backward(tape->node[i], ex));
        for (int k = end - 1; hook && k >= i; k--) DT_TRY(hook(user, tape->node[k]));
    }
    return DT_OK;
}

dt_status dt_tape_run(dt_tape *tape, dt_pass pass, dt_node_hook hook, void *user)
{
    DT_CHECK(tape->compiled, DT_ERR_ARGUMENT, "the tape is not compiled");
    DT_CHECK(pass != DT_PASS_BACKWARD || tape->training, DT_ERR_ARGUMENT, "an inference tape has no backward");
    tape_bind(tape);
    const dt_exec ex = dt_context_exec(tape->ctx);
    const int before = dt_context_enter(tape->ctx);
    const dt_status status = pass == DT_PASS_BACKWARD ? run_backward(tape, &ex, hook, user)
                                                      : run_forward(tape, pass == DT_PASS_CONSTANT, &ex, hook, user);
    dt_context_leave(before);
    return status;
}

dt_context *dt_tape_context(const dt_tape *tape)
{
    return tape->ctx;
}

const dt_purpose *dt_tape_purpose(const dt_tape *tape)
{
    return &tape->purpose;
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
