/*
 * extract.h - a network that was quantized after training, as the QKeras-Mod notebook reads it: the factors and
 * integers that hardware needs, in double and in Keras' layouts.
 *
 * Weights and ranges are the network's, and core/arith/qkeras.h makes integers of them: N bits are -(2^(N-1) - 1) ..
 * 2^(N-1) - 1, weights have no zero point, and biases a scale of their own. So an activation has other integers than in
 * the network's own program, which has one code more (core/arith/range.h).
 */
#ifndef DT_EXTRACT_H
#define DT_EXTRACT_H

#include "../core/arith/qkeras.h"
#include "../core/train/model.h"
#include "detent/quantize.h"

/* A layer with weights. Data lie as in Keras: a convolution's in height, width, channels, filters; a depthwise one's in
 * height, width, channels, multiplier; a linear layer's in inputs, outputs. */
typedef struct {
    const char *name; /* owned by the model's graph */
    int ndim;
    int64_t dim[4];
    int64_t n_weights, n_out;
    int n_scale;     /* n_out, or 1 */
    double *w_scale; /* [n_scale] */
    double b_scale;  /* 0: all biases are 0, or the layer has none */
    double *subq;    /* [n_out] zero point of the input times the sum of the output's weights, an integer */
    int32_t *wq;     /* [n_weights] */
    int32_t *bq;     /* [n_out] */
} dt_extracted_layer;

/* A quantized activation. */
typedef struct {
    const char *name; /* of its quantizer; owned by the model's graph */
    int node;         /* index of the quantizer in the graph */
    int bits;
    double alpha, beta; /* the calibrated range */
    dt_qkeras_grid grid;
} dt_extracted_act;

typedef struct {
    dt_extracted_layer *layer;
    dt_extracted_act *act;
    int n_layers, n_acts;
} dt_extracted;

/* Reads a model that has affine quantizers (insert_range.c). The zero point in a layer's subq is that of the quantizer
 * on the path to it, also where branches stand between. dt_extracted_free frees *out, also a failed one. *out is valid
 * as long as m.
 * DT_ERR_ARGUMENT: how asks for bits that are out of range. DT_ERR_UNSUPPORTED: m has no affine quantizers, or batch
 * norms that are not folded. */
DT_MUST_CHECK dt_status dt_extract(dt_model *m, const dt_extraction *how, dt_extracted *out);
void dt_extracted_free(dt_extracted *e);

#endif /* DT_EXTRACT_H */
