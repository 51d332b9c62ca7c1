/*
 * origin_json.h - the origin of a network (dt_data_origin) as JSON, and as the metadata `data` of detent's files.
 *
 *   {"name": "fashion-mnist", "images": 60000, "fingerprint": "8b9a..", "mean": [0.286, 0, 0, 0], "std": [..]}
 *
 * An unknown origin is not written, and a file without one has an unknown origin. So files of older versions can be
 * read; and older versions, which do not ask for this metadata, can read these files.
 * Used by: checkpoint.c, fixed_file.c, fixed_codes.c, program_file.c, capture_file.c, manifest.c.
 * Tests: tests/formats/test_origin.c.
 */
#ifndef DT_ORIGIN_JSON_H
#define DT_ORIGIN_JSON_H

#include "metadata.h"

/* Adds the fields to an empty object. DT_ERR_ARGUMENT names a value that no reader would accept. */
DT_MUST_CHECK dt_status dt_origin_to_json(const dt_data_origin *o, cJSON *object);
/* Reads an origin from an object. DT_ERR_FORMAT names `file`, the field and its value. */
DT_MUST_CHECK dt_status dt_origin_from_json(const cJSON *object, const char *file, dt_data_origin *out);

/* Adds an origin, unless it is unknown, to a file's metadata. */
DT_MUST_CHECK dt_status dt_origin_add(dt_safetensors_writer *w, const dt_data_origin *o);
/* Reads the origin from a file's metadata. Each of the network's `channels` channels must have a deviation above 0. */
DT_MUST_CHECK dt_status dt_origin_read(const dt_safetensors *f, const char *path, int channels, dt_data_origin *out);

/* DT_ERR_ARGUMENT if a run with the origin `saved` may not go on with the data `here`; the message has both values.
 * What is unknown is not compared. */
DT_MUST_CHECK dt_status dt_origin_match(const dt_data_origin *saved, const dt_data_origin *here, const char *path);

#endif /* DT_ORIGIN_JSON_H */
