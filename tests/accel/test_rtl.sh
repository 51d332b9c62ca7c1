#!/bin/sh
# test_rtl.sh - exported vectors of features.27 through our own 8x8 array in Verilog (rtl/): all psums agree, and one
#               flipped bit in any of the files is noticed.
#
# usage: test_rtl.sh PATH_OF_DETENT
# DETENT_RTL_CHECKPOINTS="W4A4 W4A2": networks with chokepoints of 8 and 16 channels; else two are trained for seconds.
# DETENT_RTL_DATASET: where the image is from (synthetic).
set -u

detent=${1:?usage: test_rtl.sh PATH_OF_DETENT}
case $detent in /*) ;; *) detent=$PWD/$detent ;; esac
rtl=$(cd "$(dirname "$0")/../rtl" && pwd) || exit 1
for program in iverilog vvp; do
    if ! command -v $program >/dev/null; then
        echo "skipped: there is no $program (apt-get install iverilog)"
        exit 77
    fi
done
dataset=${DETENT_RTL_DATASET:-synthetic}
w4a4=""
w4a2=""
for file in ${DETENT_RTL_CHECKPOINTS-}; do
    if [ -z "$w4a4" ]; then w4a4=$(realpath "$file"); else w4a2=$(realpath "$file"); fi
done
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1
export LC_ALL=C # *.sv: array_op.sv, which others import, comes first

n=0
n_failed=0
header=3 # lines before the data of the folder last exported

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

# train DIR OPTIONS...
train()
{
    to=$1
    shift
    "$detent" train --model vgg16 --dataset synthetic --train-size 64 --test-size 32 --batch 32 --epochs 1 \
        --device cpu "$@" --out "$to" >log 2>&1
    check "train with $*" $?
}

# first_one FILE...: line and column of the first 1 in their data
first_one()
{
    awk -v header=$header 'FNR > header && (column = index($0, "1")) { print FNR, column; exit }' "$@"
}

# place DIR FILE K: line and column of a bit to flip, another one for each K. A weight matters only where its activation
# is not 0: so it is one of those that meet the first activation that is not. A row has the same four columns in both.
place()
{
    # shellcheck disable=SC2046 # line and column are words
    set -- "$1" "$2" "$3" $(first_one "$1"/activation*.txt)
    case $2 in
    activation*) first_one "$1/$2" ;;
    weights_os*) echo "$4 $((1 + 5 * $3 % 32))" ;; # the line of the same channel and tap
    weight_octile*) # a line of odd channels (high bits of an activation), then one of even, for each filter
        echo "$((header + 1 + $3 % 8 * 2 + (($5 - 1) % 4 > 1))) $((($5 - 1) / 4 * 4 + 1 + $3 % 4))" ;;
    weight*) echo "$((header + 1 + $3 % 8)) $((($5 - 1) / 4 * 4 + 1 + $3 % 4))" ;;
    *) awk -v header=$header -v k="$3" '
        END { print header + 1 + 7 * k % (NR - header), 1 + 11 * k % length($0) }' "$1/$2" ;;
    esac
}

# flip FILE LINE COLUMN: the digit there
flip()
{
    awk -v line="$2" -v column="$3" '
        NR == line { $0 = substr($0, 1, column - 1) (1 - substr($0, column, 1)) substr($0, column + 1) }
        { print }' "$1" >flipped && ! cmp -s flipped "$1" && mv flipped "$1"
}

# simulate SIMULATION DIR ARGUMENTS...: the last line is in `result`
simulate()
{
    program=$1 dir=$2
    shift 2
    vvp "$program" "+dir=$dir" "$@" >log 2>&1
    status=$?
    result=$(tail -n 1 log)
    return $status
}

# export_layer DIR CHECKPOINT OPTIONS...
export_layer()
{
    dir=$1 checkpoint=$2
    shift 2
    "$detent" export --checkpoint "$checkpoint" --dataset "$dataset" --layer features.27 --index 3 --to vectors "$@" \
        --out "$dir" >log 2>&1
    status=$?
    check "$dir: export $*" $status
    [ $status -eq 0 ] || return 1
    header=$(sed -n 's/.*"header_lines":[^0-9]*\([0-9]*\).*/\1/p' "$dir/manifest.json" | head -n 1)
    [ -n "$(first_one "$dir"/out_raw*.txt)" ]
    check "$dir: psums are not all 0" $?
}

# passes SIMULATION DIR ARGUMENTS...
passes()
{
    simulate "$@" && [ "${result#PASS 16/16 positions}" != "$result" ]
    check "$2: $result" $?
}

# notices FILE K DIR ARGUMENTS...: the simulation fails with a bit of FILE flipped; in one position if it is an output's
notices()
{
    file=$1 k=$2
    shift 2
    cp "$1/$file" kept
    # shellcheck disable=SC2046 # line and column are words
    flip "$1/$file" $(place "$1" "$file" "$k") && ! simulate simulation "$@"
    noticed=$?
    mv kept "$1/$file"
    [ $noticed -eq 0 ] || return 1
    case $file:$result in out*:FAIL\ 15/16*) ;; out*) return 1 ;; *:FAIL*) ;; *) return 1 ;; esac
}

# notices_all DIR ARGUMENTS...
notices_all()
{
    unnoticed=""
    count=0
    for path in "$1"/*.txt; do
        notices "$(basename "$path")" $count "$@" || unnoticed="$unnoticed $file"
        count=$((count + 1))
    done
    [ $count -gt 0 ] && [ -z "$unnoticed" ]
    check "$1: one flipped bit in each of $count files is noticed${unnoticed:+, but not in$unnoticed}" $?
}

# agrees DIR CHECKPOINT LAYOUT ARGUMENTS...
agrees()
{
    dir=$1 layout=$3
    export_layer "$1" "$2" --layout "$3" || return
    shift 3
    set -- "$dir" "+layout=$layout" "+headers=$header" "$@"
    passes simulation "$@"
    notices_all "$@"
}

# wraps CHECKPOINT: psums of 8 bits, which is too narrow for some, keep the low bits
wraps()
{
    export_layer 8-bit "$1" --layout course --psum-bits 8 || return
    for dir in w4a4-course 8-bit; do tail -n +$((header + 1)) $dir/viz/viz_out_raw.txt >$dir/decimals; done
    ! diff -b w4a4-course/decimals 8-bit/decimals >log
    check "8-bit: some psums need more" $?
    passes narrow 8-bit +layout=course
}

# reads_plain CHECKPOINT: files without headers
reads_plain()
{
    export_layer no-headers "$1" --layout course --header-lines 0 || return
    passes simulation no-headers +layout=course "+headers=$header"
    ! simulate simulation no-headers +layout=course && [ "$header" = 0 ]
    check "no-headers: three lines too many are noticed" $?
}

# compile SIMULATION OPTIONS...
compile()
{
    program=$1
    shift
    iverilog -g2012 -Wall "$@" -o "$program" "$rtl"/*.sv >log 2>&1 && ! [ -s log ]
    check "iverilog has no warnings${*:+ with $*}" $?
}

compile simulation
compile narrow -Pvectors_tb.PSUM_BITS=8
if command -v verilator >/dev/null; then
    verilator --lint-only -Wall --timing --top-module vectors_tb "$rtl"/*.sv >log 2>&1
    check "verilator has no warnings" $?
else
    echo "# skipped: there is no verilator to look for more warnings"
fi

[ -n "$w4a4" ] || train c8 --choke 8
[ -n "$w4a2" ] || train c16 --choke 16 --abits 2
w4a4=${w4a4:-c8/best.safetensors}
w4a2=${w4a2:-c16/best.safetensors}
agrees w4a4-course "$w4a4" course
agrees w4a4-output-stationary "$w4a4" output-stationary
agrees w4a2-pack-a "$w4a2" pack-a
agrees w4a2-output-stationary "$w4a2" output-stationary +simd=1
reads_plain "$w4a4"
[ -n "${DETENT_RTL_CHECKPOINTS-}" ] || wraps "$w4a4" # psums of a given network may all fit 8 bits

echo "1..$n"
[ $n_failed -eq 0 ]
