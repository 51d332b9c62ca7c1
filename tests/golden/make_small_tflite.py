"""Writes small.tflite, which tests/formats/test_tflite.c reads: a file by another writer, FlatBuffers' own for Python.

   python3 tests/golden/make_small_tflite.py tests/golden/small.tflite      needs ai-edge-litert and flatbuffers
"""
import sys

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema


def quantization(scales, zeros, axis=0):
    q = schema.QuantizationParametersT()
    q.scale, q.zeroPoint, q.quantizedDimension = scales, zeros, axis
    return q


def tensor(name, kind, shape, buffer, q=None, signature=None):
    t = schema.TensorT()
    t.name, t.type, t.shape, t.buffer, t.quantization, t.shapeSignature = name, kind, shape, buffer, q, signature
    t.hasRank = True
    return t


def buffer(data):
    b = schema.BufferT()
    b.data = None if data is None else list(data.tobytes())
    return b


def code(value, version):
    c = schema.OperatorCodeT()
    c.deprecatedBuiltinCode = c.builtinCode = value
    c.version = version
    return c


def operator(index, inputs, outputs, kind=0, options=None):
    o = schema.OperatorT()
    o.opcodeIndex, o.inputs, o.outputs, o.builtinOptionsType, o.builtinOptions = index, inputs, outputs, kind, options
    return o


def model():
    conv = schema.Conv2DOptionsT()
    conv.padding, conv.strideH, conv.strideW = schema.Padding.VALID, 2, 1
    conv.fusedActivationFunction = schema.ActivationFunctionType.RELU6
    reshape = schema.ReshapeOptionsT()
    reshape.newShape = [1, 8]
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    graph = schema.SubGraphT()
    kinds, one = schema.TensorType, [-1, 3, 2, 1]
    graph.tensors = [
        tensor('image', kinds.INT8, [1, 3, 2, 1], 0, quantization([0.5], [-3]), one),
        tensor('filter', kinds.INT8, [2, 1, 1, 1], 1, quantization([0.25, 0.125], [0, 0])),
        tensor('bias', kinds.INT32, [2], 2, quantization([0.125, 0.0625], [0, 0])),
        tensor('sums', kinds.INT8, [1, 2, 2, 2], 0, quantization([0.0625], [-128])),
        tensor('flat', kinds.INT8, [1, 8], 0, quantization([0.0625], [-128])),
        tensor('scores', kinds.INT8, [1, 8], 0, quantization([0.00390625], [-128])),
    ]
    graph.operators = [operator(0, [0, 1, 2], [3], schema.BuiltinOptions.Conv2DOptions, conv),
                       operator(1, [3], [4], schema.BuiltinOptions.ReshapeOptions, reshape),
                       operator(2, [4], [5], schema.BuiltinOptions.SoftmaxOptions, softmax)]
    graph.inputs, graph.outputs, graph.name = [0], [5], 'main'
    m = schema.ModelT()
    m.version, m.description, m.subgraphs = 3, 'by another writer', [graph]
    m.operatorCodes = [code(3, 3), code(22, 1), code(25, 2)]
    m.buffers = [buffer(None), buffer(np.array([127, -127], np.int8)), buffer(np.array([70000, -5], np.int32))]
    return m


builder = flatbuffers.Builder(1024)
builder.Finish(model().Pack(builder), b'TFL3')
with open(sys.argv[1], 'wb') as file:
    file.write(builder.Output())
