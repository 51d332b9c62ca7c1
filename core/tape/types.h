/*
 * types.h - the types in which kernels exchange the tensors of a fused tape. All are F32 before; a tensor gets another
 *           type where its maker writes it and all of its readers read it.
 *
 *   codes, psums and gradients of a CONV2D between fused nodes
 *       -> the types that dt_backend.storage names; in training their makers also write what the convolution would make
 *          of them: the scale of its psums, real filters, channels of 0
 *   in evaluation, codes that all of their readers can read as bytes (dt_kernel.narrow)
 *       -> the narrowest type that holds them
 *   in training in mixed precision, real values that all of their readers can read as BF16 (dt_kernel.half_values), and
 *   gradients of real values that one reader gives (dt_kernel.half_grads)
 *       -> BF16, rounded half to even
 *
 * Tests: tests/core/test_fuse.c, tests/core/test_narrow_codes.c, tests/core/test_half_types.c;
 * tests/layers/test_half_values.c of the kernels.
 */
#ifndef DT_TYPES_H
#define DT_TYPES_H

#include "tape.h"

/* Chooses the types of a tape's own tensors. ex tells the precision, and whether the tape will be trained. */
void dt_tape_choose_types(dt_tape *tape, const dt_exec *ex);

#endif /* DT_TYPES_H */
