#!/bin/sh
# test_cli_wrong.sh - a hundred wrong command lines: each ends with its exit code and with a message that names the file or
#                     the option, what it is, what was expected, or what helps; none crashes, and none leaves a file.
#
# usage: test_cli_wrong.sh PATH_OF_DETENT.  Prints "ok N - what" or "not ok N - what"; exit code 1 if any is not ok.
. "$(dirname "$0")/../support/command.sh"

# ---- what the lines name

expect "a run" 0 train $tiny --epochs 1 --quiet --out run
expect "a run of reals" 0 train $tiny --wbits float --abits float --epochs 1 --quiet --out reals
expect "a program" 0 export run/last.safetensors --to program --out program.safetensors
expect "a network of 8 bits" 0 quantize reals/last.safetensors --images 20 --threads 1 --out q.safetensors
expect "a capture" 0 capture run/last.safetensors --layer features.4 --out capture.safetensors
mkdir empty
: >none.safetensors
echo hello >text.safetensors
head -c 1000 run/last.safetensors >cut.safetensors
echo '{' >open.json
echo '{}' >bare.json

# network FILE NODE [MEMBERS]: a network of that node
network()
{
    printf '{ "format": "detent-network", %s "image": [32, 32, 3], "classes": 10, "nodes": [ %s ] }\n' "${3:-}" "$2" >"$1"
}

network operator.json '["a", "convv", "image", { "filters": 8 }]'
network reads.json '["a", "conv", "b", { "filters": 8 }]'
network attribute.json '["a", "conv", "image", { "filterz": 8 }]'
network newer.json '["a", "conv", "image", { "filters": 8 }]' '"version": 9,'
network window.json '["a", "conv", "image", { "filters": 8, "window": 40 }]'
printf 'a,b,kind\n1,2,x\n3,q,y\n' >word.csv
printf 'a,b,kind\n1,2,x\n3,4\n' >short.csv
printf 'a,b,kind\n' >head.csv
echo '{ "options": { "dataset": "synthetic" }, "grid": { "wbitz": [2, 4] } }' >name.sweep
echo '{ "options": { "dataset": "synthetic" }, "grid": { "wbits": [2, 99] } }' >value.sweep
echo '{ "grid": { "wbits": [] } }' >list.sweep
touch before out err
ls >before

# ---- the table: exit code; command line; words of the message, with | between

rows()
{
    cat <<'END'
2; traim; no command 'traim'|Do you mean 'detent train'?
2; help evla; no command 'evla'|there are train eval
2; frobnicate; no command 'frobnicate'|there are train eval|detent --help
2; completion tcsh; 'tcsh'|bash, zsh and fish
2; train; --out is needed|detent train --help
2; train --out x --epochs; --epochs|requires an argument
2; train --out x --epochz 3; no option --epochz|do you mean --epochs
2; train --out x --wbit=; --wbits|expected 2..16 or float
2; train --out x --psum-bits 9; --psum-bits is no option of 'train'|verify export
2; eval run/last.safetensors --wbits 4; --wbits is no option of 'eval'|train
2; train --out x --e 3; '--e' is ambiguous|--epochs
2; train -x; invalid option|detent train --help
2; train --out x extra; 'extra'|follows its option
2; train --out x --epochs 0; --epochs 0: expected 1..100000
2; train --out x --epochs 1.5; --epochs 1.5: expected 1..100000
2; train --out x --epochs ten; --epochs ten: expected 1..100000
2; train --out x --lr -1; --lr -1: expected 1e-09..100
2; train --out x --lr nan; --lr nan: expected 1e-09..100
2; train --out x --batch 0; --batch 0: expected 1..65536
2; train --out x --wbits 1; --wbits 1: expected 2..16 or float
2; train --out x --abits two; --abits two: expected 2..16 or float
2; train --out x --input 32x32; --input 32x32: expected 1..4096 three times, as HxWxC
2; train --out x --seed -1; --seed -1: expected 0..
2; train --out x --threads 9999; --threads 9999: expected 0..1024
2; train --out x --device gpu; --device gpu: expected auto, cpu, cuda
2; train --out x --optim rmsprop; --optim rmsprop: expected sgd, adam
2; train --out x --schedule linear; --schedule linear: expected constant, cosine|triangular, one-cycle
2; train --out x --quant-rule dorefa; --quant-rule dorefa: expected ece284|qkeras
2; train --out x --model vgg19; 'vgg19'|vgg16|NAME.json
2; train --out x --model empty; 'empty'|NAME.json
1; train --out x --model nowhere.json; nowhere.json: No such file
1; train --out x --model open.json; open.json: is not JSON
1; train --out x --model bare.json; bare.json: format is ''|'detent-network'
1; train --out x --model operator.json; operator.json: a: there is no operator 'convv'|NETWORK_FORMAT.md
1; train --out x --model reads.json; reads.json: a reads 'b'|no node before
1; train --out x --model attribute.json; attribute.json: a has no attribute 'filterz' of conv|filters, window
1; train --out x --model newer.json; newer.json|version 9|up to 1
1; train --out x --model window.json --dataset synthetic; window.json: a|40x40|32x32
2; train --out x --recipe w9a9; recipe 'w9a9'|w4a4
2; train --out x --dataset cifar100; 'cifar100'|mnist fashion-mnist cifar10|KIND:PATH
2; train --out x --dataset csv; 'csv'|KIND:PATH
1; train --out x --dataset mnist --data empty; mnist: folder empty|train-images-idx3-ubyte|download
1; train --out x --dataset mnist --data nowhere; mnist: there is no folder nowhere|download
1; train --out x --dataset csv:nowhere.csv; there is no file nowhere.csv
1; train --out x --dataset csv:word.csv; word.csv, line 3|'q'|expected a finite number
1; train --out x --dataset csv:short.csv; short.csv, line 3|2 fields, expected 3
1; train --out x --dataset csv:head.csv; head.csv: has no sample
2; train --out x --dataset csv:word.csv,tset=3; 'tset' is no option of csv|test seed normalize
2; train --out x --dataset csv:word.csv,test=300; test is '300'|1 to 99
1; train --out x --dataset npz:text.safetensors; text.safetensors: has 6 bytes|numpy.savez
2; train --out x --dataset synthetic --train-size 10001; 10001 images, but there are 10000|ask for fewer
2; train --out x --dataset synthetic --val-size 10000; 10000 of 10000|hold out fewer
2; train --out x --dataset synthetic --model tiny --bits features.4:w9a4; w9a4 of 'features.4'|2..8
2; train --out x --dataset synthetic --model tiny --bits nolayer:w4a4; no layer 'nolayer'|features.0, features.4
2; train --out x --dataset synthetic --model tiny --bits features.4; 'features.4' is not LAYER:wXaY|w2a2
1; train --out x --dataset synthetic --model tiny --bits open.json; --bits open.json
2; train --out x --dataset synthetic --model tiny --stages w4a4; 'w4a4' is no stage|w4a2:60
2; train --out x --dataset synthetic --model tiny --decoder fc; --decoder fc: tiny has no option decoder|its options: none
2; train --out x --dataset synthetic --model tiny --fold-bn ema; ece284|--quant-rule lsq
2; train --out x --dataset synthetic --model tiny --ranks 2 --batch 15 --device cpu; --batch 15|multiple of 2
1; train --out x --dataset synthetic --model tiny --init nowhere.safetensors; nowhere.safetensors: cannot be opened: No such file
1; train --out x --dataset synthetic --model tiny --init cut.safetensors; cut.safetensors: header length is|cut short
1; train --out x --dataset synthetic --model tiny --teacher program.safetensors; program.safetensors: format is 'detent-program', expected 'detent-checkpoint'
2; train --out run --dataset synthetic --model tiny; run has a run in it|--resume|--force
2; train --out run --resume --lr 0.5; --lr is '0.5'|has '0.01'|another run
1; train --out text.safetensors --dataset synthetic --model tiny; text.safetensors: not a folder|name another
1; train --out text.safetensors/x --dataset synthetic --model tiny; text.safetensors/x: cannot be made: Not a directory|name a folder that can
1; train --out x --config nowhere.json; nowhere.json: no such file
1; train --out x --config open.json; open.json: not JSON
2; eval; --checkpoint is needed
1; eval nowhere.safetensors; nowhere.safetensors: cannot be opened: No such file
1; eval empty; empty: not a regular file
1; eval none.safetensors; none.safetensors: has 0 bytes|at least 8
1; eval text.safetensors; text.safetensors: has 6 bytes|at least 8
1; eval operator.json; operator.json: is JSON|--model
1; eval capture.safetensors; capture.safetensors: format is 'detent-capture', expected 'detent-checkpoint'|detent inspect
2; eval run/last.safetensors second.safetensors; 'second.safetensors'
2; eval run/last.safetensors --engine arr; --engine arr: expected grid, program, array
2; eval run/last.safetensors --engine array --psum-bits 64; --psum-bits 64: expected 8..32
2; eval run/last.safetensors --test-size 9999; 9999 images, but there are 2000|ask for fewer
1; eval run/last.safetensors --dataset mnist --data empty; mnist: folder empty|t10k-images-idx3-ubyte
1; eval run/last.safetensors --engine program --profile litert-ref; no node that computes under a profile|leave the profile out
1; eval reals/last.safetensors --engine program; features.0 is not quantized|detent quantize
2; predict run/last.safetensors --out o; --inputs is needed
2; predict run/last.safetensors --inputs capture.safetensors --out o; has 7 tensors; name one|detent inspect --tensors capture.safetensors
2; predict run/last.safetensors --inputs capture.safetensors:x --out o; has no tensor 'x'|detent inspect --tensors capture.safetensors
1; predict run/last.safetensors --inputs run/last.safetensors:features.4.weight --out o; 'features.4.weight'|expected images [N][32][32][3]
1; quantize run/last.safetensors --out o --images 20; computes on integers already|network of real values
2; quantize reals/last.safetensors --out o --images 99999; 99999 images, but there are 10000|ask for fewer
2; quantize reals/last.safetensors --out o --scheme int8; --scheme int8: expected full, drq
2; quantize reals/last.safetensors --out o --passes magic; 'magic' is no pass|equalize
1; quantize reals/last.safetensors --out nowhere/o --images 20; nowhere/o|cannot be made: No such file|make its folder first
2; prune reals/last.safetensors --share 2 --out o; --share 2: expected 0.001..0.999
2; prune reals/last.safetensors --kind weights --n-of-m 4,2 --out o; 4,2: 4 of 2 weights|less than M
2; factorize reals/last.safetensors --ranks fc9:4 --out o; no convolution or linear layer 'fc9'|detent inspect --graph
2; compare reals/last.safetensors; --with names the network|--profiles
2; compare reals/last.safetensors q.safetensors --index 5:2; --index 5:2: expected A:B|2000
1; compare reals/last.safetensors --profiles; not quantized after training|detent quantize
1; import nowhere.onnx --out o; nowhere.onnx: cannot be opened: No such file
2; import --model tiny --out o; name a file|--init
1; import q.safetensors --out o; q.safetensors: is a file of the format 'detent-checkpoint'|TensorFlow Lite or an ONNX
1; verify --vectors empty; empty/manifest.json: cannot be opened: No such file
2; verify run/last.safetensors --layer nolayer; --layer nolayer|features.0 features.4 features.8
1; verify reals/last.safetensors; tiny has no quantized layer|detent quantize
2; verify run/last.safetensors --dataflow rs; --dataflow rs: expected ws, os
2; export run/last.safetensors --to rtl --out o; --to rtl: expected program, vectors, c
2; export run/last.safetensors --to vectors --out o; --layer is needed
2; export run/last.safetensors --to vectors --layer features.4 --index 2000 --out o; --index 2000: expected A:B|2000
2; export run/last.safetensors --to c --name 9net --out o; '9net'|starts with a letter
1; export run/last.safetensors --to c --out text.safetensors; text.safetensors: not a folder
1; export run/last.safetensors --to tflite --out o; thresholds|detent quantize
1; export run/last.safetensors --to program --out empty; empty: is a folder; name a file in it
1; export run/last.safetensors --to fixed-point --out o; has no fixed-point formats|detent search
1; export reals/last.safetensors --to program --out o; features.0 is not quantized
2; search --method genetic; --method genetic: expected qcapsnets, bits
1; search --method bits --checkpoint reals/last.safetensors --space nowhere.json --out o; --space nowhere.json: there is no such file
2; search --plan --model shallowcaps --memory-budget 0; --memory-budget 0: expected
2; capture run/last.safetensors --layer features.4; --out is needed
1; inspect run/last.safetensors --sensitivity; no affine quantizers|detent quantize
1; inspect q.safetensors --diff nowhere.safetensors; nowhere.safetensors: cannot be opened: No such file
2; inspect run/last.safetensors --tensors --graph; --tensors|--graph|one of them
2; report; what is to be reported
2; report empty; empty: is no run|config.json
1; sweep nowhere.json --out o; nowhere.json: there is no such file
1; sweep name.sweep --out o; name.sweep: grid, "wbitz"|no such option
1; sweep value.sweep --out o; value.sweep: grid, "wbits": --wbits 99: expected 2..16
1; sweep list.sweep --out o; list.sweep: grid, "wbits": a list of values
2; data --dataset cifar100; 'cifar100'|mnist
2; bench-comm --ranks 0; --ranks 0: expected 1..1024
2; recipes extra; 'extra'
END
}

rows >table
while IFS=';' read -r code line words; do
    "$detent" $line >out 2>err </dev/null
    got=$?
    missing=
    while IFS= read -r word; do
        tr -s '\n ' '  ' <err | grep -qF -e "$word" || missing="$missing '$word'"
    done <<END
$(printf '%s\n' "${words# }" | tr '|' '\n')
END
    if grep -q 'Sanitizer\|runtime error' err; then
        not_ok "$line: a sanitizer has found something"
    elif [ "$got" -ne "$code" ]; then
        not_ok "$line: exit code $got, expected $code"
    elif [ -n "$missing" ]; then
        not_ok "$line: does not say$missing"
    else
        ok "$line"
    fi
done <table
is "a hundred lines and more" "$(wc -l <table)" -ge 100
ls | grep -vxF -e table -e after >after
is "no line has left a file" "$(cat after)" = "$(cat before)"
finish
