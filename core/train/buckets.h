/*
 * buckets.h - the gradients of a step in runs that are complete one after the other while backward runs.
 *
 * Parameters lie in the order of the graph and backward runs from its end, so each bucket is a suffix of what is left
 * of the gradients' block. It can be summed over ranks, in place, as soon as its last node has run.
 */
#ifndef DT_BUCKETS_H
#define DT_BUCKETS_H

#include "model.h"

typedef struct {
    const dt_node *last;  /* complete when the backward of this node has run; NULL: no node adds to it */
    int64_t first, count; /* gradients first .. first + count - 1 */
} dt_bucket;

/* As many as a step has at most. */
enum { DT_BUCKETS = 4 };

/* Writes at most `room` buckets, in the order in which they are complete, which together are all gradients of m. Each
 * but the last holds at least half of what the ones before it left. Returns their number. */
int dt_buckets_of(const dt_tape *tape, const dt_model *m, dt_bucket *out, int room);

#endif /* DT_BUCKETS_H */
