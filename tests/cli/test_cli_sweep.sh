#!/bin/sh
# detent sweep: which runs a file says, sweeps that are killed and go on, runs that fail, and the table, which is judged
# by awk from the metrics of runs that were made one by one.
. "$(dirname "$0")/../support/command.sh"

# ---- what a file says

cat >sweep.json <<'JSON'
{ "options": { "model": "tiny", "dataset": "synthetic", "train-size": 60, "test-size": 40, "batch": 16, "threads": 1,
               "device": "cpu", "epochs": 6, "lr": 0.05 },
  "runs": [ { "wbits": 4, "abits": 4 }, { "wbits": "float", "abits": "float" } ],
  "grid": { "seed": [0, 1, 2] } }
JSON
expect "the runs of a file" 0 sweep sweep.json --plan
is "... are 6: $(wc -l <out)" "$(wc -l <out)" -eq 6
has out "^   0  wbits=4,abits=4,seed=0$"
has out "^   5  wbits=float,abits=float,seed=2$"

# wrong WHAT PATTERN: the file at stdin is refused, before anything runs.
wrong()
{
    cat >wrong.json
    expect "$1 is refused" 1 sweep wrong.json --out never
    has err "$2"
    is "... and nothing has run" ! -e never
}

wrong "an unknown option" 'grid, "rate": .detent train. has no such option' <<'JSON'
{ "grid": { "rate": [1] } }
JSON
wrong "a value out of range" 'grid, "wbits": --wbits 99: expected 2..16' <<'JSON'
{ "grid": { "wbits": [4, 99] } }
JSON
wrong "an option of one network alone" 'grid, "choke": --choke -1' <<'JSON'
{ "grid": { "choke": [-1] } }
JSON
wrong "a flag with a number" 'options, "sync-bn": its value is true or false' <<'JSON'
{ "options": { "sync-bn": 1 }, "grid": { "lr": [1] } }
JSON
wrong "an option that the sweep sets" 'runs, "out": the sweep decides' <<'JSON'
{ "runs": [ { "out": "x" } ] }
JSON
wrong "an option in two places" '"lr" is in options, for all runs, and in runs or grid' <<'JSON'
{ "options": { "lr": 1 }, "grid": { "lr": [1, 2] } }
JSON
wrong "a run that is there twice" 'two runs are lr=1' <<'JSON'
{ "grid": { "lr": [1, 2, 1.0] } }
JSON
wrong "a value that is no list" 'grid, "lr": a list of values is needed' <<'JSON'
{ "grid": { "lr": 1 } }
JSON
wrong "another part" '"grids" is unknown' <<'JSON'
{ "grids": { "lr": [1] } }
JSON
wrong "a file with nothing to sweep" 'neither "runs" nor "grid"' <<'JSON'
{ "options": { "lr": 1 } }
JSON
wrong "what is not JSON" 'not JSON at byte 1[12]' <<'JSON'
{ "grid": [
JSON
wrong "too many runs" 'at most 10000' <<'JSON'
{ "grid": { "epochs": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22],
            "batch": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22],
            "seed": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22] } }
JSON
expect "a sweep without --out is refused" 2 sweep sweep.json
has err "--out is needed"
expect "an index beyond the last run is refused" 2 sweep sweep.json --out never --index 6
has err "has the runs 0..5"

# ---- killed twice

# kill_after N: starts the sweep, two runs at once, and kills it when N runs are complete.
kill_after()
{
    : >out
    "$detent" sweep sweep.json --out s --jobs 2 >out 2>err &
    pid=$!
    while [ "$(grep -c '^\[' out)" -lt "$1" ] && kill -0 $pid 2>/dev/null; do sleep 0.02; done
    kill -KILL $pid
    wait $pid
    is "killed after $1 runs, or later: exit code $?" $? -eq 137
}

kill_after 1
is "... no table yet" ! -e s/table.csv
kill_after 3
expect "the same command ends it" 0 sweep sweep.json --out s --jobs 2
is "... all 6 runs are told: $(grep -c '^\[' out)" "$(grep -c '^\[' out)" -eq 6
cp out text

one="--model tiny --dataset synthetic --train-size 60 --test-size 40 --batch 16 --threads 1 --device cpu --epochs 6 --lr 0.05"
: >expected
for bits in 4 float; do
    for seed in 0 1 2; do
        dir=single-$bits-$seed
        # shellcheck disable=SC2086
        "$detent" train $one --wbits $bits --abits $bits --seed $seed --quiet --out $dir >/dev/null
        cmp -s $dir/last.safetensors "s/wbits=$bits,abits=$bits,seed=$seed/last.safetensors"
        check "wbits=$bits,seed=$seed has the bytes of the run by itself" $?
        sed -n '$s/.*"test_accuracy":\([0-9.e-]*\).*/'$bits' \1/p' $dir/metrics.jsonl >>expected
    done
done

# means, sample deviations and best of the lines "bits accuracy", as table.csv has them
awk '{ n[$1]++; sum[$1] += $2; v[$1, n[$1]] = $2; if ($2 > best[$1]) best[$1] = $2 }
     END { for (b in n) { m = sum[b] / n[b]; q = 0; for (i = 1; i <= n[b]; i++) q += (v[b, i] - m) ^ 2
           printf "%s,%s,3,3,0 %.12f %.12f %.12f\n", b, b, m, sqrt(q / (n[b] - 1)), best[b] } }' expected | sort >by_awk
sed 1d s/table.csv | awk -F, '{ printf "%s,%s,%s,%s,%s %.12f %.12f %.12f\n", $1, $2, $3, $4, $5, $6, $7, $8 }' | sort >by_sweep
cmp -s by_awk by_sweep
check "table.csv has the means, deviations and maxima of these runs" $?
is "... its head" "$(head -1 s/table.csv)" = "wbits,abits,runs,complete,failed,accuracy,deviation,best,best_run"
awk '{ printf "%.2f %%\n", 100 * $2 }' by_awk | while read -r mean; do grep -q "3 of 3 *$mean" text || echo "$mean"; done >missing
is "the text has the same means" ! -s missing
json "table.json is JSON" s/table.json

cp -r s/wbits=4,abits=4,seed=0 before
expect "a sweep that is complete" 0 sweep sweep.json --out s --json
json "... prints JSON" out
cmp -s before/last.safetensors s/wbits=4,abits=4,seed=0/last.safetensors
check "... trains nothing again" $?

# ---- a run that fails, one run alone, and a stop

cat >fails.json <<'JSON'
{ "options": { "model": "tiny", "dataset": "synthetic", "train-size": 60, "test-size": 40, "batch": 16, "threads": 1,
               "device": "cpu", "epochs": 2 },
  "grid": { "accumulate": [1, 3, 2], "per-channel": [false, true] } }
JSON
expect "two runs that cannot be made" 1 sweep fails.json --out f
has out "^\[3/6\] accumulate=3,per-channel=false  failed: detent train: --batch 16 is shared by 1 rank in 3 parts each"
is "... the others are complete: $(grep -c ',1,1,0,0' f/table.csv)" "$(grep -c ',1,1,0,0' f/table.csv)" -eq 4
is "... and they are not: $(grep -c '^3,.*,1,0,1,,,,$' f/table.csv)" "$(grep -c '^3,.*,1,0,1,,,,$' f/table.csv)" -eq 2
sed 's/"epochs": 2/"epochs": 3/' fails.json >changed.json
expect "options that have changed since" 1 sweep changed.json --out f
has out "accumulate=1,per-channel=true  failed: .*--epochs is '3', but the run in .* has '2'"

expect "one run alone" 0 sweep fails.json --out alone --index 4
is "... makes it" "$(ls alone)" = "accumulate=2,per-channel=false"

if command -v flock >/dev/null; then
    mkdir -p shared/accumulate=2,per-channel=true
    flock shared/accumulate=2,per-channel=true sleep 2 &
    sleep 0.3
    expect "a run in whose directory another process works" 0 sweep fails.json --out shared --index 5
    has out "^\[1/1\] accumulate=2,per-channel=true  2 epochs"
else
    n=$((n + 1))
    echo "ok $n - a run that has to wait # SKIP no flock"
fi

sed 's/"epochs": 6/"epochs": 4000/' sweep.json >long.json
"$detent" sweep long.json --out long --jobs 2 >out 2>err &
pid=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ -e long/wbits=4,abits=4,seed=1/last.safetensors ] && [ -e long/wbits=4,abits=4,seed=0/last.safetensors ] && break
    sleep 0.2
done
kill -INT $pid
wait $pid
is "Ctrl-C ends a sweep with $?" $? -eq 130
has err "^detent sweep: stopped after 0 of 6 runs, the others have saved; go on with the same command$"
has long/wbits=4,abits=4,seed=0/log.txt "stopped after step .* and saved"
has long/wbits=4,abits=4,seed=1/log.txt "stopped after step .* and saved"
is "... and nothing else was begun" "$(find long -name log.txt | wc -l)" -eq 2

finish
