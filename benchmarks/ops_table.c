/*
 * ops_table.c - which nodes a step runs, in which order, and which of them share a call; see ops.h.
 */
#include "ops.h"

#include <stdlib.h>

static dt_tape *tape_of(const ops_table *table)
{
    return table->trainer->tape[0].tape;
}

static dt_context *context_of(const ops_table *table)
{
    return table->trainer->model->ctx;
}

static int index_of(const dt_tape *tape, const dt_node *node)
{
    int i = 0;
    while (dt_tape_node(tape, i) != node) i++;
    return i;
}

/* The row that this node's pass joins, or NULL: that of the neighbour that has run before, which core/tape/tape_place.c
 * has given the same turn. */
static ops_row *neighbour(const ops_table *table, int i, ops_pass pass)
{
    const dt_tape *tape = tape_of(table);
    const dt_kernel *kernel = context_of(table)->backend->kernels()[dt_tape_node(tape, i)->kind];
    const int other = pass == OPS_FORWARD ? i - 1 : i + 1;

    if (!kernel->forward_all || other < 0 || other >= dt_tape_n_nodes(tape)) return NULL;
    if (dt_tape_node(tape, other)->kind != dt_tape_node(tape, i)->kind || table->row_of[pass][other] < 0) return NULL;
    return &table->row[table->row_of[pass][other]];
}

typedef struct {
    ops_table *table;
    ops_pass pass;
} listing;

/* A hook: checks the node and gives it a row. */
static dt_status list_node(void *user, const dt_node *node)
{
    const listing *l = user;
    ops_table *table = l->table;
    const int i = index_of(tape_of(table), node);
    const ops_cost cost = ops_cost_of(node, l->pass, context_of(table));
    ops_checked checked;
    ops_row *row = neighbour(table, i, l->pass);

    DT_TRY(ops_check(context_of(table), node, l->pass, &table->draw, &checked));
    if (row) {
        ops_cost_add(&row->cost, cost);
        row->count++;
        if (checked.error > row->checked.error) row->checked.error = checked.error;
        if (i < row->first) row->first = i;
    } else {
        row = &table->row[table->n_rows++];
        *row = (ops_row){ .op = dt_ops[node->kind]->name,
                          .name = node->name,
                          .pass = l->pass,
                          .first = i,
                          .count = 1,
                          .cost = cost,
                          .checked = checked };
    }
    table->row_of[l->pass][i] = (int)(row - table->row);
    return DT_OK;
}

static dt_status list_rows(ops_table *table)
{
    listing forward = { table, OPS_FORWARD }, backward = { table, OPS_BACKWARD };
    const dt_update *u = &table->trainer->tape[0].update;

    DT_TRY(dt_trainer_step(table->trainer)); /* sets what a step reads, and its tensors' places */
    DT_TRY(dt_tape_run(tape_of(table), DT_PASS_FORWARD, list_node, &forward));
    DT_TRY(dt_tape_run(tape_of(table), DT_PASS_BACKWARD, list_node, &backward));
    const ops_row update = { .op = "update",
                             .name = dt_optim_names[u->kind],
                             .pass = OPS_UPDATE,
                             .cost = ops_cost_of_update(u),
                             .checked = { "", 0.0 } };
    table->row[table->n_rows++] = update;
    return DT_OK;
}

dt_status ops_table_create(dt_trainer *t, ops_table *out)
{
    const int n = dt_tape_n_nodes(t->tape[0].tape);

    *out = (ops_table){ .trainer = t, .draw = 1 };
    out->row = calloc((size_t)(2 * n + 1), sizeof *out->row);
    for (int pass = 0; pass < 2; pass++) {
        out->row_of[pass] = malloc((size_t)n * sizeof(int));
        for (int i = 0; out->row_of[pass] && i < n; i++) out->row_of[pass][i] = -1;
    }
    DT_CHECK(out->row && out->row_of[0] && out->row_of[1], DT_ERR_MEMORY, "no memory for %d nodes", n);
    return list_rows(out);
}

void ops_table_destroy(ops_table *table)
{
    free(table->row_of[1]);
    free(table->row_of[0]);
    free(table->row);
}
