/*
 * metadata.h - the strings under __metadata__ of detent's own safetensors files: what a file is, and objects as JSON.
 *
 * Used by: checkpoint.c, program_file.c, fixed_file.c, fixed_codes.c, whose tests are its tests.
 */
#ifndef DT_METADATA_H
#define DT_METADATA_H

#include <cjson/cJSON.h>

#include "safetensors.h"

/* format and version, which dt_metadata_check reads. */
DT_MUST_CHECK dt_status dt_metadata_begin(dt_safetensors_writer *w, const char *format, const char *version);
DT_MUST_CHECK dt_status dt_metadata_add(dt_safetensors_writer *w, const char *key, const cJSON *object);

/* The file is of that format and version; DT_ERR_FORMAT names its own. path: for messages, here and below. */
DT_MUST_CHECK dt_status dt_metadata_check(const dt_safetensors *f, const char *path, const char *format,
                                          const char *version);
/* The same for a format whose files of versions oldest..newest are read: *out is the file's. */
DT_MUST_CHECK dt_status dt_metadata_version(const dt_safetensors *f, const char *path, const char *format, int oldest,
                                            int newest, int *out);
/* The text, which lives as long as f; DT_ERR_FORMAT if there is none. */
DT_MUST_CHECK dt_status dt_metadata_text(const dt_safetensors *f, const char *path, const char *key, const char **out);
/* The text as JSON; the caller deletes it. */
DT_MUST_CHECK dt_status dt_metadata_json(const dt_safetensors *f, const char *path, const char *key, cJSON **out);

/* The last failure, s, again, with the file's name before its text: of a check that does not know the file. path NULL:
 * the text has it. */
dt_status dt_metadata_blame(dt_status s, const char *path);
/* s, as a fault of the file, DT_ERR_FORMAT with its name: nodes that a graph does not take, of which it knows more than
 * of files. Want of memory and what names the file already stay as they are. */
dt_status dt_file_blame(dt_status s, const char *path);

#endif /* DT_METADATA_H */
