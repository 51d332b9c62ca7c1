/*
 * whole_file.h - writes files that are never half there. The contents go to another file in the same folder, which is
 *                synced to the disk and renamed.
 *
 * A link stays, and its target is replaced or made. A device, a pipe, or a descriptor by the name /dev/fd/N is written
 * into. A replaced file keeps its mode; its owner, hard links and other properties are those of a new file.
 * Used by: safetensors_writer.c, program_c.c, vector_folder.c, png_file.c; dt_file_replace in
 * include/detent/checkpoint.h, where folders are made and synced too. Tests: tests/formats/test_whole_file.c,
 * tests/formats/test_safetensors.c, tests/cli/test_cli_power.sh.
 */
#ifndef DT_WHOLE_FILE_H
#define DT_WHOLE_FILE_H

#include <stdio.h>

#include "detent/status.h"

/* A function that writes the contents. It returns 0, with errno set, if that failed; it need not look for errors that
 * ferror reports. */
typedef int (*dt_file_content)(const void *user, FILE *file);

enum { DT_PATH_BYTES = 4096 };

/* Writes folder/name to path; DT_ERR_ARGUMENT: it is too long. */
DT_MUST_CHECK dt_status dt_path_join(const char *folder, const char *name, char path[DT_PATH_BYTES]);
/* Makes the file, or replaces it whole. If that fails, a plain file that was there is as it was. */
DT_MUST_CHECK dt_status dt_whole_file_write(const char *path, dt_file_content content, const void *user);

#endif /* DT_WHOLE_FILE_H */
