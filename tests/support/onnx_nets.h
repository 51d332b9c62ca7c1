/*
 * onnx_nets.h - three small networks as ONNX files: of reals, of shapes that are computed, and of codes. Their image is
 *               2 channels of 4x4.
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

#endif /* ONNX_NETS_H */
