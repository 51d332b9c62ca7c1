#!/bin/sh
# check_compressed.sh - the ECG networks of docs/STUDY.md, lean and fat, pruned and factorised as the study does it: each is
#                       quantized, verified, exported as C that gcc and clang compile without a warning and that gives the
#                       program's scores, and as vectors. No value may differ.
#
# usage: scripts/check_compressed.sh PATH_OF_DETENT [NETWORK...]
#
# It is no test of the suite, because the fat networks take minutes. The networks are trained for as long as their shapes
# need, in small batches so that norms know their statistics, not until they are good.
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/tests/support/command.sh"
shift
data="--dataset synthetic-beats --train-size 20 --test-size 10 --threads 1 --device cpu --seed 1"
real="--wbits float --abits float --quiet --optim adam --lr 0.001 --batch 2 --epochs 1 --label-smoothing 0 --weight-decay 0"

# Reals on stdin, scores on stdout.
write_main()
{
    cat >c/main.c <<'END'
#include <stdio.h>
#include "net.h"

static float image[NET_HEIGHT * NET_WIDTH * NET_CHANNELS];

int main(void)
{
    float scores[NET_CLASSES];

    while (fread(image, sizeof image, 1, stdin) == 1) {
        net_run_reals(image, scores);
        fwrite(scores, sizeof scores, 1, stdout);
    }
    return 0;
}
END
}

# bytes_of FILE TENSOR: the data of a tensor of a safetensors file.
bytes_of()
{
    h=$(od -An -tu8 -N8 "$1" | tr -d ' ')
    set -- "$1" $(head -c $((8 + h)) "$1" | tail -c +9 |
        sed -n 's/.*"'"$2"'": *{[^}]*"data_offsets": *\[\([0-9]*\), *\([0-9]*\)\].*/\1 \2/p')
    tail -c +$((9 + h + $2)) "$1" | head -c $(($3 - $2))
}

# hand_over WHAT CHECKPOINT LAYER...: the layers are those of which vectors are made.
hand_over()
{
    of=$1
    expect "$of: quantize" 0 quantize --checkpoint "$2" --images 10 --out q.safetensors
    shift 2
    for p in litert-ref exact; do
        expect "$of: verify under $p" 0 verify --checkpoint q.safetensors --images 2 --profile $p
        has out "^verified: 0 of [0-9,]* values differ"
        tail -1 out | sed 's/^/# /'
    done
    expect "$of: capture the samples" 0 capture --checkpoint q.safetensors --layer conv1 --index 0:3 --out in.safetensors
    # a TensorFlow Lite file does not know how samples were normalised, and takes them as the capture has them
    expect "$of: export to TensorFlow Lite" 0 export --checkpoint q.safetensors --to tflite --io f32 --out q.tflite
    for p in litert-ref fp32-rne; do
        expect "$of: predict by its program, $p" 0 predict --checkpoint q.tflite --profile $p \
            --inputs in.safetensors:input_float --out p.safetensors
        bytes_of p.safetensors scores >want
        expect "$of: export C" 0 export --checkpoint q.safetensors --to c --profile $p --out c --name net
        write_main
        for cc in gcc clang; do
            $cc -std=c99 -O2 -Wall -Wextra -pedantic -Werror -o net c/main.c c/net.c -lm >out 2>err
            check "... $cc compiles it without a warning" $?
            bytes_of in.safetensors input_float | ./net >got
            cmp -s want got
            check "... and it gives the program's scores" $?
        done
    done
    is "... which are 5 of 3 samples" "$(wc -c <want)" -eq 60
    is "... and not all the same" "$(od -An -tx4 -w20 -v want | sort -u | wc -l)" -gt 1
    for layer in "$@"; do
        expect "$of: vectors of $layer" 0 export --checkpoint q.safetensors --to vectors --layer "$layer" --out v
        expect "... verified" 0 verify --vectors v
        tail -1 out | sed 's/^/# /'
        rm -rf v
    done
}

# network NAME SHARE RANKS
network()
{
    # shellcheck disable=SC2086 # the options are words on purpose
    expect "$1: train" 0 train --model "$root/models/$1.json" $data $real --out "$1"
    expect "$1: prune" 0 prune --checkpoint "$1/last.safetensors" --share "$2" --of-parameters --out pruned.safetensors
    tail -1 out | sed 's/^/# /'
    # shellcheck disable=SC2086 # the options are words on purpose
    expect "$1: tune" 0 train --model pruned.safetensors $data $real --out "$1-pruned"
    hand_over "$1, pruned" "$1-pruned/last.safetensors" conv6 fc2
    expect "$1: factorize" 0 factorize --checkpoint "$1-pruned/last.safetensors" --ranks "$3" --out low.safetensors
    tail -1 out | sed 's/^/# /'
    # shellcheck disable=SC2086 # the options are words on purpose
    expect "$1: tune" 0 train --model low.safetensors $data $real --out "$1-low"
    hand_over "$1, factorised" "$1-low/last.safetensors" conv6 fc1.core1
}

for name in ${*:-bspc_lean bspc_gap_lean bspc_fat bspc_gap_fat}; do
    case $name in
    bspc_lean) network $name 0.90 fc1:8,fc2:6x6x6 ;;
    bspc_fat) network $name 0.80 fc1:12x12 ;;
    bspc_gap_lean) network $name 0.85 fc1:12 ;;
    bspc_gap_fat) network $name 0.85 fc1:24 ;;
    *) check "'$name' is one of bspc_lean, bspc_gap_lean, bspc_fat, bspc_gap_fat" 1 ;;
    esac
done
finish
