#!/bin/sh
# Made the files in tests/golden/files with the last build whose checkpoints were of version 2, and whose programs and
# fixed-point files were of version 1 (commit 0b90fde):  sh make_old_files.sh DETENT
# The capture is of the last build that wrote version 1 of it (commit 9a9274f), of that checkpoint.
#
# The file of a capsule network has 30 MB of values. Only its header is kept, which is what a version is about; the test
# fills in the values.
set -eu
detent=$1
out=$(dirname "$0")/files
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
"$detent" train --model tiny --dataset synthetic --train-size 512 --test-size 64 --batch 64 --epochs 2 --stop-at 12 \
    --lr 0.05 --out "$work/run"
cp "$work/run/last.safetensors" "$out/checkpoint_v2.safetensors"
"$detent" export --checkpoint "$work/run/last.safetensors" --to program --out "$out/program_v1.safetensors"
"$detent" capture --checkpoint "$out/checkpoint_v2.safetensors" --dataset synthetic --layer features.8 --index 3 \
    --out "$out/capture_v1.safetensors"
"$detent" train --model shallowcaps --dataset fashion-mnist --train-size 80 --test-size 100 --batch 20 --epochs 1 \
    --out "$work/caps"
"$detent" search --method qcapsnets --checkpoint "$work/caps/last.safetensors" --dataset fashion-mnist --val-size 40 \
    --accuracy-tolerance 5 --memory-budget 2.3 --rounding stochastic --out "$work/caps.safetensors"
python3 - "$work"/caps.safetensors_quantized_memory.safetensors "$out/quantized_v1.header.json" <<'END'
import struct, sys
content = open(sys.argv[1], 'rb').read()
n = struct.unpack('<Q', content[:8])[0]
open(sys.argv[2], 'wb').write(content[8:8 + n].rstrip(b' '))
END
