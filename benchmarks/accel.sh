#!/bin/sh
# accel.sh BUILD_DIR - the array engine beside nested loops of torch tensors and beside the RTL, in one run.
#
# All three compute tap psums of features.27 on an 8x8 array: sums over 8 channels, one tap, one output. PYTHON names an
# interpreter that has torch; iverilog runs the RTL (tests/rtl). What is missing is left out, and said. Results go to
# benchmarks/results/accel-MACHINE.json, one object a line, and a table to standard output.
set -eu
build=$(cd "$1" && pwd)
python=${PYTHON:-python3}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
mkdir -p "$here/results"
out="$here/results/accel-$(python3 "$here/machine.py").json"
: >"$out"

# The choke-8 network's features.27, as text, through the simulated array: seconds of REPEATS images less those of one.
rtl() {
    repeats=40
    "$build/detent" train --model vgg16 --choke 8 --dataset synthetic --train-size 64 --test-size 32 --batch 32 \
        --epochs 1 --device cpu --quiet --out "$work/run"
    "$build/detent" export --checkpoint "$work/run/last.safetensors" --dataset synthetic --to vectors \
        --layer features.27 --out "$work/vectors" >&2
    LC_ALL=C iverilog -g2012 -o "$work/simulation" "$here"/../tests/rtl/*.sv
    begin=$(date +%s%N)
    vvp "$work/simulation" "+dir=$work/vectors" +repeat=1 >"$work/log"
    middle=$(date +%s%N)
    vvp "$work/simulation" "+dir=$work/vectors" +repeat=$((repeats + 1)) >"$work/log"
    end=$(date +%s%N)
    # 9 taps of 128 psums an image
    awk -v n=$repeats -v t=$((end - middle - (middle - begin))) 'BEGIN {
        printf "{\"peer\": \"RTL, Icarus Verilog\", \"tap_psums_per_s\": %.0f}\n", n * 9 * 128 / (t / 1e9) }'
}

"$build/bench_accel" --choke 16 --abits 2 --json >>"$out"
"$build/bench_accel" --choke 8 --abits 4 --json >>"$out"
if "$python" -c 'import torch' 2>/dev/null; then
    "$python" "$here/peers/psum_loops.py" --threads "$(nproc)" >>"$out"
else
    echo "accel: $python has no torch; left out (PYTHON=... ./run bench)" >&2
fi
if command -v iverilog >/dev/null; then
    rtl >>"$out"
else
    echo "accel: there is no iverilog; the RTL is left out" >&2
fi

echo "array 8x8, 16-bit psums that wrap, $(nproc) threads"
sed -n 's/.*"images_per_s": \([0-9.]*\).*"layer_seconds": \([0-9.]*\).*"layer_tap_psums_per_s": \([0-9.e+]*\).*"abits": \([0-9]\), "choke": \([0-9]*\).*/detent, choke \5 w4a\4: whole network \1 images\/s; features.27 of 10,000 images \2 s, \3 tap psums\/s/p; s/.*"peer": "\([^"]*\)".*"tap_psums_per_s": \([0-9.e+]*\).*/\1: \2 tap psums\/s/p' "$out"
echo "written to $out"
