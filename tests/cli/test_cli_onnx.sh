#!/bin/sh
# test_cli_onnx.sh - ONNX files wherever the command takes a checkpoint: a network of reals and a program in QDQ form.
#
# usage: test_cli_onnx.sh PATH_OF_DETENT
golden=$(cd "$(dirname "$0")/../golden/onnx" && pwd)
. "$(dirname "$0")/../support/command.sh"
F=$golden/small.onnx
P=$golden/small_u8.onnx
on="--dataset synthetic --test-size 40"
images="--inputs $golden/expected.safetensors:windows.x"

# ---- reals

expect "inspect" 0 inspect --checkpoint "$F"
has out "^small float: 596 parameters$"
expect "... as a graph" 0 inspect --checkpoint "$F" --graph
has out "^stem  *conv  *8x8x4  *real  *image  *filters 4, window 5x5, stride 4, pad \[2,2,1,1\]$"
# shellcheck disable=SC2086 # the options are words on purpose
{
    expect "eval" 0 eval --checkpoint "$F" $on
    expect "quantize" 0 quantize --checkpoint "$F" --dataset synthetic --images 20 --out q.safetensors
    has out "^q.safetensors: small w8a8, 5 values, calibrated on 20 images by minmax$"
    expect "compare" 0 compare --checkpoint q.safetensors --with "$F" --dataset synthetic --index 0:20
    has out "^equal predictions: "
    expect "predict" 0 predict --checkpoint "$golden/windows.onnx" $images --out s.safetensors
    expect "export" 0 export --checkpoint "$F" --to tflite --out f.tflite
    expect "import" 0 import --checkpoint "$F" --out f.safetensors
    has out "^f.safetensors: small, a checkpoint of reals: images of 32x32x3, 10 classes, 596 weights$"
    expect "... is the same network" 0 compare --checkpoint f.safetensors --with "$F" --dataset synthetic --index 0:20 --scores
    has out "^equal predictions: 20 of 20"

    # ---- codes

    expect "inspect a program" 0 inspect --checkpoint "$P"
    has out "^small_u8 as an integer program: 9 layers, 576 weight codes"
    expect "... as a graph" 0 inspect --checkpoint "$P" --graph
    has out "^image.codes  *quantize .*profile onnx"
    expect "eval" 0 eval --checkpoint "$P" $on
    has out "engine program, onnx"
    expect "... under another profile" 0 eval --checkpoint "$P" $on --profile litert-ref
    has out "engine program, litert-ref"
    expect "verify" 0 verify --checkpoint "$P" --dataset synthetic --images 10
    has out "^verified: 0 of "
    expect "compare" 0 compare --checkpoint "$P" --with "$F" --dataset synthetic --index 0:20 --layers
    expect "predict" 0 predict --checkpoint "$golden/qdq_u8.onnx" --inputs "$golden/expected.safetensors:qdq_u8.x" --out p.safetensors
}
expect "export to C" 0 export --checkpoint "$P" --to c --out c --name net
expect "... to a program" 0 export --checkpoint "$P" --to program --out p.safetensors
expect "... for TensorFlow Lite" 0 export --checkpoint "$P" --to tflite --out p.tflite
expect "import" 0 import --checkpoint "$P" --out i.safetensors
has out "^i.safetensors: small_u8, an integer program, onnx: images of 32x32x3, 10 classes, "
cmp -s p.safetensors i.safetensors
check "... which the export is too" $?
expect "data beside the file" 0 inspect --checkpoint "$golden/outside.onnx" --graph

# ---- operators that are made of others

expect "a LeakyRelu and a HardSwish" 0 quantize "$golden/bent.onnx" --dataset synthetic --images 20 --out b.safetensors
expect "... as a program" 0 verify b.safetensors --dataset synthetic --images 4
has out "^verified: 0 of "
expect "maps of one row, a softmax joined to others" 0 quantize "$golden/row.onnx" --calibrate "$golden/operators.safetensors:row.x" --out r.safetensors
has out "^concat_14.0.quant  *-"
expect "operators on codes" 0 import "$golden/qoperator_u8.onnx" --out o.safetensors
has out "^o.safetensors: qoperator_u8, an integer program, onnx: "
expect "a transposed convolution" 0 predict "$golden/curves.onnx" --inputs "$golden/operators.safetensors:curves.x" --out t.safetensors
expect "... on codes" 1 quantize "$golden/curves.onnx" --calibrate "$golden/operators.safetensors:curves.x" --out t.safetensors
has err "up is a conv_transpose, which has no place in a network with affine quantizers"

# ---- files that are written

x=$golden/expected.safetensors:shortcut.x
expect "a network" 0 import "$golden/shortcut.onnx" --out f.safetensors
expect "... quantized" 0 quantize f.safetensors --calibrate "$x" --out q.safetensors
expect "write reals" 0 export f.safetensors --to onnx --out f.onnx
has out "^f.onnx: [0-9]* layers, [0-9]* KiB, opset 13, of reals$"
expect "write codes" 0 export q.safetensors --to onnx --opset 17 --out q.onnx
has out "^q.onnx: [0-9]* layers, [0-9]* KiB, opset 17, in the style qdq$"
expect "read them again" 0 compare q.safetensors q.onnx --profile onnx --inputs "$x" --scores
has out "^equal predictions: 4 of 4 "
expect "images" 0 predict f.safetensors --inputs "$x" --out f.pred
expect "... by a program" 0 predict q.safetensors --profile onnx --inputs "$x" --out q.pred
cat >runtime.py <<'END'
import json, sys
import numpy as np
import onnx, onnxruntime

def tensors(path):
    data = open(path, "rb").read()
    start = 8 + int.from_bytes(data[:8], "little")
    return {name: np.frombuffer(data[start + t["data_offsets"][0] : start + t["data_offsets"][1]], np.float32)
            .reshape(t["shape"]) for name, t in json.loads(data[8:start]).items() if t.get("dtype") == "F32"}

name, images, step = sys.argv[1], tensors(sys.argv[2])["shortcut.x"], float(sys.argv[3])
onnx.checker.check_model(onnx.load(name + ".onnx"), full_check=True)
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
net = onnxruntime.InferenceSession(name + ".onnx", options)
scores = net.run(None, {net.get_inputs()[0].name: np.ascontiguousarray(images.transpose(0, 3, 1, 2))})[0]
apart = np.abs(scores - tensors(name + ".pred")["scores"].reshape(scores.shape)).max()
assert apart <= step, apart
END
python=${DETENT_PYTHON:-python3}
if "$python" -c "import numpy, onnx, onnxruntime" >/dev/null 2>&1; then
    "$python" runtime.py f "$golden/expected.safetensors" 1e-5 >out 2>err # sums of reals in another order
    check "ONNX Runtime gives the scores of reals" $?
    "$python" runtime.py q "$golden/expected.safetensors" 0 >out 2>err
    check "ONNX Runtime gives the scores of codes" $?
else
    echo "[SKIP] ONNX Runtime: $python has no onnx and onnxruntime; DETENT_PYTHON names one that has"
fi
expect "an opset that is too old" 2 export f.safetensors --to onnx --opset 12 --out x

# ---- codes made by thresholds

cat >pixels.py <<'END'
import json, struct
import numpy as np

x = np.random.default_rng(3).integers(0, 256, (20, 32, 32, 3)).astype(np.uint8)
head = json.dumps({"x": {"dtype": "U8", "shape": x.shape, "data_offsets": [0, x.size]}}).encode()
open("x.pixels", "wb").write(struct.pack("<Q", len(head)) + head + x.tobytes())
END
cat >styles.py <<'END'
import json, sys
import numpy as np
import onnx, onnxruntime

def tensors(path, kind, of):
    data = open(path, "rb").read()
    start = 8 + int.from_bytes(data[:8], "little")
    return {name: np.frombuffer(data[start + t["data_offsets"][0] : start + t["data_offsets"][1]], of)
            .reshape(t["shape"]) for name, t in json.loads(data[8:start]).items() if t.get("dtype") == kind}

model, pixels, recorded = onnx.load(sys.argv[1]), tensors("x.pixels", "U8", np.uint8)["x"], sys.argv[2]
onnx.checker.check_model(model)
notes = {note.key: note.value for note in model.metadata_props}
mean, std = (np.array(notes[key].split(","), np.float32) for key in ("mean", "std"))
images = (pixels.astype(np.float32) / np.float32(255) - mean) / std
made = {out for node in model.graph.node for out in node.output}
codes = {name: code for name, code in tensors(recorded, "I32", np.int32).items() if name in made}
assert len(codes) > 4, sorted(codes)
for name in codes:
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
net = onnxruntime.InferenceSession(model.SerializeToString(), options)
got = net.run(None, {net.get_inputs()[0].name: np.ascontiguousarray(images.transpose(0, 3, 1, 2))})
for name, value in zip([out.name for out in net.get_outputs()], got):
    value = value.transpose(0, 2, 3, 1) if value.ndim == 4 else value
    if name in codes:
        assert (value.reshape(codes[name].shape) == codes[name]).all(), name
    else:
        scores = tensors(recorded, "F32", np.float32)["scores"]
        assert np.abs(value - scores).max() <= 1e-5 * np.abs(scores).max(), name
END
expect "thresholds" 0 train --model tiny --dataset synthetic --train-size 40 --test-size 20 --batch 20 --epochs 1 --out steps --quiet
t=steps/last.safetensors
has_runtime=0
if "$python" -c "import numpy, onnx, onnxruntime" >/dev/null 2>&1; then
    has_runtime=1
    "$python" pixels.py
    expect "... all of its values" 0 predict "$t" --inputs x.pixels:x --engine program --layer all --out t.pred
fi
for style in qdq qcdq qonnx; do
    expect "$style" 0 export "$t" --to onnx --style $style --out $style.onnx
    has out "^$style.onnx: [0-9]* layers, [0-9]* KiB, opset 13, in the style $style$"
    expect "... is read" 0 compare "$t" $style.onnx --dataset synthetic --index 0:20 --scores
    has out "^equal predictions: 20 of 20"
    expect "... is verified" 0 verify $style.onnx --dataset synthetic --images 10
    has out "^verified: 0 of "
    if [ $has_runtime -eq 1 ]; then
        "$python" styles.py $style.onnx t.pred >out 2>err
        check "ONNX Runtime gives each code of $style" $?
    fi
done
expect "a file of reals" 2 export "$t" --to onnx --style float --out x
has err "has quantizers, and a file of reals has none"
expect "codes of reals" 2 export f.safetensors --to onnx --style qcdq --out x
has err "computes on reals; leave --style out"
expect "codes of a profile" 1 export q.safetensors --to onnx --style qonnx --out x
has err "of 8 bits, which is written in the style qdq"

# ---- training what a file brings

expect "quantizers of a file" 0 import "$golden/quant_layers.onnx" --out m.safetensors
has out "^m.safetensors: quant_layers w1-6a4-6, a checkpoint: images of 8x8x3, 5 classes, "
expect "train a network of reals" 0 train --model "$F" --wbits 4 --abits 4 --dataset synthetic --train-size 40 --test-size 20 --batch 20 --epochs 1 --out own --quiet
expect "... which has the file's names" 0 inspect own/last.safetensors
has out "^stem.weight  *4x5x5x3 "
expect "... verify it" 0 verify own/last.safetensors --dataset synthetic --images 4
has out "^verified: 0 of "
expect "go on with codes of 8 bits" 0 train --model "$P" --init "$P" --dataset synthetic --train-size 40 --test-size 20 --batch 20 --epochs 1 --out on
has out "copied [0-9]* of "
expect "... which stay the file's" 2 train --model "$P" --wbits 4 --abits 4 --dataset synthetic --train-size 40 --out x
has err "has quantizers of its own"
expect "... as a program" 0 verify on/last.safetensors --dataset synthetic --images 4
has out "^verified: 0 of "

# ---- what is refused

expect "quantize codes" 1 quantize --checkpoint "$P" --dataset synthetic --out x
has err "computes on integers, and wanted is a network of reals"
expect "values that fit nothing" 1 train --model tiny --dataset synthetic --init "$golden/tables.onnx" --out run
has err "no parameter of it fits this model"
head -c 700 "$F" >cut.onnx
expect "a file that is cut short" 1 inspect --checkpoint cut.onnx
has err "cut.onnx: "
cp "$golden/outside.onnx" alone.onnx
expect "a file without its data" 1 inspect --checkpoint alone.onnx
has err "alone.onnx: data lie in 'outside.data', which cannot be opened: No such file"
expect "a file that is not there" 1 inspect --checkpoint nowhere.onnx
has err "nowhere.onnx: cannot be opened"
: >empty.onnx
expect "an empty file" 1 import --checkpoint empty.onnx --out x
has err "empty.onnx: has no graph, so it is no ONNX model"
finish
