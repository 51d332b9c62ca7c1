/*
 * shortage.c - linked into `detent` (see tests/CMakeLists.txt), it lets one call of the system fail: the program's
 * calls arrive here by the linker's --wrap, and cJSON asks the program for its memory.
 *
 *   DETENT_SHORTAGE=KIND:N       the N-th call of that kind fails, from 1
 *   DETENT_SHORTAGE_COUNT=FILE   at the end a line "KIND N" for each kind: how many calls there were
 *
 *   memory    malloc, calloc, realloc, aligned_alloc, strdup, strndup, vasprintf, open_memstream, mmap
 *   open      open, openat, fopen, fdopen, opendir, scandir, mkdir, memfd_create, dup, gzopen
 *   write     write, fwrite, fputs, fputc, putc, puts, putchar, printf, fprintf, dprintf, fflush, ftruncate,
 *             posix_fallocate
 *   read      read, pread, fread, getdelim, gzread
 *   sync      fsync
 *   rename    rename, unlink, unlinkat
 *   close     close, fclose, closedir
 *   stat      stat, fstat
 *   thread    pthread_create
 *   process   fork
 *   device    of CUDA's runtime, where the program is built on the shim: all that cuda/ asks an answer of; a launch is
 *             judged by cudaGetLastError
 *
 * From the failing call on, a stream writes to a full disk, or reads a folder, so that the failure comes when its
 * buffer is emptied or filled, as it does in earnest. What is closed with a failure is closed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#ifdef DETENT_ON_SHIM
#include <cuda_runtime_api.h>
#endif

enum { MEMORY, OPEN, WRITE, READ, SYNC, RENAME, CLOSE, STAT, THREAD, PROCESS, DEVICE, N_KINDS };

static const char *const names[N_KINDS] = { "memory", "open", "write",  "read",    "sync",  "rename",
                                            "close",  "stat", "thread", "process", "device" };
static const int errors[N_KINDS] = { ENOMEM, EMFILE, ENOSPC, EIO, EIO, EACCES, EIO, EIO, EAGAIN, EAGAIN, 0 };

static atomic_long calls[N_KINDS], wanted[N_KINDS];

/* Counts a call; 1: it is the one that fails. */
static int fails(int kind)
{
    if (atomic_fetch_add(&calls[kind], 1) + 1 != atomic_load(&wanted[kind])) return 0;
    errno = errors[kind];
    return 1;
}

/* WRAP(int, fsync, SYNC, -1, (int fd), (fd)): the call, or the result of a failure. */
#define WRAP(type, name, kind, failure, params, args)      \
    type __real_##name params;                             \
    type __wrap_##name params;                             \
    type __wrap_##name params                              \
    {                                                      \
        return fails(kind) ? failure : __real_##name args; \
    }

/* clang-format off */
WRAP(void *, malloc, MEMORY, NULL, (size_t n), (n))
WRAP(void *, calloc, MEMORY, NULL, (size_t n, size_t bytes), (n, bytes))
WRAP(void *, realloc, MEMORY, NULL, (void *p, size_t n), (p, n))
WRAP(void *, aligned_alloc, MEMORY, NULL, (size_t alignment, size_t n), (alignment, n))
WRAP(char *, strdup, MEMORY, NULL, (const char *s), (s))
WRAP(char *, strndup, MEMORY, NULL, (const char *s, size_t n), (s, n))
WRAP(int, vasprintf, MEMORY, -1, (char **out, const char *f, va_list a), (out, f, a))
WRAP(FILE *, open_memstream, MEMORY, NULL, (char **text, size_t *bytes), (text, bytes))
WRAP(void *, mmap, MEMORY, MAP_FAILED, (void *at, size_t n, int prot, int flags, int fd, off_t o), (at, n, prot, flags, fd, o))
WRAP(FILE *, fopen, OPEN, NULL, (const char *path, const char *mode), (path, mode))
WRAP(FILE *, fdopen, OPEN, NULL, (int fd, const char *mode), (fd, mode))
WRAP(DIR *, opendir, OPEN, NULL, (const char *path), (path))
WRAP(int, scandir, OPEN, -1, (const char *path, struct dirent ***list, int (*filter)(const struct dirent *),
     int (*order)(const struct dirent **, const struct dirent **)), (path, list, filter, order))
WRAP(int, mkdir, OPEN, -1, (const char *path, mode_t mode), (path, mode))
WRAP(int, memfd_create, OPEN, -1, (const char *name, unsigned flags), (name, flags))
WRAP(int, dup, OPEN, -1, (int fd), (fd))
WRAP(gzFile, gzopen, OPEN, NULL, (const char *path, const char *mode), (path, mode))
WRAP(ssize_t, write, WRITE, -1, (int fd, const void *p, size_t n), (fd, p, n))
WRAP(int, ftruncate, WRITE, -1, (int fd, off_t n), (fd, n))
WRAP(int, posix_fallocate, WRITE, ENOSPC, (int fd, off_t o, off_t n), (fd, o, n))
WRAP(ssize_t, read, READ, -1, (int fd, void *p, size_t n), (fd, p, n))
WRAP(ssize_t, pread, READ, -1, (int fd, void *p, size_t n, off_t o), (fd, p, n, o))
WRAP(int, gzread, READ, -1, (gzFile f, void *p, unsigned n), (f, p, n))
WRAP(int, fsync, SYNC, -1, (int fd), (fd))
WRAP(int, rename, RENAME, -1, (const char *from, const char *to), (from, to))
WRAP(int, unlink, RENAME, -1, (const char *path), (path))
WRAP(int, unlinkat, RENAME, -1, (int fd, const char *path, int flags), (fd, path, flags))
WRAP(int, stat, STAT, -1, (const char *path, struct stat *s), (path, s))
WRAP(int, fstat, STAT, -1, (int fd, struct stat *s), (fd, s))
WRAP(int, pthread_create, THREAD, EAGAIN, (pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *p), (t, a, f, p))
WRAP(pid_t, fork, PROCESS, -1, (void), ())
#ifdef DETENT_ON_SHIM
#define DEVICE_CALL(name, params, args) WRAP(cudaError_t, name, DEVICE, cudaErrorUnknown, params, args)
WRAP(cudaError_t, cudaMalloc, DEVICE, cudaErrorMemoryAllocation, (void **p, size_t n), (p, n))
WRAP(cudaError_t, cudaMallocHost, DEVICE, cudaErrorMemoryAllocation, (void **p, size_t n), (p, n))
DEVICE_CALL(cudaGetLastError, (void), ())
DEVICE_CALL(cudaSetDevice, (int device), (device))
DEVICE_CALL(cudaGetDeviceCount, (int *n), (n))
DEVICE_CALL(cudaGetDeviceProperties, (struct cudaDeviceProp *p, int device), (p, device))
DEVICE_CALL(cudaMemGetInfo, (size_t *free, size_t *all), (free, all))
DEVICE_CALL(cudaMemcpy, (void *to, const void *from, size_t n, enum cudaMemcpyKind kind), (to, from, n, kind))
DEVICE_CALL(cudaMemcpyAsync, (void *to, const void *from, size_t n, enum cudaMemcpyKind kind, cudaStream_t s), (to, from, n, kind, s))
DEVICE_CALL(cudaMemsetAsync, (void *to, int value, size_t n, cudaStream_t s), (to, value, n, s))
DEVICE_CALL(cudaStreamCreateWithFlags, (cudaStream_t *s, unsigned flags), (s, flags))
DEVICE_CALL(cudaStreamSynchronize, (cudaStream_t s), (s))
DEVICE_CALL(cudaStreamWaitEvent, (cudaStream_t s, cudaEvent_t e, unsigned flags), (s, e, flags))
DEVICE_CALL(cudaStreamBeginCapture, (cudaStream_t s, enum cudaStreamCaptureMode mode), (s, mode))
DEVICE_CALL(cudaStreamEndCapture, (cudaStream_t s, cudaGraph_t *g), (s, g))
DEVICE_CALL(cudaGraphInstantiate, (cudaGraphExec_t *x, cudaGraph_t g, unsigned long long flags), (x, g, flags))
DEVICE_CALL(cudaGraphLaunch, (cudaGraphExec_t x, cudaStream_t s), (x, s))
DEVICE_CALL(cudaEventCreate, (cudaEvent_t *e), (e))
DEVICE_CALL(cudaEventCreateWithFlags, (cudaEvent_t *e, unsigned flags), (e, flags))
DEVICE_CALL(cudaEventRecord, (cudaEvent_t e, cudaStream_t s), (e, s))
DEVICE_CALL(cudaEventSynchronize, (cudaEvent_t e), (e))
DEVICE_CALL(cudaEventElapsedTime, (float *ms, cudaEvent_t a, cudaEvent_t b), (ms, a, b))
#endif
/* clang-format on */

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_openat(int fd, const char *path, int flags, ...);
int __wrap_openat(int fd, const char *path, int flags, ...);

/* The mode, which is there where a file may be made. */
#define MODE_OF(flags, mode)               \
    do {                                   \
        if ((flags)&O_CREAT) {             \
            va_list a;                     \
            va_start(a, flags);            \
            mode = (mode_t)va_arg(a, int); \
            va_end(a);                     \
        }                                  \
    } while (0)

int __wrap_open(const char *path, int flags, ...)
{
    mode_t mode = 0;

    MODE_OF(flags, mode);
    return fails(OPEN) ? -1 : __real_open(path, flags, mode);
}

int __wrap_openat(int fd, const char *path, int flags, ...)
{
    mode_t mode = 0;

    MODE_OF(flags, mode);
    return fails(OPEN) ? -1 : __real_openat(fd, path, flags, mode);
}

/* ---- what is closed all the same */

int __real_close(int fd);
int __wrap_close(int fd);
int __real_fclose(FILE *f);
int __wrap_fclose(FILE *f);
int __real_closedir(DIR *d);
int __wrap_closedir(DIR *d);

static int closed(int result, int failed)
{
    if (failed) errno = EIO;
    return failed ? -1 : result;
}

int __wrap_close(int fd)
{
    const int failed = fails(CLOSE);

    return closed(__real_close(fd), failed);
}

int __wrap_fclose(FILE *f)
{
    const int failed = fileno(f) >= 0 && fails(CLOSE); /* not of a stream in memory */

    return closed(__real_fclose(f), failed);
}

int __wrap_closedir(DIR *d)
{
    const int failed = fails(CLOSE);

    return closed(__real_closedir(d), failed);
}

/* ---- streams */

/* The stream's descriptor is another from now on. */
static void turn(FILE *f, int kind, const char *path, int flags)
{
    if (fileno(f) < 0 || !fails(kind)) return;
    const int fd = __real_open(path, flags);
    dup2(fd, fileno(f));
    __real_close(fd);
}

static void spoil_write(FILE *f)
{
    turn(f, WRITE, "/dev/full", O_WRONLY);
}

static void spoil_read(FILE *f)
{
    turn(f, READ, "/", O_RDONLY | O_DIRECTORY);
}

#define STREAM(type, name, spoil, f, params, args) \
    type __real_##name params;                     \
    type __wrap_##name params;                     \
    type __wrap_##name params                      \
    {                                              \
        spoil(f);                                  \
        return __real_##name args;                 \
    }

/* clang-format off */
STREAM(size_t, fwrite, spoil_write, f, (const void *p, size_t bytes, size_t n, FILE *f), (p, bytes, n, f))
STREAM(int, fputs, spoil_write, f, (const char *s, FILE *f), (s, f))
STREAM(int, fputc, spoil_write, f, (int c, FILE *f), (c, f))
STREAM(int, putc, spoil_write, f, (int c, FILE *f), (c, f))
STREAM(int, puts, spoil_write, stdout, (const char *s), (s))
STREAM(int, putchar, spoil_write, stdout, (int c), (c))
STREAM(int, fflush, spoil_write, f ? f : stdout, (FILE *f), (f))
STREAM(size_t, fread, spoil_read, f, (void *p, size_t bytes, size_t n, FILE *f), (p, bytes, n, f))
STREAM(ssize_t, __getdelim, spoil_read, f, (char **line, size_t *n, int end, FILE *f), (line, n, end, f))
/* clang-format on */

int __wrap_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
int __wrap_fprintf(FILE *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_dprintf(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define PRINT(call)      \
    va_list a;           \
    va_start(a, format); \
    const int n = call;  \
    va_end(a);           \
    return n

int __wrap_printf(const char *format, ...)
{
    spoil_write(stdout);
    PRINT(vprintf(format, a));
}

int __wrap_fprintf(FILE *f, const char *format, ...)
{
    spoil_write(f);
    PRINT(vfprintf(f, format, a));
}

int __wrap_dprintf(int fd, const char *format, ...)
{
    PRINT(fails(WRITE) ? -1 : vdprintf(fd, format, a));
}

/* ---- begin and end */

static void count(void)
{
    char text[512];
    int used = 0;

    for (int k = 0; k < N_KINDS; k++) {
        used += snprintf(text + used, sizeof text - (size_t)used, "%s %ld\n", names[k], atomic_load(&calls[k]));
    }
    const int fd = __real_open(getenv("DETENT_SHORTAGE_COUNT"), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    (void)!__real_write(fd, text, (size_t)used);
    __real_close(fd);
}

__attribute__((constructor)) static void begin(void)
{
    const char *what = getenv("DETENT_SHORTAGE");

    for (int k = 0; what && k < N_KINDS; k++) {
        const size_t n = strlen(names[k]);
        if (strncmp(what, names[k], n) == 0 && what[n] == ':') wanted[k] = atol(what + n + 1);
    }
    if (getenv("DETENT_SHORTAGE_COUNT")) atexit(count);
}
