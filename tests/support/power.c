/*
 * power.c - linked into `detent` (see tests/CMakeLists.txt), it follows what is on the disk for certain, and cuts the
 *           power.
 *
 *   DETENT_POWER=DISK:N   before the N-th moment, from 1, all processes of the command end, and DISK has what a machine
 *                         may find when it starts again. With fewer moments the power goes when the command has ended.
 *
 * What is followed is the folder in which the command starts; DISK is an absolute path outside, on the same file
 * system. A moment is a call there that changes names or sizes, or syncs: open and fopen that make or empty a file,
 * write, fflush, fclose, truncate, ftruncate, mkdir, rename, unlink, unlinkat, fsync, syncfs. DISK/moments says how
 * many there were.
 *
 * The model is POSIX's, where nothing but fsync gives a promise:
 *   - contents of a file are on the disk as they were at the file's last fsync; without one the file is empty;
 *   - names in a folder (made, renamed, removed) are on the disk as they were at that folder's last fsync. That of a
 *     file promises nothing of its name; that of a folder nothing of its own name, or of the contents of its files;
 *   - what there was when the command began is on the disk.
 * Anything else has reached the disk or has not, each piece for itself. Four folders stand for what there may be:
 *   DISK/undone   nothing else has
 *   DISK/named    all names have, and no contents: a file that was renamed before its fsync is empty
 *   DISK/made     names that were made have, and none that were removed; no contents
 *   DISK/half     the toss of a coin for each name; of contents half of what came after the promise
 * Usual file systems promise more, say the order of renames.
 *
 * The promises lie in DISK, for all processes of the command: content/I has the promised contents of inode I, and tree/
 * the promised names, hard links to these; "~" stands behind a folder there whose own name is not promised. pin/I is a
 * hard link to the file itself, so that its number is not given to another file.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_ROOM = 4096, BLOCK = 65536, MOST_OPEN = 16 };

typedef enum { UNDONE, NAMED, MADE, HALF, N_OUTCOMES } outcome;
static const char *const outcome_names[N_OUTCOMES] = { "undone", "named", "made", "half" };

static char root[PATH_ROOM], disk[PATH_ROOM]; /* absolute; "": nothing is followed */
static long cut_at;
static _Thread_local int at_cut; /* 1: what this thread calls now is no moment; others wait for theirs */
static pthread_mutex_t promises = PTHREAD_MUTEX_INITIALIZER; /* whoever changes or reads what was promised */

/* Ends everything where this file itself cannot work. */
static void need(int works, const char *what)
{
    if (works) return;
    dprintf(STDERR_FILENO, "power.c: %s: %s\n", what, strerror(errno));
    kill(0, SIGKILL);
}

/* ---- paths */

__attribute__((format(printf, 2, 3))) static const char *path_put(char to[PATH_ROOM], const char *format, ...)
{
    va_list a;

    va_start(a, format);
    const int n = vsnprintf(to, PATH_ROOM, format, a);
    va_end(a);
    errno = ENAMETOOLONG;
    need(n < PATH_ROOM, format);
    return to;
}

/* A file or folder that belongs to what is followed. A relative path counts from the root. */
static int is_followed(const char *path)
{
    const size_t n = strlen(root);

    return n > 0 && (path[0] != '/' || (strncmp(path, root, n) == 0 && (path[n] == '/' || path[n] == '\0')));
}

/* The path of a descriptor; 0: it is not followed, or has no name any more. */
static int path_of(int fd, char path[PATH_ROOM])
{
    char link[64];
    struct stat is;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = root[0] ? readlink(link, path, PATH_ROOM - 1) : -1;
    path[n < 0 ? 0 : n] = '\0';
    return path[0] == '/' && is_followed(path) && lstat(path, &is) == 0;
}

static int is_at(const char *path, struct stat *is)
{
    return lstat(path, is) == 0;
}

/* Of a file or folder, which is not one whose own name is not promised. */
static int is_name(const struct dirent *e)
{
    return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && e->d_name[strlen(e->d_name) - 1] != '~';
}

/* ---- promises */

/* The first bytes of a file in place of all that another has, so that its hard links see them. */
static void copy_bytes(const char *from, const char *to, int64_t bytes)
{
    char block[BLOCK];
    const int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0666);

    need(in >= 0, from);
    need(out >= 0, to);
    while (bytes > 0) {
        const ssize_t n = read(in, block, bytes < BLOCK ? (size_t)bytes : BLOCK);
        if (n <= 0) break;
        need(write(out, block, (size_t)n) == n, to);
        bytes -= n;
    }
    close(in);
    close(out);
}

/* The file that has the promised contents of another, empty where there are none. */
static const char *content_of(const char *path, ino_t inode, char content[PATH_ROOM])
{
    char pin[PATH_ROOM];

    path_put(pin, "%s/pin/%ju", disk, (uintmax_t)inode);
    need(link(path, pin) == 0 || errno == EEXIST, pin);
    path_put(content, "%s/content/%ju", disk, (uintmax_t)inode);
    const int fd = open(content, O_WRONLY | O_CREAT, 0666);
    need(fd >= 0, content);
    close(fd);
    return content;
}

static void promise_file(const char *path, const struct stat *is)
{
    char content[PATH_ROOM];

    copy_bytes(path, content_of(path, is->st_ino, content), is->st_size);
}

/* The folder of the promised names of a folder; each that is not there is made, as one whose own name is not promised.
 */
static void tree_of(const char *path, char tree[PATH_ROOM])
{
    char name[PATH_ROOM], next[PATH_ROOM];
    struct stat is;

    path_put(tree, "%s/tree", disk);
    for (const char *p = path + strlen(root); *p == '/';) {
        const int n = (int)strcspn(p + 1, "/");
        path_put(name, "%.*s", n, p + 1);
        path_put(next, "%s/%s", tree, name);
        if (!is_at(next, &is)) path_put(next, "%s/%s~", tree, name);
        need(mkdir(next, 0777) == 0 || errno == EEXIST, next);
        path_put(tree, "%s", next);
        p += 1 + n;
    }
}

static void promise_name(const char *path, const char *promised)
{
    char other[PATH_ROOM];
    struct stat is, was;

    need(is_at(path, &is), path);
    if (S_ISDIR(is.st_mode)) {
        path_put(other, "%s~", promised);
        if (!is_at(promised, &was) && rename(other, promised) != 0) need(mkdir(promised, 0777) == 0, promised);
    } else if (S_ISREG(is.st_mode)) {
        content_of(path, is.st_ino, other);
        (void)unlink(promised);
        need(link(other, promised) == 0, promised);
    }
}

static int remove_one(const char *path, const struct stat *is, int type, struct FTW *walk)
{
    (void)is, (void)type, (void)walk;
    return remove(path);
}

static void forget_names(const char *tree, const char *folder)
{
    char promised[PATH_ROOM], path[PATH_ROOM];
    struct stat is;
    DIR *names = opendir(tree);

    need(names != NULL, tree);
    for (struct dirent *e = readdir(names); e; e = readdir(names)) {
        if (!is_name(e) || is_at(path_put(path, "%s/%s", folder, e->d_name), &is)) continue;
        nftw(path_put(promised, "%s/%s", tree, e->d_name), remove_one, MOST_OPEN, FTW_DEPTH | FTW_PHYS);
    }
    closedir(names);
}

static void promise_folder(const char *folder)
{
    char tree[PATH_ROOM], path[PATH_ROOM], promised[PATH_ROOM];
    DIR *names = opendir(folder);

    need(names != NULL, folder);
    tree_of(folder, tree);
    forget_names(tree, folder);
    for (struct dirent *e = readdir(names); e; e = readdir(names)) {
        if (!is_name(e)) continue;
        promise_name(path_put(path, "%s/%s", folder, e->d_name), path_put(promised, "%s/%s", tree, e->d_name));
    }
    closedir(names);
}

static int promise(const char *path, const struct stat *is, int type, struct FTW *walk)
{
    (void)type, (void)walk;
    if (S_ISDIR(is->st_mode)) promise_folder(path);
    if (S_ISREG(is->st_mode)) promise_file(path, is);
    return 0;
}

/* ---- what there is after the cut */

/* Bytes that two files have in common at their begin. */
static int64_t common_bytes(const char *a, const char *b)
{
    FILE *x = fopen(a, "rb"), *y = fopen(b, "rb");
    int64_t n = 0;

    need(x && y, a);
    for (int c = fgetc(x); c != EOF && c == fgetc(y); c = fgetc(x)) n++;
    fclose(x);
    fclose(y);
    return n;
}

static void leave_contents(outcome o, const char *path, const struct stat *is, const char *to)
{
    char content[PATH_ROOM];
    struct stat was;

    need(is_at(content_of(path, is->st_ino, content), &was), content);
    const int64_t same = o == HALF ? common_bytes(content, path) : 0;
    if (o == HALF && same < is->st_size)
        copy_bytes(path, to, (same + is->st_size) / 2);
    else
        copy_bytes(content, to, was.st_size);
}

static void leave_folder(outcome o, const char *live, const char *tree, const char *to);

/* One name, as it is or as it was promised; either may be no file. */
static void leave_name(outcome o, const char *live, const char *promised, const char *to)
{
    char tree[PATH_ROOM];
    struct stat is, was;
    const int lives = is_at(live, &is), keeps = is_at(promised, &was);
    const int takes_live = o == NAMED || (o == MADE && lives) || (o == HALF && random() % 2);

    if (!(takes_live ? lives : keeps)) return;
    if (S_ISDIR(takes_live ? is.st_mode : was.st_mode))
        leave_folder(o, live, path_put(tree, "%s%s", promised, keeps ? "" : "~"), to);
    else if (takes_live)
        leave_contents(o, live, &is, to);
    else
        copy_bytes(promised, to, was.st_size);
}

/* Each name of a folder, but of those that `but` has too. */
static void leave_names(outcome o, const char *of, const char *but, const char *live, const char *tree, const char *to)
{
    char path[PATH_ROOM], promised[PATH_ROOM], made[PATH_ROOM];
    struct stat is;
    DIR *names = opendir(of);

    for (struct dirent *e = names ? readdir(names) : NULL; e; e = readdir(names)) {
        if (!is_name(e) || (but && is_at(path_put(path, "%s/%s", but, e->d_name), &is))) continue;
        leave_name(o, path_put(path, "%s/%s", live, e->d_name), path_put(promised, "%s/%s", tree, e->d_name),
                   path_put(made, "%s/%s", to, e->d_name));
    }
    if (names) closedir(names);
}

static void leave_folder(outcome o, const char *live, const char *tree, const char *to)
{
    need(mkdir(to, 0777) == 0, to);
    leave_names(o, live, NULL, live, tree, to);
    leave_names(o, tree, live, live, tree, to);
}

static void cut(void)
{
    char tree[PATH_ROOM], to[PATH_ROOM];

    at_cut = 1;
    pthread_mutex_lock(&promises); /* the power goes before it is given back */
    srandom((unsigned)cut_at);
    path_put(tree, "%s/tree", disk);
    for (outcome o = UNDONE; o < N_OUTCOMES; o++)
        leave_folder(o, root, tree, path_put(to, "%s/%s", disk, outcome_names[o]));
}

/* ---- moments */

/* The processes of a command count together. */
static int lock_count(long *count)
{
    char path[PATH_ROOM], text[32];
    const int fd = open(path_put(path, "%s/moments", disk), O_RDWR | O_CREAT | O_CLOEXEC, 0666);

    need(fd >= 0 && flock(fd, LOCK_EX) == 0, path);
    const ssize_t n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    *count = atol(text);
    return fd;
}

static void moment(void)
{
    char text[32];
    long count;

    if (at_cut) return;
    const int why = errno, fd = lock_count(&count);
    if (count + 1 == cut_at) {
        cut();
        kill(0, SIGKILL);
    }
    const int n = snprintf(text, sizeof text, "%ld\n", count + 1);
    need(pwrite(fd, text, (size_t)n, 0) == n, "moments");
    close(fd);
    errno = why;
}

static void moment_of_path(const char *path)
{
    if (is_followed(path)) moment();
}

static void moment_of(int fd)
{
    char path[PATH_ROOM];

    if (fd >= 0 && path_of(fd, path)) moment();
}

static void end(void)
{
    if (getpid() == getpgrp()) cut(); /* the command itself, not one that it has started */
}

/* The program may start itself anew, and others; the first one says what is followed. */
__attribute__((constructor)) static void begin(void)
{
    const char *what = getenv("DETENT_POWER"), *known = getenv("DETENT_POWER_ROOT");
    const char *colon = what ? strrchr(what, ':') : NULL;
    char path[PATH_ROOM], here[PATH_ROOM];

    if (!colon) return;
    path_put(disk, "%.*s", (int)(colon - what), what);
    cut_at = atol(colon + 1);
    atexit(end);
    if (known) {
        path_put(root, "%s", known);
        return;
    }
    need(getcwd(here, sizeof here) != NULL, "getcwd");
    setenv("DETENT_POWER_ROOT", here, 1);
    setpgid(0, 0);
    static const char *const folders[] = { "", "/tree", "/content", "/pin" };
    for (int i = 0; i < 4; i++) need(mkdir(path_put(path, "%s%s", disk, folders[i]), 0777) == 0, path);
    path_put(root, "%s", here);
    nftw(root, promise, MOST_OPEN, FTW_PHYS);
}

/* ---- the calls */

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_syncfs(int fd);
int __wrap_syncfs(int fd);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);

int __wrap_fsync(int fd)
{
    char path[PATH_ROOM];
    struct stat is;

    moment_of(fd);
    const int result = __real_fsync(fd);
    if (!at_cut) pthread_mutex_lock(&promises);
    if (result == 0 && path_of(fd, path) && fstat(fd, &is) == 0) promise(path, &is, 0, NULL);
    if (!at_cut) pthread_mutex_unlock(&promises);
    return result;
}

/* The whole folder is promised, and what else its file system has. */
int __wrap_syncfs(int fd)
{
    char path[PATH_ROOM];

    moment_of(fd);
    const int result = __real_syncfs(fd);
    if (!at_cut) pthread_mutex_lock(&promises);
    if (result == 0 && path_of(fd, path)) nftw(root, promise, MOST_OPEN, FTW_PHYS);
    if (!at_cut) pthread_mutex_unlock(&promises);
    return result;
}

int __wrap_open(const char *path, int flags, ...)
{
    mode_t mode = 0;

    if (flags & O_CREAT) {
        va_list a;
        va_start(a, flags);
        mode = (mode_t)va_arg(a, int);
        va_end(a);
    }
    if (flags & (O_CREAT | O_TRUNC)) moment_of_path(path);
    return __real_open(path, flags, mode);
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
    if (mode[0] != 'r') moment_of_path(path);
    return __real_fopen(path, mode);
}

/* CALL(int, rename, moment_of_path(to), (const char *from, const char *to), (from, to)) */
#define CALL(type, name, at, params, args) \
    type __real_##name params;             \
    type __wrap_##name params;             \
    type __wrap_##name params              \
    {                                      \
        at;                                \
        return __real_##name args;         \
    }

CALL(ssize_t, write, moment_of(fd), (int fd, const void *p, size_t n), (fd, p, n))
CALL(int, fflush, moment_of(f ? fileno(f) : -1), (FILE * f), (f))
CALL(int, fclose, moment_of(fileno(f)), (FILE * f), (f))
CALL(int, truncate, moment_of_path(path), (const char *path, off_t n), (path, n))
CALL(int, ftruncate, moment_of(fd), (int fd, off_t n), (fd, n))
CALL(int, mkdir, moment_of_path(path), (const char *path, mode_t mode), (path, mode))
CALL(int, rename, moment_of_path(to), (const char *from, const char *to), (from, to))
CALL(int, unlink, moment_of_path(path), (const char *path), (path))
CALL(int, unlinkat, moment_of(fd), (int fd, const char *path, int flags), (fd, path, flags))
