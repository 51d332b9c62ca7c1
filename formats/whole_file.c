/*
 * whole_file.c - writes another file and renames it; follows links, and writes into devices and pipes. Interface:
 *                whole_file.h.
 */
#include "whole_file.h"

#include "detent/detent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_LINKS = 40, NEW_MODE = 0666 };

/* What is written, and for messages: where to, and how a failure leaves things. */
typedef struct {
    dt_file_content content;
    const void *user;
    const char *path, *after_failure;
} output;

/* All of it into fd, which is closed, and on the disk when this returns. fd < 0: open has failed, errno says why. */
static dt_status write_into(int fd, const output *o)
{
    FILE *file = fd >= 0 ? fdopen(fd, "wb") : NULL;
    int why = errno;

    if (!file && fd >= 0) close(fd);
    DT_CHECK(file, DT_ERR_IO, "%s: cannot be made: %s%s", o->path, strerror(why),
             why == ENOENT ? "; make its folder first" : "");
    /* EINVAL: pipes and the like have nothing to fsync */
    int ok = o->content(o->user, file) && !ferror(file) && fflush(file) == 0 && (fsync(fd) == 0 || errno == EINVAL);
    why = errno;
    if (fclose(file) != 0 && ok) {
        ok = 0;
        why = errno;
    }
    DT_CHECK(ok, DT_ERR_IO, "%s: cannot be written: %s%s", o->path, strerror(why), o->after_failure);
    return DT_OK;
}

dt_status dt_folder_sync(const char *dir)
{
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    DT_CHECK(fd >= 0, DT_ERR_IO, "%s: cannot be opened to be fsynced: %s", dir, strerror(errno));
    const int failed = fsync(fd) != 0 && errno != EINVAL; /* EINVAL: a file system whose folders need no fsync */
    const int why = errno;
    close(fd);
    DT_CHECK(!failed, DT_ERR_IO, "%s: cannot be fsynced: %s", dir, strerror(why));
    return DT_OK;
}

/* A name that was made, renamed or removed is so on the disk only when its folder is. */
static dt_status sync_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, slash > path ? (size_t)(slash - path) : 1) : strdup(".");
    DT_CHECK(folder, DT_ERR_MEMORY, "%s: no memory for its folder's name", path);

    const dt_status s = dt_folder_sync(folder);
    free(folder);
    DT_TRY(s);
    return DT_OK;
}

dt_status dt_file_sync(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    DT_CHECK(fd >= 0, DT_ERR_IO, "%s: cannot be opened to be fsynced: %s", path, strerror(errno));
    const int failed = fsync(fd) != 0;
    const int why = errno;
    close(fd);
    DT_CHECK(!failed, DT_ERR_IO, "%s: cannot be fsynced: %s", path, strerror(why));
    return sync_name(path);
}

/* Makes the file `temp` with that mode, or as the umask has it where mode is 0. */
static dt_status write_aside(const char *temp, mode_t mode, const output *o)
{
    output aside = *o;
    const int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, NEW_MODE);

    if (fd >= 0 && mode != 0) (void)fchmod(fd, mode); /* some file systems have no modes */
    aside.path = temp;
    aside.after_failure = "; the file it was to replace is as it was";
    DT_TRY(write_into(fd, &aside));
    return DT_OK;
}

static dt_status write_and_rename(const char *temp, const char *target, mode_t mode, const output *o)
{
    DT_TRY(write_aside(temp, mode, o));
    DT_CHECK(rename(temp, target) == 0, DT_ERR_IO, "%s: cannot take the place of %s: %s", temp, target,
             strerror(errno));
    DT_TRY(sync_name(target));
    return DT_OK;
}

static dt_status replace(const char *target, mode_t mode, const output *o)
{
    const size_t temp_bytes = strlen(target) + 32;
    char *temp = malloc(temp_bytes);
    DT_CHECK(temp, DT_ERR_MEMORY, "%s: no memory for its name", target);

    snprintf(temp, temp_bytes, "%s.tmp-%ld", target, (long)getpid());
    const dt_status s = write_and_rename(temp, target, mode, o);
    if (s != DT_OK) unlink(temp);
    free(temp);
    return s;
}

/* N of /dev/fd/N and /proc/self/fd/N, as which /dev/stdout is a link; else -1. */
static int descriptor_of(const char *path)
{
    static const char *const folders[] = { "/dev/fd/", "/proc/self/fd/" };
    int fd, used = 0;

    for (int i = 0; i < 2; i++) {
        const size_t n = strlen(folders[i]);
        if (strncmp(path, folders[i], n) != 0 || path[n] < '0' || path[n] > '9') continue;
        if (sscanf(path + n, "%d%n", &fd, &used) == 1 && path[n + (size_t)used] == '\0') return fd;
    }
    return -1;
}

/* target, which is a link's path, becomes what the link says; a relative one counts from the link's folder. */
static int take_link(char target[DT_PATH_BYTES], const char *to)
{
    char *slash = strrchr(target, '/');
    const size_t folder = to[0] != '/' && slash ? (size_t)(slash + 1 - target) : 0;
    const size_t room = DT_PATH_BYTES - folder;

    return (size_t)snprintf(target + folder, room, "%s", to) < room;
}

/* What path names behind all links, whether it is there or not; or an open descriptor, else -1. */
static dt_status follow(const char *path, char target[DT_PATH_BYTES], int *fd)
{
    int whole = (size_t)snprintf(target, DT_PATH_BYTES, "%s", path) < DT_PATH_BYTES;

    *fd = -1;
    for (int n = 0; n < MOST_LINKS && whole; n++) {
        char to[DT_PATH_BYTES];

        *fd = descriptor_of(target);
        const ssize_t length = *fd < 0 ? readlink(target, to, sizeof to - 1) : -1;
        if (length < 0) return DT_OK; /* no link, or nothing there */
        to[length] = '\0';
        whole = take_link(target, to);
    }
    DT_CHECK(whole, DT_ERR_IO, "%.80s..: a path of %d bytes or more", path, DT_PATH_BYTES);
    return dt_raise(DT_ERR_IO, __FILE__, __LINE__, "%s: more than %d links lead from one to the next", path,
                    MOST_LINKS);
}

/* A device or a pipe. Opening a pipe that nobody reads would wait for ever, so that is refused; a reader that waits for
 * a writer counts. */
static dt_status write_into_special(const char *target, const output *o)
{
    const int fd = open(target, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

    DT_CHECK(fd >= 0 || errno != ENXIO, DT_ERR_IO,
             "%s: a pipe that nobody reads, or a device that is not there; start its "
             "reader first",
             o->path);
    if (fd >= 0) (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    return write_into(fd, o);
}

dt_status dt_path_join(const char *folder, const char *name, char path[DT_PATH_BYTES])
{
    const int n = snprintf(path, DT_PATH_BYTES, "%s/%s", folder, name);

    DT_CHECK(n < DT_PATH_BYTES, DT_ERR_ARGUMENT, "%.80s..: a path of %d bytes, limit %d", folder, n, DT_PATH_BYTES - 1);
    return DT_OK;
}

dt_status dt_whole_file_write(const char *path, dt_file_content content, const void *user)
{
    const output o = { content, user, path, "" };
    char target[DT_PATH_BYTES];
    struct stat is;
    int fd;

    DT_TRY(follow(path, target, &fd));
    if (fd >= 0) return write_into(dup(fd), &o); /* opened anew it would begin at the file's begin */
    const int there = stat(target, &is) == 0;
    DT_CHECK(!there || !S_ISDIR(is.st_mode), DT_ERR_IO, "%s: is a folder; name a file in it", path);
    if (there && !S_ISREG(is.st_mode)) return write_into_special(target, &o);
    return replace(target, there ? is.st_mode & 0777 : 0, &o);
}

typedef struct {
    const void *data;
    size_t bytes;
} block;

static int put_block(const void *user, FILE *file)
{
    const block *b = user;

    return fwrite(b->data, 1, b->bytes, file) == b->bytes;
}

dt_status dt_file_replace(const char *path, const void *data, size_t bytes)
{
    DT_TRY(dt_whole_file_write(path, put_block, &(block){ data, bytes }));
    return DT_OK;
}

/* One folder, unless it exists. */
static dt_status make_one(const char *path)
{
    const int made = mkdir(path, 0777) == 0;

    DT_CHECK(made || errno == EEXIST, DT_ERR_IO, "%s: cannot be made: %s; name a folder that can", path,
             strerror(errno));
    if (made) DT_TRY(sync_name(path));
    return DT_OK;
}

/* path is cut at each slash in turn, and whole again afterwards. */
static dt_status make_each(char *path)
{
    struct stat is;

    for (char *p = path + 1; *p; p++) {
        if (*p != '/') continue;
        *p = '\0';
        DT_TRY(make_one(path));
        *p = '/';
    }
    DT_CHECK(stat(path, &is) == 0 && S_ISDIR(is.st_mode), DT_ERR_IO, "%.*s: not a folder; name another",
             (int)strlen(path) - 1, path);
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
