/*
 * fuse.h - the pass over a recorded tape that merges what one kernel can do in one sweep over memory.
 *
 *   at least two of batch norm, ReLU, max-pool and activation quantizer, in this order; all but the last have one
 *   reader
 *       -> one NORM_QUANT (quant/norm_quant.c)
 *   AUGMENT and the quantizer of the image, whose clip is fixed
 *       -> an AUGMENT that makes codes (layers/augment.c)
 *   LINEAR behind FLATTEN and average pools with windows of one cell
 *       -> LINEAR alone, which reads the same values in the same order
 *   BIAS and the SQUASH or RELU behind it
 *       -> BIAS_SQUASH (layers/caps/bias_squash.c), BIAS_RELU (layers/bias_relu.c)
 *   LINEAR summed in order, and in training the SOFTMAX_XENT behind it
 *       -> LINEAR_XENT (layers/linear_xent.c)
 *   the GATHER of its labels, if an image has one
 *       -> LINEAR_XENT, which reads them where the dataset has them
 *   WEIGHT_QUANT of parameters
 *       -> moved to the front of the tape, side by side, so that a backend can run them in one call
 *
 * Then it chooses the types of the tensors between kernels (types.h).
 *
 * A fused tape computes the same codes as the recorded one, bit for bit. Its gradients differ by the order of sums, and
 * by the rounding to 16 bits where the backend stores them so. Callers who look at single nodes (capture, reports,
 * lowering) do not fuse their tape.
 * Tests: tests/core/test_fuse.c, tests/core/test_fuse_values.c.
 */
#ifndef DT_FUSE_H
#define DT_FUSE_H

#include "tape.h"

/* Fuses a recorded tape. Call it before compile. training is 1 if the tape will be compiled with a loss. */
DT_MUST_CHECK dt_status dt_tape_fuse(dt_tape *tape, int training);

#endif /* DT_FUSE_H */
