/*
 * cifar10.c - reader of CIFAR-10's binary version.
 *
 *   A file is 10,000 records: 1 label byte, then 1,024 red, 1,024 green and 1,024 blue bytes, each plane row-major.
 *
 * Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009; "Binary version" on its page.
 * The format has no header, so the exact size of a file is its only check against truncation.
 * Tests: tests/datasets/test_cifar10.c.
 */
#include "dataset.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    FILE_RECORDS = 10000,
    CHANNELS = 3,
    PLANE_BYTES = 32 * 32,
    IMAGE_BYTES = CHANNELS * PLANE_BYTES,
    RECORD_BYTES = 1 + IMAGE_BYTES,
    FILE_BYTES = FILE_RECORDS * RECORD_BYTES
};

static dt_status read_records(const dt_dataset_request *r, const char *path, FILE *file, uint8_t *images,
                              int32_t *labels)
{
    for (int i = 0; i < FILE_RECORDS; i++) {
        uint8_t record[RECORD_BYTES];
        const long at = (long)i * RECORD_BYTES;

        DT_CHECK(fread(record, 1, sizeof record, file) == sizeof record, DT_ERR_IO, "%s, byte %ld: cannot be read: %s",
                 path, at, ferror(file) ? strerror(errno) : "the file ends");
        DT_CHECK(record[0] < r->source->n_classes, DT_ERR_FORMAT, "%s, byte %ld: label is %d, expected 0 to %d; %s",
                 path, at, record[0], r->source->n_classes - 1, r->source->info->get);
        labels[i] = record[0];
        for (int p = 0; p < PLANE_BYTES; p++) {
            for (int c = 0; c < CHANNELS; c++) *images++ = record[1 + c * PLANE_BYTES + p];
        }
    }
    return DT_OK;
}

static dt_status read_file(const dt_dataset_request *r, const char *path, uint8_t *images, int32_t *labels)
{
    FILE *file = fopen(path, "rb");

    DT_CHECK(file != NULL, DT_ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    const dt_status s = read_records(r, path, file, images, labels);
    fclose(file);
    DT_TRY(s);
    return DT_OK;
}

dt_status dt_cifar10_read(const dt_dataset_request *r, dt_dataset *d)
{
    char path[DT_DATASET_MAX_FILES][DT_DATASET_PATH_BYTES];
    const char *const *names = r->source->files[r->split];
    int n_files = 0;

    for (; names[n_files] != NULL; n_files++) {
        char *p = path[n_files];
        int64_t bytes;

        DT_CHECK(dt_dataset_file(r->source, r->folder, names[n_files], p, &bytes), DT_ERR_IO, "%s/%s is not there",
                 r->folder, names[n_files]);
        DT_CHECK(bytes == FILE_BYTES, DT_ERR_FORMAT,
                 "%s ends at byte %lld, expected %d (%d records of %d bytes); fetch it again: %s", p, (long long)bytes,
                 FILE_BYTES, FILE_RECORDS, RECORD_BYTES, r->source->info->get);
    }
    DT_TRY(dt_dataset_reserve(r->source, (int64_t)n_files * FILE_RECORDS, d));
    for (int64_t f = 0; f < n_files; f++) {
        const int64_t first = f * FILE_RECORDS;

        DT_TRY(read_file(r, path[f], d->images + first * IMAGE_BYTES, d->labels + first));
    }
    return DT_OK;
}
