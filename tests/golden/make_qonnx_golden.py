#!/usr/bin/env python3
"""Writes small networks of QONNX's quantizers to a folder such as tests/golden/onnx, and what the package qonnx computes
of them; and one with QuantizeLinear, Clip and DequantizeLinear, which ONNX Runtime computes without graph optimisation.

Needs onnx, onnxruntime and qonnx (made with 1.23, 1.32 and 1.0); the tests need none. Numbers are drawn with a fixed seed.

    python3 make_qonnx_golden.py FOLDER

quant.safetensors has NAME.x, the images as N,H,W,C (n numbers as N,1,1,n), and NAME.y, the scores. The networks of layers
take pixels / 255.
"""
import json, struct, sys
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

IMAGES, OPSET = 4, 13
GENERAL, BREVITAS = "qonnx.custom_op.general", "onnx.brevitas"
rng = np.random.default_rng(7)


class Net:
    """A graph that grows; each method returns the name of what it makes."""

    def __init__(self, image):
        self.image, self.nodes, self.constants = image, [], []

    def constant(self, name, array, kind=np.float32):
        self.constants.append(numpy_helper.from_array(np.asarray(array, kind), name))
        return name

    def add(self, op, inputs, domain="", **attributes):
        out = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [out], name="node_" + out, domain=domain, **attributes))
        return out

    def quant(self, x, scale, bits, signed=1, narrow=0, zero=0.0, mode="ROUND", op="Quant", domain=GENERAL):
        n = len(self.nodes)
        inputs = [x, self.constant(f"s{n}", scale), self.constant(f"z{n}", zero), self.constant(f"b{n}", bits)]
        return self.add(op, inputs, domain, signed=signed, narrow=narrow, rounding_mode=mode)

    def bipolar(self, x, scale):
        return self.add("BipolarQuant", [x, self.constant(f"s{len(self.nodes)}", scale)], BREVITAS)

    def trunc(self, x, scale, bits, out_bits, mode="FLOOR", out_scale=None, **attributes):
        n = len(self.nodes)
        numbers = [scale, 0.0, bits] + ([] if out_scale is None else [out_scale]) + [out_bits]
        inputs = [x] + [self.constant(f"t{n}_{i}", v) for i, v in enumerate(numbers)]
        return self.add("Trunc", inputs, GENERAL, rounding_mode=mode, **attributes)

    def drawn(self, name, *shape, size=1.0):
        return self.constant(name, rng.uniform(-size, size, shape))

    def model(self, last, classes, version=1):
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1] + self.image)
        out = helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, classes])
        graph = helper.make_graph(self.nodes, "net", [image], [out], self.constants)
        sets = [helper.make_opsetid("", OPSET), helper.make_opsetid(GENERAL, version), helper.make_opsetid(BREVITAS, 1)]
        return helper.make_model(graph, opset_imports=sets, ir_version=7)


def modes():
    """Each rounding mode, on the same reals, many of which are ties; signed, unsigned, narrow, with zero points."""
    net = Net([3, 5, 4])
    rows = [("ROUND", 4, 1, 0, 0), ("HALF_UP", 4, 1, 1, 0), ("HALF_DOWN", 3, 0, 0, 0), ("CEIL", 4, 1, 0, 0),
            ("FLOOR", 5, 1, 0, 0), ("UP", 4, 0, 1, 0), ("DOWN", 6, 1, 0, 0), ("ROUND", 8, 0, 0, 113),
            ("ROUND", 16, 1, 0, 0), ("ROUND", 1, 0, 0, 0)]
    parts = [net.quant("image", 0.25, b, s, w, z, m, op="IntQuant" if i % 2 else "Quant") for i, (m, b, s, w, z) in enumerate(rows)]
    parts.append(net.bipolar("image", 0.5))
    parts.append(net.quant("image", np.array([0.25, 0.5, 0.125]).reshape(1, 3, 1, 1), 4))
    joined = net.add("Concat", parts, axis=1)
    classes = len(parts) * 60
    x = rng.integers(-40, 41, (IMAGES, 3, 5, 4)) / 8.0 + np.where(rng.random((IMAGES, 3, 5, 4)) < 0.3, 0.03, 0.0)
    return net.model(net.add("Flatten", [joined], axis=1), classes), x.astype(np.float32)


def layers():
    """A line on the image, convolutions with scales for each filter, signs, a batch norm, sums, lines, a matrix."""
    net = Net([3, 8, 8])
    two, half = net.constant("two", 2.0), net.constant("mid", [1.0])
    x = net.add("Sub", [net.add("Mul", ["image", two]), half])
    x = net.quant(x, 1 / 64, 8, narrow=1)
    w = net.quant(net.drawn("a.weight", 8, 3, 3, 3), rng.uniform(0.05, 0.2, (8, 1, 1, 1)), 4, narrow=1)
    bias = net.quant(net.drawn("a.bias", 8), 1 / 256, 12)
    x = net.add("Relu", [net.add("Conv", [x, w, bias], pads=[1, 1, 1, 1], kernel_shape=[3, 3])])
    a = net.quant(x, 0.09, 4, signed=0)
    w = net.bipolar(net.drawn("b.weight", 8, 1, 3, 3), 0.125)
    x = net.add("Conv", [a, w], group=8, pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    norm = [net.constant("bn." + k, rng.uniform(low, high, 8)) for k, low, high in
            (("weight", 0.5, 1.5), ("bias", -0.5, 0.5), ("mean", -0.2, 0.2), ("var", 0.1, 0.5))]
    norm[0] = net.constant("bn.turned", numpy_helper.to_array(net.constants[-4]) * np.where(np.arange(8) % 3, 1, -1))
    x = net.add("BatchNormalization", [x] + norm, epsilon=1e-5)
    x = net.quant(x, 0.09, 4, signed=0, zero=0.0)
    x = net.add("Add", [a, x])
    x = net.add("MaxPool", [net.quant(x, 0.2, 4, signed=0)], kernel_shape=[2, 2], strides=[2, 2])
    x = net.add("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2])
    x = net.quant(x, 0.11, 5, signed=0)
    w = net.quant(net.drawn("c.weight", 6, 8, 1, 1), 0.5, 2, narrow=1)
    x = net.add("Conv", [x, w], kernel_shape=[1, 1])
    x = net.add("Mul", [x, net.constant("factor", rng.uniform(0.2, 1.4, (1, 6, 1, 1)))])
    x = net.add("Add", [x, net.constant("shift", rng.uniform(-0.5, 0.5, (6, 1, 1)))])
    x = net.quant(x, 0.06, 6, zero=3.0)
    x = net.add("Flatten", [x], axis=1)
    w = net.quant(net.drawn("d.weight", 5, 24), rng.uniform(0.02, 0.05, (5, 1)), 6, op="IntQuant")
    x = net.add("MatMul", [x, net.add("Transpose", [w], perm=[1, 0])])
    x = net.add("Add", [x, net.drawn("d.bias", 5)])
    return net.model(x, 5), rng.integers(0, 256, (IMAGES, 3, 8, 8)).astype(np.float32) / np.float32(255)


def truncated(version):
    """Sums of codes that lose bits, as Brevitas writes its average pool."""
    net = Net([2, 4, 6])
    x = net.quant("image", 1 / 128, 7, signed=0)
    x = net.add("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2])
    x = net.add("Mul", [x, net.constant("cells", 4.0)])
    if version == 1:
        x = net.trunc(x, 1 / 128, 9, 6)
    else:
        x = net.trunc(x, 1 / 128, 9, 5, "ROUND", out_scale=1 / 32, signed=0, narrow=0)
    w = net.quant(net.drawn("a.weight", 4, 12), 0.25, 3)
    x = net.add("MatMul", [net.add("Flatten", [x], axis=1), net.add("Transpose", [w], perm=[1, 0])])
    return net.model(x, 4, version), rng.integers(0, 256, (IMAGES, 2, 4, 6)).astype(np.float32) / np.float32(255)


def pairs():
    """Codes of 8 bits with fewer in use, and reals between them: a batch norm, a pool and the scores."""
    net = Net([2, 6, 6])

    def codes(x, scale, zero, low, high, kind):
        n = len(net.nodes)
        grid = [net.constant(f"s{n}", scale), net.constant(f"z{n}", zero, kind)]
        limits = [net.constant(f"l{n}", low, kind), net.constant(f"h{n}", high, kind)]
        return net.add("DequantizeLinear", [net.add("Clip", [net.add("QuantizeLinear", [x] + grid)] + limits)] + grid)

    x = codes("image", 1 / 31, 0, 0, 31, np.uint8)
    stored = net.constant("a.weight", rng.integers(-7, 8, (4, 2, 3, 3)), np.int8)
    scales = net.constant("a.scale", rng.uniform(0.05, 0.1, 4))
    w = net.add("DequantizeLinear", [stored, scales, net.constant("a.zero", [0] * 4, np.int8)], axis=0)
    x = net.add("Conv", [x, w, net.drawn("a.bias", 4)], kernel_shape=[3, 3])
    norm = [net.constant("bn." + k, rng.uniform(low, high, 4)) for k, low, high in
            (("weight", 0.5, 1.5), ("bias", -0.5, 0.5), ("mean", -0.2, 0.2), ("var", 0.5, 1.5))]
    x = codes(net.add("BatchNormalization", [x] + norm), 0.13, 2, -5, 9, np.int8)
    w = codes(net.drawn("b.weight", 3, 64), 0.15, 0, -7, 7, np.int8)
    x = net.add("Gemm", [net.add("Flatten", [x], axis=1), w, net.drawn("b.bias", 3)], transB=1)
    return net.model(x, 3), rng.integers(0, 256, (IMAGES, 2, 6, 6)).astype(np.float32) / np.float32(255)


def by_qonnx(model, x):
    wrapped = ModelWrapper(model).transform(InferShapes())
    out = wrapped.graph.output[0].name
    return np.concatenate([execute_onnx(wrapped, {"image": x[i : i + 1]})[out] for i in range(len(x))])


def by_onnxruntime(model, x):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return np.concatenate([session.run(None, {"image": x[i : i + 1]})[0] for i in range(len(x))])


def save(path, arrays):
    header, data = {}, b""
    for name, array in arrays.items():
        raw = np.ascontiguousarray(array, np.float32).tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def main():
    folder, arrays = sys.argv[1], {}
    nets = {"quant_modes": (modes(), by_qonnx), "quant_layers": (layers(), by_qonnx),
            "quant_trunc_1": (truncated(1), by_qonnx), "quant_trunc_2": (truncated(2), by_qonnx),
            "qcdq": (pairs(), by_onnxruntime)}
    for name, ((model, x), run) in nets.items():
        onnx.save(model, f"{folder}/{name}.onnx")
        arrays[name + ".x"] = x.transpose(0, 2, 3, 1)
        arrays[name + ".y"] = run(model, x)
        print(name, arrays[name + ".y"].shape, len(model.SerializeToString()), "bytes")
    save(f"{folder}/quant.safetensors", arrays)


main()
