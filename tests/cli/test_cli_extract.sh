#!/bin/sh
# test_cli_extract.sh - `detent export --to csv`: the files, their options and refusals, and the reader that
#                       docs/QKERAS_FORMAT.md has.
#
# usage: test_cli_extract.sh PATH_OF_DETENT.  Prints "ok N - what" or "not ok N - what"; exit code 1 if any is not ok.
docs=$(cd "$(dirname "$0")/../../docs" && pwd)
. "$(dirname "$0")/../support/command.sh"

# text FILE PATTERN: a file has that.
text()
{
    grep -q -e "$2" "$1"
    check "... $1 has '$2'" $?
}

cat >net.json <<'END'
{ "format": "detent-network", "image": [32, 32, 3], "classes": 10, "nodes": [
    ["stem", "conv", "image", { "filters": 4, "window": 3, "stride": 4 }], ["stem.biased", "bias", "stem"],
    ["stem.bn", "batchnorm", "stem.biased"], ["act", "relu", "stem.bn"], ["pool", "maxpool", "act", { "window": 2 }],
    ["flat", "flatten", "pool"], ["dense", "linear", "flat", { "features": 10 }],
    ["dense.bn", "batchnorm", "dense"] ] }
END
expect "train in reals" 0 train --model net.json --wbits float --abits float --dataset synthetic --train-size 60 \
    --test-size 40 --batch 20 --epochs 1 --threads 1 --device cpu --quiet --out run
expect "quantize" 0 quantize --checkpoint run/last.safetensors --dataset synthetic --images 10 --fc-per-tensor \
    --device cpu --out q.safetensors

expect "export as CSV" 0 export --checkpoint q.safetensors --to csv --device cpu --out made/here
has out "^made/here: extracted_weights.csv of 2 layers, extracted_activations.csv of 3 quantizers, and both as"
text made/here/extracted_weights.csv "^,w_scale,b_scale,subq1,wq,bq$"
text made/here/extracted_weights.csv '^dense,"\[[0-9.e-]*\]","\[[0-9.e-]*\]","\['
text made/here/extracted_activations.csv "^,alpha_of_max_abs,beta_of_max_abs,in_scale,in_zeropoint$"
text made/here/extracted_activations.csv '^act.quant,"\[0\]","\[[0-9.]*\]","\[[0-9.e-]*\]","\[-127\]"$'

if command -v python3 >/dev/null; then
    sed -n '/^```python$/,/^```$/p' "$docs/QKERAS_FORMAT.md" | sed '/^```/d' >reader.py
    (cd made/here && python3 ../../reader.py) >out 2>err
    check "the reader of the docs" $?
    has out "^stem filters 4 largest 127 sums \[-*[0-9]*, -*[0-9]*, -*[0-9]*, -*[0-9]*\]$"
    has out "^act.quant scale [0-9.e-]* zero point -127$"
else
    echo "# skipped: there is no python3 for the reader of the docs"
fi

expect "... with the names of today" 0 export --checkpoint q.safetensors --to csv --device cpu --columns qkeras-mod --out now
text now/extracted_weights.csv "^,w_scale,b_scale,subq,wq,bq$"
text now/extracted_activations.csv "^,alpha_of_min,beta_of_max,in_scale,in_zeropoint$"
expect "... with 16 bits" 0 export --checkpoint q.safetensors --to csv --device cpu --wbits 16 --abits 16 --bias-bits 32 \
    --out wide
text wide/extracted_activations.csv '^act.quant,.*"\[-32767\]"$'
text wide/extracted_weights.csv "2147483647"

expect "a network of reals" 1 export --checkpoint run/last.safetensors --to csv --device cpu --out no
has err "nothing to extract; quantize it by 'detent quantize'"
expect "1 bit" 2 export --checkpoint q.safetensors --to csv --wbits 1 --out no
has err "expected 2..31 or own"
is "nothing was written" ! -e no

finish
