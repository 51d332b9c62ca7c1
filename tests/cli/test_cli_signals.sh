#!/bin/sh
# test_cli_signals.sh - data that are no pictures, from a data set to engines: windows of sensors by smartwatch_lean,
#                       ECGs with several labels by bspc_lean, tables; trained, quantized, verified, exported; what is
#                       refused.
#
# usage: test_cli_signals.sh PATH_OF_DETENT
models=$(cd "$(dirname "$0")/../../models" && pwd)
. "$(dirname "$0")/../support/command.sh"
real="--wbits float --abits float --threads 1 --device cpu --quiet"

# hand_over NETWORK: exports q.safetensors as C, which must compile, and for TensorFlow Lite.
hand_over()
{
    expect "$1: export C" 0 export --checkpoint q.safetensors --to c --out c --name net
    "${CC:-cc}" -std=c99 -O1 -Wall -Wextra -Werror -c -o net.o c/net.c >out 2>err
    check "... compiles" $?
    has c/net.h "net_run_reals(const float image"
    expect "$1: export to TensorFlow Lite" 0 export --checkpoint q.safetensors --to tflite --out q.tflite
    has out "input and output i8$"
    expect "$1: import it" 0 import --checkpoint q.tflite --out back.safetensors
}

# ---- windows of sensors

# shellcheck disable=SC2086 # the options are words on purpose
expect "windows: train" 0 train --model "$models/smartwatch_lean.json" --dataset synthetic-windows --train-size 1800 \
    --test-size 120 $real --optim adam --lr 0.01 --batch 32 --epochs 4 --label-smoothing 0 --out sw
F=sw/last.safetensors
expect "windows: eval" 0 eval --checkpoint $F --test-size 120
has out "^data       synthetic-windows: 120 test images$"
right=$(sed -n 's/^accuracy  *\([0-9]*\)\..*/\1/p' out)
is "... it has learned: $right %" "$right" -ge 40
expect "windows: quantize" 0 quantize --checkpoint $F --images 60 --out q.safetensors
has out "calibrated on 60 images by minmax"
for p in litert-ref fp32-rne exact; do
    expect "windows: eval under $p" 0 eval --checkpoint q.safetensors --test-size 120 --profile $p
    has out "engine program, $p$"
done
has out "^grid  *[0-9.]* %; 0 predictions differ$"
expect "windows: verify" 0 verify --checkpoint q.safetensors --images 20
has out "^verified: 0 of [0-9,]* values differ"
expect "windows: capture" 0 capture --checkpoint q.safetensors --layer conv2 --index 0:2 --out cap.safetensors
hand_over windows

# shellcheck disable=SC2086 # the options are words on purpose
expect "windows: thresholds" 0 train --model "$models/smartwatch_lean.json" --dataset synthetic-windows --train-size 60 \
    --test-size 60 --threads 1 --device cpu --quiet --epochs 1 --out th
expect "... are evaluated" 0 eval --checkpoint th/last.safetensors --test-size 60
expect "... and captured" 0 capture --checkpoint th/last.safetensors --layer conv2 --index 0 --out cap.safetensors
expect "... but have no program" 1 verify --checkpoint th/last.safetensors --images 2
has err "was trained on reals (synthetic-windows), and its program would read pixels by a table"

# ---- several labels

# shellcheck disable=SC2086 # the options are words on purpose
expect "labels: train" 0 train --model "$models/bspc_lean.json" --dataset synthetic-beats --train-size 40 --test-size 20 \
    $real --optim adam --lr 0.003 --batch 20 --epochs 1 --out bs
expect "labels: eval" 0 eval --checkpoint bs/last.safetensors --test-size 20
has out "^accuracy   [0-9.]* % of all labels; all labels of [0-9.]* % of the images$"
expect "... with metrics" 0 eval --checkpoint bs/last.safetensors --test-size 20 --metrics
has out "^hamming loss  *[01]\\.[0-9]*$"
has out "^    4  *[0-9]*  *[01]\\.[0-9]*  *[01]\\.[0-9]*  *[01]\\.[0-9]*$"
expect "... as JSON" 0 eval --checkpoint bs/last.safetensors --test-size 20 --json
has out '"micro_f1"'
json "... which is JSON" out
has out '"exact"'
expect "labels: quantize" 0 quantize --checkpoint bs/last.safetensors --images 10 --out q.safetensors
expect "labels: eval under exact" 0 eval --checkpoint q.safetensors --test-size 20 --profile exact
has out "^grid  *[0-9.]* %; 0 predictions differ$"
expect "labels: compare" 0 compare --checkpoint bs/last.safetensors --with q.safetensors --index 0:4
has out "^  *3  *[01]\{5\}  *[01]\{5\}  *[01]\{5\}  *\(yes\|NO\)  *[0-9.e-]*$"
has out "^right: A [0-4] of 4 "
expect "labels: verify" 0 verify --checkpoint q.safetensors --images 1
has out "^verified: 0 of [0-9,]* values differ"
hand_over labels

# ---- tables

awk 'BEGIN { print "a,b,kind"
    for (i = 0; i < 90; i++) printf "%d,%.2f,%s\n", i % 7, i % 3 * 2 + i % 5 / 8, substr("redtanblu", i % 3 * 3 + 1, 3) }' >t.csv
cat >net.json <<'END'
{ "format": "detent-network", "image": [2, 1, 1], "classes": 3, "comment": "a table's",
  "nodes": [ ["flat", "flatten", "image"], ["fc", "linear", "flat", { "features": 8 }], ["act", "relu", "fc"],
             ["classifier", "linear", "act", { "features": 3 }] ] }
END
expect "a table is described" 0 data --dataset csv:t.csv,test=10
has out "^csv:t.csv,test=10: reals of 2x1x1, 3 classes$"
has out "^train  *81 samples, checksums [0-9a-f]*; mean "
has out "^2  *[0-9]*  *[0-9]*  tan$"
expect "... as JSON" 0 data --dataset csv:t.csv,test=10 --json
json "... which is JSON" out
# shellcheck disable=SC2086 # the options are words on purpose
expect "a table: train" 0 train --model net.json --dataset csv:t.csv,test=10,normalize=none $real --epochs 30 --batch 9 \
    --lr 0.05 --out tab
expect "... the checkpoint knows the table" 0 eval --checkpoint tab/last.safetensors
has out "^data       csv:t.csv,test=10,normalize=none: 9 test images$"
has out "^accuracy   \(8\|9\|10\)[0-9.]* %$"
expect "... resume says what changed" 2 train --resume --out tab --dataset csv:t.csv,test=20
has err "but the run in tab has 'csv:t.csv,test=10,normalize=none'"
expect "a table: quantize" 0 quantize --checkpoint tab/last.safetensors --images 30 --out q.safetensors
expect "a table: export C" 0 export --checkpoint q.safetensors --to c --out c --name net
main_of_reals
"${CC:-cc}" -std=c99 -O2 -Wall -Wextra -Werror -o net c/main.c c/net.c -lm >out 2>err
check "... compiles" $?
# five samples of 2x1x1, F32, whose values are the checkpoint's last bytes; the header is padded to 72 bytes
{
    printf '\110\0\0\0\0\0\0\0%-72s' '{"x":{"dtype":"F32","shape":[5,2,1,1],"data_offsets":[0,40]}}'
    tail -c 40 tab/last.safetensors
} >x.safetensors
expect "a table: predict" 0 predict --checkpoint q.safetensors --profile litert-ref --inputs x.safetensors --out x.pred
tail -c 40 x.safetensors | ./net >c.scores
tail -c 75 x.pred | head -c 60 >x.scores # 15 scores, then 15 codes
cmp -s c.scores x.scores
check "... gives the scores of C" $?

# ---- what is refused

# shellcheck disable=SC2086 # the options are words on purpose
expect "augmentation of signals" 1 train --model "$models/smartwatch_lean.json" --dataset synthetic-windows $real --crop 4 \
    --out x
has err "crop 4, shift 0, rotation 0 and flip 0 are for images of 8 bits"
# shellcheck disable=SC2086 # the options are words on purpose
expect "a table that is not there" 1 train --model net.json --dataset csv:t.csv --data gone $real --out x
has err "there is no file gone/t.csv"
# shellcheck disable=SC2086 # the options are words on purpose
expect "windows for a network of labels" 2 train --model "$models/bspc_lean.json" --dataset synthetic-windows $real --out x
has err "asked for 1000x12x1, and its samples are 100x6x1; reals are neither padded nor resized"
expect "pixels for a network of reals" 2 eval --checkpoint $F --dataset mnist
expect "an option that a kind has not" 2 data --dataset csv:t.csv,window=3
has err "'window' is no option of csv; there are: test seed normalize"
expect "a kind that there is not" 2 data --dataset tsv:t.csv
has err "there is no dataset 'tsv:t.csv'"
expect "the list has the kinds" 0 data
has out "^ptbxl:DIR: "
has out "^  options: device signals activities window stride test seed normalize$"

finish
