/*
 * sum_check.h - one sum of codes under verification, an ADD or an AVGPOOL: its integers by the definition.
 */
#ifndef DT_SUM_CHECK_H
#define DT_SUM_CHECK_H

#include "../../core/context.h"
#include "../psum/psum.h"

typedef struct {
    int32_t *expected;   /* the sums of the last batch, as the node's output lies */
    dt_psum_stats stats; /* of all batches: n_psums, min and max */
} dt_sum_check;

/* Sums what the node has just read. s is zeroed before the first batch, which is the largest. Close it even after a
 * failure. */
DT_MUST_CHECK dt_status dt_sum_check_batch(dt_sum_check *s, dt_context *ctx, const dt_node *node);
void dt_sum_check_close(dt_sum_check *s);

#endif /* DT_SUM_CHECK_H */
