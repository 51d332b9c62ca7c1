/*
 * insert_dynamic.h - TensorFlow Lite's dynamic-range quantization as a pass: weights become codes, and what reads them
 *                    rounds its input while it runs. Nothing is calibrated.
 *
 * A layer of codes is, in the new network,
 *   VALUE.dynamic  DYNAMIC_QUANT of the layer's input VALUE; layers that read one value share it
 *   LAYER.codes    CODES of LAYER.weight, now integers, and LAYER.weight_scale
 *   LAYER.real     DEQUANTIZE of the codes
 *   the layer, which reads VALUE.dynamic and LAYER.real, and sums in f32
 * Hybrid kernels multiply integers and scale the sum. The sums here are equal but for f32's rounding.
 */
#ifndef DT_INSERT_DYNAMIC_H
#define DT_INSERT_DYNAMIC_H

#include "../core/graph/graph.h"

enum { DT_DYNAMIC_LEAST_ELEMENTS = 1024 }; /* a layer of fewer weights stays real: the converter's limit */

typedef struct {
    int wbits;        /* 2..8 */
    int per_channel;  /* 1: each filter has a scale; 0: each layer has one */
    int fc_per_layer; /* 1: a LINEAR has one scale whatever per_channel is */
} dt_dynamic_choice;

/* Makes a network in which the weights of each CONV2D and LINEAR are codes where they have DT_DYNAMIC_LEAST_ELEMENTS or
 * more. A weight stays real, and so does its layer, if it is no parameter, or something else reads it too. Codes and
 * scales are those of MAX_QUANT (core/arith/range.h). The weights of g need f32 data: dt_model_snapshot gives them.
 * DT_ERR_ARGUMENT: wbits is out of range, weights have no data, or a name is taken. DT_ERR_NUMERIC: a weight is no
 * number, or infinite. */
DT_MUST_CHECK dt_status dt_quant_insert_dynamic(const dt_graph *g, const dt_dynamic_choice *choice, dt_graph **out);

/* Filters as codes, for the importer of files too. */
typedef struct {
    const char *layer;
    const char *weight; /* name of the parameter of the codes */
    dt_shape shape;     /* K,.. */
    int8_t *code;       /* of that shape; comes from malloc */
    int low, high;      /* range of the codes */
    float *scale;       /* [n_scale], from malloc */
    int n_scale;        /* 1 or K */
} dt_dynamic_filters;

/* Adds CODES and DEQUANTIZE; *out is the real filters. It takes over the arrays, even if it fails; NULL stands for a
 * malloc that failed. */
DT_MUST_CHECK dt_status dt_dynamic_add_filters(dt_graph *g, const dt_dynamic_filters *f, int *out);

/* Sets *out to the DYNAMIC_QUANT of the value x, which is added when it is first asked for. */
DT_MUST_CHECK dt_status dt_dynamic_add_input(dt_graph *g, int x, int *out);

/* Returns the CODES of a layer's weights, or NULL if they are not such filters. */
const dt_graph_node *dt_dynamic_codes_of(const dt_graph *g, const dt_graph_node *layer);

#endif /* DT_INSERT_DYNAMIC_H */
