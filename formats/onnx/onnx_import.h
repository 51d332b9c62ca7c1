/*
 * onnx_import.h - makes a network of an ONNX file: a graph of reals, or an integer graph of a file in QDQ form, whose
 *                 codes lie between QuantizeLinear and DequantizeLinear.
 *
 * Maps of the file are N,C,H,W, and the graph's N,H,W,C: here, and nowhere else, they are turned. A file computes one
 * image at a time: its batch, whatever it is, is the first dimension of everything that is computed.
 *
 *   reals     Conv                           CONV2D, BIAS             Add                  ADD, BIAS of a constant
 *             Gemm, MatMul of a constant     [FLATTEN,] LINEAR        Sub, Mul, Div        BIAS, CONV2D of each channel
 *             BatchNormalization             BATCHNORM                Mul                  MUL
 *             Relu, Clip, Sigmoid, Softmax   RELU, CLIP, SIGMOID ..   Concat               CONCAT
 *             ConvTranspose                  CONV_TRANSPOSE, BIAS     LeakyRelu ..         those of onnx_float_curves.c
 *             MaxPool, AveragePool           MAXPOOL, AVGPOOL         Slice, Pad           CONV2D of ones, or its pad
 *             GlobalAveragePool, GlobalMaxPool, ReduceMean over H and W                    pools of the whole map
 *             Flatten, Reshape, Squeeze, Unsqueeze, Transpose, Identity, Dropout           nothing, or TRANSPOSE
 *
 *   integer   QuantizeLinear of the image    QUANTIZE                 Softmax              QSOFTMAX
 *             Conv, Gemm, MatMul             CODES, CONV2D, REQUANTIZE   Sigmoid, Tanh ..  TABLE
 *             Add, Sub, Mul                  QADD, QADD, QMUL         Concat               CONCAT
 *             AveragePool                    QAVGPOOL                 MaxPool              MAXPOOL
 *             GlobalAveragePool, ReduceMean  AVGPOOL, REQUANTIZE      Relu, Clip           the range of the codes
 *             QuantizeLinear of codes        REQUANTIZE               DequantizeLinear     DEQUANTIZE at the end
 *
 * What constants give is computed here (onnx_fold.c). The nodes of an integer graph have the profile onnx.
 *
 * Parameters have the names of the file. One that has none of its own (a number, or "onnx::Conv_193") is called
 * NAME.weight or NAME.bias after its layer.
 *
 * Tests: tests/formats/test_onnx_import.c, test_onnx_operators.c, test_onnx_oracle.c.
 */
#ifndef DT_ONNX_IMPORT_H
#define DT_ONNX_IMPORT_H

#include "../../core/graph/graph.h"
#include "onnx.h"

/* Makes a graph whose parameters have the file's data. The image is the value "image", f32 of the shape 1,H,W,C; an
 * input of n numbers is the map 1,1,1,n. Constants that are folded are added to m. DT_ERR_UNSUPPORTED: detent has
 * nothing that computes an operator, which the message names. DT_ERR_FORMAT: shapes or types do not fit an operator. */
DT_MUST_CHECK dt_status dt_onnx_graph(dt_onnx *m, dt_graph **out, int *is_integer);

/* Returns 1 if the network of a file computes on integers alone. It notes what values are in m. */
int dt_onnx_is_integer(dt_onnx *m);

#endif /* DT_ONNX_IMPORT_H */
