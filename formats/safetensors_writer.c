/*
 * safetensors_writer.c - the writer: collects names, shapes and borrowed data, then makes the file in one go.
 *
 * Bytes depend on the calls alone: tensors in the order of adding, metadata first, the header padded with blanks
 * to a multiple of 8 so that mapped data is aligned. Format: safetensors.h.  Tests: tests/formats/test_safetensors.c.
 */
#include "safetensors.h"
#include "utf8.h"
#include "whole_file.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are written as they lie in memory");

typedef struct {
    const void *data;
    size_t bytes;
} piece;

struct dt_safetensors_writer {
    cJSON *header;
    cJSON *metadata; /* in header */
    piece *pieces;
    int n_pieces, pieces_room;
    size_t bytes, most; /* of all pieces, and of the largest without data */
    dt_safetensors_fill fill;
    const void *user; /* fill's */
};

static const size_t type_bits[DT_SAFETENSORS_TYPE_COUNT] = {
#define XX(name, bits) bits,
    DT_SAFETENSORS_TYPE_MAP(XX)
#undef XX
};

dt_status dt_safetensors_writer_create(dt_safetensors_writer **out)
{
    dt_safetensors_writer *w = calloc(1, sizeof *w);

    if (w) w->header = cJSON_CreateObject();
    if (w) w->metadata = cJSON_AddObjectToObject(w->header, "__metadata__");
    if (!w || !w->metadata) {
        dt_safetensors_writer_destroy(w);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for a safetensors writer");
    }
    *out = w;
    return DT_OK;
}

void dt_safetensors_writer_destroy(dt_safetensors_writer *w)
{
    if (!w) return;
    cJSON_Delete(w->header);
    free(w->pieces);
    free(w);
}

static dt_status check_new_name(const cJSON *object, const char *name)
{
    DT_CHECK(dt_utf8_find_bad(name, (int64_t)strlen(name)) < 0, DT_ERR_ARGUMENT, "the name '%.80s' is not UTF-8 text",
             name);
    DT_CHECK(!cJSON_GetObjectItemCaseSensitive(object, name), DT_ERR_ARGUMENT, "the name '%.80s' is taken", name);
    return DT_OK;
}

dt_status dt_safetensors_writer_metadata(dt_safetensors_writer *w, const char *key, const char *text)
{
    DT_TRY(check_new_name(w->metadata, key));
    DT_CHECK(dt_utf8_find_bad(text, (int64_t)strlen(text)) < 0, DT_ERR_ARGUMENT,
             "the metadata '%.80s' is not UTF-8 text", key);
    DT_CHECK(cJSON_AddStringToObject(w->metadata, key, text), DT_ERR_MEMORY, "no memory for the metadata '%.80s'", key);
    return DT_OK;
}

static dt_status grow(dt_safetensors_writer *w)
{
    if (w->n_pieces < w->pieces_room) return DT_OK;

    const int room = w->pieces_room ? 2 * w->pieces_room : 64;
    piece *pieces = realloc(w->pieces, (size_t)room * sizeof *pieces);
    DT_CHECK(pieces, DT_ERR_MEMORY, "no memory for %d tensors", room);
    w->pieces = pieces;
    w->pieces_room = room;
    return DT_OK;
}

/* {"dtype": .., "shape": .., "data_offsets": ..}, NULL if memory is short. */
static cJSON *describe(const char *type, int ndim, const int64_t *dim, size_t begin, size_t end)
{
    cJSON *item = cJSON_CreateObject();
    int ok = cJSON_AddStringToObject(item, "dtype", type) != NULL;
    cJSON *shape = cJSON_AddArrayToObject(item, "shape");
    cJSON *offsets = cJSON_AddArrayToObject(item, "data_offsets");

    for (int i = 0; i < ndim; i++) ok &= cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)dim[i]));
    ok &= cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)begin));
    ok &= cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)end));
    if (ok) return item;
    cJSON_Delete(item);
    return NULL;
}

dt_status dt_safetensors_writer_add(dt_safetensors_writer *w, const char *name, dt_safetensors_type type, int ndim,
                                    const int64_t *dim, const void *data)
{
    size_t bits = type_bits[type];

    DT_TRY(check_new_name(w->header, name));
    DT_CHECK(ndim >= 0 && ndim <= DT_SAFETENSORS_MAX_DIMS, DT_ERR_ARGUMENT, "tensor '%.80s': %d dimensions, limit %d",
             name, ndim, DT_SAFETENSORS_MAX_DIMS);
    for (int i = 0; i < ndim; i++) {
        DT_CHECK(dim[i] >= 0, DT_ERR_ARGUMENT, "tensor '%.80s': dimension %d is %lld", name, i, (long long)dim[i]);
        bits *= (size_t)dim[i];
    }
    DT_CHECK(bits % 8 == 0, DT_ERR_ARGUMENT, "tensor '%.80s': %zu bits are no whole number of bytes", name, bits);
    const size_t bytes = bits / 8;
    DT_TRY(grow(w));

    cJSON *item = describe(dt_safetensors_type_name(type), ndim, dim, w->bytes, w->bytes + bytes);
    DT_CHECK(item, DT_ERR_MEMORY, "no memory for the header of tensor '%.80s'", name);
    if (!cJSON_AddItemToObject(w->header, name, item)) {
        cJSON_Delete(item);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for the name '%.80s'", name);
    }
    w->pieces[w->n_pieces++] = (piece){ data, bytes };
    if (!data && bytes > w->most) w->most = bytes;
    w->bytes += bytes;
    return DT_OK;
}

void dt_safetensors_writer_fill(dt_safetensors_writer *w, dt_safetensors_fill fill, const void *user)
{
    w->fill = fill;
    w->user = user;
}

static int put(FILE *file, const void *data, size_t bytes)
{
    return bytes == 0 || fwrite(data, 1, bytes, file) == bytes;
}

static int put_header(FILE *file, const char *text)
{
    static const char blanks[8] = "        ";
    const size_t length = strlen(text), padding = (8 - length % 8) % 8;
    const uint64_t n = length + padding;

    return put(file, &n, sizeof n) && put(file, text, length) && put(file, blanks, padding);
}

/* What a file is made of. */
typedef struct {
    const dt_safetensors_writer *writer;
    const char *header;
    void *room; /* for a tensor that comes now */
} contents;

/* A device that fails is told as EIO. */
static int put_piece(const contents *c, int i, FILE *file)
{
    const piece *p = &c->writer->pieces[i];

    if (p->data || p->bytes == 0) return put(file, p->data, p->bytes);
    if (c->writer->fill(c->writer->user, i, c->room) == DT_OK) return put(file, c->room, p->bytes);
    errno = EIO;
    return 0;
}

static int put_contents(const void *user, FILE *file)
{
    const contents *c = user;
    const dt_safetensors_writer *w = c->writer;
    int ok = put_header(file, c->header);

    for (int i = 0; i < w->n_pieces; i++) ok = ok && put_piece(c, i, file);
    return ok;
}

dt_status dt_safetensors_writer_write(const dt_safetensors_writer *w, const char *path)
{
    char *header = cJSON_PrintUnformatted(w->header);
    void *room = malloc(w->most + 1);
    const dt_status s = header && room ? dt_whole_file_write(path, put_contents, &(contents){ w, header, room })
                                       : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory to write it", path);

    free(room);
    cJSON_free(header);
    DT_TRY(s);
    return DT_OK;
}
