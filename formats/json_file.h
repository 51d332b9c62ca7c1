/*
 * json_file.h - reads JSON from a file or a string, and refuses what cJSON would let pass.
 */
#ifndef DT_JSON_FILE_H
#define DT_JSON_FILE_H

#include <cjson/cJSON.h>

#include "detent/status.h"

/* Parses a text. It must be UTF-8, have no NUL in a string, and nothing behind the value; else DT_ERR_FORMAT names
 * `file`. The caller deletes *out. */
DT_MUST_CHECK dt_status dt_json_parse(const char *text, size_t bytes, const char *file, cJSON **out);

/* Parses a whole file, of up to 64 MiB. The caller deletes *out. */
DT_MUST_CHECK dt_status dt_json_file_read(const char *path, cJSON **out);

#endif /* DT_JSON_FILE_H */
