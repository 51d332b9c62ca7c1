/*
 * networks.h - the known networks, and the functions of each for the table in networks.c.
 */
#ifndef DT_NETWORKS_H
#define DT_NETWORKS_H

#include "build.h"

/* Returns the table's own copy of the name, or NULL if no known network has it. */
const char *dt_network_known(const char *name);
/* Returns the names of all known networks: "vgg16, tiny, ..". */
const char *dt_network_names(void);

/* Sets the default configuration of a known network. */
DT_MUST_CHECK dt_status dt_network_defaults(const char *name, dt_model_config *out);

/* Builds the network that cfg describes, of real values. Bits are checked, and have no other effect. */
DT_MUST_CHECK dt_status dt_network_build(const dt_model_config *cfg, dt_graph **out);

/* DT_ERR_ARGUMENT if bits, channels or classes are out of the range that every network has. */
DT_MUST_CHECK dt_status dt_network_check_common(const dt_model_config *c);
/* Checks the same, and that no member is set that is for capsule networks. */
DT_MUST_CHECK dt_status dt_network_check_plain(const dt_model_config *c);

void dt_vgg16_defaults(dt_model_config *out);
DT_MUST_CHECK dt_status dt_vgg16_check(const dt_model_config *c);
void dt_vgg16_build(dt_builder *b);

void dt_tiny_defaults(dt_model_config *out);
DT_MUST_CHECK dt_status dt_tiny_check(const dt_model_config *c);
void dt_tiny_build(dt_builder *b);

void dt_shallowcaps_defaults(dt_model_config *out);
DT_MUST_CHECK dt_status dt_shallowcaps_check(const dt_model_config *c);
void dt_shallowcaps_build(dt_builder *b);

void dt_deepcaps_defaults(dt_model_config *out);
DT_MUST_CHECK dt_status dt_deepcaps_check(const dt_model_config *c);
void dt_deepcaps_build(dt_builder *b);

#endif /* DT_NETWORKS_H */
