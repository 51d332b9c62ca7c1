#!/bin/sh
# test_cli_qkeras.sh - docs/examples/qkeras_mod.md: its scripts and its commands, as they stand on that page, and what comes
#                      of them. It needs Fashion-MNIST and Python.
#
# usage: test_cli_qkeras.sh PATH_OF_DETENT.  Prints "ok N - what" or "not ok N - what"; exit code 1 if any is not ok.
page=$(cd "$(dirname "$0")/../../docs/examples" && pwd)
. "$(dirname "$0")/../support/command.sh"
images=/usr/share/datasets/fashion-mnist

if ! command -v python3 >/dev/null || [ ! -e $images/t10k-images-idx3-ubyte.gz ]; then
    echo "[SKIP] python3 or $images/t10k-images-idx3-ubyte.gz is missing"
    exit 77
fi

# A block of Python belongs to the last script that a line before it names.
awk '/^```python$/ { to = file; next } /^```sh$/ { to = "steps.sh"; next } /^```$/ { to = ""; next }
     to { print >to; next } match($0, /`[a-z]*\.py`/) { file = substr($0, RSTART + 1, RLENGTH - 2) }' "$page/qkeras_mod.md"
for script in images.py compare.py tensors.py twin.py infer.py steps.sh; do is "the page has $script" -s $script; done
cp "$page/qkeras_mod.json" .
mkdir bin && ln -s "$detent" bin/detent
PATH=$PWD/bin:$PATH sh -e steps.sh >out 2>err
check "its commands" $?

has out "^q8.safetensors: qkeras_mod w8a8, 4 values, calibrated on 10 images by minmax$"
has out "^the twin has the folded weights: 357 of 357 numbers are equal$"
has out "^float.safetensors: [0-9]* of 25$"
has out "^qmodel.safetensors: [0-9]* of 25$"
has out "^k16.safetensors: qkeras_mod w16a16$"
has out "^k4-scores.safetensors: [0-9]* of 25$"
is "compare prints scores" "$(grep -c '^       [AB] \( [-0-9.e]*\)\{10\}$' out)" = 50
has out "^equal predictions: [0-9]* of 25 "
has out "^q8-scores.safetensors: [0-9]* of 25$"
has out "^calibration_results: extracted_weights.csv of 3 layers, extracted_activations.csv of 4 quantizers"

# right FILE: how many images that network had right
right()
{
    sed -n "s/^$1: \([0-9]*\) of 25\$/\1/p" out
}

# Of ten classes chance has 2 or 3 of 25.
is "the float network has learned: $(right float.safetensors) of 25 are right" "$(right float.safetensors)" -ge 8
difference=$(($(right float.safetensors) - $(right qmodel.safetensors)))
is "the quantizers of training cost $difference images" "$difference" -le 4
difference=$(($(right float.safetensors) - $(right q8-scores.safetensors)))
is "8 bits cost $difference images" "$difference" -le 4
difference=$(($(right float.safetensors) - $(right k16-scores.safetensors)))
is "16 bits of the notebook's quantizers change $difference images" "$difference" = 0
same=$(sed -n 's/^integers of the tables: \([0-9]*\) of 25.*/\1/p' out)
is "the tables' integers predict as the float network does: $same of 25" "$same" -ge 20
# an error of half a step in each of three layers before the last grows by some factors in the weights
steps=$(sed -n 's/^largest difference of a score: \([0-9]*\)\..*/\1/p' out)
is "their scores are off by $steps steps" "$steps" -le 15

finish
