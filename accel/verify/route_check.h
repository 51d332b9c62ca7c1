/*
 * route_check.h - one routing under verification: every value that the device has computed, by plain loops.
 */
#ifndef DT_ROUTE_CHECK_H
#define DT_ROUTE_CHECK_H

#include "../../core/context.h"
#include "../../core/graph/graph.h"
#include "oracle.h"
#include "route_real.h"

typedef struct {
    dt_psum_stats stats;  /* of all batches: values, and the least and largest of them */
    dt_route_error error; /* of all batches */
    int opened;
} dt_route_check;

/* Compares what `node`, a ROUTE_INT that has just run, has left of a batch: s, v, b and c of every iteration, and its
 * codes. The values are those of the votes that it has read, one step after the other, so that the first that differs
 * says which step is wrong: result->first has image, `what`, and the place: row is the iteration, col the capsule or
 * the pair of input and capsule, channel the value of a capsule. g: the program's graph, which has a node of the same
 * name with its ratios. r is zeroed before the first batch. */
DT_MUST_CHECK dt_status dt_route_check_batch(dt_route_check *r, dt_context *ctx, const dt_graph *g, const dt_node *node,
                                             dt_oracle_result *result);

#endif /* DT_ROUTE_CHECK_H */
