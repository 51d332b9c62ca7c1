/*
 * safetensors.h - reads and writes the safetensors format: named arrays behind a JSON header.
 *
 *   8 bytes: n, little-endian | n bytes: JSON, blanks at its end | data, without holes or overlaps
 *   {"__metadata__": {"key": "text"}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
 *
 * A tensor is a whole number of bytes, also if its elements have 4 or 6 bits. Strings are UTF-8, without NUL. Opening a
 * file checks its header completely, so that a file that breaks a rule is never half read. Reader and writer need a
 * little-endian machine, which the compiler checks.
 * Source: the format's description in the README of github.com/huggingface/safetensors.
 * Tests: tests/formats/test_safetensors.c.
 */
#ifndef DT_SAFETENSORS_H
#define DT_SAFETENSORS_H

#include "detent/detent.h"

enum { DT_SAFETENSORS_MAX_DIMS = 8 };

/* All types of the reference implementation (safetensors/src/tensor.rs), with their bits. Most of them are never read,
 * but they are known here, so that no file is refused for a tensor that nobody reads. */
#define DT_SAFETENSORS_TYPE_MAP(XX)                                                                                   \
    XX(F32, 32)                                                                                                       \
    XX(I32, 32)                                                                                                       \
    XX(I64, 64)                                                                                                       \
    XX(U8, 8)                                                                                                         \
    XX(I8, 8) XX(F64, 64) XX(F16, 16) XX(BF16, 16) XX(I16, 16) XX(BOOL, 8) XX(U16, 16) XX(U32, 32) XX(U64, 64)        \
        XX(C64, 64) XX(F8_E4M3, 8) XX(F8_E5M2, 8) XX(F8_E8M0, 8) XX(F8_E4M3FNUZ, 8) XX(F8_E5M2FNUZ, 8) XX(F6_E2M3, 6) \
            XX(F6_E3M2, 6) XX(F4, 4)

typedef enum {
#define XX(name, bits) DT_SAFETENSORS_##name,
    DT_SAFETENSORS_TYPE_MAP(XX)
#undef XX
        DT_SAFETENSORS_TYPE_COUNT
} dt_safetensors_type;

typedef struct {
    const char *name; /* owned by the file */
    dt_safetensors_type type;
    int ndim; /* 0: a scalar */
    int64_t dim[DT_SAFETENSORS_MAX_DIMS];
    int64_t count;
    int64_t begin, end; /* in bytes from the start of the data; end is the first byte behind */
} dt_safetensors_tensor;

typedef struct dt_safetensors dt_safetensors;
typedef struct dt_safetensors_writer dt_safetensors_writer;

/* Returns the name of a type, such as "F32". */
const char *dt_safetensors_type_name(dt_safetensors_type type);

/* Opens a file and checks its header. DT_ERR_IO: it cannot be read. DT_ERR_FORMAT: it breaks a rule; the message names
 * file, tensor and values. */
DT_MUST_CHECK dt_status dt_safetensors_open(const char *path, dt_safetensors **out);
void dt_safetensors_close(dt_safetensors *f);

/* Returns the number of tensors. */
int dt_safetensors_count(const dt_safetensors *f);
/* Returns tensor i, 0 <= i < dt_safetensors_count, in the order of the header. It is valid until close. */
const dt_safetensors_tensor *dt_safetensors_at(const dt_safetensors *f, int i);
/* Returns the tensor of that name, or NULL if there is none. It is valid until close. */
const dt_safetensors_tensor *dt_safetensors_find(const dt_safetensors *f, const char *name);
/* Returns a text of the metadata, or NULL if there is none. It is valid until close. */
const char *dt_safetensors_metadata(const dt_safetensors *f, const char *key);

/* Returns 1 if t has that shape. A scalar and shapes of ones are equal: each is one value. */
int dt_safetensors_has_shape(const dt_safetensors_tensor *t, int ndim, const int64_t *dim);

/* Returns 1 if dt_safetensors_read_floats takes the type. In safetensors_floats.c. */
int dt_safetensors_is_float(dt_safetensors_type type);
/* Reads a tensor of F32, F16, BF16 or F64 as F32. F64 is rounded to the nearest; the others are exact. DT_ERR_FORMAT
 * names a value beyond F32. */
DT_MUST_CHECK dt_status dt_safetensors_read_floats(const dt_safetensors *f, const dt_safetensors_tensor *t, float *to);

/* Copies the tensor's end - begin bytes to `to`. */
DT_MUST_CHECK dt_status dt_safetensors_read(const dt_safetensors *f, const dt_safetensors_tensor *t, void *to);

/* Makes a writer of a file without tensors and metadata. */
DT_MUST_CHECK dt_status dt_safetensors_writer_create(dt_safetensors_writer **out);
void dt_safetensors_writer_destroy(dt_safetensors_writer *w);
/* Adds a text to the metadata. key and text are copied. */
DT_MUST_CHECK dt_status dt_safetensors_writer_metadata(dt_safetensors_writer *w, const char *key, const char *text);
/* Adds a tensor. name is copied; data must stay until the writer is destroyed, or are NULL, and come when the file is
 * written. Add wide types first, because readers may want aligned data. */
DT_MUST_CHECK dt_status dt_safetensors_writer_add(dt_safetensors_writer *w, const char *name, dt_safetensors_type type,
                                                  int ndim, const int64_t *dim, const void *data);
/* Writes the bytes of tensor i, in the order of adding. */
typedef dt_status (*dt_safetensors_fill)(const void *user, int i, void *to);
/* Says what gives the bytes of tensors that were added without. */
void dt_safetensors_writer_fill(dt_safetensors_writer *w, dt_safetensors_fill fill, const void *user);
/* Makes the file, or replaces it whole, as dt_whole_file_write does. Equal calls give equal bytes. */
DT_MUST_CHECK dt_status dt_safetensors_writer_write(const dt_safetensors_writer *w, const char *path);

#endif /* DT_SAFETENSORS_H */
