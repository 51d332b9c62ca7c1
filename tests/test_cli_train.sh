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

# ---- whole numbers keep every digit

for seed in 9007199254740992 9007199254740993 9223372036854775807 9223372036854775808 18446744073709551617 -1 1e3 1.0; do
    expect "a seed of $seed" 2 train $tiny --epochs 1 --seed $seed --out seed
    has err "^detent train: --seed $seed: expected 0..9007199254740991$"
done
expect "more epochs than there may be" 2 train $tiny --epochs 4294967297 --out seed
has err "expected 1..100000$"
expect "an input whose sides are beyond an int" 2 train $tiny --input 4294967297x32x3 --out seed
mkdir seed
ln -s /dev/full seed/metrics.jsonl
expect "the largest seed, stopped by a full disk" 1 train $tiny --epochs 2 --seed 9007199254740991 --save-every 1 --out seed
rm seed/metrics.jsonl
expect "... goes on" 0 train --resume --out seed
is "... with every digit" "$(grep -c '"seed":.*9007199254740991' seed/config.json)" -eq 1
sed 's/9007199254740991/9007199254740993/' seed/config.json >edited && mv edited seed/config.json
expect "a seed of config.json that its reader would round" 2 train --resume --out seed
has err "^detent train: --seed 9007199254740992: expected 0..9007199254740991$"

# ---- signals

# A run that writes into a full pipe stands behind the reading of its data, and before its directory is made.
pipe_bytes=65536 # of Linux

# stand FOLDER [COMMAND]: starts a run that stands there, by that command, and waits until it has its handlers.
stand()
{
    rm -f pipe
    mkfifo pipe
    exec 9<>pipe
    head -c $pipe_bytes /dev/zero >&9
    ${2:-} "$detent" train $tiny --epochs 2 --out "$1" >&9 2>err &
    pid=$!
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        grep -q '^SigCgt:.*[4-7c-f][0-9a-f]\{3\}$' /proc/$pid/status && break # SIGTERM's bit
        sleep 0.1
    done
}

# go_on: empties the pipe and waits for the end; the exit code is in `got`.
go_on()
{
    head -c $pipe_bytes <&9 >/dev/null
    wait $pid
    got=$?
    exec 9>&-
}

train_in undisturbed --epochs 2
for signal in TERM INT HUP USR1 XCPU; do
    stand at_$signal
    kill -$signal $pid
    sleep 0.01
    kill -$signal $pid
    go_on
    is "SIG$signal twice while the run begins ends with 130, here $got" $got -eq 130
    has err "^detent train: stopped after step 0 and saved; go on with 'detent train --resume --out at_$signal'$"
    expect "... goes on" 0 train --resume --out at_$signal
    is "... to the bytes of an undisturbed run" "$(cmp at_$signal/last.safetensors undisturbed/last.safetensors && echo same)" = same
done
stand late
kill -TERM $pid
sleep 2.2
kill -TERM $pid
go_on
is "a second SIGTERM after two seconds ends at once, with 143, here $got" $got -eq 143
stand cpu
kill -XCPU $pid
sleep 2.2
kill -XCPU $pid
go_on
is "a repeated SIGXCPU does not, here $got" $got -eq 130
stand nohup nohup
kill -HUP $pid
go_on
is "SIGHUP stays ignored under nohup, here $got" $got -eq 0

long="--model tiny --dataset synthetic --train-size 2000 --test-size 40 --batch 2000 --epochs 1000 --device cpu --threads 1"
"$detent" train $long --out long >out 2>err &
pid=$!
while ! grep -q '^epoch' out && kill -0 $pid 2>/dev/null; do sleep 0.01; done
kill -TERM $pid
sleep 0.01
kill -TERM $pid
wait $pid
got=$?
is "two SIGTERMs in a long step end with 130, here $got" $got -eq 130
has err "^detent train: stopped after step .* and saved"
("$detent" train $long --out piped 2>err; echo $? >code) | head -n 1 >out
is "a run whose output nobody reads ends with 130, here $(cat code)" "$(cat code)" -eq 130
has err "^detent train: stopped after step .* and saved"
is "... and is saved" -s piped/last.safetensors

echo "1..$n"
[ $n_failed -eq 0 ]
