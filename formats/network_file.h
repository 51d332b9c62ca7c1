/*
 * network_file.h - the graph of what a configuration names, before and behind the passes that quantize it.
 */
#ifndef DT_NETWORK_FILE_H
#define DT_NETWORK_FILE_H

#include "../core/graph/graph.h"

/* The network that cfg names and describes, of real values; cfg as a whole is checked. */
DT_MUST_CHECK dt_status dt_network_of(const dt_model_config *cfg, dt_graph **out);

/* A copy of it, with quantizers where bits has some. */
DT_MUST_CHECK dt_status dt_network_quantize(const dt_graph *plain, const dt_model_config *bits, dt_graph **out);

#endif /* DT_NETWORK_FILE_H */
