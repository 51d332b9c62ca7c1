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
    nets, tensors = {"curves": curves()}, {}
    onnx.save(nets["curves"], at("curves"))
    base = golden.branches()
    nets["tables"] = quantized(tables(), at("tables"), QuantFormat.QDQ, QuantType.QUInt8, False)
    nets["qoperator_u8"] = quantized(base, at("qoperator_u8"), QuantFormat.QOperator, QuantType.QUInt8, False)
    nets["qoperator_s8"] = quantized(base, at("qoperator_s8"), QuantFormat.QOperator, QuantType.QInt8, True)
    for name, model in nets.items():
        x = golden.draw(model, golden.IMAGES)
        tensors[name + ".x"] = x.transpose(0, 2, 3, 1)
        tensors[name + ".y"] = golden.computed(at(name), x)
    onnx.save(bent(), at("bent"))
    golden.write_safetensors(os.path.join(folder, "operators.safetensors"), tensors)


if __name__ == "__main__":
    main(sys.argv[1])
