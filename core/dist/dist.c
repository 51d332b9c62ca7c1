/*
 * dist.c - the work of several ranks on one network: opening and closing it, and the operations on all ranks.
 *
 * What is small is gathered round the ring and summed by each rank in the order of ranks. Large sums of floats go round
 * in pieces: in size - 1 turns piece c collects the values of rank c, c + 1, ..., and in size - 1 more the sums go to
 * all, so each rank sends 2 (1 - 1 / size) of the data. Where each rank works on a share of the sums, these two halves
 * are operations of their own, and what a rank has made of its share goes to all. Source: Patarasuk, Yuan, "Bandwidth
 * optimal all-reduce algorithms for clusters of workstations", J. Parallel Distrib. Comput. 69, 2009.
 *
 * Tests: tests/core/test_dist.c.
 */
#include "dist_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_TEXT_BYTES = 1 << 20, MOST_GATHERED_BYTES = 1 << 26, PART_BYTES = 1 << 18 };

int dt_dist_rank(const dt_dist *d)
{
    return d ? d->rank : 0;
}

int dt_dist_size(const dt_dist *d)
{
    return d ? d->size : 1;
}

const char *dt_dist_host(const dt_dist *d)
{
    return d ? d->peer[d->rank].host : "";
}

const char *dt_dist_links(const dt_dist *d)
{
    const int n = d ? (d->next.queue != NULL) + (d->prev.queue != NULL) : 0;

    return n == 0 ? "TCP" : n == 1 ? "TCP and shared memory" : "shared memory";
}

int dt_dist_ended_by_rank(const dt_dist *d)
{
    return d && atomic_load(&d->has_verdict) ? d->culprit : -1;
}

static void dist_free(dt_dist *d)
{
    for (int i = 0; d->peer && i < d->size; i++) dt_socket_close(&d->peer[i].fd);
    dt_link_close(&d->next);
    dt_link_close(&d->prev);
    pthread_mutex_destroy(&d->lock);
    free(d->peer);
    free(d->room);
    free(d);
}

static dt_status check_options(const dt_dist_options *opt)
{
    DT_CHECK(opt->size >= 1 && opt->size <= DT_MOST_RANKS, DT_ERR_ARGUMENT, "%d ranks, allowed are 1..%d", opt->size,
             DT_MOST_RANKS);
    DT_CHECK(opt->rank >= 0 && opt->rank < opt->size, DT_ERR_ARGUMENT, "rank %d of %d, allowed are 0..%d", opt->rank,
             opt->size, opt->size - 1);
    DT_CHECK(opt->timeout >= 1.0 && opt->timeout <= 1e6, DT_ERR_ARGUMENT, "timeout is %g s, allowed are 1..1e6",
             opt->timeout);
    if (opt->size == 1) return DT_OK;
    DT_CHECK((opt->port >= 1 && opt->port <= 65535) || (opt->rank == 0 && opt->listener >= 0), DT_ERR_ARGUMENT,
             "port %d of rank 0, allowed are 1..65535", opt->port);
    DT_CHECK(opt->secret || opt->secret_file, DT_ERR_ARGUMENT, "the ranks have no secret");
    return DT_OK;
}

dt_status dt_dist_open(const dt_dist_options *opt, dt_dist **out)
{
    DT_TRY(check_options(opt));
    dt_dist *d = calloc(1, sizeof *d);
    DT_CHECK(d, DT_ERR_MEMORY, "no memory for the links of %d ranks", opt->size);
    pthread_mutex_init(&d->lock, NULL);
    d->rank = opt->rank;
    d->size = opt->size;
    d->timeout = opt->timeout;
    d->next.fd = d->prev.fd = -1;
    d->peer = calloc((size_t)opt->size, sizeof *d->peer);
    dt_status status = d->peer ? DT_OK : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for %d ranks", d->size);
    for (int i = 0; d->peer && i < d->size; i++) d->peer[i].fd = -1;
    if (d->peer) gethostname(d->peer[d->rank].host, DT_HOST_BYTES - 1);
    if (status == DT_OK && d->size > 1) status = dt_dist_meet(d, opt);
    if (status == DT_OK && d->size > 1) status = dt_watch_start(d);
    if (status != DT_OK) {
        dist_free(d);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = d;
    return DT_OK;
}

void dt_dist_close(dt_dist *d, const char *failure)
{
    char text[DT_VERDICT_BYTES];

    if (!d) return;
    if (failure) {
        snprintf(text, sizeof text, "rank %d on %s failed: %s", d->rank, dt_dist_host(d), failure);
        dt_watch_blame(d, d->rank, text);
    }
    dt_watch_end(d);
    dist_free(d);
}

int dt_dist_has_told(const dt_dist *d)
{
    return d && atomic_load(&d->has_verdict) && d->has_told;
}

dt_status dt_dist_check(dt_dist *d)
{
    return d ? dt_watch_check(d) : DT_OK;
}

void dt_dist_wait_begin(dt_dist *d, const char *what)
{
    if (d) dt_watch_wait(d, what);
}

void dt_dist_wait_end(dt_dist *d)
{
    if (d) dt_watch_done(d);
}

/* ---- operations ---- */

static dt_status begin(dt_dist *d, const char *what)
{
    dt_watch_begin(d, what);
    return dt_watch_check(d);
}

static dt_status done(dt_dist *d, dt_status status)
{
    dt_watch_done(d);
    return status;
}

static int place(const dt_dist *d, int i)
{
    return (i % d->size + d->size) % d->size;
}

static dt_status gather(dt_dist *d, const void *mine, size_t bytes, unsigned char *all)
{
    memmove(all + (size_t)d->rank * bytes, mine, bytes);
    for (int t = 0; t < d->size - 1; t++) {
        const dt_ring_turn turn = { .turn = (uint32_t)t,
                                    .out = all + (size_t)place(d, d->rank - t) * bytes,
                                    .bytes = bytes,
                                    .in = all + (size_t)place(d, d->rank - t - 1) * bytes,
                                    .in_bytes = bytes };
        DT_TRY(dt_ring_pass(d, &turn));
    }
    return DT_OK;
}

dt_status dt_dist_gather(dt_dist *d, const char *what, const void *mine, size_t bytes, void *all)
{
    if (!d) {
        memmove(all, mine, bytes);
        return DT_OK;
    }
    DT_CHECK(bytes <= MOST_GATHERED_BYTES, DT_ERR_ARGUMENT, "%s: %zu bytes to gather, at most %d", what, bytes,
             MOST_GATHERED_BYTES);
    DT_TRY(begin(d, what));
    return done(d, gather(d, mine, bytes, all));
}

dt_status dt_dist_barrier(dt_dist *d, const char *what)
{
    unsigned char here = 1, all[DT_MOST_RANKS];

    return dt_dist_gather(d, what, &here, 1, all);
}

dt_status dt_dist_any(dt_dist *d, const char *what, int *flag)
{
    unsigned char mine = *flag != 0, all[DT_MOST_RANKS], any = 0;

    DT_TRY(dt_dist_gather(d, what, &mine, 1, all));
    for (int i = 0; i < dt_dist_size(d); i++) any |= all[i];
    *flag = any;
    return DT_OK;
}

static dt_status make_room(dt_dist *d, size_t bytes)
{
    if (bytes <= d->room_bytes) return DT_OK;
    unsigned char *more = realloc(d->room, bytes);
    DT_CHECK(more, DT_ERR_MEMORY, "no memory for %zu bytes of %d ranks", bytes, d->size);
    d->room = more;
    d->room_bytes = bytes;
    return DT_OK;
}

dt_status dt_dist_sum(dt_dist *d, const char *what, double *v, int64_t n)
{
    const size_t bytes = (size_t)n * sizeof *v;

    if (!d) return DT_OK;
    DT_TRY(make_room(d, (size_t)d->size * bytes));
    DT_TRY(dt_dist_gather(d, what, v, bytes, d->room));
    const double *all = (const double *)(const void *)d->room;
    for (int64_t i = 0; i < n; i++) {
        double sum = all[i];
        for (int r = 1; r < d->size; r++) sum += all[r * n + i];
        v[i] = sum;
    }
    return DT_OK;
}

/* From rank 0 on, a part at a time, so that the next rank sends while this one receives. */
static dt_status send_along(dt_dist *d, unsigned char *data, size_t bytes)
{
    const int receives = d->rank > 0, sends = d->rank < d->size - 1;
    uint32_t t = 0;

    for (size_t at = 0; at < bytes; at += PART_BYTES, t++) {
        const size_t part = bytes - at < PART_BYTES ? bytes - at : PART_BYTES;
        if (receives) DT_TRY(dt_ring_take(d, t, data + at, part));
        if (sends) DT_TRY(dt_ring_give(d, t, data + at, part));
    }
    return DT_OK;
}

dt_status dt_dist_broadcast(dt_dist *d, const char *what, void *data, size_t bytes)
{
    if (!d || bytes == 0) return DT_OK;
    DT_TRY(begin(d, what));
    return done(d, send_along(d, data, bytes));
}

/* Where piece c of n values from `first` on begins: at at[c] if that is given, else at first + n c / size. */
typedef struct {
    const int64_t *at;
    int64_t first, n;
} cut;

static int64_t begin_of(const dt_dist *d, const cut *of, int c)
{
    return of->at ? of->at[c] : of->first + of->n * c / d->size;
}

static void set_piece(const dt_dist *d, float *v, const cut *of, int c, float **first, size_t *bytes)
{
    const int64_t begins = begin_of(d, of, c), ends = begin_of(d, of, c + 1);

    *first = v + begins;
    *bytes = (size_t)(ends - begins) * sizeof *v;
}

/* In each turn a rank sends piece rank - k and receives the one before that: k counts from 0 where sums are collected,
 * and from -1 where they go to all, because behind the last sum a rank has piece rank + 1. */
static dt_status pass_pieces(dt_dist *d, float *v, const cut *of, int sums)
{
    const int turns = d->size - 1;

    for (int t = 0; t < turns; t++) {
        const int k = sums ? t : t - 1;
        dt_ring_turn turn = { .turn = (uint32_t)(sums ? t : turns + t), .add = sums };
        float *out, *in;
        set_piece(d, v, of, place(d, d->rank - k), &out, &turn.bytes);
        set_piece(d, v, of, place(d, d->rank - k - 1), &in, &turn.in_bytes);
        turn.out = out;
        turn.in = in;
        DT_TRY(dt_ring_pass(d, &turn));
    }
    return DT_OK;
}

static dt_status sum_round(dt_dist *d, float *v, int64_t n)
{
    const cut even = { NULL, 0, n };

    DT_TRY(pass_pieces(d, v, &even, 1));
    return pass_pieces(d, v, &even, 0);
}

dt_status dt_dist_sum_floats(dt_dist *d, const char *what, float *v, int64_t n)
{
    if (!d) return DT_OK;
    DT_TRY(begin(d, what));
    return done(d, sum_round(d, v, n));
}

/* ---- shares ---- */

int dt_dist_share(const dt_dist *d)
{
    return d ? place(d, d->rank + 1) : 0;
}

/* A share begins in the piece before its own, whose rank is the one before: it gives the sums from there on. What a
 * rank gives may be what it has just taken, so one waits for the other. */
static dt_status pass_heads(dt_dist *d, float *v, const cut *even, const int64_t *at)
{
    const uint32_t turn = 2 * (uint32_t)d->size;
    const int c = dt_dist_share(d);
    const int64_t mine = begin_of(d, even, c) - at[c], next = begin_of(d, even, c + 1) - at[c + 1];

    if (mine > 0) DT_TRY(dt_ring_take(d, turn, v + at[c], (size_t)mine * sizeof *v));
    if (next > 0) DT_TRY(dt_ring_give(d, turn, v + at[c + 1], (size_t)next * sizeof *v));
    return DT_OK;
}

static dt_status sum_shares(dt_dist *d, float *v, const int64_t *at)
{
    const cut even = { NULL, at[0], at[d->size] - at[0] };

    DT_TRY(pass_pieces(d, v, &even, 1));
    return pass_heads(d, v, &even, at);
}

dt_status dt_dist_sum_shares(dt_dist *d, const char *what, float *v, const int64_t *at)
{
    if (!d) return DT_OK;
    for (int c = 1; c < d->size; c++) {
        const int64_t even = at[0] + (at[d->size] - at[0]) * c / d->size;
        DT_CHECK(at[c] >= at[c - 1] && at[c] <= even, DT_ERR_ARGUMENT,
                 "%s: share %d of %d begins at %lld, allowed are %lld..%lld", what, c, d->size, (long long)at[c],
                 (long long)at[c - 1], (long long)even);
    }
    DT_TRY(begin(d, what));
    return done(d, sum_shares(d, v, at));
}

dt_status dt_dist_spread_shares(dt_dist *d, const char *what, float *v, const int64_t *at)
{
    const cut shares = { .at = at };

    if (!d) return DT_OK;
    DT_TRY(begin(d, what));
    return done(d, pass_pieces(d, v, &shares, 0));
}

/* ---- agreement ---- */

/* The first line in which the texts differ, or NULL. */
static const char *first_difference(const char *mine, const char *theirs, const char **there)
{
    while (*mine || *theirs) {
        const size_t a = strcspn(mine, "\n"), b = strcspn(theirs, "\n");
        *there = theirs;
        if (a != b || strncmp(mine, theirs, a) != 0) return mine;
        mine += a + (mine[a] == '\n');
        theirs += b + (theirs[b] == '\n');
    }
    return NULL;
}

static dt_status compare(const dt_dist *d, const char *what, const char *mine, const char *theirs)
{
    const char *there = NULL, *here = first_difference(mine, theirs, &there);

    DT_CHECK(!here, DT_ERR_ARGUMENT, "%s: rank %d has '%.*s', rank 0 on %s has '%.*s'", what, d->rank,
             (int)strcspn(here, "\n"), here, d->peer[0].host, (int)strcspn(there, "\n"), there);
    return DT_OK;
}

dt_status dt_dist_agree(dt_dist *d, const char *what, const char *text)
{
    uint64_t bytes = strlen(text) + 1;

    if (!d) return DT_OK;
    DT_TRY(dt_dist_broadcast(d, what, &bytes, sizeof bytes));
    DT_CHECK(bytes > 0 && bytes <= MOST_TEXT_BYTES, DT_ERR_COMM, "%s: rank 0 has a text of %llu bytes", what,
             (unsigned long long)bytes);
    char *theirs = calloc(1, (size_t)bytes);
    DT_CHECK(theirs, DT_ERR_MEMORY, "%s: no memory for a text", what);
    if (d->rank == 0) memcpy(theirs, text, (size_t)bytes);
    dt_status status = dt_dist_broadcast(d, what, theirs, (size_t)bytes);
    theirs[bytes - 1] = '\0';
    if (status == DT_OK) status = compare(d, what, text, theirs);
    free(theirs);
    DT_TRY(status);
    return dt_dist_barrier(d, what);
}
