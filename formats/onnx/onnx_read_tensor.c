/*
 * onnx_read_tensor.c - TensorProto: a constant's type, its dimensions, and where its numbers are.
 *
 * Numbers are raw bytes in the file, or bytes of another file, and stay there; or a list of varints, which is read.
 * Packed floats are raw bytes too.
 */
#include "onnx_read.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    DIMS = 1,
    TYPE = 2,
    SEGMENT = 3,
    FLOATS = 4,
    INT32S = 5,
    INT64S = 7,
    NAME = 8,
    RAW = 9,
    EXTERNAL = 13,
    PLACE = 14
};
enum { ENTRY_KEY = 1, ENTRY_VALUE = 2 };

/* What a message says, before its parts are compared with each other. */
typedef struct {
    dt_onnx_numbers dims, ints;
    int64_t type, is_external;
    dt_onnx_field raw; /* number 0: there is none */
    char *location;
    int64_t offset, bytes; /* of external data; bytes -1: not said */
    char *name;
} parts;

dt_status dt_onnx_append(const dt_onnx_message *m, const dt_onnx_field *f, dt_onnx_numbers *to, int most)
{
    dt_onnx_message packed = { m->source, m->what, f->at, f->at + f->bytes };

    DT_WIRE_CHECK(f->wire == DT_WIRE_VARINT || f->wire == DT_WIRE_BYTES, m,
                  "field %d has the wire type %d, needed are numbers", f->number, (int)f->wire);
    while (f->wire == DT_WIRE_VARINT || packed.at < packed.end) {
        uint64_t value = f->value;
        if (f->wire == DT_WIRE_BYTES) DT_TRY(dt_onnx_varint(&packed, &value));
        DT_TRY(
            dt_onnx_grow(m->source->path, (void **)&to->number, to->n, sizeof *to->number, most, "numbers in a list"));
        to->number[to->n++] = (int64_t)value;
        if (f->wire == DT_WIRE_VARINT) break;
    }
    return DT_OK;
}

static dt_status read_number(const dt_onnx_message *m, const char *key, const char *text, int64_t *out)
{
    char *end = NULL;
    const long long value = strtoll(text, &end, 10);

    DT_WIRE_CHECK(text[0] >= '0' && text[0] <= '9' && *end == '\0', m, "'%s' of external data is '%.40s', no number",
                  key, text);
    *out = value;
    return DT_OK;
}

/* One pair of key and value; others than these three, such as a checksum, are left out. */
static dt_status keep_entry(const dt_onnx_message *m, const char *key, char **value, parts *p)
{
    if (strcmp(key, "location") == 0) {
        free(p->location);
        p->location = *value;
        *value = NULL;
    } else if (strcmp(key, "offset") == 0) {
        DT_TRY(read_number(m, key, *value, &p->offset));
    } else if (strcmp(key, "length") == 0) {
        DT_TRY(read_number(m, key, *value, &p->bytes));
    }
    return DT_OK;
}

static dt_status read_entry(dt_onnx_message *m, char **key, char **value)
{
    dt_onnx_field f;
    int is_there;

    for (;;) {
        DT_TRY(dt_onnx_next(m, &f, &is_there));
        if (!is_there) break;
        if (f.number == ENTRY_KEY) DT_TRY(dt_onnx_text(m, &f, key));
        if (f.number == ENTRY_VALUE) DT_TRY(dt_onnx_text(m, &f, value));
    }
    DT_WIRE_CHECK(*key && *value, m, "an entry of external data lacks its %s", *key ? "value" : "key");
    return DT_OK;
}

static dt_status read_external(const dt_onnx_message *m, const dt_onnx_field *f, parts *p)
{
    dt_onnx_message entry;
    char *key = NULL, *value = NULL;

    DT_TRY(dt_onnx_child(m, f, "StringStringEntryProto", &entry));
    dt_status status = read_entry(&entry, &key, &value);
    if (status == DT_OK) status = keep_entry(m, key, &value, p);
    free(key);
    free(value);
    return status;
}

static dt_status read_field(dt_onnx_message *m, const dt_onnx_field *f, parts *p)
{
    switch (f->number) {
    case DIMS: return dt_onnx_append(m, f, &p->dims, DT_ONNX_MAX_DIMS + 1);
    case TYPE: return dt_onnx_integer(m, f, 0, INT32_MAX, &p->type);
    case INT32S:
    case INT64S: return dt_onnx_append(m, f, &p->ints, DT_ONNX_MAX_COUNT);
    case NAME: return dt_onnx_text(m, f, &p->name);
    case EXTERNAL: return read_external(m, f, p);
    case PLACE: return dt_onnx_integer(m, f, 0, 1, &p->is_external);
    case SEGMENT: DT_WIRE_CHECK(0, m, "a constant in segments (field %d), which are not understood", SEGMENT);
    case FLOATS:
    case RAW:
        DT_WIRE_CHECK(f->wire == DT_WIRE_BYTES && p->raw.number == 0, m,
                      "numbers in field %d of wire type %d; understood is one row of bytes, once", f->number,
                      (int)f->wire);
        p->raw = *f;
        return DT_OK;
    default: return DT_OK;
    }
}

/* The numbers of a list, in as many bytes as the type has. */
static dt_status take_list(const dt_onnx_message *m, const parts *p, dt_onnx_tensor *t)
{
    const int64_t count = dt_onnx_count(t);
    const size_t each = dt_onnx_type_bytes(t->type);

    DT_WIRE_CHECK(p->ints.n == count, m, "%d numbers for dimensions of %" PRId64, p->ints.n, count);
    DT_WIRE_CHECK(t->type != DT_ONNX_FLOAT || count == 0, m, "reals in a list of integers, %" PRId64, count);
    t->data = malloc((size_t)count * each + 1);
    DT_CHECK(t->data, DT_ERR_MEMORY, "%s: no memory for %" PRId64 " numbers", m->source->path, count);
    for (int64_t i = 0; i < count; i++) { /* little-endian, as the file's raw bytes */
        memcpy((char *)t->data + (size_t)i * each, &p->ints.number[i], each);
    }
    return DT_OK;
}

static dt_status take_raw(const dt_onnx_message *m, const parts *p, dt_onnx_tensor *t)
{
    const uint64_t needed = (uint64_t)dt_onnx_count(t) * dt_onnx_type_bytes(t->type);

    DT_WIRE_CHECK(p->raw.bytes == needed, m, "%" PRIu64 " bytes of numbers, and its dimensions need %" PRIu64,
                  p->raw.bytes, needed);
    t->file = m->source;
    t->at = p->raw.at;
    return DT_OK;
}

/* Finds the file among those that are open, or opens it. */
static dt_status find_file(dt_onnx *file, const char *location, dt_onnx_source **out)
{
    for (int i = 1; i < file->n_files; i++) {
        if (strcmp(file->file[i]->path, location) == 0) {
            *out = file->file[i];
            return DT_OK;
        }
    }
    DT_CHECK(file->n_files < DT_ONNX_MAX_FILES, DT_ERR_UNSUPPORTED, "%s: data in more than %d files", file->path,
             DT_ONNX_MAX_FILES - 1);
    DT_TRY(dt_onnx_source_open_beside(file->path, location, &file->file[file->n_files]));
    *out = file->file[file->n_files++];
    return DT_OK;
}

static dt_status take_external(dt_onnx *file, const dt_onnx_message *m, const parts *p, dt_onnx_tensor *t)
{
    const int64_t needed = dt_onnx_count(t) * (int64_t)dt_onnx_type_bytes(t->type);

    DT_WIRE_CHECK(p->location, m, "external data without a location, %" PRId64 " bytes", needed);
    DT_TRY(find_file(file, p->location, &t->file));
    const int64_t there = (int64_t)t->file->bytes;
    DT_WIRE_CHECK(p->bytes == -1 || p->bytes == needed, m,
                  "external data of %" PRId64 " bytes, and its dimensions need %" PRId64, p->bytes, needed);
    DT_WIRE_CHECK(p->offset <= there && needed <= there - p->offset, m,
                  "external data of %" PRId64 " bytes from %" PRId64 " on, and '%.80s' has %" PRId64, needed, p->offset,
                  p->location, there);
    t->at = (uint64_t)p->offset;
    return DT_OK;
}

static dt_status take_shape(const dt_onnx_message *m, const parts *p, dt_onnx_tensor *t)
{
    int64_t left = DT_ONNX_MAX_COUNT;

    DT_WIRE_CHECK(p->dims.n <= DT_ONNX_MAX_DIMS, m, "more than %d dimensions", DT_ONNX_MAX_DIMS);
    t->type = (int)p->type;
    t->n_dims = p->dims.n;
    for (int k = 0; k < p->dims.n; k++) {
        t->dim[k] = p->dims.number[k];
        DT_WIRE_CHECK(t->dim[k] >= 0 && t->dim[k] <= left, m,
                      "dimension %d is %" PRId64 "; understood are constants of at most %d elements", k, t->dim[k],
                      DT_ONNX_MAX_COUNT);
        if (t->dim[k] > 0) left /= t->dim[k];
    }
    return DT_OK;
}

static dt_status take(dt_onnx *file, const dt_onnx_message *m, const parts *p, dt_onnx_tensor *t)
{
    DT_TRY(take_shape(m, p, t));
    if (dt_onnx_type_bytes(t->type) == 0) return DT_OK; /* refused by whoever reads it */
    if (p->is_external) return take_external(file, m, p, t);
    if (p->raw.number != 0) return take_raw(m, p, t);
    return take_list(m, p, t);
}

static dt_status read_parts(dt_onnx_message *m, parts *p)
{
    dt_onnx_field f;
    int is_there;

    for (;;) {
        DT_TRY(dt_onnx_next(m, &f, &is_there));
        if (!is_there) return DT_OK;
        DT_TRY(read_field(m, &f, p));
    }
}

dt_status dt_onnx_read_tensor(dt_onnx *file, dt_onnx_message *m, dt_onnx_tensor *t, char **name)
{
    parts p = { .bytes = -1 };

    dt_status status = read_parts(m, &p);
    if (status == DT_OK) status = take(file, m, &p, t);
    free(p.dims.number);
    free(p.ints.number);
    free(p.location);
    *name = p.name;
    return status;
}
