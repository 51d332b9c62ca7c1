/*
 * ops_time.c - how long each row takes; see ops.h.
 */
#include "ops.h"

enum { WAITED_STEPS = 2, MOST_LAUNCHES = 50 };
static const double replay_ms = 1.0; /* about as long as one replayed graph shall take */

/* Waits until the device has done everything that was launched. */
static dt_status wait_for(dt_context *ctx)
{
    int32_t word;
    return dt_device_read(ctx, &word, ctx->step, sizeof word);
}

static int is_cpu(const dt_context *ctx)
{
    return ctx->backend == &dt_backend_cpu;
}

/* ---- calls by themselves ---- */

static dt_status call_n(dt_status (*call)(void *user), void *user, int n)
{
    for (int i = 0; i < n; i++) DT_TRY(call(user));
    return DT_OK;
}

/* *graph: NULL where there can be none */
static dt_status record(dt_context *ctx, dt_status (*call)(void *user), void *user, int n, void **graph)
{
    *graph = NULL;
    if (!ctx->backend->capture_begin || ctx->opt.no_graph) return DT_OK;
    DT_TRY(ctx->backend->capture_begin(ctx->device));
    const dt_status recorded = call_n(call, user, n);
    DT_TRY(ctx->backend->capture_end(ctx->device, graph));
    return recorded;
}

dt_status ops_time_calls(dt_context *ctx, dt_status (*call)(void *user), void *user, int n, int rounds, double *ms)
{
    void *graph;
    dt_status status = call(user); /* warm */

    DT_TRY(status);
    DT_TRY(record(ctx, call, user, n, &graph));
    status = wait_for(ctx);
    for (int i = -1; status == DT_OK && i < rounds; i++) { /* the first replay is not counted */
        const double begin = bench_now();
        status = graph ? ctx->backend->replay(ctx->device, graph) : call_n(call, user, n);
        if (status == DT_OK) status = wait_for(ctx);
        if (i >= 0) ms[i] = 1e3 * (bench_now() - begin) / n;
    }
    if (graph) ctx->backend->graph_free(ctx->device, graph);
    return status;
}

/* ---- a device's rows: again and again ---- */

typedef struct {
    ops_table *table;
    const ops_row *row;
    ops_pass pass;
    int rounds;
    const dt_node *node[256]; /* of the row, in the tape's order */
} repeat;

enum { MOST_NODES = sizeof((repeat *)0)->node / sizeof(dt_node *) };

static dt_context *context_of(const ops_table *table)
{
    return table->trainer->model->ctx;
}

static dt_status clear_fresh(dt_context *ctx, const dt_node *node, unsigned overwrites)
{
    for (int k = 0; k < node->n_in; k++) {
        const dt_tensor *in = node->in[k];
        if (!in->grad || !(node->fresh & ~overwrites & 1u << k)) continue;
        DT_TRY(dt_device_zero(ctx, in->grad, dt_grad_bytes(in)));
    }
    return DT_OK;
}

/* What core/tape/tape.c does for the row's nodes. */
static dt_status run_row(void *user)
{
    const repeat *r = user;
    dt_context *ctx = context_of(r->table);
    const dt_exec ex = dt_context_exec(ctx);
    const dt_kernel *kernel = ctx->backend->kernels()[r->node[0]->kind];
    const int n = r->row->count;

    if (r->pass == OPS_FORWARD) {
        return kernel->forward_all ? kernel->forward_all(r->node, n, &ex) : kernel->forward(r->node[0], &ex);
    }
    for (int i = 0; i < n; i++) DT_TRY(clear_fresh(ctx, r->node[i], kernel->overwrites));
    return kernel->backward_all ? kernel->backward_all(r->node, n, &ex) : kernel->backward(r->node[0], &ex);
}

static dt_status run_update(void *user)
{
    const repeat *r = user;
    return dt_context_update(context_of(r->table), &r->table->trainer->tape[0].update);
}

/* Fills the row's times, with as many launches a replay as make it long enough. */
static dt_status time_repeated(repeat *r, dt_status (*call)(void *user), ops_row *row)
{
    dt_context *ctx = context_of(r->table);
    double once = 0.0;

    DT_TRY(ops_time_calls(ctx, call, r, 1, 1, &once));
    const double wanted = replay_ms / once;
    const int n = wanted < 1.0 ? 1 : wanted > MOST_LAUNCHES ? MOST_LAUNCHES : (int)wanted;
    row->n_ms = r->rounds;
    return ops_time_calls(ctx, call, r, n, r->rounds, row->ms);
}

/* A hook: when the last node of a row has run, all tensors of the row are alive. */
static dt_status repeat_node(void *user, const dt_node *node)
{
    repeat *r = user;
    const dt_tape *tape = r->table->trainer->tape[0].tape;

    for (int i = 0; i < r->table->n_rows; i++) {
        ops_row *row = &r->table->row[i];
        const int last = r->pass == OPS_FORWARD ? row->first + row->count - 1 : row->first;
        if (row->count == 0 || row->pass != r->pass || dt_tape_node(tape, last) != node) continue;
        DT_CHECK(row->count <= MOST_NODES, DT_ERR_RANGE, "%d nodes in one call, at most %d", row->count, MOST_NODES);
        for (int k = 0; k < row->count; k++) r->node[k] = dt_tape_node(tape, row->first + k);
        r->row = row;
        return time_repeated(r, run_row, row);
    }
    return DT_OK;
}

static dt_status time_on_device(ops_table *table, int rounds)
{
    repeat forward = { .table = table, .pass = OPS_FORWARD, .rounds = rounds };
    repeat backward = { .table = table, .pass = OPS_BACKWARD, .rounds = rounds };
    dt_tape *tape = table->trainer->tape[0].tape;

    DT_TRY(dt_tape_run(tape, DT_PASS_FORWARD, repeat_node, &forward));
    DT_TRY(dt_tape_run(tape, DT_PASS_BACKWARD, repeat_node, &backward));
    return time_repeated(&forward, run_update, &table->row[table->n_rows - 1]);
}

/* ---- a CPU's rows: within steps ---- */

typedef struct {
    ops_table *table;
    ops_pass pass;
    int round, node; /* node: the next one to look for */
    double last;     /* when the node before was done */
} watch;

/* A hook: what has passed since the node before is this node's. Nodes of one call come together, the first with all
 * of their time. */
static dt_status watch_node(void *user, const dt_node *node)
{
    watch *w = user;
    const dt_tape *tape = w->table->trainer->tape[0].tape;
    const double now = bench_now();
    const int step = w->pass == OPS_FORWARD ? 1 : -1;

    while (dt_tape_node(tape, w->node) != node) w->node += step;
    const int row = w->table->row_of[w->pass][w->node];
    w->table->row[row].ms[w->round] += 1e3 * (now - w->last);
    w->last = bench_now();
    return DT_OK;
}

static dt_status watch_step(ops_table *table, int round)
{
    dt_context *ctx = context_of(table);
    dt_tape *tape = table->trainer->tape[0].tape;
    watch forward = { .table = table, .pass = OPS_FORWARD, .round = round, .last = bench_now() };

    DT_TRY(dt_tape_run(tape, DT_PASS_FORWARD, watch_node, &forward));
    watch backward = { .table = table, .pass = OPS_BACKWARD, .round = round, .node = dt_tape_n_nodes(tape) - 1 };
    backward.last = bench_now();
    DT_TRY(dt_tape_run(tape, DT_PASS_BACKWARD, watch_node, &backward));
    const double begin = bench_now();
    DT_TRY(dt_context_update(ctx, &table->trainer->tape[0].update));
    table->row[table->n_rows - 1].ms[round] = 1e3 * (bench_now() - begin);
    return DT_OK;
}

static dt_status time_on_cpu(ops_table *table, int rounds)
{
    for (int round = 0; round < rounds; round++) DT_TRY(watch_step(table, round));
    for (int i = 0; i < table->n_rows; i++) table->row[i].n_ms = rounds;
    return DT_OK;
}

dt_status ops_time(ops_table *table, int rounds)
{
    return is_cpu(context_of(table)) ? time_on_cpu(table, rounds) : time_on_device(table, rounds);
}

dt_status ops_time_step(dt_trainer *t, double *ms, int rounds)
{
    for (int i = -WAITED_STEPS; i < rounds; i++) {
        const double begin = bench_now();
        DT_TRY(dt_trainer_step(t));
        DT_TRY(wait_for(t->model->ctx));
        if (i >= 0) ms[i] = 1e3 * (bench_now() - begin);
    }
    return DT_OK;
}
