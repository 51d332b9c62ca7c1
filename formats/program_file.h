/*
 * program_file.h - what the readers of all versions of program files share.
 */
#ifndef DT_PROGRAM_FILE_H
#define DT_PROGRAM_FILE_H

#include "../quant/program/program.h"
#include "safetensors.h"

#define DT_PROGRAM_FORMAT "detent-program"

/* Fills a program that is all zeros from a file of version 1, without its origin. The caller checks the program. If
 * this fails, dt_program_destroy still has to release p. Messages begin with `path`. In program_v1.c. */
DT_MUST_CHECK dt_status dt_program_load_v1(const dt_safetensors *file, const char *path, dt_program *p);

#endif /* DT_PROGRAM_FILE_H */
