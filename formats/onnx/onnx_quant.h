/*
 * onnx_quant.h - what onnx_quant.c and onnx_trunc.c share: attributes and numbers of QONNX's operators.
 */
#ifndef DT_ONNX_QUANT_H
#define DT_ONNX_QUANT_H

#include "onnx_layers.h"

/* Sets *out to input k, one constant number of any type. */
DT_MUST_CHECK dt_status dt_onnx_number_of(const dt_onnx_import *imp, const dt_onnx_node *n, int k, double *out);
/* The same of an integer whose magnitude is at most `most`. */
DT_MUST_CHECK dt_status dt_onnx_whole_number(const dt_onnx_import *imp, const dt_onnx_node *n, int k, int most,
                                             int *out);
/* Sets *out to the attribute rounding_mode, or to the mode called `otherwise`. */
DT_MUST_CHECK dt_status dt_onnx_rounding(const dt_onnx_import *imp, const dt_onnx_node *n, const char *otherwise,
                                         dt_code_rounding *out);
/* Sets the range of codes of 1 to 16 bits, less p->zero. narrow leaves out the least signed, or the largest unsigned.
 */
DT_MUST_CHECK dt_status dt_onnx_set_bits(const dt_onnx_import *imp, const dt_onnx_node *n, int bits, int64_t is_signed,
                                         int64_t narrow, dt_scale_quant_params *p);
/* Adds the quantizer of input 0, which is computed, and makes it the output. */
DT_MUST_CHECK dt_status dt_onnx_quantize_input(dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_quantizer *q);

/* The same of a place, which lies as the output does. */
DT_MUST_CHECK dt_status dt_onnx_quantize_place(dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_quantizer *q,
                                               const dt_onnx_place *x);

DT_MUST_CHECK dt_status dt_onnx_add_trunc(dt_onnx_import *imp, const dt_onnx_node *n);

#endif /* DT_ONNX_QUANT_H */
