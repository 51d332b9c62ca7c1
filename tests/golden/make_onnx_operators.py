#!/usr/bin/env python3
"""Writes the files of tests/golden/onnx of operators that detent makes of others, and of networks in QOperator form,
and what ONNX Runtime computes of them, without graph optimisation.

Needs onnx and onnxruntime (made with 1.23 and 1.32); the tests need neither. Networks are drawn with a fixed seed.

    python3 make_onnx_operators.py FOLDER

operators.safetensors has NAME.x, the images as N,H,W,C, and NAME.y, the scores.
"""
import os, sys
import numpy as np
import onnx
from onnx import helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

import make_onnx_golden as golden

golden.rng = np.random.default_rng(21)


def curves():
    """Functions that are made of others, of maps and of rows, and transposed convolutions, one of which has a row and a
    column cut off, and one pads of four sizes."""
    n = golden.Net(17, [3, 7, 6])
    n.conv("stem", 6, 3, pads=[1, 1, 1, 1])
    n.add("LeakyRelu", [n.last], alpha=0.15)
    n.conv("wide", 6, 6, size=1)
    n.add("HardSwish", [n.last])
    n.add("PRelu", [n.last, n.constant("slopes", golden.rng.uniform(-0.5, 1.0, (6, 1, 1)).astype(np.float32))])
    n.add("ConvTranspose", [n.last, n.drawn("up.weight", 6, 4, 3, 3)], "up", strides=[2, 2], auto_pad="SAME_UPPER")
    n.add("HardSigmoid", [n.last], alpha=0.3, beta=0.45)
    n.add("Neg", [n.last])
    n.add("ConvTranspose", [n.last, n.drawn("out.weight", 4, 3, 4, 2), n.drawn("out.bias", 3)], "out", strides=[2, 2],
          pads=[1, 0, 3, 1], output_padding=[1, 0])
    n.add("Tanh", [n.last])
    n.add("AveragePool", [n.last], kernel_shape=[5, 4], strides=[5, 4])
    n.add("Flatten", [n.last])
    n.add("Gemm", [n.last, n.drawn("fc.weight", 7, 3 * 5 * 5), n.drawn("fc.bias", 7)], transB=1)
    n.add("LeakyRelu", [n.last])
    n.add("PRelu", [n.last, n.constant("each", golden.rng.uniform(0, 1, 7).astype(np.float32))])
    n.add("Gemm", [n.last, n.drawn("last.weight", 4, 7), n.drawn("last.bias", 4)], transB=1)
    n.add("HardSwish", [n.last])
    return n.model([4])


def sums():
    """Sums and differences of what is computed, of maps and of rows."""
    n = golden.Net(13, [3, 5, 4])
    a, b, c = (n.conv(name, 4, 3, size=2, x="image") for name in "abc")
    n.add("Sum", [a, b, c])
    n.add("Sub", [n.last, n.add("Sum", [b])])
    n.add("Relu", [n.last])
    rows = n.add("Flatten", [n.last])
    left = n.add("Gemm", [rows, n.drawn("left.weight", 5, 48)], "left", transB=1)
    right = n.add("Gemm", [rows, n.drawn("right.weight", 5, 48)], "right", transB=1)
    n.add("Sub", [left, right])
    return n.model([5])


def tables():
    """To be quantized: functions of one code each. Products have no ties: no average, whose halves are rounded by the
    order of the sums."""
    n = golden.Net(17, [3, 6, 5])
    n.conv("stem", 6, 3, pads=[1, 1, 1, 1])
    n.add("LeakyRelu", [n.last], alpha=0.2)
    n.conv("wide", 6, 6, size=1)
    n.add("HardSwish", [n.last])
    n.conv("deep", 6, 6)
    n.add("HardSigmoid", [n.last], alpha=0.25)
    n.add("Flatten", [n.last])
    n.add("Gemm", [n.last, n.drawn("fc.weight", 4, 6 * 4 * 3), n.drawn("fc.bias", 4)], transB=1)
    return n.model([4])


def row():
    """Maps of one row, n,c,w: every layer that has them, and what renames them."""
    n = golden.Net(17, [4, 21])

    def conv(name, filters, channels, taps, group=1, **more):
        x = [n.last, n.drawn(name + ".weight", filters, channels // group, taps), n.drawn(name + ".bias", filters)]
        return n.add("Conv", x, name, kernel_shape=[taps], group=group, **more)

    conv("stem", 8, 4, 5, strides=[2], pads=[3, 1])
    n.add("BatchNormalization", [n.last, n.drawn("bn.weight", 8, low=0.5), n.drawn("bn.bias", 8),
                                 n.drawn("bn.mean", 8), n.drawn("bn.var", 8, low=0.5)])
    n.add("Relu", [n.last])
    stem = n.last
    conv("each", 8, 8, 3, group=8, dilations=[2], pads=[2, 2])
    n.add("Add", [n.last, stem])
    n.add("Mul", [n.last, n.constant("gain", golden.rng.uniform(0.5, 1.5, (8, 1)).astype(np.float32))])
    n.add("Concat", [n.last, stem], axis=1)
    n.add("MaxPool", [n.last], kernel_shape=[3], strides=[2], ceil_mode=1)
    n.add("AveragePool", [n.last], kernel_shape=[2])
    body = n.last
    n.add("Softmax", [n.last], axis=1)
    n.add("Flatten", [n.last])
    whole = n.last
    n.add("GlobalAveragePool", [body])
    n.add("Squeeze", [n.last, n.ints("last", [2])])
    n.add("Concat", [whole, n.last, n.add("ReduceMean", [body], axes=[2], keepdims=0)], axis=1)
    n.add("Gemm", [n.last, n.drawn("fc.weight", 5, 96), n.drawn("fc.bias", 5)], transB=1)
    return n.model([5])


def row_last():
    """n,w,c, turned at once, and back before the matrix; a row that becomes a map."""
    n = golden.Net(13, [9, 2])
    n.add("Transpose", [n.last], perm=[0, 2, 1])
    n.add("Conv", [n.last, n.drawn("a", 4, 2, 3), n.drawn("b", 4)], pads=[1, 1])
    n.add("Unsqueeze", [n.last, n.ints("third", [2])])
    n.conv("map", 4, 4, size=1)
    n.add("Reshape", [n.last, n.ints("row", [0, 4, -1])])
    n.add("Transpose", [n.last], perm=[0, 2, 1])
    n.add("Flatten", [n.last])
    n.add("Gemm", [n.last, n.drawn("fc", 36, 3)])
    return n.model([3])


def row_codes():
    """To be quantized: what an integer program has of one row."""
    n = golden.Net(17, [4, 21])
    n.add("Conv", [n.last, n.drawn("stem.weight", 8, 4, 5), n.drawn("stem.bias", 8)], strides=[2], pads=[3, 1])
    n.add("Relu", [n.last])
    stem = n.last
    n.add("Conv", [n.last, n.drawn("each.weight", 8, 1, 3), n.drawn("each.bias", 8)], group=8, pads=[1, 1])
    n.add("Add", [n.last, stem])
    n.add("MaxPool", [n.last], kernel_shape=[2], strides=[2])
    n.add("Concat", [n.last, n.add("Sigmoid", [n.last])], axis=1)
    n.add("Flatten", [n.last])
    n.add("Gemm", [n.last, n.drawn("fc.weight", 5, 80), n.drawn("fc.bias", 5)], transB=1)
    return n.model([5])


def bent():
    """Of the size of the command's synthetic images, and ten classes: a layer's sums go through two functions."""
    n = golden.Net(17, [3, 32, 32])
    n.conv("a", 4, 3, strides=[4, 4], pads=[1, 1, 1, 1])
    n.add("LeakyRelu", [n.last], alpha=0.2)
    n.conv("b", 6, 4, strides=[2, 2])
    n.add("HardSwish", [n.last])
    n.add("Flatten", [n.add("GlobalAveragePool", [n.last])])
    n.add("Gemm", [n.last, n.drawn("fc.weight", 10, 6), n.drawn("fc.bias", 10)], transB=1)
    return n.model([10])


def quantized(model, path, form, kind, per_channel):
    onnx.save(model, path)
    quantize_static(path, path, golden.Reader(golden.draw(model, 32)), quant_format=form, activation_type=kind,
                    weight_type=QuantType.QInt8, per_channel=per_channel)
    return onnx.load(path)


def main(folder):
    os.makedirs(folder, exist_ok=True)
    at = lambda name: os.path.join(folder, name + ".onnx")
    nets, tensors = {"curves": curves(), "row": row(), "row_last": row_last(), "sums": sums()}, {}
    for name, model in nets.items():
        onnx.save(model, at(name))
    base = golden.branches()
    nets["tables"] = quantized(tables(), at("tables"), QuantFormat.QDQ, QuantType.QUInt8, False)
    nets["qoperator_u8"] = quantized(base, at("qoperator_u8"), QuantFormat.QOperator, QuantType.QUInt8, False)
    nets["qoperator_s8"] = quantized(base, at("qoperator_s8"), QuantFormat.QOperator, QuantType.QInt8, True)
    nets["row_u8"] = quantized(row_codes(), at("row_u8"), QuantFormat.QDQ, QuantType.QUInt8, False)
    for name, model in nets.items():
        x = golden.draw(model, golden.IMAGES)
        last = x[:, None] if name == "row_last" else np.moveaxis(x, 1, -1)
        tensors[name + ".x"] = last[:, None] if last.ndim == 3 else last
        tensors[name + ".y"] = golden.computed(at(name), x)
    onnx.save(bent(), at("bent"))
    golden.write_safetensors(os.path.join(folder, "operators.safetensors"), tensors)


if __name__ == "__main__":
    main(sys.argv[1])
