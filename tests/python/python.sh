#!/bin/sh
# python.sh DETENT LIBRARY PACKAGE - the Python package (the folder PACKAGE) beside the program. LIBRARY: the shared one.
set -eu
detent=$1 package=$3
export DETENT_LIBRARY="$2"
here=$(cd "$(dirname "$0")" && pwd)
for python in "${DETENT_PYTHON:-python3}" /usr/bin/python3; do
    "$python" -c 'import numpy' 2>/dev/null && break
    python=
done
[ -n "$python" ] || {
    echo "skipped: python3 has no numpy; DETENT_PYTHON may name an interpreter that has it"
    exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$detent" train --model tiny --dataset synthetic --train-size 64 --test-size 40 --batch 16 --epochs 1 --device cpu \
    --quiet --out "$work/run"
cp "$work/run/last.safetensors" "$work/checkpoint.safetensors"
"$detent" export --checkpoint "$work/checkpoint.safetensors" --to program --out "$work/program.safetensors" >/dev/null
layer=$("$detent" inspect --checkpoint "$work/checkpoint.safetensors" --json |
    "$python" -c 'import json, sys; print(json.load(sys.stdin)["layers"][0]["name"])')
"$detent" capture --checkpoint "$work/checkpoint.safetensors" --dataset synthetic --index 0:4 --layer "$layer" \
    --out "$work/capture.safetensors" >/dev/null
"$python" - "$work" <<'END'
import json, sys
import numpy as np
shape = (150, 32, 32, 3)
data = np.random.default_rng(1).integers(0, 256, shape, np.uint8).tobytes()
header = json.dumps({"images": {"dtype": "U8", "shape": shape, "data_offsets": [0, len(data)]}}).encode()
open(sys.argv[1] + "/images.safetensors", "wb").write(len(header).to_bytes(8, "little") + header + data)
END
for kind in checkpoint program; do
    "$detent" predict --checkpoint "$work/$kind.safetensors" --inputs "$work/images.safetensors" --layer all \
        --out "$work/${kind}_predicted.safetensors" >/dev/null
done

PYTHONPATH=$package "$python" -B "$here/test_python.py" "$work"
