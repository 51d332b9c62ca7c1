#!/bin/sh
# detent search --method bits, and what the searches share: the space as QKeras prints it, what a file says, searches that
# are killed and go on with the same trials, blocks, filters, the winner, and Q-CapsNets' log.
examples=$(cd "$(dirname "$0")/../../docs/examples" && pwd)
. "$(dirname "$0")/../support/command.sh"

# ---- the notebook's space

cat >notebook.json <<'JSON'
{ "options": { "quant-rule": "qkeras" },
  "kernel": [4, 8, 16], "bias": [16, 31], "activation": [4, 8, 16],
  "limit": { "Dense": [16, 31, 16], "Conv2D": [16, 31, 16], "DepthwiseConv2D": [16, 31, 16], "Activation": [16],
             "BatchNormalization": [] },
  "goal": { "type": "bits", "delta_p": 5.0, "delta_n": 5.0, "rate": 2.0, "stress": 1.0, "input_bits": 8,
            "output_bits": 8, "ref_bits": 16 } }
JSON
plan="search --method bits --plan --device cpu --model $examples/qkeras_mod.json --space"
expect "the notebook's space" 0 $plan notebook.json
has out "^Default search space size: 10 (17496 configurations)$"
has out "^conv2d_0_kernel_quantizer (Choice)$"
has out "^ *4 relu_0.quant  *activation  *0  *0  *50  *800$"
has out "^reference size 8,193 bits: parameters 5,937, activations 2,256$"
expect "... as JSON" 0 $plan notebook.json --json
json "it is JSON" out
has out '"reference_size":[[:space:]]*8193'

# wrong WHAT PATTERN: the file at stdin is refused.
wrong()
{
    cat >wrong.json
    expect "$1 is refused" "$3" $plan wrong.json
    has err "$2"
}

wrong "an unknown member" '"kernels" in the file is unknown' 1 <<'JSON'
{ "kernels": [2] }
JSON
wrong "an option that the search sets" 'options, "seed": the search decides' 1 <<'JSON'
{ "options": { "seed": 2 } }
JSON
wrong "a limit of nobody" "no operator or row 'nobody'" 2 <<'JSON'
{ "limit": { "nobody": [4, 4, 4] } }
JSON
wrong "bits that are none" "9 kernel bits with the rule ece284, allowed are 2..8" 2 <<'JSON'
{ "kernel": [9] }
JSON
wrong "a rate that is none" "goal: rate is above 1" 1 <<'JSON'
{ "goal": { "rate": 1 } }
JSON

# ---- trials

small="--dataset synthetic --device cpu --threads 1"
expect "a network of reals" 0 train --model tiny $small --train-size 120 --test-size 60 --batch 20 --val-size 40 \
    --wbits float --abits float --epochs 2 --quiet --out float
cat >space.json <<'JSON'
{ "options": { "train-size": 120, "test-size": 60, "batch": 20, "val-size": 40, "epochs": 2, "quant-rule": "lsq" },
  "kernel": [2, 4, 8], "activation": [2, 4, 8] }
JSON
search="search --method bits --checkpoint float/best.safetensors --space space.json $small"

# What trials were, without their times.
trials()
{
    sed '1d; s/,"seconds":[^,}]*//' "$1/trials.jsonl"
}

# killed DIR TRIALS ARGUMENTS...: the search is killed when so many trials are logged, and its trial with it.
killed()
{
    dir=$1
    until_=$2
    shift 2
    "$detent" "$@" --out "$dir" >out 2>err &
    pid=$!
    while [ "$(cat "$dir/trials.jsonl" 2>/dev/null | wc -l)" -le "$until_" ]; do
        kill -0 $pid 2>/dev/null || break
        sleep 0.05
    done
    kill -KILL $pid 2>/dev/null
    wait $pid 2>/dev/null
}

for mode in random tpe gp greedy; do
    expect "a search, $mode" 0 $search --mode $mode --max-trials 7 --out $mode
    has out "^best trial [1-7]: score "
    best=$(sed 1d $mode/table.csv | sort -t, -k5,5 -g -r -s | sed -n '1s/,.*//p')
    has out "^best trial $best: score "
    has out "^verified   verified: 0 of [0-9,]* values differ"
    is "... the winner is saved" -s $mode/winner/best.safetensors
    is "... of 2 epochs" "$(grep -c train_loss $mode/winner/metrics.jsonl)" = 2
    killed $mode-k 2 $search --mode $mode --max-trials 7
    is "... another has not come to its end" ! -e $mode-k/table.csv
    expect "... goes on" 0 $search --mode $mode --max-trials 7 --resume --out $mode-k
    trials $mode >a
    trials $mode-k >b
    cmp a b >err 2>&1
    check "... to the same trials" $?
done
is "tables have all trials" "$(wc -l <tpe/table.csv)" = 8
json "table.json is JSON" tpe/table.json
is "greedy begins with the most bits" "$(sed -n '2s/.*"values":\[\([0-9,]*\)\].*/\1/p' greedy/trials.jsonl)" = 8,8,8,8,8,8,8
is "... and knows what layers lose" -s greedy/sensitivity.json
has greedy/trials.jsonl '"val_size":40' # of the file's held-out images, and not of the option's 5,000
expect "the winner is exported" 0 export --checkpoint tpe/winner/best.safetensors --to program --out program.safetensors
expect "a search in that folder" 2 $search --max-trials 7 --out tpe
has err "tpe has a search in it: go on with --resume"
expect "another search that goes on" 2 $search --max-trials 7 --seed 9 --resume --out tpe
has err "tpe/trials.jsonl is of another search: seed was 1, and is 9"
expect "more trials" 0 $search --max-trials 8 --resume --mode tpe --out tpe
trials tpe | head -n 7 >b
trials tpe-k >a
cmp a b >err 2>&1
check "... behind the same ones" $?

mkdir left
cp -r tpe/trials left/trials
expect "trials in folders that others have left" 0 $search --mode random --seed 7 --max-trials 2 --out left
expect "... and in new ones" 0 $search --mode random --seed 7 --max-trials 2 --out new
trials left >a
trials new >b
cmp a b >err 2>&1
check "... are the same" $?

expect "two at once" 0 $search --max-trials 7 --jobs 2 --out two
killed two-k 3 $search --max-trials 7 --jobs 2
expect "... killed, they go on" 0 $search --max-trials 7 --jobs 2 --resume --out two-k
trials two >a
trials two-k >b
cmp a b >err 2>&1
check "... to the same trials" $?

expect "uniform widths first" 0 $search --uniform --mode random --max-trials 5 --out uniform
has out '^u2  *1  2,2,2,2 '
has out '^u8  *59,694'
expect "a search without patience" 0 $search --stop-after 2 --mode greedy --max-trials 30 --out patience
is "... ends early" "$(wc -l <patience/table.csv)" -lt 20

expect "bits that are learned" 0 $search --mode gradient --epochs 4 --bops 0.8 --uniform --out learned
has out '^ *[0-9]*  *[0-9.e+]*  *[0-9.]* %  *[0-9.]*$'
has out '^ *4  *[248],[248],[248],[248]  *[248],[248],[248] '
is "... until they have the share that was wanted" "$(sed -n 's/^ *[0-9]* *[0-9.e+]* *\([0-9.]*\) %.*/\1/p' out | tail -n 1 |
    awk '{ print $1 <= 80.0 }')" = 1
is "... are kept" -s learned/learned.json
is "... the network and the uniform ones were trained" "$(wc -l <learned/table.csv)" = 5
cp learned/learned.json was.json
expect "... and go on" 0 $search --mode gradient --epochs 4 --bops 0.8 --uniform --resume --out learned
cmp learned/learned.json was.json >err 2>&1
check "... as they were" $?
expect "without learned steps" 2 search --method bits --checkpoint float/best.safetensors $small --mode gradient --out x
has err 'give "quant-rule": "lsq"'
echo '{ "options": { "dataset": "mnist", "data": "nowhere", "quant-rule": "lsq", "val-size": 40 } }' >nowhere.json
expect "... on images whose folder the file names" 1 search --method bits --checkpoint float/best.safetensors \
    --space nowhere.json --mode gradient --threads 1 --out nowhere
has err nowhere
expect "... for what layers lose, too" 1 search --method bits --checkpoint float/best.safetensors --space nowhere.json \
    --mode greedy --threads 1 --out nowhere2
has err nowhere
is "... which it then does not know" ! -e nowhere2/sensitivity.json

cat >blocks.json <<'JSON'
{ "options": { "train-size": 120, "test-size": 60, "batch": 20, "val-size": 40, "epochs": 1, "quant-rule": "lsq" },
  "kernel": [2, 8], "activation": [8], "blocks": ["features.[04]", "*"], "learning_rates": 3,
  "goal": { "type": "bops" } }
JSON
expect "block after block" 0 search --method bits --checkpoint float/best.safetensors --space blocks.json $small --out blocks
killed blocks-k 13 search --method bits --checkpoint float/best.safetensors --space blocks.json $small
expect "... killed in the second" 0 search --method bits --checkpoint float/best.safetensors --space blocks.json $small \
    --resume --out blocks-k
trials blocks >a
trials blocks-k >b
cmp a b >err 2>&1
check "... goes on to the same trials" $?
"$detent" search --method bits --checkpoint float/best.safetensors --space blocks.json $small --resume --out blocks >out 2>&1
check "... and one that is over ends at once" $?
has out "^block 1 of 2: features.\[04\]$"
has out "^b1  *1  *[28],[28],-,-  *8,-,-  "
has out "^b2  *[0-9]*  *[28],[28],[28],[28]  *8,8,8 "
cat >filters.json <<'JSON'
{ "options": { "train-size": 120, "test-size": 60, "batch": 20, "val-size": 40, "epochs": 1, "quant-rule": "lsq" },
  "kernel": [4], "activation": [4], "filters": [50, 200], "filters_of": "network" }
JSON
expect "filters" 0 search --method bits --checkpoint float/best.safetensors --space filters.json $small --out filters
has out " filters=[25]*0*%$"
is "two networks were tried" "$(wc -l <filters/table.csv)" = 3

cat >qkeras.json <<'JSON'
{ "options": { "train-size": 120, "test-size": 60, "batch": 20, "val-size": 40, "epochs": 1, "quant-rule": "qkeras" },
  "kernel": [4, 16], "bias": [5, 16], "activation": [8, 16] }
JSON
expect "quantizers of QKeras-Mod" 0 search --method bits --checkpoint float/best.safetensors --space qkeras.json $small \
    --max-trials 2 --out qkeras
has out '^verified   no: quantizers of QKeras-Mod have no program'
expect "... of each layer's bits" 0 inspect --graph --checkpoint qkeras/winner/last.safetensors
has out "featuremap_quant"
has out "bias_quant *max_quant"

# ---- Q-CapsNets' search has the same log

caps="--dataset synthetic --test-size 10 --device cpu --threads 1"
expect "capsules" 0 train --model shallowcaps --input 17x17x3 --decoder none $caps --train-size 20 --batch 10 --epochs 1 \
    --quiet --out caps
qcaps="search --checkpoint caps/last.safetensors $caps --tune-on test --memory-budget 3 --accuracy-tolerance 50"
expect "a search in capsules" 0 $qcaps --out caps/a
is "... has a log" "$(wc -l <caps/a_trials.jsonl)" -gt 10
is "... and tables" -s caps/a_table.csv
head -n 6 caps/a_trials.jsonl >caps/b_trials.jsonl
printf '{"trial":6,"st' >>caps/b_trials.jsonl
expect "one that was killed goes on" 0 $qcaps --resume --out caps/b
trials_of()
{
    sed '1d; s/,"seconds":[^,}]*//' "$1"
}
trials_of caps/a_trials.jsonl >a
trials_of caps/b_trials.jsonl >b
cmp a b >err 2>&1
check "... to the same trials" $?
for f in caps/a_quantized_*.safetensors; do cmp "$f" "caps/b${f#caps/a}" >>err 2>&1; check "... and the same network" $?; done
expect "with another tolerance it is another search" 2 $qcaps --accuracy-tolerance 40 --resume --out caps/b
has err "accuracy_tolerance was 50, and is 40"
finish
