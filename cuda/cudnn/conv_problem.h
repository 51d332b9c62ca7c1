/*
 * conv_problem.h - which convolution cuDNN is asked for: the operand types that keep psums exact, how many channels,
 *                  and how the tensors around it are stored.
 *
 * Forward of two grid tensors is exact: where every psum is below 2^24, codes go in as fp16 (in mixed precision) or
 * f32, and f32 sums are exact in any order; above, they go in as int8 and are summed in int32, or the layer is refused.
 * Real values are f32 without TF32.
 *
 * Backward takes f32 without TF32, or in mixed precision 16 bits: fp16 where dy is stored so, and the result is fp16
 * too; else bf16, as a dy in f32 may have any range, where cuDNN has engines for it: not for several groups, nor for
 * dilation with a stride.
 *
 *                        pass                   operands    result
 *   mixed, training      forward                f16         f16, psum / 8; f32 if it does not fit
 *     16-bit dy          backward to x, to w    f16         f16
 *     f32 dy             backward to x, to w    bf16        f32
 *   mixed, evaluation    forward                f16         f32
 *
 * Tests: tests/cuda/test_cudnn_plans.c, tests/layers/test_conv.c.
 */
#ifndef DT_CONV_PROBLEM_H
#define DT_CONV_PROBLEM_H

#include "../../core/backend.h"
#include "cudnn_graph.h"

/* node: an inferred DT_OP_CONV2D. out->c counts channels of 0 that are to be added to x and w. */
DT_MUST_CHECK dt_status dt_conv_problem_of(const dt_node *node, dt_conv_pass pass, dt_precision precision,
                                           dt_conv_problem *out);

/* dt_backend_cuda.storage: 16 bits wherever cuDNN can read or write the tensor in place. */
dt_storage dt_conv_storage(const dt_node *conv, const dt_exec *ex);

#endif /* DT_CONV_PROBLEM_H */
