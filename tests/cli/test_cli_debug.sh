#!/bin/sh
# test_cli_debug.sh DETENT - metrics of `detent eval`; tensors, the quantization debugger, sensitivity and charts of
#                            `detent inspect`; and what is refused.
. "$(dirname "$0")/../support/command.sh"

# shellcheck disable=SC2086 # the options are words on purpose
expect "a network of reals" 0 train $tiny --wbits float --abits float --epochs 2 --out run --quiet
F=run/last.safetensors
for bits in 8 4; do
    expect "... in $bits bits" 0 quantize --checkpoint $F --images 40 --wbits $bits --abits $bits --out q$bits.safetensors
done
expect "... for TensorFlow Lite" 0 export --checkpoint q8.safetensors --to tflite --out q8.tflite
expect "... and its reals" 0 export --checkpoint $F --to tflite --out float.tflite

# ---- metrics

expect "metrics" 0 eval --checkpoint $F --test-size 40 --metrics
has out "^balanced accuracy  0\.[0-9]*$"
has out "^cohen kappa  *-*0\.[0-9]*$"
has out "^class   images precision    recall        F1$"
has out "^images of each class, and how many were taken for which class$"
expect "metrics as JSON" 0 eval --checkpoint $F --test-size 40 --metrics --json
json "... which is JSON" out
has out '"macro_f1":'

# ---- tensors

expect "tensors of a .tflite" 0 inspect --tensors --checkpoint q8.tflite
has out "^INT8: [0-9]* constant, of [0-9,]* bytes; [0-9]* computed, of [0-9,]* bytes$"
has out "^all: [0-9]* constant"
expect "tensors of a checkpoint" 0 inspect --tensors --checkpoint q8.safetensors
has out "^  8x3x3x3 *864  constant  features.0.weight$"
has out "^  1x32x32x3 *3,072  computed  image.quant$"
expect "tensors as JSON" 0 inspect --tensors --checkpoint q8.tflite --json
json "... which are JSON" out
expect "dynamic ranges" 0 quantize --checkpoint $F --scheme drq --out drq.safetensors
expect "... for TensorFlow Lite" 0 export --checkpoint drq.safetensors --to tflite --out drq.tflite
expect "what dynamic ranges change" 0 inspect --checkpoint float.tflite --diff drq.tflite
has out "^FLOAT32 .* constant  INT8 .* constant  "
has out "^[1-9][0-9]* tensors* differs*$"
expect "... as JSON" 0 inspect --checkpoint float.tflite --diff drq.tflite --json
json "... which is JSON" out
expect "a file beside itself" 0 inspect --checkpoint q8.tflite --diff q8.tflite
has out "^0 tensors differ$"
expect "no such file" 1 inspect --tensors --checkpoint nothing.tflite

# ---- the debugger

expect "the error of each layer" 0 inspect --debug-quant --checkpoint q8.safetensors --images 10 --csv q8.csv \
    --html q8.html
has out "^integers   q8.safetensors: tiny w8a8, fp32-rne$"
has out "^    0 CONV_2D  *features"
has out "^q8.csv: [0-9]* layers$"
has q8.csv "^op_name,tensor_idx,num_elements,stddev,mean_error,max_abs_error,mean_squared_error,scale,zero_point,tensor_name"
is "the page is one file" -s q8.html
has q8.html "prefers-color-scheme:dark"
is "... of nine charts" "$(grep -c '<figure>' q8.html)" -eq 9
if grep -q -e 'http' -e '<script' -e ' src=' q8.html; then not_ok "... that asks for nothing else"; else ok "... that asks for nothing else"; fi
expect "beside the whole network" 0 inspect --debug-quant --mode whole --checkpoint q8.safetensors --images 10 --json
json "... as JSON" out
has out '"rmse/scale":'
expect "a .tflite and its reals" 0 inspect --debug-quant --checkpoint q8.tflite --with $F --images 10 --csv t.csv
cut -d, -f1,3,8,9 q8.csv >q8.codes
cut -d, -f1,3,8,9 t.csv >t.codes
cmp -s q8.codes t.codes
check "... have the checkpoint's layers, scales and zero points" $?
expect "a .tflite without them" 2 inspect --debug-quant --checkpoint q8.tflite --images 10
has err "q8.tflite has integers alone; --with FILE names the network of reals that they were made of"
expect "a network of reals" 1 inspect --debug-quant --checkpoint $F --images 10

# ---- several networks

expect "two networks and a table" 0 inspect --compare q8.safetensors,q4.safetensors,q8.csv --images 10 --html all.html
has out "^C  q8.csv: [0-9]* layers$"
has out "^all.html: nine charts, of 3 networks$"
has all.html "<th scope=\"col\">q4.safetensors</th>"
expect "... as JSON" 0 inspect --compare q8.csv,t.csv --json
json "... which is JSON" out
expect "too many" 2 inspect --compare q8.csv,q8.csv,q8.csv,q8.csv,q8.csv,q8.csv,q8.csv
has err "more than 6 networks"
echo "a,b" >wrong.csv
expect "another table" 1 inspect --compare wrong.csv
has err "wrong.csv: the first line has no columns op_name and tensor_name"
sed '3s/,-128,/,many,/' q8.csv >text.csv
expect "a table with a text" 1 inspect --compare text.csv
has err "text.csv: line 3: zero_point is 'many', expected a number"
sed '2s/,/;/' q8.csv >short.csv
expect "a table with a short line" 1 inspect --compare short.csv
has err "short.csv: line 2 has 11 cells, and the first 12"

# ---- sensitivity

expect "what each layer costs" 0 inspect --sensitivity --checkpoint q4.safetensors --images 20 --csv s.csv --html s.html
has out "^image .* QUANTIZE .* a4 "
has out "^all  "
has s.csv "^layer,op_name,wbits,abits,alone_snr_db,alone_accuracy,alone_changed,without_snr_db,without_accuracy,without_changed,rise$"
has out "^layer .* rise  *SNR dB"
is "... three charts" "$(grep -c "<svg" s.html)" -eq 3
is "... an estimate for each layer with weights" "$(awk -F, 'NR > 1 && $3 > 0 && $11 == ""' s.csv | wc -l)" -eq 0
expect "... as JSON" 0 inspect --sensitivity --checkpoint q4.safetensors --images 20 --json
json "... which is JSON" out
expect "of integers" 1 inspect --sensitivity --checkpoint q8.tflite --images 20
has err "q8.tflite has integers alone"
expect "of reals" 1 inspect --sensitivity --checkpoint $F --images 20
has err "has no affine quantizers"

expect "two things at once" 2 inspect --tensors --sensitivity --checkpoint q8.safetensors
has err "one of them, please"
expect "a table of nothing" 2 inspect --checkpoint q8.safetensors --csv x.csv
has err "csv x.csv: --debug-quant and --sensitivity have a table to write"
expect "charts of nothing" 2 inspect --cost --checkpoint q8.safetensors --html x.html
has err "html x.html: --debug-quant, --compare and --sensitivity have charts"
finish
