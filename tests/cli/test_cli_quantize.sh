#!/bin/sh
# test_cli_quantize.sh - a network of reals from training to engines: quantized, evaluated and compared under every
#                        profile, exported as a program, as C and for TensorFlow Lite, read back; and what is refused.
#
# usage: test_cli_quantize.sh PATH_OF_DETENT.  Where the Python that DETENT_PYTHON names has ai-edge-litert, LiteRT runs
# the exported files, and gives the same codes.
. "$(dirname "$0")/../support/command.sh"
profiles="litert-ref ref-double ref-single fp32-rne onnx"
images="--inputs images.safetensors"

# shellcheck disable=SC2086 # the options are words on purpose
expect "a network of reals" 0 train $tiny --wbits float --abits float --epochs 2 --out run --quiet
F=run/last.safetensors

# ten images of 32x32x3, U8, whose pixels are the checkpoint's last bytes; the header is padded to 72 bytes
head='{"x":{"dtype":"U8","shape":[10,32,32,3],"data_offsets":[0,30720]}}'
{
    printf '\110\0\0\0\0\0\0\0%-72s' "$head"
    tail -c 30720 $F
} >images.safetensors

# ---- quantize

expect "quantize" 0 quantize --checkpoint $F --images 40 --out q.safetensors
has out "^features.2.quant  *0  *[0-9.]*  *[0-9.e-]*  *-128  *0..255  *0.000%  *[0-9.]*$"
has out "^q.safetensors: tiny w8a8, 6 values, calibrated on 40 images by minmax$"
expect "... as JSON" 0 quantize --checkpoint $F --images 40 --out q.safetensors --json
json "... which is JSON" out
has out '"clipped"'
expect "... on a file's images" 0 quantize --checkpoint $F --calibrate images.safetensors:x --observe mse --out m.safetensors
has out "calibrated on 10 images by mse"
echo '{ "features.2": [0, 4] }' >ranges.json
expect "... with a range of one's own" 0 quantize --checkpoint $F --images 40 --ranges ranges.json --out r.safetensors
has out "^features.2.quant  *0  *4 "

# ---- measure

expect "eval" 0 eval --checkpoint q.safetensors --test-size 40
has out "engine grid$"
for p in $profiles; do
    expect "eval under $p" 0 eval --checkpoint q.safetensors --test-size 40 --profile $p
    has out "engine program, $p$"
    has out "^grid  *[0-9.]* %; [0-9]* predictions differ$"
done
expect "eval under exact" 0 eval --checkpoint q.safetensors --test-size 40 --profile exact
has out "engine program, exact$"
has out "^grid  *[0-9.]* %; 0 predictions differ$"
for p in $profiles exact; do
    expect "verify under $p" 0 verify --checkpoint q.safetensors --images 3 --profile $p
    has out "^verified: 0 of [0-9,]* values differ"
done
expect "eval as JSON" 0 eval --checkpoint q.safetensors --test-size 40 --profile onnx --json
has out '"profile":[[:space:]]*"onnx"'
expect "predict" 0 predict --checkpoint q.safetensors --profile litert-ref $images --out q.pred
has out "by q.safetensors (.*, engine program, litert-ref), to q.pred$"
expect "predict with a host's cast" 0 predict --checkpoint q.safetensors --io-cast truncate-u8 $images --out cast.pred
has out "engine program, litert-ref, truncate-u8), to cast.pred$"

# ---- hand over

expect "export a program" 0 export --checkpoint q.safetensors --to program --out p.safetensors
has out "^p.safetensors: 12 layers, 4,504 weight codes, [0-9]* KiB$"
expect "export C" 0 export --checkpoint q.safetensors --to c --out c --name net
cat >c/main.c <<'END'
#include <stdio.h>
#include "net.h"

/* Pixels on stdin, scores on stdout. */
int main(void)
{
    unsigned char image[NET_HEIGHT * NET_WIDTH * NET_CHANNELS];
    float scores[NET_CLASSES];

    while (fread(image, sizeof image, 1, stdin) == 1) {
        net_run(image, scores);
        fwrite(scores, sizeof scores, 1, stdout);
    }
    return 0;
}
END
"${CC:-cc}" -std=c99 -O2 -Wall -Wextra -Werror -o net c/main.c c/net.c -lm >out 2>err
check "... compiles" $?
tail -c 30720 $F | ./net >c.scores
tail -c 500 q.pred | head -c 400 >q.scores # 100 scores, then 100 codes
cmp -s c.scores q.scores
check "... gives the program's scores" $?
expect "predict by the checkpoint itself" 0 predict --checkpoint q.safetensors $images --out grid.pred
tail -c 400 grid.pred >grid.scores
expect "export C under exact" 0 export --checkpoint q.safetensors --to c --profile exact --out c --name net
"${CC:-cc}" -std=c99 -O2 -Wall -Wextra -Werror -o net c/main.c c/net.c -lm >out 2>err
check "... compiles" $?
tail -c 30720 $F | ./net >c.scores
cmp -s c.scores grid.scores
check "... gives the checkpoint's scores" $?
expect "export a program under exact" 0 export --checkpoint q.safetensors --to program --profile exact --out e.safetensors
expect "verify it alone" 0 verify --checkpoint e.safetensors --images 3
has out "^verified: 0 of [0-9,]* values differ"
expect "another profile for it" 1 eval --checkpoint e.safetensors --test-size 40 --profile onnx
has err "computes under exact, and its nodes have no form under onnx"
expect "... for the program of an engine" 1 eval --checkpoint p.safetensors --test-size 40 --profile exact
has err "computes under litert-ref, and its nodes have no form under exact"
for io in f32 i8 u8; do
    expect "export to TensorFlow Lite, $io" 0 export --checkpoint q.safetensors --to tflite --io $io --out $io.tflite
    has out "^$io.tflite: 12 layers, [0-9]* KiB, input and output $io$"
    expect "predict by it" 0 predict --checkpoint $io.tflite $images --out $io.pred
done
expect "export the program to TensorFlow Lite" 0 export --checkpoint p.safetensors --to tflite --out p.tflite
cmp -s p.tflite i8.tflite
check "... the same file" $?
expect "import it" 0 import --checkpoint i8.tflite --out back.safetensors
has out "^back.safetensors: i8, an integer program, litert-ref: images of 32x32x3, 10 classes, 12 layers, 4,504 weight codes$"
expect "... and predict" 0 predict --checkpoint back.safetensors $images --out back.pred
for f in i8 u8 f32 back; do tail -c 500 $f.pred >$f.end; done # scores and codes
for f in u8 f32 back; do
    cmp -s i8.end $f.end
    check "... the same codes and scores, $f" $?
done

# ---- networks of reals

expect "export a network of reals" 0 export --checkpoint $F --to tflite --out float.tflite
has out "^float.tflite: 4 layers, [0-9]* KiB, input and output f32$"
expect "fold it first" 0 quantize --checkpoint $F --scheme float --out folded.safetensors
expect "... and export that" 0 export --checkpoint folded.safetensors --to tflite --io f32 --out folded.tflite
cmp -s float.tflite folded.tflite
check "... the same file" $?
expect "dynamic ranges" 0 quantize --checkpoint $F --scheme drq --out drq.safetensors
expect "export dynamic ranges" 0 export --checkpoint drq.safetensors --to tflite --out drq.tflite
has out "^drq.tflite: 4 layers, [0-9]* KiB, input and output f32$"
# one image of 32x32x3, F32, whose values are weights
head='{"x":{"dtype":"F32","shape":[1,32,32,3],"data_offsets":[0,12288]}}'
{
    printf '\110\0\0\0\0\0\0\0%-72s' "$head"
    tail -c 12288 folded.safetensors
} >reals.safetensors
for f in folded drq; do
    expect "predict by $f.safetensors" 0 predict --checkpoint $f.safetensors --inputs reals.safetensors --out $f.1
    expect "predict by $f.tflite" 0 predict --checkpoint $f.tflite --inputs reals.safetensors --out $f.2
    tail -c 40 $f.1 >$f.a
    tail -c 40 $f.2 >$f.b
    cmp -s $f.a $f.b
    check "... the same scores" $?
    expect "predict pixels by $f.tflite" 0 predict --checkpoint $f.tflite $images --out $f.pred
done
expect "integers at the ends of reals" 2 export --checkpoint $F --to tflite --io i8 --out x
has err "--io i8: run/last.safetensors computes on reals, and its file takes and gives them: leave --io out, or give f32"
is "nothing was written" ! -e x

# ---- LiteRT itself

cat >litert.py <<'END'
import json, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

def tensors(path):
    data = open(path, "rb").read()
    start = 8 + int.from_bytes(data[:8], "little")
    types = {"U8": np.uint8, "I8": np.int8, "F32": np.float32}
    return {name: np.frombuffer(data[start + t["data_offsets"][0] : start + t["data_offsets"][1]], types[t["dtype"]])
            .reshape(t["shape"]) for name, t in json.loads(data[8:start]).items() if name != "__metadata__"}

images, expected = tensors("images.safetensors")["x"], tensors(sys.argv[1] + ".pred")
net = Interpreter(sys.argv[1] + ".tflite", experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
net.allocate_tensors()
given, made = net.get_input_details()[0], net.get_output_details()[0]
scale, zero = given["quantization"]
for i, image in enumerate(images):
    x = image.astype(np.float32) / np.float32(255)
    if given["dtype"] != np.float32:
        ends = np.iinfo(given["dtype"])
        x = np.clip(np.floor(x / np.float32(scale) + 0.5) + zero, ends.min, ends.max)
    net.set_tensor(given["index"], x.astype(given["dtype"]).reshape(given["shape"]))
    net.invoke()
    y = net.get_tensor(made["index"]).reshape(-1)
    if len(sys.argv) > 2: # sums of reals in another order, and codes that flip by it
        assert np.abs(y - expected["scores"][i]).max() <= float(sys.argv[2]), (i, y, expected["scores"][i])
    elif made["dtype"] == np.float32:
        assert (y == expected["scores"][i]).all(), (i, y, expected["scores"][i])
    else:
        codes = y.astype(int) - (128 if made["dtype"] == np.uint8 else 0)
        assert (codes == expected["codes"][i]).all(), (i, codes, expected["codes"][i])
END
python=${DETENT_PYTHON:-python3}
if "$python" -c "import numpy, ai_edge_litert.interpreter" >/dev/null 2>&1; then
    for io in f32 i8 u8; do
        "$python" litert.py $io >out 2>err
        check "LiteRT gives the codes of $io.tflite" $?
    done
    "$python" litert.py folded 1e-5 >out 2>err
    check "LiteRT gives the scores of reals" $?
    "$python" litert.py drq 5e-3 >out 2>err
    check "LiteRT gives the scores of dynamic ranges" $?
else
    echo "[SKIP] LiteRT: $python has no ai-edge-litert; DETENT_PYTHON names one that has"
fi

# ---- compare

expect "compare" 0 compare --checkpoint $F --with q.safetensors --index 3:8 --layers
has out "^A  $F: tiny float, grid$"
has out "^  *7  *[0-9]  *[0-9]  *[0-9]  *\(yes\|NO\)  *[0-9.e-]*$"
has out "^equal predictions: [0-5] of 5 ([0-9.]* %)$"
has out "^right: A [0-5] of 5 "
has out "^features.2  *features.2.quant  *[0-9.e-]*  *[0-9.e-]*$"
expect "eval of 400 images" 0 eval --checkpoint q.safetensors --test-size 400 --profile onnx
differ=$(sed -n 's/^grid .* \([0-9]*\) predictions differ$/\1/p' out)
right=$(sed -n 's/^accuracy  *\([0-9.]*\) %$/\1/p' out)
right_grid=$(sed -n 's/^grid  *\([0-9.]*\) %;.*/\1/p' out)
expect "a program of onnx" 0 export --checkpoint q.safetensors --to program --profile onnx --out onnx.safetensors
expect "compare 400 images" 0 compare --checkpoint q.safetensors --with onnx.safetensors --test-size 400 --index 0:400
has out "^equal predictions: $((400 - differ)) of 400 "
has out "^right: A [0-9]* of 400 ($right_grid %), B [0-9]* of 400 ($right %)$"
expect "compare a network with itself" 0 compare --checkpoint q.safetensors --with p.safetensors --profile litert-ref --layers
has out "^equal predictions: 25 of 25 (100.00 %)$"
has out "^classifier.act_quant  *classifier.act_quant  *0  *0$"
expect "compare on a file's images" 0 compare --checkpoint $F --with p.safetensors $images --json
json "... as JSON" out
has out '"largest_difference"'
expect "compare profiles" 0 compare --checkpoint q.safetensors --profiles --index 0:40
has out "^output codes that differ, of 400$"
has out "^litert-ref  *-  *[0-9]*  *[0-9]*  *[0-9]*  *[0-9]*  *[0-9]*$"
has out "^exact  *[0-9]*  *[0-9]*  *[0-9]*  *[0-9]*  *[0-9]*  *-$"
expect "... as JSON" 0 compare --checkpoint p.safetensors --profiles --index 0:40 --json
json "... which is JSON" out

# ---- help

expect "help of eval" 0 eval --help
tr -s ' \n' ' ' <out >line
has line "ref-single, fp32-rne, onnx, exact; default own)"
expect "help of compare" 0 compare --help
tr -s ' \n' ' ' <out >line
has line "of --inputs all --inputs="

# ---- what is refused

expect "a quantized network again" 1 quantize --checkpoint q.safetensors --out x
has err "computes on integers already, by image.quant (range_quant); quantize the network of real values"
expect "an observer that there is not" 2 quantize --checkpoint $F --observe average --out x
has err "observe average: expected minmax, percentile, mse, entropy, max-abs"
expect "images that are not there" 1 quantize --checkpoint $F --calibrate none.safetensors --out x
has err "none.safetensors: cannot be opened: No such file"
echo '{ "features.99": [0, 4] }' >ranges.json
expect "the range of another network's value" 1 quantize --checkpoint $F --images 40 --ranges ranges.json --out x
has err "features.99"
expect "no out" 2 quantize --checkpoint $F --images 40
has err "--out is needed"
expect "a profile of a network of reals" 1 eval --checkpoint $F --profile onnx
has err "features.0 is not quantized.*'detent quantize'"
# shellcheck disable=SC2086 # the options are words on purpose
expect "thresholds" 0 train $tiny --epochs 1 --out steps --quiet
expect "thresholds for TensorFlow Lite" 1 export --checkpoint steps/last.safetensors --to tflite --out x
has err "makes its codes by thresholds"
expect "a profile of thresholds" 1 eval --checkpoint steps/last.safetensors --profile onnx
has err "no node that computes under a profile"
expect "a cast of pixels" 1 predict --checkpoint steps/last.safetensors --io-cast truncate-i8 $images --out x
has err "takes pixels by a table, and casts no image"
expect "a file without its option" 0 import i8.tflite --out named.safetensors
expect "... and a second one" 0 compare q.safetensors i8.tflite --index 0:3 $images
has out "^equal predictions: "
expect "one too many" 2 compare q.safetensors i8.tflite i8.tflite
has err "what is 'i8.tflite'? Every value but a file follows its option"
expect "nothing to compare with" 2 compare --checkpoint $F
has err "--with names the network to compare with; or give --profiles"
expect "profiles of a network of reals" 1 compare --checkpoint $F --profiles
has err "is not quantized after training"
expect "a checkpoint to import" 1 import --checkpoint $F --out x
has err "is a file of the format 'detent-checkpoint'; a TensorFlow Lite or an ONNX file is imported"
is "nothing was written" ! -e x

finish
