#!/bin/sh
# test_cli_compress.sh - smaller networks from end to end: pruned, tuned, factorised, tuned again; each is quantized,
#                        verified, and exported as C and vectors; what is refused.
#
# usage: test_cli_compress.sh PATH_OF_DETENT
models=$(cd "$(dirname "$0")/../../models" && pwd)
. "$(dirname "$0")/../support/command.sh"
real="--wbits float --abits float --threads 1 --device cpu --quiet --optim adam --label-smoothing 0"
data="--dataset synthetic-windows --train-size 600 --test-size 120"

# hand_over WHAT CHECKPOINT LAYER: quantizes and verifies it, compiles its C, and checks vectors of a layer.
hand_over()
{
    expect "$1: quantize" 0 quantize --checkpoint "$2" --images 40 --out q.safetensors
    for p in litert-ref exact; do
        expect "$1: verify under $p" 0 verify --checkpoint q.safetensors --images 10 --profile $p
        has out "^verified: 0 of [0-9,]* values differ"
    done
    expect "$1: eval under exact" 0 eval --checkpoint q.safetensors --test-size 120 --profile exact
    has out "^grid  *[0-9.]* %; 0 predictions differ$"
    expect "$1: export C" 0 export --checkpoint q.safetensors --to c --out c --name net
    "${CC:-cc}" -std=c99 -O1 -Wall -Wextra -Werror -c -o net.o c/net.c >out 2>err
    check "... compiles" $?
    expect "$1: capture what the image's quantizer reads" 0 capture --checkpoint q.safetensors --layer conv1 --index 0:20 \
        --out in.safetensors
    for io in f32 i8 u8; do
        expect "$1: export to TensorFlow Lite, $io" 0 export --checkpoint q.safetensors --to tflite --io $io --out q_$io.tflite
    done
    for io in i8 u8; do
        expect "$1: compare $io with f32" 0 compare --checkpoint q_$io.tflite --with q_f32.tflite \
            --inputs in.safetensors:input_float --json
        is "... all scores are equal" "$(grep -c '"largest_difference":	0$' out)" -eq 20
    done
    expect "$1: vectors" 0 export --checkpoint q.safetensors --to vectors --layer "$3" --out v
    expect "... verified" 0 verify --vectors v
    rm -rf v
}

# accuracy_of CHECKPOINT: of the test set, in whole per cent.
accuracy_of()
{
    "$detent" eval --checkpoint "$1" --test-size 120 --threads 1 | sed -n 's/^accuracy  *\([0-9]*\)\..*/\1/p'
}

# shellcheck disable=SC2086 # the options are words on purpose
expect "train" 0 train --model "$models/smartwatch_fat.json" $data $real --lr 0.01 --batch 32 --epochs 4 --out sw
F=sw/last.safetensors
before=$(accuracy_of $F)
is "... it has learned: $before %" "$before" -ge 40

# ---- filters

expect "prune" 0 prune --checkpoint $F --share 0.65 --of-parameters --scope global --out p.safetensors
has out "^classifier  *6 >  *6 "
has out "^p.safetensors: 21,118 > [0-9,]* parameters (6[5-9]\\.[0-9] % less), "
expect "... as JSON" 0 prune --checkpoint $F --share 0.5 --out half.safetensors --json
json "... which is JSON" out
has out '"filters":	*\[8, 4\]'
expect "... leaves a layer whole" 0 prune --checkpoint $F --share 0.5 --whole 'conv*' --out w.safetensors
has out "^conv6  *32 >  *32 "
has out "^fc1  *32 >  *16 "
# shellcheck disable=SC2086 # the options are words on purpose
expect "tune it" 0 train --model p.safetensors $data $real --lr 0.01 --batch 32 --epochs 4 --out tuned
after=$(accuracy_of tuned/last.safetensors)
is "... it has learned: $after %" "$after" -ge $((before - 10))
hand_over "pruned" tuned/last.safetensors conv2

# shellcheck disable=SC2086 # the options are words on purpose
expect "with quantizers" 0 train --model p.safetensors $data --threads 1 --device cpu --quiet --epochs 1 --wbits 8 \
    --abits 8 --quant-rule affine --out qat
expect "... verified" 0 verify --checkpoint qat/last.safetensors --images 5
has out "^verified: 0 of [0-9,]* values differ"

# ---- weights

expect "prune weights, 2 of 4" 0 prune --checkpoint $F --kind weights --n-of-m 2,4 --out m.safetensors
has out "^conv3  *16 >  *16  *1,024 >  *1,024  *153,600 >  *153,600  *512$"
# shellcheck disable=SC2086 # the options are words on purpose
expect "... tune it" 0 train --model m.safetensors $data $real --lr 0.003 --epochs 1 --out masked
expect "... prune nothing more" 0 prune --checkpoint masked/last.safetensors --kind weights --n-of-m 2,4 --out n.safetensors
has out "^conv3  *16 >  *16  *1,024 >  *1,024  *153,600 >  *153,600  *512$"
expect "... with quantizers" 0 train --model m.safetensors --dataset synthetic-windows --train-size 64 --test-size 32 \
    --threads 1 --device cpu --quiet --epochs 1 --wbits 8 --abits 8 --quant-rule affine --out masked-qat
expect "... export its weights" 0 export --checkpoint masked-qat/last.safetensors --to program --out masked.safetensors

# ---- low rank

expect "factorize" 0 factorize --checkpoint tuned/last.safetensors --ranks 'fc1:4x4,conv3:4' --out f.safetensors
has out "^fc1.core3 "
has out "^conv3.core2 "
# shellcheck disable=SC2086 # the options are words on purpose
expect "tune it" 0 train --model f.safetensors $data $real --lr 0.005 --batch 32 --epochs 3 --out low
low=$(accuracy_of low/last.safetensors)
is "... it has learned: $low %" "$low" -ge $((before - 15))
hand_over "factorised" low/last.safetensors fc1.core1
# shellcheck disable=SC2086 # the options are words on purpose
expect "with quantizers" 0 train --model f.safetensors $data --threads 1 --device cpu --quiet --epochs 1 --wbits 8 \
    --abits 8 --quant-rule affine --out low-qat
expect "... verified" 0 verify --checkpoint low-qat/last.safetensors --images 5
has out "^verified: 0 of [0-9,]* values differ"

for scheme in float drq; do
    expect "... without its quantizers, $scheme" 0 quantize --checkpoint low-qat/last.safetensors --scheme $scheme --out r.safetensors
    expect "... is evaluated" 0 eval --checkpoint r.safetensors --test-size 120 --json
    has out '"engine":	"grid"'
done

# ---- refusals

expect "refuse no share" 2 prune --checkpoint $F --share 1 --out x.safetensors
expect "refuse groups of filters" 2 prune --checkpoint $F --n-of-m 2,4 --out x.safetensors
has err "filters are pruned; prune weights"
expect "refuse integers" 1 prune --checkpoint q.safetensors --out x.safetensors
has err "prune the network of reals"
expect "refuse a layer that is not there" 2 factorize --checkpoint $F --ranks conv9:4 --out x.safetensors
expect "refuse factors" 2 factorize --checkpoint $F --ranks fc1:4:3x4:2x2 --out x.safetensors
has err "and the factors 3x4 multiply to 12"
expect "refuse words" 2 factorize --checkpoint $F --ranks fc1 --out x.safetensors
has err "is not LAYER:RANKS"
is "... and wrote nothing" ! -e x.safetensors
finish
