#!/bin/sh
# check_compressed.sh - the ECG networks of a study that has run (docs/STUDY.md), lean and fat, pruned and factorised: each
#                       quantized network is verified, exported as C that gcc and clang compile without a warning and that
#                       gives the program's scores, and as vectors. No value may differ.
#
# usage: scripts/check_compressed.sh PATH_OF_DETENT STUDY_DIR
#
#   detent report --study --quick --out study && scripts/check_compressed.sh build/detent study
#
# It is no test of the suite, because the fat networks take minutes, and because networks that give several scores have to
# be trained first.
root=$(cd "$(dirname "$0")/.." && pwd)
study=$(cd "${2:?usage: $0 PATH_OF_DETENT STUDY_DIR}" && pwd) || exit 1
. "$root/tests/support/command.sh"

# bytes_of FILE TENSOR: the data of a tensor of a safetensors file.
bytes_of()
{
    h=$(od -An -tu8 -N8 "$1" | tr -d ' ')
    set -- "$1" $(head -c $((8 + h)) "$1" | tail -c +9 |
        sed -n 's/.*"'"$2"'": *{[^}]*"data_offsets": *\[\([0-9]*\), *\([0-9]*\)\].*/\1 \2/p')
    tail -c +$((9 + h + $2)) "$1" | head -c $(($3 - $2))
}

# hand_over WHAT QUANTIZED LAYER...: the layers are those of which vectors are made.
hand_over()
{
    of=$1
    cp "$2" q.safetensors
    check "$of: it is there" $?
    shift 2
    for p in litert-ref exact; do
        expect "$of: verify under $p" 0 verify --checkpoint q.safetensors --images 1 --profile $p
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
        main_of_reals
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

seq="$study/BSPC model" gap="$study/BSPC_GAP model"
q=full.safetensors
hand_over "BSPC lean, pruned" "$seq/lean BSPC models/BSPC_seq_param100K_pruned_90/$q" conv6 fc2
hand_over "BSPC lean, factorised" "$seq/lean BSPC models/0_0_bottom_right/$q" conv6 fc1.core1
hand_over "BSPC fat, pruned" "$seq/fat BSPC models/BSPC_seq_param4M_pruned_80/$q" conv6 fc2
hand_over "BSPC fat, factorised" "$seq/fat BSPC models/0_7_top_right/$q" conv6 fc1.core1
hand_over "BSPC-GAP lean, pruned" "$gap/lean BSPC_GAP models/BSPC_res_param250K_pruned_85/$q" conv6 fc2
hand_over "BSPC-GAP lean, factorised" "$gap/lean BSPC_GAP models/0_0_bottom_left/$q" conv6 fc1.core1
hand_over "BSPC-GAP fat, pruned" "$gap/fat BSPC_GAP models/BSPC_res_param4M_pruned_85/$q" conv6 fc2
hand_over "BSPC-GAP fat, factorised" "$gap/fat BSPC_GAP models/0_6_bottom_left/$q" conv6 fc1.core1
finish
