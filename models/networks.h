/*
 * networks.h - the record functions of all networks, for the table in networks.c.
 */
#ifndef DT_NETWORKS_H
#define DT_NETWORKS_H

#include "../core/model.h"

/* Bits, rule, image size and classes within what any network takes. */
DT_MUST_CHECK dt_status dt_network_check_common(const dt_model_config *c);
/* That, and no field that is for capsule networks. */
DT_MUST_CHECK dt_status dt_network_check_plain(const dt_model_config *c);

void dt_vgg16_defaults(dt_model_config *out);
DT_MUST_CHECK dt_status dt_vgg16_check(const dt_model_config *c);
DT_MUST_CHECK dt_status dt_vgg16_record(dt_model *m, dt_tape *tape, dt_tensor *x, int training, dt_tensor **logits);

void dt_tiny_defaults(dt_model_config *out);
DT_MUST_CHECK dt_status dt_tiny_check(const dt_model_config *c);
DT_MUST_CHECK dt_status dt_tiny_record(dt_model *m, dt_tape *tape, dt_tensor *x, int training, dt_tensor **logits);

void dt_shallowcaps_defaults(dt_model_config *out);
DT_MUST_CHECK dt_status dt_shallowcaps_check(const dt_model_config *c);
DT_MUST_CHECK dt_status dt_shallowcaps_record(dt_model *m, dt_tape *tape, dt_tensor *x, int training,
                                              dt_tensor **logits);

void dt_deepcaps_defaults(dt_model_config *out);
DT_MUST_CHECK dt_status dt_deepcaps_check(const dt_model_config *c);
DT_MUST_CHECK dt_status dt_deepcaps_record(dt_model *m, dt_tape *tape, dt_tensor *x, int training, dt_tensor **logits);

#endif /* DT_NETWORKS_H */
