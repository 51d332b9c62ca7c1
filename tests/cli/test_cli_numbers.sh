#!/bin/sh
# test_cli_numbers.sh - what the program says of numbers that it cannot hand over, and what it counts of layers that
#                       convolve several maps an image.
#
# usage: test_cli_numbers.sh PATH_OF_DETENT.  Prints "ok N - what" or "not ok N - what"; exit code 1 if any is not ok.
. "$(dirname "$0")/../support/command.sh"

expect "inspect deepcaps" 0 inspect --model deepcaps --wbits 4 --abits 4 --input 28x28x1
has out "^block4.l_skip.conv .* 32x2x2x256 .* 2,359,296$"
has out "^18 quantized layers, 266,487,808 MACs an image"
expect "inspect deepcaps as JSON" 0 inspect --model deepcaps --wbits 4 --abits 4 --input 28x28x1 --json
has out '"maps":[[:space:]]*32,'

caps="--dataset synthetic --test-size 10 --device cpu --threads 1"
train="train --model shallowcaps --input 17x17x3 --decoder none $caps --train-size 20 --batch 10 --epochs 1 --quiet"
expect "train capsules" 0 $train --wbits 4 --abits 4 --out w4
expect "train float capsules" 0 $train --out float
C="--checkpoint w4/last.safetensors $caps"
for way in verify "eval --engine program" "eval --engine array" "export --to program --out x" "export --to c --out x"; do
    expect "$way of capsules" 1 $way $C
    has err "w4/last.safetensors: shallowcaps w4a4 has no integer program.*'--routing-bits 8'"
    expect "$way of float capsules" 1 $way --checkpoint float/last.safetensors $caps
    has err "float/last.safetensors: shallowcaps float has no integer program.*'detent search'"
done

expect "train capsules that are routed by integers" 0 $train --wbits 4 --abits 4 --routing-bits 8 --out grid
C="--checkpoint grid/last.safetensors $caps"
expect "eval --engine program of them" 0 eval --engine program $C
has out "; 0 predictions differ"
expect "eval --engine array of them" 0 eval --engine array --psum-bits 24 $C
has out "^digit.dot "
expect "verify of them" 0 verify --psum-bits 24 --images 3 $C
has out "^digit  "
has out "^verified: 0 of "
expect "export --to program of them" 0 export --to program --out grid.program $C
expect "export --to c of them" 0 export --to c --out grid.c $C
expect "eval of the program's file" 0 eval --checkpoint grid.program $caps

finish
