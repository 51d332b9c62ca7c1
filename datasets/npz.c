/*
 * npz.c - the data set in an archive of numpy, as numpy.savez and savez_compressed write it: a zip of files NAME.npy.
 *
 * Entries are stored (0) or deflated (8); their CRC-32 is checked. Archives and entries above 4 GiB (zip64) are
 * refused. Source: the description of .npy in numpy.lib.format; PKWARE's APPNOTE for the zip. Interface: kinds.h; npy.h
 * reads an entry; arrays.c says what the arrays hold.  Tests: tests/datasets/test_arrays.c.
 */
#include "npy.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    END_BYTES = 22,   /* of the end record, without its comment */
    ENTRY_BYTES = 46, /* of a directory's entry, without its name */
    LOCAL_BYTES = 30, /* of a file's header, without its name */
    COMMENT_MOST = 65535,
    STORED = 0,
    DEFLATED = 8
};

typedef struct {
    const char *path;
    const uint8_t *bytes;
    size_t n;
    size_t directory; /* where the directory begins */
    int n_entries;
} archive;

/* What the directory says of a file. */
typedef struct {
    size_t at; /* of its header */
    int method;
    uint32_t crc, packed, unpacked;
} entry;

static uint32_t le(const uint8_t *p, int bytes)
{
    uint32_t v = 0;

    for (int i = 0; i < bytes; i++) v |= (uint32_t)p[i] << (8 * i);
    return v;
}

static dt_status find_directory(archive *a)
{
    static const uint8_t mark[4] = { 'P', 'K', 5, 6 };
    size_t at = a->n >= END_BYTES ? a->n - END_BYTES : 0;
    const size_t least = at > COMMENT_MOST ? at - COMMENT_MOST : 0;

    DT_CHECK(a->n >= END_BYTES, DT_ERR_FORMAT, "%s: has %zu bytes, and a zip archive has %d at least", a->path, a->n,
             END_BYTES);
    while (at > least && memcmp(a->bytes + at, mark, sizeof mark) != 0) at--;
    DT_CHECK(memcmp(a->bytes + at, mark, sizeof mark) == 0, DT_ERR_FORMAT,
             "%s: is no zip archive, or is cut off: its last %zu bytes have no end record (50 4b 05 06)", a->path,
             a->n - least);
    a->n_entries = (int)le(a->bytes + at + 10, 2);
    a->directory = le(a->bytes + at + 16, 4);
    DT_CHECK(a->n_entries != 0xFFFF && a->directory != 0xFFFFFFFFu, DT_ERR_UNSUPPORTED,
             "%s: is a zip64 archive, above 4 GiB; use safetensors for so much data", a->path);
    DT_CHECK(a->directory <= at, DT_ERR_FORMAT, "%s, byte %zu: the directory is said to be at byte %zu, behind its end",
             a->path, at + 16, a->directory);
    return DT_OK;
}

/* The entry NAME.npy; found is 0 if there is none. */
static dt_status find_entry(const archive *a, const char *name, entry *out, int *found)
{
    static const uint8_t mark[4] = { 'P', 'K', 1, 2 };
    const size_t length = strlen(name);
    size_t at = a->directory;

    *found = 0;
    for (int i = 0; i < a->n_entries && !*found; i++) {
        const uint8_t *e = a->bytes + at;
        DT_CHECK(at + ENTRY_BYTES <= a->n && memcmp(e, mark, sizeof mark) == 0, DT_ERR_FORMAT,
                 "%s, byte %zu: no entry of the directory, expected entry %d of %d (50 4b 01 02)", a->path, at, i + 1,
                 a->n_entries);
        const size_t name_bytes = le(e + 28, 2);
        const char *own = (const char *)e + ENTRY_BYTES;
        DT_CHECK(at + ENTRY_BYTES + name_bytes <= a->n, DT_ERR_FORMAT, "%s, byte %zu: the file ends inside an entry",
                 a->path, at);
        *found = name_bytes == length + 4 && memcmp(own, name, length) == 0 && memcmp(own + length, ".npy", 4) == 0;
        *out = (entry){ le(e + 42, 4), (int)le(e + 10, 2), le(e + 16, 4), le(e + 20, 4), le(e + 24, 4) };
        at += ENTRY_BYTES + name_bytes + le(e + 30, 2) + le(e + 32, 2);
    }
    return DT_OK;
}

static dt_status inflate_entry(const archive *a, const char *name, const entry *e, const uint8_t *packed, uint8_t *to)
{
    z_stream z = {
        .next_in = (Bytef *)(uintptr_t)packed, .avail_in = e->packed, .next_out = to, .avail_out = e->unpacked
    };

    DT_CHECK(inflateInit2(&z, -MAX_WBITS) == Z_OK, DT_ERR_MEMORY, "%s: no memory to unpack '%s'", a->path, name);
    const int end = inflate(&z, Z_FINISH);
    const uLong made = z.total_out;
    inflateEnd(&z);
    DT_CHECK(end == Z_STREAM_END && made == e->unpacked, DT_ERR_FORMAT,
             "%s: '%s' unpacks to %lu bytes and then is damaged, expected %u", a->path, name, made, e->unpacked);
    return DT_OK;
}

static dt_status unpack(const archive *a, const char *name, const entry *e, uint8_t *to)
{
    static const uint8_t mark[4] = { 'P', 'K', 3, 4 };
    const uint8_t *header = a->bytes + e->at;

    DT_CHECK(e->at + LOCAL_BYTES <= a->n && memcmp(header, mark, sizeof mark) == 0, DT_ERR_FORMAT,
             "%s, byte %zu: no header of '%s' (50 4b 03 04)", a->path, e->at, name);
    const size_t begin = e->at + LOCAL_BYTES + le(header + 26, 2) + le(header + 28, 2);
    DT_CHECK(begin <= a->n && e->packed <= a->n - begin, DT_ERR_FORMAT,
             "%s: '%s' has %u bytes from byte %zu on, and the file ends at byte %zu", a->path, name, e->packed, begin,
             a->n);
    if (e->method == DEFLATED) {
        DT_TRY(inflate_entry(a, name, e, a->bytes + begin, to));
    } else {
        DT_CHECK(e->packed == e->unpacked, DT_ERR_FORMAT, "%s: '%s' is stored as %u bytes, and has %u", a->path, name,
                 e->packed, e->unpacked);
        memcpy(to, a->bytes + begin, e->packed);
    }
    const uint32_t crc = (uint32_t)crc32_z(0, to, e->unpacked);
    DT_CHECK(crc == e->crc, DT_ERR_FORMAT, "%s: '%s' is damaged: its CRC-32 is %08x, expected %08x", a->path, name, crc,
             e->crc);
    return DT_OK;
}

/* The least bytes that so many can be packed into: deflate's ratio is 1032 at most. */
static dt_status check_size(const archive *a, const char *name, const entry *e)
{
    DT_CHECK(e->method == STORED || e->method == DEFLATED, DT_ERR_UNSUPPORTED,
             "%s: '%s' is packed by method %d, expected 0 (stored) or 8 (deflated), as numpy has them", a->path, name,
             e->method);
    DT_CHECK(e->packed != 0xFFFFFFFFu && e->unpacked != 0xFFFFFFFFu, DT_ERR_UNSUPPORTED,
             "%s: '%s' has 4 GiB or more; use safetensors for so much data", a->path, name);
    DT_CHECK(e->unpacked / 1032 <= e->packed, DT_ERR_FORMAT,
             "%s: '%s' is said to unpack from %u bytes to %u, more than "
             "deflate can",
             a->path, name, e->packed, e->unpacked);
    return DT_OK;
}

static dt_status find(void *user, const char *name, dt_array_of *out)
{
    const archive *a = user;
    entry e;
    int found;

    DT_TRY(find_entry(a, name, &e, &found));
    if (!found) return DT_OK;
    DT_TRY(check_size(a, name, &e));
    uint8_t *bytes = malloc((size_t)e.unpacked + 1);
    DT_CHECK(bytes, DT_ERR_MEMORY, "%s: no memory for the %u bytes of '%s'", a->path, e.unpacked, name);
    dt_status status = unpack(a, name, &e, bytes);
    if (status == DT_OK) status = dt_npy_read(a->path, bytes, e.unpacked, out);
    free(bytes);
    return status;
}

dt_status dt_npz_read(dt_kind_request *r, dt_dataset *d)
{
    dt_text file;

    dt_status status = dt_text_load(r->path, &file);
    archive a = { .path = r->path, .bytes = (const uint8_t *)file.bytes, .n = file.n };
    if (status == DT_OK) status = find_directory(&a);
    if (status == DT_OK) status = dt_arrays_read(r, find, &a, d);
    dt_text_free(&file);
    DT_TRY(status);
    return DT_OK;
}
