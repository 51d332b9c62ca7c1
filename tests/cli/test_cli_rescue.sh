#!/bin/sh
# test_cli_rescue.sh - detent quantize with passes: what it prints, that the network which it gives is the one that was
#                      judged, and that its program is verified; what is refused.
#
# usage: test_cli_rescue.sh PATH_OF_DETENT
models=$(cd "$(dirname "$0")/../../models" && pwd)
. "$(dirname "$0")/../support/command.sh"

expect "train" 0 train --model "$models/smartwatch_lean.json" --dataset synthetic-windows --train-size 900 --test-size 60 \
    --wbits float --abits float --threads 1 --device cpu --quiet --optim adam --lr 0.01 --batch 32 --epochs 2 \
    --label-smoothing 0 --out sw
F=sw/last.safetensors
some="--images 60 --held-out 120 --threads 1 --device cpu"

# shellcheck disable=SC2086 # the options are words on purpose
expect "rescue" 0 quantize --checkpoint $F --wbits 3 --rescue --adaround-steps 100 $some --out r.safetensors
has out "^equalize  *[0-9.]* %  loss [0-9.]*  SNR  *[0-9.]* dB  \(kept\|left out\): 5 pairs of layers, 0 limits taken away$"
has out "^correct-bias  .*: 6 of 6 layers$"
has out "^adaround  .*: 6 of 6 layers; their errors [0-9.e-]* -> [0-9.e-]*$"
has out "^reestimate-norms .*: 0 of 6 layers$"
has out "^held out: 120 images; reals [0-9.]* %, loss [0-9.]*; quantized [0-9.]* %, loss [0-9.]*; now [0-9.]* %, loss "
errors=$(sed -n 's/^adaround.*errors \([0-9.e-]*\) -> \([0-9.e-]*\)$/\1 \2/p' out)
echo "$errors" | awk '{ exit !($2 < $1) }'
check "... AdaRound lowers the errors of layers: $errors" $?
sed -n 's/^held out.*quantized [0-9.]* %, loss \([0-9.]*\); now [0-9.]* %, loss \([0-9.]*\)$/\1 \2/p' out |
    awk '{ exit !($2 < $1) }'
check "... and the passes the loss" $?
expect "verify" 0 verify --checkpoint r.safetensors --images 5
has out "^verified: 0 of [0-9,]* values differ"

# shellcheck disable=SC2086 # the options are words on purpose
expect "one pass" 0 quantize --checkpoint $F --wbits 3 --passes correct-bias $some --out b.safetensors
is "... is made alone" "$(grep -c '^\(equalize\|adaround\|reestimate\)' out)" -eq 0
has out "^correct-bias  .*  kept: 6 of 6 layers$"
# shellcheck disable=SC2086 # the options are words on purpose
expect "as JSON" 0 quantize --checkpoint $F --wbits 3 --passes correct-bias $some --json --out b.safetensors
json "... which is JSON" out

# shellcheck disable=SC2086 # the options are words on purpose
expect "an unknown pass" 2 quantize --checkpoint $F --passes equalize,round $some --out x.safetensors
has err "'round' is no pass; there are equalize, correct-bias, adaround and reestimate-norms"
# shellcheck disable=SC2086 # the options are words on purpose
expect "another scheme" 2 quantize --checkpoint $F --scheme drq --rescue $some --out x.safetensors
has err "passes are made for the scheme full; here it is drq"
echo '{ "image": [-5, 5] }' >ranges.json
# shellcheck disable=SC2086 # the options are words on purpose
expect "ranges that are given" 2 quantize --checkpoint $F --passes equalize --ranges ranges.json $some --out x.safetensors
has err "equalization scales values, whose ranges the file ranges.json gives"
finish
