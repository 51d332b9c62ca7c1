/*
 * fuse.h - the pass over a recorded tape that merges what one kernel can do in one sweep over memory.
 *
 *   batch norm, ReLU, max-pool, activation quantizer behind each other, all but the last read by one node only
 *       -> one NORM_QUANT (quant/norm_quant.c), if there are two of them at least
 *   AUGMENT and the quantizer of the image, whose clip is fixed
 *       -> an AUGMENT that makes codes (layers/augment.c)
 *   LINEAR behind FLATTEN and average pools of one cell
 *       -> LINEAR alone, which reads the same values in their order
 *   LINEAR summed in order, and in training the SOFTMAX_XENT behind it
 *       -> LINEAR_XENT (layers/linear_xent.c)
 *   WEIGHT_QUANT of parameters
 *       -> moved to the front of the tape, side by side, so that a backend can run them in one call
 *   CONV2D between such nodes
 *       -> its codes, psums and gradients in the types that backend.storage wants
 *
 * A merged tape computes the codes of the tape as it was recorded, bit for bit; gradients differ in the order of sums,
 * and by what 16 bits round.  Who looks at nodes (capture, reports, lowering) does not fuse.  Tests:
 * tests/core/test_fuse.c.
 */
#ifndef DT_FUSE_H
#define DT_FUSE_H

#include "tape.h"

/* Before compile; training: as the tape will be. */
DT_MUST_CHECK dt_status dt_tape_fuse(dt_tape *tape, int training);

#endif /* DT_FUSE_H */
