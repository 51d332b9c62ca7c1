#!/bin/sh
# test_cli.sh - the program as its users meet it: exit codes, messages, and a tiny run from train to inspect.
#
# usage: test_cli.sh PATH_OF_DETENT.  Prints "ok N - what" or "not ok N - what"; exit code 1 if any is not ok.
. "$(dirname "$0")/../support/command.sh"

# ---- usage

expect "no command is wrong usage" 2
has err "Usage: detent COMMAND"
expect "--help" 0 --help
has out "capture"
expect "--version" 0 --version
has out "^detent [0-9]"
expect "completion" 0 completion
if command -v bash >/dev/null; then
    # completed WORDS...: what bash offers for the last of them
    completed()
    {
        bash -c 'source ./script; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _detent; echo "${COMPREPLY[@]}"' bash "$@" 2>&1
    }
    cp out script
    is "bash completes a command" "$(completed detent tr)" = train
    is "... an option of it" "$(completed detent eval --eng)" = --engine
    is "... no option of another" "$(completed detent data --eng)" = ""
    is "... a word" "$(completed detent train --quant-rule s)" = scream
    is "... a dataset" "$(completed detent train --model tiny --dataset fash)" = fashion-mnist
    is "... a command to explain" "$(completed detent help insp)" = inspect
fi
expect "an unknown command" 2 tarin
has err "there is no command 'tarin'; there are train eval predict quantize prune factorize compare import verify export search capture inspect report bench-comm sweep data"
for command in train eval predict verify export search capture inspect bench-comm sweep data; do
    expect "$command --help" 0 $command --help
    has out "Usage: detent $command"
    expect "$command with an unknown option" 2 $command --frobnicate
    has err "detent $command --help"
done
expect "a stray word" 2 data cifar10
has err "what is 'cifar10'"

expect "wbits out of range" 2 train --wbits 17
has err "^detent train: --wbits 17: expected 2..16 or float$"
expect "a number with something behind it" 2 train --epochs 3x
has err "^detent train: --epochs 3x: expected 1..100000$"
expect "lr not a number" 2 train --lr nan
has err "^detent train: --lr nan: expected"
expect "an unknown word" 2 train --schedule linear
has err "expected constant, cosine, step, exponential, decay"
expect "more images mirrored than there are" 2 train --flip 1.5
has err "^detent train: --flip 1.5: expected 0..1$"
expect "a shift too far" 2 train --shift 17
has err "^detent train: --shift 17: expected 0..16$"
expect "a turn too far" 2 train --rotation 45.5
has err "^detent train: --rotation 45.5: expected 0..45$"
for shape in 28x28 28x28x1x1 28x28x 28,28,1 0x28x1 28x5000x1 ax28x1; do
    expect "images of $shape" 2 train --input $shape
    has err "^detent train: --input $shape: expected 1..4096 three times, as HxWxC$"
done
expect "images of too many channels" 2 inspect --model tiny --input 32x32x65
has err "images of 65 channels"
expect "images too large for the network" 2 inspect --model tiny --input 65x32x3
has err "tiny takes images of 8x8 to 64x64, not 65x32"
expect "an unknown decoder" 2 train --decoder conv32
has err "expected none, fc, conv28, conv64"
expect "a rate that grows" 2 train --decay-rate 1.1
has err "^detent train: --decay-rate 1.1: expected"
expect "half a pair" 2 train --step-epochs 150
has err "expected 0..100000 twice, as A,B"
expect "an unknown model" 2 train --model vgg99 --out run
has err "vgg99.*vgg16"
expect "an unknown dataset" 2 train --model tiny --dataset cifar11 --out run
has err "cifar11.*cifar10.*synthetic"
expect "an unknown recipe" 2 train --recipe w3a3 --out run
has err "w3a3.*w4a4"
expect "train without --out" 2 train $tiny
has err "^detent train: --out is needed"
has err "^Try 'detent train --help'"
expect "train on a dataset that is not there" 1 train --dataset cifar10 --data "$work/nowhere" --out run
has err "^detent train: .*nowhere"
is "a refused training leaves no directory" ! -e run
expect "eval without a checkpoint" 2 eval --dataset synthetic
has err "^detent eval: --checkpoint is needed"
expect "eval of a file that is not there" 1 eval --checkpoint nowhere.safetensors --dataset synthetic
has err "nowhere.safetensors"
expect "an unknown engine" 2 eval --checkpoint x --engine float
has err "^detent eval: --engine float: expected grid, program, array"
expect "an array without rows" 2 verify --checkpoint x --rows 0
has err "^detent verify: --rows 0: expected 1..256"
expect "psums of 64 bits" 2 eval --checkpoint x --engine array --psum-bits 64
has err "^detent eval: --psum-bits 64: expected 8..32"
expect "an unknown layout" 2 export --checkpoint x --to vectors --layout mine --out v
has err "expected course, notebook, pack-a, pack-b, pack-c, output-stationary"
expect "export without --out" 2 export --checkpoint x --to c
has err "^detent export: --out is needed"
expect "vectors and a checkpoint" 2 verify --checkpoint x --vectors v
expect "vectors that are not there" 1 verify --vectors nowhere
has err "nowhere"
DETENT_TRACE=1 expect "a trace on request" 1 eval --checkpoint nowhere.safetensors --dataset synthetic
has err "  from .*session.c:"

# ---- train

expect "train an epoch" 0 train $tiny --epochs 1 --out a/run
has out "^model      tiny w4a4: .* parameters, 3 quantized layers"
has out "^data       synthetic: 60 training and 40 test images, 32x32x3, 10 classes"
has out "^training   1 epochs of .* batch .*, sgd, lr 0.01 cosine, .* [KM]iB$"
has out "^loss       cross-entropy, label smoothing 0.1$"
has out "^images     crop 4, flip 0.5$"
has out "^epoch  1/1  train .* test .* best$"
has out "features.4 .*e[-+]"
for file in config.json metrics.jsonl last.safetensors best.safetensors; do is "$file is there" -s a/run/$file; done
is "nothing else is there" "$(ls a/run | wc -l)" -eq 4
is "metrics.jsonl has a line an epoch" "$(wc -l <a/run/metrics.jsonl)" -eq 1
json "config.json is JSON" a/run/config.json
json "metrics.jsonl is JSON" a/run/metrics.jsonl

expect "a directory with a run in it is refused" 2 train $tiny --epochs 1 --out a/run
has err "a/run has a run in it: go on with --resume, replace it with --force"
expect "a complete run is not repeated" 0 train --resume --out a/run
has out "^complete   1 epochs; best test accuracy"
expect "--resume and --force are not both meant" 2 train $tiny --epochs 1 --resume --force --out a/run
expect "--force replaces it" 0 train $tiny --epochs 2 --eval-every 2 --quiet --force --out a/run
is "--quiet is quiet" ! -s out
is "metrics.jsonl is new" "$(wc -l <a/run/metrics.jsonl)" -eq 2
is "without evaluation there are nulls" "$(grep -c '"test_loss":null' a/run/metrics.jsonl)" -eq 1
is "without a decoder too" "$(grep -c '"train_reconstruction":null' a/run/metrics.jsonl)" -eq 2
expect "another learning rate is not the same run" 2 train --resume --out a/run --lr 0.5
has err "^detent train: --lr is '0.5', but the run in a/run has '0.01'"
expect "the same options and other threads are" 0 train $tiny --threads 2 --epochs 2 --eval-every 2 --resume --out a/run

expect "hold images out" 0 train $tiny --val-size 9930 --input 36x40x3 --shift 2 --rotation 10 --epochs 1 --out held
has out "^data       synthetic: 60 training and 40 test images, 36x40x3, 10 classes; 9,930 held out$"
has out "^images     crop 4, shift 2, rotation 10, flip 0.5$"
is "... and say so in config.json" "$(grep -c '"val-size":.*9930\|"input":.*"36x40x3"' held/config.json)" -eq 2
expect "... and no fewer when it goes on" 2 train --resume --out held --val-size 9929
has err "^detent train: --val-size is '9929', but the run in held has '9930'"
expect "hold too many out" 2 train $tiny --val-size 9950 --out held2
has err "a training subset of 60 images, but there are 50"
expect "hold all out" 2 train $tiny --val-size 10000 --out held2
has err "holding out 10000 of 10000 training images leaves none"

cp -r a/run old
sed 's/"flip":.*,/"flip": true,/' a/run/config.json >old/config.json
expect "an option of another kind than this version's" 2 train --resume --out old
has err "^detent train: --flip true: expected 0..1$"
sed 's/"lr":.*,/"lr": null,/' a/run/config.json >old/config.json
expect "no number at all" 2 train --resume --out old
has err "^detent train: --lr null: expected"

expect "--resume where nothing is starts the run" 0 train $tiny --epochs 1 --resume --out b
expect "--init takes what fits" 0 train $tiny --epochs 1 --init a/run/last.safetensors --out c
has out "copied [0-9]* of [0-9]* parameters"
expect "the recipe is the base, whatever the order" 0 train --lr 0.002 --recipe w4a2 $tiny --choke 0 --epochs 1 --out d
has out "^model      tiny w4a2:"
is "... and --lr counts" "$(grep -c '"lr":.*0.002,' d/config.json)" -eq 1
expect "a rate that decays" 0 train $tiny --epochs 1 --schedule decay --decay-steps 1 --decay-rate 0.5 --crop 0 --flip 0 --out decay
has out "^images     as they are$"
expect "values alone become a checkpoint" 0 import --model tiny --init a/run/last.safetensors --out imported.safetensors
has out "^imported.safetensors: tiny w4a4, a checkpoint: [0-9]* parameters, "
expect "... of the same predictions" 0 compare a/run/last.safetensors imported.safetensors --index 0:20 --device cpu \
    --dataset synthetic
has out "^equal predictions: 20 of 20 "
expect "... but not of another network" 1 import --model tiny --per-channel --init a/run/last.safetensors --out refused
has err "has [0-9]* of the [0-9]* parameters of tiny w4a4"
expect "values and a whole network" 2 import i.tflite --init a/run/last.safetensors --out refused
has err "give one of them"
expect "--init of a file that is not there" 1 train $tiny --epochs 1 --init nowhere.safetensors --out e
is "... leaves no directory" ! -e e

mkdir full
ln -s /dev/full full/metrics.jsonl
expect "a full disk under metrics.jsonl" 1 train $tiny --epochs 1 --save-every 1 --out full
has err "metrics.jsonl: No space left on device"
expect "... leaves the checkpoint whole" 0 inspect --checkpoint full/last.safetensors
rm full/metrics.jsonl
expect "... and the run goes on" 0 train --resume --out full
is "... with its line" "$(wc -l <full/metrics.jsonl)" -eq 1

# ---- eval, capture, inspect, data

F=a/run/last.safetensors
expect "eval" 0 eval --checkpoint $F --dataset synthetic --test-size 40 --device cpu
has out "^accuracy "
expect "eval --json" 0 eval --checkpoint $F --dataset synthetic --test-size 40 --batch 16 --device cpu --json
json "... is JSON" out
accuracy=$(sed -n 's/.*"accuracy":[[:space:]]*\([0-9.]*\).*/\1/p' out | head -n 1)
is "... and equals the last line of metrics.jsonl" "$(tail -n 1 a/run/metrics.jsonl |
    grep -c "\"test_accuracy\":$accuracy[,0-9]")" -eq 1
has out '"top_k"'
has out '"confusion"'
expect "eval --top-k --confusion" 0 eval --checkpoint $F --dataset synthetic --test-size 40 --device cpu --top-k 3 --confusion
has out "^top-3      [0-9.]* %$"
has out "^    9        4 .* %"
has out "^loss .* label smoothing of 0.1$"
"$detent" eval --checkpoint $F --dataset synthetic --device cpu >/dev/full 2>err
is "results that cannot be written are a failure" $? -eq 1

expect "capture" 0 capture --checkpoint $F --dataset synthetic --index 3:10 --layer features.4 --out cap.safetensors \
    --device cpu
has out "7 images"
is "the capture is there" -s cap.safetensors
expect "capture of no images" 2 capture --checkpoint $F --dataset synthetic --index 5:5 --layer features.4 --out c
has err "^detent capture: --index 5:5: expected A:B with 0 <= A < B <= 2000"
expect "capture past the end" 2 capture --checkpoint $F --dataset synthetic --index 0:2001 --layer features.4 --out c
expect "capture of an unknown layer" 2 capture --checkpoint $F --dataset synthetic --layer features.5 --out c
has err "there are features.0 features.4 features.8"
expect "capture to nowhere" 2 capture --checkpoint $F --dataset synthetic --layer features.4
has err "^detent capture: --out is needed"

# ---- verify, export, and the engines

data="--dataset synthetic --test-size 40 --device cpu"
expect "verify" 0 verify --checkpoint $F $data --images 33
has out "^array 8x8, 16-bit psums, wrap, ws"
has out "^features.8 .* 0 "
has out "^all .* 0 "
expect "verify one layer as JSON" 0 verify --checkpoint $F $data --layer features.4 --images 5 --rows 3 --overflow saturate \
    --psum-bits 9 --json
json "it is JSON" out
has out '"mismatches":[[:space:]]*0'
expect "verify an unknown layer" 2 verify --checkpoint $F $data --layer features.5
has err "there are features.0 features.4 features.8, or all"
expect "verify on an array that cannot" 2 verify --checkpoint $F $data --images 2 --simd 2
expect "eval --engine program" 0 eval --checkpoint $F $data --engine program
has out "^grid .* 0 predictions differ"
expect "eval --engine array" 0 eval --checkpoint $F $data --engine array --psum-bits 24
has out "^exact .* 0 predictions differ"
expect "eval --engine array as JSON" 0 eval --checkpoint $F $data --engine array --psum-bits 8 --json
json "it is JSON" out
has out '"overflows"'
expect "eval with multipliers" 0 eval --checkpoint $F $data --engine program --multiplier-bits 8
has out "^multiplier 8 bits: .* channels differ"
expect "export a program" 0 export --checkpoint $F $data --to program --out net.safetensors
has out "weight codes"
expect "eval of the exported program" 0 eval --checkpoint net.safetensors $data --engine program
expect "a program is evaluated as one" 0 eval --checkpoint net.safetensors $data
has out "engine program$"
expect "a program cannot give vectors" 1 export --checkpoint net.safetensors $data --to vectors --layer features.4 --out v
expect "export C" 0 export --checkpoint net.safetensors $data --to c --name net --out c
is "the C is there" -s c/net.c -a -s c/net.h
expect "C of a name that is none" 2 export --checkpoint net.safetensors $data --to c --name 3net --out c
expect "export vectors" 0 export --checkpoint $F $data --to vectors --layer features.4 --index 7 --out vectors
is "the manifest is there" -s vectors/manifest.json
expect "verify the vectors" 0 verify --vectors vectors
has out "^verified: 0 of .* values differ"
sed 's/1/0/' vectors/out.txt >changed && cp changed vectors/out.txt
expect "a changed file is found" 1 verify --vectors vectors
has err "out.txt"
expect "vectors of two images" 2 export --checkpoint $F $data --to vectors --layer features.4 --index 0:2 --out w
has err "vectors are of one image"
expect "vectors of signed codes" 0 export --checkpoint $F $data --to vectors --layer features.0 --out w
is "... say that they have a sign" "$(grep -A2 '"activation"' w/manifest.json | grep -c '"signed".*true')" -eq 1
expect "... and are verified" 0 verify --vectors w

expect "inspect" 0 inspect --checkpoint $F
has out "^features.4.weight  *8x3x3x8  *576  weight"
expect "inspect --cost" 0 inspect --cost --checkpoint $F --engine program
has out "^sum .* [0-9,]*$"
expect "... as JSON" 0 inspect --cost --checkpoint $F --json
has out '"total_bops":[[:space:]]*[0-9]'
expect "inspect --json" 0 inspect --checkpoint $F --json
json "... is JSON" out
expect "inspect a model by its options" 0 inspect --model vgg16 --choke 16 --wbits 4 --abits 2
has out "^vgg16 choke 16 w4a2: 8,936,682 parameters"
has out "^features.27 .* 144 .* 3,024 .* f32 .* 36,864$"
head -c 1000 $F >cut.safetensors
expect "inspect a file cut short" 1 inspect --checkpoint cut.safetensors
has err "cut.safetensors"

# ---- search

plan="search --method qcapsnets --plan --model"
expect "plan" 0 $plan shallowcaps --memory-budget 5.2
has out "^primary  *5,308,672  *6 "
has out "^all  *6,804,384  *4.6936  5.53x less"
expect "plan as JSON" 0 $plan deepcaps --memory-budget 3.3 --json
json "it is JSON" out
is "the bits are there" "$(tr -d '[:space:]' <out | grep -c '"weight_bits":\[6,5,4,3,2,2\],"memory_mib":2.999')" -eq 1
has out '"reduction":[[:space:]]*10.74'
expect "plan of another size" 0 $plan deepcaps --input 64x64x3 --memory-budget 12.8 --json
is "the bits are there" "$(tr -d '[:space:]' <out | grep -c '"weight_bits":\[11,10,9,8,7,7\]')" -eq 1
expect "plan of the published code" 0 $plan shallowcaps --memory-budget 8 --compat master
has out "^all  *6,804,384  *7.4732 "
expect "a budget that is too small" 2 $plan deepcaps --memory-budget 1 --compat master
has err "memory budget 1 MB: .* 1.0557 MB at least"
expect "plan of a network without capsules" 1 $plan vgg16
has err "vgg16"
expect "search without a checkpoint" 2 search --dataset synthetic
has err "^detent search: --checkpoint is needed"
expect "search in a network without capsules" 1 search --checkpoint $F $data --tune-on test
has err "tiny"
expect "an unknown rounding" 2 search --rounding nearest
has err "expected round_to_nearest, stochastic, truncation, logarithmic"
expect "an unknown method" 2 search --method haq
expect "a tolerance that is none" 2 search --accuracy-tolerance 101
has err "^detent search: --accuracy-tolerance 101: expected 0..100"
expect "a budget that is none" 2 search --memory-budget 0
expect "images to decide that are none" 2 search --tune-on train
has err "expected val, test"

# ---- a network in fixed point

caps="--dataset synthetic --test-size 10 --device cpu --threads 1"
train_caps="train --model shallowcaps --input 17x17x3 --decoder none $caps --train-size 20 --batch 10 --epochs 1"
expect "train capsules" 0 $train_caps --quiet --out caps
expect "search" 0 search --checkpoint caps/last.safetensors $caps --tune-on test --memory-budget 3 \
    --accuracy-tolerance 50 --out caps/net
Q=$(ls caps/net_quantized_*.safetensors | head -n 1)
expect "eval of what it found" 0 eval --checkpoint "$Q" $caps
has out "^model      shallowcaps in fixed point, round_to_nearest$"
expect "inspect it" 0 inspect --checkpoint "$Q"
has out "^round_to_nearest; weights of .* MiB, .* times less than f32"
has out "^digit  *[0-9]*  *[0-9]*  *[0-9]*$"
has out "^digit.s3  *digit "
expect "inspect it as JSON" 0 inspect --checkpoint "$Q" --json
json "it is JSON" out
has out '"routing_bits"'
expect "export its codes" 0 export --checkpoint "$Q" --to fixed-point --out codes.safetensors
has out "formats of 26 tensors"
is "the codes are there" -s codes.safetensors
expect "codes are not a network" 1 eval --checkpoint codes.safetensors $caps
has err "'detent-fixed-point', expected 'detent-checkpoint' or 'detent-quantized'"
expect "codes of a network in training" 1 export --checkpoint caps/last.safetensors --to fixed-point --out x
has err "shallowcaps float has no fixed-point formats"
expect "its program" 0 eval --checkpoint "$Q" $caps --engine program
has out "^fixed point .* %; [0-9]* predictions differ$"
expect "its program as a file" 0 export --checkpoint "$Q" $caps --to program --out caps/net.program
expect "steps of its routing for RTL" 0 export --checkpoint "$Q" $caps --to vectors --layer digit --index 0 --out caps/v
has out "^digit, image 0: 18 files"
expect "every psum, vote and value of its routing" 0 verify --checkpoint "$Q" $caps --images 2
has out "^verified: 0 of "
expect "--init takes its parameters" 0 $train_caps --init "$Q" --out caps/again
has out "copied 6 of 6 parameters"
expect "a picture without a decoder" 1 capture --reconstruct --checkpoint caps/last.safetensors $caps --out caps.png
has err "trained without a decoder; train it with --decoder fc"
expect "train with a decoder" 0 $train_caps --decoder fc --quiet --out caps/decoded
expect "a picture of capsules" 0 capture --reconstruct --checkpoint caps/decoded/last.safetensors $caps --index 0:3 \
    --out caps.png
has out "3 test images above, their reconstructions below; then the 16 dimensions"
is "it is a PNG" "$(head -c 4 caps.png | tail -c 3)" = PNG
expect "a picture of a network without capsules" 2 capture --reconstruct --checkpoint $F $data --out x.png
has err "needs a capsule network"

# waits_as WHAT WANT NAME=VALUE...: a training with those variables gets that GOMP_SPINCOUNT, and keeps its name.
waits_as()
{
    what=$1
    want=$2
    shift 2
    # shellcheck disable=SC2086 # the options are words on purpose
    env -u OMP_WAIT_POLICY -u GOMP_SPINCOUNT "$@" "$detent" train --model tiny --dataset synthetic --epochs 1000 \
        --device cpu --threads 1 --quiet --out waits --force >out 2>err &
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        sleep 0.2
        found=$(tr '\0' '\n' <"/proc/$!/environ" | sed -n 's/^GOMP_SPINCOUNT=//p')
        [ "$found" = "$want" ] && [ -d waits ] && break
    done
    is "$what: $found" "$found" = "$want"
    is "... and its name is $(cat "/proc/$!/comm")" "$(cat "/proc/$!/comm")" = "$(basename "$detent" | cut -c1-15)"
    kill $!
    wait $!
}

if ldd "$detent" | grep -q libgomp; then
    waits_as "threads sleep soon" 2000 A=1
    waits_as "... or as the user says" 7 GOMP_SPINCOUNT=7
    waits_as "... in either way" "" OMP_WAIT_POLICY=active
fi

expect "data" 0 data
has out "^cifar10: "
expect "data --json" 0 data --json
json "... is JSON" out
expect "data --data" 0 data --data "$work"
has out "missing: "

finish
