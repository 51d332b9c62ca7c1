#!/bin/sh
# accuracy.sh - what each means of accuracy brings by itself: the same short run with it and without, each with the same
# seeds. Prints a table in Markdown, which docs/ACCURACY.md has.
#
# usage: accuracy.sh DETENT OUT [ROW...]
#   DETENT  the program; OUT: folder of the runs, which a second call goes on with; ROW: names of rows, else all of them
# Variables: DATA (folder of the data set), DATASET (cifar10), MODEL (models/resnet8.json), IMAGES (10000 training images),
#   TEST (2000 test images), EPOCHS (6), SEEDS (3), BITS (--wbits 4 --abits 2), OPTIONS (further ones, of all rows).
# The accuracy is that of the last epoch on the test images, which choose nothing here. A deviation is that between seeds;
# the gain over the row `base` is taken seed by seed, with its own.
set -eu

detent=${1:?usage: accuracy.sh DETENT OUT [ROW...]}
out=${2:?usage: accuracy.sh DETENT OUT [ROW...]}
shift 2
rows=$*
DATASET=${DATASET:-cifar10} MODEL=${MODEL:-models/resnet8.json} IMAGES=${IMAGES:-10000} TEST=${TEST:-2000}
EPOCHS=${EPOCHS:-6} SEEDS=${SEEDS:-3} BITS=${BITS:---wbits 4 --abits 2} OPTIONS=${OPTIONS:-}
base="--model $MODEL --dataset $DATASET ${DATA:+--data $DATA} --train-size $IMAGES --test-size $TEST --batch 64 --lr 0.02
      --epochs $EPOCHS --quant-rule lsq --repeat $SEEDS $OPTIONS"
mkdir -p "$out"

# row NAME OPTIONS...: its runs, and its line of the table
row()
{
    name=$1
    shift
    case " $rows " in *" $name "* | '  ') ;; *) return ;; esac
    # shellcheck disable=SC2086 # the options are words
    "$detent" train $base $BITS "$@" --resume --out "$out/$name" >"$out/$name.log" 2>&1 || {
        echo "| $name | $* | failed: $(tail -n 1 "$out/$name.log") | | | |"
        return
    }
    python3 - "$out/$name" "$name" "$*" "$out/base" <<'EOF'
import glob, json, os, statistics, sys

folder, name, options, base = sys.argv[1:]
last = {path: {run["seed"]: 100 * run["last"] for run in json.load(open(path + "/repeat.json"))["runs"]}
        for path in (folder, base) if os.path.exists(path + "/repeat.json")}
mine, other = last[folder], last.get(base, {})
gains = [mine[seed] - other[seed] for seed in mine if seed in other] if folder != base else []
speeds = []
for path in glob.glob(folder + "/**/metrics.jsonl", recursive=True):
    speeds += [line["images_per_s"] for line in map(json.loads, open(path)) if line.get("images_per_s")]
deviation = lambda x: statistics.stdev(x) if len(x) > 1 else 0
print("| %s | %s | %.2f | %.2f | %s | %.0f |" % (
    name, "`%s`" % options if options else "", statistics.mean(mine.values()), deviation(list(mine.values())),
    "%+.2f (%.2f)" % (statistics.mean(gains), deviation(gains)) if gains else "",
    sum(speeds) / max(len(speeds), 1)))
EOF
}

echo "| row | options beside the base's | last epoch, % | deviation | more than base, seed by seed | images/s |"
echo "|---|---|---|---|---|---|"
row base
row float --wbits float --abits float
row fixed-ece284 --quant-rule ece284 --start-clips fixed
row mse-ece284 --quant-rule ece284 --start-clips mse
row percentile-ece284 --quant-rule ece284 --start-clips percentile
row mse --start-clips mse
row percentile --start-clips percentile
row step-rate --alpha-lr 1
row warmup --warmup 1
row triangular --schedule triangular
row one-cycle --schedule one-cycle
row ema --ema 0.99
row cutout --cutout 8
row shift --crop 0 --shift 3
row alternating --flip-kind alternating
row colours --brightness 0.2 --contrast 0.2
row ewgs --ewgs 0.2
row ewgs-activations --ewgs-activations 0.2
row dampen --dampen 0.001
row freeze --freeze 0.02
row start-weights --start-weights keep
row first-last-8 --first-last-bits 8
row whiten --whiten --first-last-bits 8
third=$((EPOCHS / 3))
row stages --stages "float:$third,w4a4:$third,w4a2:$((EPOCHS - 2 * third))"
teacher=$out/float/seed-1/last.safetensors
if [ -e "$teacher" ]; then
    row teacher --teacher "$teacher"
    row teacher-originals --teacher "$teacher" --teacher-sees originals
fi
