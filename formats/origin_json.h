/*
 * origin_json.h - what a network was trained on, as JSON and as the metadata `data` of detent's files.
 *
 *   {"name": "fashion-mnist", "images": 60000, "fingerprint": "8b9a..", "mean": [0.286, 0, 0, 0], "std": [..]}
 *
 * An unknown origin is not written, and a file without one is read as of unknown origin: so files of older versions
 * stay readable, and older versions, which ask for other metadata by name, read these files.
 * Used by: checkpoint.c, fixed_file.c, fixed_codes.c, program_file.c, capture_file.c, manifest.c.
 * Tests: tests/formats/test_origin.c.
 */
#ifndef DT_ORIGIN_JSON_H
#define DT_ORIGIN_JSON_H

#include "metadata.h"

/* Adds the fields to an empty object. DT_ERR_ARGUMENT names a value that no reader would take. */
DT_MUST_CHECK dt_status dt_origin_to_json(const dt_data_origin *o, cJSON *object);
/* file is for messages. */
DT_MUST_CHECK dt_status dt_origin_from_json(const cJSON *object, const char *file, dt_data_origin *out);

DT_MUST_CHECK dt_status dt_origin_add(dt_safetensors_writer *w, const dt_data_origin *o);
/* channels: of the network's images, each of which has a deviation above 0. */
DT_MUST_CHECK dt_status dt_origin_read(const dt_safetensors *f, const char *path, int channels, dt_data_origin *out);

/* A run of `saved` may go on with `here`: DT_ERR_ARGUMENT names both values. Of what is unknown nothing is said. */
DT_MUST_CHECK dt_status dt_origin_match(const dt_data_origin *saved, const dt_data_origin *here, const char *path);

#endif /* DT_ORIGIN_JSON_H */
