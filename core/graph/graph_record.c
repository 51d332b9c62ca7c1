/*
 * graph_record.c - puts a graph on a tape: the only place where a network is recorded.
 */
#include "graph.h"

#include <stdlib.h>

static dt_status record_needed(const dt_graph *g, dt_tape *tape, const char *needed, dt_tensor **tensor)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        const int n_in = dt_graph_n_read(n, dt_tape_purpose(tape)->training);
        dt_tensor *in[DT_MAX_IN];
        if (!needed[n->out] || tensor[n->out]) continue;
        for (int k = 0; k < n_in; k++) {
            in[k] = tensor[n->in[k]];
            DT_CHECK(in[k], DT_ERR_ARGUMENT, "%s reads %s, which nobody has given", dt_graph_name(g, n->out),
                     dt_graph_name(g, n->in[k]));
        }
        DT_TRY(dt_tape_apply(tape, n->kind, dt_graph_name(g, n->out), n->params, in, n_in, &tensor[n->out]));
    }
    return DT_OK;
}

dt_status dt_graph_record(const dt_graph *g, dt_tape *tape, const int *wanted, int n, dt_tensor **tensor)
{
    char *needed = calloc((size_t)g->n_values + 1, 1);

    DT_CHECK(needed, DT_ERR_MEMORY, "no memory to record the %d nodes of %s", g->n_nodes, g->name);
    for (int i = 0; i < n; i++) needed[wanted[i]] = 1;
    dt_graph_mark_needed(g, tensor, dt_tape_purpose(tape)->training, needed);
    const dt_status status = record_needed(g, tape, needed, tensor);
    free(needed);
    return status;
}
