/*
 * foreign_file.h - recognises files of other kinds, where a safetensors file was expected, by their first bytes.
 *
 * Used by: safetensors.c, when a file's length rules out a safetensors header.  Tests:
 * tests/formats/test_foreign_file.c.
 */
#ifndef DT_FOREIGN_FILE_H
#define DT_FOREIGN_FILE_H

#include <stddef.h>

enum { DT_FOREIGN_BYTES = 64 }; /* the first bytes, by which a file is recognised */

/* Returns the end of a sentence that says what the file is and what to do about it ("is a zip archive, ..; convert it
 * by .."), or NULL if it is not recognised. */
const char *dt_foreign_file(const unsigned char *begin, size_t bytes);

#endif /* DT_FOREIGN_FILE_H */
