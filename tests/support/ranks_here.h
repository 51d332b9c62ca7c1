/*
 * ranks_here.h - ranks for tests: processes that meet on 127.0.0.1, each of which runs one function.
 *
 * A rank's function returns 0 if all is well. What it finds out it writes to memory that all processes share. It calls
 * no cr_assert, which belongs to the test's own process: RANK_MUST and RANK_SAYS print and end the rank.
 */
#ifndef RANKS_HERE_H
#define RANKS_HERE_H

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "detent/detent.h"

#define RANK_SECRET "a secret of the tests"

enum { RANKS_MOST = 8, RANK_MET_NOBODY = 99 };

#define RANK_MUST(call)                                                                           \
    do {                                                                                          \
        const dt_status must_ = (call);                                                           \
        if (must_ != DT_OK) {                                                                     \
            fprintf(stderr, "rank: %s: %s: %s\n", #call, dt_status_name(must_), dt_last_error()); \
            return 1;                                                                             \
        }                                                                                         \
    } while (0)

#define RANK_SAYS(condition, ...)                                 \
    do {                                                          \
        if (!(condition)) {                                       \
            fprintf(stderr, "rank: %s:%d: ", __FILE__, __LINE__); \
            fprintf(stderr, __VA_ARGS__);                         \
            fprintf(stderr, "\n");                                \
            return 1;                                             \
        }                                                         \
    } while (0)

typedef int (*rank_function)(dt_dist *d, void *user);

typedef struct {
    int n, listener, port;
    pid_t pid[RANKS_MOST];
    int code[RANKS_MOST]; /* exit codes; 128 + signal of one that was killed */
} ranks_here;

/* Memory, cleared, that forked processes share. */
static inline void *ranks_shared(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert(p != MAP_FAILED);
    return p;
}

static inline double ranks_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A listener at a port that is free. */
static inline void ranks_listen(ranks_here *r)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t bytes = sizeof at;

    r->listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(r->listener >= 0 && bind(r->listener, (struct sockaddr *)&at, sizeof at) == 0 &&
              listen(r->listener, 128) == 0 && getsockname(r->listener, (struct sockaddr *)&at, &bytes) == 0);
    r->port = ntohs(at.sin_port);
}

/* Ranks do without shared memory. */
static inline int ranks_by_tcp(void)
{
    return getenv("DETENT_LINKS") != NULL;
}

static inline dt_dist_options ranks_options(const ranks_here *r, int rank, double timeout)
{
    return (dt_dist_options){ .rank = rank,
                              .size = r->n,
                              .port = r->port,
                              .listener = rank == 0 ? r->listener : -1,
                              .secret = RANK_SECRET,
                              .timeout = timeout };
}

static inline int ranks_run_one(const dt_dist_options *opt, rank_function run, void *user)
{
    dt_dist *d = NULL;

    if (dt_dist_open(opt, &d) != DT_OK) {
        fprintf(stderr, "rank %d: %s\n", opt->rank, dt_last_error());
        return RANK_MET_NOBODY;
    }
    const int code = run(d, user);
    dt_dist_close(d, code ? "it failed" : NULL);
    return code;
}

/* Starts n ranks; ranks_end waits for them. */
static inline void ranks_start(ranks_here *r, int n, double timeout, rank_function run, void *user)
{
    r->n = n;
    ranks_listen(r);
    for (int i = 0; i < n; i++) {
        const dt_dist_options opt = ranks_options(r, i, timeout);
        r->pid[i] = fork();
        cr_assert(r->pid[i] >= 0);
        if (r->pid[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (i > 0) close(r->listener);
            _exit(ranks_run_one(&opt, run, user));
        }
    }
    close(r->listener);
}

/* Waits for rank i, which is killed if it has not ended within `seconds`. */
static inline void ranks_end_one(ranks_here *r, int i, double seconds)
{
    const double end = ranks_clock() + seconds;
    int status = 0;

    while (waitpid(r->pid[i], &status, WNOHANG) == 0) {
        usleep(5000);
        if (ranks_clock() < end) continue;
        kill(r->pid[i], SIGKILL);
        waitpid(r->pid[i], &status, 0);
        break;
    }
    r->code[i] = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline void ranks_end(ranks_here *r, double seconds)
{
    for (int i = 0; i < r->n; i++) ranks_end_one(r, i, seconds);
}

/* All ranks end well. */
static inline void ranks_must(int n, rank_function run, void *user)
{
    ranks_here r;

    ranks_start(&r, n, 60.0, run, user);
    ranks_end(&r, 120.0);
    for (int i = 0; i < n; i++) cr_assert(r.code[i] == 0, "rank %d of %d ended with %d", i, n, r.code[i]);
}

#endif /* RANKS_HERE_H */
