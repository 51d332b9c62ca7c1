/*
 * interrupt.c - signals that ask a subcommand to end.
 *
 * The first asks for a stop at a safe place. Whatever comes within two seconds of it is the same request: batch
 * systems, wrappers that forward signals and `timeout` send one twice within milliseconds. A later one ends the process
 * at once, but for SIGXCPU, which the kernel repeats each second until its hard limit, and SIGPIPE, which each write
 * repeats.
 *
 * SIGINT and SIGTERM are taken even where the parent ignored them: a shell starts its background jobs with SIGINT
 * ignored. SIGHUP stays ignored where it was, which is how `nohup` asks for it. The handler calls only what POSIX
 * allows in one.
 */
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#define REPEAT_MS 2000

static atomic_llong first_ms; /* monotonic clock of the first signal; 0: none. Threads may be in the handler at once */

static long long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1 + 1000LL * t.tv_sec + t.tv_nsec / 1000000; /* never 0 */
}

static void on_signal(int number)
{
    const int error = errno;
    const long long now = now_ms();
    long long first = 0;

    if (!atomic_compare_exchange_strong(&first_ms, &first, now) && now - first >= REPEAT_MS && number != SIGXCPU &&
        number != SIGPIPE) {
        signal(number, SIG_DFL);
        raise(number); /* comes when this handler returns */
    }
    errno = error;
}

static int is_ignored(int number)
{
    struct sigaction now;

    return sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

static void take(int number)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

void interrupt_install(void)
{
    if (!is_ignored(SIGHUP)) take(SIGHUP);
    take(SIGINT);
    take(SIGTERM);
    take(SIGUSR1);
    take(SIGXCPU);
}

void interrupt_on_closed_output(void)
{
    if (!is_ignored(SIGPIPE)) take(SIGPIPE);
}

int interrupt_requested(void)
{
    return atomic_load(&first_ms) != 0;
}
