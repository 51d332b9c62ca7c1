/*
 * temp_files.h - a temporary folder for a test's small files, and the writing of IDX pairs into it.
 *
 * A suite takes temp_make as .init and temp_remove as .fini; each test runs in its own process with its own folder.
 * Criterion runs no .fini after cr_skip_test: tests that may skip belong in a suite without the two.
 */
#ifndef TEMP_FILES_H
#define TEMP_FILES_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "detent/detent.h"

enum { TEMP_PATH_BYTES = 4096, IDX_SIDE = 28, IDX_IMAGES_HEADER = 16, IDX_LABELS_HEADER = 8 };

static char temp_folder[TEMP_PATH_BYTES];

static inline void temp_make(void)
{
    const char *root = getenv("TMPDIR");

    snprintf(temp_folder, sizeof temp_folder, "%s/detent-XXXXXX", root != NULL ? root : "/tmp");
    cr_assert(ne(ptr, mkdtemp(temp_folder), NULL));
}

static inline int temp_remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    return remove(path);
}

static inline void temp_remove(void)
{
    nftw(temp_folder, temp_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline const char *temp_path(const char *name)
{
    static char path[2 * TEMP_PATH_BYTES];

    snprintf(path, sizeof path, "%s/%s", temp_folder, name);
    return path;
}

static inline void temp_write(const char *name, const void *bytes, size_t n)
{
    FILE *file = fopen(temp_path(name), "wb");

    cr_assert(ne(ptr, file, NULL), "%s", temp_path(name));
    cr_assert(eq(sz, fwrite(bytes, 1, n, file), n));
    cr_assert(eq(int, fclose(file), 0));
}

static inline void temp_write_gz(const char *name, const void *bytes, size_t n)
{
    gzFile file = gzopen(temp_path(name), "wb");

    cr_assert(eq(int, gzwrite(file, bytes, (unsigned)n), (int)n));
    cr_assert(eq(int, gzclose(file), Z_OK));
}

/* Pixel (h, w) of image i: a value that no other order of the bytes gives. */
static inline uint8_t idx_pixel(int i, int h, int w)
{
    return (uint8_t)(1 + (i * 7 + h * 31 + w * 3) % 255);
}

static inline void idx_put_word(uint8_t *at, uint32_t word)
{
    for (int b = 0; b < 4; b++) at[b] = (uint8_t)(word >> (24 - 8 * b));
}

/* Fills images (header + n * 784 bytes) and labels (header + n bytes); image i is of class label[i]. */
static inline void idx_pair_bytes(int n, const int *label, uint8_t *images, uint8_t *labels)
{
    const uint32_t images_header[] = { 0x0803, (uint32_t)n, IDX_SIDE, IDX_SIDE };
    const uint32_t labels_header[] = { 0x0801, (uint32_t)n };

    for (int k = 0; k < 4; k++) idx_put_word(images + 4 * k, images_header[k]);
    for (int k = 0; k < 2; k++) idx_put_word(labels + 4 * k, labels_header[k]);
    images += IDX_IMAGES_HEADER;
    for (int i = 0; i < n; i++) {
        labels[IDX_LABELS_HEADER + i] = (uint8_t)label[i];
        for (int h = 0; h < IDX_SIDE; h++) {
            for (int w = 0; w < IDX_SIDE; w++) *images++ = idx_pixel(i, h, w);
        }
    }
}

/* Opens name in dir and expects this failure, its text with each of the parts (NULL ends them). */
static inline void expect_refused(const char *why, const dt_dataset_options *opt, dt_status expected,
                                  const char *const *parts)
{
    dt_dataset *const untouched = (dt_dataset *)temp_folder;
    dt_dataset *d = untouched;
    const dt_status s = dt_dataset_open(opt, &d);

    cr_assert(eq(int, (int)s, (int)expected), "%s: %s", why, s == DT_OK ? "opened" : dt_last_error());
    cr_assert(eq(ptr, d, untouched), "%s: out was written", why);
    for (; *parts != NULL; parts++) {
        cr_assert(ne(ptr, (void *)strstr(dt_last_error(), *parts), NULL), "%s: no '%s' in '%s'", why, *parts,
                  dt_last_error());
    }
}

#endif /* TEMP_FILES_H */
