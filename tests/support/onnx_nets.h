/*
 * onnx_nets.h - small networks as ONNX files: of reals, of functions that are made of others, of shapes that are
 *               computed, of codes, and of operators on codes; one has its weights outside. Their image is 2 channels
 *               of 4x4, or of 4.
 */
#ifndef ONNX_NETS_H
#define ONNX_NETS_H

#include "onnx_case.h"

/* Adds a constant of reals, small ones in turn. */
static inline void onnx_nets_reals(onnx_bytes *g, const char *name, const int64_t *dim)
{
    float values[256];
    size_t count = 1;

    for (int k = 0; dim[k] != -1; k++) count *= (size_t)dim[k];
    if (count > 256) abort();
    for (size_t i = 0; i < count; i++) values[i] = (float)(i * 5 % 7) * 0.25f + 0.125f;
    onnx_constant(g, name, 1, dim, values, count * sizeof *values);
}

/* A layer of each kind that has weights, pools, sums and joined maps. */
static inline onnx_bytes onnx_nets_float(void)
{
    onnx_bytes g = onnx_graph();

    onnx_nets_reals(&g, "a.weight", (int64_t[]){ 4, 1, 3, 3, -1 });
    onnx_nets_reals(&g, "a.bias", (int64_t[]){ 4, -1 });
    onnx_nets_reals(&g, "bn", (int64_t[]){ 4, -1 });
    onnx_nets_reals(&g, "six", (int64_t[]){ -1 });
    onnx_nets_reals(&g, "fc", (int64_t[]){ 3, 8, -1 });
    onnx_bytes conv = onnx_node("Conv", "x a.weight a.bias", "a");
    onnx_attribute_int(&conv, "group", 2);
    onnx_attribute_ints(&conv, "pads", 4, (int64_t[]){ 1, 1, 1, 1 });
    onnx_attribute_ints(&conv, "strides", 2, (int64_t[]){ 2, 2 });
    onnx_message(&g, 1, &conv);
    onnx_plain(&g, "BatchNormalization", "a bn bn bn bn", "b");
    onnx_plain(&g, "Clip", "b - six", "c");
    onnx_plain(&g, "Sigmoid", "c", "s");
    onnx_plain(&g, "Mul", "c s", "m");
    onnx_plain(&g, "Add", "m b", "d");
    onnx_bytes pool = onnx_node("MaxPool", "d", "p");
    onnx_attribute_ints(&pool, "kernel_shape", 2, (int64_t[]){ 2, 2 });
    onnx_message(&g, 1, &pool);
    onnx_plain(&g, "GlobalAveragePool", "d", "q");
    onnx_bytes both = onnx_node("Concat", "p q", "e");
    onnx_attribute_int(&both, "axis", 1);
    onnx_message(&g, 1, &both);
    onnx_plain(&g, "Flatten", "e", "f");
    onnx_bytes gemm = onnx_node("Gemm", "f fc", "h");
    onnx_attribute_int(&gemm, "transB", 1);
    onnx_message(&g, 1, &gemm);
    onnx_plain(&g, "Softmax", "h", "y");
    return onnx_model(&g, 13);
}

/* Functions and a transposed convolution, part of which is cut off. */
static inline onnx_bytes onnx_nets_functions(void)
{
    onnx_bytes g = onnx_graph();

    onnx_nets_reals(&g, "up", (int64_t[]){ 2, 3, 3, 3, -1 });
    onnx_nets_reals(&g, "slopes", (int64_t[]){ 2, 1, 1, -1 });
    onnx_nets_reals(&g, "bias", (int64_t[]){ 3, -1 });
    onnx_plain(&g, "LeakyRelu", "x", "a");
    onnx_plain(&g, "PRelu", "a slopes", "b");
    onnx_plain(&g, "HardSwish", "b", "c");
    onnx_bytes up = onnx_node("ConvTranspose", "c up bias", "d");
    onnx_attribute_ints(&up, "strides", 2, (int64_t[]){ 2, 2 });
    onnx_attribute_text(&up, "auto_pad", "SAME_LOWER");
    onnx_message(&g, 1, &up);
    onnx_plain(&g, "Tanh", "d", "e");
    onnx_plain(&g, "HardSigmoid", "e", "f");
    onnx_plain(&g, "GlobalMaxPool", "f", "h");
    onnx_plain(&g, "Neg", "h", "y");
    return onnx_model(&g, 14);
}

/* A map of one row, whose filters lie in the file "w". */
static inline onnx_bytes onnx_nets_outside(void)
{
    static const char *const pairs[3][2] = { { "location", "w" }, { "offset", "16" }, { "length", "48" } };
    onnx_bytes g = { .n = 0 }, t = { .n = 0 };

    onnx_end(&g, 11, "x", 1, (int64_t[]){ 0, 2, 4, -1 });
    onnx_end(&g, 12, "y", 1, (int64_t[]){ 0, 2, -1 });
    onnx_tensor(&t, "a.weight", 1, (int64_t[]){ 2, 2, 3, -1 }, NULL, 0);
    for (int i = 0; i < 3; i++) {
        onnx_bytes entry = { .n = 0 };
        onnx_text(&entry, 1, pairs[i][0]);
        onnx_text(&entry, 2, pairs[i][1]);
        onnx_message(&t, 13, &entry);
    }
    onnx_int(&t, 14, 1);
    onnx_message(&g, 5, &t);
    onnx_bytes conv = onnx_node("Conv", "x a.weight", "a");
    onnx_attribute_ints(&conv, "pads", 2, (int64_t[]){ 1, 0 });
    onnx_message(&g, 1, &conv);
    onnx_bytes pool = onnx_node("MaxPool", "a", "p");
    onnx_attribute_ints(&pool, "kernel_shape", 1, (int64_t[]){ 2 });
    onnx_message(&g, 1, &pool);
    onnx_bytes mean = onnx_node("ReduceMean", "p", "y");
    onnx_attribute_ints(&mean, "axes", 1, (int64_t[]){ -1 });
    onnx_attribute_int(&mean, "keepdims", 0);
    onnx_message(&g, 1, &mean);
    return onnx_model(&g, 13);
}

/* The arithmetic of shapes, a strided slice, a pad, a view. */
static inline onnx_bytes onnx_nets_shapes(void)
{
    onnx_bytes g = onnx_graph();

    onnx_ints(&g, "none", 1, (int64_t[]){ 0 });
    onnx_ints(&g, "one", 1, (int64_t[]){ 1 });
    onnx_ints(&g, "two", 1, (int64_t[]){ 2 });
    onnx_ints(&g, "far", 1, (int64_t[]){ INT64_MAX });
    onnx_ints(&g, "cells", 6, (int64_t[]){ 0, 1, 0, 0, 0, 0 });
    onnx_ints(&g, "rest", 1, (int64_t[]){ -1 });
    onnx_nets_reals(&g, "w", (int64_t[]){ 12, 3, -1 });
    onnx_plain(&g, "Slice", "x none far two two", "s");
    onnx_plain(&g, "Slice", "s one far one none", "never");
    onnx_plain(&g, "Sub", "two two", "z");
    onnx_plain(&g, "ConstantOfShape", "two", "zeros");
    onnx_bytes cast = onnx_node("Cast", "zeros", "whole");
    onnx_attribute_int(&cast, "to", 7);
    onnx_message(&g, 1, &cast);
    onnx_bytes pads = onnx_node("Concat", "cells whole", "around");
    onnx_attribute_int(&pads, "axis", 0);
    onnx_message(&g, 1, &pads);
    onnx_plain(&g, "Pad", "s around", "p");
    onnx_bytes mean = onnx_node("ReduceMean", "p", "m");
    onnx_attribute_ints(&mean, "axes", 2, (int64_t[]){ 2, 3 });
    onnx_message(&g, 1, &mean);
    onnx_plain(&g, "MaxPool", "p", "unread");
    onnx_plain(&g, "Shape", "m", "all");
    onnx_plain(&g, "Gather", "all none", "first");
    onnx_bytes shape = onnx_node("Concat", "first rest", "to");
    onnx_attribute_int(&shape, "axis", 0);
    onnx_message(&g, 1, &shape);
    onnx_plain(&g, "Reshape", "m to", "r");
    onnx_ints(&g, "three", 1, (int64_t[]){ 3 });
    onnx_plain(&g, "Slice", "w none three none", "matrix");
    onnx_plain(&g, "MatMul", "r matrix", "y");
    return onnx_model(&g, 13);
}

/* Adds both quantizers of a value, which becomes `to`. */
static inline void onnx_nets_codes(onnx_bytes *g, const char *of, const char *grid, const char *to)
{
    char inputs[64], middle[64];

    snprintf(inputs, sizeof inputs, "%s %s", of, grid);
    snprintf(middle, sizeof middle, "%s_codes", to);
    onnx_plain(g, "QuantizeLinear", inputs, middle);
    snprintf(inputs, sizeof inputs, "%s_codes %s", to, grid);
    onnx_plain(g, "DequantizeLinear", inputs, to);
}

static inline onnx_bytes onnx_nets_integer(void)
{
    onnx_bytes g = onnx_graph();

    onnx_constant(&g, "s", 1, (int64_t[]){ -1 }, (float[]){ 0.02f }, 4);
    onnx_constant(&g, "z", 2, (int64_t[]){ -1 }, (uint8_t[]){ 100 }, 1);
    onnx_constant(&g, "t", 1, (int64_t[]){ -1 }, (float[]){ 0.03f }, 4);
    onnx_constant(&g, "ws", 1, (int64_t[]){ 2, -1 }, (float[]){ 0.01f, 0.02f }, 8);
    onnx_constant(&g, "w", 3, (int64_t[]){ 2, 2, 1, 1, -1 }, (int8_t[]){ 1, -2, 3, -128 }, 4);
    onnx_constant(&g, "bs", 1, (int64_t[]){ -1 }, (float[]){ 0.0002f }, 4);
    onnx_constant(&g, "b", 6, (int64_t[]){ 2, -1 }, (int32_t[]){ 7, -9 }, 8);
    onnx_bytes filters = onnx_node("DequantizeLinear", "w ws", "weight");
    onnx_attribute_int(&filters, "axis", 0);
    onnx_message(&g, 1, &filters);
    onnx_plain(&g, "DequantizeLinear", "b bs", "bias");
    onnx_nets_codes(&g, "x", "s z", "i");
    onnx_plain(&g, "Conv", "i weight bias", "c");
    onnx_plain(&g, "Relu", "c", "r");
    onnx_nets_codes(&g, "r", "t", "d");
    onnx_plain(&g, "Add", "d i", "a");
    onnx_nets_codes(&g, "a", "t z", "e");
    onnx_bytes both = onnx_node("Concat", "d e", "both");
    onnx_attribute_int(&both, "axis", 1);
    onnx_message(&g, 1, &both);
    onnx_nets_codes(&g, "both", "t z", "j");
    onnx_plain(&g, "GlobalAveragePool", "j", "m");
    onnx_plain(&g, "Flatten", "m", "f");
    onnx_nets_codes(&g, "f", "s z", "k");
    onnx_plain(&g, "Softmax", "k", "o");
    onnx_nets_codes(&g, "o", "s", "y");
    return onnx_model(&g, 13);
}

/* Adds an operator of com.microsoft, which may have an attribute `axis` of 1. */
static inline void onnx_nets_microsoft(onnx_bytes *g, const char *op, const char *inputs, const char *to, int has_axis)
{
    onnx_bytes node = onnx_node(op, inputs, to);

    onnx_text(&node, 7, "com.microsoft");
    if (has_axis) onnx_attribute_int(&node, "axis", 1);
    onnx_message(g, 1, &node);
}

/* Operators on codes. */
static inline onnx_bytes onnx_nets_qoperator(void)
{
    onnx_bytes g = onnx_graph();

    onnx_constant(&g, "s", 1, (int64_t[]){ -1 }, (float[]){ 0.02f }, 4);
    onnx_constant(&g, "z", 2, (int64_t[]){ -1 }, (uint8_t[]){ 100 }, 1);
    onnx_constant(&g, "ws", 1, (int64_t[]){ 2, -1 }, (float[]){ 0.01f, 0.02f }, 8);
    onnx_constant(&g, "wz", 3, (int64_t[]){ 2, -1 }, (int8_t[]){ 0, 0 }, 2);
    onnx_constant(&g, "w", 3, (int64_t[]){ 2, 2, 1, 1, -1 }, (int8_t[]){ 1, -2, 3, -128 }, 4);
    onnx_constant(&g, "b", 6, (int64_t[]){ 2, -1 }, (int32_t[]){ 7, -9 }, 8);
    onnx_constant(&g, "m", 3, (int64_t[]){ 4, 3, -1 }, (int8_t[]){ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 }, 12);
    onnx_constant(&g, "mz", 3, (int64_t[]){ -1 }, (int8_t[]){ 0 }, 1);
    onnx_constant(&g, "c", 6, (int64_t[]){ 3, -1 }, (int32_t[]){ 1, 2, 3 }, 12);
    onnx_plain(&g, "QuantizeLinear", "x s z", "i");
    onnx_plain(&g, "QLinearConv", "i s z w ws wz s z b", "d");
    onnx_nets_microsoft(&g, "QLinearAdd", "d s z i s z s z", "e", 0);
    onnx_nets_microsoft(&g, "QLinearSigmoid", "e s z s z", "f", 0);
    onnx_nets_microsoft(&g, "QLinearConcat", "s z d s z f s z", "h", 1);
    onnx_bytes pool = onnx_node("MaxPool", "h", "p");
    onnx_attribute_ints(&pool, "kernel_shape", 2, (int64_t[]){ 4, 4 });
    onnx_message(&g, 1, &pool);
    onnx_plain(&g, "Flatten", "p", "q");
    onnx_nets_microsoft(&g, "QGemm", "q s z m s mz c s z", "y", 0);
    return onnx_model(&g, 13);
}

#endif /* ONNX_NETS_H */
