/*
 * node_check.h - one node of a program under verification: what the reference makes of the values that it has read.
 */
#ifndef DT_NODE_CHECK_H
#define DT_NODE_CHECK_H

#include "../../core/context.h"
#include "../../quant/program/program.h"

/* Runs the node n of a program by plain loops for each image of the batch that `node`, the same one on a tape, has just
 * computed. *expected, as node->out lies, is the caller's to free. */
DT_MUST_CHECK dt_status dt_node_check_batch(dt_context *ctx, const dt_program *p, const dt_graph_node *n,
                                            const dt_node *node, float **expected);

#endif /* DT_NODE_CHECK_H */
