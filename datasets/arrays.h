/*
 * arrays.h - a data set from arrays of numbers: samples x and classes or labels y. safetensors_set.c and npz.c read
 * them.
 */
#ifndef DT_ARRAYS_H
#define DT_ARRAYS_H

#include "kinds.h"

enum { DT_ARRAY_DIMS = 8 };

typedef enum {
    DT_NUMBER_U8,
    DT_NUMBER_I8,
    DT_NUMBER_BOOL,
    DT_NUMBER_I16,
    DT_NUMBER_U16,
    DT_NUMBER_I32,
    DT_NUMBER_U32,
    DT_NUMBER_I64,
    DT_NUMBER_F32,
    DT_NUMBER_F64
} dt_number;

/* An array of a file. */
typedef struct {
    const char *name; /* "x" */
    dt_number type;
    int ndim;
    int64_t dim[DT_ARRAY_DIMS];
    int64_t count;
    void *data; /* owned */
} dt_array_of;

/* Sets *out to an array of the file, or leaves its data NULL where the file has none of that name. */
typedef dt_status (*dt_array_find)(void *file, const char *name, dt_array_of *out);

/* Fills d with x and y, or of TEST with x_test and y_test where the file has x_test, and then says r->is_split. */
DT_MUST_CHECK dt_status dt_arrays_read(dt_kind_request *r, dt_array_find find, void *file, dt_dataset *d);

#endif /* DT_ARRAYS_H */
