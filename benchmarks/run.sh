#!/bin/sh
# run.sh BUILD_DIR - the training step beside PyTorch's, one after the other, three times in turn.
#
# PYTHON names an interpreter that has torch (default python3); without one only detent is timed. Results go to
# benchmarks/results/step-HOST-DATE.json, one object a line, and a table to standard output.
set -eu
build=$1
python=${PYTHON:-python3}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$here/results"
out="$here/results/step-cpu-$(date -u +%Y%m%d-%H%M%S).json"

peer() { # options
    "$python" "$here/peers/vgg16_torch.py" --batch 128 --choke 16 --wbits 4 --abits 2 --steps 12 --warmup 3 \
        --threads "$(nproc)" --device cpu --json "$@"
}

has_torch=1
"$python" -c 'import torch' 2>/dev/null || {
    has_torch=0
    echo "bench: $python has no torch; timing detent alone (PYTHON=... ./run bench)" >&2
}
for round in 1 2 3; do
    echo "round $round of 3" >&2
    "$build/bench_step" --device cpu --batch 128 --choke 16 --wbits 4 --abits 2 --steps 20 --json >>"$out"
    "$build/bench_step" --device cpu --batch 128 --choke 16 --wbits 4 --abits 2 --steps 12 --precision f32 --json >>"$out"
    [ "$has_torch" = 0 ] || {
        peer --mode eager >>"$out"
        peer --mode channels_last >>"$out"
    }
done
echo "images/s (median of the step times), batch 128, VGG16 choke 16, w4a2, $(nproc) threads"
sed -n 's/^{"images_per_s": \([0-9.]*\).*"precision": "\([a-z0-9]*\)".*/detent \2 \1/p; s/^{"images_per_s": \([0-9.]*\).*"mode": "\([a-z_]*\)".*/torch \2 \1/p' "$out" |
    awk '{ key = $1 " " $2; line[key] = line[key] "  " $3 } END { for (key in line) print key ":" line[key] }' | sort
echo "written to $out"
