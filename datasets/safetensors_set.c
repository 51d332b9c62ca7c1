/*
 * safetensors_set.c - the data set in a safetensors file: tensors x, y, and x_test, y_test, if it is divided.
 *
 * Interface: kinds.h; arrays.c says what the tensors hold.  Tests: tests/datasets/test_arrays.c.
 */
#include "../formats/safetensors.h"
#include "arrays.h"

#include <stdlib.h>
#include <string.h>

/* The types that a data set's numbers may have; 16-bit reals are read as f32. */
static int number_of(dt_safetensors_type type, dt_number *out)
{
    switch (type) {
    case DT_SAFETENSORS_U8: *out = DT_NUMBER_U8; return 1;
    case DT_SAFETENSORS_I8: *out = DT_NUMBER_I8; return 1;
    case DT_SAFETENSORS_BOOL: *out = DT_NUMBER_BOOL; return 1;
    case DT_SAFETENSORS_I16: *out = DT_NUMBER_I16; return 1;
    case DT_SAFETENSORS_U16: *out = DT_NUMBER_U16; return 1;
    case DT_SAFETENSORS_I32: *out = DT_NUMBER_I32; return 1;
    case DT_SAFETENSORS_U32: *out = DT_NUMBER_U32; return 1;
    case DT_SAFETENSORS_I64: *out = DT_NUMBER_I64; return 1;
    default: *out = DT_NUMBER_F32; return dt_safetensors_is_float(type);
    }
}

typedef struct {
    const char *path;
    dt_safetensors *file;
} opened;

static dt_status find(void *user, const char *name, dt_array_of *out)
{
    const opened *f = user;
    const dt_safetensors_tensor *t = dt_safetensors_find(f->file, name);

    if (!t) return DT_OK;
    DT_CHECK(number_of(t->type, &out->type), DT_ERR_FORMAT, "%s: '%s' is %s, expected numbers of 8 to 64 bits", f->path,
             name, dt_safetensors_type_name(t->type));
    out->ndim = t->ndim;
    memcpy(out->dim, t->dim, sizeof out->dim);
    out->count = t->count;
    const int is_float = dt_safetensors_is_float(t->type);
    out->data = malloc((size_t)(is_float ? t->count * (int64_t)sizeof(float) : t->end - t->begin) + 1);
    DT_CHECK(out->data, DT_ERR_MEMORY, "%s: no memory for '%s'", f->path, name);
    if (is_float) return dt_safetensors_read_floats(f->file, t, out->data);
    return dt_safetensors_read(f->file, t, out->data);
}

_Static_assert((int)DT_ARRAY_DIMS == (int)DT_SAFETENSORS_MAX_DIMS, "shapes are copied whole");

dt_status dt_safetensors_set_read(dt_kind_request *r, dt_dataset *d)
{
    opened f = { .path = r->path };

    DT_TRY(dt_safetensors_open(r->path, &f.file));
    const dt_status status = dt_arrays_read(r, find, &f, d);
    dt_safetensors_close(f.file);
    return status;
}
