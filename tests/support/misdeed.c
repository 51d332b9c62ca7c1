/*
 * misdeed.c - preloaded into `detent train`, it makes one rank fail at a moment, or stops a run at a checkpoint.
 *
 *   DETENT_MISDEED   kill, stop    the rank gets SIGKILL or SIGSTOP
 *                    close         all its connections end
 *                    lie           it says what makes no sense on all its connections
 *                    end           the run is asked to stop (SIGTERM) at the checkpoint that DETENT_MISDEED_AT says; it
 *                                  gets no thread for its checkpoints, so that it stops before it takes another step
 *
 *   DETENT_MISDEED_AT    of the first four: milliseconds behind the first checkpoint, DETENT_MISDEED_FILE
 *                        of end: the number of a checkpoint, from 1; or a file, whose bytes it has
 *
 * The moment of a misdeed is written to DETENT_MISDEED_DONE, in milliseconds of the clock of `date`.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_DESCRIPTORS = 256 };

static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value ? value : "";
}

static int is_misdeed(const char *name)
{
    return strcmp(variable("DETENT_MISDEED"), name) == 0;
}

static void write_moment(void)
{
    FILE *file = fopen(variable("DETENT_MISDEED_DONE"), "w");
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    if (!file) return;
    fprintf(file, "%lld\n", 1000LL * t.tv_sec + t.tv_nsec / 1000000);
    fclose(file);
}

/* Descriptors that are no sockets refuse both. */
static void spoil_connections(int lies)
{
    static char nonsense[4096];

    memset(nonsense, 0x5a, sizeof nonsense);
    for (int fd = 3; fd < MOST_DESCRIPTORS; fd++) {
        if (lies)
            (void)!send(fd, nonsense, sizeof nonsense, MSG_DONTWAIT | MSG_NOSIGNAL);
        else
            shutdown(fd, SHUT_RDWR);
    }
}

static void *misbehave(void *user)
{
    const long ms = atol(variable("DETENT_MISDEED_AT"));
    const struct timespec turn = { 0, 1000000 }, wait = { ms / 1000, ms % 1000 * 1000000 };
    (void)user;

    while (access(variable("DETENT_MISDEED_FILE"), F_OK) != 0) nanosleep(&turn, NULL);
    nanosleep(&wait, NULL);
    write_moment();
    if (is_misdeed("kill")) raise(SIGKILL);
    if (is_misdeed("stop")) kill(getpid(), SIGSTOP);
    if (is_misdeed("close") || is_misdeed("lie")) spoil_connections(is_misdeed("lie"));
    return NULL;
}

__attribute__((constructor)) static void begin(void)
{
    pthread_t thread;

    if (*variable("DETENT_MISDEED") && !is_misdeed("end")) pthread_create(&thread, NULL, misbehave, NULL);
}

/* ---- at a checkpoint ---- */

static int same_bytes(const char *path_a, const char *path_b)
{
    FILE *a = fopen(path_a, "rb"), *b = fopen(path_b, "rb");
    int same = a && b, x = 0;

    while (same && x != EOF) {
        x = getc(a);
        same = x == getc(b);
    }
    if (a) fclose(a);
    if (b) fclose(b);
    return same;
}

static int ends_here(const char *path, int number)
{
    const char *at = variable("DETENT_MISDEED_AT");
    char *end;
    const long n = strtol(at, &end, 10);

    return *end == '\0' ? number == n : same_bytes(path, at);
}

/* Of a run of several ranks the first thread is the one that watches the others. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *user)
{
    static int n_threads;
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    const int most = getenv("WORLD_SIZE") ? 1 : 0;

    if (is_misdeed("end") && n_threads++ >= most) return EAGAIN;
    *(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
    return next(thread, attr, start, user);
}

/* A checkpoint is there when its file gets its name. */
int rename(const char *from, const char *to)
{
    static int n_checkpoints;
    int (*next)(const char *, const char *);
    const char *name = strrchr(to, '/');

    *(void **)&next = dlsym(RTLD_NEXT, "rename");
    const int failed = next(from, to);
    if (failed || !is_misdeed("end") || strcmp(name ? name + 1 : to, "last.safetensors") != 0) return failed;
    if (ends_here(to, ++n_checkpoints)) raise(SIGTERM);
    return 0;
}
