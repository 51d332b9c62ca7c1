/*
 * built_graph.h - graphs of networks by name, and the quantizers in them.
 */
#ifndef BUILT_GRAPH_H
#define BUILT_GRAPH_H

#include "tiny_run.h"

#include <stdio.h>

#include "../../core/graph/rewrite.h"
#include "../../models/networks.h"

static inline dt_model_config config_of(const char *name)
{
    dt_model_config c;

    MUST(dt_model_config_default(name, &c));
    return c;
}

static inline dt_graph *built(const char *name)
{
    const dt_model_config c = config_of(name);
    dt_graph *g;

    MUST(dt_network_build(&c, &g));
    return g;
}

static inline const dt_act_quant_params *quantizer_of(const dt_graph *g, const char *layer)
{
    char name[64];

    snprintf(name, sizeof name, "%s.act_quant", layer);
    const int value = dt_graph_find(g, name);
    cr_assert(value >= 0, "%s", name);
    return dt_graph_maker(g, value)->params;
}

#endif /* BUILT_GRAPH_H */
