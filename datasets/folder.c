/*
 * folder.c - finds the folder that holds a dataset's files.
 *
 * If the user names a folder, no other is tried. Else the entries of info.where are tried in turn; one that begins with
 * $DETENT_DATA counts only if that variable is set. The first folder with every file of the split is taken. One that
 * lacks a file is kept for the message. IDX files may also have the names that some archives give them, with a dot:
 * train-images.idx3-ubyte.
 * Tests: tests/datasets/test_dataset.c.
 */
#include "dataset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct {
    const dt_dataset_source *source;
    dt_split split;
    char found[DT_DATASET_PATH_BYTES];
    char partial[DT_DATASET_PATH_BYTES]; /* first folder that exists but lacks a file */
    const char *missing;                 /* that file, or NULL */
} folder_search;

/* Without the slashes at its end, so that paths in messages have one between folder and file. */
static void trim(char *folder)
{
    for (size_t n = strlen(folder); n > 1 && folder[n - 1] == '/'; n--) folder[n - 1] = '\0';
}

static int is_file(const char *path, int64_t *bytes)
{
    struct stat st;

    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) return 0;
    *bytes = (int64_t)st.st_size;
    return 1;
}

int dt_dataset_file(const dt_dataset_source *source, const char *folder, const char *name, char *path, int64_t *bytes)
{
    for (int i = 0; i < 4; i++) {
        const int gz = i % 2, dotted = i / 2;
        const int length = snprintf(path, DT_DATASET_PATH_BYTES, "%s/%s%s", folder, name, gz ? ".gz" : "");
        char *idx = length < DT_DATASET_PATH_BYTES ? strstr(path + strlen(folder), "-idx") : NULL;

        if (length >= DT_DATASET_PATH_BYTES || (gz && !source->gz) || (dotted && !idx)) continue;
        if (dotted) *idx = '.';
        if (is_file(path, bytes)) return 1;
    }
    return 0;
}

static const char *first_missing(const folder_search *s, const char *folder)
{
    for (const char *const *name = s->source->files[s->split]; *name != NULL; name++) {
        char path[DT_DATASET_PATH_BYTES];
        int64_t bytes;

        if (!dt_dataset_file(s->source, folder, *name, path, &bytes)) return *name;
    }
    return NULL;
}

static int try_folder(folder_search *s, const char *folder)
{
    struct stat st;

    if (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode)) return 0;
    const char *missing = first_missing(s, folder);
    if (missing == NULL) {
        snprintf(s->found, sizeof s->found, "%s", folder);
        return 1;
    }
    if (s->missing == NULL) {
        snprintf(s->partial, sizeof s->partial, "%s", folder);
        s->missing = missing;
    }
    return 0;
}

/* The subfolder first: where it exists but lacks a file, the message should name it and not its parent. */
static int try_both(folder_search *s, const char *folder)
{
    if (s->source->subfolder != NULL) {
        char inner[DT_DATASET_PATH_BYTES];
        const int length = snprintf(inner, sizeof inner, "%s/%s", folder, s->source->subfolder);

        if (length < DT_DATASET_PATH_BYTES && try_folder(s, inner)) return 1;
    }
    return try_folder(s, folder);
}

/* One entry of info.where, $DETENT_DATA replaced; 0 if it does not count. */
static int expand_entry(const char *entry, int length, char *folder)
{
    static const char variable[] = "$DETENT_DATA";
    const int skip = (int)strlen(variable);
    const char *root = getenv("DETENT_DATA");

    if (strncmp(entry, variable, strlen(variable)) != 0) {
        return snprintf(folder, DT_DATASET_PATH_BYTES, "%.*s", length, entry) < DT_DATASET_PATH_BYTES;
    }
    if (root == NULL || root[0] == '\0') return 0;
    if (snprintf(folder, DT_DATASET_PATH_BYTES, "%s", root) >= DT_DATASET_PATH_BYTES) return 0;
    trim(folder);
    const size_t used = strlen(folder), room = DT_DATASET_PATH_BYTES - used;
    return (size_t)snprintf(folder + used, room, "%.*s", length - skip, entry + skip) < room;
}

static int try_default_folders(folder_search *s)
{
    const char *entry = s->source->info->where;

    while (*entry != '\0') {
        char folder[DT_DATASET_PATH_BYTES];
        const size_t length = strcspn(entry, ":");

        if (expand_entry(entry, (int)length, folder) && try_both(s, folder)) return 1;
        entry += length;
        if (*entry == ':') entry++;
    }
    return 0;
}

dt_status dt_dataset_folder(const dt_dataset_source *source, const char *dir, dt_split split, char *found)
{
    const dt_dataset_info *info = source->info;
    folder_search s = { .source = source, .split = split };
    char own[DT_DATASET_PATH_BYTES];

    DT_CHECK(!dir || (size_t)snprintf(own, sizeof own, "%s", dir) < sizeof own, DT_ERR_IO,
             "%s: its folder's name has %zu bytes, limit %zu", info->name, strlen(dir), sizeof own - 1);
    if (dir) trim(own);
    if (source->files[split][0] != NULL) {
        const int ok = dir != NULL ? try_both(&s, own) : try_default_folders(&s);

        DT_CHECK(ok || s.missing == NULL, DT_ERR_IO, "%s: folder %s has no file %s%s; %s", info->name, s.partial,
                 s.missing, source->gz ? " (or .gz)" : "", info->get);
        DT_CHECK(ok || dir == NULL, DT_ERR_IO, "%s: there is no folder %s; %s", info->name, dir, info->get);
        DT_CHECK(ok, DT_ERR_IO, "%s: none of the folders %s is there; %s, or name the folder that has the files",
                 info->name, info->where, info->get);
    }
    memcpy(found, s.found, sizeof s.found);
    return DT_OK;
}
