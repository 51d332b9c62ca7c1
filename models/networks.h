/*
 * networks.h - what builds each network, for the table in networks.c.
 */
#ifndef DT_NETWORKS_H
#define DT_NETWORKS_H

#include "build.h"

/* The name as the table has it, or NULL if no network is called so. */
const char *dt_network_known(const char *name);
const char *dt_network_names(void); /* "vgg16, tiny, .." */

DT_MUST_CHECK dt_status dt_network_defaults(const char *name, dt_model_config *out);

/* The network that cfg describes, of real values: its bits are not looked at, but for their range. */
DT_MUST_CHECK dt_status dt_network_build(const dt_model_config *cfg, dt_graph **out);

/* Bits, rule, image size and classes within what any network takes. */
DT_MUST_CHECK dt_status dt_network_check_common(const dt_model_config *c);
/* That, and no field that is for capsule networks. */
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
