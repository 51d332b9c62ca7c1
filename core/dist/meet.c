/*
 * meet.c - the ranks find each other: all come to rank 0, which tells everybody where each rank listens; then each
 *          visits the next one of the ring. Who is no rank of this work is sent away, and the meeting goes on.
 *
 * Tests: tests/core/test_dist_meet.c.
 */
#include "dist_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_REFUSALS = 5 };
static const double PATIENCE = 10.0, TURN = 0.1; /* seconds for a visitor; between two looks at `stop` */

/* Where a rank listens, and its host. */
typedef struct {
    char address[DT_ADDRESS_BYTES], host[DT_HOST_BYTES];
    uint32_t port;
} place;

typedef struct {
    dt_dist *d;
    const dt_dist_options *opt;
    double deadline;
    place at[DT_MOST_RANKS];
    char last_refusal[DT_REFUSAL_BYTES];
    char secret[DT_SECRET_BYTES];
} meeting;

static dt_status look_at_stop(const meeting *m)
{
    DT_CHECK(!m->opt->stop || !m->opt->stop(), DT_ERR_INTERRUPTED, "stopped before all ranks had met");
    return DT_OK;
}

static dt_hello introduce(const meeting *m, dt_link_kind kind, int port)
{
    dt_hello h = { .magic = DT_HELLO_MAGIC,
                   .protocol = DT_PROTOCOL,
                   .version = DT_VERSION,
                   .kind = (uint32_t)kind,
                   .rank = (uint32_t)m->d->rank,
                   .size = (uint32_t)m->d->size,
                   .port = (uint32_t)port };

    memcpy(h.host, m->d->peer[m->d->rank].host, sizeof h.host);
    return h;
}

/* Returns 1 with the reason in why if the visitor does not speak as this rank does. */
static int is_foreign(const meeting *m, const dt_hello *h, char why[DT_REFUSAL_BYTES])
{
    if (h->magic != DT_HELLO_MAGIC || h->protocol != DT_PROTOCOL) {
        snprintf(why, DT_REFUSAL_BYTES, "it speaks protocol %u (magic %08x), rank %d speaks %d (%08x)", h->protocol,
                 h->magic, m->d->rank, DT_PROTOCOL, DT_HELLO_MAGIC);
    } else if (strcmp(h->version, DT_VERSION) != 0) {
        snprintf(why, DT_REFUSAL_BYTES, "rank %u on %s is detent %s, rank %d on %s is detent %s", h->rank, h->host,
                 h->version, m->d->rank, dt_dist_host(m->d), DT_VERSION);
    } else if (h->size != (uint32_t)m->d->size || h->rank >= h->size) {
        snprintf(why, DT_REFUSAL_BYTES, "rank %u of %u on %s comes to rank %d of %d on %s", h->rank, h->size, h->host,
                 m->d->rank, m->d->size, dt_dist_host(m->d));
    } else {
        return 0;
    }
    return 1;
}

/* Why a visitor is not let in: it is none that this rank waits for. */
static int is_refused(const meeting *m, const dt_hello *h, dt_link_kind wanted, char why[DT_REFUSAL_BYTES])
{
    const dt_dist *d = m->d;
    const int before = (d->rank + d->size - 1) % d->size;

    if (is_foreign(m, h, why)) return 1;
    if (h->kind != (uint32_t)wanted || (wanted == DT_LINK_RING && h->rank != (uint32_t)before)) {
        snprintf(why, DT_REFUSAL_BYTES, "rank %u on %s comes for link %u, rank %d waits for link %d of rank %d",
                 h->rank, h->host, h->kind, d->rank, (int)wanted, before);
        return 1;
    }
    if (wanted == DT_LINK_CONTROL && (h->rank == 0 || d->peer[h->rank].fd >= 0)) {
        snprintf(why, DT_REFUSAL_BYTES, "two processes are rank %u: one on %s, one on %s", h->rank, h->host,
                 d->peer[h->rank].host);
        return 1;
    }
    return 0;
}

/* Waits at the door for one visitor who is let in. */
static dt_status let_in(meeting *m, dt_door *door, dt_link_kind wanted, dt_hello *h, int *fd)
{
    char why[DT_REFUSAL_BYTES];
    int found;

    while (dt_socket_clock() < m->deadline) {
        DT_TRY(look_at_stop(m));
        DT_TRY(dt_door_serve(door, TURN, h, &found));
        if (found < 0) continue;
        const int refused = is_refused(m, h, wanted, why);
        const dt_status told = dt_door_answer(&found, refused ? why : NULL, dt_socket_clock() + 1.0);
        if (refused) memcpy(m->last_refusal, why, sizeof why);
        if (refused || told != DT_OK) continue;
        *fd = found;
        return DT_OK;
    }
    return dt_raise(DT_ERR_COMM, __FILE__, __LINE__, "nobody came in time");
}

static dt_status raise_missing(const meeting *m, const dt_door *door, dt_status status)
{
    const dt_dist *d = m->d;
    int missing = 0, n = 0;

    if (status != DT_ERR_COMM) return status;
    for (int i = d->size - 1; i > 0; i--) {
        if (d->peer[i].fd >= 0) continue;
        missing = i;
        n++;
    }
    return dt_raise(
        DT_ERR_COMM, __FILE__, __LINE__,
        "%d of %d ranks did not come to %s port %d within %g s, the first is rank %d; %d connection%s without "
        "the secret%s%s",
        n, d->size, m->at[0].address, (int)m->at[0].port, d->timeout, missing, door->n_strangers,
        door->n_strangers == 1 ? "" : "s", m->last_refusal[0] ? "; refused: " : "", m->last_refusal);
}

static dt_status receive_all_ranks(meeting *m, dt_door *door)
{
    dt_dist *d = m->d;

    for (int n = 1; n < d->size; n++) {
        dt_hello h;
        int fd;
        const dt_status status = let_in(m, door, DT_LINK_CONTROL, &h, &fd);
        if (status != DT_OK) return raise_missing(m, door, status);
        d->peer[h.rank].fd = fd;
        memcpy(d->peer[h.rank].host, h.host, sizeof h.host);
        memcpy(m->at[h.rank].address, h.address, sizeof h.address);
        memcpy(m->at[h.rank].host, h.host, sizeof h.host);
        m->at[h.rank].port = h.port;
    }
    for (int i = 1; i < d->size; i++) {
        DT_TRY(dt_socket_send_all(d->peer[i].fd, m->at, (size_t)d->size * sizeof *m->at, m->deadline));
    }
    return DT_OK;
}

static dt_status secret_of(meeting *m)
{
    const char *given = m->opt->secret;

    if (!given) return dt_secret_read_file(m->opt->secret_file, m->secret);
    DT_CHECK(strlen(given) >= DT_SECRET_LEAST && strlen(given) < DT_SECRET_BYTES, DT_ERR_ARGUMENT,
             "the secret of the ranks has %zu characters, allowed are %d..%d", strlen(given), DT_SECRET_LEAST,
             DT_SECRET_BYTES - 1);
    strcpy(m->secret, given);
    return DT_OK;
}

/* Rank 0 may not be there yet, and a file may still hold the secret of an earlier run. */
static int may_try_again(const meeting *m, dt_status status, int *n_refusals)
{
    if (status == DT_ERR_FORMAT) ++*n_refusals;
    const int waits =
        status == DT_ERR_COMM || (status == DT_ERR_FORMAT && (!m->opt->secret || *n_refusals < MOST_REFUSALS));
    return waits && dt_socket_clock() < m->deadline;
}

static dt_status visit_once(meeting *m, int port, dt_hello *h, int *fd)
{
    const double soon = dt_socket_clock() + PATIENCE;

    DT_TRY(secret_of(m));
    return dt_door_visit(m->opt->address, port, m->secret, h, soon < m->deadline ? soon : m->deadline, fd);
}

static dt_status visit_rank_0(meeting *m, int listener)
{
    dt_dist *d = m->d;
    dt_hello h = introduce(m, DT_LINK_CONTROL, dt_socket_port(listener));
    dt_status status;
    int n_refusals = 0;

    while ((status = visit_once(m, m->opt->port, &h, &d->peer[0].fd)) != DT_OK) {
        char why[DT_VERDICT_BYTES];
        snprintf(why, sizeof why, "%s", dt_last_error());
        DT_CHECK(may_try_again(m, status, &n_refusals), status == DT_ERR_FORMAT ? DT_ERR_COMM : status,
                 "coming to rank 0 at %s port %d: %s", m->opt->address ? m->opt->address : "127.0.0.1", m->opt->port,
                 why);
        DT_TRY(look_at_stop(m));
        usleep((useconds_t)(1e6 * TURN));
    }
    DT_TRY(dt_socket_receive_all(d->peer[0].fd, m->at, (size_t)d->size * sizeof *m->at, m->deadline));
    for (int i = 0; i < d->size; i++) {
        m->at[i].address[DT_ADDRESS_BYTES - 1] = m->at[i].host[DT_HOST_BYTES - 1] = '\0';
        memcpy(d->peer[i].host, m->at[i].host, DT_HOST_BYTES);
    }
    return DT_OK;
}

static dt_status visit_next(meeting *m)
{
    dt_dist *d = m->d;
    const int next = (d->rank + 1) % d->size;
    const place *at = &m->at[next];
    dt_hello h = introduce(m, DT_LINK_RING, 0);

    const dt_status status = dt_door_visit(at->address, (int)at->port, m->secret, &h, m->deadline, &d->next.fd);
    if (status == DT_OK) return dt_link_offer(&d->next, m->deadline);
    char why[DT_VERDICT_BYTES];
    snprintf(why, sizeof why, "%s", dt_last_error());
    return dt_raise(DT_ERR_COMM, __FILE__, __LINE__, "rank %d on %s cannot come to rank %d on %s: %s", d->rank,
                    dt_dist_host(d), next, d->peer[next].host, why);
}

/* Rank 0 goes first, and each other one when it has been visited: else all would wait at their neighbours' doors. */
static dt_status close_ring(meeting *m, dt_door *door)
{
    dt_hello h;

    if (m->d->rank == 0) DT_TRY(visit_next(m));
    const dt_status status = let_in(m, door, DT_LINK_RING, &h, &m->d->prev.fd);
    DT_CHECK(status != DT_ERR_COMM, DT_ERR_COMM, "rank %d on %s: its neighbour of the ring did not come in time",
             m->d->rank, dt_dist_host(m->d));
    DT_TRY(status);
    DT_TRY(dt_link_take(&m->d->prev, m->deadline));
    return m->d->rank > 0 ? visit_next(m) : DT_OK;
}

static dt_status meet_as_first(meeting *m, int listener)
{
    const dt_dist_options *opt = m->opt;

    if (opt->secret)
        DT_TRY(secret_of(m));
    else
        DT_TRY(dt_secret_make_file(opt->secret_file, m->secret));
    dt_door door = { .listener = listener, .secret = m->secret, .patience = PATIENCE };
    DT_TRY(dt_socket_address(listener, m->at[0].address));
    memcpy(m->at[0].host, dt_dist_host(m->d), DT_HOST_BYTES);
    m->at[0].port = (uint32_t)dt_socket_port(listener);
    dt_status status = receive_all_ranks(m, &door);
    if (status == DT_OK) status = close_ring(m, &door);
    dt_door_close(&door);
    if (!opt->secret) unlink(opt->secret_file);
    return status;
}

/* The other ranks listen where rank 0 can see them: at the address from which they come to it. */
static dt_status listen_beside(const meeting *m, int *listener)
{
    char address[DT_ADDRESS_BYTES];

    DT_TRY(dt_socket_route(m->opt->address, m->opt->port, address));
    return dt_socket_listen(address, 0, listener);
}

static dt_status meet_as_other(meeting *m, int listener)
{
    DT_TRY(visit_rank_0(m, listener));
    dt_door door = { .listener = listener, .secret = m->secret, .patience = PATIENCE };
    const dt_status status = close_ring(m, &door);
    dt_door_close(&door);
    return status;
}

static dt_status open_listener(const meeting *m, int *listener)
{
    const dt_dist_options *opt = m->opt;

    *listener = opt->listener;
    if (m->d->rank > 0) return listen_beside(m, listener);
    if (opt->listener < 0) return dt_socket_listen(opt->address, opt->port, listener);
    dt_socket_adopt(*listener);
    return DT_OK;
}

dt_status dt_dist_meet(dt_dist *d, const dt_dist_options *opt)
{
    meeting *m = calloc(1, sizeof *m);
    int listener = -1;

    DT_CHECK(m, DT_ERR_MEMORY, "no memory to meet %d ranks", d->size);
    m->d = d;
    m->opt = opt;
    m->deadline = dt_socket_clock() + d->timeout;
    dt_status status = open_listener(m, &listener);
    if (status == DT_OK) status = d->rank == 0 ? meet_as_first(m, listener) : meet_as_other(m, listener);
    dt_socket_close(&listener);
    free(m);
    return status;
}
