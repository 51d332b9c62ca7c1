#!/usr/bin/env python3
"""Writes the small ONNX files of tests/golden/onnx, and what ONNX Runtime computes of them, without graph optimisation.

Needs onnx and onnxruntime (made with 1.23 and 1.32); the tests need neither. Networks are drawn with a fixed seed.

    python3 make_onnx_golden.py FOLDER

expected.safetensors has NAME.x, the images as N,H,W,C (n numbers as N,1,1,n), and NAME.y, the scores.
"""
import json, os, struct, sys
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

IMAGES = 4
rng = np.random.default_rng(20)


class Net:
    """A graph that grows; `last` is the value that the last node made."""

    def __init__(self, opset, image, batch="N"):
        self.opset, self.image, self.batch = opset, image, batch
        self.nodes, self.constants, self.last = [], [], "image"

    def constant(self, name, array):
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def ints(self, name, values):
        return self.constant(name, np.array(values, np.int64))

    def drawn(self, name, *shape, low=None):
        scale = 1.0 if len(shape) == 1 else 1.5 / np.sqrt(np.prod(shape[1:]))
        array = rng.standard_normal(shape) * scale if low is None else rng.uniform(low, low + 1.0, shape)
        return self.constant(name, array.astype(np.float32))

    def add(self, op, inputs, name=None, **attributes):
        out = name or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [out], name="node_" + out, **attributes))
        self.last = out
        return out

    def conv(self, name, filters, channels, size=3, x=None, bias=True, group=1, weight=None, **attributes):
        inputs = [x or self.last, self.drawn(weight or name + ".weight", filters, channels // group, size, size)]
        if bias:
            inputs.append(self.drawn(name + ".bias", filters))
        return self.add("Conv", inputs, name, kernel_shape=[size, size], group=group, **attributes)

    def codes(self, x, scale, zero, kind=np.uint8, axis=None):
        """QuantizeLinear and DequantizeLinear of a value."""
        name = f"{x}_{len(self.nodes)}"
        grid = [self.constant(name + "_scale", np.array(scale, np.float32)), self.constant(name + "_zero", np.array(zero, kind))]
        along = {} if axis is None else {"axis": axis}
        self.add("QuantizeLinear", [x] + grid, **along)
        return self.add("DequantizeLinear", [self.last] + grid, **along)

    def model(self, classes, kind=TensorProto.FLOAT):
        x = helper.make_tensor_value_info("image", kind, [self.batch] + self.image)
        y = helper.make_tensor_value_info(self.last, TensorProto.FLOAT, [self.batch] + classes)
        graph = helper.make_graph(self.nodes, "net", [x], [y], self.constants)
        ir = {7: 3, 11: 6, 13: 7, 17: 8, 20: 9}[self.opset]
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=ir)
        made.producer_name = "make_onnx_golden"
        onnx.checker.check_model(made)
        return made


def windows():
    """Convolutions of every attribute, pools, sums, joined maps; odd sizes; a matrix that is not turned."""
    n = Net(17, [3, 11, 9])
    n.conv("stem", 6, 3, strides=[2, 1], pads=[1, 0, 2, 1])
    n.add("Relu", [n.last])
    stem = n.last
    n.conv("each", 12, 6, group=6, dilations=[2, 1], pads=[2, 1, 2, 1], bias=False)
    n.add("Clip", [n.last, n.constant("low", np.float32(0)), n.constant("high", np.float32(1.5))])
    n.conv("lower", 6, 12, size=2, auto_pad="SAME_LOWER", group=2)
    n.add("Add", [n.last, stem])
    n.conv("upper", 6, 6, size=4, auto_pad="SAME_UPPER")
    whole = n.last
    a = n.add("MaxPool", [whole], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0], ceil_mode=1)
    b = n.add("AveragePool", [whole], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    c = n.add("AveragePool", [whole], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 1, 1, 1])
    n.add("Concat", [b, c], axis=1)
    n.add("Clip", [n.last, "", n.constant("most", np.float32(2))])
    n.add("Flatten", [n.last])
    rows = n.last
    n.add("Flatten", [n.add("GlobalMaxPool", [a])])
    n.add("Concat", [rows, n.last], axis=1)
    n.add("Gemm", [n.last, n.drawn("head", 12 * 3 * 5 + 6, 4), n.drawn("shift", 1, 4)], alpha=0.5, beta=2.0)
    n.add("Softmax", [n.last], axis=-1)
    return n.model([4])


def shortcut():
    """The shortcut without projection: strided slices, and channels of zeros by a chain of constants, as PyTorch's
    exporters write them; then a view by a shape that is computed."""
    n = Net(13, [4, 8, 6], batch=1)
    n.conv("a", 8, 4, strides=[2, 2], pads=[1, 1, 1, 1])
    body = n.last
    for axis, start, end in ((2, 0, 2**63 - 1), (3, 0, 2**63 - 1)):
        n.add("Slice", ["image" if axis == 2 else n.last, n.ints(f"start{axis}", [start]), n.ints(f"end{axis}", [end]),
                        n.ints(f"axis{axis}", [axis]), n.ints(f"step{axis}", [2])])
    cut = n.last
    zeros = n.add("ConstantOfShape", [n.ints("two", [2])], value=helper.make_tensor("v", TensorProto.INT64, [1], [0]))
    n.add("Concat", [n.ints("pairs", [0, 0, 0, 0, 2, 2]), zeros], axis=0)
    n.add("Reshape", [n.last, n.ints("columns", [-1, 2])])
    n.add("Slice", [n.last, n.ints("from", [-1]), n.ints("to", [-(2**63) + 1]), n.ints("rows", [0]), n.ints("back", [-1])])
    n.add("Transpose", [n.last], perm=[1, 0])
    n.add("Reshape", [n.last, n.ints("row", [-1])])
    pads = n.add("Cast", [n.last], to=TensorProto.INT64)
    n.add("Pad", [cut, pads, ""], mode="constant")
    n.add("Add", [body, n.last])
    n.add("Relu", [n.last])
    whole = n.last
    n.add("Pad", [whole, n.ints("around", [0, 0, 1, 0, 0, 0, 0, 1])])
    n.conv("b", 8, 8, size=2)
    n.add("Slice", [n.last, n.ints("s", [1, 1, 0]), n.ints("e", [-1, 4, 2]), n.ints("x", [1, 2, 3]), n.ints("w", [2, 1, 1])])
    n.add("AveragePool", [n.last], kernel_shape=[3, 2], strides=[1, 1])
    batch = n.add("Gather", [n.add("Shape", ["image"]), n.constant("zeroth", np.int64(0))], axis=0)
    first = n.add("Unsqueeze", [batch, n.ints("front", [0])])
    n.add("Concat", [first, n.ints("rest", [-1])], axis=0)
    n.add("Reshape", ["averagepool_%d" % (len(n.nodes) - 5), n.last])
    n.add("Gemm", [n.last, n.drawn("fc.weight", 5, 3), n.drawn("fc.bias", 5)], transB=1)
    return n.model([5])


def channels_last():
    """A network of TensorFlow's order: the image is turned at once; batch norm, a gate, constants beside maps."""
    n = Net(20, [6, 5, 3])
    n.add("Transpose", ["image"], perm=[0, 3, 1, 2])
    n.add("Sub", [n.last, n.constant("mean", np.array([0.1, -0.2, 0.3], np.float32).reshape(3, 1, 1))])
    n.add("Div", [n.last, n.constant("std", np.array([0.5, 2.0, 1.5], np.float32).reshape(1, 3, 1, 1))])
    n.conv("conv", 6, 3, pads=[1, 1, 1, 1], bias=False, weight="onnx::Conv_7")
    n.nodes[-1].name = "/block/block.1/Conv"
    n.add("BatchNormalization", [n.last, n.drawn("bn.weight", 6, low=0.5), n.drawn("bn.bias", 6),
                                 n.drawn("bn.running_mean", 6), n.drawn("bn.running_var", 6, low=0.5)], epsilon=1e-3)
    n.add("Relu", [n.last])
    maps = n.last
    n.add("ReduceMean", [maps, n.ints("sides", [-1, 2])], keepdims=1)
    n.conv("gate", 6, 6, size=1)
    n.add("Sigmoid", [n.last])
    n.add("Mul", [n.last, maps])
    n.add("Sub", [n.constant("one", np.float32(1)), n.last])
    n.add("Mul", [n.last, n.constant("half", np.float32(0.5))])
    n.add("Softmax", [n.last], axis=1)
    n.add("Transpose", [n.last], perm=[0, 2, 3, 1])
    n.add("Flatten", [n.last])
    rows = n.last
    matrix = n.add("Transpose", [n.drawn("turned", 4, 180)], perm=[1, 0])
    n.add("Identity", [n.add("MatMul", [rows, matrix])])
    return n.model([4])


def features():
    """No image: 16 numbers; matrices and their biases, an opset of 2019."""
    n = Net(11, [16])
    n.add("MatMul", [n.last, n.drawn("a", 16, 10)])
    n.add("Add", [n.constant("a_bias", rng.standard_normal(10).astype(np.float32)), n.last])
    n.add("BatchNormalization", [n.last] + [n.drawn("bn" + p, 10, low=0.3) for p in ("w", "b", "m", "v")])
    n.add("Sigmoid", [n.last])
    n.add("Dropout", [n.last], ratio=0.5)
    n.add("Mul", [n.last, n.constant("each", np.linspace(-1, 1, 10).astype(np.float32))])
    n.add("Unsqueeze", [n.last], axes=[2])
    n.add("Squeeze", [n.last], axes=[2])
    n.add("Gemm", [n.last, n.drawn("b", 3, 10)], transB=1)
    n.add("Softmax", [n.last], axis=1)
    return n.model([3])


def odd():
    """Rows that become a map, weights that are codes, eight joined maps, constants that are listed as inputs, and a
    batch of two, which means nothing here."""
    n = Net(13, [36], batch=2)
    n.add("Reshape", [n.last, n.ints("map", [0, 4, 3, 3])])
    codes = n.constant("codes", rng.integers(-128, 128, (6, 4, 2, 2)).astype(np.int8))
    scale = n.constant("scales", rng.uniform(0.002, 0.01, 6).astype(np.float32))
    zero = n.constant("zeros", rng.integers(-5, 5, 6).astype(np.int8))
    map_ = n.nodes[-1].output[0]
    real = n.add("DequantizeLinear", [codes, scale, zero], axis=0)
    n.add("Conv", [map_, real], strides=[1, 1])
    parts = [n.add("MaxPool", [n.last], kernel_shape=[2, 2], auto_pad="SAME_UPPER")]
    for i in range(7):
        parts.append(n.add("Clip", [parts[0], n.constant(f"low{i}", np.float32(-0.1 * i - 0.01)),
                                    n.constant(f"high{i}", np.float32(0.1 * i + 0.01))]))
    n.add("Concat", parts, axis=-3)
    n.add("AveragePool", [n.last], kernel_shape=[2, 2])
    n.add("Squeeze", [n.last, n.ints("sides", [2, 3])])
    n.add("Gemm", [n.last, n.drawn("fc", 48, 3)])
    made = n.model([3])
    for c in n.constants:
        made.graph.input.append(helper.make_tensor_value_info(c.name, c.data_type, list(c.dims)))
    return made


def by_hand():
    """Codes that quantizers of PyTorch make: the file takes bytes, weights are reals behind both operators, or bytes
    around 128; a shortcut by Slice and Pad, a Relu between codes, a mean of another scale, biases of reals."""
    n = Net(13, [2, 6, 6])
    grid = [n.constant("image_scale", np.float32(0.02)), n.constant("image_zero", np.uint8(120))]
    image = n.add("DequantizeLinear", [n.last] + grid)
    w = n.drawn("stem.weight", 4, 2, 3, 3)
    scales = np.abs(rng.uniform(0.004, 0.008, 4)).astype(np.float32)
    w = n.codes(w, scales, np.zeros(4), np.int8, axis=0)
    n.add("Conv", [image, w, n.drawn("stem.bias", 4)], strides=[2, 2], pads=[1, 1, 1, 1])
    body = n.codes(n.last, 0.03, 131)
    for axis in (2, 3):
        x = image if axis == 2 else n.last
        n.add("Slice", [x, n.ints(f"s{axis}", [1]), n.ints(f"e{axis}", [6]), n.ints(f"a{axis}", [axis]), n.ints(f"t{axis}", [2])])
    cut = n.codes(n.last, 0.02, 120)
    n.add("Pad", [cut, n.ints("around", [0, 1, 0, 0, 0, 1, 0, 0])])
    wide = n.codes(n.last, 0.02, 120)
    n.add("Sub", [body, wide])
    n.add("Relu", [n.codes(n.last, 0.05, 100)])
    both = n.codes(n.last, 0.03, 0)
    n.add("ReduceMean", [both], axes=[2, 3], keepdims=1)
    gate = n.codes(n.last, 0.02, 3)
    n.add("Concat", [both, both, both, both, body, wide, both], axis=1)
    joined = n.codes(n.last, 0.035, 60)
    n.add("AveragePool", [joined], kernel_shape=[3, 2], strides=[1, 1])
    mean = n.codes(n.last, 0.0307, 20)
    rows = n.add("Flatten", [mean])
    matrix = n.constant("matrix", rng.integers(20, 240, (56, 4)).astype(np.uint8))
    real = n.add("DequantizeLinear", [matrix, n.constant("matrix_scale", np.float32(0.0021)), n.constant("middle", np.uint8(128))])
    n.add("MatMul", [rows, real])
    n.add("Add", [n.last, n.drawn("shift", 4)])
    left = n.codes(n.last, 0.06, 128)
    right = n.add("Flatten", [gate])
    n.add("Mul", [left, right])
    n.add("Tanh", [n.codes(n.last, 0.031, 128)])
    n.codes(n.last, 1 / 128, 128)
    return n.model([4], TensorProto.UINT8)


def branches():
    """To be quantized: what an integer program has. No average of a window, whose halves ONNX Runtime rounds by the
    order of its sums."""
    n = Net(17, [3, 9, 8])
    n.conv("stem", 8, 3, strides=[2, 2], pads=[1, 1, 1, 1])
    n.add("Relu", [n.last])
    stem = n.last
    n.conv("each", 8, 8, group=8, pads=[1, 1, 1, 1])
    n.add("Clip", [n.last, n.constant("low", np.float32(0)), n.constant("high", np.float32(6))])
    n.conv("point", 8, 8, size=1, bias=False)
    n.add("Add", [n.last, stem])
    whole = n.last
    n.add("MaxPool", [whole], kernel_shape=[2, 2], strides=[1, 1])
    pooled = n.last
    n.conv("side", 4, 8, size=2, x=whole)
    n.add("Sigmoid", [n.last])
    n.add("Concat", [n.last, pooled], axis=1)
    n.conv("last", 6, 12, size=2, pads=[0, 1, 0, 0])
    n.add("Flatten", [n.last])
    n.add("Gemm", [n.last, n.drawn("fc.weight", 5, 6 * 3 * 3), n.drawn("fc.bias", 5)], transB=1)
    n.add("Softmax", [n.last], axis=-1)
    return n.model([5])


def small():
    """Of the size of the command's synthetic images, and ten classes."""
    n = Net(17, [3, 32, 32])
    n.conv("stem", 4, 3, size=5, strides=[4, 4], pads=[2, 2, 1, 1])
    n.add("Relu", [n.last])
    n.conv("wide", 6, 4, strides=[2, 2])
    n.add("Relu", [n.last])
    n.add("Flatten", [n.add("GlobalAveragePool", [n.last])])
    n.add("Gemm", [n.last, n.drawn("fc.weight", 10, 6), n.drawn("fc.bias", 10)], transB=1)
    return n.model([10])


def draw(model, n):
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    return rng.uniform(-1, 1, [n] + shape).astype(np.float32)


def as_taken(session, x):
    """One image as the file takes it: in a batch, and as bytes of the grid of by_hand where it takes bytes."""
    image = session.get_inputs()[0]
    batch = image.shape[0] if isinstance(image.shape[0], int) else 1
    x = np.stack([x] * batch)
    return x if image.type == "tensor(float)" else (np.rint(x / np.float32(0.02)) + 120).clip(0, 255).astype(np.uint8)


class Reader(CalibrationDataReader):
    def __init__(self, images):
        self.images = iter([{"image": x[None]} for x in images])

    def get_next(self):
        return next(self.images, None)


def quantized(model, path, kind, symmetric, per_channel):
    onnx.save(model, path)
    quantize_static(path, path, Reader(draw(model, 32)), quant_format=QuantFormat.QDQ, activation_type=kind,
                    weight_type=QuantType.QInt8, per_channel=per_channel,
                    extra_options={"ActivationSymmetric": symmetric})
    return onnx.load(path)


def computed(path, x):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return np.stack([session.run(None, {"image": as_taken(session, one)})[0][0].reshape(-1) for one in x])


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, array in tensors.items():
        raw = np.ascontiguousarray(array).astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def main(folder):
    os.makedirs(folder, exist_ok=True)
    nets = {"windows": windows(), "shortcut": shortcut(), "channels_last": channels_last(), "features": features(),
            "odd": odd(), "by_hand": by_hand()}
    tensors = {}
    for name, model in nets.items():
        onnx.save(model, os.path.join(folder, name + ".onnx"))
    outside = os.path.join(folder, "outside.onnx")
    if os.path.exists(os.path.join(folder, "outside.data")):
        os.remove(os.path.join(folder, "outside.data"))  # onnx appends to it
    onnx.save(nets["features"], outside, save_as_external_data=True, location="outside.data", size_threshold=64)
    nets["outside"] = nets["features"]
    nets["small"] = small()
    onnx.save(nets["small"], os.path.join(folder, "small.onnx"))
    nets["small_u8"] = quantized(nets["small"], os.path.join(folder, "small_u8.onnx"), QuantType.QUInt8, False, False)
    base = branches()
    for name, kind, symmetric, per_channel in (("qdq_s8", QuantType.QInt8, False, True),
                                               ("qdq_u8", QuantType.QUInt8, False, False),
                                               ("qdq_symmetric", QuantType.QInt8, True, True)):
        nets[name] = quantized(base, os.path.join(folder, name + ".onnx"), kind, symmetric, per_channel)
    for name, model in nets.items():
        x = draw(model, IMAGES)
        is_turned = x.ndim == 4 and name != "channels_last"
        if name.startswith("small"):
            continue  # the command's tests have these
        tensors[name + ".x"] = x.transpose(0, 2, 3, 1) if is_turned else x.reshape(IMAGES, *(1, 1)[: 4 - x.ndim], *x.shape[1:])
        tensors[name + ".y"] = computed(os.path.join(folder, name + ".onnx"), x)
    write_safetensors(os.path.join(folder, "expected.safetensors"), tensors)


if __name__ == "__main__":
    main(sys.argv[1])
