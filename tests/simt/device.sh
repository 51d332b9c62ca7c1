#!/bin/sh
# The program says why it does not use a GPU that the machine has; ranks train on GPUs. Usage: device.sh SIMT_DETENT
set -eu
detent=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() { echo "FAIL: $*"; cat out; exit 1; }
tiny="--model tiny --dataset synthetic --train-size 64 --test-size 40 --epochs 1"

# shellcheck disable=SC2086 # words are wanted
SIMT_DEVICE=7.0 "$detent" train $tiny --out old >out 2>&1 || fail "train"
grep -q "^device     cpu: " out || fail "train: the device"
grep -A1 "^device " out | grep -q "^           not cuda: .* has compute capability 7.0, 8.0 is needed" || fail "train: why"
eval="eval --checkpoint old/last.safetensors --dataset synthetic --test-size 40"
# shellcheck disable=SC2086
SIMT_DEVICE=busy "$detent" $eval >out 2>&1 || fail "eval"
grep -A1 "^device " out | grep -q "^           not cuda: .*unknown error" || fail "eval: why"
# shellcheck disable=SC2086
SIMT_DEVICE=7.0 "$detent" $eval --json >out 2>&1 || fail "eval --json"
grep -q '"not_cuda":.*has compute capability 7.0' out || fail "eval --json: why"
# shellcheck disable=SC2086
SIMT_DEVICE=none "$detent" $eval --json >out 2>&1 || fail "eval without a GPU"
! grep -q not_cuda out || fail "no GPU, and a reason"
# shellcheck disable=SC2086
SIMT_DEVICE=none "$detent" $eval >out 2>&1 || fail "eval without a GPU"
! grep -q "not cuda" out || fail "no GPU, and a reason"

# Two ranks, which share the one device here: captured and launched steps leave equal bytes, and a run goes on on one.
ranks="--model tiny --dataset synthetic --train-size 80 --test-size 40 --batch 8 --threads 1 --device cuda --ranks 2"
# shellcheck disable=SC2086
"$detent" train $ranks --epochs 2 --out captured >out 2>&1 || fail "two ranks on a GPU"
grep -q "^ranks      2, by " out || fail "train: the links"
# shellcheck disable=SC2086
"$detent" train $ranks --epochs 2 --no-graph --out launched >out 2>&1 || fail "two ranks on a GPU, launched"
grep -q "^peak       [0-9,]* images/s" out || fail "train: the peak"
grep -q "^epoch  1/2 .* images/s ([0-9]* % of peak)" out || fail "train: an epoch's share of the peak"
cmp -s captured/last.safetensors launched/last.safetensors || fail "captured and launched steps of two ranks differ"
# shellcheck disable=SC2086
"$detent" train $ranks --epochs 3 --accumulate 2 --sync-bn --save-every 3 --out parts >out 2>&1 || fail "two parts"
