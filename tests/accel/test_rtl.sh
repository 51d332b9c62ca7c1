#!/bin/sh
# test_rtl.sh - exported vectors of features.27 through our own 8x8 array in Verilog (rtl/): all psums agree, and one
#               flipped bit in any of the files is noticed. So are a depthwise layer of MobileNet, a strided shortcut of
#               ResNet-20, and a layer that has all that a convolution may have.
#
# usage: test_rtl.sh PATH_OF_DETENT
# DETENT_RTL_CHECKPOINTS="W4A4 W4A2": networks with chokepoints of 8 and 16 channels; else two are trained for seconds,
# and those of the other layers.
# DETENT_RTL_DATASET: where the image is from (synthetic).
set -u

detent=${1:?usage: test_rtl.sh PATH_OF_DETENT}
case $detent in /*) ;; *) detent=$PWD/$detent ;; esac
rtl=$(cd "$(dirname "$0")/../rtl" && pwd) || exit 1
models=$(cd "$(dirname "$0")/../../models" && pwd) || exit 1
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
layer=features.27
positions=16 # of its output

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
    "$detent" train "$@" --dataset synthetic --train-size 64 --test-size 32 --batch 32 --epochs 1 \
        --device cpu --out "$to" >log 2>&1
    check "train $(echo "$*" | sed 's|[^ ]*/||')" $?
}

# first_one FILE...: line and column of the first 1 in their data
first_one()
{
    awk -v header=$header 'FNR > header && (column = index($0, "1")) { print FNR, column; exit }' "$@"
}

# activations_of DIR FILE: those that the weights in FILE meet
activations_of()
{
    case $2 in
    weight_*itile* | weight_*ictile*) echo "$1"/activation*tile"$(echo "$2" | sed 's/.*_ic*tile\([0-9]*\)_.*/\1/')".txt ;;
    *) echo "$1"/activation*.txt ;;
    esac
}

# place DIR FILE K: line and column of a bit to flip, another one for each K. A weight matters only where its activation
# is not 0: so it is one of those that meet the first activation that is not. A row has the same four columns in both.
place()
{
    # shellcheck disable=SC2046 # files, line and column are words
    set -- "$1" "$2" "$3" $(first_one $(activations_of "$1" "$2"))
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
    "$detent" export --checkpoint "$checkpoint" --dataset "$dataset" --layer "$layer" --index 3 --to vectors "$@" \
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
    simulate "$@" && [ "${result#PASS "$positions/$positions" positions}" != "$result" ]
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
    case $file:$result in out*:FAIL\ $((positions - 1))/$positions\ *) ;; out*) return 1 ;; *:FAIL*) ;; *) return 1 ;; esac
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

# layer_agrees DIR CHECKPOINT LAYER POSITIONS SIZES...: all psums do, in files that verify too
layer_agrees()
{
    dir=$1 checkpoint=$2 layer=$3 positions=$4
    shift 4
    export_layer "$dir" "$checkpoint" --layout course || return
    "$detent" verify --vectors "$dir" >log 2>&1
    check "$dir: verify" $?
    passes simulation "$dir" "$@"
}

# A depthwise layer is 8 blocks of 8 channels; the shortcut has windows of one position in each fourth.
networks()
{
    train mobilenet --model "$models/mobilenet.json"
    layer_agrees depthwise mobilenet/best.safetensors block6.depthwise 16 +height=8 +width=8 +stride=2 +channels=64 \
        +filters=64 +groups=64
    train resnet20 --model "$models/resnet20.json"
    layer_agrees shortcut resnet20/best.safetensors stage2.1.shortcut 256 +height=32 +width=32 +pad=0 +window=1 \
        +stride=2 +channels=16 +filters=32
}

# Groups of two channels, of which four go at once and one is left; and all else differs by axis or side.
all_forms()
{
    cat >forms.json <<END
{ "format": "detent-network", "image": [32, 32, 3], "classes": 10,
  "nodes": [
    ["stem",       "conv",      "image",    { "filters": 10, "window": 8, "stride": 8 }],
    ["stem.bn",    "batchnorm", "stem"],
    ["stem.relu",  "relu",      "stem.bn"],
    ["odd",        "conv",      "stem.relu", { "filters": 10, "groups": 5, "window": [3, 2], "stride": [2, 1],
                                               "pad": [0, 2, 1, 0], "dilation": [1, 2] }],
    ["odd.bn",     "batchnorm", "odd"],
    ["odd.relu",   "relu",      "odd.bn"],
    ["pool",       "avgpool",   "odd.relu", { "window": 0 }],
    ["flat",       "flatten",   "pool"],
    ["classifier", "linear",    "flat",     { "features": 10 }] ] }
END
    layer=odd positions=8
    set -- +height=4 +width=4 +channels=10 +filters=10 +groups=5 +window=3 +window_width=2 +stride=2 \
        +stride_columns=1 +pad=0 +pad_left=2 +pad_bottom=1 +pad_right=0 +dilation=1 +dilation_columns=2
    train forms-w4a4 --model forms.json
    train forms-w4a2 --model forms.json --abits 2
    agrees forms-course forms-w4a4/best.safetensors course "$@"
    agrees forms-pack-a forms-w4a2/best.safetensors pack-a "$@"
    export_layer forms-output-stationary forms-w4a2/best.safetensors --layout output-stationary || return
    passes simulation forms-output-stationary +layout=output-stationary "$@"
    passes simulation forms-output-stationary +layout=output-stationary +simd=1 "$@"
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

[ -n "$w4a4" ] || train c8 --model vgg16 --choke 8
[ -n "$w4a2" ] || train c16 --model vgg16 --choke 16 --abits 2
w4a4=${w4a4:-c8/best.safetensors}
w4a2=${w4a2:-c16/best.safetensors}
agrees w4a4-course "$w4a4" course
agrees w4a4-output-stationary "$w4a4" output-stationary
agrees w4a2-pack-a "$w4a2" pack-a
agrees w4a2-output-stationary "$w4a2" output-stationary +simd=1
reads_plain "$w4a4"
if [ -z "${DETENT_RTL_CHECKPOINTS-}" ]; then
    wraps "$w4a4" # psums of a given network may all fit 8 bits
    networks
    all_forms
fi

echo "1..$n"
[ $n_failed -eq 0 ]
