/*
 * onnx_source.c - see onnx_source.h.
 */
#include "onnx_source.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Makes a source of an open file, which it closes if that fails. */
static dt_status take(const char *path, int fd, dt_onnx_source **out)
{
    struct stat is;
    dt_onnx_source *s = calloc(1, sizeof *s);

    if (s) s->path = strdup(path);
    if (!s || !s->path || fstat(fd, &is) != 0 || !S_ISREG(is.st_mode)) {
        const int memory = s && s->path;
        close(fd);
        if (s) free(s->path);
        free(s);
        return dt_raise(memory ? DT_ERR_IO : DT_ERR_MEMORY, __FILE__, __LINE__,
                        memory ? "%s: is no plain file" : "%s: no memory", path);
    }
    s->fd = fd;
    s->bytes = (uint64_t)is.st_size;
    *out = s;
    return DT_OK;
}

dt_status dt_onnx_source_open(const char *path, dt_onnx_source **out)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    DT_CHECK(fd >= 0, DT_ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    return take(path, fd, out);
}

/* Opens `name`, n bytes, in the folder fd, which is closed. Returns -1 if that fails. */
static int step_into(int fd, const char *name, size_t n, int flags)
{
    char part[NAME_MAX + 1];
    int next = -1;

    if (n > NAME_MAX) {
        errno = ENAMETOOLONG;
    } else {
        memcpy(part, name, n);
        part[n] = '\0';
        next = openat(fd, part, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags);
    }
    const int why = errno;
    close(fd);
    errno = why;
    return next;
}

dt_status dt_onnx_source_open_beside(const char *path, const char *location, dt_onnx_source **out)
{
    const char *slash = strrchr(path, '/'), *at = location;
    struct stat is;
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");

    DT_CHECK(folder, DT_ERR_MEMORY, "%s: no memory", path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    DT_CHECK(fd >= 0, DT_ERR_IO, "%s: its folder cannot be opened: %s", path, strerror(errno));
    while (fd >= 0) {
        const size_t n = strcspn(at, "/");
        const int is_last = at[n] == '\0';
        if (n == 0 || (n == 1 && at[0] == '.') || (n == 2 && at[0] == '.' && at[1] == '.')) {
            close(fd);
            return dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__,
                            "%s: data lie in '%.200s'; a path within the model's folder is understood, without '..' "
                            "and not from '/' on",
                            path, location);
        }
        fd = step_into(fd, at, n, is_last ? 0 : O_DIRECTORY);
        at += n + 1;
        if (is_last) break;
    }
    DT_CHECK(fd >= 0, errno == ELOOP || errno == ENOTDIR ? DT_ERR_FORMAT : DT_ERR_IO,
             "%s: data lie in '%.200s', which cannot be opened%s: %s", path, location,
             errno == ELOOP || errno == ENOTDIR ? ", because links are not followed" : "", strerror(errno));
    if (fstat(fd, &is) != 0 || !S_ISREG(is.st_mode)) {
        close(fd);
        return dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__, "%s: data lie in '%.200s', which is no plain file", path,
                        location);
    }
    return take(location, fd, out);
}

dt_status dt_onnx_source_of(const char *path, const void *data, size_t bytes, dt_onnx_source **out)
{
    dt_onnx_source *s = calloc(1, sizeof *s);

    if (s) s->path = strdup(path);
    if (!s || !s->path) {
        free(s);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory", path);
    }
    s->fd = -1;
    s->memory = data;
    s->bytes = bytes;
    *out = s;
    return DT_OK;
}

void dt_onnx_source_close(dt_onnx_source *s)
{
    if (!s) return;
    if (s->fd >= 0) close(s->fd);
    free(s->path);
    free(s);
}

dt_status dt_onnx_source_read(const dt_onnx_source *s, uint64_t at, size_t bytes, void *to)
{
    assert(at <= s->bytes && bytes <= s->bytes - at);
    if (s->fd < 0) {
        memcpy(to, s->memory + at, bytes);
        return DT_OK;
    }
    for (size_t done = 0; done < bytes;) {
        const ssize_t n = pread(s->fd, (char *)to + done, bytes - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR) continue;
        DT_CHECK(n > 0, DT_ERR_IO, "%s: cannot be read at byte %" PRIu64 ": %s", s->path, at + done,
                 n < 0 ? strerror(errno) : "it ends there, and was longer before");
        done += (size_t)n;
    }
    return DT_OK;
}

dt_status dt_onnx_source_look(dt_onnx_source *s, uint64_t at, size_t n, const unsigned char **out)
{
    assert(n <= DT_ONNX_LOOK && at <= s->bytes && n <= s->bytes - at);
    if (s->fd < 0) {
        *out = s->memory + at;
        return DT_OK;
    }
    if (at < s->window_at || at + n > s->window_at + s->window_bytes) {
        const size_t bytes = s->bytes - at < DT_ONNX_WINDOW ? (size_t)(s->bytes - at) : DT_ONNX_WINDOW;
        s->window_bytes = 0;
        DT_TRY(dt_onnx_source_read(s, at, bytes, s->window));
        s->window_at = at;
        s->window_bytes = bytes;
    }
    *out = s->window + (at - s->window_at);
    return DT_OK;
}
