#!/bin/sh
# gpu_check.sh - everything that only a GPU can show, in two calls: the first builds, checks that the integers are exact,
# times the step, then runs the tests that need a GPU and compares runs, under 5 minutes in all; the second, on what the
# first has built, times the step beside PyTorch's and Brevitas'. Both leave a report, and $OUT/gpu-check.tar.gz with all
# of it.
#
#   scripts/gpu_check.sh [OPTION] [DEBS [OUT]]
#
#   --dry-run     names each step, its seconds, and what would be carried to such a machine; needs no GPU
#   --build ARCH  unpacks DEBS and builds for a GPU that is not here, such as 90
#   --peers       the second call: benchmarks/run.sh
#
#   DEBS  folder of .deb files with the libraries that this machine lacks, as scripts/gpu_debs.sh downloads them; they are
#         unpacked beside the build, not installed. "-": none
#   OUT   folder of report.md, report.json, log.txt, and of the benchmarks' results (benchmarks/results/gpu)
#
# GPU_CHECK_SECONDS bounds a call (290; with --peers 480, with --build 3600), GPU_CHECK_WORK names the folder of the build (build-gpu). A
# folder on PYTHONPATH may hold Brevitas. Needs nvcc, g++, cmake, ninja, python3, and cuDNN 9 from the toolkit or from
# Python's nvidia-* wheels. No network. Exit code: 0 if no step failed, else 1. A step that cannot run is skipped, with
# its reason.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
mode=check
capability=
case ${1:-} in
--dry-run | --peers)
    mode=${1#--}
    shift
    ;;
--build)
    mode=build
    capability=${2:?"--build needs the GPU's compute capability without its point, such as 90"}
    shift 2
    ;;
-*)
    [ "$1" = - ] || {
        sed -n '2,/^set -u/s/^# \{0,1\}//p' "$0" >&2
        exit 2
    }
    ;;
esac
debs=${1:--}
[ "$debs" = - ] || debs=$(cd "$debs" && pwd) || exit 1

# name, seconds at most (the call's end may come first), what it does: the order is the order of the questions, so that whatever fails later, the first
# answers are there.
steps_of() {
    if [ "$1" = peers ]; then
        echo "machine 10 is everything here?
peers 450 benchmarks/run.sh: the step beside PyTorch and Brevitas, whole runs, growth"
        return
    fi
    echo "machine 10 is everything here?
packages 20 unpacks the .deb files
build 150 the library, the program, benchmarks, and the tests that need a GPU"
    [ "$1" != build ] || return
    echo "psums 60 every psum, tap psum and code against 64-bit integers, mixed and f32
numbers 60 the step at 128, 512, 2048, and each kernel beside its ceiling
tests 90 the tests of what runs on a GPU
repeats 60 two runs and one without a graph leave equal bits (1, 7, 8 + 8 and 4 steps, and a smaller last batch)
backends 30 CPU and GPU give equal codes and psums
ranks 40 NCCL with one rank: equal bits to none
scaling 60 2 and all GPUs, where there are several
array 20 10,000 images through the array's kernel
sanitizer 60 compute-sanitizer on two tests"
}

if [ "$mode" = dry-run ]; then
    for call in check peers; do
        echo "call: scripts/gpu_check.sh$([ "$call" = peers ] && echo ' --peers')"
        steps_of "$call" | while read -r name seconds what; do printf '  %-10s %4s s  %s\n' "$name" "$seconds" "$what"; done
    done
    echo "carried: the working tree ($(git -C "$root" ls-files -z | (cd "$root" && xargs -0 du -ck) | tail -n 1 | cut -f1) KiB)"
    if [ "$debs" = - ]; then
        echo "  no packages; scripts/gpu_debs.sh downloads what a bare machine lacks"
    else
        find "$debs" -name '*.deb' -exec du -k {} + | sed 's|\t.*/|\t|' | sort -k 2 |
            while read -r size name; do printf '  %6s KiB  %s\n' "$size" "$name"; done
    fi
    exit 0
fi

out=${2:-$root/benchmarks/results/gpu}
work=${GPU_CHECK_WORK:-$root/build-gpu}
mkdir -p "$out" "$work" || exit 1
out=$(cd "$out" && pwd)
work=$(cd "$work" && pwd)
cd "$root" || exit 1

build=$work/build
export DETENT_CACHE="$work/cache" # the choice of cuDNN's plans: made here, and kept from one program to the next
seconds=290
[ "$mode" != peers ] || seconds=480
[ "$mode" != build ] || seconds=3600 # on few cores, perhaps
deadline=$(($(date +%s) + ${GPU_CHECK_SECONDS:-$seconds}))
SKIP=77
log=$out/log.txt
[ "$mode" = peers ] || : >"$log"
: >"$work/steps.tsv"

# A step is a function of its name; what it says on file descriptor 3 is its note in the report.
step() { # name, seconds
    started=$(date +%s)
    step_end=$((started + $2))
    [ $step_end -lt $deadline ] && [ "$mode" != build ] || step_end=$deadline
    printf '\n== %s\n' "$1" >>"$log"
    ("$1") 3>"$work/note" >>"$log" 2>&1
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

# Not beyond the end of the step.
limited() { # command...
    left=$((step_end - $(date +%s)))
    [ $left -gt 3 ] || skip "no time was left"
    timeout -k 5 "$left" "$@"
}

needs() { # path that an earlier step should have made
    [ -e "$1" ] || skip "needs $(basename "$1"), which was not made"
}

has_package() { # pkg-config's name
    pkg-config --exists "$1" 2>/dev/null
}

has_header() { # name
    {
        printf '%s\n' /usr/include /usr/local/cuda/include
        wheel_folders include
    } | tr '\n' '\0' | xargs -0 -I{} find {} -follow -maxdepth 2 -name "$1" 2>/dev/null | grep -q .
}

# All that is missing, at once. A package may still come from DEBS.
machine() {
    rm -f "$work/gpu" "$work/capability"
    missing=
    for program in nvcc g++ cmake ninja python3; do
        command -v $program >/dev/null || missing="$missing, $program"
    done
    if [ "$debs" = - ]; then
        command -v pkg-config >/dev/null || missing="$missing, pkg-config"
        for package in libcjson libmd libpng zlib; do
            has_package $package || missing="$missing, $package"
        done
    else
        command -v dpkg >/dev/null || missing="$missing, dpkg"
    fi
    has_header cudnn.h || missing="$missing, cudnn.h"
    [ "$mode" = build ] || command -v nvidia-smi >/dev/null || missing="$missing, nvidia-smi"
    [ -z "$missing" ] || {
        note "missing:${missing#,}"
        return 1
    }
    nvcc --version
    if [ "$mode" = build ]; then
        echo "$capability" >"$work/capability"
        note "for sm_$capability, without a GPU"
        return
    fi
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader >"$work/found" || {
        note "nvidia-smi finds no GPU"
        return 1
    }
    mv "$work/found" "$work/gpu"
    nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d . >"$work/capability"
    cat "$work/gpu"
    note "$(head -n 1 "$work/gpu"), sm_$(cat "$work/capability")"
}

# Python's wheels hold libraries that cuDNN opens by name at run time (NVRTC among them).
wheel_folders() { # lib or include
    python3 -c 'import glob, sys, nvidia
print(*[f for p in nvidia.__path__ for f in glob.glob(p + "/*/" + sys.argv[1])], sep="\n")' "$1" 2>/dev/null
}

packages() {
    [ "$debs" != - ] || skip "no folder of .deb files was given"
    prefix=$work/prefix
    for package in "$debs"/*.deb; do
        [ -e "$package" ] || skip "$debs holds no .deb file"
        dpkg -x "$package" "$prefix" || return 1
    done
    # pkg-config is to answer with the place the files lie now, and links to absolute places are to stay inside
    find "$prefix" -name '*.pc' -exec sed -i "s|^\([a-z_]*\)=/usr|\1=$prefix/usr|" {} +
    find "$prefix" -type l -lname '/*' | while read -r link; do
        target=$prefix$(readlink "$link")
        [ ! -e "$target" ] || ln -sfn "$target" "$link"
    done
    note "$(find "$debs" -name '*.deb' | wc -l) unpacked"
}

# Programs find the unpacked libraries by their own RPATH, so that no other program of the machine meets them. It is the
# old kind of it (see build), by which a library's own needs are found too.
use_packages() {
    prefix=$work/prefix
    rpath=$(wheel_folders lib | paste -s -d ';')
    [ ! -d /usr/local/cuda/lib64 ] || rpath="$rpath;/usr/local/cuda/lib64"
    [ -d "$prefix" ] || return 0
    libraries=$(find "$prefix" -name '*.so*' -exec dirname {} + | sort -u | paste -s -d ';')
    rpath="$libraries;$rpath"
    PATH=$prefix/usr/bin:$PATH
    PKG_CONFIG_PATH=$(find "$prefix" -type d -name pkgconfig | paste -s -d :)
    CMAKE_PREFIX_PATH=$prefix/usr
    CMAKE_LIBRARY_PATH=$libraries
    export PATH PKG_CONFIG_PATH CMAKE_PREFIX_PATH CMAKE_LIBRARY_PATH
    # pkgconf itself is one of the programs that cannot have an RPATH
    if ! pkg-config --version >/dev/null 2>&1; then
        printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s/usr/bin/pkgconf "$@"\n' "$(echo "$libraries" | tr ';' :)" "$prefix" \
            >"$work/pkg-config"
        chmod +x "$work/pkg-config"
        export PKG_CONFIG="$work/pkg-config"
    fi
}

build() {
    needs "$work/capability"
    rm -f "$build/detent" "$build"/bench_* # whatever an earlier check left
    limited cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DDETENT_CUDA=ON -DDETENT_TESTS=DEVICE \
        -DCMAKE_BUILD_RPATH="$rpath" -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags -DDETENT_CUDA_ARCHITECTURES="$(cat "$work/capability")-real" || return $?
    limited ninja -C "$build" || return $?
    [ -x "$build/test_norm_quant_types" ] || note "without Criterion: no tests"
}

# Each test has a time of its own, so that one does not hide the others.
tests() {
    needs "$build/test_norm_quant_types"
    rm -f "$work/ctest.xml"
    limited ctest --test-dir "$build" -j 4 --output-on-failure --timeout 80 --no-tests=error \
        --output-junit "$work/ctest.xml" || {
        note "failed: $(sed -n 's/.*<testcase name="\([^"]*\)".*status="fail".*/\1/p' "$work/ctest.xml" 2>/dev/null |
            paste -s -d ' ')"
        return 1
    }
    note "$(grep -c '<testcase' "$work/ctest.xml") programs"
}

train() { # name, options...
    name=$1
    shift
    limited "$build/detent" train --recipe notebook-w4a2 --dataset synthetic --test-size 256 --epochs 1 --batch 128 \
        --device cuda --seed 5 --force --out "$work/runs/$name" "$@"
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
    train first --train-size 3648 && train again --train-size 3648 && train eager --train-size 3648 --no-graph ||
        return $?
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

on_short() { # subcommand, options...
    subcommand=$1
    shift
    limited "$build/detent" "$subcommand" --checkpoint "$work/runs/short/last.safetensors" --dataset synthetic "$@"
}

psums() {
    needs "$build/detent"
    train short --train-size 512 || return $?
    for precision in mixed f32; do
        on_short verify --device cuda --precision $precision --images 32 || return $?
    done
    on_short verify --device cuda --images 32 --psum-bits 10 --overflow saturate || return $?
    note "every psum, tap psum and code of every layer is what 64-bit integers give, in mixed and in f32"
}

# The headline first: a step of 8 in a graph, then every kernel.
numbers() {
    needs "$build/bench_step"
    for batch in 128 512 2048; do
        limited "$build/bench_step" --device cuda --batch $batch --together 8 --steps 64 >"$work/step" || return $?
        cat "$work/step"
        note "$batch images: $(sed -n 's/^ *\(.*step .* median\).*/\1/p' "$work/step");"
    done
    limited "$build/bench_ops" --device cuda --batch 512 --json >"$out/ops-first.json"
}

# The last convolution's codes have been through every kind of layer before it.
backends() {
    needs "$work/runs/short/last.safetensors"
    for device in cpu cuda; do
        on_short capture --device $device --index 0:8 --layer features.40 --out "$work/$device.safetensors" || return $?
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
    limited "$build/test_ranks_cuda" --verbose || return $?
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
    line=$(limited "$build/bench_accel" --device cuda --images 10000 --rounds 5 --json) || return $?
    note "10,000 images: $line"
}

# Where the machine lets it look.
sanitizer() {
    needs "$build/test_linear_xent"
    command -v compute-sanitizer >/dev/null || skip "there is no compute-sanitizer"
    for tool in memcheck racecheck; do
        for name in test_norm_quant_types test_linear_xent; do
            limited compute-sanitizer --tool $tool --error-exitcode 3 --target-processes all "$build/$name" --jobs 1
            code=$?
            [ $code -ne 124 ] || skip "$tool of $name was not ready in time"
            [ $code -eq 0 ] || {
                note "$tool of $name: exit code $code"
                return 1
            }
        done
    done
    note "memcheck and racecheck find nothing in test_norm_quant_types and test_linear_xent"
}

peers() {
    for program in bench_step bench_ops bench_train; do needs "$build/$program"; done
    left=$((step_end - $(date +%s) - 20))
    limited sh benchmarks/run.sh "$build" cuda "$out" $left || {
        python3 benchmarks/report.py --device cuda --out "$out"
        return 1
    }
    note "in $left s; what it left out is in the report"
}

steps_of "$mode" >"$work/steps"
while read -r name seconds _; do
    step "$name" "$seconds"
    [ "$name" != packages ] || use_packages
    # nothing goes on without these
    if [ "$name" = machine ] || [ "$name" = build ]; then
        ! tail -n 1 "$work/steps.tsv" | grep -q "$(printf '\tfailed\t')" || break
    fi
done <"$work/steps"

if [ "$mode" != build ]; then
    python3 scripts/gpu_report.py "$work" "$out" || exit 1
    tar -C "$out" --exclude gpu-check.tar.gz -czf "$work/gpu-check.tar.gz" . && mv "$work/gpu-check.tar.gz" "$out/"
    echo "report: $out/report.md"
fi
if grep -q "$(printf '\tfailed\t')" "$work/steps.tsv"; then exit 1; fi
