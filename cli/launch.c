/*
 * launch.c - `--ranks N`: starts N processes of this one, which are the ranks, and waits for them.
 *
 * Each keeps to its share of the cores, if that is at least a core. They meet on 127.0.0.1 by a socket that listens
 * before the first is started, and by a secret that only they have. When one fails, the others hear of it by their
 * links and end; whoever has not soon, within 0.15 of --timeout and 5 s, is killed. No other process is. A signal that
 * asks for a stop is handed on to all.
 */
#include "cli.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_RANKS = 1024 };

typedef struct {
    pid_t pid[MOST_RANKS]; /* 0: it has ended */
    int n, n_running;
    int code;        /* of the first that failed; 0: none did */
    int interrupted; /* 1: one was */
    double failed_at;
    double grace; /* seconds that the others have to end then */
} ranks_here;

static volatile sig_atomic_t caught;
static int is_catching; /* 1: ranks were started before */

static void on_signal(int number)
{
    caught = number;
}

/* Those that ask for a stop. */
static void on_asking_signals(void (*handler)(int))
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGXCPU };
    struct sigaction action = { .sa_handler = handler };

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) sigaction(numbers[i], &action, NULL);
}

static dt_status open_listener(rank_place *place)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t bytes = sizeof at;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int good = fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, MOST_RANKS) == 0 &&
                     getsockname(fd, (struct sockaddr *)&at, &bytes) == 0;

    if (!good) {
        const int failed = errno;
        if (fd >= 0) close(fd);
        return dt_raise(DT_ERR_IO, __FILE__, __LINE__, "a socket for the ranks: %s", strerror(failed));
    }
    place->listener = fd;
    place->port = ntohs(at.sin_port);
    strcpy(place->address, "127.0.0.1");
    return DT_OK;
}

static dt_status make_secret(rank_place *place)
{
    unsigned char random[(SECRET_BYTES - 1) / 2];

    DT_CHECK(getrandom(random, sizeof random, 0) == (ssize_t)sizeof random, DT_ERR_IO, "random bytes: %s",
             strerror(errno));
    for (size_t i = 0; i < sizeof random; i++) snprintf(place->own_secret + 2 * i, 3, "%02x", random[i]);
    place->secret = place->own_secret;
    return DT_OK;
}

/* As many cores as a rank has threads, or more; 0: fewer, so that ranks have to take turns. */
static int cores_of_each(const settings *s, const cpu_set_t *all)
{
    const char *omp = getenv("OMP_NUM_THREADS");
    const int share = CPU_COUNT(all) / s->ranks, threads = s->threads > 0 ? s->threads : omp ? atoi(omp) : 1;

    return threads <= share ? share : 0;
}

/* Ranks wait for each other in each step, and Linux likes to run who is woken where the waker runs: two were seen to
 * share one core for seconds, beside a free one. */
static void keep_to_own_cores(const settings *s, rank_place *place)
{
    cpu_set_t all, own;
    int nth = 0;

    if (sched_getaffinity(0, sizeof all, &all) != 0) return;
    const int share = cores_of_each(s, &all);
    CPU_ZERO(&own);
    for (size_t core = 0; share > 0 && core < CPU_SETSIZE; core++) {
        if (!CPU_ISSET(core, &all)) continue;
        if (nth++ / share == place->rank) CPU_SET(core, &own);
    }
    if (share > 0 && sched_setaffinity(0, sizeof own, &own) == 0) place->own_cores = share;
}

/* A rank: it ends when its parent does, whose way with signals is not its own. */
static void become_rank(const settings *s, rank_place *place, int rank, pid_t parent)
{
    if (is_catching) on_asking_signals(SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) raise(SIGTERM);
    place->rank = place->local_rank = rank;
    keep_to_own_cores(s, place);
    if (rank == 0) return;
    close(place->listener);
    place->listener = -1;
}

static void signal_all(const ranks_here *here, int number)
{
    for (int i = 0; i < here->n; i++) {
        if (here->pid[i] > 0) kill(here->pid[i], number);
    }
}

static void note_end(ranks_here *here, int rank, int status)
{
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;

    here->pid[rank] = 0;
    here->n_running--;
    if (code == EXIT_INTERRUPTED) here->interrupted = 1;
    if (code == EXIT_GOOD || code == EXIT_INTERRUPTED || here->code) return;
    here->code = code;
    here->failed_at = clock_seconds();
    if (WIFSIGNALED(status))
        fprintf(stderr, "detent: rank %d was ended by signal %d, %s\n", rank, WTERMSIG(status),
                strsignal(WTERMSIG(status)));
}

static void take_ends(ranks_here *here)
{
    int status;

    for (int i = 0; i < here->n; i++) {
        if (here->pid[i] > 0 && waitpid(here->pid[i], &status, WNOHANG) == here->pid[i]) note_end(here, i, status);
    }
}

static int wait_for_all(ranks_here *here)
{
    const struct timespec turn = { 0, 20000000 };

    while (here->n_running > 0) {
        nanosleep(&turn, NULL);
        if (caught) {
            signal_all(here, caught);
            caught = 0;
        }
        take_ends(here);
        if (here->code && clock_seconds() - here->failed_at > here->grace) signal_all(here, SIGKILL);
    }
    if (here->code) return here->code;
    return here->interrupted ? EXIT_INTERRUPTED : EXIT_GOOD;
}

dt_status launch_ranks(const settings *s, rank_place *place, int *is_parent, int *exit_code)
{
    static ranks_here here;
    const pid_t parent = getpid();

    *is_parent = 1;
    *exit_code = caught ? EXIT_INTERRUPTED : EXIT_GOOD;
    if (caught) return DT_OK; /* between two runs of a plan */
    here = (ranks_here){ .grace = s->timeout > 33 ? 5.0 : 0.15 * s->timeout };
    *place = (rank_place){ .size = s->ranks, .local_size = s->ranks, .door = "--ranks", .listener = -1 };
    DT_TRY(open_listener(place));
    DT_TRY(make_secret(place));
    fflush(NULL);
    for (here.n = 0; here.n < s->ranks; here.n++) {
        const pid_t pid = fork();
        if (pid == 0) {
            become_rank(s, place, here.n, parent);
            *is_parent = 0;
            return DT_OK;
        }
        if (pid < 0) break;
        here.pid[here.n] = pid;
        here.n_running++;
    }
    const int failed = here.n < s->ranks ? errno : 0;
    on_asking_signals(on_signal);
    is_catching = 1;
    close(place->listener);
    if (failed) signal_all(&here, SIGKILL);
    *exit_code = wait_for_all(&here);
    DT_CHECK(!failed, DT_ERR_IO, "only %d of %d ranks could be started: %s", here.n, s->ranks, strerror(failed));
    return DT_OK;
}
