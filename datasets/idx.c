/*
 * idx.c - reader of the IDX format: MNIST and Fashion-MNIST, plain or gzipped.
 *
 *   images: be32 0x00000803, be32 n, be32 height, be32 width, then n * height * width bytes, row-major
 *   labels: be32 0x00000801, be32 n, then n bytes
 *
 * Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section "File formats".
 * zlib reads plain files as they are. Byte offsets in messages are of the unpacked data.
 * Tests: tests/datasets/test_idx.c.
 */
#include "dataset.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

enum { IMAGES_MAGIC = 0x0803, LABELS_MAGIC = 0x0801, WORD_BYTES = 4, CHUNK_BYTES = 1 << 16 };

/* Deflate packs at most 258 bytes into 2 bits: 1032 to 1 (zlib's technical notes). */
enum { GZIP_MAX_RATIO = 1032 };

typedef struct {
    char path[DT_DATASET_PATH_BYTES];
    const char *get;  /* remedy for messages */
    gzFile file;      /* NULL: not open */
    int64_t offset;   /* bytes read */
    int64_t capacity; /* no more bytes than this can be in the file, unpacked */
} idx_file;

static dt_status idx_open(const dt_dataset_request *r, const char *name, idx_file *f)
{
    int64_t bytes;

    f->get = r->source->info->get;
    DT_CHECK(dt_dataset_file(r->source, r->folder, name, f->path, &bytes), DT_ERR_IO, "%s/%s is not there", r->folder,
             name);
    f->file = gzopen(f->path, "rb");
    DT_CHECK(f->file != NULL, DT_ERR_IO, "%s: cannot be opened: %s", f->path, strerror(errno));
    f->capacity = gzdirect(f->file) ? bytes : bytes * GZIP_MAX_RATIO;
    return DT_OK;
}

static void idx_close(idx_file *f)
{
    if (f->file != NULL) gzclose(f->file);
}

static dt_status idx_bytes(idx_file *f, uint8_t *out, int64_t n)
{
    while (n > 0) {
        const int wanted = n < CHUNK_BYTES ? (int)n : CHUNK_BYTES;
        const int got = gzread(f->file, out, (unsigned)wanted);
        int code;

        DT_CHECK(got >= 0, DT_ERR_FORMAT, "%s, byte %lld: %s; fetch it again: %s", f->path, (long long)f->offset,
                 gzerror(f->file, &code), f->get);
        DT_CHECK(got == wanted, DT_ERR_FORMAT,
                 "%s, byte %lld: the file is cut off here, expected %lld bytes more; fetch it again: %s", f->path,
                 (long long)f->offset + got, (long long)(n - got), f->get);
        f->offset += got;
        out += got;
        n -= got;
    }
    return DT_OK;
}

static dt_status idx_word(idx_file *f, int64_t *out)
{
    uint8_t b[WORD_BYTES];

    DT_TRY(idx_bytes(f, b, WORD_BYTES));
    *out = (int64_t)b[0] << 24 | (int64_t)b[1] << 16 | (int64_t)b[2] << 8 | b[3];
    return DT_OK;
}

static dt_status idx_expect(idx_file *f, const char *what, int64_t expected)
{
    const int64_t at = f->offset;
    int64_t found = 0;

    DT_TRY(idx_word(f, &found));
    DT_CHECK(found == expected, DT_ERR_FORMAT, "%s, byte %lld: %s is %lld (0x%llx), expected %lld (0x%llx); %s",
             f->path, (long long)at, what, (long long)found, (unsigned long long)found, (long long)expected,
             (unsigned long long)expected, f->get);
    return DT_OK;
}

/* The count, at byte 4; item_bytes is what each image or label takes. */
static dt_status idx_count(idx_file *f, int64_t header_bytes, int64_t item_bytes, int64_t *n)
{
    const int64_t at = f->offset;

    DT_TRY(idx_word(f, n));
    DT_CHECK(*n > 0 && header_bytes + *n * item_bytes <= f->capacity, DT_ERR_FORMAT,
             "%s, byte %lld: the header says %lld items of %lld bytes, the file holds 1 to %lld; fetch it again: %s",
             f->path, (long long)at, (long long)*n, (long long)item_bytes,
             (long long)((f->capacity - header_bytes) / item_bytes), f->get);
    return DT_OK;
}

/* zlib reports a gzip stream whose last bytes are missing only here, and only through gzerror. */
static dt_status idx_end(idx_file *f)
{
    uint8_t more;
    int code;
    const int got = gzread(f->file, &more, 1);
    const char *text = gzerror(f->file, &code);

    DT_CHECK(code == Z_OK, DT_ERR_FORMAT, "%s, byte %lld: %s; fetch it again: %s", f->path, (long long)f->offset, text,
             f->get);
    DT_CHECK(got == 0, DT_ERR_FORMAT,
             "%s, byte %lld: expected the end of the file, found more bytes; fetch it again: %s", f->path,
             (long long)f->offset, f->get);
    return DT_OK;
}

static dt_status idx_labels(idx_file *f, int64_t n, int n_classes, int32_t *labels)
{
    uint8_t chunk[CHUNK_BYTES];

    for (int64_t first = 0; first < n; first += CHUNK_BYTES) {
        const int64_t at = f->offset;
        const int64_t count = n - first < CHUNK_BYTES ? n - first : CHUNK_BYTES;

        DT_TRY(idx_bytes(f, chunk, count));
        for (int64_t i = 0; i < count; i++) {
            DT_CHECK(chunk[i] < n_classes, DT_ERR_FORMAT, "%s, byte %lld: label is %d, expected 0 to %d; %s", f->path,
                     (long long)(at + i), chunk[i], n_classes - 1, f->get);
            labels[first + i] = chunk[i];
        }
    }
    return DT_OK;
}

static dt_status idx_pair(const dt_dataset_request *r, idx_file *images, idx_file *labels, dt_dataset *d)
{
    const dt_dataset_source *source = r->source;
    const char *const *names = source->files[r->split];
    const int64_t image_bytes = (int64_t)source->height * source->width;
    int64_t n_images, n_labels;

    DT_TRY(idx_open(r, names[0], images));
    DT_TRY(idx_open(r, names[1], labels));
    DT_TRY(idx_expect(images, "the magic number", IMAGES_MAGIC));
    DT_TRY(idx_count(images, 4 * WORD_BYTES, image_bytes, &n_images));
    DT_TRY(idx_expect(images, "the height", source->height));
    DT_TRY(idx_expect(images, "the width", source->width));
    DT_TRY(idx_expect(labels, "the magic number", LABELS_MAGIC));
    DT_TRY(idx_count(labels, 2 * WORD_BYTES, 1, &n_labels));
    DT_CHECK(n_images == n_labels, DT_ERR_FORMAT, "%s has %lld labels at byte 4, but %s has %lld images at byte 4; %s",
             labels->path, (long long)n_labels, names[0], (long long)n_images, images->get);

    DT_TRY(dt_dataset_reserve(source, n_images, d));
    DT_TRY(idx_bytes(images, d->images, n_images * image_bytes));
    DT_TRY(idx_end(images));
    DT_TRY(idx_labels(labels, n_labels, source->n_classes, d->labels));
    DT_TRY(idx_end(labels));
    return DT_OK;
}

dt_status dt_idx_read(const dt_dataset_request *r, dt_dataset *d)
{
    idx_file images = { .file = NULL }, labels = { .file = NULL };
    const dt_status s = idx_pair(r, &images, &labels, d);

    idx_close(&images);
    idx_close(&labels);
    DT_TRY(s);
    return DT_OK;
}
