#!/bin/sh
# test_cli_predict.sh DETENT - `detent predict`: scores of a file's images by every engine, and what is refused.
. "$(dirname "$0")/../support/command.sh"

# three images of 32x32x3, U8: the first all 7, the others all 128; the header is padded to 72 bytes
head='{"x":{"dtype":"U8","shape":[3,32,32,3],"data_offsets":[0,9216]}}'
{
    printf '\110\0\0\0\0\0\0\0%-72s' "$head"
    head -c 3072 /dev/zero | tr '\0' '\007'
    head -c 6144 /dev/zero | tr '\0' '\200'
} >images.safetensors

# shellcheck disable=SC2086 # the options are words on purpose
expect "a run to predict with" 0 train $tiny --epochs 1 --out run
expect "the model" 0 predict --checkpoint run/last.safetensors --inputs images.safetensors --device cpu \
    --out grid.safetensors
has out "scores of images.safetensors by run/last.safetensors (cpu, engine grid), to grid"
expect "its program" 0 predict --checkpoint run/last.safetensors --inputs images.safetensors:x --engine program \
    --device cpu --out program.safetensors
expect "the program on an array" 0 predict --checkpoint run/last.safetensors --inputs images.safetensors \
    --engine array --psum-bits 32 --device cpu --out array.safetensors
expect "the program as a file" 0 export --checkpoint run/last.safetensors --to program --out p.safetensors
expect "... predicts" 0 predict --checkpoint p.safetensors --inputs images.safetensors --device cpu --out p.scores
has out "by p.safetensors (cpu, engine program), to p.scores"
for engine in grid program array; do tail -c 120 $engine.safetensors >$engine.scores; done
if cmp -s grid.scores program.scores && cmp -s grid.scores array.scores; then
    ok "the scores of all three have equal bits"
else
    not_ok "the scores of all three have equal bits"
fi
expect "a value inside" 0 predict --checkpoint run/last.safetensors --inputs images.safetensors --layer features.4 \
    --device cpu --out inside.safetensors
has inside.safetensors '"features.4.scale"'

expect "no inputs" 2 predict --checkpoint run/last.safetensors --out x.safetensors
has err "--inputs is needed"
expect "a tensor that is not there" 2 predict --checkpoint run/last.safetensors --inputs images.safetensors:y \
    --out x.safetensors
has err "images.safetensors: has no tensor 'y'"
expect "a value that is not there" 2 predict --checkpoint run/last.safetensors --inputs images.safetensors \
    --layer conv9 --out x.safetensors
has err "the network has no value 'conv9'"
expect "a file of other tensors" 1 predict --checkpoint run/last.safetensors --inputs run/last.safetensors:classifier.bias \
    --out x.safetensors
has err "expected images .N..32..32..3."
finish
