#!/bin/sh
# test_cli_recipes.sh - the means of accuracy on the command line: each goes on with equal bits where it was stopped;
# stages, seeds, extensions; which images choose the best network; what is said at once.
#
# usage: test_cli_recipes.sh PATH_OF_DETENT.  Prints "ok N - what" or "not ok N - what"; exit code 1 if any is not ok.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../support/command.sh"

# files_of DIR: its checkpoints, and its metrics without what depends on the clock, as one checksum
files_of()
{
    (
        cd "$1" && cat $(find . -name '*.safetensors' | sort) | cksum
        cat $(find . -name metrics.jsonl | sort) | sed 's/,"images_per_s":[^,}]*//; s/,"seconds":[^,}]*//' | cksum
    )
}

# same WHAT DIR OTHER: both have equal files
same()
{
    is "$1" "$(files_of "$2")" = "$(files_of "$3")"
}

# goes_on WHAT OPTIONS...: a run that is stopped by SIGTERM at its begin and resumed has the bits of one that is not
goes_on()
{
    what=$1
    shift
    rm -rf whole parts
    : >log # not that of the run before, which has epochs
    expect "$what" 0 train $tiny --quiet --epochs 3 "$@" --out whole
    "$detent" train $tiny --epochs 3 --save-every 1 "$@" --out parts >log 2>err &
    pid=$!
    while ! grep -q '^epoch' log && kill -0 $pid 2>/dev/null; do sleep 0.01; done
    kill -TERM $pid 2>/dev/null
    wait $pid
    expect "... goes on" 0 train --quiet --resume --out parts
    same "... with equal bits" whole parts
}

# ---- which images choose the best network

# The test set has no say: with another one the run has the same choice, and the same bytes.
expect "images held out decide, with one test set" 0 train $tiny --val-size 40 --epochs 6 --lr 0.05 --quiet --out held_a
expect "... and with another" 0 train $tiny --val-size 40 --epochs 6 --lr 0.05 --quiet --test-size 200 --out held_b
is "... the best networks are the same" "$(cmp held_a/best.safetensors held_b/best.safetensors && echo same)" = same
without_clock='s/,"images_per_s":[^,}]*//; s/,"seconds":[^,}]*//; /"event":"end"/d'
is "... and so are the lines before the end" "$(sed "$without_clock" held_a/metrics.jsonl)" = "$(sed "$without_clock" held_b/metrics.jsonl)"
is "... of which the first with the most is chosen" "$(sed -n 's/.*"best_epoch":\([0-9]*\).*/\1/p' held_a/metrics.jsonl)" = \
    "$(sed -n 's/^{"epoch":\([0-9]*\),.*"val_accuracy":\([0-9.]*\).*/\2 \1/p' held_a/metrics.jsonl | sort -k1,1gr -k2,2g | head -n 1 | cut -d' ' -f2)"

# ---- each means, stopped and resumed

goes_on "warm-up and one cycle" --warmup 1.5 --schedule one-cycle --peak 0.4
goes_on "triangular" --schedule triangular --lr-begin 0.2 --lr-end 0.05
goes_on "clips from the least error" --start-clips mse
goes_on "clips from a percentile, LSQ" --start-clips percentile --clip-percent 99 --quant-rule lsq
goes_on "a mean of the parameters" --ema 0.9 --val-size 20 --eval-every 2
goes_on "cutout, alternating flip, colours" --cutout 8 --flip-kind alternating --brightness 0.2 --contrast 0.3
goes_on "scaled gradients and dampening" --ewgs 0.2 --ewgs-activations 0.1 --dampen 0.1
goes_on "first weights that keep a signal" --start-weights keep
goes_on "a first layer that whitens" --whiten
cp whole/last.safetensors teacher.safetensors
goes_on "weights that freeze" --freeze 0.02 --freeze-momentum 0.05 --quant-rule lsq --lr 0.2
goes_on "a teacher" --teacher teacher.safetensors --teacher-share 0.6 --teacher-temperature 3 --teacher-sees originals
goes_on "a teacher of augmented images" --teacher teacher.safetensors --crop 2
has whole/config.json '"teacher-sees":[[:space:]]*"augmented"'
goes_on "an extension from the begin" --extend 2

expect "a mean of the parameters" 0 train $tiny --quiet --epochs 2 --ema 0.9 --out mean
expect "... is saved as a network, which is evaluated" 0 eval mean/ema.safetensors --dataset synthetic --test-size 40 --batch 16 --device cpu --json
accuracy=$(sed -n "s/.*\"accuracy\":[[:space:]]*\([0-9.]*\).*/\1/p" out | head -n 1)
is "... and has the accuracy of the last line" "$(sed -n '2s/.*"test_accuracy":\([0-9.]*\).*/\1/p' mean/metrics.jsonl)" = "$accuracy"
expect "a teacher that is not there" 1 train $tiny --epochs 1 --teacher nowhere.safetensors --out taught
expect "a teacher's share without a teacher" 2 train $tiny --epochs 1 --teacher-share 0.5 --out taught
has err "there is no teacher"

# ---- beyond the planned end

expect "a run of three epochs" 0 train $tiny --quiet --epochs 3 --val-size 20 --out longer
expect "... goes on for two more" 0 train --quiet --resume --extend 2 --out longer
expect "... as one that had them from the begin" 0 train $tiny --quiet --epochs 3 --val-size 20 --extend 2 --out planned
same "... with equal bits" longer planned
is "... and the test set was asked once" "$(grep -c '"event":"end"' longer/metrics.jsonl)" -eq 1
expect "... is complete" 0 train --resume --out longer
has out "^complete   5 epochs"
expect "... and is not extended again" 2 train --resume --extend 4 --out longer
has err "the run is in its extension of 2 epochs"

# ---- stages and seeds

stages="--stages float:2,w4a4:2:1e-4,w4a2:1:3e-5:0.005"
expect "stages" 0 train $tiny $stages --out staged
has out "^run        staged/3-w4a2$"
is "... three runs" -s staged/1-float/best.safetensors -a -s staged/2-w4a4/best.safetensors -a -s staged/3-w4a2/last.safetensors
is "... each from the one before" "$(grep -c '"init":.*staged/2-w4a4/last.safetensors"' staged/3-w4a2/config.json)" -eq 1
is "... with its decay" "$(grep -c '"weight-decay":.*3e-0*5' staged/3-w4a2/config.json)" -eq 1
is "... its rate" "$(grep -c '"lr":.*0.005' staged/3-w4a2/config.json)" -eq 1
is "... its bits" "$(grep -c '"wbits":.*4\|"abits":.*2' staged/3-w4a2/config.json)" -eq 2
is "... and its epochs" "$(grep -vc event staged/2-w4a4/metrics.jsonl)" -eq 2
expect "stages whose first layer whitens, once" 0 train $tiny --whiten --stages float:1,w4a4:1 --out white
expect "... as one run of the first" 0 train $tiny --whiten --wbits float --abits float --epochs 1 --quiet --out white1
is "... begin alike" "$(cksum <white/1-float/last.safetensors)" = "$(cksum <white1/last.safetensors)"
expect "... and not from a network" 2 train $tiny --epochs 1 --whiten --init white1/last.safetensors --out white2
has err "white1/last.safetensors has them already; leave one of the two out"
expect "a plan is not made twice" 2 train $tiny $stages --out staged
has err "staged has a run in it: go on with --resume"
rm -rf staged/3-w4a2
cp -r staged again
expect "... and made again" 0 train --quiet --resume --out staged
rm -f again/2-w4a4/last.safetensors again/2-w4a4/best.safetensors again/2-w4a4/metrics.jsonl
expect "... or from the second on" 0 train --quiet --resume --out again
is "... with equal bits" "$(files_of staged/3-w4a2)" = "$(files_of again/3-w4a2)"
expect "other stages are another plan" 2 train --resume --stages w4a4:1 --out staged
has err "^detent train: --stages is 'w4a4:1', but the run in staged has 'float:2,"

# The third is taught by the second: as a run by itself that is told so.
expect "stages that teach" 0 train $tiny --stages float:1,w4a4:1,w4a2:1 --stages-teach --crop 2 --out school
is "... but for the first" "$(grep -c '"teacher":[[:space:]]*null\|"teacher-share":[[:space:]]*0,' school/1-float/config.json)" -eq 2
is "... with half of the loss" "$(grep -c '"teacher-share":[[:space:]]*0.5' school/3-w4a2/config.json)" -eq 1
before=school/2-w4a4/last.safetensors
expect "... the third by itself" 0 train $tiny --crop 2 --wbits 4 --abits 2 --epochs 1 --init $before --teacher $before --quiet --out pupil
same "... has the same bits" school/3-w4a2 pupil
rm -rf school/3-w4a2
expect "... or made again" 0 train --quiet --resume --out school
same "... has them too" school/3-w4a2 pupil
expect "no stages that could teach" 2 train $tiny --epochs 1 --stages-teach --out bad
has err "there are no stages; give --stages, or a --teacher"

for bad in w4a4 w4a4: w4a4:0 w4a4:1.5 w9a4:1 w4:1 w4a4:1:x w4a4:1:1e-4:0 w4a4:1:1e-4:0.1:5 real:3 ,; do
    expect "--stages $bad" 2 train $tiny --stages "$bad" --out bad
    is "... makes nothing" ! -e bad
done

expect "three seeds" 0 train $tiny --quiet --epochs 2 --val-size 20 --repeat 3 --seed 7 --out seeds
json "repeat.json is JSON" seeds/repeat.json
is "... three runs" -s seeds/seed-7/last.safetensors -a -s seeds/seed-9/last.safetensors
expect "one of them by itself" 0 train $tiny --quiet --epochs 2 --val-size 20 --seed 8 --out seed8
same "... has the same bits" seeds/seed-8 seed8
last=$(for seed in 7 8 9; do sed -n 's/.*"val_accuracy":\([0-9.]*\).*/\1/p' seeds/seed-$seed/metrics.jsonl | tail -n 1; done)
want=$(echo "$last" | awk '{ s += $1; v[NR] = $1 } END { m = s / NR; for (i in v) q += (v[i] - m) ^ 2; printf "%.9f %.9f", m, sqrt(q / (NR - 1)) }')
got=$(tr -d ' \t\n' <seeds/repeat.json | sed -n 's/.*"last":{"mean":\([0-9.e-]*\),"deviation":\([0-9.e-]*\)}.*/\1 \2/p' | awk '{ printf "%.9f %.9f", $1, $2 }')
is "mean and deviation of the last epochs, $got" "$got" = "$want"
expect "seeds of stages" 0 train $tiny --stages float:1,w4a4:1 --repeat 2 --out both
has out "^seeds      2, from 1 on$"
has out "^last epoch [0-9.]* % on test images, deviation [0-9.]*$"
is "... in folders of folders" -s both/seed-2/2-w4a4/last.safetensors
ranks="--stages float:1,w4a4:2 --repeat 2 --ranks 2"
expect "seeds of stages, on two ranks" 0 train $tiny $ranks --out ranks
has out "^seeds      2, from 1 on$"
is "... say so once for each run" "$(grep -c '^ranks  *2, by' out)" -eq 4
is "... and what was found once" "$(grep -c '^last epoch' out)" -eq 1
expect "one of them by itself" 0 train $tiny --ranks 2 --wbits float --abits float --epochs 1 --seed 2 --quiet --out alone
is "... has the same bits" "$(cksum <ranks/seed-2/1-float/last.safetensors)" = "$(cksum <alone/last.safetensors)"
rm -rf ranks/seed-2/2-w4a4
expect "... which go on" 0 train --quiet --resume --ranks 2 --out ranks
is "... to the end" -s ranks/seed-2/2-w4a4/last.safetensors
: >log # not that of the run before, which has epochs
"$detent" train $tiny --stages float:100000,w4a4:2 --ranks 2 --out stops >log 2>err &
pid=$!
while ! grep -q '^epoch' log && kill -0 $pid 2>/dev/null; do sleep 0.01; done
kill -TERM $pid 2>/dev/null
wait $pid
is "a signal stops the plan" $? -eq 130
is "... at the run that it found" -s stops/1-float/last.safetensors -a ! -e stops/2-w4a4
expect "a run that fails ends the plan" 1 train $tiny --stages float:1,w4a4:1 --ranks 2 --teacher nowhere.safetensors --out fails
has err "nowhere.safetensors: cannot be opened"
is "... at that run" -d fails -a ! -e fails/2-w4a4
RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29999 expect "a plan within a launcher" 1 train $tiny --repeat 2 --out bad
has err "start the ranks of each run, and torchrun has started this one as rank 0 of 2"

# ---- what is said at once

expect "clips of 8 that nothing reaches" 0 train $tiny --epochs 1 --out stuck
has out "^warning:.* features.*: nothing reaches the clip, .*--start-clips mse"
expect "... which 8 bits do not reach either" 0 train $tiny --epochs 1 --start-clips mse --abits 8 --lr 1e-6 --out wide
has out "^warning:.* features.*: nothing reaches the clip, .* is never used; --quant-rule scream learns"
expect "clips from the least error" 0 train $tiny --epochs 1 --start-clips mse --out free
is "... get gradients" "$(grep -c warning out)" -eq 0
has out "^  weights  *of  *oscillate  *codes used$"
has out "^  features.4  *[0-9,]*  *[0-9,]*  *[1-9][0-9]* of  *15$"
expect "weights that freeze" 0 train $tiny --epochs 3 --quant-rule lsq --freeze 0.02 --freeze-momentum 0.05 --lr 0.2 --out frozen
has out "^  weights  *of  *oscillate  *codes used  *frozen$"
has out "^  features.4  *[0-9,]*  *[0-9,]*  *[1-9][0-9]* of  *16  *[1-9][0-9,]*$"
expect "... have no meaning for reals" 1 train $tiny --epochs 1 --wbits float --abits float --freeze 0.02 --out real
has err "freeze: the weights of tiny are real"
high="--model tiny --dataset synthetic --train-size 2000 --test-size 40 --batch 8 --threads 1 --device cpu --wbits float --abits float"
expect "a rate that is too high diverges in the end" 1 train $high --epochs 1 --lr 30 --schedule constant --out high
has out "^warning: the loss has been above ln(10) + 1 = 3.30 for [0-9]* steps, worse than guessing; try a lower --lr"
is "... before that, and once" "$(grep -c 'worse than guessing' out)" -eq 1
expect "a rate that is not" 0 train $high --epochs 1 --lr 0.01 --out low
is "... is not" "$(grep -c 'worse than guessing' out)" -eq 0

# ---- recipes

expect "the recipes" 0 recipes
has out "^notebook-w4a2  *vgg16 on cifar10"
has out "^vgg16-w4a2 "
ln -s "$here/../../models" models
sed -n 's/.*detent train \(.*--stages .*\) --data DIR --out DIR$/\1/p' out >lines
is "... some of which have stages" "$(wc -l <lines)" -gt 4
while read -r line; do
    # shellcheck disable=SC2086 # the options are words
    expect "... which stand until data are read: $line" 1 train $line --data nowhere --force --out staged_recipe
    has err "there is no folder nowhere"
done <lines
rm models
expect "... as JSON" 0 recipes --json
json "which is JSON" out
expect "a recipe's settings" 0 train --recipe vgg16-w4a2 --help
is "... are the defaults" "$(tr -d '\n' <out | tr -s ' ' | grep -c 'default lsq)')" -eq 1
expect "a recipe of a file's network" 1 train --recipe resnet20-w4a4 --dataset synthetic --epochs 1 --out no
has err "models/resnet20.json"

finish
