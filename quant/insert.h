/*
 * insert.h - quantization-aware training as a pass: it makes of a network of real values one whose layers compute on
 *            the grid.
 */
#ifndef DT_INSERT_H
#define DT_INSERT_H

#include "../core/graph/graph.h"

typedef struct {
    int wbits, abits; /* 2..8; both DT_BITS_FLOAT: those layers alone are quantized that have bits of their own */
    int input_bits;  /* of the image: 2..8, signed and with a fixed clip; 0: it is quantized as other activations are */
    int per_channel; /* 1: each filter has a clip; 0: each layer has one */
    dt_quant_rule rule;
    int first_last_bits;     /* of weights and activations of the first and the last quantized layer; 0: as others */
    int sum_bits;            /* of the inputs of adds and average pools, 2..8; 0: they are real */
    int quantize_classifier; /* 1: the linear layer that makes the scores has bits as others; 0: it is real */
    const dt_layer_bits *layer_bits; /* [n_layer_bits] overrides all bits above; the last that fits a layer counts */
    int n_layer_bits;
} dt_quant_choice;

/* Makes a copy of g with quantizers, for the nodes that the scores need. Each CONV2D, CAPS_VOTES and LINEAR gets an
 * ACT_QUANT before it, and a WEIGHT_QUANT behind its weights. The LINEAR that makes the scores stays real, unless the
 * choice or a pattern of layer_bits says otherwise. The bias of a LINEAR on the grid becomes a BIAS behind it. With
 * sum_bits, each input of an ADD gets an ACT_QUANT, all with one clip, and so does the input of an AVGPOOL whose window
 * has more than one cell. Where a real layer or the scores would read integers, a DEQUANTIZE is put between.
 *
 * Clips are parameters, called LAYER.act_alpha and LAYER.weight_quant.wgt_alpha. A quantizer of activations is unsigned
 * where they cannot be negative. DT_ERR_ARGUMENT: a pattern of layer_bits fits no layer, and the message lists them. */
DT_MUST_CHECK dt_status dt_quant_insert(const dt_graph *g, const dt_quant_choice *choice, dt_graph **out);

#endif /* DT_INSERT_H */
