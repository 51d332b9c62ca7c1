/*
 * link.h - one direction of the ring: bytes to the next rank, or from the one before.
 *
 * They pass a TCP connection. Where both of its ends are on one host they pass a queue in memory that the two processes
 * share, and the connection only tells that the other end is there. Both carry the same bytes in the same order.
 * DETENT_LINKS=tcp in the environment lets ranks of one host do without shared memory.
 */
#ifndef DT_LINK_H
#define DT_LINK_H

#include "detent/dist.h"
#include "detent/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct dt_queue dt_queue;

typedef struct {
    int fd;           /* the connection; -1: there is none */
    dt_queue *queue;  /* NULL: bytes pass the connection */
    uint32_t passed;  /* bytes that have passed the queue, modulo 2^32 */
    const char *lost; /* why the link has ended; NULL: it has not */
} dt_link;

/* At the sender's end of a new connection: makes a queue, if the receiver is on this host, and offers it. */
DT_MUST_CHECK dt_status dt_link_offer(dt_link *l, double deadline);
/* At the receiver's end: takes what is offered, if it can. */
DT_MUST_CHECK dt_status dt_link_take(dt_link *l, double deadline);

/* What a single transfer of at most `bytes` bytes did: the number of bytes, 0 if it would have to wait, or -1 if the
 * link has ended, with a word for it in *why. */
long dt_link_send(dt_link *l, const void *data, size_t bytes, const char **why);
long dt_link_receive(dt_link *l, void *data, size_t bytes, const char **why);
/* Waits until bytes can pass, or some milliseconds. A direction that does not matter is NULL. */
void dt_link_wait(dt_link *out, dt_link *in);

void dt_link_close(dt_link *l);

/* Returns how a rank's data passes to its neighbours of the ring: "TCP", "shared memory" or both. In dist.c. */
const char *dt_dist_links(const dt_dist *d);

#endif /* DT_LINK_H */
