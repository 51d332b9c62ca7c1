/*
 * watch.c - a thread of each rank that tells of it and listens for the others, so that the first failure ends all.
 *
 * Each rank sends rank 0 a sign of life every so often, with its last operation and for how long it has waited in it;
 * rank 0 sends signs too. Rank 0 judges:
 *   - a rank whose link closes, or that gives no sign for SHARE of the timeout, is to blame (killed, stopped, no way);
 *   - if a rank has waited for that long, the one that has begun the fewest operations is to blame: it hangs; of
 *     several, one that does not wait itself;
 *   - a rank that fails, or finds that another one sent what it must not, says so itself.
 * The others judge rank 0 by its own link. The verdict goes to all, and each rank's next wait ends with it.
 *
 * A thread that was stopped itself, with the whole job, does not hold the silence of that time against the others.
 * Tests: tests/core/test_dist_failures.c, tests/cli/test_cli_ranks.sh.
 */
#include "dist_inside.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SIGN_MAGIC 0x4e474953u
static const double SHARE = 0.75;         /* of the timeout: the rest is for telling all */
static const double FAREWELL = 1.0;       /* seconds that goodbyes and verdicts may take */
static const double SECOND_THOUGHT = 2.0; /* until the verdict on a rank whose ring link has closed */

static double interval_of(const dt_dist *d)
{
    const double t = d->timeout / 40.0;
    return t > 1.0 ? 1.0 : t;
}

/* ---- for the rank's own thread ---- */

void dt_watch_begin(dt_dist *d, const char *what)
{
    pthread_mutex_lock(&d->lock);
    snprintf(d->operation, sizeof d->operation, "%s", what);
    d->number++;
    d->since = dt_socket_clock();
    pthread_mutex_unlock(&d->lock);
}

void dt_watch_wait(dt_dist *d, const char *what)
{
    pthread_mutex_lock(&d->lock);
    snprintf(d->operation, sizeof d->operation, "%s", what);
    d->since = dt_socket_clock();
    pthread_mutex_unlock(&d->lock);
}

void dt_watch_done(dt_dist *d)
{
    pthread_mutex_lock(&d->lock);
    d->since = 0.0;
    pthread_mutex_unlock(&d->lock);
}

dt_status dt_watch_check(dt_dist *d)
{
    char text[DT_VERDICT_BYTES];

    if (!atomic_load(&d->has_verdict)) return DT_OK;
    pthread_mutex_lock(&d->lock);
    memcpy(text, d->verdict, sizeof text);
    pthread_mutex_unlock(&d->lock);
    return dt_raise(DT_ERR_COMM, __FILE__, __LINE__, "%s", text);
}

/* is_own: the others are to be told. */
static void give_verdict(dt_dist *d, int culprit, const char *text, int is_own, int has_told)
{
    pthread_mutex_lock(&d->lock);
    if (!atomic_load(&d->has_verdict)) {
        snprintf(d->verdict, sizeof d->verdict, "%s", text);
        d->culprit = culprit;
        d->is_own = is_own;
        d->has_told = has_told;
        atomic_store(&d->has_verdict, 1);
    }
    pthread_mutex_unlock(&d->lock);
}

void dt_watch_blame(dt_dist *d, int culprit, const char *text)
{
    give_verdict(d, culprit, text, 1, culprit == d->rank);
}

/* The rank, its host and what it did last: of itself a rank knows best. */
static void blame(dt_dist *d, int rank, const char *what)
{
    char text[DT_VERDICT_BYTES];
    const dt_sign *last = &d->peer[rank].last;

    if (last->number > 0) {
        snprintf(text, sizeof text, "rank %d on %s %s; its last operation was '%.40s', number %llu", rank,
                 d->peer[rank].host, what, last->text, (unsigned long long)last->number);
    } else {
        snprintf(text, sizeof text, "rank %d on %s %s; it had begun no operation", rank, d->peer[rank].host, what);
    }
    give_verdict(d, rank, text, 1, 0);
}

dt_status dt_watch_lost(dt_dist *d, int rank, const char *why)
{
    const double end = dt_socket_clock() + SECOND_THOUGHT;
    char text[DT_VERDICT_BYTES];

    while (!atomic_load(&d->has_verdict) && dt_socket_clock() < end) usleep(10000);
    snprintf(text, sizeof text, "rank %d on %s: the link from rank %d on %s to it has ended (%s) in '%s', number %llu",
             rank, d->peer[rank].host, d->rank, d->peer[d->rank].host, why, d->operation,
             (unsigned long long)d->number);
    dt_watch_blame(d, rank, text);
    return dt_watch_check(d);
}

/* ---- what the watcher sends ---- */

static dt_sign sign_of_life(dt_dist *d)
{
    dt_sign s = { .magic = SIGN_MAGIC, .kind = DT_SIGN_LIFE };

    pthread_mutex_lock(&d->lock);
    s.number = d->number;
    s.waits = d->since > 0.0;
    s.waited = s.waits ? dt_socket_clock() - d->since : 0.0;
    snprintf(s.text, sizeof s.text, "%s", d->operation);
    pthread_mutex_unlock(&d->lock);
    return s;
}

/* What is under way goes first; a peer that takes nothing gets no more. */
static void send_some(dt_peer *p)
{
    const char *why;

    while (p->sent < sizeof p->out) {
        const long n = dt_socket_send(p->fd, (const char *)&p->out + p->sent, sizeof p->out - p->sent, &why);
        if (n <= 0) return;
        p->sent += (size_t)n;
    }
}

static void send_life(dt_dist *d)
{
    const dt_sign s = sign_of_life(d);

    d->peer[d->rank].last = s;
    for (int i = 0; i < d->size; i++) {
        dt_peer *p = &d->peer[i];
        if (p->fd < 0 || p->has_left) continue;
        send_some(p);
        if (p->sent < sizeof p->out) continue;
        p->out = s;
        p->sent = 0;
        send_some(p);
    }
}

/* The last sign: behind whatever is under way. */
static void send_last(dt_dist *d, const dt_sign *s)
{
    const double deadline = dt_socket_clock() + FAREWELL;

    for (int i = 0; i < d->size; i++) {
        dt_peer *p = &d->peer[i];
        if (p->fd < 0 || p->has_left) continue;
        dt_status sent = DT_OK;
        if (p->sent < sizeof p->out)
            sent = dt_socket_send_all(p->fd, (const char *)&p->out + p->sent, sizeof p->out - p->sent, deadline);
        if (sent == DT_OK) sent = dt_socket_send_all(p->fd, s, sizeof *s, deadline);
        (void)sent; /* who does not hear it sees the link close */
        p->sent = sizeof p->out;
    }
}

static void tell_verdict(dt_dist *d)
{
    dt_sign s = { .magic = SIGN_MAGIC, .kind = DT_SIGN_FAILED };

    pthread_mutex_lock(&d->lock);
    const int tells = d->is_own;
    d->is_own = 0;
    s.culprit = (uint32_t)d->culprit;
    s.waits = d->has_told != 0;
    snprintf(s.text, sizeof s.text, "%s", d->verdict);
    pthread_mutex_unlock(&d->lock);
    if (tells) send_last(d, &s);
}

/* ---- what it hears ---- */

static void take_sign(dt_dist *d, int from, dt_sign *s)
{
    dt_peer *p = &d->peer[from];

    s->text[sizeof s->text - 1] = '\0';
    p->heard = dt_socket_clock();
    if (s->magic != SIGN_MAGIC || s->culprit >= (uint32_t)d->size) {
        blame(d, from, "sent what is no sign of life");
    } else if (s->kind == DT_SIGN_LEAVES) {
        p->has_left = 1;
    } else if (s->kind == DT_SIGN_FAILED) {
        give_verdict(d, (int)s->culprit, s->text, d->rank == 0, s->waits != 0); /* rank 0 passes it on */
    } else if (s->kind == DT_SIGN_LIFE) {
        p->last = *s;
    } else {
        blame(d, from, "sent a sign of a kind that there is not");
    }
}

static void hear(dt_dist *d, int from)
{
    dt_peer *p = &d->peer[from];
    char what[128];
    const char *why = NULL;

    while (!p->has_left) {
        const long n = dt_socket_receive(p->fd, (char *)&p->in + p->got, sizeof p->in - p->got, &why);
        if (n == 0) return;
        if (n < 0) break;
        p->got += (size_t)n;
        if (p->got < sizeof p->in) continue;
        p->got = 0;
        take_sign(d, from, &p->in);
    }
    if (!p->has_left) {
        snprintf(what, sizeof what, "has ended, or its link has (%s)", why);
        blame(d, from, what);
    }
    dt_socket_close(&p->fd);
}

/* ---- what it makes of it ---- */

static void judge_silence(dt_dist *d, double now)
{
    char what[128];

    for (int i = 0; i < d->size; i++) {
        const dt_peer *p = &d->peer[i];
        if (p->fd < 0 || p->has_left || now - p->heard <= SHARE * d->timeout) continue;
        snprintf(what, sizeof what, "has given no sign of life for %.1f s", now - p->heard);
        blame(d, i, what);
    }
}

static int is_behind(const dt_sign *a, const dt_sign *b)
{
    return a->number < b->number || (a->number == b->number && !a->waits && b->waits);
}

/* Rank 0 alone knows how far each has come. */
static void judge_waits(dt_dist *d)
{
    int slowest = 0, waits_too_long = -1;
    char what[160];

    for (int i = 0; i < d->size; i++) {
        const dt_sign *s = &d->peer[i].last;
        if (is_behind(s, &d->peer[slowest].last)) slowest = i;
        if (s->waits && s->waited > SHARE * d->timeout) waits_too_long = i;
    }
    if (waits_too_long < 0) return;
    const dt_sign *s = &d->peer[waits_too_long].last;
    if (is_behind(&d->peer[slowest].last, s)) {
        snprintf(what, sizeof what, "hangs: rank %d has waited for it for %.1f s", waits_too_long, s->waited);
        blame(d, slowest, what);
    } else {
        snprintf(what, sizeof what, "has waited for %.1f s, and so have all: no data passes on a link of the ring",
                 s->waited);
        blame(d, waits_too_long, what);
    }
}

/* Moves every clock by the time in which this thread did not run. */
static void forgive(dt_dist *d, double gap)
{
    for (int i = 0; i < d->size; i++) d->peer[i].heard += gap;
    pthread_mutex_lock(&d->lock);
    if (d->since > 0.0) d->since += gap;
    pthread_mutex_unlock(&d->lock);
}

static void listen_all(dt_dist *d, double seconds)
{
    struct pollfd p[DT_MOST_RANKS];
    int rank[DT_MOST_RANKS], n = 0;

    for (int i = 0; i < d->size; i++) {
        if (d->peer[i].fd < 0) continue;
        p[n] = (struct pollfd){ .fd = d->peer[i].fd, .events = POLLIN };
        rank[n++] = i;
    }
    (void)poll(p, (nfds_t)n, (int)(seconds * 1e3) + 1);
    for (int k = 0; k < n; k++) {
        if (p[k].revents) hear(d, rank[k]);
    }
}

static int is_leaving(dt_dist *d)
{
    pthread_mutex_lock(&d->lock);
    const int leaves = d->leaves;
    pthread_mutex_unlock(&d->lock);
    return leaves;
}

static void *watch(void *user)
{
    dt_dist *d = user;
    const double interval = interval_of(d), look = interval < 0.02 ? interval : 0.02;
    double before = d->peer[d->rank].heard; /* when this thread was asked for: a stop may fall between */
    double next = 0.0;

    while (!is_leaving(d)) {
        const double now = dt_socket_clock();
        if (now - before > interval + 1.0) forgive(d, now - before);
        before = now;
        if (now >= next) {
            send_life(d);
            if (d->rank == 0) judge_waits(d);
            next = now + interval;
        }
        judge_silence(d, now);
        tell_verdict(d);
        listen_all(d, look);
    }
    tell_verdict(d);
    const dt_sign bye = { .magic = SIGN_MAGIC, .kind = DT_SIGN_LEAVES };
    if (!atomic_load(&d->has_verdict)) send_last(d, &bye);
    return NULL;
}

/* Signals are for the threads of the program. */
dt_status dt_watch_start(dt_dist *d)
{
    sigset_t all, before;

    for (int i = 0; i < d->size; i++) {
        d->peer[i].heard = dt_socket_clock();
        d->peer[i].sent = sizeof d->peer[i].out;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&d->watcher, NULL, watch, d);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    DT_CHECK(failed == 0, DT_ERR_MEMORY, "no thread can be started that watches the ranks: %s", strerror(failed));
    d->is_watched = 1;
    return DT_OK;
}

void dt_watch_end(dt_dist *d)
{
    if (!d->is_watched) return;
    pthread_mutex_lock(&d->lock);
    d->leaves = 1;
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->watcher, NULL);
    d->is_watched = 0;
}
