/*
 * npy.h - an array of numpy's format: a header of text, then numbers.
 */
#ifndef DT_NPY_H
#define DT_NPY_H

#include "arrays.h"

/* Reads the array out->name from the n bytes of a .npy, which is in the file `path`. DT_ERR_FORMAT and
 * DT_ERR_UNSUPPORTED name file, array and value. */
DT_MUST_CHECK dt_status dt_npy_read(const char *path, const uint8_t *bytes, size_t n, dt_array_of *out);

#endif /* DT_NPY_H */
