/*
 * whole_file.c - writes aside and renames. Interface: whole_file.h.
 */
#include "whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Makes the file `temp`, on the disk when this returns. */
static dt_status write_aside(const char *temp, dt_file_content content, const void *user)
{
    FILE *file = fopen(temp, "wb");
    DT_CHECK(file, DT_ERR_IO, "%s: cannot be made: %s", temp, strerror(errno));

    int ok = content(user, file) && !ferror(file) && fflush(file) == 0 && fsync(fileno(file)) == 0;
    int why = errno;
    if (fclose(file) != 0 && ok) {
        ok = 0;
        why = errno;
    }
    DT_CHECK(ok, DT_ERR_IO, "%s: cannot be written: %s; the file it was to replace is as it was", temp, strerror(why));
    return DT_OK;
}

/* A rename is on the disk only when its folder is. */
static dt_status sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, slash > path ? (size_t)(slash - path) : 1) : strdup(".");
    DT_CHECK(folder, DT_ERR_MEMORY, "%s: no memory for its folder's name", path);

    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    DT_CHECK(fd >= 0, DT_ERR_IO, "%s: its folder cannot be opened: %s", path, strerror(errno));
    const int failed = fsync(fd) != 0 && errno != EINVAL; /* EINVAL: a file system whose folders need no fsync */
    const int why = errno;
    close(fd);
    DT_CHECK(!failed, DT_ERR_IO, "%s: its folder cannot be fsynced: %s", path, strerror(why));
    return DT_OK;
}

static dt_status write_and_rename(const char *temp, const char *path, dt_file_content content, const void *user)
{
    DT_TRY(write_aside(temp, content, user));
    DT_CHECK(rename(temp, path) == 0, DT_ERR_IO, "%s: cannot take the place of %s: %s", temp, path, strerror(errno));
    DT_TRY(sync_folder(path));
    return DT_OK;
}

dt_status dt_whole_file_write(const char *path, dt_file_content content, const void *user)
{
    const size_t temp_bytes = strlen(path) + 32;
    char *temp = malloc(temp_bytes);
    DT_CHECK(temp, DT_ERR_MEMORY, "%s: no memory for its name", path);

    snprintf(temp, temp_bytes, "%s.tmp-%ld", path, (long)getpid());
    const dt_status s = write_and_rename(temp, path, content, user);
    if (s != DT_OK) unlink(temp);
    free(temp);
    return s;
}

/* path is cut at each slash in turn, and whole again afterwards. */
static dt_status make_each(char *path)
{
    struct stat is;

    for (char *p = path + 1; *p; p++) {
        if (*p != '/') continue;
        *p = '\0';
        DT_CHECK(mkdir(path, 0777) == 0 || errno == EEXIST, DT_ERR_IO, "%s: cannot be made: %s", path, strerror(errno));
        *p = '/';
    }
    DT_CHECK(stat(path, &is) == 0 && S_ISDIR(is.st_mode), DT_ERR_IO, "%s: not a folder", path);
    return DT_OK;
}

dt_status dt_folder_make(const char *dir)
{
    const size_t bytes = strlen(dir) + 2;
    char *path = malloc(bytes);
    DT_CHECK(path, DT_ERR_MEMORY, "%s: no memory for its name", dir);

    snprintf(path, bytes, "%s/", dir);
    const dt_status s = make_each(path);
    free(path);
    DT_TRY(s);
    return DT_OK;
}
