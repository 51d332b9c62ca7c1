/*
 * tflite_import.h - makes a network of a TensorFlow Lite file: a float graph, or an integer graph of int8 arithmetic.
 *
 * Names are those of the file's tensors, made short: "net/conv1/Relu;net/conv1/Conv2D" becomes "conv1". A layer NAME
 * has the parameters NAME.weight and NAME.bias, and further nodes NAME.biased, NAME.relu, NAME.flatten.
 *
 *   float     CONV_2D, DEPTHWISE_CONV_2D     CONV2D, BIAS [, RELU]      FULLY_CONNECTED   [FLATTEN,] LINEAR [, RELU]
 *             MAX_POOL_2D, AVERAGE_POOL_2D   MAXPOOL, AVGPOOL           MEAN over H and W  AVGPOOL of the whole map
 *             ADD, MUL, CONCATENATION        ADD, MUL, CONCAT           LOGISTIC, SOFTMAX  SIGMOID, SOFTMAX
 *             ADD, SUB of a constant         BIAS                       RESHAPE, SQUEEZE   nothing, FLATTEN, TRANSPOSE
 *             MUL of a map by a constant     CONV2D of each channel     RELU, RELU6        RELU
 *             PAD before a convolution       the convolution's pad      TRANSPOSE          TRANSPOSE, one or more
 *
 * A constant has one number, or one for each channel. Of a file with dynamic ranges, where weights of convolutions and
 * FULLY_CONNECTED are INT8 beside reals, a layer NAME has NAME.codes, NAME.real and NAME.weight_scale too, and reads a
 * DYNAMIC_QUANT (quant/insert_dynamic.h).
 *
 *   integer   QUANTIZE of the image          QUANTIZE                  RELU, RELU6, QUANTIZE of codes   REQUANTIZE
 *             CONV_2D, DEPTHWISE_CONV_2D,    CODES, CONV2D,            MAX_POOL_2D, CONCATENATION    MAXPOOL, CONCAT
 *             FULLY_CONNECTED                REQUANTIZE                AVERAGE_POOL_2D               QAVGPOOL
 *             MEAN over H and W              AVGPOOL, REQUANTIZE       SOFTMAX                       QSOFTMAX
 *             ADD, SUB, MUL                  QADD, QADD, QMUL          LOGISTIC, TANH                TABLE
 *             RESHAPE, SQUEEZE               nothing, or TRANSPOSE     DEQUANTIZE at the end         DEQUANTIZE
 *             BATCH_MATMUL                   QMATMUL                   TRANSPOSE                     TRANSPOSE
 *
 * An integer layer NAME has the nodes NAME.codes and NAME.act_quant, and the parameters NAME.weight, NAME.weight_scale,
 * NAME.bias and NAME.act_scale. The image's codes are image.codes. Input and output of a file may be float, int8 or
 * uint8: the graph takes and gives reals. Its nodes have the profile litert-ref.
 *
 * A tensor of other than four dimensions stands as a map whose columns and channels are its last two, and whose rows
 * are all before them. A RESHAPE that changes these sides is a TRANSPOSE that exchanges nothing.
 *
 * Anything else is refused by its name. A file has one input and one output, and images come one at a time.
 *
 *   tflite_import.c   what a file is, and its names;   tflite_layers.c   shapes and parameters, for both kinds
 *   tflite_float.c    a float graph;   tflite_integer.c, tflite_codes.c   an integer graph
 *   tflite_matrix.c   TRANSPOSE and BATCH_MATMUL
 *
 * Tests: tests/formats/test_tflite_import.c, test_tflite_matrix.c.
 */
#ifndef DT_TFLITE_IMPORT_H
#define DT_TFLITE_IMPORT_H

#include "../../core/graph/graph.h"
#include "tflite.h"

/* Makes a graph whose parameters have the file's data. path is for messages, and gives the graph its name. The image is
 * the value "image", f32 of the shape 1,H,W,C; an input of n numbers is the map 1,1,1,n. *is_integer is 1 if the graph
 * computes on codes. DT_ERR_UNSUPPORTED: detent has nothing that computes an operator, which the message names.
 * DT_ERR_FORMAT: shapes or types do not fit an operator. */
DT_MUST_CHECK dt_status dt_tflite_graph(const dt_tflite *m, const char *path, dt_graph **out, int *is_integer);

#endif /* DT_TFLITE_IMPORT_H */
