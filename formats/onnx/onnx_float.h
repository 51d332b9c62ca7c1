/*
 * onnx_float.h - what both files of a graph of reals share, and what an integer graph reads alike.
 */
#ifndef DT_ONNX_FLOAT_H
#define DT_ONNX_FLOAT_H

#include "onnx_layers.h"

/* The matrix of a Gemm or MatMul: y = alpha x W + beta b. */
typedef struct {
    int64_t features, inputs;
    int is_turned; /* 1: the file has features in rows */
    int64_t cells; /* of the map that x is, whose channels come first in the file and last here; 1: x is no map */
    float alpha, beta;
} dt_onnx_matrix;

DT_MUST_CHECK dt_status dt_onnx_linear(const dt_onnx_import *imp, const dt_onnx_node *n, dt_onnx_matrix *m);
/* Returns the matrix with features in rows and the columns in the order of x; NULL: there is no memory. */
void *dt_onnx_turn_matrix(const dt_onnx_matrix *m, const void *from, size_t each);
/* Returns the node that adds the bias of a Gemm or MatMul, itself or the Add that alone reads it, which is then done.
 * *k is the bias among its inputs. NULL: there is none. */
const dt_onnx_node *dt_onnx_bias_of(dt_onnx_import *imp, const dt_onnx_node *n, int *k);

/* Adds a BIAS of the numbers of input 2, one for each of so many filters, behind the layer *value, if it is given. */
DT_MUST_CHECK dt_status dt_onnx_add_layer_bias(dt_onnx_import *imp, const dt_onnx_node *n, const char *name,
                                               int64_t filters, int *value);
/* Sets the limits of a Clip. */
DT_MUST_CHECK dt_status dt_onnx_limits(const dt_onnx_import *imp, const dt_onnx_node *n, float *low, float *high);
/* Checks that a Softmax is over the channels. */
DT_MUST_CHECK dt_status dt_onnx_check_softmax(const dt_onnx_import *imp, const dt_onnx_node *n);

/* Numbers of a node NAME and `part`, one for each channel: trained, or fixed by what the operator means. They come from
 * malloc, NULL where that failed, and are taken over. */
typedef struct {
    const char *name, *part;
    int64_t channels;
    float *numbers;
    int is_fixed;
} dt_onnx_each;

/* Adds a BIAS behind *value. */
DT_MUST_CHECK dt_status dt_onnx_add_shift(dt_onnx_import *imp, const dt_onnx_each *e, int *value);
/* Multiplies each channel of a map or of rows by a number. Rows become a map of one cell. */
DT_MUST_CHECK dt_status dt_onnx_add_factor(dt_onnx_import *imp, const dt_onnx_each *e, int *value);
/* Returns equal numbers, or NULL. */
float *dt_onnx_equal_numbers(int64_t count, float number);

/* In onnx_float_curves.c. */
DT_MUST_CHECK dt_status dt_onnx_add_leaky_relu(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_prelu(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_hard_sigmoid(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_hard_swish(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_tanh(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_negative(dt_onnx_import *imp, const dt_onnx_node *n);
/* In onnx_float_transpose.c. */
DT_MUST_CHECK dt_status dt_onnx_add_conv_transpose(dt_onnx_import *imp, const dt_onnx_node *n);

/* In onnx_float_maps.c. */
DT_MUST_CHECK dt_status dt_onnx_add_pool(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_whole_pool(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_mean(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_sum(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_sum_of_all(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_difference(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_product(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_quotient(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_concat(dt_onnx_import *imp, const dt_onnx_node *n);

/* Checks a Concat and sets *axis to that of maps, if *is_map, or else of rows. */
DT_MUST_CHECK dt_status dt_onnx_concat_axis(const dt_onnx_import *imp, const dt_onnx_node *n, int *axis, int *is_map);

#endif /* DT_ONNX_FLOAT_H */
