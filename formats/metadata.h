/*
 * metadata.h - the strings under __metadata__ in detent's own safetensors files: format, version, and objects as JSON.
 *
 * Messages begin with `path`.
 *
 * Used by: checkpoint.c, program_file.c, fixed_file.c, fixed_codes.c, whose tests are its tests.
 */
#ifndef DT_METADATA_H
#define DT_METADATA_H

#include <cjson/cJSON.h>

#include "safetensors.h"

/* Adds format and version. */
DT_MUST_CHECK dt_status dt_metadata_begin(dt_safetensors_writer *w, const char *format, const char *version);
/* Adds an object as JSON. */
DT_MUST_CHECK dt_status dt_metadata_add(dt_safetensors_writer *w, const char *key, const cJSON *object);

/* Sets *out to the file's version. DT_ERR_FORMAT: the file has another format, or no version in oldest..newest. */
DT_MUST_CHECK dt_status dt_metadata_version(const dt_safetensors *f, const char *path, const char *format, int oldest,
                                            int newest, int *out);
/* Sets *out to a text, which is valid as long as f is open. DT_ERR_FORMAT: there is none. */
DT_MUST_CHECK dt_status dt_metadata_text(const dt_safetensors *f, const char *path, const char *key, const char **out);
/* Parses a text as JSON. The caller deletes *out. DT_ERR_FORMAT: there is none, or it is not JSON. */
DT_MUST_CHECK dt_status dt_metadata_json(const dt_safetensors *f, const char *path, const char *key, cJSON **out);

/* Raises the last failure again as s, with the file's name before its text, for a check that does not know the file. If
 * path is NULL, the text stays as it is. */
dt_status dt_metadata_blame(dt_status s, const char *path);
/* Raises the last failure, s, again as DT_ERR_FORMAT with the file's name, for a graph that refuses a file's nodes.
 * DT_ERR_MEMORY and DT_ERR_IO stay as they are, and a text that begins with the file's name is not changed. */
dt_status dt_file_blame(dt_status s, const char *path);

#endif /* DT_METADATA_H */
