#!/bin/sh
# test_cli_numbers.sh - what the program says of numbers that it cannot hand over, and what it counts of layers that
#                       convolve several maps an image.
#
# usage: test_cli_numbers.sh PATH_OF_DETENT.  Prints "ok N - what" or "not ok N - what"; exit code 1 if any is not ok.
. "$(dirname "$0")/../support/command.sh"

expect "inspect deepcaps" 0 inspect --model deepcaps --wbits 4 --abits 4 --input 28x28x1
has out "^block4.l_skip.conv .* 32x2x2x256 .* 2,359,296$"
has out "^17 quantized layers, 264,849,408 MACs an image"
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

finish
