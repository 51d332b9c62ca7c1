/*
 * range_networks.h - networks with affine quantizers for tests: a small residual one, and what makes graphs of texts.
 */
#ifndef RANGE_NETWORKS_H
#define RANGE_NETWORKS_H

#include "tiny_run.h"

#include "../../formats/graph_json.h"
#include "../../formats/json_file.h"
#include "../../quant/insert_range.h"

/* A residual block, pools of each kind, a gate, and a classifier, on 16x16 images. */
static const char residual[] =
    "{ \"format\": \"detent-network\", \"name\": \"residual\", \"image\": [16, 16, 3], \"classes\": 10, \"nodes\": ["
    "[\"stem\", \"conv\", \"image\", { \"filters\": 8, \"window\": 3, \"pad\": 1 }],"
    "[\"stem.bn\", \"batchnorm\", \"stem\"],"
    "[\"stem.act\", \"relu\", \"stem.bn\", { \"most\": 6 }],"
    "[\"pool\", \"maxpool\", \"stem.act\", { \"window\": 2 }],"
    "[\"a\", \"conv\", \"pool\", { \"filters\": 8, \"window\": 3, \"pad\": 1 }],"
    "[\"a.bn\", \"batchnorm\", \"a\"],"
    "[\"a.act\", \"relu\", \"a.bn\"],"
    "[\"b\", \"conv\", \"a.act\", { \"filters\": 8, \"window\": 3, \"pad\": 1 }],"
    "[\"b.bn\", \"batchnorm\", \"b\"],"
    "[\"join\", \"add\", [\"b.bn\", \"pool\"]],"
    "[\"join.act\", \"relu\", \"join\"],"
    "[\"half\", \"avgpool\", \"join.act\", { \"window\": 2 }],"
    "[\"gate\", \"sigmoid\", \"half\"],"
    "[\"gated\", \"mul\", [\"half\", \"gate\"]],"
    "[\"mean\", \"avgpool\", \"gated\"],"
    "[\"flat\", \"flatten\", \"mean\"],"
    "[\"classifier\", \"linear\", \"flat\", { \"features\": 10 }] ] }";

static inline dt_graph *graph_of(const char *text)
{
    cJSON *object;
    dt_graph *g;

    MUST(dt_json_parse(text, strlen(text), "net.json", &object));
    MUST(dt_graph_from_json(object, "net.json", &g));
    cJSON_Delete(object);
    return g;
}

static const dt_range_choice w8a8 = { .wbits = 8, .abits = 8, .per_channel = 1, .decay = 0.9f };

static inline dt_graph *quantized(const char *text, const dt_range_choice *choice)
{
    dt_graph *g = graph_of(text), *out;

    MUST(dt_quant_insert_range(g, choice, &out));
    dt_graph_destroy(g);
    return out;
}

#endif /* RANGE_NETWORKS_H */
