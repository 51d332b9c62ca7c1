/*
 * dist_inside.h - inside dt_dist: meet.c opens its links, watch.c looks after the ranks, ring.c passes data round, and
 *                 dist.c has the functions of the public interface.
 */
#ifndef DT_DIST_INSIDE_H
#define DT_DIST_INSIDE_H

#include "detent/dist.h"
#include "door.h"
#include "link.h"

#include <pthread.h>
#include <stdatomic.h>

enum { DT_OPERATION_BYTES = 48, DT_VERDICT_BYTES = 512, DT_MOST_RANKS = 1024 };

/* What passes on a link to rank 0, in both directions. */
typedef enum { DT_SIGN_LIFE = 1, DT_SIGN_FAILED, DT_SIGN_LEAVES } dt_sign_kind;

typedef struct {
    uint32_t magic, kind;
    uint32_t culprit; /* FAILED: the rank that is to blame */
    uint32_t waits;   /* LIFE: 1 if its operation waits for others; FAILED: 1 if the culprit says so itself */
    uint64_t number;  /* of its last operation on all ranks */
    double waited;    /* LIFE: for so many seconds */
    char text[DT_VERDICT_BYTES]; /* LIFE: the name of that operation; FAILED: what happened */
} dt_sign;

/* A rank as this one sees it. Rank 0 has a link to each; the others have one to rank 0 alone. */
typedef struct {
    int fd; /* of the link for signs; -1: none */
    char host[DT_HOST_BYTES];
    double heard; /* dt_socket_clock() at its last sign */
    int has_left;
    dt_sign last; /* its last sign of life */
    dt_sign in;   /* the sign that is arriving, of which `got` bytes have */
    size_t got;
    dt_sign out; /* the sign that is being sent, of which `sent` bytes are; it is complete when they are all */
    size_t sent;
} dt_peer;

struct dt_dist {
    int rank, size;
    double timeout;
    dt_peer *peer;      /* [size] */
    dt_link next, prev; /* of the ring */

    pthread_t watcher;
    int is_watched;       /* 1: the thread runs */
    pthread_mutex_t lock; /* of what follows, down to the verdict */
    char operation[DT_OPERATION_BYTES];
    uint64_t number; /* of operations so far */
    double since;    /* when the running one began to wait; 0: none does */
    int leaves;      /* 1: the watcher is to say goodbye and end */
    int culprit;     /* the rank of the verdict */
    int has_told;    /* 1: that rank gave it itself */
    int is_own;      /* 1: this rank found it; the others have to be told */
    char verdict[DT_VERDICT_BYTES];
    atomic_int has_verdict;

    unsigned char *room; /* [room_bytes] of dist.c, for what is gathered */
    size_t room_bytes;
};

/* Opens the links of d, whose rank, size, timeout and peers are set. In meet.c. */
DT_MUST_CHECK dt_status dt_dist_meet(dt_dist *d, const dt_dist_options *opt);

/* Starts the watcher, and ends it. In watch.c. */
DT_MUST_CHECK dt_status dt_watch_start(dt_dist *d);
void dt_watch_end(dt_dist *d);
/* Notes that an operation begins, which may have to wait for others, and that it has ended. */
void dt_watch_begin(dt_dist *d, const char *what);
void dt_watch_done(dt_dist *d);
/* Notes that this rank waits in the operation that it has begun last, which `what` names better. */
void dt_watch_wait(dt_dist *d, const char *what);
/* Raises the verdict, DT_ERR_COMM, if there is one. */
DT_MUST_CHECK dt_status dt_watch_check(dt_dist *d);
/* Gives the verdict unless there is one: `culprit` is to blame, which may be this rank. The others hear of it. */
void dt_watch_blame(dt_dist *d, int culprit, const char *text);
/* A link to `rank` has ended. If that rank is to blame, or another one, the verdict comes soon; else this gives it.
 * Raises it. */
DT_MUST_CHECK dt_status dt_watch_lost(dt_dist *d, int rank, const char *why);

/* One turn of the ring: sends `bytes` bytes at out to the next rank, while as many as `in_bytes` arrive from the one
 * before. They are written to in, or if add is 1 they are floats that are added to it. turn counts within the
 * operation. In ring.c. */
typedef struct {
    uint32_t turn;
    const void *out;
    size_t bytes;
    void *in;
    size_t in_bytes;
    int add;
} dt_ring_turn;
DT_MUST_CHECK dt_status dt_ring_pass(dt_dist *d, const dt_ring_turn *turn);
/* The two halves of it: sends to the next rank alone, and receives from the one before alone. */
DT_MUST_CHECK dt_status dt_ring_give(dt_dist *d, uint32_t turn, const void *data, size_t bytes);
DT_MUST_CHECK dt_status dt_ring_take(dt_dist *d, uint32_t turn, void *data, size_t bytes);

#endif /* DT_DIST_INSIDE_H */
