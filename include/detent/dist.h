/*
 * dist.h - several processes that train one network together. Each is a rank, 0..size-1.
 *
 * Rank 0 listens at an address and a port, and the others come to it. Who cannot prove that it has the secret is sent
 * away before anything else is read from it. Then each rank has a link to the next one, a ring, on which data passes,
 * and a link to rank 0, on which signs of life do. The first rank that ends, hangs, loses a link or sends what it must
 * not ends the work of all: the function that is waiting on each other rank fails with DT_ERR_COMM, and its message
 * names that rank, its host and what it did last.
 *
 * A single rank, of 1, has no links; it needs no port and no secret.
 *
 * A function on all ranks (below dt_dist_size) is called by every rank, in the same order. `what` names the operation
 * in messages; it is a constant text.
 */
#ifndef DT_PUBLIC_DIST_H
#define DT_PUBLIC_DIST_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int rank, size;      /* of this process; 0 <= rank < size, 1 <= size <= 1024 */
    const char *address; /* of rank 0, a name or a number; rank 0 binds to it. NULL: 127.0.0.1 */
    int port;            /* of rank 0 */
    int listener;        /* rank 0: a socket that listens already and that dt_dist_open takes over; -1: it makes one */
    const char *secret;  /* a text that all ranks have and nobody else; at least 16 characters. NULL: secret_file */
    /* A file that all ranks see. Rank 0 makes a secret, writes it there for its user alone, and removes the file when
     * all have met. */
    const char *secret_file;
    double timeout;    /* seconds in which all ranks must meet, and in which the failure of one ends all; >= 1 */
    int (*stop)(void); /* called now and then while ranks meet; a result other than 0 stops that. May be NULL */
} dt_dist_options;

/* Meets the other ranks. DT_ERR_INTERRUPTED: stop asked for it. DT_ERR_COMM: they did not all come in time, or rank 0
 * refused this one: it has another version, another number of ranks, or a rank that has come already. */
DT_API DT_MUST_CHECK dt_status dt_dist_open(const dt_dist_options *opt, dt_dist **out);
/* Leaves. If `failure` is not NULL, the others are told that this rank ends because of that. */
DT_API void dt_dist_close(dt_dist *d, const char *failure);
/* The functions below accept NULL, which is rank 0 of 1, and then do nothing that needs others. */
DT_API int dt_dist_rank(const dt_dist *d);
DT_API int dt_dist_size(const dt_dist *d);
/* Returns the name of this rank's host. */
DT_API const char *dt_dist_host(const dt_dist *d);
/* Returns the rank that is to blame for the end of the work, or -1 if nothing has ended it. */
DT_API int dt_dist_ended_by_rank(const dt_dist *d);
/* Returns 1 if that rank has told so itself, by dt_dist_close. */
DT_API int dt_dist_has_told(const dt_dist *d);

/* DT_ERR_COMM, with the reason, if the work of all has been ended; else DT_OK. */
DT_API DT_MUST_CHECK dt_status dt_dist_check(dt_dist *d);
/* Between these two calls this rank waits for others by other means than this library's links, as for a GPU that sums
 * over ranks: so whoever lets it wait too long is found. */
DT_API void dt_dist_wait_begin(dt_dist *d, const char *what);
DT_API void dt_dist_wait_end(dt_dist *d);

/* Waits until all ranks are here. */
DT_API DT_MUST_CHECK dt_status dt_dist_barrier(dt_dist *d, const char *what);
/* Gives all ranks the `bytes` bytes at data that rank 0 has. */
DT_API DT_MUST_CHECK dt_status dt_dist_broadcast(dt_dist *d, const char *what, void *data, size_t bytes);
/* Writes every rank's `bytes` bytes at mine to all, [size][bytes], in the order of ranks. */
DT_API DT_MUST_CHECK dt_status dt_dist_gather(dt_dist *d, const char *what, const void *mine, size_t bytes, void *all);
/* Replaces v[0..n-1] by the sums over all ranks, which are taken in the order of ranks. For small n. */
DT_API DT_MUST_CHECK dt_status dt_dist_sum(dt_dist *d, const char *what, double *v, int64_t n);
/* Sets *flag to 1 if it is not 0 on any rank, else to 0. */
DT_API DT_MUST_CHECK dt_status dt_dist_any(dt_dist *d, const char *what, int *flag);
/* Compares this rank's text with that of rank 0. DT_ERR_ARGUMENT names the first line that differs, both values and the
 * rank. A text has less than 1 MiB. */
DT_API DT_MUST_CHECK dt_status dt_dist_agree(dt_dist *d, const char *what, const char *text);
/* Replaces v[0..n-1] by the sums over all ranks, for large n: round the ring, in an order that depends on n and the
 * number of ranks alone. All ranks get equal bits. */
DT_API DT_MUST_CHECK dt_status dt_dist_sum_floats(dt_dist *d, const char *what, float *v, int64_t n);

/* The same work in shares, of the n values of v from at[0] to at[size]: share s is [at[s], at[s + 1]). Entries of at
 * ascend, are the same on all ranks, and at[s] <= at[0] + n s / size. */
/* Returns the share of this rank. */
DT_API int dt_dist_share(const dt_dist *d);
/* Replaces this rank's share of v by the sums over all ranks, which have the bits of dt_dist_sum_floats. What lies
 * outside of the share is changed too, and is of no use. */
DT_API DT_MUST_CHECK dt_status dt_dist_sum_shares(dt_dist *d, const char *what, float *v, const int64_t *at);
/* Gives all ranks the shares that each has of v. */
DT_API DT_MUST_CHECK dt_status dt_dist_spread_shares(dt_dist *d, const char *what, float *v, const int64_t *at);

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_DIST_H */
