#!/bin/sh
# test_cli_numbers.sh - what the program says of numbers that it cannot hand over, and what it counts of layers that
#                       convolve several maps an image.
#
# usage: test_cli_numbers.sh PATH_OF_DETENT.  Prints "ok N - what" or "not ok N - what"; exit code 1 if any is not ok.
set -u

detent=${1:?usage: test_cli_numbers.sh PATH_OF_DETENT}
case $detent in /*) ;; *) detent=$PWD/$detent ;; esac
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1

n=0
n_failed=0

# expect WHAT CODE ARGUMENTS...: runs detent and compares its exit code; leaves its output in `out` and `err`.
expect()
{
    what=$1
    code=$2
    shift 2
    "$detent" "$@" >out 2>err
    got=$?
    say "$what: exit code $got" test $got -eq "$code"
}

# has FILE PATTERN: the output of the last run.
has()
{
    say "$1 has $2" grep -q -- "$2" "$1"
}

say()
{
    what=$1
    shift
    n=$((n + 1))
    if "$@"; then
        echo "ok $n - $what"
    else
        echo "not ok $n - $what"
        n_failed=$((n_failed + 1))
        sed 's/^/#   /' out err
    fi
}

expect "inspect deepcaps" 0 inspect --model deepcaps --wbits 4 --abits 4 --input 28x28x1
has out "^block4.l_skip.conv .* 32x2x2x256 .* 2,359,296$"
has out "^17 quantized convolutions, 264,849,408 MACs an image"
expect "inspect deepcaps as JSON" 0 inspect --model deepcaps --wbits 4 --abits 4 --input 28x28x1 --json
has out '"maps":[[:space:]]*32,'

caps="--dataset synthetic --test-size 10 --device cpu --threads 1"
train="train --model shallowcaps --input 17x17x3 --decoder none $caps --train-size 20 --batch 10 --epochs 1 --quiet"
expect "train capsules" 0 $train --wbits 4 --abits 4 --out w4
expect "train float capsules" 0 $train --out float
C="--checkpoint w4/last.safetensors $caps"
for way in verify "eval --engine program" "eval --engine array" "export --to program --out x" "export --to c --out x"; do
    expect "$way of capsules" 1 $way $C
    has err "w4/last.safetensors: shallowcaps w4a4 has no integer program.*'detent capture'"
    expect "$way of float capsules" 1 $way --checkpoint float/last.safetensors $caps
    has err "float/last.safetensors: shallowcaps float has no integer program.*'detent search'"
done

[ $n_failed -eq 0 ]
