/*
 * graph_record.c - puts a graph on a tape: the only place where a network is recorded.
 */
#include "graph.h"

#include <stdlib.h>
#include <string.h>

/* Params with what the tape decides: how many images it takes, and what for. */
typedef union {
    dt_batchnorm_params norm;
    dt_fixed_point_params fixed;
} tape_params;

static const void *params_for(const dt_graph_node *n, int batch, int training, const dt_tensor *x, tape_params *room)
{
    switch (n->kind) {
    case DT_OP_BATCHNORM:
        room->norm = *(const dt_batchnorm_params *)n->params;
        room->norm.training = training;
        return &room->norm;
    case DT_OP_FIXED_POINT:
        room->fixed = *(const dt_fixed_point_params *)n->params;
        room->fixed.images = x->constant ? 0 : batch;
        return &room->fixed;
    default: return n->params;
    }
}

static dt_status record_needed(const dt_graph *g, dt_tape *tape, int batch, int training, const char *needed,
                               dt_tensor **tensor)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        dt_tensor *in[DT_MAX_IN];
        tape_params room;
        if (!needed[n->out] || tensor[n->out]) continue;
        for (int k = 0; k < n->n_in; k++) {
            in[k] = tensor[n->in[k]];
            DT_CHECK(in[k], DT_ERR_ARGUMENT, "%s reads %s, which nobody has given", dt_graph_name(g, n->out),
                     dt_graph_name(g, n->in[k]));
        }
        const void *params = params_for(n, batch, training, in[0], &room);
        DT_TRY(dt_tape_apply(tape, n->kind, dt_graph_name(g, n->out), params, in, n->n_in, &tensor[n->out]));
    }
    return DT_OK;
}

dt_status dt_graph_record(const dt_graph *g, dt_tape *tape, int batch, int training, const int *wanted, int n,
                          dt_tensor **tensor)
{
    char *needed = calloc((size_t)g->n_values + 1, 1);

    DT_CHECK(needed, DT_ERR_MEMORY, "no memory to record the %d nodes of %s", g->n_nodes, g->name);
    for (int i = 0; i < n; i++) needed[wanted[i]] = 1;
    dt_graph_mark_needed(g, tensor, needed);
    const dt_status status = record_needed(g, tape, batch, training, needed, tensor);
    free(needed);
    return status;
}
