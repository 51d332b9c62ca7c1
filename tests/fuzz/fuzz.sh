#!/bin/sh
# fuzz.sh - builds the fuzz targets with clang and the sanitizers, and runs all of them side by side.
#
#   sh tests/fuzz/fuzz.sh [SECONDS]     10 minutes unless told; fails if one finds an input that breaks something
#
# Findings are left in build-fuzz/findings/. What is mended goes into corpus/, where every test run replays it.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-600}
build=build-fuzz
corpus=tests/fuzz/corpus

command -v clang >/dev/null || {
    echo "fuzzing needs clang with libFuzzer: apt-get install clang" >&2
    exit 1
}
[ -f $build/build.ninja ] || cmake -S . -B $build -G Ninja -DCMAKE_C_COMPILER=clang -DDETENT_CUDA=OFF \
    -DDETENT_ONEDNN=OFF -DDETENT_SANITIZE=fuzzer-no-link,address,undefined -DCMAKE_BUILD_TYPE=RelWithDebInfo >$build.log 2>&1 || {
    cat $build.log >&2
    exit 1
}
rm -f $build.log
ninja -C $build --quiet fuzz_safetensors fuzz_program fuzz_manifest fuzz_formats fuzz_capture fuzz_network fuzz_tflite fuzz_onnx >$build/build.log 2>&1 || {
    cat $build/build.log >&2
    exit 1
}

export OMP_NUM_THREADS=1 # the fuzzers share the cores

fuzz() { # format; one process, its log beside its new inputs
    mkdir -p $build/inputs/"$1" $build/findings
    $build/fuzz_"$1" -max_total_time="$seconds" -max_len=32768 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -dict=tests/fuzz/json.dict -artifact_prefix=$build/findings/"$1"- $build/inputs/"$1" $corpus/"$1" \
        >$build/fuzz_"$1".log 2>&1
}

echo "fuzzing for $seconds s"
pids=""
for format in safetensors program manifest formats capture network tflite onnx; do
    fuzz $format &
    pids="$pids $format:$!"
done
result=0
for pair in $pids; do
    format=${pair%:*}
    if wait "${pair#*:}"; then
        sed -n "s/^stat::number_of_executed_units: */$format: no findings in /p" $build/fuzz_"$format".log
    else
        result=1
        echo "$format: a finding; the end of $build/fuzz_$format.log:" >&2
        tail -n 40 $build/fuzz_"$format".log >&2
    fi
done
exit $result
