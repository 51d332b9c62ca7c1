#!/bin/sh
# test_rtl_caps.sh - squash and softmax in Verilog (rtl/capsules/) on the exported steps of a network's routings: every
#                    code agrees, and one flipped bit of a code, or of the entries of a table, is noticed.
#
# usage: test_rtl_caps.sh PATH_OF_DETENT
# DETENT_RTL_CAPSULES: a checkpoint of shallowcaps with --routing-bits, and DETENT_RTL_CAPSULES_DATA the options of its
# data; else one is trained for seconds.
set -u

detent=${1:?usage: test_rtl_caps.sh PATH_OF_DETENT}
case $detent in /*) ;; *) detent=$PWD/$detent ;; esac
rtl=$(cd "$(dirname "$0")/../rtl/capsules" && pwd) || exit 1
for program in iverilog vvp; do
    if ! command -v $program >/dev/null; then
        echo "skipped: there is no $program (apt-get install iverilog)"
        exit 77
    fi
done
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1
export LC_ALL=C
n=0
n_failed=0

# check WHAT STATUS: a failure shows the last command's output
check()
{
    n=$((n + 1))
    if [ "$2" -eq 0 ]; then echo "ok $n - $1"; else
        echo "not ok $n - $1"
        sed 's/^/#   /' log
        n_failed=$((n_failed + 1))
    fi
}

# differs WHAT: the folder in hand is damaged, and the test bench must see it
differs()
{
    ../tb >log 2>&1
    [ $? -ne 0 ] && grep -q "codes differ" log
    check "$1" $?
}

data=${DETENT_RTL_CAPSULES_DATA:---dataset synthetic --test-size 8}
checkpoint=${DETENT_RTL_CAPSULES:-}
if [ -z "$checkpoint" ]; then
    "$detent" train --model shallowcaps --input 24x24x3 --decoder none --wbits 4 --abits 4 --routing-bits 8 \
        --dataset synthetic --train-size 64 --test-size 8 --batch 8 --epochs 1 --device cpu --out caps >log 2>&1
    check "train a capsule network" $?
    checkpoint=$work/caps/last.safetensors
fi
iverilog -g2012 -o tb "$rtl"/*.sv >log 2>&1
check "compile the units" $?

# 512 or 1,152 capsules of the first, 20 capsules and hundreds of rows of the second
for layer in primary digit; do
    # shellcheck disable=SC2086 # the options are words on purpose
    "$detent" export --checkpoint "$checkpoint" $data --to vectors --layer $layer --index 0 --out $layer >log 2>&1
    check "export the steps of $layer" $?
    cd $layer || exit 1
    ../tb >log 2>&1
    check "the units give every code of $layer ($(sed -n 's/^passed //p' log))" $?
    grep -q "^passed [0-9]* codes of [1-9]" log
    check "... and there are capsules" $?
    cp squash_table.hex table
    # the lowest bit of every entry: 0 1 .. f becomes 1 0 .. e
    sed 'y/0123456789abcdef/1032547698badcfe/' table | cut -c4 >low
    cut -c1-3 table | paste -d '\0' - low >squash_table.hex
    [ $layer = digit ] || differs "flipped bits of the table are noticed in $layer"
    cp table squash_table.hex
    # the last code of the last line that has another than 0: its lowest bit
    awk '{ lines[NR] = $0 } END { split(lines[NR], f, " "); f[length(f)] += f[length(f)] % 2 ? -1 : 1
        for (i = 1; i < NR; i++) print lines[i]
        line = f[1]; for (i = 2; i <= length(f); i++) line = line " " f[i]; print line }' steps.txt >damaged
    mv damaged steps.txt
    differs "one flipped bit of a code is noticed in $layer"
    cd ..
done
echo "1..$n"
[ $n_failed -eq 0 ]
