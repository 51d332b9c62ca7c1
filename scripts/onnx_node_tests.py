#!/usr/bin/env python3
"""Runs the tests of operators that the package `onnx` ships through `detent predict`, and compares what both compute.

    python3 scripts/onnx_node_tests.py PATH_OF_DETENT [--verbose] [--all] [--only WORDS] [--least N]

A test is a file of few nodes with inputs and recorded outputs. Its first input becomes the image, and its other inputs
become constants, as in a network. Outputs may differ by 1e-4 of their value. Each test passes, is refused by detent in
one line for which REASONS has a reason, or fails. The exit code is 1 if a test fails or fewer than --least pass, and 77
if Python has no onnx.

Tests are run whose operators are all in SUPPORTED; --all runs the others too, which must be refused in one line.
"""
import argparse, collections, contextlib, fnmatch, glob, json, os, re, struct, subprocess, sys, tempfile, warnings

try:
    import numpy as np
    import onnx
    from onnx import numpy_helper
except ImportError as missing:
    print(f"[SKIP] the node tests: {sys.executable} has no {missing.name}; DETENT_PYTHON names one that has")
    sys.exit(77)

SUPPORTED = set("""
    Add AveragePool BatchNormalization Clip Concat Constant Conv ConvTranspose DequantizeLinear Div Dropout Flatten Gemm
    GlobalAveragePool GlobalMaxPool HardSigmoid HardSwish Identity LeakyRelu MatMul MaxPool Mul Neg PRelu Pad
    QLinearConv QLinearMatMul QuantizeLinear ReduceMean Relu Reshape Sigmoid Slice Softmax Squeeze Sub Sum Tanh Transpose
    Unsqueeze
    """.split())

# Recorded with four digits.
SHORT = {"test_averagepool_2d_ceil_last_window_starts_on_pad"}

# Lines by which detent refuses, and why that is right. A test that is refused otherwise has failed.
REASONS = [
    (r"the input '.*' has 1 dimensions", "an input without a batch"),
    (r"the input '.*' has [56] dimensions", "maps of three dimensions"),
    (r"the input '.*' is (no type|U?INT\d+|DOUBLE|FLOAT\d\w*);", "arithmetic on other types than FLOAT"),
    (r"is FLOAT16; understood is FLOAT", "numbers of 16 bits"),
    (r"\d inputs that are no constants, and \d outputs", "several inputs or outputs, or codes of fewer bits"),
    (r"is 2 dimensions; understood are one|\d+ constant numbers of \d dimensions", "a constant for each cell or column"),
    (r"input 1, '.*', is constant; understood is one that is computed", "constants joined to what is computed"),
    (r"along axis 0 of \d dimensions", "images joined to a batch"),
    (r"the first dimension of what it makes is", "a batch that moves"),
    (r"12 elements do not fit the new shape", "a shape with a dimension of 0"),
    (r"dilations are", "pools and transposed convolutions with gaps"),
    (r"ConvTranspose .*: (strides are|\d groups|filters of 3 dim|for an output of)", "transposed convolutions of other kinds"),
    (r"training_mode, input 2, is not false", "a Dropout that trains"),
    (r"transA is 1", "a matrix that is turned by its batch"),
    (r"MatMul .*: \d dimensions by \d", "products of more than a matrix and rows"),
    (r"it pads with|mode is '(reflect|edge)'", "pads of other values than 0"),
    (r"\d scales of what is computed|block_size is", "scales of a channel or a block of activations"),
    (r"a weight is -?\d+ beside its zero point", "weights of 9 bits"),
    (r"a mean over the axes of the bits", "means over other axes than those of the map"),
    (r"Slice .*: input 0 has [23] dimensions", "parts of what is no map"),
    (r"Softmax .*: over axis", "a softmax over other axes than the channels"),
    (r"an order of \d dimensions, .* that moves numbers", "numbers that move"),
    (r"Gemm .*: input 2 is computed", "a bias that is computed"),
]


def tests_of_code():
    """The node tests, which the package makes anew: name, model, inputs, outputs."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    for case in cases:
        for inputs, outputs in case.data_sets or []:
            yield case.name, case.model, [as_array(x) for x in inputs], [as_array(y) for y in outputs]


def tests_of_files():
    """The tests that lie in folders."""
    data = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data")
    for path in sorted(glob.glob(os.path.join(data, "*", "*", "model.onnx"))):
        folder = os.path.dirname(path)
        model, name = onnx.load(path), os.path.basename(folder)
        for data_set in sorted(glob.glob(os.path.join(folder, "test_data_set_*"))):
            yield name, model, read(data_set, "input"), read(data_set, "output")


def as_array(x):
    """An array, or what is none as it is: a sequence."""
    return np.asarray(x) if isinstance(x, np.generic) else x


def read(folder, what):
    """The tensors WHAT_0.pb, WHAT_1.pb .. of a folder; None stands for what is no tensor."""
    arrays = []
    while os.path.exists(path := os.path.join(folder, f"{what}_{len(arrays)}.pb")):
        with open(path, "rb") as file:
            try:
                arrays.append(numpy_helper.to_array(onnx.TensorProto.FromString(file.read())))
            except Exception:  # a sequence
                arrays.append(None)
    return arrays


def with_constants(model, inputs):
    """The model with all inputs but the first as constants."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    ends = list(made.graph.input)
    there = {t.name for t in made.graph.initializer}
    free = [e for e in ends if e.name not in there]
    for end, array in list(zip(free, inputs))[1:]:
        if isinstance(array, np.ndarray):
            made.graph.initializer.append(numpy_helper.from_array(array, end.name))
            made.graph.input.remove(end)
    return made


def grid_of(model, value, as_output):
    """Scale and zero point of the codes that a value is, from the node that makes or reads it."""
    numbers = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        names = list(node.output if as_output else node.input)
        if value not in names:
            continue
        at = 1 if node.op_type in ("QuantizeLinear", "DequantizeLinear") else 6 if as_output else names.index(value) + 1
        scale = numbers[node.input[at]]
        zero = numbers[node.input[at + 1]] if at + 1 < len(node.input) and node.input[at + 1] in numbers else 0
        return scale.astype(np.float64), np.asarray(zero).astype(np.float64)
    return 1.0, 0.0


def reals(model, end, array, as_output):
    """An input or output as reals: codes by their grid."""
    if array.dtype.kind not in "iu":
        with np.errstate(over="ignore"):  # of doubles, which detent refuses
            return array.astype(np.float32)
    try:
        scale, zero = grid_of(model, end.name, as_output)
        return ((array.astype(np.float64) - zero) * scale).astype(np.float32)
    except (IndexError, KeyError, ValueError):  # it is no code, or detent refuses it
        return array.astype(np.float32)


def as_image(model, x):
    """An image as N,H,W,C. Of three dimensions it has channels if a layer reads it that has maps of one row."""
    rows = ("Conv", "MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", "BatchNormalization")
    first = next((n.op_type for n in model.graph.node if model.graph.input[0].name in n.input), "")
    if x.ndim == 3 and first in rows:
        return x.transpose(0, 2, 1)[:, None]
    turned = [n for n in model.graph.node if n.op_type == "Transpose" and model.graph.input[0].name in n.input]
    order = [list(a.ints) for n in turned for a in n.attribute if a.name == "perm"]
    if x.ndim == 4 and order != [[0, 3, 1, 2]]:
        return x.transpose(0, 2, 3, 1)
    return x.reshape(x.shape[:1] + (1,) * (4 - x.ndim) + x.shape[1:]) if 1 <= x.ndim < 4 else x.reshape(1, 1, 1, -1)


def write_safetensors(path, name, array):
    raw = np.ascontiguousarray(array).astype("<f4").tobytes()
    text = json.dumps({name: {"dtype": "F32", "shape": list(array.shape), "data_offsets": [0, len(raw)]}}).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + raw)


def read_scores(path):
    with open(path, "rb") as file:
        data = file.read()
    start = 8 + int.from_bytes(data[:8], "little")
    at = json.loads(data[8:start])["scores"]["data_offsets"]
    return np.frombuffer(data[start + at[0] : start + at[1]], np.float32)


def run(detent, model, inputs, outputs, is_short):
    """What becomes of a test, and the line that says why."""
    made = with_constants(model, inputs)
    onnx.save(made, "net.onnx")
    if made.graph.input and isinstance(inputs[0], np.ndarray) and inputs[0].dtype.kind in "fiu" and inputs[0].size:
        write_safetensors("x.safetensors", "x", as_image(made, reals(made, made.graph.input[0], inputs[0], False)))
    else:
        write_safetensors("x.safetensors", "x", np.zeros((1, 1, 1, 1), np.float32))
    with contextlib.suppress(FileNotFoundError):
        os.remove("y.safetensors")
    done = subprocess.run([detent, "predict", "net.onnx", "--inputs", "x.safetensors:x", "--out", "y.safetensors",
                           "--device", "cpu", "--threads", "1"], capture_output=True, text=True, timeout=60)
    line = done.stderr.strip()
    if done.returncode == 1 and line and "\n" not in line:
        return "refused", re.sub(r"^detent[^:]*: ", "", line)
    if done.returncode != 0:
        return "failed", f"exit code {done.returncode}: {line}"
    if not isinstance(outputs[0], np.ndarray):
        return "failed", "it is computed, and its output is no tensor"
    wanted = reals(made, made.graph.output[0], outputs[0], True).reshape(-1)
    scores = read_scores("y.safetensors")
    if scores.shape != wanted.shape:
        return "failed", f"{scores.size} numbers, recorded are {wanted.size}"
    limit = 2e-7 + (1e-3 if is_short else 1e-4) * np.abs(wanted)
    apart = np.abs(scores - wanted)
    if not np.all((apart <= limit) | (scores == wanted)):
        worst = int(np.argmax(np.nan_to_num(apart - limit, nan=np.inf)))
        return "failed", f"number {worst} is {scores[worst]:.9g}, recorded is {wanted[worst]:.9g}"
    return "passed", ""


def reason_of(line):
    return next((why for pattern, why in REASONS if re.search(pattern, line)), None)


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("detent", help="the program")
    options.add_argument("--verbose", action="store_true", help="print each test that passes or is refused, too")
    options.add_argument("--all", action="store_true", help="run tests of other operators, too")
    options.add_argument("--least", type=int, default=1, help="how many must pass")
    options.add_argument("--only", default="*", help="names of tests, such as 'test_conv_*'")
    given = options.parse_args()
    detent = os.path.abspath(given.detent)
    counts, reasons = collections.Counter(), collections.Counter()
    tests = [*tests_of_code(), *tests_of_files()]
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        for name, model, inputs, outputs in tests:
            ops = {n.op_type for n in model.graph.node}
            if not fnmatch.fnmatch(name, given.only) or not (given.all or ops <= SUPPORTED):
                continue
            what, why = run(detent, model, inputs, outputs, name in SHORT)
            if what == "refused" and ops <= SUPPORTED:
                reason = reason_of(why)
                what = "refused" if reason else "failed"
                reasons[reason or "no reason"] += 1
            counts[what] += 1
            if what == "failed" or given.verbose:
                print(f"{what} {name}{': ' if why else ''}{why}", flush=True)
        os.chdir("/")
    for reason, n in reasons.most_common():
        print(f"refused {n:3}: {reason}")
    print(f"{counts['passed']} passed, {counts['refused']} refused, {counts['failed']} failed")
    sys.exit(1 if counts["failed"] or counts["passed"] < given.least else 0)


if __name__ == "__main__":
    main()
