#!/bin/sh
# device_shortage.sh - whichever call of CUDA fails, the program ends with a message and exit code 1, or does without it
#                      and ends well; files are whole, and training goes on to the bits that it would have had.
#
# usage: device_shortage.sh PATH_OF_SIMT_DETENT_SHORTAGE (tests/support/shortage.c).  Of each command 8 calls fail;
# DETENT_TEST_SHORTAGE=N lets up to N of them, and DETENT_TEST_SHORTAGE=all each.
support=$(cd "$(dirname "$0")/../support" && pwd)
. "$support/command.sh"
export OMP_NUM_THREADS=1
. "$support/shortages.sh"
kinds=device

small="--model tiny --dataset synthetic --train-size 16 --test-size 8 --batch 8 --threads 1 --device cuda"
few="--test-size 8 --threads 1 --device cuda"
expect "a run" 0 train $small --epochs 1 --quiet --out run

after="train $small --epochs 1 --quiet --resume --out run"
shortages "train" "" "run/last.safetensors run/best.safetensors" train $small --epochs 1 --quiet --out run
after="train --resume --extend 1 --quiet --out run"
shortages "resume" "run" "run/last.safetensors run/best.safetensors" train --resume --extend 1 --quiet --out run
after=
cp run/last.safetensors net.safetensors
shortages "eval" "net.safetensors" "" eval net.safetensors $few --json
shortages "eval of a program" "net.safetensors" "" eval net.safetensors $few --engine program --json
shortages "verify" "net.safetensors" "" verify net.safetensors --images 2 --threads 1 --device cuda
shortages "capture" "net.safetensors" "c.safetensors" capture net.safetensors $few --layer features.4 --out c.safetensors

is "there were many failures: $n_injected, of which $n_survived did not matter" $n_injected -gt 40
finish
