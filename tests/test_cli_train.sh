#!/bin/sh
# test_cli_train.sh - what `detent train` does beside training: other runs' files, signals, lines of steps, and when to
# stop.
#
# usage: test_cli_train.sh PATH_OF_DETENT.  Prints "ok N - what" or "not ok N - what"; exit code 1 if any is not ok.
set -u

detent=${1:?usage: test_cli_train.sh PATH_OF_DETENT}
case $detent in /*) ;; *) detent=$PWD/$detent ;; esac
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1

n=0
n_failed=0
tiny="--model tiny --dataset synthetic --train-size 60 --test-size 40 --batch 16 --threads 1 --device cpu"

ok()
{
    n=$((n + 1))
    printf 'ok %d - %s\n' $n "$1"
}

not_ok()
{
    n=$((n + 1))
    n_failed=$((n_failed + 1))
    printf 'not ok %d - %s\n' $n "$1"
    sed 's/^/#   /' out err
}

# expect WHAT CODE ARGUMENTS...: runs detent and compares its exit code; leaves its output in `out` and `err`.
expect()
{
    what=$1
    code=$2
    shift 2
    "$detent" "$@" >out 2>err
    got=$?
    if [ $got -eq "$code" ]; then ok "$what"; else not_ok "$what: exit code $got, expected $code"; fi
}

# has FILE PATTERN: the last command wrote that.
has()
{
    if grep -q -e "$2" "$1"; then ok "... says '$2'"; else not_ok "... does not say '$2'"; fi
}

# is WHAT CONDITION...: a test(1) that must hold.
is()
{
    what=$1
    shift
    if [ "$@" ]; then ok "$what"; else not_ok "$what"; fi
}

# ---- a folder's name is no pattern

# train_in FOLDER OPTIONS...
train_in()
{
    folder=$1
    shift
    expect "train in $folder" 0 train $tiny --epochs 1 --quiet --out "$folder" "$@"
}

# is_whole FOLDER: the four files of a run are there, and nothing else.
is_whole()
{
    is "$1 has its four files" "$(cd "$1" && echo *)" = "best.safetensors config.json last.safetensors metrics.jsonl"
}

for folder in exp1 exp2 r/a r/b; do train_in $folder; done
for folder in 'exp[12]' 'exp?' 'r/*' 'a\b'; do
    train_in "$folder"
    cp "$folder/metrics.jsonl" before
    touch "$folder/last.safetensors.tmp-17"
    train_in "$folder" --force --seed 2
    is "--force in $folder begins a new file of metrics" "$(wc -l <"$folder/metrics.jsonl")" -eq 1
    is "... of the new run" "$(cmp -s before "$folder/metrics.jsonl" && echo same)" != same
    is_whole "$folder"
done
for folder in exp1 exp2 r/a r/b; do is_whole $folder; done
touch exp1/last.safetensors.tmp-17
train_in 'exp[1]'
is "a neighbour's half-written file is left alone" -e exp1/last.safetensors.tmp-17
touch mine.safetensors.tmp-x exp1/mine.safetensors.tmp-18
train_in exp1 --resume
is "what is not the run's stays" -e exp1/mine.safetensors.tmp-18
mkdir -p odd/config.json
expect "a folder by the name of a run's file is not removed" 1 train $tiny --epochs 1 --force --out odd
has err "odd/config.json: "
is "... and is still there" -d odd/config.json

echo "1..$n"
[ $n_failed -eq 0 ]
