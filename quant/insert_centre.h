/*
 * insert_centre.h - the mean image taken away before the network, as a pass.
 */
#ifndef DT_INSERT_CENTRE_H
#define DT_INSERT_CENTRE_H

#include "../core/graph/graph.h"

/* Makes a copy of g whose nodes read pixel / 256 less a mean image, the value image.centred, where those of g read the
 * image. The mean is a parameter of the group STATE, image.mean, with a value for each pixel and channel; it is 0 until
 * dt_model_centre sets it. The network reads pixels in 0..1 then (dt_graph.unit_pixels). It is for networks without
 * quantizers, before those are put in. DT_ERR_ARGUMENT: a name is taken. */
DT_MUST_CHECK dt_status dt_insert_centre(const dt_graph *g, dt_graph **out);

/* Returns the node that takes the mean image away, or NULL if there is none. */
const dt_graph_node *dt_centre_of(const dt_graph *g);

#endif /* DT_INSERT_CENTRE_H */
