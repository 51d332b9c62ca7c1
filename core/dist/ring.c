/*
 * ring.c - one turn of the ring: a frame to the next rank and one from the rank before, at the same time.
 *
 * A frame is a header and its data. The header says which operation, which turn of it and how many bytes: what arrives
 * must be what this rank expects, or the sender is to blame. So a frame is never larger than what was asked for.
 * Tests: tests/core/test_dist.c, tests/core/test_dist_failures.c.
 */
#include "dist_inside.h"

#include <stdio.h>
#include <string.h>

#define FRAME_MAGIC 0x474e4952u

enum { STAGE_BYTES = 1 << 16 }; /* floats are added from here, which stays in the cache */

typedef struct {
    uint32_t magic, turn;
    uint64_t number, bytes;
} frame;

/* What is under way in both directions. */
typedef struct {
    const dt_ring_turn *turn;
    frame out, in;
    size_t out_head, out_data, in_head, in_data; /* bytes of each that have passed */
    size_t staged;                               /* bytes in the stage that are not added yet */
    union {
        unsigned char bytes[STAGE_BYTES];
        float value[STAGE_BYTES / sizeof(float)];
    } stage;
} passage;

/* 1: some bytes passed. */
static int send_some(dt_dist *d, passage *p, const char **why)
{
    const int in_head = p->out_head < sizeof p->out;
    const char *from = in_head ? (const char *)&p->out + p->out_head : (const char *)p->turn->out + p->out_data;
    const size_t left = in_head ? sizeof p->out - p->out_head : p->turn->bytes - p->out_data;
    const long n = left ? dt_link_send(&d->next, from, left, why) : 0;

    if (n > 0) *(in_head ? &p->out_head : &p->out_data) += (size_t)n;
    return n < 0 ? -1 : n > 0;
}

static int has_sent(const passage *p)
{
    return p->out_head == sizeof p->out && p->out_data == p->turn->bytes;
}

static int has_received(const passage *p)
{
    return p->in_head == sizeof p->in && p->in_data == p->turn->in_bytes;
}

/* Whole floats of the stage are added where they belong; a part of one waits for its rest. */
static void add_stage(passage *p)
{
    float *restrict to = (float *)p->turn->in + (p->in_data - p->staged) / sizeof(float);
    const float *restrict v = p->stage.value;
    const size_t n = p->staged / sizeof(float);

    for (size_t i = 0; i < n; i++) to[i] += v[i];
    memmove(p->stage.bytes, p->stage.bytes + n * sizeof(float), p->staged - n * sizeof(float));
    p->staged -= n * sizeof(float);
}

static int receive_data(dt_dist *d, passage *p, const char **why)
{
    const size_t left = p->turn->in_bytes - p->in_data, room = sizeof p->stage - p->staged;
    unsigned char *to = p->turn->add ? p->stage.bytes + p->staged : (unsigned char *)p->turn->in + p->in_data;
    const long n = dt_link_receive(&d->prev, to, p->turn->add && left > room ? room : left, why);

    if (n <= 0) return (int)n;
    p->in_data += (size_t)n;
    if (p->turn->add) p->staged += (size_t)n;
    if (p->turn->add) add_stage(p);
    return 1;
}

static int receive_some(dt_dist *d, passage *p, const char **why)
{
    if (has_received(p)) return 0;
    if (p->in_head == sizeof p->in) return receive_data(d, p, why);
    const long n = dt_link_receive(&d->prev, (char *)&p->in + p->in_head, sizeof p->in - p->in_head, why);
    if (n > 0) p->in_head += (size_t)n;
    return n < 0 ? -1 : n > 0;
}

static dt_status check_frame(dt_dist *d, const passage *p)
{
    const int from = (d->rank + d->size - 1) % d->size;
    const frame *f = &p->in;
    char text[DT_VERDICT_BYTES];

    if (p->in_head < sizeof p->in) return DT_OK;
    if (f->magic == FRAME_MAGIC && f->number == p->out.number && f->turn == p->turn->turn &&
        f->bytes == p->turn->in_bytes)
        return DT_OK;
    snprintf(
        text, sizeof text,
        "rank %d on %s sent turn %u of operation %llu with %llu bytes (magic %08x); rank %d is in '%s', turn %u of "
        "operation %llu with %llu bytes",
        from, d->peer[from].host, f->turn, (unsigned long long)f->number, (unsigned long long)f->bytes, f->magic,
        d->rank, d->operation, p->turn->turn, (unsigned long long)p->out.number, (unsigned long long)p->turn->in_bytes);
    dt_watch_blame(d, from, text);
    return dt_watch_check(d);
}

/* A direction in which nothing passes is over from the begin. */
static dt_status pass(dt_dist *d, const dt_ring_turn *turn, int sends, int receives)
{
    passage p;
    const char *why = NULL;

    p.turn = turn;
    p.out = (frame){ .magic = FRAME_MAGIC, .turn = turn->turn, .number = d->number, .bytes = turn->bytes };
    p.in = (frame){ .magic = FRAME_MAGIC, .turn = turn->turn, .number = d->number, .bytes = turn->in_bytes };
    p.out_head = sends ? 0 : sizeof p.out;
    p.in_head = receives ? 0 : sizeof p.in;
    p.out_data = p.in_data = p.staged = 0;
    while (!has_sent(&p) || !has_received(&p)) {
        DT_TRY(dt_watch_check(d));
        const int sent = send_some(d, &p, &why);
        if (sent < 0) return dt_watch_lost(d, (d->rank + 1) % d->size, why);
        const int received = receive_some(d, &p, &why);
        if (received < 0) return dt_watch_lost(d, (d->rank + d->size - 1) % d->size, why);
        DT_TRY(check_frame(d, &p));
        /* not long: a verdict may come meanwhile */
        if (!sent && !received) dt_link_wait(has_sent(&p) ? NULL : &d->next, has_received(&p) ? NULL : &d->prev);
    }
    return DT_OK;
}

dt_status dt_ring_pass(dt_dist *d, const dt_ring_turn *turn)
{
    return pass(d, turn, 1, 1);
}

dt_status dt_ring_give(dt_dist *d, uint32_t turn, const void *data, size_t bytes)
{
    const dt_ring_turn t = { .turn = turn, .out = data, .bytes = bytes };

    return pass(d, &t, 1, 0);
}

dt_status dt_ring_take(dt_dist *d, uint32_t turn, void *data, size_t bytes)
{
    const dt_ring_turn t = { .turn = turn, .in = data, .in_bytes = bytes };

    return pass(d, &t, 0, 1);
}
