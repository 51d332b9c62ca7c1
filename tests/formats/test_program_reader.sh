#!/bin/sh
# test_program_reader.sh - the Python of docs/PROGRAM_FORMAT.md and docs/PROFILES.md runs programs: thresholds, and codes
#                          under each profile. All values are those of detent, by ==.
#
# usage: test_program_reader.sh PATH_OF_DETENT.  Wants a Python with numpy: DETENT_PYTHON's, or the system's.
docs=$(cd "$(dirname "$0")/../../docs" && pwd)
. "$(dirname "$0")/../support/command.sh"
python=
for one in "${DETENT_PYTHON:-python3}" /usr/bin/python3; do
    [ -n "$python" ] || ! "$one" -c "import numpy" 2>/dev/null || python=$one
done
if [ -z "$python" ]; then
    echo "[SKIP] there is no Python with numpy (apt-get install python3-numpy)"
    exit 77
fi

# What compares: reader.py IMAGES PROGRAM PREDICTIONS.
cat >compare.py <<'END'

import sys

def tensors_of(path):
    raw = open(path, "rb").read()
    start = 8 + struct.unpack_from("<Q", raw)[0]
    header = json.loads(raw[8:start])
    header.pop("__metadata__", None)
    place = lambda d: raw[start + d["data_offsets"][0] : start + d["data_offsets"][1]]
    return {k: np.frombuffer(place(d), {**TYPES, "U8": "u1"}[d["dtype"]]).reshape(d["shape"]) for k, d in header.items()}

graph, tensors = load(sys.argv[2])
images, expected = tensors_of(sys.argv[1])["x"], tensors_of(sys.argv[3])
compared = [n[0] for n in graph["nodes"] if n[0] in expected]
assert len(compared) > 5 and len(images) == 5, compared
for i, image in enumerate(images):
    values = run(graph, tensors, image)
    assert (values[graph["scores"]].ravel() == expected["scores"][i]).all(), i
    for name in compared: assert (values[name].ravel() == expected[name][i].ravel()).all(), (i, name)
assert all(len(np.unique(expected[n], axis=0)) > 1 for n in compared[:5]), "images have equal values"
END

# The documents' Python: python_of FILES.
python_of()
{
    sed -n '/^```python$/,/^```$/{/^```/!p;}' "$@"
    cat compare.py
}
python_of "$docs/PROGRAM_FORMAT.md" "$docs/PROFILES.md" >profiles.py
python_of "$docs/PROGRAM_FORMAT.md" >capsules.py
cat >images.py <<'END'
import json, struct
import numpy as np

draw = np.random.default_rng(7)
for name, kind, x in (("bytes", "U8", draw.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)),
                      ("small", "U8", draw.integers(0, 256, (5, 18, 18, 3), dtype=np.uint8)),
                      ("reals", "F32", draw.normal(0.3, 0.6, (5, 32, 32, 3)).astype("<f4"))):
    head = json.dumps({"x": {"dtype": kind, "shape": x.shape, "data_offsets": [0, x.nbytes]}}).encode()
    head += b" " * (-len(head) % 8)
    open(name + ".safetensors", "wb").write(struct.pack("<Q", len(head)) + head + x.tobytes())
END
"$python" images.py

# same WHAT PROGRAM IMAGES [READER]
same()
{
    expect "$1" 0 predict --checkpoint "$2" --engine program --layer all --inputs "$3.safetensors" --out all.safetensors
    "$python" "${4:-profiles.py}" "$3.safetensors" "$2" all.safetensors >out 2>err
    check "... the documents' Python gives all its values" $?
}

# shellcheck disable=SC2086 # the options are words on purpose
expect "a network of 4 bits" 0 train $tiny --wbits 4 --abits 4 --epochs 1 --out run --quiet
expect "... as a program" 0 export --checkpoint run/last.safetensors --to program --out program.safetensors
same "thresholds" program.safetensors bytes

# shellcheck disable=SC2086
expect "a capsule network of 4 bits, routed in 8" 0 train $tiny --model shallowcaps --decoder none --input 18x18x3 --shift 0 \
    --routing-bits 8 --wbits 4 --abits 4 --epochs 1 --out caps --quiet
expect "... as a program" 0 export --checkpoint caps/last.safetensors --to program --out caps.safetensors
same "capsules" caps.safetensors small capsules.py

cat >net.json <<'END'
{ "format": "detent-network", "name": "parts", "image": [32, 32, 3], "classes": 10,
  "nodes": [
    ["a",       "conv",      "image",        { "filters": 8, "window": 3, "stride": 2, "pad": 1 }],
    ["a.bn",    "batchnorm", "a"],
    ["a.relu",  "clip",      "a.bn",         { "low": 0, "high": 6 }],
    ["b",       "conv",      "a.relu",       { "filters": 8, "window": 3, "pad": 1, "groups": 8 }],
    ["b.bn",    "batchnorm", "b"],
    ["sum",     "add",       ["b.bn", "a.relu"]],
    ["product", "mul",       ["b.bn", "a.relu"]],
    ["both",    "concat",    ["sum", "product"], { "axis": 3 }],
    ["above",   "relu",      "both"],
    ["average", "avgpool",   "above",        { "window": 3, "stride": 2, "pad": 1, "count_include_pad": 0 }],
    ["c",       "conv",      "average",      { "filters": 8, "window": 1 }],
    ["c.gate",  "sigmoid",   "c"],
    ["most",    "maxpool",   "c.gate",       { "window": 2 }],
    ["mean",    "avgpool",   "most"],
    ["flat",    "flatten",   "mean"],
    ["classes", "linear",    "flat",         { "features": 10 }],
    ["shares",  "softmax",   "classes"]
  ], "scores": "shares" }
END
sed 's/, "pad": 1, "count_include_pad": 0//' net.json >bare.json # the profile exact has no averages of several divisors
for net in net bare; do
    # shellcheck disable=SC2086
    expect "a network of many operators" 0 train $tiny --model $net.json --wbits float --abits float --epochs 2 --out $net \
        --quiet
    expect "... quantized" 0 quantize --checkpoint $net/last.safetensors --images 40 --out $net.safetensors
done
for p in litert-ref ref-double ref-single fp32-rne onnx exact; do
    net=net
    [ $p != exact ] || net=bare
    expect "... as a program of $p" 0 export --checkpoint $net.safetensors --to program --profile $p --out $p.safetensors
    same "$p" $p.safetensors reals
done
finish
