/*
 * run_dir.c - a run's directory: config.json, metrics.jsonl, last.safetensors, best.safetensors, and where a mean of
 * the parameters is kept ema.safetensors; with --tensorboard files of events.
 *
 * metrics_file.c writes metrics.jsonl.
 */
#include "cli.h"
#include "event_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CONFIG "config.json"

static const char *const run_files[] = { CONFIG, "metrics.jsonl", "last.safetensors", "best.safetensors",
                                         "ema.safetensors" };
enum { N_RUN_FILES = sizeof run_files / sizeof run_files[0] };

dt_status run_dir_path(const char *dir, const char *name, char *text)
{
    const int n = snprintf(text, PATH_BYTES, "%s/%s", dir, name);

    DT_CHECK(n > 0 && n < PATH_BYTES, DT_ERR_ARGUMENT, "--out: a path of %d bytes, at most %d are allowed", n,
             PATH_BYTES - 1);
    return DT_OK;
}

int run_dir_has(const char *dir, const char *name)
{
    char path[PATH_BYTES];

    return run_dir_path(dir, name, path) == DT_OK && access(path, F_OK) == 0;
}

dt_status run_dir_refuse(const char *dir, int force)
{
    const int used = run_dir_has(dir, CONFIG) || run_dir_has(dir, "last.safetensors");

    DT_CHECK(force || !used, DT_ERR_ARGUMENT,
             "%s has a run in it: go on with --resume, replace it with --force, or choose another --out", dir);
    return DT_OK;
}

dt_status run_dir_lock(const char *dir, int tries, int *fd)
{
    static const struct timespec pause = { .tv_nsec = 100 * 1000 * 1000 };
    const int opened = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int is_held = 1;

    DT_CHECK(opened >= 0, DT_ERR_IO, "%s: %s", dir, strerror(errno));
    for (int i = 0; i < tries && is_held; i++) {
        if (i > 0) nanosleep(&pause, NULL);
        is_held = flock(opened, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    }
    if (is_held) {
        close(opened);
        return dt_raise(DT_ERR_IO, __FILE__, __LINE__, "%s: another 'detent train' is at work here", dir);
    }
    *fd = opened; /* a file system without locks is not refused */
    return DT_OK;
}

/* The file's name until it is whole: formats/whole_file.c appends ".tmp-" and the process's number. */
static int is_half_of(const char *name, const char *file)
{
    static const char mark[] = ".tmp-";
    const size_t length = strlen(file);

    if (strncmp(name, file, length) != 0 || strncmp(name + length, mark, strlen(mark)) != 0) return 0;
    const char *digits = name + length + strlen(mark);
    return *digits && strspn(digits, "0123456789") == strlen(digits);
}

static int is_ours(const char *name, int everything)
{
    if (everything && strncmp(name, EVENT_FILE_PREFIX, strlen(EVENT_FILE_PREFIX)) == 0) return 1;
    for (int i = 0; i < N_RUN_FILES; i++) {
        if (is_half_of(name, run_files[i])) return 1;
        if (everything && strcmp(name, run_files[i]) == 0) return 1;
    }
    return 0;
}

/* Names are compared one by one: the path is the user's and may hold the signs of a pattern. */
dt_status run_dir_sweep(const char *dir, int everything)
{
    char path[PATH_BYTES] = "";
    int failed = 0;
    DIR *entries = opendir(dir);

    DT_CHECK(entries, DT_ERR_IO, "%s: %s", dir, strerror(errno));
    for (struct dirent *e = readdir(entries); e && !failed; e = readdir(entries)) {
        if (!is_ours(e->d_name, everything)) continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (unlinkat(dirfd(entries), e->d_name, 0) != 0 && errno != ENOENT) failed = errno;
    }
    closedir(entries);
    DT_CHECK(!failed, DT_ERR_IO, "%s: %s", path, strerror(failed));
    return everything ? dt_folder_sync(dir) : DT_OK;
}

/* Reads an open file into *content, which is freed by the caller whatever this returns. */
static dt_status read_open(FILE *f, const char *path, char **content, size_t *bytes)
{
    struct stat is;

    DT_CHECK(fstat(fileno(f), &is) == 0, DT_ERR_IO, "%s: %s", path, strerror(errno));
    *content = malloc((size_t)is.st_size + 1);
    DT_CHECK(*content, DT_ERR_MEMORY, "%s: no memory for its %lld bytes", path, (long long)is.st_size);
    *bytes = fread(*content, 1, (size_t)is.st_size, f);
    DT_CHECK(*bytes == (size_t)is.st_size, DT_ERR_IO, "%s: could not be read to its end", path);
    (*content)[*bytes] = '\0';
    return DT_OK;
}

dt_status read_file(const char *path, char **out, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    char *content = NULL;

    if (!f && errno == ENOENT) {
        *out = NULL;
        *bytes = 0;
        return DT_OK;
    }
    DT_CHECK(f, DT_ERR_IO, "%s: %s", path, strerror(errno));
    const dt_status status = read_open(f, path, &content, bytes);
    fclose(f);
    if (status != DT_OK) {
        free(content);
        return status;
    }
    *out = content;
    return DT_OK;
}

dt_status json_file_read(const char *path, const char *advice, cJSON **out)
{
    char *content;
    size_t bytes;

    *out = NULL;
    DT_TRY(read_file(path, &content, &bytes));
    if (!content) return DT_OK;
    *out = cJSON_ParseWithLength(content, bytes);
    free(content);
    DT_CHECK(*out, DT_ERR_FORMAT, "%s: not JSON%s", path, advice);
    return DT_OK;
}

dt_status run_read_config(const char *path, cJSON **out)
{
    DT_TRY(json_file_read(path, "", out));
    DT_CHECK(*out, DT_ERR_IO, "%s: no such file", path);
    return DT_OK;
}

dt_status run_dir_read_config(const char *dir, cJSON **out)
{
    char path[PATH_BYTES];

    DT_TRY(run_dir_path(dir, CONFIG, path));
    DT_TRY(json_file_read(path, "", out));
    DT_CHECK(*out || !run_dir_has(dir, "last.safetensors"), DT_ERR_IO,
             "%s is missing, and with it the options of the run; take %s/last.safetensors as --init of another run",
             path, dir);
    return DT_OK;
}

int write_synced(int fd, const char *content, size_t bytes)
{
    while (bytes > 0) {
        const ssize_t n = write(fd, content, bytes);

        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        content += n;
        bytes -= (size_t)n;
    }
    return fsync(fd);
}

dt_status run_dir_write_config(const char *dir, const cJSON *config)
{
    char path[PATH_BYTES];

    DT_TRY(run_dir_path(dir, CONFIG, path));
    char *content = json_text(config);
    DT_CHECK(content, DT_ERR_MEMORY, "no memory for config.json");
    const dt_status status = dt_file_replace(path, content, strlen(content));
    cJSON_free(content);
    return status;
}
