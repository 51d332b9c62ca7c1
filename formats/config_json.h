/*
 * config_json.h - configurations as JSON objects: of training, what a checkpoint holds; of a built-in network, what
 *                 checkpoints up to version 2 and fixed-point files of version 1 hold in place of a graph.
 *
 * Fields are named as in detent.h, enumerations are lower-case words, floats come back with the bits they had.
 * Reading wants every field exactly once, of its type and in its range, and no other field.
 * Tests: tests/formats/test_config_json.c.
 */
#ifndef DT_CONFIG_JSON_H
#define DT_CONFIG_JSON_H

#include "detent/detent.h"

#include <cjson/cJSON.h>

/* Adds every field to object. DT_ERR_ARGUMENT if a value is out of range: what is written can be read. */
DT_API DT_MUST_CHECK dt_status dt_train_config_write(const dt_train_config *cfg, cJSON *object);

/* file: for messages. DT_ERR_FORMAT names it, the field and its value. */
DT_API DT_MUST_CHECK dt_status dt_model_config_read(const cJSON *object, const char *file, dt_model_config *out);
DT_API DT_MUST_CHECK dt_status dt_train_config_read(const cJSON *object, const char *file, dt_train_config *out);

/* DT_ERR_ARGUMENT naming the first field that differs, its value in `file` and here. */
DT_API DT_MUST_CHECK dt_status dt_train_config_match(const dt_train_config *saved, const dt_train_config *here,
                                                     const char *file);

#endif /* DT_CONFIG_JSON_H */
