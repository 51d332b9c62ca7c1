/*
 * vector_folder.c - a folder of vectors: written so that manifest.json comes last, and read back with doubt.
 *
 * A folder without manifest.json is incomplete, and is what a failure leaves behind. Reading compares every file's
 * size and SHA-256 with the manifest, then the psums with the activations and weights.
 * Interface: dt_vectors_save and dt_vectors_check in include/detent/array.h.  Tests:
 * tests/formats/test_vector_folder.c.
 */
#include "manifest.h"
#include "whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MANIFEST_MOST = 1 << 30, SHOWN = 12 /* characters of a hash in a message */ };

/* Not fsynced: there may be thousands, which are synced together. */
static dt_status write_file(const char *path, const char *text, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    DT_CHECK(file, DT_ERR_IO, "%s: cannot be made: %s", path, strerror(errno));

    const int ok = fwrite(text, 1, bytes, file) == bytes && fflush(file) == 0;
    int why = errno;
    const int closed = fclose(file) == 0;
    if (ok && !closed) why = errno;
    DT_CHECK(ok && closed, DT_ERR_IO, "%s: cannot be written: %s; its folder is incomplete and has no manifest", path,
             strerror(why));
    return DT_OK;
}

/* All files of a folder that have been written. fsync of one after the other takes 20 times as long. */
static dt_status sync_files(const char *dir)
{
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    DT_CHECK(fd >= 0, DT_ERR_IO, "%s: cannot be opened to be synced: %s", dir, strerror(errno));
    const int failed = syncfs(fd) != 0;
    const int why = errno;
    close(fd);
    DT_CHECK(!failed, DT_ERR_IO, "%s: cannot be synced: %s; it is incomplete and has no manifest", dir, strerror(why));
    return DT_OK;
}

static int put_text(const void *text, FILE *file)
{
    return fputs(text, file) >= 0;
}

static dt_status write_folder(dt_vectors *v, const char *dir)
{
    char path[DT_PATH_BYTES], *manifest;

    DT_TRY(dt_path_join(dir, "viz", path));
    DT_TRY(dt_folder_make(path));
    DT_TRY(dt_path_join(dir, "manifest.json", path));
    DT_CHECK(unlink(path) == 0 || errno == ENOENT, DT_ERR_IO, "%s: cannot be replaced: %s", path, strerror(errno));
    DT_TRY(dt_folder_sync(dir)); /* before a file changes: else the old manifest might come back, and be wrong */
    for (int i = 0; i < v->n_files; i++) {
        dt_vector_file *f = &v->file[i];
        SHA256Data((const uint8_t *)f->text, f->bytes, f->sha256);
        DT_TRY(dt_path_join(dir, f->name, path));
        DT_TRY(write_file(path, f->text, f->bytes));
    }
    DT_TRY(sync_files(dir)); /* before the manifest says that they are there */
    DT_TRY(dt_manifest_write(v, &manifest));
    dt_status s = dt_path_join(dir, "manifest.json", path);
    if (s == DT_OK) s = dt_whole_file_write(path, put_text, manifest);
    free(manifest);
    return s;
}

dt_status dt_vectors_save(const dt_capture *c, const char *layer, const dt_array *array, const dt_vector_style *style,
                          const char *dir, int *n_files)
{
    dt_vectors *v;

    DT_TRY(dt_vectors_make(c, layer, array, style, &v));
    const int n = v->n_files;
    const dt_status s = write_folder(v, dir);
    dt_vectors_destroy(v);
    DT_TRY(s);
    if (n_files) *n_files = n;
    return DT_OK;
}

static dt_status read_bytes(int fd, const char *path, size_t bytes, char *to)
{
    for (size_t done = 0; done < bytes;) {
        const ssize_t n = read(fd, to + done, bytes - done);
        if (n < 0 && errno == EINTR) continue;
        DT_CHECK(n >= 0, DT_ERR_IO, "%s: cannot be read: %s", path, strerror(errno));
        DT_CHECK(n > 0, DT_ERR_FORMAT, "%s: ends at byte %zu, expected %zu", path, done, bytes);
        done += (size_t)n;
    }
    to[bytes] = '\0';
    return DT_OK;
}

/* The whole file, NUL behind it; the caller frees it. expected < 0: any size that a manifest may have. */
static dt_status read_open_file(int fd, const char *path, int64_t expected, char **text, size_t *bytes)
{
    struct stat about;

    DT_CHECK(fstat(fd, &about) == 0, DT_ERR_IO, "%s: cannot be read: %s", path, strerror(errno));
    DT_CHECK(S_ISREG(about.st_mode), DT_ERR_IO, "%s: not a regular file", path);
    DT_CHECK(expected < 0 || about.st_size == expected, DT_ERR_FORMAT,
             "%s: has %lld bytes, the manifest says %" PRId64 "; it is damaged or not of this export", path,
             (long long)about.st_size, expected);
    DT_CHECK(expected >= 0 || about.st_size <= MANIFEST_MOST, DT_ERR_FORMAT, "%s: has %lld bytes, limit %d", path,
             (long long)about.st_size, MANIFEST_MOST);
    char *room = malloc((size_t)about.st_size + 1);
    DT_CHECK(room, DT_ERR_MEMORY, "%s: no memory for %lld bytes", path, (long long)about.st_size);
    const dt_status s = read_bytes(fd, path, (size_t)about.st_size, room);
    if (s != DT_OK) {
        free(room);
        return s;
    }
    *text = room;
    *bytes = (size_t)about.st_size;
    return DT_OK;
}

static dt_status read_file(const char *dir, const char *name, int64_t expected, char **text, size_t *bytes)
{
    char path[DT_PATH_BYTES];

    DT_TRY(dt_path_join(dir, name, path));
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    DT_CHECK(fd >= 0, DT_ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    const dt_status s = read_open_file(fd, path, expected, text, bytes);
    close(fd);
    DT_TRY(s);
    return DT_OK;
}

static dt_status read_texts(const char *dir, dt_vectors *v)
{
    char sha256[65];

    for (int i = 0; i < v->n_files; i++) {
        dt_vector_file *f = &v->file[i];
        DT_TRY(read_file(dir, f->name, (int64_t)f->bytes, &f->text, &f->bytes));
        SHA256Data((const uint8_t *)f->text, f->bytes, sha256);
        DT_CHECK(strcmp(sha256, f->sha256) == 0, DT_ERR_FORMAT,
                 "%s/%s: its SHA-256 begins %.*s, the manifest says %.*s; it is damaged or not of this export", dir,
                 f->name, SHOWN, sha256, SHOWN, f->sha256);
    }
    return DT_OK;
}

dt_status dt_vectors_check(const char *dir, dt_vectors_report *out)
{
    char path[DT_PATH_BYTES], *text;
    dt_vectors *v;
    size_t bytes;

    DT_TRY(dt_path_join(dir, "manifest.json", path));
    DT_TRY(read_file(dir, "manifest.json", -1, &text, &bytes));
    dt_status s = dt_manifest_parse(text, bytes, path, &v);
    free(text);
    DT_TRY(s);
    s = read_texts(dir, v);
    if (s == DT_OK) s = dt_vectors_compare(v, out);
    dt_vectors_destroy(v);
    DT_TRY(s);
    return DT_OK;
}
