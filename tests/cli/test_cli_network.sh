#!/bin/sh
# test_cli_network.sh - networks from files: `--model FILE` in every command that takes --model.
#
# usage: test_cli_network.sh PATH_OF_DETENT.  Prints "ok N - what" or "not ok N - what"; exit code 1 if any is not ok.
sources=$(cd "$(dirname "$0")/../.." && pwd)
. "$(dirname "$0")/../support/command.sh"

cat >small.json <<'END'
{ "format": "detent-network", "image": [32, 32, 3], "classes": 10,
  "nodes": [
    ["stem", "conv", "image", { "filters": 8, "window": 3, "pad": 1 }],
    ["stem.act", "relu", "stem"],
    ["body", "conv", "stem.act", { "filters": 8, "window": 3, "pad": 1 }],
    ["body.bn", "batchnorm", "body"],
    ["join", "add", ["body.bn", "stem.act"]],
    ["join.act", "relu", "join"],
    ["pool", "avgpool", "join.act", { "window": 32 }],
    ["flat", "flatten", "pool"],
    ["classifier", "linear", "flat", { "features": 10 }] ] }
END
data="--dataset synthetic --train-size 60 --test-size 40 --batch 16 --threads 1 --device cpu"

# graphviz_takes WHAT: the drawing in `out`, where there is a Graphviz.
graphviz_takes()
{
    if command -v dot >/dev/null; then
        dot -Tsvg out >graph.svg 2>err
        check "Graphviz takes $1" $?
    else
        n=$((n + 1))
        echo "ok $n - Graphviz takes $1 # SKIP there is no dot"
    fi
}

# ---- layers that are called as what a tape adds

sed 's/"body/"labels/g; s/"classifier"/"loss"/' small.json >names.json
expect "layers called labels and loss" 0 train --model names.json $data --epochs 1 --quantize-classifier --out names
expect "... are verified" 0 verify --checkpoint names/last.safetensors --images 2 --device cpu
has out "^verified: 0 of "
rm -r names

# ---- train, and go on without the file

expect "train a network from a file" 0 train --model small.json $data --epochs 2 --out whole
has out "^model      small w4a4: 898 parameters, 2 quantized layers$"
mkdir elsewhere
cp small.json elsewhere/net.json
expect "a run that stops" 0 train --model elsewhere/net.json $data --epochs 2 --stop-at 0.1 --out part
rm elsewhere/net.json
sed 's/"stop-at":[^,]*0.1/"stop-at": 0/' part/config.json >edited && mv edited part/config.json
expect "... goes on without the network's file" 0 train --resume --out part
cut -d, -f1-10 whole/metrics.jsonl | sed 's/,"images_per_s.*//' >whole.lines
cut -d, -f1-10 part/metrics.jsonl | sed 's/,"images_per_s.*//' >part.lines
is "... to the same numbers" "$(cmp -s whole.lines part.lines && echo same)" = same
expect "other bits" 0 train --model ./small.json $data --wbits 8 --abits 2 --quant-rule lsq --per-channel --epochs 1 \
    --out bits
has out "^model      small w8a2: "
for ranges in learned average; do
    expect "affine quantizers, ranges $ranges" 0 train --model small.json $data --wbits 8 --abits 8 --quant-rule affine \
        --ranges $ranges --bits stem:float --epochs 2 --out affine-$ranges
    has out "^model      small w8a8, 1 float: "
done
expect "... inspected" 0 inspect --checkpoint affine-learned/last.safetensors
has out "^body  *8  *8  *32x32x8 "
has out "^join.act.range  *2  *2  alpha$"
expect "... their network" 0 inspect --graph --checkpoint affine-average/last.safetensors
has out "^join.act.quant  *range_quant  *32x32x8  *0..255  *join.act  *is_positive 1, update average$"
expect "... evaluated" 0 eval --checkpoint affine-average/best.safetensors --test-size 40
expect "... gone on with" 0 train --resume --out affine-learned
expect "affine quantizers have one number of bits" 2 train --model small.json $data --quant-rule affine \
    --bits body:w2a2 --out refused
has err "bits w2a2 of 'body', and affine quantizers have one number of bits"
expect "float" 0 train --model small.json $data --wbits float --abits float --epochs 1 --out float
has out "small float: 898 parameters, 0 quantized"
sed 's/"filters": 8/"filters": 16/' small.json >wide.json
expect "a wider one" 0 train --model wide.json $data --wbits float --abits float --epochs 1 --out wide
expect "dynamic ranges need no images" 0 quantize --scheme drq --checkpoint wide/last.safetensors --out drq.safetensors
has out "^stem  *432  *float$"
has out "^body  *2,304  *int8  *[0-9.e-]*  *[0-9.e-]*$"
has out "^drq.safetensors: wide w8a8 dynamic, 1 float$"
expect "... evaluated" 0 eval --checkpoint drq.safetensors --dataset synthetic --test-size 40
expect "... have no program" 1 eval --checkpoint drq.safetensors --dataset synthetic --test-size 40 --engine program
has err "wide has no integer program: stem.act.dynamic .*'detent quantize --scheme full'"
expect "... as JSON" 0 quantize --scheme drq --json --checkpoint wide/last.safetensors --out drq.safetensors
has out '"elements":[[:space:]]*2304'
expect "batch norms alone are folded" 0 quantize --scheme float --checkpoint wide/last.safetensors --out folded.safetensors
has out "^folded.safetensors: wide float$"
expect "the notebook's quantizers, after training" 0 quantize --scheme qkeras --wbits 4 --abits 16 \
    --checkpoint wide/last.safetensors --out qkeras.safetensors
has out "^stem  *432  *int4  *[0-9.e-]*  *[0-9.e-]*$"
has out "^qkeras.safetensors: wide w4a16$"
expect "... evaluated" 0 eval --checkpoint qkeras.safetensors --dataset synthetic --test-size 40
expect "... and exported integers are calibrated" 0 quantize --images 20 --checkpoint qkeras.safetensors --out again.safetensors
expect "a scheme by TensorFlow Lite's name" 0 quantize --scheme fiq-i8 --images 20 --checkpoint wide/last.safetensors \
    --out full.safetensors
has out "^full.safetensors: wide w8a8, 6 values, calibrated on 20 images by minmax$"
expect "smaller images are padded to the file's size" 0 train --model small.json --dataset synthetic --train-size 20 \
    --test-size 20 --batch 10 --device cpu --epochs 1 --quiet --out padded

# ---- the other commands

expect "eval" 0 eval --checkpoint whole/best.safetensors $(echo $data | sed 's/--train-size 60//')
has out "^model      small w4a4$"
expect "capture" 0 capture --checkpoint whole/best.safetensors --test-size 40 --layer body --out c.safetensors
expect "inspect a checkpoint" 0 inspect --checkpoint whole/best.safetensors
has out "^small w4a4: 898 parameters$"
expect "inspect a file" 0 inspect --model small.json --wbits 2 --abits 2
has out "^small w2a2: 898 parameters$"
expect "a plan needs capsules" 1 search --plan --model small.json --memory-budget 1
has err "small has no capsules"

# ---- the network itself

expect "the network of a file" 0 inspect --graph --model small.json --wbits float --abits float
has out "^small float: images of 32x32x3, 10 classes, 898 parameters$"
has out "^body  *conv  *32x32x8  *real  *stem.act  *filters 8, window 3x3, pad 1$"
has out "^join  *add  *32x32x8  *real  *body.bn, stem.act$"
expect "... with its quantizers" 0 inspect --graph --model small.json
has out "^body  *conv  *32x32x8  *-7560..7560  *body.act_quant, body.weight_quant  *filters 8"
expect "... as a file" 0 inspect --graph --json --model small.json
json "... which is JSON" out
mv out again.json
expect "... that is a network" 0 inspect --graph --json --model again.json
is "... the same one" "$(cmp -s out again.json && echo same)" = same
expect "... that is trained as it is" 0 train --model again.json $data --epochs 2 --quiet --out again
cut -d, -f1-10 again/metrics.jsonl | sed 's/,"images_per_s.*//' >again.lines
is "... to the same numbers" "$(cmp -s whole.lines again.lines && echo same)" = same
expect "of a checkpoint" 0 inspect --graph --checkpoint whole/last.safetensors
has out "^small w4a4: images of"
expect "as a drawing" 0 inspect --dot --model small.json
has out '^  "stem.act" -> "join.1.act_quant";$'
has out '^  "join.1.act_quant" -> "join";$'
graphviz_takes "it"

# ---- the network as integers

F="--checkpoint whole/last.safetensors"
expect "the network as integers" 0 inspect --graph $F --engine program
has out "^small w4a4 as an integer program: images of 32x32x3, 10 classes, 792 weight codes$"
has out "^image.codes  *table  *32x32x3  *-127..127  *image  *table 256x3, low -127, high 127$"
has out "^body.codes  *codes  *8x3x3x8  *-7..7  *body.weight  *low -7, high 7$"
has out "^body  *conv  *32x32x8  *-7560..7560  *body.act_quant, body.codes  *filters 8"
has out "^body.act_quant  *threshold  *32x32x8  *0..15  *stem  *thresholds 15x8, slope of 8, offset of 8$"
mv out lowered
expect "... exported" 0 export $F --to program --out small.safetensors
expect "... is the same in its file" 0 inspect --graph --checkpoint small.safetensors
is "... to the letter" "$(cmp -s out lowered && echo same)" = same
expect "... as JSON" 0 inspect --graph --json --checkpoint small.safetensors
json "... which is JSON" out
has out '{"name":"body.act_quant.slope","shape":\[8\]}'
mv out program.json
expect "... that is a network" 0 inspect --graph --json --model program.json
is "... the same one" "$(cmp -s out program.json && echo same)" = same
expect "... that is not trained" 1 train --model program.json $data --epochs 1 --out no
has err "small w4a4 is a program, whose integers cannot be trained"
expect "... as a drawing" 0 inspect --dot --checkpoint small.safetensors
has out '^  "body" \[label = "body\\nconv: filters 8, window 3x3, pad 1\\n32x32x8, -7560..7560"\];$'
has out '^  "body.codes" -> "body";$'
graphviz_takes "the integers"
expect "its layers" 0 inspect --checkpoint small.safetensors
has out "^small w4a4 as an integer program: [0-9]* layers, 792 weight codes, [0-9,]* bytes$"
has out "^data       synthetic: 60 training images, files "
has out "^body  *4  *4  *32x32x8  *72  *7,560  *14  *f32  *589,824$"
expect "... as JSON" 0 inspect --json --checkpoint small.safetensors
json "... which is JSON" out
has out '"weight_codes":[[:space:]]*792'
expect "with multipliers" 0 export $F --to program --multiplier-bits 12 --out multiplied.safetensors
expect "... which stand beside the thresholds" 0 inspect --graph --checkpoint multiplied.safetensors
has out "^body.act_quant .*  thresholds 15x8, slope of 8, offset of 8, multiplier_bits of 1, multiplier of 8, "
expect "on an array" 2 inspect --graph $F --engine array
has err "--engine array: an array runs the nodes of the program; --engine program shows them"
expect "of what is not trained" 2 inspect --graph --model small.json --engine program
has err "--checkpoint is needed"
expect "of a network of reals" 1 inspect --graph --checkpoint float/last.safetensors --engine program
has err "stem is not quantized, so it has no integers"

# ---- bits of single layers

expect "bits by name and pattern" 0 inspect --model small.json --bits 'stem:w8a8,b*:w2a3'
has out "^small w2-8a3: 898 parameters"
has out "^stem  *8  *8 "
has out "^body  *2  *3 "
expect "bits of the first and last" 0 inspect --model tiny --first-last-bits 8
has out "^tiny w4-8a4-8: "
expect "a layer of reals" 0 train --model small.json $data --bits 'stem:float' --epochs 1 --out real
has out "^model      small w4a4, 1 float: 898 parameters, 1 quantized layers"
expect "... is evaluated" 0 eval --checkpoint real/last.safetensors --test-size 40 --device cpu
has out "^model      small w4a4, 1 float$"
echo '{ "body": { "wbits": 3, "abits": 5 }, "stem": { "wbits": "float", "abits": "float" } }' >bits.json
expect "bits in a file" 0 train --model tiny $data --bits '*.4:w2a2' --epochs 1 --quiet --out mixed
expect "... " 0 train --model small.json $data --bits bits.json --epochs 2 --stop-at 0.1 --out file
has out "^model      small w3a5, 1 float: "
rm bits.json
sed 's/"stop-at":[^,]*0.1/"stop-at": 0/' file/config.json >edited && mv edited file/config.json
expect "... that is gone when the run goes on" 0 train --resume --out file
expect "a run of mixed bits goes on" 0 train --resume --out mixed
expect "... with no others" 2 train --resume --out mixed --bits '*.4:w2a3'
has err "--bits is '\*.4:w2a3', but the run in mixed has '\*.4:w2a2'"
expect "a layer that is not there" 2 inspect --model small.json --bits 'head:w4a4'
has err "small has no layer 'head' that could be quantized; there are stem, body"
for bits in stem stem:w4 :w4a4 stem:w4a4x stem:wxa4 stem:w4a4b stem:w4a4b8x; do
    expect "bits of '$bits'" 2 inspect --model small.json --bits "$bits"
    has err "is not LAYER:wXaY, LAYER:wXaYbZ or LAYER:float"
done
expect "bits of a bias that stays real" 2 inspect --model small.json --bits "stem:w4a4b8"
has err "a bias of 8 bits for 'stem', and ece284 quantizers leave biases real; leave it out, or take qkeras"
expect "bits that are too few" 2 inspect --model small.json --bits "stem:w1a4"
has err "bits w1a4 of 'stem', allowed are 2..8"
expect "a file of bits that is not there" 1 inspect --model small.json --bits none.json
has err "--bits none.json: no such file"
echo '{ "stem": { "wbits": 4 } }' >bits.json
expect "a file of bits that lacks some" 1 inspect --model small.json --bits bits.json
has err "--bits bits.json: stem is not {"

# ---- batch norms that train folded, and the mean image

affine="--quant-rule affine --per-channel --wbits 8 --abits 8"
expect "folded batch norms" 0 train --model tiny $data --epochs 2 $affine --fold-bn ema --bn-freeze-delay 3 --out folded
has out "^batch norm 2 folded (ema); statistics freeze after 3 steps$"
expect "... go on" 0 train --resume --out folded
expect "... by the same statistics alone" 2 train --resume --out folded --fold-bn batch
has err "--fold-bn is 'batch', but the run in folded has 'ema'"
expect "... are evaluated" 0 eval --checkpoint folded/last.safetensors --test-size 40 --device cpu
expect "... are shown" 0 inspect --graph --checkpoint folded/last.safetensors
has out "^features.1  *fold_bias "
expect "... and their program has them folded" 0 export --checkpoint folded/last.safetensors --to program --out folded.p
expect "... whose graph has no batch norm" 0 inspect --graph --checkpoint folded.p
is "... of any kind" "$(grep -c 'fold_\|batch' out)" = 0
expect "... verified" 0 verify --checkpoint folded/last.safetensors --test-size 40 --images 4 --device cpu
has out "^verified: 0 of "
expect "weights that are standardised" 2 train --model tiny $data --fold-bn ema --out no
has err "ece284, which standardises weights"
expect "a freeze without folding" 2 train --model tiny $data --bn-freeze-delay 3 --out no
has err "none is folded"
expect "a mean image" 0 train --model tiny $data --epochs 1 $affine --fold-bn batch --normalize mean-image --out mean
expect "... is evaluated" 0 eval --checkpoint mean/last.safetensors --test-size 40 --device cpu
expect "... has no program" 1 export --checkpoint mean/last.safetensors --to program --out no
has err "image.centred takes the mean image away, .* train with '--normalize channel'"
expect "the notebook's quantizers" 0 train --model tiny $data --epochs 1 --quant-rule qkeras --wbits 16 --abits 16 --out notebook
expect "... need ranges for a program" 1 export --checkpoint notebook/last.safetensors --to program --out no
has err "'detent quantize' finds the ranges that stay"
expect "... which are found" 0 quantize --checkpoint notebook/last.safetensors --images 10 --out notebook.q

# ---- the networks of models/

if command -v python3 >/dev/null; then
    mkdir made
    python3 "$sources/scripts/make_networks.py" made
    check "models/ is written" $?
    for file in made/*.json; do
        is "$file is what models/ has" "$(cmp -s "$file" "$sources/models/${file#made/}" && echo same)" = same
    done
fi

# ---- from the file to C: residual sums, depthwise convolutions and limited ReLUs have the scores of 'detent predict'

cat >main.c <<'C'
#include "network.h"
#include <stdio.h>

int main(void)
{
    static uint8_t image[NETWORK_HEIGHT * NETWORK_WIDTH * NETWORK_CHANNELS];
    float scores[NETWORK_CLASSES];

    while (fread(image, 1, sizeof image, stdin) == sizeof image) {
        network_run(image, scores);
        fwrite(scores, sizeof *scores, NETWORK_CLASSES, stdout);
    }
    return 0;
}
C
head='{"x":{"dtype":"U8","shape":[3,32,32,3],"data_offsets":[0,9216]}}'
head -c 9216 "$detent" >pixels
{
    printf '\110\0\0\0\0\0\0\0%-72s' "$head"
    cat pixels
} >images.safetensors
for network in resnet8 mobilenet; do
    expect "$network is trained" 0 train --model "$sources/models/$network.json" $data --epochs 1 --out "$network"
    expect "... lowered and verified" 0 verify --checkpoint "$network/last.safetensors" --images 2 --device cpu
    has out "verified: 0 of"
    expect "... exported to C" 0 export --checkpoint "$network/last.safetensors" --to c --out "$network.c"
    expect "... and predicts" 0 predict --checkpoint "$network/last.safetensors" --inputs images.safetensors \
        --out "$network.scores" --device cpu
    for compiler in gcc clang; do
        command -v $compiler >/dev/null || continue
        $compiler -std=c99 -O2 -Wall -Wextra -pedantic -Werror -I"$network.c" main.c "$network.c/network.c" -o c_net >out 2>err
        check "$network's C compiles with $compiler" $?
        ./c_net <pixels >c.scores
        is "$network's C by $compiler has its scores" "$(tail -c 120 "$network.scores" | cmp -s - c.scores && echo same)" = same
    done
done

# ---- what contradicts the file

expect "another size" 2 train --model small.json $data --input 28x28x1 --out no
has err "small.json takes images of 32x32x3, and 28x28x1 were asked for"
expect "other classes" 2 train --model small.json $data --classes 12 --out no
has err "small.json has 10 classes, and 12 were asked for"
sed 's/"features": 10/"features": 7/; s/"classes": 10/"classes": 7/' small.json >seven.json
expect "a dataset of more classes" 2 train --model seven.json $data --out no
has err "--model seven.json: it has 7 classes, and synthetic has 10"
expect "a chokepoint" 2 train --model small.json $data --choke 8 --out no
has err "small.json is a network from a file, and choke is 8"
expect "a recipe" 2 train --model small.json --recipe w4a4 $data --out no
has err "--recipe w4a4 is for vgg16, and --model is the file small.json"
expect "a decoder" 2 train --model small.json $data --decoder fc --out no
has err "small.json is a network from a file, and decoder is fc"
expect "no such file" 1 train --model none.json $data --out no
has err "none.json: "
expect "no network" 1 train --model c.json $data --out no
echo '{ "format": "onnx" }' >c.json
expect "another format" 1 inspect --model c.json
has err "c.json: format is 'onnx'"
is "nothing was begun" ! -e no

finish
