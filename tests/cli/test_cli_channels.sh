#!/bin/sh
# test_cli_channels.sh - reals of many channels: ECGs of 12 leads as 12 channels, from arrays through training to
#                        programs, C, TensorFlow Lite and ONNX files, each channel with a mean and a deviation of its own.
#
# usage: test_cli_channels.sh PATH_OF_DETENT
. "$(dirname "$0")/../support/command.sh"

# x F32 [40][50][1][12] and y I64 [40]: lead c is c + 1 times a wave, plus 10 c; the class is the wave's frequency.
# awk writes octal escapes of the bits, which it finds itself.
awk 'function f32(v, bytes, s, e, m, b, i) {
        s = v < 0; v = s ? -v : v
        if (v == 0) return "\\000\\000\\000\\000"
        for (e = 0; v >= 2; e++) v /= 2
        for (; v < 1; e--) v *= 2
        b = (s ? 2147483648 : 0) + (e + 127) * 8388608 + int((v - 1) * 8388608)
        bytes = ""
        for (i = 0; i < 4; i++) { m = b % 256; b = (b - m) / 256; bytes = bytes sprintf("\\%03o", m) }
        return bytes
    }
    BEGIN {
        head = "{\"x\":{\"dtype\":\"F32\",\"shape\":[40,50,1,12],\"data_offsets\":[0,96000]},\"y\":{\"dtype\":\"I64\",\"shape\":[40],\"data_offsets\":[96000,96320]}}"
        while (length(head) % 8) head = head " "
        printf "\\%03o\\000\\000\\000\\000\\000\\000\\000%s", length(head), head
        for (n = 0; n < 40; n++) for (t = 0; t < 50; t++) for (c = 0; c < 12; c++)
            printf "%s", f32(10 * c + (c + 1) * (sin((n % 2 ? 0.9 : 0.3) * t + n) + ((n * 31 + t * 17 + c * 7) % 13) / 13))
        for (n = 0; n < 40; n++) printf "\\%03o\\000\\000\\000\\000\\000\\000\\000", n % 2
    }' >octal
printf '%b' "$(sed 's/\\\([0-7][0-7][0-7]\)/\\0\1/g' octal)" >ecg.safetensors
is "the file has 12 channels" "$(wc -c <ecg.safetensors)" -gt 96320
cat >net.json <<'END'
{ "format": "detent-network", "name": "leads", "image": [50, 1, 12], "classes": 2,
  "nodes": [ ["c1", "conv", "image", { "filters": 8, "window": [5, 1] }], ["b1", "batchnorm", "c1"], ["r1", "relu", "b1"],
             ["p1", "maxpool", "r1", { "window": [2, 1] }], ["c2", "conv", "p1", { "filters": 8, "window": [3, 1] }],
             ["b2", "batchnorm", "c2"], ["r2", "relu", "b2"], ["mean", "avgpool", "r2"], ["flat", "flatten", "mean"],
             ["classifier", "linear", "flat", { "features": 2 }] ] }
END
expect "the data are described" 0 data --dataset safetensors:ecg.safetensors,test=25
has out "reals of 50x1x12, 2 classes$"
is "... with a mean for each of 12 channels" "$(sed -n 's/^train.*; mean \(.*\), deviation.*/\1/p' out | wc -w)" -eq 12
expect "train" 0 train --model net.json --dataset safetensors:ecg.safetensors,test=25 --wbits float --abits float \
    --threads 1 --device cpu --quiet --optim adam --lr 0.02 --batch 10 --epochs 15 --label-smoothing 0 --out run
F=run/last.safetensors
expect "eval" 0 eval --checkpoint $F
has out "^accuracy   \(9\|10\)[0-9.]* %$"
expect "resume finds the same numbers" 0 train --resume --out run
expect "quantize" 0 quantize --checkpoint $F --images 20 --out q.safetensors
expect "eval by its program" 0 eval --checkpoint q.safetensors --profile exact
has out "^grid  *[0-9.]* %; 0 predictions differ$"
expect "verify" 0 verify --checkpoint q.safetensors --images 10
has out "^verified: 0 of [0-9,]* values differ"
expect "train with quantizers" 0 train --model net.json --dataset safetensors:ecg.safetensors,test=25 --quant-rule affine \
    --wbits 8 --abits 8 --threads 1 --device cpu --quiet --epochs 1 --batch 10 --out qat
expect "... and verify" 0 verify --checkpoint qat/last.safetensors --images 10 --profile exact
has out "^verified: 0 of [0-9,]* values differ"
expect "capture" 0 capture --checkpoint q.safetensors --layer c1 --index 0:2 --out cap.safetensors
expect "predict as the data have them" 0 predict --checkpoint q.safetensors --engine program --inputs ecg.safetensors:x \
    --out q.pred

# ---- the program's scores, by other files

expect "train on numbers as they are" 0 train --model net.json --dataset safetensors:ecg.safetensors,test=25,normalize=none \
    --wbits float --abits float --threads 1 --device cpu --quiet --optim adam --lr 0.02 --batch 10 --epochs 2 --out none
expect "... quantize" 0 quantize --checkpoint none/last.safetensors --images 20 --out n.safetensors
expect "... predict by its program" 0 predict --checkpoint n.safetensors --profile litert-ref --inputs ecg.safetensors:x \
    --out n.pred
expect "export C" 0 export --checkpoint n.safetensors --to c --profile litert-ref --out c --name net
main_of_reals
"${CC:-cc}" -std=c99 -O2 -Wall -Wextra -Werror -o net c/main.c c/net.c -lm >out 2>err
check "... compiles" $?
head -c 96144 ecg.safetensors | tail -c 96000 | ./net >c.scores
tail -c 400 n.pred | head -c 320 >n.scores # 80 scores, then 80 codes
cmp -s c.scores n.scores
check "... gives the program's scores" $?
expect "capture what the image became" 0 capture --checkpoint q.safetensors --layer c1 --index 0:10 --out in.safetensors
expect "export to TensorFlow Lite" 0 export --checkpoint q.safetensors --to tflite --out q.tflite
expect "import it" 0 import --checkpoint q.tflite --out back.safetensors
has out "images of 50x1x12, 2 classes"
expect "compare both" 0 compare --checkpoint q.tflite --with q.safetensors --inputs in.safetensors:input_float \
    --profile litert-ref --json
json "... as JSON" out
is "... no score differs" "$(grep -c '"largest_difference":.*[1-9]' out)" -eq 0
expect "export ONNX of reals" 0 export --checkpoint $F --to onnx --out f.onnx
expect "... import it" 0 import --checkpoint f.onnx --out o.safetensors
expect "... its normalisation came back" 0 eval --checkpoint o.safetensors --dataset safetensors:ecg.safetensors,test=25
has out "^accuracy   \(9\|10\)[0-9.]* %$"
expect "export vectors" 0 export --checkpoint q.safetensors --to vectors --layer c2 --out vec \
    --psum-bits 24
finish
