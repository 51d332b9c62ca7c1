#!/bin/sh
# compilers.sh - does detent compute the same with each compiler, at each level of optimisation?
#
# usage: scripts/compilers.sh [COMPILER-LEVEL...]    e.g. clang-O0 gcc-O3; without any: gcc and clang, -O0 to -O3
#
# Each is built in a folder of its own, build-COMPILER-LEVEL, without CUDA. Of the fast tests those run that hold exact
# integers and golden files; TESTS is another regular expression of their names. The table at the end has warnings, tests
# that failed, and tests that ran. The exit code is 1 if a build has a warning or does not end, or a test fails.
# Each takes some minutes.
set -u
cd "$(dirname "$0")/.." || exit 1
case ${1:-} in -h | --help)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit
    ;;
esac
tests=${TESTS:-program|fixed|requant|array|caps|conv|quantizers|formats|network|onnx|tflite}
[ $# -gt 0 ] || set -- clang-O0 gcc-O3 clang-O3 gcc-O0 clang-O2 gcc-O2 clang-O1 gcc-O1

configure() { # folder, compiler, level
    cc=$2
    case $cc in gcc*) cxx=g++${cc#gcc} ;; clang*) cxx=clang++${cc#clang} ;; *)
        echo "compilers.sh: '$cc' is not gcc or clang" >&2
        return 1
        ;;
    esac
    cmake -S . -B "$1" -G Ninja -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_BUILD_TYPE=None \
        -DCMAKE_C_FLAGS="-$3" -DCMAKE_CXX_FLAGS="-$3" -DDETENT_CUDA=OFF
}

chosen() { # folder, options of ctest
    folder=$1
    shift
    ctest --test-dir "$folder" -L fast -R "$tests" -E "simt|fuzz" "$@"
}

failed=0
table=$(mktemp)
trap 'rm -f "$table"' EXIT
for each in "$@"; do
    folder=build-$each
    log=$folder/compilers.log
    mkdir -p "$folder"
    echo "== $each: $log"
    configure "$folder" "${each%-O*}" "O${each##*-O}" >"$log" 2>&1 || { tail -n 5 "$log"; exit 1; }
    ninja -C "$folder" -t clean >/dev/null # so that each warning is seen
    # programs of the tests; those in sh are of detent
    targets=$(chosen "$folder" -N | sed -n 's/^ *Test *#[0-9]*: //p' | grep -v _cli_)
    # shellcheck disable=SC2086 # words are wanted
    ninja -C "$folder" -j "${JOBS:-$(nproc)}" detent $targets >>"$log" 2>&1
    built=$?
    warnings=$(grep -c 'warning:' "$log")
    chosen "$folder" -j "${JOBS:-$(nproc)}" --output-on-failure --no-tests=error >"$log.tests" 2>&1
    tested=$?
    [ $built -eq 0 ] && [ $tested -eq 0 ] && [ "$warnings" -eq 0 ] || failed=1
    printf '%-10s %-7s %3d warnings  %s\n' "$each" "$([ $built -eq 0 ] && echo built || echo 'NOT BUILT')" "$warnings" \
        "$(grep 'tests passed' "$log.tests")" >>"$table"
done
cat "$table"
exit $failed
