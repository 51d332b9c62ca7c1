/*
 * insert_qkeras.h - training with the quantizers of the QKeras-Mod notebook as a pass; and those taken out again.
 */
#ifndef DT_INSERT_QKERAS_H
#define DT_INSERT_QKERAS_H

#include "../core/graph/graph.h"

typedef struct {
    int wbits, abits; /* 2..16 */
    int per_channel;  /* 1: each filter of a CONV2D has a scale; 0: each layer. A LINEAR has one in any case */
    /* [n_layer_bits] overrides wbits and abits; the last that fits counts. A layer's name, or a pattern of it, has the
     * bits of its weights and of what it reads, 2..16 each, or DT_BITS_FLOAT for both, so that it stays real; and those
     * of its bias. Of a value that several layers read the first says the bits; and the name of a quantizer, as
     * "pool.quant", says more than any layer: of such an entry abits is read */
    const dt_layer_bits *layer_bits;
    int n_layer_bits;
} dt_qkeras_choice;

/* Makes a copy of g with quantizers, which all give real values:
 *
 *   VALUE.quant         FEATUREMAP_QUANT of what a CONV2D, a LINEAR, an ADD or a FLATTEN reads, and of the scores;
 *                       readers of one value share it
 *   LAYER.weight_quant  MAX_QUANT of the weights
 *   LAYER.weight_real   the real values of its codes
 *   LAYER.bias_quant, LAYER.bias_real: likewise of a bias with 2 to 16 bits, which has one scale
 *
 * Biases of more bits stay real: the 31 bits that the notebook gives them are more than f32 has. A batch norm is no
 * bias. The least scales are LAYER.weight_least and LAYER.bias_least, STATE, 0. DT_ERR_ARGUMENT: bits are out of their
 * range, or a pattern fits neither a layer nor a quantizer. */
DT_MUST_CHECK dt_status dt_quant_insert_qkeras(const dt_graph *g, const dt_qkeras_choice *choice, dt_graph **out);

/* Makes a copy of g without them: the network of real values that was trained. Exported integers are those of other
 * quantizers, whose ranges come from a calibration (core/arith/qkeras.h). */
DT_MUST_CHECK dt_status dt_quant_remove_qkeras(const dt_graph *g, dt_graph **out);

/* Returns 1 if the graph has them. */
int dt_graph_is_qkeras(const dt_graph *g);

#endif /* DT_INSERT_QKERAS_H */
