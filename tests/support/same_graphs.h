/*
 * same_graphs.h - compares two graphs: equal but for the names.
 */
#ifndef SAME_GRAPHS_H
#define SAME_GRAPHS_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "../../core/graph/graph.h"

static inline void expect_equal_data(const char *name, const dt_graph *a, int of_a, const dt_graph *b, int of_b)
{
    const dt_graph_value *v = a->value[of_a], *w = b->value[of_b];

    cr_assert(v->source == w->source && v->data_type == w->data_type && dt_same_shape(&v->facts.shape, &w->facts.shape),
              "%s: %s and %s", name, v->name, w->name);
    if (!v->data) return;
    cr_assert(memcmp(v->data, w->data, dt_graph_data_bytes(a, of_a)) == 0, "%s: data of %s", name, v->name);
}

/* Equal but for the names: nodes with their params, which of the nodes they read, and the data of parameters. */
static inline void expect_equal_graphs(const dt_graph *a, const dt_graph *b)
{
    cr_assert(eq(int, a->n_nodes, b->n_nodes));
    for (int i = 0; i < a->n_nodes; i++) {
        const dt_graph_node *n = &a->node[i], *m = &b->node[i];
        const char *name = dt_graph_name(a, n->out);
        cr_assert(n->kind == m->kind && n->n_in == m->n_in, "node %d, %s: kinds %d and %d", i, name, (int)n->kind,
                  (int)m->kind);
        cr_assert(n->params == NULL || memcmp(n->params, m->params, dt_ops[n->kind]->params_bytes) == 0, "%s: params",
                  name);
        for (int k = 0; k < n->n_in; k++) {
            cr_assert(eq(int, a->value[n->in[k]]->node, b->value[m->in[k]]->node), "%s, input %d", name, k);
            expect_equal_data(name, a, n->in[k], b, m->in[k]);
        }
    }
}

#endif /* SAME_GRAPHS_H */
