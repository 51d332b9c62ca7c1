/*
 * small_network.h - a small network as the JSON that a person writes, and the JSON of graphs.
 */
#ifndef SMALL_NETWORK_H
#define SMALL_NETWORK_H

#include <criterion/criterion.h>

#include "../../formats/graph_json.h"

#define MUST(call)                                                   \
    do {                                                             \
        const dt_status must_ = (call);                              \
        cr_assert(must_ == DT_OK, "%s: %s", #call, dt_last_error()); \
    } while (0)

static inline char *text_of(const dt_graph *g)
{
    cJSON *object = cJSON_CreateObject();

    MUST(dt_graph_to_json(g, object));
    char *text = cJSON_PrintUnformatted(object);
    cJSON_Delete(object);
    return text;
}

#define HEAD "{ \"format\": \"detent-network\", \"image\": [8, 8, 3], "

static const char small[] =
    HEAD "\"classes\": 5, \"nodes\": ["
         "[\"stem\", \"conv\", \"image\", { \"filters\": 4, \"window\": 3, \"pad\": 1 }],"
         "[\"stem.bn\", \"batchnorm\", \"stem\"],"
         "[\"act\", \"relu\", \"stem.bn\"],"
         "[\"side\", \"conv\", \"act\", { \"filters\": 4, \"window\": [1, 3], \"pad\": [0, 1, 0, 1] }],"
         "[\"join\", \"add\", [\"side\", \"act\"]],"
         "[\"pool\", \"maxpool\", \"join\", { \"window\": 2 }],"
         "[\"flat\", \"flatten\", \"pool\"],"
         "[\"classifier\", \"linear\", \"flat\", { \"features\": 5 }] ] }";

#endif /* SMALL_NETWORK_H */
