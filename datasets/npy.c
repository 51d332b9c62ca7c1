/*
 * npy.c - see npy.h.
 *
 *   \x93NUMPY, version (1, 0), (2, 0) or (3, 0), length of the header (2 bytes; from 2.0 on 4), the header:
 *   {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
 *
 * Numbers are little-endian and in C's order, as numpy has them on the machines that detent runs on.
 * Tests: tests/datasets/test_arrays.c.
 */
#include "npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_MOST = 4096 };

typedef struct {
    const char *path, *name;
    char header[HEADER_MOST + 1];
    const uint8_t *data;
    size_t data_bytes;
} npy;

static dt_status split(npy *f, const uint8_t *bytes, size_t n)
{
    static const uint8_t mark[6] = { 0x93, 'N', 'U', 'M', 'P', 'Y' };

    DT_CHECK(n >= 12 && memcmp(bytes, mark, sizeof mark) == 0 && bytes[6] >= 1 && bytes[6] <= 3, DT_ERR_FORMAT,
             "%s: '%s' is no array of numpy's (93 4e 55 4d 50 59, version 1 to 3)", f->path, f->name);
    const size_t length_bytes = bytes[6] == 1 ? 2 : 4;
    size_t length = 0;
    for (size_t i = 0; i < length_bytes; i++) length |= (size_t)bytes[8 + i] << (8 * i);
    const size_t begin = 8 + length_bytes;
    DT_CHECK(length <= HEADER_MOST && begin + length <= n, DT_ERR_FORMAT,
             "%s: '%s' has a header of %zu bytes, expected up to %d and within its %zu bytes", f->path, f->name, length,
             HEADER_MOST, n);
    memcpy(f->header, bytes + begin, length);
    f->header[length] = '\0';
    f->data = bytes + begin + length;
    f->data_bytes = n - begin - length;
    return DT_OK;
}

/* What stands behind 'key': in the header. */
static dt_status value_of(const npy *f, const char *key, const char **out)
{
    char quoted[32];

    snprintf(quoted, sizeof quoted, "'%s'", key);
    const char *p = strstr(f->header, quoted);
    if (p) p += strlen(quoted);
    if (p) p += strspn(p, " ");
    DT_CHECK(p && *p == ':', DT_ERR_FORMAT, "%s: '%s' has the header %.80s, which lacks %s", f->path, f->name,
             f->header, quoted);
    *out = p + 1 + strspn(p + 1, " ");
    return DT_OK;
}

static dt_status read_type(const npy *f, dt_array_of *out, size_t *bytes)
{
    static const struct {
        const char *descr;
        dt_number type;
        size_t bytes;
    } types[] = {
        { "'|u1'", DT_NUMBER_U8, 1 },  { "'|i1'", DT_NUMBER_I8, 1 },  { "'|b1'", DT_NUMBER_BOOL, 1 },
        { "'<i2'", DT_NUMBER_I16, 2 }, { "'<u2'", DT_NUMBER_U16, 2 }, { "'<i4'", DT_NUMBER_I32, 4 },
        { "'<u4'", DT_NUMBER_U32, 4 }, { "'<i8'", DT_NUMBER_I64, 8 }, { "'<f4'", DT_NUMBER_F32, 4 },
        { "'<f8'", DT_NUMBER_F64, 8 },
    };
    const char *descr = NULL, *order = NULL;

    DT_TRY(value_of(f, "descr", &descr));
    DT_TRY(value_of(f, "fortran_order", &order));
    DT_CHECK(strncmp(order, "False", 5) == 0, DT_ERR_UNSUPPORTED,
             "%s: '%s' is in Fortran's order; store numpy.ascontiguousarray of it", f->path, f->name);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strncmp(descr, types[i].descr, strlen(types[i].descr)) != 0) continue;
        out->type = types[i].type;
        *bytes = types[i].bytes;
        return DT_OK;
    }
    return dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__,
                    "%s: '%s' has the type %.12s, expected u1, i1, i2, u2, i4, u4, i8, b1, f4 or f8, little-endian; "
                    "convert it with astype",
                    f->path, f->name, descr);
}

static dt_status read_shape(const npy *f, dt_array_of *out)
{
    const char *p = NULL;

    DT_TRY(value_of(f, "shape", &p));
    DT_CHECK(*p == '(', DT_ERR_FORMAT, "%s: '%s' has the shape %.40s, expected (..)", f->path, f->name, p);
    out->ndim = 0;
    out->count = 1;
    for (p++; p += strspn(p, " ,"), *p != ')';) {
        char *end = NULL;
        const long long dim = strtoll(p, &end, 10);
        DT_CHECK(end != p && dim >= 0 && out->ndim < DT_ARRAY_DIMS && dim <= INT64_MAX / 8 / (out->count + 1),
                 DT_ERR_FORMAT, "%s: '%s' has the shape (.. %.40s, expected up to %d sizes", f->path, f->name, p,
                 DT_ARRAY_DIMS);
        out->dim[out->ndim++] = dim;
        out->count *= dim;
        p = end;
    }
    return DT_OK;
}

dt_status dt_npy_read(const char *path, const uint8_t *bytes, size_t n, dt_array_of *out)
{
    npy f = { .path = path, .name = out->name };
    size_t each = 0;

    DT_TRY(split(&f, bytes, n));
    DT_TRY(read_type(&f, out, &each));
    DT_TRY(read_shape(&f, out));
    DT_CHECK((size_t)out->count * each == f.data_bytes, DT_ERR_FORMAT,
             "%s: '%s' has %zu bytes of numbers, and its shape %" PRId64 " numbers of %zu bytes", path, out->name,
             f.data_bytes, out->count, each);
    out->data = malloc(f.data_bytes + 1);
    DT_CHECK(out->data, DT_ERR_MEMORY, "%s: no memory for '%s'", path, out->name);
    memcpy(out->data, f.data, f.data_bytes);
    return DT_OK;
}
