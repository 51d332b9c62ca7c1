#!/bin/sh
# test_cli_vectors.sh - what the program says to people who bring up hardware: the verdict of `detent verify`, captures,
#                       and the refusals of `detent export --to vectors`, each with what to do about it.
#
# usage: test_cli_vectors.sh PATH_OF_DETENT.  Prints "ok N - what" or "not ok N - what"; exit code 1 if any is not ok.
. "$(dirname "$0")/../support/command.sh"
data="--dataset synthetic --test-size 40 --device cpu"

# ends FILE PATTERN: the last command's last line
ends()
{
    tail -n 1 "$1" >last
    has last "$2"
}

# train DIR OPTIONS...
train()
{
    out=$1
    shift
    expect "train $*" 0 train --model tiny --dataset synthetic --train-size 64 --test-size 32 --batch 32 --epochs 1 \
        --device cpu --quiet "$@" --out "$out"
}

# spoil DIR: the last bit of out_raw.txt is another, and the manifest agrees with it
spoil()
{
    python3 - "$1" <<'END'
import hashlib, json, sys
folder = sys.argv[1]
text = open(folder + "/out_raw.txt").read()
text = text[:-2] + ("1" if text[-2] == "0" else "0") + "\n"
open(folder + "/out_raw.txt", "w").write(text)
manifest = json.load(open(folder + "/manifest.json"))
del manifest["sha256"]
for file in manifest["files"]:
    if file["name"] == "out_raw.txt":
        file["sha256"] = hashlib.sha256(text.encode()).hexdigest()
compact = json.dumps(manifest, separators=(",", ":"))
manifest["sha256"] = hashlib.sha256(compact.encode()).hexdigest()
json.dump(manifest, open(folder + "/manifest.json", "w"))
END
}

train w4a4
F=w4a4/last.safetensors

# ---- the verdict

expect "verify" 0 verify --checkpoint $F $data --images 5
ends out "^verified: 0 of [0-9,]* values differ; the largest MAE against the float convolution is .*e-.*, of features"
has out "^scores  *50  *0$"
expect "verify as JSON" 0 verify --checkpoint $F $data --images 5 --json
has out '"verdict":[[:space:]]*"verified: 0 of [0-9,]* values differ; the largest MAE'
expect "export vectors" 0 export --checkpoint $F $data --to vectors --layer features.4 --out v
expect "verify vectors" 0 verify --vectors v
ends out "^verified: 0 of 27,424 values differ; every psum is that of the activations and weights$"
expect "verify vectors as JSON" 0 verify --vectors v --json
has out '"verdict":[[:space:]]*"verified: 0 of 27,424 values differ;'
if command -v python3 >/dev/null; then
    spoil v
    expect "a psum that does not follow" 3 verify --vectors v
    ends out "^failed: 1 of 27,424 values differ; the first is out_raw.txt, line 259, lane 8: expected -*[0-9]*, found "
    expect "... as JSON" 3 verify --vectors v --json
    has out '"verdict":[[:space:]]*"failed: 1 of '
else
    echo "# skipped: there is no python3 to spoil vectors with"
fi

# ---- captures

expect "capture" 0 capture --checkpoint $F $data --index 0:9 --layer features.4 --out c.safetensors
expect "inspect a capture" 0 inspect --checkpoint c.safetensors
has out "^c.safetensors: capture of features.4, 9 images$"
has out "^input  *16x16x8  *0..15, 4 bits; scale "
has out "^weight  *8x3x3x8  *-7..7, 4 bits; scale "
has out "^input_float  *as input  *0.."
has out "^next_input  *8x8x8  *0.*; read by features.8$"
has out "^  *0  *[0-9,]*  *[0-9.]*%  *#"
rows=$(awk '/^[a-z]/ { is_psum = $1 == "psum" && $2 == "count" } is_psum && /%/ { n++ } END { print n }' out)
[ "$rows" -ge 8 ] && [ "$rows" -le 16 ]
check "... psums in $rows lines" $?
expect "... as JSON" 0 inspect --checkpoint c.safetensors --json
has out '"histogram"'
if command -v python3 >/dev/null; then
    python3 -c 'import json; c = json.load(open("out"))
for name in "input", "weight", "psum":
    n = 9 if name != "weight" else 1
    for side in c[name]["shape"]: n *= side
    assert sum(row["count"] for row in c[name]["histogram"]) == n, name' >log 2>&1
    check "... every value is counted once" $?
fi
head -c 3000 c.safetensors >cut.safetensors
expect "a capture that is cut short" 1 inspect --checkpoint cut.safetensors
has err "cut.safetensors"

# ---- refusals say what to do

expect "vectors of signed codes" 0 export --checkpoint $F $data --to vectors --layer features.0 --out signed
expect "verify them" 0 verify --vectors signed
ends out "^verified: 0 of .* values differ"
has signed/activation_tile0.txt "8_bits_a_lane,msb_first,signed"
expect "vectors of signed codes in pairs" 2 export --checkpoint $F $data --to vectors --layer features.0 --layout pack-a --out w
has err "features.0: activation codes of .* do not fit layout pack-a"
expect "vectors of 4-bit codes in pairs" 2 export --checkpoint $F $data --to vectors --layer features.4 --layout pack-a --out w
has err "do not fit layout pack-a, whose lanes have 2 bits and no sign; choose --layout course, or train with --abits 2"
expect "vectors of an array that clips" 2 export --checkpoint $F $data --to vectors --layer features.4 --overflow saturate --out w
has err "--overflow wrap"
expect "vectors with another simd" 2 export --checkpoint $F $data --to vectors --layer features.4 --simd 2 --out w
has err "choose --simd auto"
expect "vectors of another dataflow" 2 export --checkpoint $F $data --to vectors --layer features.4 --dataflow os --out w
has err "choose --layout output-stationary, or --dataflow ws"
expect "vectors of an output stationary array" 0 export --checkpoint $F $data --to vectors --layer features.4 --dataflow os \
    --layout output-stationary --out os
expect "header lines beyond a hand's" 2 export --checkpoint $F --header-lines 10 --out w
has err "--header-lines 10: expected 0..9 or layout"

finish
