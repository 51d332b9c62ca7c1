#!/bin/sh
# test_cli_codes.sh - detent inspect --histograms: how often each code occurs, against a count of what `detent capture`
#                     wrote, in Python.
#
# usage: test_cli_codes.sh PATH_OF_DETENT
. "$(dirname "$0")/../support/command.sh"

# shellcheck disable=SC2086 # the options are words on purpose
expect "a run" 0 train $tiny --epochs 1 --out run --quiet
F=run/last.safetensors

LC_ALL=C expect "codes in a plain terminal" 0 inspect --histograms --checkpoint $F --images 20
has out "^layer  *codes  *bits  *number  *zero"
has out "^features.8  weights    4       1,152  *[0-9.]* %      -7 [ .,:=+*#-]* 7$"
has out "^ *reads      4      10,240  *[0-9.]* %       0 [ .,:=+*#-]* 15$"
LC_ALL=C.UTF-8 expect "... and in one of UTF-8" 0 inspect --histograms --checkpoint $F --images 20
has out "▂"
LC_ALL=C expect "of 255 codes" 0 inspect --histograms --checkpoint $F --images 20
is "... a line is no longer" "$(grep 'reads      8' out | wc -c)" -lt 100

# ---- against the tensors of a capture

expect "codes as JSON" 0 inspect --histograms --checkpoint $F --images 20 --json
json "... which is JSON" out
cp out codes.json
for layer in features.0 features.4 features.8; do
    expect "a capture of the same images" 0 capture --checkpoint $F --test-size 20 --index 0:20 --layer $layer \
        --out $layer.safetensors
done
if command -v python3 >/dev/null; then
    python3 - >differences <<'END'
import array, collections, json, struct


def tensor(name, layer):
    data = open(layer + ".safetensors", "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    t = json.loads(data[8:8 + n])[name]
    raw = data[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]]
    return collections.Counter(array.array({"I32": "i", "I16": "h", "I8": "b", "U8": "B"}[t["dtype"]], raw))


for layer in json.load(open("codes.json"))["layers"]:
    for name, words in (("input", "reads"), ("weight", "weights")):
        counted = tensor(name, layer["name"])
        told = {row["low"]: row["count"] for row in layer[words] if row["count"]}
        if counted != told:
            print(layer["name"], name, sorted(counted.items()), sorted(told.items()))
END
    check "Python reads the captures" $?
    is "... and counts the same codes" "$(cat differences)" = ""
fi

# ---- without images, and without codes

expect "a dataset that is not there" 0 inspect --histograms --checkpoint $F --dataset cifar10 --data nowhere
has err "note: no activation codes: .*nowhere"
has out "^features.8  weights"
is "... leaves weights alone" "$(grep -c reads out)" -eq 0
expect "a network that is not trained" 0 inspect --histograms --model tiny
has out "^features.8  weights"
expect "its program" 0 inspect --histograms --checkpoint $F --engine program --images 20
has out "^features.8  weights"
expect "a network of reals" 1 inspect --histograms --model tiny --wbits float --abits float
has err "tiny float has no layer of integer codes; train it with --wbits and --abits"
expect "two things at once" 2 inspect --histograms --cost --checkpoint $F
has err "one of them, please"
finish
