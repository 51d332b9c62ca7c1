/*
 * plan_cache.c - see plan_cache.h.
 *
 * An entry is a file whose name is a hash of the key:
 *
 *   detent choice 1
 *   key: cuDNN 91900, NVIDIA H100, ...
 *   choice: 62 2=1 3=0
 *
 * It is written under a name of its own and then linked to its place. That fails if another process was first.
 */
#include "plan_cache.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, ENTRY_BYTES = 4096 };

static const char entry_format[] = "detent choice 1\nkey: %s\nchoice: ";

static int fits(int length, size_t bytes)
{
    return length >= 0 && (size_t)length < bytes;
}

/* The folder's path; 0 if there is to be none. */
static int cache_folder(char *path)
{
    const char *own = getenv("DETENT_CACHE"), *caches = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

    if (own) return own[0] != '\0' && fits(snprintf(path, PATH_BYTES, "%s", own), PATH_BYTES);
    /* a relative path there is to be ignored: XDG Base Directory Specification */
    if (caches && caches[0] == '/') return fits(snprintf(path, PATH_BYTES, "%s/detent", caches), PATH_BYTES);
    return home && home[0] == '/' && fits(snprintf(path, PATH_BYTES, "%s/.cache/detent", home), PATH_BYTES);
}

int dt_plan_cache_is_off(void)
{
    char path[PATH_BYTES];

    return !cache_folder(path);
}

/* FNV-1a, 64 bits; Fowler, Noll, Vo. Two keys of one hash share a place, and the later one is not kept there. */
static uint64_t hash_of(const char *key)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (; *key; key++) hash = (hash ^ (unsigned char)*key) * 0x100000001b3u;
    return hash;
}

static int entry_path(const char *key, char *path)
{
    char folder[PATH_BYTES];

    if (!cache_folder(folder)) return 0;
    return fits(snprintf(path, PATH_BYTES, "%s/%016" PRIx64 ".txt", folder, hash_of(key)), PATH_BYTES);
}

/* The whole file as text; 0 if it cannot be read, or is no text of less than ENTRY_BYTES. */
static int read_entry(const char *path, char *text)
{
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    const size_t n = fread(text, 1, ENTRY_BYTES, file);
    const int failed = ferror(file);

    fclose(file);
    if (failed || n == ENTRY_BYTES) return 0;
    text[n] = '\0';
    return strlen(text) == n;
}

/* The choice of a whole entry for this key: what stands between its head and the line break at its end. */
static int parse_entry(const char *text, const char *key, char *choice, size_t bytes)
{
    char head[ENTRY_BYTES];
    const int head_length = snprintf(head, sizeof head, entry_format, key);
    if (!fits(head_length, sizeof head) || strncmp(text, head, (size_t)head_length) != 0) return 0;
    const char *from = text + head_length, *end = strchr(from, '\n');

    if (!end || end == from || end[1] != '\0' || (size_t)(end - from) >= bytes) return 0;
    memcpy(choice, from, (size_t)(end - from));
    choice[end - from] = '\0';
    return 1;
}

int dt_plan_cache_read(const char *key, char *choice, size_t bytes)
{
    char path[PATH_BYTES], text[ENTRY_BYTES];

    return entry_path(key, path) && read_entry(path, text) && parse_entry(text, key, choice, bytes);
}

/* Every folder on the way to a file. */
static void make_folders(const char *file)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof path, "%s", file);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0777); /* what fails shows when the file is made */
        *slash = '/';
    }
}

static int write_all(int file, const char *text, size_t bytes)
{
    while (bytes > 0) {
        const ssize_t n = write(file, text, bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return 0;
        text += n;
        bytes -= (size_t)n;
    }
    return 1;
}

/* A file beside path, under a name of its own that *aside receives. */
static int write_aside(const char *path, const char *text, size_t bytes, char *aside)
{
    if (!fits(snprintf(aside, PATH_BYTES, "%s.XXXXXX", path), PATH_BYTES)) return 0;
    make_folders(path);
    const int file = mkstemp(aside);
    if (file < 0) return 0;
    const int written = write_all(file, text, bytes);

    if (close(file) == 0 && written) return 1;
    (void)unlink(aside);
    return 0;
}

int dt_plan_cache_keep(const char *key, char *choice, size_t bytes)
{
    char path[PATH_BYTES], aside[PATH_BYTES], text[ENTRY_BYTES], got[ENTRY_BYTES];
    if (!entry_path(key, path)) return 0;
    const int head = snprintf(text, sizeof text, entry_format, key);
    if (!fits(head, sizeof text)) return 0;
    const int body = snprintf(text + head, sizeof text - (size_t)head, "%s\n", choice);
    if (!fits(body, sizeof text - (size_t)head) || !parse_entry(text, key, got, sizeof got)) return 0;

    if (!write_aside(path, text, (size_t)(head + body), aside)) return 0;
    /* an entry that is of no use gives way */
    if (link(aside, path) != 0 && !dt_plan_cache_read(key, got, sizeof got)) (void)rename(aside, path);
    (void)unlink(aside);
    if (!dt_plan_cache_read(key, got, sizeof got) || strlen(got) >= bytes) return 0;
    strcpy(choice, got);
    return 1;
}

void dt_plan_cache_forget(const char *key)
{
    char path[PATH_BYTES];

    if (entry_path(key, path)) (void)unlink(path);
}
