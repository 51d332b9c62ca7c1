/*
 * conv_problem.h - which convolution cuDNN is asked for: the operand types that keep psums exact, and how many
 * channels.
 *
 * Forward of two grid tensors is exact: where every psum is below 2^24, codes go in as bf16 (in mixed precision) or
 * f32, and f32 sums are exact in any order; above, they go in as int8 and are summed in int32, or the layer is refused.
 * Real values are f32 without TF32. Backward takes bf16 operands in mixed precision, else f32 without TF32.
 *
 * Tests: tests/test_cudnn_plans.c.
 */
#ifndef DT_CONV_PROBLEM_H
#define DT_CONV_PROBLEM_H

#include "../core/op.h"
#include "cudnn_graph.h"

/* node: an inferred DT_OP_CONV2D. out->c counts channels of 0 that are to be added to x and w. */
DT_MUST_CHECK dt_status dt_conv_problem_of(const dt_node *node, dt_conv_pass pass, dt_precision precision,
                                           dt_conv_problem *out);

#endif /* DT_CONV_PROBLEM_H */
