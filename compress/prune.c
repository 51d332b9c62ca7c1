/*
 * prune.c - makes a pruned model of a model. Interface: include/detent/compress.h.
 *
 * Tests: tests/compress/test_prune.c.
 */
#include "prune.h"

#include "../core/names.h"
#include "../core/train/model.h"
#include "../quant/insert_parts.h"

#include <fnmatch.h>

const char *const dt_prune_kind_names[] = { "filters", "weights", NULL };
const char *const dt_prune_scope_names[] = { "layer", "global", NULL };

enum { MOST_GROUP = 64 };

int dt_prune_leaves_whole(const dt_graph *g, const dt_graph_node *n, const dt_pruning *how)
{
    const dt_layer_name name = dt_layer_name_of(g, n);

    for (int i = 0; i < how->n_whole; i++) {
        if (fnmatch(how->whole[i], name.s, 0) == 0) return 1;
    }
    return 0;
}

static dt_status check_groups(const dt_pruning *how)
{
    DT_CHECK(how->kind == DT_PRUNE_WEIGHTS, DT_ERR_ARGUMENT,
             "%d of %d weights are to stay, and filters are pruned; prune weights", how->group_keep, how->group_of);
    DT_CHECK(
        how->group_of <= MOST_GROUP && how->group_keep >= 1 && how->group_keep < how->group_of, DT_ERR_ARGUMENT,
        "%d,%d: %d of %d weights are to stay; needed are N,M where N is 1 or more and less than M, and M is up to %d",
        how->group_keep, how->group_of, how->group_keep, how->group_of, MOST_GROUP);
    return DT_OK;
}

static dt_status check(const dt_graph *g, const dt_pruning *how)
{
    DT_TRY(dt_check_word("kind", (int)how->kind, dt_prune_kind_names));
    DT_TRY(dt_check_word("scope", (int)how->scope, dt_prune_scope_names));
    if (how->group_of > 0) DT_TRY(check_groups(how));
    DT_CHECK(how->group_of > 0 || (how->share > 0.0f && how->share < 1.0f), DT_ERR_ARGUMENT,
             "a share of %g is to be pruned; needed is more than 0 and less than 1", (double)how->share);
    for (int i = 0; i < g->n_nodes && how->kind == DT_PRUNE_FILTERS; i++) {
        DT_CHECK(g->value[g->node[i].out]->facts.n_scale == 0, DT_ERR_UNSUPPORTED,
                 "%s computes on integers: %s is a %s; prune the network of reals, and quantize that", g->name,
                 dt_graph_name(g, g->node[i].out), dt_ops[g->node[i].kind]->name);
    }
    return DT_OK;
}

/* Of a graph whose parameters have their values, which it takes over. */
static dt_status prune_graph(dt_graph *now, const dt_pruning *how, dt_graph **out)
{
    dt_status status = check(now, how);

    if (status == DT_OK)
        status = how->kind == DT_PRUNE_FILTERS ? dt_prune_filters(now, how, out) : dt_prune_weights(now, how);
    if (status == DT_OK && how->kind == DT_PRUNE_WEIGHTS) *out = now;
    if (status != DT_OK || how->kind == DT_PRUNE_FILTERS) dt_graph_destroy(now);
    return status;
}

dt_status dt_prune(dt_model *m, const dt_pruning *how, dt_model **out)
{
    dt_graph *now = NULL, *pruned = NULL;

    DT_TRY(dt_model_snapshot(m, &now));
    DT_TRY(prune_graph(now, how, &pruned));
    DT_TRY(dt_model_open(m->ctx, pruned, out));
    (*out)->origin = m->origin;
    return DT_OK;
}
