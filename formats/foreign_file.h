/*
 * foreign_file.h - files of other kinds where a safetensors file was expected: told by their first bytes.
 *
 * Used by: safetensors.c, when a file's length rules out a safetensors header.  Tests:
 * tests/formats/test_foreign_file.c.
 */
#ifndef DT_FOREIGN_FILE_H
#define DT_FOREIGN_FILE_H

#include <stddef.h>

enum { DT_FOREIGN_BYTES = 64 }; /* that decide */

/* What the file is and what to do about it, as one sentence's end: "is a zip archive, ..; convert it by .."; NULL: not
 * known. */
const char *dt_foreign_file(const unsigned char *begin, size_t bytes);

#endif /* DT_FOREIGN_FILE_H */
