#!/bin/sh
# test_cli_power.sh - whenever the power goes, files that were there are whole, old or new; all that a command has written
#                     when it has ended is on the disk; and runs and searches go on to the end of an undisturbed one.
#
# usage: test_cli_power.sh PATH_OF_DETENT_POWER (tests/support/power.c, which has the model of the disk).  The power goes
# at 2 moments of each command, of searches at 1, and at the end; DETENT_TEST_POWER=N makes it up to N moments, and
# DETENT_TEST_POWER=all each of them, which takes minutes. Prints "ok N - what" or "not ok N - what"; exit code 1 if any is not ok.
. "$(dirname "$0")/../support/command.sh"
export OMP_NUM_THREADS=1

most=${DETENT_TEST_POWER:-2} # moments of each command
[ "$most" = all ] && most=1000000000
n_cuts=0

# ---- what the commands read

small="--model tiny --dataset synthetic --train-size 32 --test-size 20 --batch 16 --threads 1 --device cpu"
short="$small --epochs 1 --quiet"
expect "a run" 0 train $short --out run
expect "another run" 0 train $short --seed 9 --out other
expect "a run of reals" 0 train $short --wbits float --abits float --out reals
expect "a network of 8 bits" 0 quantize reals/last.safetensors --images 16 --threads 1 --out q.safetensors
expect "vectors of another run" 0 export other/last.safetensors --to vectors --layer features.4 --out v
cp run/last.safetensors last.safetensors
cp reals/last.safetensors reals.safetensors
cp reals/last.safetensors p.safetensors
cat >space.json <<'JSON'
{ "options": { "train-size": 32, "test-size": 20, "batch": 16, "val-size": 16, "epochs": 1, "quant-rule": "lsq" },
  "kernel": [2, 4, 8], "activation": [2, 4, 8] }
JSON
cat >sweep.json <<'JSON'
{ "options": { "model": "tiny", "dataset": "synthetic", "train-size": 32, "test-size": 20, "batch": 16, "epochs": 1,
               "threads": 1, "device": "cpu" },
  "grid": { "seed": [0, 1] } }
JSON

# ---- one command, whose power goes

# said FILE: without what depends on the clock
said()
{
    sed 's/,*"[a-z_]*\(per_s\|_s\|_s_mean\|seconds\)": *[^,}]*//g; s/,[0-9]*\.[0-9]\{3\}\(,\|$\)/\1/' "$1"
}

# equal FILE FILE: with the same bytes, or of texts with the same contents but for times
equal()
{
    case $1 in
    *.jsonl | *table.csv)
        [ -e "$1" ] && said "$1" >one && said "$2" >two && cmp -s one two
        ;;
    *) cmp -s "$1" "$2" ;;
    esac
}

# fault TEXT: a check that does not hold
fault()
{
    not_ok "$name, cut $k of $moments, $outcome: $1"
    n_faults=$((n_faults + 1))
}

# power MOMENT COMMAND...: runs it in a folder `here` as it was before, and leaves `disk`.
power()
{
    rm -rf here disk
    cp -r was here
    at=$1
    shift
    (cd here && DETENT_POWER=$work/disk:$at exec "$detent" "$@") >out 2>err
    got=$?
}

# seen: the files in `left` are those of a cut that has been judged.
seen()
{
    sum=$(find left -type f -exec cksum {} + | sort | cksum)
    case $sums in *"<$got $sum>"*) return 0 ;; esac
    sums="$sums<$got $sum>"
    return 1
}

# judge: what the cut has left in the folder `left`.
judge()
{
    if [ $got -eq 0 ]; then
        diff -r -x "$logs" here left >out 2>err || fault "lost though the command had ended: $(head -n 1 out)"
        return
    fi
    for file in $results; do
        [ -e "was/$file" ] || [ -e "left/$file" ] || continue
        equal "left/$file" "good/$file" || cmp -s "left/$file" "was/$file" || fault "$file is neither old nor new"
    done
    [ -z "$proof" ] || (cd left && $proof) >out 2>err || fault "$proof"
}

# go_on: the command that follows ends as an undisturbed one does.
go_on()
{
    (cd left && exec "$detent" $after) >out 2>err || fault "it does not go on"
    for file in $ends; do equal "left/$file" "good/$file" || fault "$file is another when it went on"; done
}

# cut COMMAND...: what the moment k leaves
cut()
{
    power $k "$@" 2>killed
    for outcome in undone named made half; do
        n_cuts=$((n_cuts + 1))
        rm -rf left
        mv "disk/$outcome" left
        seen && continue
        judge
        [ $got -eq 0 ] || [ -z "$after" ] || go_on
    done
}

# cuts NAME BEFORE COMMAND...: BEFORE are files that are there before. What is judged: $results, files that are whole;
# $proof, a function that must succeed in what is left; $after, the command that goes on, and $ends, the files that it ends.
# $upto is the last moment, if not all count.
cuts()
{
    name=$1
    rm -rf was good
    mkdir was
    [ -z "$2" ] || cp -r $2 was/
    shift 2
    n_faults=0
    first=$n_cuts
    sums=
    power 0 "$@"
    mv here good
    moments=$(cat disk/moments) || moments=0
    is "$name ends well, with moments" $got -eq 0 -a "$moments" -gt 0
    last=${upto:-$moments}
    step=$(((last + most - 1) / most))
    k=$(((step + 1) / 2))
    while [ $k -le "$last" ]; do
        cut "$@"
        k=$((k + step))
    done
    k=$((moments + 1))
    cut "$@"
    is "$name: $((n_cuts - first)) cuts at $moments moments, $n_faults faults" $n_faults -eq 0
}

# ---- training

logs=none
upto=
results=
proof=
run="run/last.safetensors run/best.safetensors run/metrics.jsonl"
ends=$run
after="train $short --val-size 16 --epochs 2 --resume --out run"
cuts "train" "" train $short --val-size 16 --epochs 2 --save-every 1 --out run
results="run/last.safetensors run/best.safetensors run/config.json"
after="train --resume --extend 1 --quiet --out run"
cuts "resume" "run" train --resume --extend 1 --quiet --tensorboard --out run

# No file of the old run lies beside the new run's options.
one_run_alone()
{
    [ -e run/config.json ] || return 0
    cmp -s run/config.json ../was/run/config.json && return 0
    for file in $run; do ! cmp -s $file ../was/$file || return 1; done
    "$detent" train --resume --quiet --out run && cmp run/last.safetensors ../good/run/last.safetensors
}

results=
ends=
after=
proof=one_run_alone
few=$most
most=100
upto=12 # until the new options are there
cuts "a run that replaces another" "run" train $short --seed 9 --force --out run

# ---- files

most=$few
upto=
net=last.safetensors
proof=
results=q.safetensors
cuts "quantize" "reals.safetensors q.safetensors" quantize reals.safetensors --images 20 --threads 1 --out q.safetensors
results=p.safetensors
cuts "export to a program" "$net p.safetensors" export $net --to program --out p.safetensors
results="new/c/net.c new/c/net.h"
cuts "export to C" "$net" export $net --to c --name net --out new/c
results="r.onnx"
cuts "export to ONNX" "reals.safetensors" export reals.safetensors --to onnx --out r.onnx

# A manifest has its files, or there is none.
manifest_is_true()
{
    [ ! -e v/manifest.json ] || "$detent" verify --vectors v
}

results=
proof=manifest_is_true
cuts "export to vectors" "$net v" export $net --to vectors --layer features.4 --out v

# ---- searches

[ -n "${DETENT_TEST_POWER:-}" ] || most=1
logs=*.txt # what commands say is not synced
results=
proof=
search="search --method bits --checkpoint reals.safetensors --space space.json --mode random --max-trials 2"
search="$search --dataset synthetic --threads 1 --device cpu --out s"
ends="s/trials.jsonl s/table.csv s/winner/best.safetensors"
after="$search --resume"
cuts "search" "reals.safetensors space.json" $search
ends="sw/table.csv"
after="sweep sweep.json --quiet --out sw"
cuts "sweep" "sweep.json" $after
finish
