/*
 * conv_problem.h - the convolution that cuDNN is asked for: the types of operands that keep psums exact, the number of
 *                  channels, and the storage of the tensors around it.
 *
 * Forward of two grid tensors is exact. If every psum is below 2^24, codes are operands of fp16 (in mixed precision) or
 * f32, and f32 sums are exact in any order. Else codes are operands of int8 and sums are int32, or the layer is
 * refused. Real values are f32 without TF32. In training in mixed precision they are bf16, or TF32 where cuDNN's 16-bit
 * engines do not fit the layer.
 *
 * Operands of backward are f32 without TF32. In mixed precision they have 16 bits: if dy is stored in fp16, they are
 * fp16, and so is the result; else they are bf16, because a dy in f32 may have any range. cuDNN has no bf16 engines for
 * several groups, nor for dilation with a stride; there the operands stay f32.
 *
 *   codes                pass                   operands    result
 *   mixed, training      forward                f16         f16, psum / 8; f32 if it does not fit
 *     16-bit dy          backward to x, to w    f16         f16; to w / 2^shift where x has wide codes
 *     f32 dy             backward to x, to w    bf16        f32
 *   mixed, evaluation    forward                f16         f32
 *   reals
 *   mixed, training      all                    bf16        f32
 *
 * Tests: tests/cuda/test_cudnn_plans.c, tests/cuda/test_cudnn_plans_forms.c, tests/layers/test_conv.c.
 */
#ifndef DT_CONV_PROBLEM_H
#define DT_CONV_PROBLEM_H

#include "../../core/backend.h"
#include "cudnn_graph.h"

/* Describes one pass of a CONV2D node that infer has accepted, as ex->precision and ex->training want it. out->c
 * includes channels of zeros that are to be added to x and w. DT_ERR_SHAPE if a tensor has 2^31 values or more. */
DT_MUST_CHECK dt_status dt_conv_problem_of(const dt_node *node, dt_conv_pass pass, const dt_exec *ex,
                                           dt_conv_problem *out);

/* Describes one pass of the convolution that a CONV_TRANSPOSE node is the transpose of: its x is the node's y. All
 * values are f32, without TF32 but for training in mixed precision. DT_ERR_SHAPE if a tensor has 2^31 values or more.
 */
DT_MUST_CHECK dt_status dt_conv_transpose_problem_of(const dt_node *node, dt_conv_pass pass, const dt_exec *ex,
                                                     dt_conv_problem *out);

/* Is dt_backend_cuda.storage. A tensor gets 16 bits wherever cuDNN can read or write it in place. */
dt_storage dt_conv_storage(const dt_node *conv, const dt_exec *ex);

#endif /* DT_CONV_PROBLEM_H */
