#!/bin/sh
# test_cli_report.sh - detent report RUN...: the page's structure, and that its numbers are those of the other commands.
#
# usage: test_cli_report.sh PATH_OF_DETENT
support=$(cd "$(dirname "$0")/../support" && pwd)
. "$(dirname "$0")/../support/command.sh"

command -v python3 >/dev/null || {
    echo "[SKIP] test_cli_report: no python3 to read pages with"
    exit 77
}

# page WHAT FILE: the page has nothing wrong.
page()
{
    python3 "$support/page.py" "$2" >out 2>err
    check "$1" $?
}

# ---- one run

# shellcheck disable=SC2086 # the options are words on purpose
expect "a run" 0 train $tiny --epochs 3 --out a --quiet
expect "its page" 0 report a
is "... whose path is all of what is printed" "$(cat out)" = "a/report.html"
has err "^a: codes of each layer$"
page "... has nothing wrong" a/report.html
expect "its page elsewhere" 0 report a/ --out there.html --quiet
is "... and nothing on stderr" "$(cat err)" = ""
cmp -s a/report.html there.html
check "... is the same page" $?

# ---- the same numbers as the commands'

expect "classes, by detent eval" 0 eval --checkpoint a/best.safetensors --test-size 40 --confusion --json
cp out eval.json
expect "psums, by detent eval" 0 eval --checkpoint a/best.safetensors --test-size 40 --engine array --json
cp out array.json
expect "bits, by detent inspect" 0 inspect --checkpoint a/best.safetensors --json
cp out inspect.json
expect "cost, by detent inspect" 0 inspect --cost --checkpoint a/best.safetensors --json
cp out cost.json
python3 - "$support" >differences <<'END'
import json, sys

sys.path.insert(0, sys.argv[1])
import page

p = page.read("a/report.html")
load = lambda name: json.load(open(name))
number = lambda text: float(text.replace("\u2212", "-").replace("\u00b1", "").replace(",", "").rstrip(" %"))


def table(begin):
    found = [t for t in p.tables if t["caption"].startswith(begin)]
    if len(found) != 1:
        sys.exit("%d tables '%s'" % (len(found), begin))
    return [[c["text"].strip() for c in row] for row in found[0]["rows"]]


def same(what, found, wanted):
    if found != wanted:
        print(what, found, wanted)


rows = table("Test images of each class")[1:]
same("confusion", [[number(c) for c in row[4:]] for row in rows], load("eval.json")["confusion"])
same("images of classes", [number(r[1]) for r in rows], [c["images"] for c in load("eval.json")["classes"]])
same("recall", [r[2] for r in rows], ["%.1f %%" % (100 * c["recall"]) for c in load("eval.json")["classes"]])

layers, bounds = load("array.json")["layers"], load("inspect.json")["layers"]
rows = table("Psums")[1:]
same("psums", [[r[0]] + [number(c) for c in r[2:8]] for r in rows],
     [[l["layer"], l["min"], l["max"], l["bits"], l["overflows"], b["psum_bound"], b["psum_bits"]]
      for l, b in zip(layers, bounds)])
rows = table("Cycles of one image")[1:-1]
same("array", [[r[0], number(r[2]), number(r[5])] for r in rows], [[l["layer"], l["cycles"], l["macs"]] for l in layers])
same("busy", [r[4] for r in rows], ["%.1f %%" % (100 * l["utilisation"]) for l in layers])
same("zeros", [r[8] for r in rows], ["%.1f %%" % (100 * l["zero_share"]) for l in layers])

runs = {r[0]: r[1] for r in table("The runs")[1:] if len(r) > 1}
lines = [json.loads(line) for line in open("a/metrics.jsonl")]
best = max(line["test_accuracy"] for line in lines)
same("best", runs["best accuracy"], "%.2f %%" % (100 * best))
same("found", runs["the network shown, on the test set"], "%.2f %%" % (100 * load("eval.json")["accuracy"]))
same("weights", number(runs["weights, bits"]), load("cost.json")["total_mem_w_bits"])
same("BOPs", number(runs["bit operations (BOPs)"]), load("cost.json")["total_bops"])
for caption, of_weights in (("Clips of activations", False), ("Clips of weights", True)):
    same(caption, [[r[0], r[2], r[3]] for r in table(caption)[1:]],
         [[name, "%.5g" % value, "%.5g" % lines[-1]["clips"][name]] for name, value in lines[0]["clips"].items()
          if ("weight_quant" in name) == of_weights])
END
check "the page's numbers can be read" $?
is "... and are those of the commands" "$(cat differences)" = ""

# ---- three runs, one of them of reals

# shellcheck disable=SC2086
expect "a run of 2 bits" 0 train $tiny --wbits 2 --abits 2 --val-size 20 --epochs 2 --out 'b&"<2>' --quiet
# shellcheck disable=SC2086
expect "a run of reals" 0 train $tiny --wbits float --abits float --epochs 2 --out c --quiet
expect "a page of three runs" 0 report a 'b&"<2>' c --out three.html
is "... says where it is" "$(cat out)" = "three.html"
page "... has nothing wrong" three.html
is "... and a part for each run" "$(grep -c '<section class="run"' three.html)" -eq 3
has three.html '<code>--wbits</code></th><td>4</td><td>2</td><td>float</td>'
has three.html 'Codes left out: no layer of the network computes on an integer grid'
has three.html 'b&amp;&quot;&lt;2&gt;'
has three.html 'Accuracy against BOPs'

# ---- without the dataset

expect "a dataset that is not there" 0 report a --dataset cifar10 --data nowhere --out without.html
page "... has nothing wrong" without.html
has without.html 'The classes left out: .*nowhere'
has without.html 'Activation codes left out: '
has without.html 'Weights on their integer grid'
has without.html '<caption>Cycles of one image'
is "... and no picture" "$(grep -c '<img' without.html)" -eq 0

# ---- older runs, labels, capsules

sed -i 's/,"clips":{[^}]*}//' a/metrics.jsonl
expect "metrics without clips" 0 report a
page "... has nothing wrong" a/report.html
has a/report.html 'metrics.jsonl has no course of them'
rm a/metrics.jsonl
expect "a run without metrics" 0 report a
page "... has nothing wrong" a/report.html
has a/report.html 'Curves left out: '
expect "a run of capsules" 0 train --model shallowcaps --dataset synthetic --input 28x28x3 --train-size 20 --test-size 20 \
    --batch 10 --epochs 1 --threads 1 --device cpu --wbits 4 --abits 4 --routing-bits 8 --out d --quiet
expect "... and its page" 0 report d
page "... has nothing wrong" d/report.html
has d/report.html '<img class="sheet" alt="11 test images, their reconstructions'

# ---- misuse

expect "nothing to report" 2 report
has err "Name directories of runs, or --study"
expect "no run" 2 report nothing
has err "nothing: is no run"
expect "a run beside a study" 2 report --study a
has err "study takes no run"
expect "a folder that cannot be written" 1 report c --out /nowhere/at/all.html
# shellcheck disable=SC2046
expect "too many runs" 2 report $(yes a | head -n 25)
has err "a page has up to 24 runs"
finish
