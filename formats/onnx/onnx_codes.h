/*
 * onnx_codes.h - codes of a file in QDQ form: their grids, and what brings them from one to another.
 *
 * A DequantizeLinear makes a place that stands for the reals of codes. What an operator makes of such reals becomes
 * codes again by the QuantizeLinear that its result reaches, over Relu, Clip, and what only moves numbers; so that the
 * operator, the limits and the quantizer are one node, which rounds once.
 *
 * Codes are q - zero point, so that code 0 is real 0.
 */
#ifndef DT_ONNX_CODES_H
#define DT_ONNX_CODES_H

#include "onnx_layers.h"

enum { DT_ONNX_LEVELS = 256 /* codes of 8 bits */ };

/* The codes that an operator is to make. */
typedef struct {
    dt_onnx_grid grid;
    int scale;     /* the parameter that holds the scale */
    int low, high; /* their range, after limits */
    int zero;      /* the zero point as an int8 file has it */
} dt_onnx_target;

/* Reads the grid of a quantizer. type is that of its codes, or 0, where the zero point has it, and UINT8 without one.
 */
DT_MUST_CHECK dt_status dt_onnx_read_grid(const dt_onnx_import *imp, const dt_onnx_node *n, int type, dt_onnx_grid *g);
/* Checks that codes have 8 bits, or may be those of a bias. */
DT_MUST_CHECK dt_status dt_onnx_check_type(const dt_onnx_import *imp, const dt_onnx_node *n, int type, int allows_bias);
int dt_onnx_same_grid(const dt_onnx_grid *a, const dt_onnx_grid *b);
/* Sets *scale to the parameter that holds a grid's scale: equal scales share it. */
DT_MUST_CHECK dt_status dt_onnx_add_scale(dt_onnx_import *imp, const dt_onnx_grid *g, const char *name, int *scale);
/* Sets a target to all codes of a grid that lie within limits of reals, but for its scale. */
DT_MUST_CHECK dt_status dt_onnx_make_target(const dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_grid *g,
                                            float low, float high, dt_onnx_target *t);

/* Adds a QuantizeLinear or DequantizeLinear, of constants or of what is computed. */
DT_MUST_CHECK dt_status dt_onnx_add_quantizer(dt_onnx_import *imp, const dt_onnx_node *n);
/* Sets *t to the codes that the QuantizeLinear behind a node makes; name is its layer's. */
DT_MUST_CHECK dt_status dt_onnx_find_target(dt_onnx_import *imp, const dt_onnx_node *n, const char *name,
                                            dt_onnx_target *t);
/* Makes what a node makes, which has been set, codes of a target. */
void dt_onnx_give_grid(dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_target *t);
/* Gives the output the limits of a Relu or Clip. */
DT_MUST_CHECK dt_status dt_onnx_add_limits(dt_onnx_import *imp, const dt_onnx_node *n);
/* What a REQUANTIZE NAME and `part` reads: x and its scale at 0 and 1, and from 3 on what else; n_in counts all, with
 * the scale of the target at 2. */
typedef struct {
    const char *name, *part;
    dt_requant_of of;
    int count; /* of a mean: the cells of a sum; else 1 */
    int in[5], n_in;
} dt_onnx_sum;

/* Adds a REQUANTIZE to a target. */
DT_MUST_CHECK dt_status dt_onnx_requantize(dt_onnx_import *imp, const dt_onnx_sum *sum, const dt_onnx_target *t,
                                           int *value);
/* Sets *value to codes of a target, made of those of a place, by a REQUANTIZE NAME and `part` if they differ. */
DT_MUST_CHECK dt_status dt_onnx_rescale(dt_onnx_import *imp, const char *name, const char *part, const dt_onnx_place *p,
                                        const dt_onnx_target *t, int *value);

/* A convolution of ones and zeros. */
typedef struct {
    const char *name;
    dt_conv_params params;
    dt_shape shape;
    int8_t *w;
} dt_onnx_selection;

/* Adds one that reads the codes of a place, and brings its sums back to their grid. */
DT_MUST_CHECK dt_status dt_onnx_add_selection(dt_onnx_import *imp, const dt_onnx_place *p, const dt_onnx_selection *s,
                                              int *value);
/* Adds a DEQUANTIZE of the file's output. */
DT_MUST_CHECK dt_status dt_onnx_make_real(dt_onnx_import *imp, const dt_onnx_place *p, int *value);

#endif /* DT_ONNX_CODES_H */
