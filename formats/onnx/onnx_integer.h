/*
 * onnx_integer.h - the operators of a file in QDQ form that have no weights: each adds its nodes.
 */
#ifndef DT_ONNX_INTEGER_H
#define DT_ONNX_INTEGER_H

#include "onnx_layers.h"

DT_MUST_CHECK dt_status dt_onnx_add_codes_maxpool(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_codes_avgpool(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_codes_mean(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_codes_binary(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_codes_concat(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_codes_softmax(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_add_codes_table(dt_onnx_import *imp, const dt_onnx_node *n);

#endif /* DT_ONNX_INTEGER_H */
