/*
 * config_json.h - configurations as JSON objects. Checkpoints hold that of training. Checkpoints up to version 2 and
 *                 fixed-point files of version 1 hold that of a built-in network in place of a graph.
 *
 * Fields have their names in include/detent/, enumerations are lower-case words, and floats come back with equal bits.
 * A reader wants every field exactly once, of its type and in its range, and no other field.
 * Tests: tests/formats/test_config_json.c.
 */
#ifndef DT_CONFIG_JSON_H
#define DT_CONFIG_JSON_H

#include "detent/detent.h"

#include <cjson/cJSON.h>

/* Adds every field to object. DT_ERR_ARGUMENT: a value is out of the range that a reader accepts. */
DT_API DT_MUST_CHECK dt_status dt_train_config_write(const dt_train_config *cfg, cJSON *object);

/* Reads a network's configuration. DT_ERR_FORMAT names `file`, the field and its value. */
DT_API DT_MUST_CHECK dt_status dt_model_config_read(const cJSON *object, const char *file, dt_model_config *out);
/* Reads a training configuration, with the same errors. */
DT_API DT_MUST_CHECK dt_status dt_train_config_read(const cJSON *object, const char *file, dt_train_config *out);

/* DT_ERR_ARGUMENT names the first field that differs, its value in `file` and its value here. */
DT_API DT_MUST_CHECK dt_status dt_train_config_match(const dt_train_config *saved, const dt_train_config *here,
                                                     const char *file);

#endif /* DT_CONFIG_JSON_H */
