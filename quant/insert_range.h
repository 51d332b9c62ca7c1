/*
 * insert_range.h - training with the quantizers of TensorFlow Lite as a pass: it makes of a network of real values one
 *                  that computes on affine grids, each value on one.
 */
#ifndef DT_INSERT_RANGE_H
#define DT_INSERT_RANGE_H

#include "../core/arith/range.h"
#include "../core/graph/graph.h"

typedef struct {
    int wbits, abits;        /* 2..16; programs have 8 bits of weights at most */
    int per_channel;         /* 1: each filter has a scale; 0: each layer has one */
    int fc_per_layer;        /* 1: a LINEAR has one scale whatever per_channel is */
    dt_range_update update;  /* who changes the ranges in training; FIXED needs all of them given */
    float decay;             /* AVERAGE: the share of a range that stays at each step, 0..1 */
    const dt_range *range;   /* [n_values of g] ranges with which training begins; NULL: none is known */
    const char *const *real; /* [n_real] patterns (fnmatch) of layers that stay real */
    int n_real;
} dt_range_choice;

/* Makes of the nodes of g that the scores need a network with quantizers, and leaves the others out. Each value has at
 * most one RANGE_QUANT, where somebody reads its codes:
 *   the image; what a CONV2D or LINEAR gives behind its BIAS, BATCHNORM, RELU or CLIP; an ADD or MUL behind its RELU or
 *   CLIP; an AVGPOOL of the whole map: each has a range of its own
 *   SOFTMAX, SIGMOID: the fixed range [0, 1 - 2^-abits]
 *   MAXPOOL, FLATTEN, TRANSPOSE, IDENTITY, CONCAT, RELU of codes: stay on the codes that they read
 *   AVGPOOL with windows: has the range of its input
 * What a CONCAT reads has one range in common, which has the CONCAT's name. Weights get a MAX_QUANT. A LINEAR's bias
 * becomes a BIAS behind it. A BIAS, BATCHNORM, RELU or CLIP that follows none of the above reads codes, and its output
 * is a value like a layer's. Layers that stay real read reals, and so do SOFTMAX and SIGMOID, behind a DEQUANTIZE. So
 * do those who read the scores.
 *
 * Ranges are parameters, {min, max}, called VALUE.range, of the group ALPHA if they are learned, else STATE. One that
 * is not given begins at -6..6, until dt_trainer_calibrate sets it. The least scales of weights are LAYER.weight_least,
 * STATE, 0.
 *
 * An average that a CONCAT's inputs share is moved by the first of their quantizers, which looks at the values of all.
 *
 * DT_ERR_ARGUMENT: a member of choice is out of its range; a pattern fits no layer; a range is fixed and not given.
 * DT_ERR_UNSUPPORTED: a node is none of the above; or an average has more than 5 quantizers, or one that somebody reads
 * before all that a CONCAT joins is made. The message names the node. */
DT_MUST_CHECK dt_status dt_quant_insert_range(const dt_graph *g, const dt_range_choice *choice, dt_graph **out);

#endif /* DT_INSERT_RANGE_H */
