#!/bin/sh
# run.sh BUILD_DIR [NETWORK...] - training steps beside PyTorch's, one after the other, three times in turn: vgg16 (w4a2),
# and the capsule networks shallowcaps and deepcaps in float on 28x28 grey images; all three unless some are named.
#
# PYTHON names an interpreter that has torch (default python3); without one only detent is timed. The capsule networks
# are left out where Fashion-MNIST is not found. Results go to benchmarks/results/step-cpu-DATE.json, one object a line,
# and a table to standard output.
set -eu
build=$1
shift
networks=${*:-vgg16 shallowcaps deepcaps}
python=${PYTHON:-python3}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$here/results"
out="$here/results/step-cpu-$(date -u +%Y%m%d-%H%M%S).json"

# lists of options, to be split
vgg16="--batch 128 --choke 16 --wbits 4 --abits 2"
capsules="--batch 100 --steps 8 --warmup 3"

detent() { # options
    "$build/bench_step" --device cpu --json "$@" >>"$out"
}

peer() { # name, options
    [ "$has_torch" = 1 ] || return 0
    script=$here/peers/$1_torch.py
    shift
    "$python" "$script" --threads "$(nproc)" --device cpu --json "$@" >>"$out"
}

has_torch=1
"$python" -c 'import torch' 2>/dev/null || {
    has_torch=0
    echo "bench: $python has no torch; timing detent alone (PYTHON=... ./run bench)" >&2
}
"$build/detent" data | grep -A 1 '^fashion-mnist:' | grep -q 'found in' || {
    networks=$(echo "$networks" | sed 's/[a-z]*caps//g')
    echo "bench: no Fashion-MNIST ('detent data' says how to get it); timing no capsule networks" >&2
}

pair() { # network
    if [ "$1" = vgg16 ]; then
        detent $vgg16 --steps 20
        detent $vgg16 --steps 12 --precision f32
        peer vgg16 $vgg16 --steps 12 --warmup 3 --mode eager
        peer vgg16 $vgg16 --steps 12 --warmup 3 --mode channels_last
        return
    fi
    detent --model "$1" --dataset fashion-mnist $capsules
    detent --model "$1" --dataset fashion-mnist $capsules --precision f32
    peer capsnet --model "$1" --variant broadcast $capsules
    peer capsnet --model "$1" --variant einsum $capsules
    peer capsnet --model "$1" --variant einsum $capsules --mode channels_last
}

for round in 1 2 3; do
    echo "round $round of 3" >&2
    for network in $networks; do pair "$network"; done
done
echo "images/s (median of the step times); VGG16 choke 16 w4a2, batch 128, and capsule networks, batch 100; $(nproc) threads"
awk '
function field(name) {
    if (!match($0, "\"" name "\": \"?[^\",}]*")) return ""
    value = substr($0, RSTART, RLENGTH)
    sub(/^"[a-z_]*": "?/, "", value)
    return value
}
{
    who = field("precision") != "" ? "detent " field("precision") : "torch " field("mode")
    if (field("variant") != "") who = who " " field("variant")
    line[field("model") " " who] = line[field("model") " " who] "  " field("images_per_s")
}
END { for (key in line) print key ":" line[key] }' "$out" | sort
echo "written to $out"
