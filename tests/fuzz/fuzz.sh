#!/bin/sh
# fuzz.sh - builds the fuzz targets with clang and the sanitizers, and runs as many at once as there are cores.
#
#   sh tests/fuzz/fuzz.sh [SECONDS]     10 minutes each unless told; fails if one finds an input that breaks something
#   sh tests/fuzz/fuzz.sh SECONDS FORMAT...    those alone
#
# Findings are left in build-fuzz/findings/. What is mended goes into corpus/, where every test run replays it.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-600}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- safetensors program manifest formats capture network tflite onnx
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
for format; do
    ninja -C $build --quiet fuzz_"$format" >$build/build.log 2>&1 || {
        cat $build/build.log >&2
        exit 1
    }
done

export OMP_NUM_THREADS=1 build corpus seconds

# One process, whose log lies beside its new inputs.
fuzz='
    format=$1
    mkdir -p $build/inputs/$format $build/findings
    rm -f $build/fuzz_$format.ok
    $build/fuzz_$format -max_total_time=$seconds -max_len=32768 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -dict=tests/fuzz/json.dict -artifact_prefix=$build/findings/$format- $build/inputs/$format $corpus/$format \
        >$build/fuzz_$format.log 2>&1 && touch $build/fuzz_$format.ok
    true'

echo "fuzzing $# parsers for $seconds s each"
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 1 sh -c "$fuzz" fuzz
result=0
for format; do
    if [ -e $build/fuzz_"$format".ok ]; then
        sed -n "s/^stat::number_of_executed_units: */$format: no findings in /p" $build/fuzz_"$format".log
    else
        result=1
        echo "$format: a finding; the end of $build/fuzz_$format.log:" >&2
        tail -n 40 $build/fuzz_"$format".log >&2
    fi
done
exit $result
