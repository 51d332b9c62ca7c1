/*
 * flatbuffer_writer.c - the writing half of flatbuffer.h. It writes from front to back: a table first, with room for
 * its offsets, then what they refer to.
 */
#include "flatbuffer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { OFFSET_BYTES = 4, VTABLE_HEAD = 4 };

/* Appends n bytes, zeros if data is NULL. Returns their place. */
static size_t put(dt_flatbuffer_writer *w, const void *data, size_t n)
{
    const size_t at = w->bytes;

    if (w->is_full || n > DT_FLATBUFFER_BYTES - at) {
        w->is_full = 1;
        return 0;
    }
    if (at + n > w->room) {
        const size_t room = 2 * (at + n) + 256;
        unsigned char *more = realloc(w->data, room);
        if (!more) {
            w->is_full = 1;
            return 0;
        }
        w->data = more;
        w->room = room;
    }
    if (data && n > 0) memcpy(w->data + at, data, n);
    if (!data) memset(w->data + at, 0, n);
    w->bytes = at + n;
    return at;
}

/* Fills up with zeros until the place `ahead` bytes further is a multiple of `align`. */
static void put_padding(dt_flatbuffer_writer *w, size_t ahead, size_t align)
{
    while ((w->bytes + ahead) % align != 0 && !w->is_full) put(w, NULL, 1);
}

/* Sets the n bytes at `at` to a number, the lowest byte first. */
static void set(dt_flatbuffer_writer *w, size_t at, uint32_t v, size_t n)
{
    if (w->is_full) return;
    for (size_t i = 0; i < n; i++) w->data[at + i] = (unsigned char)(v >> (8 * i));
}

static void point(dt_flatbuffer_writer *w, size_t from, size_t to)
{
    set(w, from, (uint32_t)(to - from), OFFSET_BYTES);
}

size_t dt_flatbuffer_begin(dt_flatbuffer_writer *w, const char *identifier)
{
    const size_t root = put(w, NULL, OFFSET_BYTES);

    put(w, identifier, strlen(identifier));
    return root;
}

static size_t bytes_of(const dt_flatbuffer_member *m)
{
    assert(m->field->type != DT_FLATBUFFER_U64);
    return m->field->type == DT_FLATBUFFER_I8 || m->field->type == DT_FLATBUFFER_U8 ? 1 : 4;
}

static void set_member(dt_flatbuffer_writer *w, const dt_flatbuffer_member *m)
{
    uint32_t bits;

    if (m->field->type == DT_FLATBUFFER_OFFSET) return;
    if (m->field->type == DT_FLATBUFFER_F32) {
        const float real = (float)m->value;
        memcpy(&bits, &real, sizeof bits);
    } else {
        bits = (uint32_t)(int64_t)m->value;
    }
    set(w, m->at, bits, bytes_of(m));
}

/* Appends the members that have `size` bytes, and enters them in the vtable. Returns the table's bytes after them. */
static size_t put_members(dt_flatbuffer_writer *w, size_t vtable, size_t size, size_t table_bytes,
                          dt_flatbuffer_member *member, int n)
{
    for (int i = 0; i < n; i++) {
        if (bytes_of(&member[i]) != size) continue;
        member[i].at = put(w, NULL, size);
        set_member(w, &member[i]);
        set(w, vtable + VTABLE_HEAD + 2 * (size_t)member[i].field->slot, (uint32_t)table_bytes, 2);
        table_bytes += size;
    }
    return table_bytes;
}

void dt_flatbuffer_put_table(dt_flatbuffer_writer *w, size_t from, dt_flatbuffer_member *member, int n)
{
    size_t slots = 0, table_bytes = OFFSET_BYTES;

    for (int i = 0; i < n; i++) {
        if ((size_t)member[i].field->slot + 1 > slots) slots = (size_t)member[i].field->slot + 1;
    }
    put_padding(w, VTABLE_HEAD + 2 * slots, OFFSET_BYTES); /* the table follows its vtable, aligned */
    const size_t vtable = put(w, NULL, VTABLE_HEAD + 2 * slots), table = put(w, NULL, OFFSET_BYTES);

    table_bytes = put_members(w, vtable, 4, table_bytes, member, n); /* these first, so that no field needs padding */
    table_bytes = put_members(w, vtable, 1, table_bytes, member, n);
    set(w, vtable, (uint32_t)(VTABLE_HEAD + 2 * slots), 2);
    set(w, vtable + 2, (uint32_t)table_bytes, 2);
    set(w, table, (uint32_t)(table - vtable), OFFSET_BYTES);
    point(w, from, table);
}

void dt_flatbuffer_put_vector(dt_flatbuffer_writer *w, size_t from, const void *data, size_t n, size_t element_bytes,
                              size_t align)
{
    put_padding(w, OFFSET_BYTES, align);
    const size_t at = put(w, NULL, OFFSET_BYTES);

    set(w, at, (uint32_t)n, OFFSET_BYTES);
    if (n > 0) put(w, data, n * element_bytes);
    point(w, from, at);
}

void dt_flatbuffer_put_string(dt_flatbuffer_writer *w, size_t from, const char *text)
{
    dt_flatbuffer_put_vector(w, from, text, strlen(text), 1, OFFSET_BYTES);
    put(w, "", 1);
}

size_t dt_flatbuffer_put_offsets(dt_flatbuffer_writer *w, size_t from, size_t n)
{
    dt_flatbuffer_put_vector(w, from, NULL, n, OFFSET_BYTES, OFFSET_BYTES);
    return w->bytes - n * OFFSET_BYTES;
}

dt_status dt_flatbuffer_finish(dt_flatbuffer_writer *w, const char *path)
{
    const int is_full = w->is_full;
    dt_status s = DT_OK;

    if (!is_full) s = dt_file_replace(path, w->data, w->bytes);
    free(w->data);
    *w = (dt_flatbuffer_writer){ 0 };
    DT_CHECK(!is_full, DT_ERR_MEMORY, "%s: no memory for its contents, or more than %d bytes", path,
             DT_FLATBUFFER_BYTES);
    DT_TRY(s);
    return DT_OK;
}
