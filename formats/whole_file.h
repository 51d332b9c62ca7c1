/*
 * whole_file.h - files that are never half there: written aside in the same folder, fsynced, renamed.
 *
 * A link stays, and its target is replaced or made. What is no plain file is written into: a device, a pipe, or a
 * descriptor by the name /dev/fd/N. A replaced file keeps its mode; owner, hard links and the rest are a new file's.
 * Used by: safetensors_writer.c, program_c.c, vector_folder.c, png_file.c; dt_file_replace in
 * include/detent/checkpoint.h. Tests: tests/formats/test_whole_file.c, tests/formats/test_safetensors.c.
 */
#ifndef DT_WHOLE_FILE_H
#define DT_WHOLE_FILE_H

#include <stdio.h>

#include "detent/status.h"

/* Writes the contents; returns 0, with errno set, if that failed. What stdio remembers needs no look. */
typedef int (*dt_file_content)(const void *user, FILE *file);

/* Makes `path`, or replaces it whole. On failure a plain file that was there is as it was. */
DT_MUST_CHECK dt_status dt_whole_file_write(const char *path, dt_file_content content, const void *user);

/* Makes the folder and those above it, as far as they are not there. */
DT_MUST_CHECK dt_status dt_folder_make(const char *dir);

#endif /* DT_WHOLE_FILE_H */
