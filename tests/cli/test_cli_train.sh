#!/bin/sh
# test_cli_train.sh - what `detent train` does beside training: other runs' files, signals, lines of steps, when to stop;
# and what the help of the command says.
#
# usage: test_cli_train.sh PATH_OF_DETENT.  Prints "ok N - what" or "not ok N - what"; exit code 1 if any is not ok.
. "$(dirname "$0")/../support/command.sh"

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

# ---- the options of another run

expect "a run of options of its own" 0 train $tiny --epochs 2 --lr 0.03 --wbits 3 --quiet --out own
expect "--config: another by the same" 0 train --config own/config.json --device cpu --threads 1 --quiet --out like-own
is "... has its bytes" "$(cmp own/last.safetensors like-own/last.safetensors && echo same)" = same
expect "--config, and one value changed" 0 train --config own/config.json --wbits 2 --device cpu --threads 1 --quiet --out of-own
is "... is changed" "$(grep -c '"wbits":.*2' of-own/config.json)" -eq 1
is "... and no other" "$(grep -c '"lr":.*0.03' of-own/config.json)" -eq 1
expect "--config beside --recipe" 2 train --config own/config.json --recipe w4a2 --out third
has err "leave --recipe w4a2 out"
expect "--config of no file" 1 train --config nowhere.json --out third
has err "^detent train: nowhere.json: no such file"
echo '{}' >empty.json
expect "--config of something else" 1 train --config empty.json --out third
has err "empty.json: no object 'options'"

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

# ---- files that are written while the run goes on

# The pipe is not read, so that it does not take all of best.safetensors, and the thread that writes it stands.
mkdir slow
mkfifo slow/best.safetensors
exec 8<>slow/best.safetensors
"$detent" train $tiny --epochs 2 --optim adam --ema 0.9 --log-every 1 --quiet --out slow >out 2>err &
pid=$!
for _ in $(seq 200); do
    grep -q '"event":"step","epoch":2,"step":8,' slow/metrics.jsonl 2>/dev/null && break
    sleep 0.1
done
is "steps go on while a file is written" "$(grep -c '"event":"step","epoch":2,"step":8,' slow/metrics.jsonl)" = 1
is "... the epoch that is not on the disk has not ended" ! -e slow/last.safetensors
cat <&8 >/dev/null &
reader=$!
exec 8>&-
wait $pid
is "... and the run ends when it is" $? -eq 0
kill $reader
wait $reader 2>/dev/null
train_in quick --epochs 2 --optim adam --ema 0.9 --log-every 1
is "... and the run has the bytes of one that did not wait" "$(cmp quick/last.safetensors slow/last.safetensors && echo same)" = same

# What cannot be written ends the run with the words and the exit code that it always had.
mkdir full
ln -s /dev/full full/best.safetensors
expect "a file that cannot be written while the run goes on" 1 train $tiny --epochs 3 --quiet --out full
has err "^detent train: full/best.safetensors: cannot be written: No space left on device"
is "... and what comes after it is not there" ! -e full/last.safetensors

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
        grep -q '^SigCgt:.*[89a-f][0-9a-f]\{5\}$' /proc/$pid/status && break # the bit of SIGXCPU, the last
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
: >out # not that of the run before, which may have epochs
"$detent" train $long --out long >out 2>err &
pid=$!
while ! grep -q '^epoch' out && kill -0 $pid 2>/dev/null; do sleep 0.01; done
kill -TERM $pid # and at once another, which the first cannot swallow as it would a second SIGTERM
kill -INT $pid
wait $pid
got=$?
is "two signals in a long step end with 130, here $got" $got -eq 130
has err "^detent train: stopped after step .* and saved"
("$detent" train $long --out piped 2>err; echo $? >code) | head -n 1 >out
is "a run whose output nobody reads ends with 130, here $(cat code)" "$(cat code)" -eq 130
has err "^detent train: stopped after step .* and saved"
is "... and is saved" -s piped/last.safetensors

# ---- lines of steps

# lines EVENT FOLDER: how many lines of that event its metrics.jsonl has.
lines()
{
    grep -c "\"event\":\"$1\"" "$2/metrics.jsonl"
}

value='[0-9][0-9.]* ([0-9.]*)'
seconds='[0-9][0-9.]* s ([0-9.]*)'
expect "a line every second step and batch" 0 train $tiny --epochs 2 --log-every 2 --out lines
has out "^epoch 1/2 \[2/4\]  batch $seconds  data $seconds  loss $value  accuracy [0-9.]* % ([0-9.]*)$"
has out "^epoch 2/2 \[4/4\]  batch"
has out "^test \[2/3\]  batch $seconds  loss $value  accuracy [0-9.]* % ([0-9.]*)$"
is "... two lines of steps an epoch" "$(grep -c '^epoch ./2 \[' out)" -eq 4
is "... and in metrics.jsonl" "$(lines step lines)" -eq 4
is "... and one of an evaluation" "$(lines test lines)" -eq 2
is "... beside the epochs' lines" "$(grep -vc event lines/metrics.jsonl)" -eq 2
json "metrics.jsonl is JSON" lines/metrics.jsonl
is "... and tells the clips of each epoch" "$(grep -c '"clips":{"features.0.weight_quant.wgt_alpha":[0-9.]*,' lines/metrics.jsonl)" -eq 2
is "the last line's mean is the epoch's loss" "$(sed -n '/"batch":4/s/.*"loss_mean":\([0-9.]*\).*/\1/p' lines/metrics.jsonl | tr '\n' ' ')" = \
    "$(sed -n 's/.*"train_loss":\([0-9.]*\).*/\1/p' lines/metrics.jsonl | tr '\n' ' ')"
expect "without --log-every" 0 train $tiny --epochs 2 --out plain
is "there is no line of them" "$(grep -c '^epoch ./2 \[' out)" -eq 0
is "... nor in metrics.jsonl" "$(grep -c event plain/metrics.jsonl)" -eq 0
tensors()
{
    tail -c 20000 "$1/best.safetensors" | cksum
}
is "the network is the same with and without" "$(tensors lines)" = "$(tensors plain)"
train_in lines --epochs 2 --log-every 2 --force
is "with --quiet the file has them too" "$(lines step lines)" -eq 4
expect "the parts of a capsule network's loss" 0 train --model shallowcaps --input 17x17x3 --dataset synthetic --train-size 20 \
    --test-size 10 --batch 10 --epochs 1 --log-every 1 --threads 1 --device cpu --out parts
has out "^epoch 1/1 \[2/2\] .* loss $value  margin $value  reconstruction $value  accuracy"
has out "^test \[1/1\] .* loss $value  accuracy"

# ---- what --quiet keeps to itself

train_in other --choke 0 --per-channel --init plain/last.safetensors
has err "^detent train: warning: --init plain/last.safetensors: skipped features.4.weight_quant.wgt_alpha: .* in the model$"
is "... and nothing on stdout" ! -s out
train_in same --init plain/last.safetensors
is "where nothing is skipped nothing is said of that" "$(grep -c skipped err)" -eq 0

# ---- which images decide, and when to stop

expect "images held out choose the best" 0 train $tiny --val-size 40 --epochs 2 --out held
has out "^epoch  1/2  train .* val [0-9.]* .* best$"
has out "^complete   2 epochs; best validation accuracy .* % after epoch ., in held/best.safetensors$"
has out "^test       [0-9.]* % with that network$"
is "metrics.jsonl says so" "$(grep -c '"val_loss":.*"val_accuracy":' held/metrics.jsonl)" -eq 2
is "... and nothing of the test set before the end" "$(grep -c test_ held/metrics.jsonl)" -eq 1
has held/metrics.jsonl '^{"event":"end","best_epoch":.,"test_loss":[0-9.]*,"test_accuracy":[0-9.]*}$'
"$detent" eval --checkpoint held/best.safetensors --dataset synthetic --test-size 40 --batch 16 --threads 1 --device cpu --json >out
accuracy=$(sed -n 's/.*"accuracy":[[:space:]]*\([0-9.]*\).*/\1/p' out)
has held/metrics.jsonl "\"test_accuracy\":$accuracy}"
expect "a complete run says it again" 0 train --resume --out held
has out "^test       [0-9.]* % with that network$"

expect "stop at an accuracy" 0 train $tiny --epochs 50 --lr 0.05 --stop-at 50 --out stopped
has out "^complete   [0-9]* of 50 epochs, --stop-at 50 is reached; best test accuracy"
has out "features.4 .*e[-+]"
is "... and not before it is reached" "$(sed '$d' stopped/metrics.jsonl | grep -c '"test_accuracy":\(0\.[5-9]\|1\)')" -eq 0
is "... but then" "$(tail -n 1 stopped/metrics.jsonl | grep -c '"test_accuracy":\(0\.[5-9]\|1\)')" -eq 1
cp stopped/metrics.jsonl before
expect "... and it is complete" 0 train --resume --out stopped
has out "^complete   [0-9]* of 50 epochs, --stop-at 50 is reached"
is "... and left alone" "$(cmp before stopped/metrics.jsonl && echo same)" = same
expect "another accuracy is another run" 2 train --resume --stop-at 60 --out stopped
has err "^detent train: --stop-at is '60', but the run in stopped has '50'"
expect "stop without a new best" 0 train $tiny --epochs 50 --lr 1e-9 --patience 3 --out patient
has out "^complete   [0-9]* of 50 epochs, no new best in the last 3; best test accuracy"
is "... three epochs after the best" "$(sed -n 's/^complete *\([0-9]*\) of .* after epoch \([0-9]*\),.*/\1 - \2/p' out)" = \
    "$(wc -l <patient/metrics.jsonl) - $(($(wc -l <patient/metrics.jsonl) - 3))"
expect "... and it is complete" 0 train --resume --out patient
has out "^complete   [0-9]* of 50 epochs, no new best"
expect "evaluate in larger batches" 0 train $tiny --epochs 1 --test-batch 40 --log-every 1 --out large
has out "^test \[1/1\]"
expect "no more than 100 %" 2 train $tiny --stop-at 101 --out large
has err "^detent train: --stop-at 101: expected 0..100$"

# ---- classes

expect "more classes than the dataset has" 0 train $tiny --epochs 1 --classes 12 --out classes
is "... in the network" "$(tr -d '[:space:]' <classes/config.json | grep -c '"classes":12')" -eq 1
expect "... which is evaluated" 0 eval --checkpoint classes/best.safetensors --dataset synthetic --test-size 40 --device cpu
expect "fewer classes than the dataset has" 2 train $tiny --epochs 1 --classes 9 --out few
has err "^detent train: --classes 9: synthetic has 10 classes, and a network for it needs as many or more$"
is "... makes no folder" ! -e few
expect "classes without a dataset" 0 inspect --model vgg16 --classes 100
has out "^classifier.weight  *100x512 "
expect "classes to search for" 0 search --plan --model shallowcaps --classes 43 --memory-budget 8
has out "^digit  *6,341,296 "

# ---- decoders follow the images

expect "deepcaps for 64x64" 0 inspect --model deepcaps --input 64x64x3
has out "^decoder.dc4"
expect "a decoder that was asked for is not replaced" 2 inspect --model deepcaps --input 64x64x3 --decoder conv28
has err "decoder conv28 makes images of 28x28, these are 64x64; fc makes any"
expect "fc stays fc" 0 inspect --model shallowcaps --input 64x64x3
has out "^decoder.fc3.weight  *12288x"

# ---- help

for word in -h '-?' --usage help; do
    expect "detent $word" 0 "$word"
    has out "^Usage: detent COMMAND"
done
expect "-V" 0 -V
has out "^detent [0-9]"
expect "help of a command" 0 help train
has out "^Usage: detent train"
has out "--wbits=BITS"
expect "help of no command" 2 help nonsense
has err "there is no command 'nonsense'; there are train"
expect "train -h" 0 train -h
has out "--wbits=BITS"
is "no line of the help is blanks" "$(grep -c '^  *$' out)" -eq 0
expect "train --usage" 0 train --usage
has out "^Usage: detent train .*-"
expect "train -V" 0 train -V
has out "^detent [0-9]"
for words in --help --version help 'help train' 'train --help' 'train --version'; do
    "$detent" $words >/dev/full 2>err
    is "$words that cannot be written is a failure" $? -eq 1
    has err "standard output: No space left on device"
done
expect "help has the defaults of the network before it" 0 train --model shallowcaps --help
has out "optim=NAME.*Optimiser (sgd, adam; default adam)"
has out "batch=IMAGES .*default 100)"
has out "default shallowcaps)"
for text in 'at the begin (1e-09..100; default 0.001)' 'conv64; default fc)' '0 does not (0..16; default 2)' \
    'triangular, one-cycle; default decay)'; do
    is "... '$text'" "$(tr -d '\n' <out | tr -s ' ' | grep -cF "$text")" -eq 1
done
expect "what was given is no default" 0 train --lr 0.123 --seed 77 --help
is "... of the rate or the seed" "$(grep -c 'default 0.123)\|default 77)' out)" -eq 0
expect "... and of the recipe" 0 train --recipe notebook-w4a2 --help
is "... 300 epochs" "$(grep -c 'default 300)' out)" -eq 1
expect "... and of the dataset" 0 train --model deepcaps --dataset cifar10 --help
has out "default 64x64x3)"
has out "default conv64)"
expect "help for a network that there is not" 2 train --model vgg99 --help
has err "vgg99.*vgg16"
expect "plan of the network that is the default" 0 search --plan --memory-budget 5.2
has out "^all  *6,804,384 "
expect "the published name of stochastic rounding" 0 search --plan --memory-budget 5.2 --rounding stochastic_rounding

finish
