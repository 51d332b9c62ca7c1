/*
 * array_files.h - for tests of data sets of arrays: writes safetensors files and numpy's archives.
 *
 * Used by: tests/datasets/test_arrays.c, tests/datasets/test_loader_messages.c.
 */
#ifndef ARRAY_FILES_H
#define ARRAY_FILES_H

#include "../../formats/safetensors.h"
#include "temp_files.h"

#include <zlib.h>

enum { BYTES_MOST = 1 << 14 };

typedef struct {
    const char *name, *descr; /* numpy's type */
    dt_safetensors_type type;
    int ndim;
    int64_t dim[4];
    const void *data;
    size_t bytes;
} array;

static inline void write_safetensors(const char *name, const array *a, int n)
{
    dt_safetensors_writer *w = NULL;

    cr_assert(dt_safetensors_writer_create(&w) == DT_OK);
    for (int i = 0; i < n; i++) {
        cr_assert(dt_safetensors_writer_add(w, a[i].name, a[i].type, a[i].ndim, a[i].dim, a[i].data) == DT_OK);
    }
    cr_assert(dt_safetensors_writer_write(w, temp_path(name)) == DT_OK, "%s", dt_last_error());
    dt_safetensors_writer_destroy(w);
}

static inline void put(uint8_t *to, size_t *at, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) to[(*at)++] = (uint8_t)(value >> (8 * i));
}

/* {'descr': '<f4', 'fortran_order': False, 'shape': (10, 3, 2), } */
static inline size_t make_npy(const array *a, uint8_t *to)
{
    static const uint8_t mark[8] = { 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0 };
    char header[128];
    size_t at = 0;
    int used = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (", a->descr);

    for (int i = 0; i < a->ndim; i++) used += snprintf(header + used, 24, "%lld, ", (long long)a->dim[i]);
    snprintf(header + used, 8, "), }\n");
    memcpy(to, mark, sizeof mark);
    at = sizeof mark;
    put(to, &at, (uint32_t)strlen(header), 2);
    memcpy(to + at, header, strlen(header));
    at += strlen(header);
    memcpy(to + at, a->data, a->bytes);
    return at + a->bytes;
}

static inline size_t deflate_raw(const uint8_t *from, size_t n, uint8_t *to)
{
    z_stream z = { .next_in = (Bytef *)(uintptr_t)from, .avail_in = (uInt)n, .next_out = to, .avail_out = BYTES_MOST };

    cr_assert(deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    cr_assert(deflate(&z, Z_FINISH) == Z_STREAM_END);
    const size_t made = z.total_out;
    deflateEnd(&z);
    return made;
}

/* Returns the archive's bytes in to. The directory's entries are put together while the files are. */
static inline size_t make_npz(const array *a, int n, int deflated, uint8_t *to)
{
    static uint8_t raw[BYTES_MOST], packed[BYTES_MOST];
    uint8_t directory[1024];
    size_t at = 0, used = 0;

    for (int i = 0; i < n; i++) {
        char name[32];
        const size_t begin = at, bytes = make_npy(&a[i], raw);
        const size_t packed_bytes = deflated ? deflate_raw(raw, bytes, packed) : bytes;
        const uint32_t crc = (uint32_t)crc32(0, raw, (uInt)bytes);
        snprintf(name, sizeof name, "%s.npy", a[i].name);
        const uint32_t sizes[3] = { crc, (uint32_t)packed_bytes, (uint32_t)bytes };
        put(to, &at, 0x04034b50, 4);
        put(directory, &used, 0x02014b50, 4);
        put(directory, &used, 20, 2);
        for (int k = 0; k < 2; k++) {
            uint8_t *into = k ? directory : to;
            size_t *in = k ? &used : &at;
            put(into, in, 20, 2);
            put(into, in, 0, 2);
            put(into, in, deflated ? 8 : 0, 2);
            put(into, in, 0, 4);
            for (int f = 0; f < 3; f++) put(into, in, sizes[f], 4);
            put(into, in, (uint32_t)strlen(name), 2);
            put(into, in, k ? 0 : 4, 2); /* the header has an extra field, as numpy's have */
        }
        for (int k = 0; k < 5; k++) put(directory, &used, 0, 2);
        used -= 2; /* comment, disk, attributes: 2, 2, 2, 4 bytes */
        put(directory, &used, 0, 2);
        put(directory, &used, (uint32_t)begin, 4);
        memcpy(directory + used, name, strlen(name));
        used += strlen(name);
        memcpy(to + at, name, strlen(name));
        at += strlen(name);
        put(to, &at, 0, 4);
        memcpy(to + at, deflated ? packed : raw, packed_bytes);
        at += packed_bytes;
    }
    const size_t begin = at;
    memcpy(to + at, directory, used);
    at += used;
    put(to, &at, 0x06054b50, 4);
    put(to, &at, 0, 4);
    put(to, &at, (uint32_t)n, 2);
    put(to, &at, (uint32_t)n, 2);
    put(to, &at, (uint32_t)used, 4);
    put(to, &at, (uint32_t)begin, 4);
    put(to, &at, 0, 2);
    return at;
}

static inline size_t write_npz(const char *name, const array *a, int n, int deflated)
{
    static uint8_t bytes[4 * BYTES_MOST];
    const size_t used = make_npz(a, n, deflated, bytes);

    temp_write(name, bytes, used);
    return used;
}

#endif /* ARRAY_FILES_H */
