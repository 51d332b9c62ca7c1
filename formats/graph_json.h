/*
 * graph_json.h - graphs as JSON. Checkpoints hold it, people write it, and `detent inspect --graph` shows it.
 *
 *   { "format": "detent-network", "version": 1, "name": "small", "image": [32, 32, 3], "pixels": "normalised",
 *     "loss": "cross-entropy",
 *     "params": [ { "name": "stem.weight", "shape": [16, 3, 3, 3], "group": "weight", "values": "finite",
 *                   "init": "uniform", "value": 0.19245, "floor": null }, .. ],
 *     "nodes":  [ ["stem", "conv", ["image", "stem.weight"], { "stride": 1, "pad": 1, .. }], .. ],
 *     "scores": "classifier",
 *     "constants": [ { "name": "stem.act_quant.slope", "shape": [16] }, .. ] }
 *
 * A person may leave much out:
 *   "params", and the inputs of nodes that are parameters; models/imply.h adds them, of sizes that a node gives as
 *   "filters", "window" or "features"
 *   attributes, which then have their defaults
 *   "pixels" and "loss"; "scores", which is then the last node; "name", which is then the file's
 * A single input need not be a list, and one number stands for a list of equal ones. docs/NETWORK_FORMAT.md describes
 * the format.
 */
#ifndef DT_GRAPH_JSON_H
#define DT_GRAPH_JSON_H

#include <cjson/cJSON.h>

#include "../core/graph/graph.h"
#include "json_fields.h"

/* Adds to object everything that dt_graph_from_json needs to make the same graph, without data of parameters and
 * constants. */
DT_MUST_CHECK dt_status dt_graph_to_json(const dt_graph *g, cJSON *object);

/* Makes the graph of an object. DT_ERR_FORMAT names file, node, attribute, its value and what it must be. */
DT_MUST_CHECK dt_status dt_graph_from_json(const cJSON *object, const char *file, dt_graph **out);

/* Returns the value of one attribute of a node's params. A list of equal numbers becomes one number. The caller deletes
 * it. */
cJSON *dt_graph_attribute(const dt_field *f, const void *params);
/* Reads such a value into params. DT_ERR_FORMAT is as that of dt_field_read. */
DT_MUST_CHECK dt_status dt_graph_read_attribute(const dt_field *f, const dt_field_place *at, const cJSON *item,
                                                void *params);

#endif /* DT_GRAPH_JSON_H */
