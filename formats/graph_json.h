/*
 * graph_json.h - graphs as JSON: what checkpoints hold, what people write, and what `detent inspect --graph` shows.
 *
 *   { "format": "detent-network", "version": 1, "name": "small", "image": [32, 32, 3], "pixels": "normalised",
 *     "loss": "cross-entropy",
 *     "params": [ { "name": "stem.weight", "shape": [16, 3, 3, 3], "group": "weight", "values": "finite",
 *                   "init": "uniform", "value": 0.19245, "floor": null }, .. ],
 *     "nodes":  [ ["stem", "conv", ["image", "stem.weight"], { "stride": 1, "pad": 1, .. }], .. ],
 *     "scores": "classifier",
 *     "constants": [ { "name": "stem.act_quant.slope", "shape": [16] }, .. ] }
 *
 * A person leaves much out: "params", and of a node the inputs that are parameters (models/imply.h), which "filters",
 * "window" and "features" stand for; attributes whose defaults suit; "pixels", "loss" and "scores", which is the last
 * node; "name", which is the file's. One input need not be a list, and one number stands for a list of equal ones.
 * docs/NETWORK_FORMAT.md.
 */
#ifndef DT_GRAPH_JSON_H
#define DT_GRAPH_JSON_H

#include <cjson/cJSON.h>

#include "../core/graph/graph.h"
#include "json_fields.h"

/* Adds all that reading needs to make the same graph, but data of parameters and constants. */
DT_MUST_CHECK dt_status dt_graph_to_json(const dt_graph *g, cJSON *object);

/* DT_ERR_FORMAT names file, node, attribute, its value and what it must be. */
DT_MUST_CHECK dt_status dt_graph_from_json(const cJSON *object, const char *file, dt_graph **out);

/* An attribute of a node's params: its value; one number for a list of equal ones. The caller deletes it. */
cJSON *dt_graph_attribute(const dt_field *f, const void *params);
/* And back, into params. DT_ERR_FORMAT as dt_field_read's. */
DT_MUST_CHECK dt_status dt_graph_read_attribute(const dt_field *f, const dt_field_place *at, const cJSON *item,
                                                void *params);

#endif /* DT_GRAPH_JSON_H */
