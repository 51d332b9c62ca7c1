/*
 * insert.h - quantization-aware training as a pass: a network of real values in, one whose layers compute on the grid
 *            out.
 */
#ifndef DT_INSERT_H
#define DT_INSERT_H

#include "../core/graph/graph.h"

typedef struct {
    int wbits, abits; /* 2..8; both DT_BITS_FLOAT: only layers that have bits of their own are quantized */
    int input_bits;   /* of the image: 2..8 signed and with a fixed clip; 0: quantized like any activation */
    int per_channel;  /* 1: a clip for each filter, else one for the layer */
    dt_quant_rule rule;
    int first_last_bits;     /* of weights and activations of the first and the last layer that has any; 0: as others */
    int sum_bits;            /* of what adds and average pools sum: 2..8; 0: they sum reals */
    int quantize_classifier; /* 1: the linear layer that makes the scores has bits as others; 0: it is real */
    const dt_layer_bits *layer_bits; /* [n_layer_bits] before all of these; of several that fit, the last */
    int n_layer_bits;
} dt_quant_choice;

/* Of what the scores need: puts an ACT_QUANT before, and a WEIGHT_QUANT behind the weights of, every CONV2D, CAPS_VOTES
 * and LINEAR. The last LINEAR stays real, unless the choice or a pattern of layer_bits says otherwise; a bias of a
 * LINEAR on the grid becomes a BIAS behind it. With sum_bits the inputs of every ADD get an ACT_QUANT each, of one clip
 * for all, and those of every AVGPOOL but of single cells. Where a real layer or the scores would read integers, a
 * DEQUANTIZE stands between.
 *
 * Clips are parameters: LAYER.act_alpha, LAYER.weight_quant.wgt_alpha. The activations' quantizer is unsigned where
 * values cannot be negative. DT_ERR_ARGUMENT lists the layers if a pattern of layer_bits fits none. */
DT_MUST_CHECK dt_status dt_quant_insert(const dt_graph *g, const dt_quant_choice *choice, dt_graph **out);

/* 1 if no value can be below 0, by what makes it. */
int dt_graph_is_positive(const dt_graph *g, int value);

#endif /* DT_INSERT_H */
