/*
 * network_file.h - makes the graph of a configuration, before and after the pass that quantizes it.
 */
#ifndef DT_NETWORK_FILE_H
#define DT_NETWORK_FILE_H

#include "../core/graph/graph.h"

/* Makes the network that cfg describes, of real values. It checks all of cfg. */
DT_MUST_CHECK dt_status dt_network_of(const dt_model_config *cfg, dt_graph **out);

/* Makes a copy of such a network, with the quantizers that `bits` asks for. */
DT_MUST_CHECK dt_status dt_network_quantize(const dt_graph *plain, const dt_model_config *bits, dt_graph **out);

#endif /* DT_NETWORK_FILE_H */
