#!/bin/sh
# test_resume.sh - a run that is killed and resumed ends with the bytes and the metrics of an undisturbed one.
#
# SIGKILL at random moments, each resumed to the end; Ctrl-C; and a metrics.jsonl that is ahead of the checkpoint,
# as a kill between the two writes leaves it. Checkpoints fall inside epochs and on their ends (10 steps an epoch,
# saved every 5), and the evaluation takes about as long as the steps, so kills meet all of them.
#
# usage: test_resume.sh PATH_OF_DETENT.  DETENT_TEST_SEED chooses the moments; it is printed. DETENT_TEST_MOMENTS says how
# many: 20, if it does not.
set -u

detent=${1:?usage: test_resume.sh PATH_OF_DETENT}
case $detent in /*) ;; *) detent=$PWD/$detent ;; esac
seed=${DETENT_TEST_SEED:-$(date +%s)}
n_kills=${DETENT_TEST_MOMENTS:-20}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1

n=0
n_failed=0
options="--model tiny --dataset synthetic --train-size 320 --val-size 800 --test-size 800 --batch 32 --epochs 12 --lr 0.05
         --save-every 5 --eval-every 2 --log-every 3 --test-batch 100 --seed 7 --device cpu --threads 1"

check()
{
    n=$((n + 1))
    if [ "$2" -eq 0 ]; then echo "ok $n - $1"; else
        echo "not ok $n - $1"
        n_failed=$((n_failed + 1))
    fi
}

# metrics DIR: its lines without what depends on the clock
metrics()
{
    sed 's/,"images_per_s":[^,}]*//; s/,"seconds":[^,}]*//; s/,"[a-z]*_s\(_mean\)*":[^,}]*//g' "$1/metrics.jsonl"
}

# same_as_undisturbed WHAT DIR: equal files, and none left over
same_as_undisturbed()
{
    [ "$(ls "$2" | wc -l)" -eq 4 ] && cmp "$2/last.safetensors" undisturbed/last.safetensors && cmp "$2/best.safetensors" undisturbed/best.safetensors &&
        metrics "$2" >here && metrics undisturbed >there && diff here there
    check "$1" $?
}

# seconds between two readings of `date +%s.%N`
span()
{
    awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", b - a }'
}

begin=$(date +%s.%N)
# shellcheck disable=SC2086 # the options are words
"$detent" train $options --out undisturbed >log 2>&1
status=$?
seconds=$(span "$begin" "$(date +%s.%N)")
check "the undisturbed run takes $seconds s" $status
if [ $status -ne 0 ]; then
    sed 's/^/# /' log
    exit 1
fi

# ---- SIGKILL

echo "# DETENT_TEST_SEED=$seed, DETENT_TEST_MOMENTS=$n_kills"
moments=$(awk -v seed="$seed" -v n=$n_kills -v t="$seconds" \
    'BEGIN { srand(seed); for (i = 0; i < n; i++) printf "%.3f\n", rand() * t }')
k=0
for moment in $moments; do
    k=$((k + 1))
    "$detent" train $options --out "killed$k" >log 2>&1 &
    pid=$!
    sleep "$moment"
    kill -KILL $pid 2>/dev/null
    wait $pid 2>/dev/null
    left=$(ls "killed$k" 2>/dev/null | wc -l)
    "$detent" train $options --resume --out "killed$k" >log 2>&1 || sed 's/^/# /' log
    same_as_undisturbed "killed after $moment s with $left files, $(sed -n 's/^resumed *//p' log)" "killed$k"
    rm -rf "killed$k"
done

# ---- SIGKILL inside the last evaluation, of the test images

for _ in 1 2 3 4 5; do
    rm -rf late
    # shellcheck disable=SC2086
    "$detent" train $options --epochs 2 --test-size 2000 --test-batch 10 --log-every 1 --out late >log 2>&1 &
    pid=$!
    while ! grep -q '"event":"test"' late/metrics.jsonl 2>/dev/null && kill -0 $pid 2>/dev/null; do sleep 0.01; done
    kill -KILL $pid 2>/dev/null
    wait $pid 2>/dev/null
    grep -q '"event":"end"' late/metrics.jsonl || break
done
before=$(grep -c '"event":"test"' late/metrics.jsonl)
"$detent" train --resume --out late >log 2>&1
lines=$(grep -c '"event":"test"' late/metrics.jsonl)
check "killed after $before of 200 batches of the test: $lines lines of it" $((before >= 200 || lines != 200))

# ---- Ctrl-C

# interrupt DIR: starts a run there, and stops it when an epoch has ended; its exit code is in $status. On a busy machine
# the signal may come when the run is complete, so it is tried again.
interrupt()
{
    for _ in 1 2 3 4 5; do
        : >log # not that of the run before, which has epochs
        "$detent" train $options --force --out "$1" >log 2>&1 &
        pid=$!
        while ! grep -q '^epoch' log && kill -0 $pid 2>/dev/null; do sleep 0.01; done
        kill -INT $pid 2>/dev/null
        wait $pid
        status=$?
        [ $status -eq 0 ] || break
    done
}

interrupt stopped
check "Ctrl-C ends with exit code 130, here $status" $((status != 130))
grep "^detent train: stopped after step .* and saved; go on with 'detent train --resume --out stopped'$" log >/dev/null
check "... and says how to go on" $?
"$detent" train --resume --out stopped >log 2>&1
same_as_undisturbed "... which needs no other options" stopped

# ---- a kill between metrics.jsonl and last.safetensors, and one inside a line

interrupt torn
lines=$(wc -l <torn/metrics.jsonl)
sed -n "$((lines + 1))p" undisturbed/metrics.jsonl >>torn/metrics.jsonl
printf '{"epoch":9,"step":90,"lr":0.0' >>torn/metrics.jsonl
"$detent" train --resume --out torn >log 2>&1
same_as_undisturbed "metrics ahead of the checkpoint are written again" torn

"$detent" train --resume --out torn >log 2>&1
check "a complete run is left alone" $?
same_as_undisturbed "... with its bytes" torn

# ---- two at once

if command -v flock >/dev/null; then
    flock torn sleep 1 &
    pid=$!
    sleep 0.2
    "$detent" train --resume --out torn >log 2>&1
    check "a run goes on when another process has left it" $?
    wait $pid
fi

: >log
"$detent" train $options --epochs 100000 --out shared >log 2>&1 &
pid=$!
while ! grep -q '^epoch' log && kill -0 $pid 2>/dev/null; do sleep 0.01; done
timeout 60 "$detent" train --resume --out shared >out 2>err
check "a run that is at work is not resumed" $(($? != 1))
grep -q "^detent train: shared: another 'detent train' is at work here$" err
check "... and says so" $?
kill -KILL $pid
wait $pid 2>/dev/null

echo "1..$n"
[ $n_failed -eq 0 ]
