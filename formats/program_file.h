/*
 * program_file.h - what the readers of both versions of program files share.
 */
#ifndef DT_PROGRAM_FILE_H
#define DT_PROGRAM_FILE_H

#include "../quant/program/program.h"
#include "safetensors.h"

#define DT_PROGRAM_FORMAT "detent-program"

/* program_v1.c: fills a zeroed program from a file of version 1, but its origin; it is not checked yet. path is for
 * messages. On failure too, p holds what dt_program_destroy releases. */
DT_MUST_CHECK dt_status dt_program_load_v1(const dt_safetensors *file, const char *path, dt_program *p);

#endif /* DT_PROGRAM_FILE_H */
