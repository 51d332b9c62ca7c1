/*
 * json_file.h - a JSON text from a file or a string, with what cJSON lets pass refused.
 */
#ifndef DT_JSON_FILE_H
#define DT_JSON_FILE_H

#include <cjson/cJSON.h>

#include "detent/status.h"

/* UTF-8, no NUL in a string, nothing behind the value. file: for messages. The caller deletes *out. */
DT_MUST_CHECK dt_status dt_json_parse(const char *text, size_t bytes, const char *file, cJSON **out);

/* The whole file, of up to 64 MiB. */
DT_MUST_CHECK dt_status dt_json_file_read(const char *path, cJSON **out);

#endif /* DT_JSON_FILE_H */
