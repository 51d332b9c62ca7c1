#!/bin/sh
# gpu_check.sh - everything that only a GPU can show, in under 10 minutes: builds, tests, checks that the integers are
# exact and the bits repeat, lets ranks sum by NCCL, runs the benchmarks (every kernel beside its ceiling, whole runs, growth, the step beside
# PyTorch's and Brevitas'), and leaves a report with charts.
#
#   scripts/gpu_check.sh [DEBS [OUT]]
#
#   DEBS  folder of .deb files with the libraries that this machine lacks (libcjson-dev, libmd-dev, libpng-dev, libcriterion-dev,
#         ...); they are unpacked beside the build, not installed. "-": none
#   OUT   folder of report.md, report.json, log.txt, and of the benchmarks' results (benchmarks/results/gpu)
#
# Times are bounded: build 200 s, tests 120, exactness and ranks 90 a call, the array 30, and the benchmarks take what is left, 280
# at most; benchmarks/run.sh alone, on what this built, has time for every contestant. A folder on PYTHONPATH may hold
# Brevitas. Needs nvcc, cmake, ninja, python3, and cuDNN 9 from the toolkit or from Python's nvidia-* wheels. No network.
# Exit code: 0 if no step failed, else 1. A step that cannot run is skipped, with its reason.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
debs=${1:--}
[ "$debs" = - ] || debs=$(cd "$debs" && pwd) || exit 1
out=${2:-$root/benchmarks/results/gpu}
work=${GPU_CHECK_WORK:-$root/build-gpu}
mkdir -p "$out" "$work" || exit 1
out=$(cd "$out" && pwd)
work=$(cd "$work" && pwd)
cd "$root" || exit 1

build=$work/build
export DETENT_CACHE="$work/cache" # the choice of cuDNN's plans: made here, and kept from one program to the next
deadline=$(($(date +%s) + 570))
SKIP=77
log=$out/log.txt
: >"$log"
: >"$work/steps.tsv"

# A step is a function; what it says on file descriptor 3 is its note in the report.
step() { # name, function
    started=$(date +%s)
    printf '\n== %s\n' "$1" >>"$log"
    ("$2") 3>"$work/note" >>"$log" 2>&1
    code=$?
    case $code in
    0) status=ok ;;
    "$SKIP") status=skipped ;;
    *) status=failed ;;
    esac
    note=$(tr '\n\t' '  ' <"$work/note")
    [ $status = failed ] && [ -z "$note" ] && note=$(tail -n 3 "$log" | tr '\n\t' '  ')
    printf '%s\t%s\t%s\t%s\n' "$1" "$status" "$(($(date +%s) - started))" "$note" >>"$work/steps.tsv"
    printf '%-12s %-8s %s\n' "$1" "$status" "$note"
}

note() {
    printf '%s\n' "$*" >&3
}

skip() {
    note "$*"
    exit $SKIP
}

# At most that many seconds, and never beyond the deadline.
limited() { # seconds, command...
    seconds=$1
    shift
    left=$((deadline - $(date +%s)))
    [ $left -gt 5 ] || skip "no time was left"
    [ "$seconds" -lt $left ] || seconds=$left
    timeout -k 5 "$seconds" "$@"
}

needs() { # path that an earlier step should have made
    [ -e "$1" ] || skip "needs $(basename "$1"), which was not made"
}

machine() {
    rm -f "$work/gpu" "$work/capability"
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader >"$work/found" || {
        note "nvidia-smi finds no GPU"
        return 1
    }
    mv "$work/found" "$work/gpu"
    nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d . >"$work/capability"
    cat "$work/gpu"
    nvcc --version
    note "$(head -n 1 "$work/gpu"), sm_$(cat "$work/capability")"
}

# Python's wheels hold libraries that cuDNN opens by name at run time (NVRTC among them).
wheel_libraries() {
    python3 -c 'import glob, nvidia; print(*[f for p in nvidia.__path__ for f in glob.glob(p + "/*/lib")], sep=":")' \
        2>/dev/null
}

packages() {
    [ "$debs" != - ] || skip "no folder of .deb files was given"
    prefix=$work/prefix
    for package in "$debs"/*.deb; do
        [ -e "$package" ] || skip "$debs holds no .deb file"
        dpkg -x "$package" "$prefix" || return 1
    done
    # pkg-config is to answer with the place the files lie now
    find "$prefix" -name '*.pc' -exec sed -i "s|^\([a-z_]*\)=/usr|\1=$prefix/usr|" {} +
    note "$(find "$debs" -name '*.deb' | wc -l) unpacked"
}

use_packages() {
    prefix=$work/prefix
    [ -d "$prefix" ] || return 0
    libraries=$(find "$prefix" -name '*.so*' -exec dirname {} + | sort -u | paste -s -d :)
    PKG_CONFIG_PATH=$(find "$prefix" -type d -name pkgconfig | paste -s -d :)
    CMAKE_PREFIX_PATH=$prefix/usr
    CMAKE_LIBRARY_PATH=$(printf '%s' "$libraries" | tr : ';')
    LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export PKG_CONFIG_PATH CMAKE_PREFIX_PATH CMAKE_LIBRARY_PATH LD_LIBRARY_PATH
}

compile() {
    rm -f "$build/detent" "$build"/bench_* # whatever an earlier check left
    needs "$work/capability"
    limited 60 cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DDETENT_CUDA=ON \
        -DDETENT_CUDA_ARCHITECTURES="$(cat "$work/capability")-real" || return $?
    limited 200 ninja -C "$build"
}

tests() {
    needs "$build/detent"
    limited 120 ctest --test-dir "$build" --output-on-failure --timeout 120 --no-tests=error \
        --output-junit "$work/ctest.xml" || {
        note "$(grep -c 'status="fail"' "$work/ctest.xml" 2>/dev/null || echo some) tests failed"
        return 1
    }
    note "$(grep -c '<testcase' "$work/ctest.xml") programs"
}

train() { # name, options...
    name=$1
    shift
    limited 90 "$build/detent" train --recipe w4a2 --dataset synthetic --train-size 1024 --test-size 256 --epochs 1 \
        --batch 128 --device cuda --seed 5 --force --out "$work/runs/$name" "$@"
}

# The tensors of two safetensors files: all bytes after the header.
same_tensors() {
    python3 - "$1" "$2" <<'END'
import sys
def tensors(path):
    data = open(path, "rb").read()
    return data[8 + int.from_bytes(data[:8], "little"):]
sys.exit(tensors(sys.argv[1]) != tensors(sys.argv[2]))
END
}

repeats() {
    needs "$build/detent"
    train first && train again && train eager --no-graph || return $?
    same_tensors "$work/runs/first/last.safetensors" "$work/runs/again/last.safetensors" || {
        note "two runs of one seed differ"
        return 1
    }
    same_tensors "$work/runs/first/last.safetensors" "$work/runs/eager/last.safetensors" || {
        note "the captured step and the eager one differ"
        return 1
    }
    note "two runs, and one without a graph, left equal bits"
}

on_first() { # subcommand, options...
    subcommand=$1
    shift
    limited 90 "$build/detent" "$subcommand" --checkpoint "$work/runs/first/last.safetensors" --dataset synthetic "$@"
}

psums() {
    needs "$work/runs/first/last.safetensors"
    for precision in mixed f32; do
        on_first verify --device cuda --precision $precision --images 128 || return $?
    done
    on_first verify --device cuda --images 32 --psum-bits 10 --overflow saturate || return $?
    note "every psum, tap psum and code of every layer is what 64-bit integers give, in mixed and in f32"
}

# The last convolution's codes have been through every kind of layer before it.
backends() {
    needs "$work/runs/first/last.safetensors"
    for device in cpu cuda; do
        on_first capture --device $device --index 0:8 --layer features.40 --out "$work/$device.safetensors" || return $?
    done
    same_tensors "$work/cpu.safetensors" "$work/cuda.safetensors" || {
        note "codes and psums of features.40 differ between CPU and GPU"
        return 1
    }
    note "codes and psums of features.40 have equal bits on CPU and GPU"
}

# On one GPU: NCCL with one rank, launched, captured and unrolled, beside no NCCL. On several, as many ranks too.
ranks() {
    needs "$build/test_ranks_cuda"
    [ -n "$(sed -n 's/^NCCL_LIBRARY:FILEPATH=\(.*[^D]\)$/\1/p' "$build/CMakeCache.txt")" ] || skip "NCCL was not found"
    limited 90 "$build/test_ranks_cuda" --verbose || return $?
    note "sums by NCCL leave equal bits, launched, captured and unrolled, and with one rank those of no NCCL"
}

# images/s of the last epoch of a run
speed_of() {
    python3 -c 'import json, sys; print(json.loads(open(sys.argv[1]).readlines()[-1])["images_per_s"])' \
        "$work/runs/$1/metrics.jsonl"
}

# 128 images a GPU, however many there are.
scaling() {
    needs "$build/detent"
    gpus=$(wc -l <"$work/gpu")
    [ "$gpus" -ge 2 ] || skip "one GPU here"
    numbers="1 2 $gpus"
    [ "$gpus" -gt 2 ] || numbers="1 2"
    for n in $numbers; do
        train "ranks$n" --ranks "$n" --batch $((128 * n)) --train-size $((8192 * n)) --epochs 3 --eval-every 3 || return $?
        speed=$(speed_of "ranks$n") || return $?
        [ "$n" -eq 1 ] && alone=$speed
        note "$n GPUs: $speed images/s, $(awk "BEGIN { printf \"%.0f\", 100 * $speed / ($n * $alone) }") %"
    done
}

array() {
    needs "$build/bench_accel"
    line=$(limited 30 "$build/bench_accel" --device cuda --images 10000 --rounds 5 --json) || return $?
    note "10,000 images: $line"
}

benchmarks() {
    for program in bench_step bench_ops bench_train; do needs "$build/$program"; done
    seconds=$((deadline - $(date +%s) - 20))
    [ $seconds -lt 280 ] || seconds=280
    [ $seconds -ge 60 ] || skip "no time was left"
    limited $((seconds + 15)) sh benchmarks/run.sh "$build" cuda "$out" $seconds || {
        python3 benchmarks/report.py --device cuda --out "$out"
        return 1
    }
    note "in $seconds s; what it left out is in the report"
}

wheels=$(wheel_libraries)
if [ -n "$wheels" ]; then
    LD_LIBRARY_PATH=$wheels${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export LD_LIBRARY_PATH
fi

step machine machine
step packages packages
use_packages
step build compile
step tests tests
step repeats repeats
step psums psums
step backends backends
step ranks ranks
step scaling scaling
step array array
step benchmarks benchmarks

python3 scripts/gpu_report.py "$work" "$out" || exit 1
echo "report: $out/report.md"
if grep -q "$(printf '\tfailed\t')" "$work/steps.tsv"; then exit 1; fi
