/*
 * flatbuffer.c - the reading half of flatbuffer.h. Numbers are read byte by byte, because nothing promises that a
 *                damaged file keeps them aligned.
 */
#include "flatbuffer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OFFSET_BYTES = 4, IDENTIFIER_BYTES = 4, HEAD_BYTES = OFFSET_BYTES + IDENTIFIER_BYTES, VTABLE_HEAD = 4 };

static const size_t type_bytes[] = {
    [DT_FLATBUFFER_I8] = 1,  [DT_FLATBUFFER_U8] = 1,  [DT_FLATBUFFER_I32] = 4,    [DT_FLATBUFFER_U32] = 4,
    [DT_FLATBUFFER_U64] = 8, [DT_FLATBUFFER_F32] = 4, [DT_FLATBUFFER_OFFSET] = 4,
};

/* Reads an unsigned number of n bytes. */
static uint64_t number_at(const dt_flatbuffer *f, size_t at, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++) v |= (uint64_t)f->data[at + i] << (8 * i);
    return v;
}

static int is_inside(const dt_flatbuffer *f, size_t at, size_t n)
{
    return at <= f->bytes && n <= f->bytes - at;
}

/* Follows the offset that is at `from`, which is inside; `need` bytes must be there. */
static dt_status follow(const dt_flatbuffer *f, const char *place, const char *field, size_t from, size_t need,
                        size_t *out)
{
    const size_t distance = (size_t)number_at(f, from, OFFSET_BYTES);

    DT_CHECK(distance >= OFFSET_BYTES, DT_ERR_FORMAT, "%s: %s.%s: an offset of %zu bytes, the least is %d", f->path,
             place, field, distance, OFFSET_BYTES);
    DT_CHECK(is_inside(f, from + distance, need), DT_ERR_FORMAT,
             "%s: %s.%s: refers to %zu bytes at byte %zu, the file has %zu", f->path, place, field, need,
             from + distance, f->bytes);
    *out = from + distance;
    return DT_OK;
}

/* Sets the members of t, whose place is set, of the table at `at`; its first 4 bytes are inside. */
static dt_status open_table(dt_flatbuffer *f, size_t at, dt_flatbuffer_table *t)
{
    const int32_t back = (int32_t)(uint32_t)number_at(f, at, OFFSET_BYTES);
    const int64_t vtable = (int64_t)at - back;

    DT_CHECK(vtable >= 0 && is_inside(f, (size_t)vtable, VTABLE_HEAD), DT_ERR_FORMAT,
             "%s: %s: its vtable begins at byte %" PRId64 ", the file has %zu", f->path, t->place, vtable, f->bytes);
    t->file = f;
    t->at = at;
    t->vtable = (size_t)vtable;
    t->vtable_bytes = (size_t)number_at(f, t->vtable, 2);
    t->bytes = (size_t)number_at(f, t->vtable + 2, 2);
    DT_CHECK(t->vtable_bytes >= VTABLE_HEAD && is_inside(f, t->vtable, t->vtable_bytes), DT_ERR_FORMAT,
             "%s: %s: a vtable of %zu bytes at byte %zu, the file has %zu", f->path, t->place, t->vtable_bytes,
             t->vtable, f->bytes);
    DT_CHECK(t->bytes >= OFFSET_BYTES && is_inside(f, at, t->bytes), DT_ERR_FORMAT,
             "%s: %s: a table of %zu bytes at byte %zu, the file has %zu", f->path, t->place, t->bytes, at, f->bytes);
    return DT_OK;
}

dt_status dt_flatbuffer_open(dt_flatbuffer *f, const char *identifier, const char *name, dt_flatbuffer_table *root)
{
    size_t at;

    DT_CHECK(f->bytes >= HEAD_BYTES && memcmp(f->data + OFFSET_BYTES, identifier, IDENTIFIER_BYTES) == 0, DT_ERR_FORMAT,
             "%s: no file of format %s, which it would name in bytes 4 to 7 of its %zu", f->path, identifier, f->bytes);
    DT_CHECK(f->bytes <= DT_FLATBUFFER_BYTES, DT_ERR_FORMAT, "%s: %zu bytes, at most %d are read", f->path, f->bytes,
             DT_FLATBUFFER_BYTES);
    f->budget = f->bytes * DT_FLATBUFFER_BUDGET;
    snprintf(root->place, sizeof root->place, "%s", name);
    DT_TRY(follow(f, name, "root", 0, OFFSET_BYTES, &at));
    DT_TRY(open_table(f, at, root));
    return DT_OK;
}

/* Sets *at to the field's place in the file, or to 0 if it is missing. */
static dt_status find_field(const dt_flatbuffer_table *t, const dt_flatbuffer_field *f, size_t *at)
{
    const size_t entry = VTABLE_HEAD + 2 * (size_t)f->slot, need = type_bytes[f->type];
    const size_t offset = entry + 2 <= t->vtable_bytes ? (size_t)number_at(t->file, t->vtable + entry, 2) : 0;

    *at = 0;
    if (offset == 0) return DT_OK;
    DT_CHECK(offset >= OFFSET_BYTES && offset + need <= t->bytes, DT_ERR_FORMAT,
             "%s: %s.%s: %zu bytes at byte %zu of its table, which has %zu", t->file->path, t->place, f->name, need,
             offset, t->bytes);
    *at = t->at + offset;
    return DT_OK;
}

/* The number of a field's bits, as an integer; what is above 63 bits becomes the largest. */
static int64_t integer_of(dt_flatbuffer_type type, uint64_t bits)
{
    switch (type) {
    case DT_FLATBUFFER_I8: return (int8_t)bits;
    case DT_FLATBUFFER_I32: return (int32_t)(uint32_t)bits;
    default: return bits > INT64_MAX ? INT64_MAX : (int64_t)bits;
    }
}

dt_status dt_flatbuffer_integer(const dt_flatbuffer_table *t, const dt_flatbuffer_field *f, int64_t *out)
{
    int64_t value = (int64_t)f->otherwise;
    size_t at;

    DT_TRY(find_field(t, f, &at));
    if (at) value = integer_of(f->type, number_at(t->file, at, type_bytes[f->type]));
    DT_CHECK(value >= f->low && value <= f->high, DT_ERR_FORMAT,
             "%s: %s.%s is %" PRId64 "%s, what is understood is %" PRId64 "..%" PRId64, t->file->path, t->place,
             f->name, value, at ? "" : " by default", f->low, f->high);
    *out = value;
    return DT_OK;
}

dt_status dt_flatbuffer_float(const dt_flatbuffer_table *t, const dt_flatbuffer_field *f, float *out)
{
    float value = (float)f->otherwise;
    size_t at;

    DT_TRY(find_field(t, f, &at));
    if (at) {
        const uint32_t bits = (uint32_t)number_at(t->file, at, sizeof value);
        memcpy(&value, &bits, sizeof value);
    }
    DT_CHECK(isfinite(value), DT_ERR_FORMAT, "%s: %s.%s is %g, it must be finite", t->file->path, t->place, f->name,
             (double)value);
    *out = value;
    return DT_OK;
}

dt_status dt_flatbuffer_look(const dt_flatbuffer_table *t, const dt_flatbuffer_field *f, size_t element_bytes,
                             dt_flatbuffer_vector *out)
{
    dt_flatbuffer *file = t->file;
    dt_flatbuffer_vector v = { .of = t, .field = f };
    size_t from, at;

    DT_TRY(find_field(t, f, &from));
    if (from) {
        DT_TRY(follow(file, t->place, f->name, from, OFFSET_BYTES, &at));
        v.n = (size_t)number_at(file, at, OFFSET_BYTES);
        v.data = file->data + at + OFFSET_BYTES;
        DT_CHECK(v.n <= (file->bytes - at - OFFSET_BYTES) / element_bytes, DT_ERR_FORMAT,
                 "%s: %s.%s: %zu elements of %zu bytes at byte %zu, the file has %zu", file->path, t->place, f->name,
                 v.n, element_bytes, at + OFFSET_BYTES, file->bytes);
        DT_CHECK(v.n * element_bytes <= file->budget, DT_ERR_FORMAT,
                 "%s: %s.%s: the file refers to more than %d times its %zu bytes", file->path, t->place, f->name,
                 DT_FLATBUFFER_BUDGET, file->bytes);
        file->budget -= v.n * element_bytes;
    }
    *out = v;
    return DT_OK;
}

dt_status dt_flatbuffer_string(const dt_flatbuffer_table *t, const dt_flatbuffer_field *f, char **out)
{
    dt_flatbuffer_vector v = { 0 };

    DT_TRY(dt_flatbuffer_look(t, f, 1, &v));
    const unsigned char *end = v.data ? memchr(v.data, '\0', v.n) : NULL;
    DT_CHECK(!end, DT_ERR_FORMAT, "%s: %s.%s: a NUL after %zu of its %zu characters", t->file->path, t->place, f->name,
             (size_t)(end - v.data), v.n);
    char *text = malloc(v.n + 1);
    DT_CHECK(text, DT_ERR_MEMORY, "%s: no memory for %zu bytes", t->file->path, v.n + 1);
    if (v.n > 0) memcpy(text, v.data, v.n);
    text[v.n] = '\0';
    *out = text;
    return DT_OK;
}

/* Writes "PLACE.NAME", or NAME alone below the root, whose place is a word without a dot or a bracket. */
static void name_child(const dt_flatbuffer_table *t, const char *name, dt_flatbuffer_table *child)
{
    const int below_root = !strpbrk(t->place, ".[");

    snprintf(child->place, sizeof child->place, "%.60s%s%.30s", below_root ? "" : t->place, below_root ? "" : ".",
             name);
}

dt_status dt_flatbuffer_child(const dt_flatbuffer_table *t, const dt_flatbuffer_field *f, dt_flatbuffer_table *child,
                              int *is_there)
{
    dt_flatbuffer_table c;
    size_t from, at;

    *is_there = 0;
    DT_TRY(find_field(t, f, &from));
    if (!from) return DT_OK;
    DT_TRY(follow(t->file, t->place, f->name, from, OFFSET_BYTES, &at));
    name_child(t, f->name, &c);
    DT_TRY(open_table(t->file, at, &c));
    *child = c;
    *is_there = 1;
    return DT_OK;
}

dt_status dt_flatbuffer_child_at(const dt_flatbuffer_vector *v, size_t i, dt_flatbuffer_table *child)
{
    dt_flatbuffer *file = v->of->file;
    char name[32];
    dt_flatbuffer_table c;
    size_t at;

    snprintf(name, sizeof name, "%.16s[%zu]", v->field->name, i);
    DT_TRY(follow(file, v->of->place, name, (size_t)(v->data - file->data) + i * OFFSET_BYTES, OFFSET_BYTES, &at));
    name_child(v->of, name, &c);
    DT_TRY(open_table(file, at, &c));
    *child = c;
    return DT_OK;
}
