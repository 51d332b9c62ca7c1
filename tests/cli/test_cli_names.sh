#!/bin/sh
# test_cli_names.sh - a layer's name is whole on the way from training to hardware: two names of 200 bytes, which differ
#                     in their last byte, in reports, captures, verdicts, programs, C and vectors.
#
# usage: test_cli_names.sh PATH_OF_DETENT.  Prints "ok N - what" or "not ok N - what"; exit code 1 if any is not ok.
. "$(dirname "$0")/../support/command.sh"

long=$(printf 'stage1.block2.%0184d.' 0 | tr 0 x)
a=${long}a
b=${long}b
cat >net.json <<END
{ "format": "detent-network", "image": [32, 32, 3], "classes": 10,
  "nodes": [
    ["stem", "conv", "image", { "filters": 8, "window": 3, "pad": 1, "stride": 2 }],
    ["stem.act", "relu", "stem"],
    ["$a", "conv", "stem.act", { "filters": 8, "window": 3, "pad": 1 }],
    ["a.act", "relu", "$a"],
    ["$b", "conv", "a.act", { "filters": 8, "window": 3, "pad": 1 }],
    ["b.bn", "batchnorm", "$b"],
    ["b.act", "relu", "b.bn"],
    ["pool", "avgpool", "b.act", { "window": 16 }],
    ["flat", "flatten", "pool"],
    ["classifier", "linear", "flat", { "features": 10 }] ] }
END
is "names of ${#a} bytes" ${#a} -eq 200
data="--dataset synthetic --test-size 20 --device cpu"
F=run/last.safetensors

expect "train" 0 train --model net.json --dataset synthetic --train-size 32 --test-size 20 --batch 16 --epochs 1 \
    --device cpu --out run
has out "^  $a  *[0-9.]* "
has out "^  $b  *[0-9.]* "
expect "inspect" 0 inspect --checkpoint $F
has out "^$b  *4 "
expect "eval on the array" 0 eval --checkpoint $F $data --engine array
has out "^$b "

expect "capture" 0 capture --checkpoint $F $data --layer "$a" --out capture.safetensors
expect "... and its reader" 0 inspect --checkpoint capture.safetensors
has out "capture of $a, 1 images"
has out "read by $b\$"
expect "... as JSON" 0 inspect --checkpoint capture.safetensors --json
has out "\"$a\""
has out "\"$b\""

expect "verify" 0 verify --checkpoint $F $data --images 3
has out "^$a "
has out "^$b "
has out "^verified: 0 of "
expect "verify as JSON" 0 verify --checkpoint $F $data --images 3 --json
has out "\"$a\""
expect "verify one of them" 0 verify --checkpoint $F $data --images 3 --layer "$b"
has out "float convolution is .*, of $b\$"
expect "a name that is not there" 2 verify --checkpoint $F $data --images 3 --layer "${long}c"
has err "there are stem $a $b, or all"

expect "program" 0 export --checkpoint $F --to program --out net.safetensors
has net.safetensors "\"$b"
expect "... evaluated" 0 eval --checkpoint net.safetensors $data --engine program
expect "C" 0 export --checkpoint $F --to c --out c --name net
has c/net.c "$a"
has c/net.c "$b"
if command -v cc >/dev/null; then
    cc -std=c99 -Wall -Wextra -pedantic -Werror -c c/net.c -o net.o >out 2>err
    check "... compiles" $?
fi

expect "vectors" 0 export --checkpoint $F $data --layer "$b" --to vectors --out v
has v/manifest.json "\"$b\""
expect "... verified" 0 verify --vectors v

finish
