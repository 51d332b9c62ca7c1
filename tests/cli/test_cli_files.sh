#!/bin/sh
# test_cli_files.sh - files as the program meets them: what a network was trained on, which its file tells; outputs that
#                     are no plain files; inputs that are files of another kind.
#
# usage: test_cli_files.sh PATH_OF_DETENT.  Prints "ok N - what" or "not ok N - what"; exit code 1 if any is not ok.
. "$(dirname "$0")/../support/command.sh"
export OMP_NUM_THREADS=1 LC_ALL=C # sed goes over binary files

# idx FOLDER PREFIX N PIXEL: N images of 28 x 28 and labels 0..9 in turn. Image i has the pixel's value in column i % 10.
idx()
{
    mkdir -p "$1"
    awk -v n="$3" -v pixel="$4" 'BEGIN {
        for (i = 0; i < n; i++)
            for (h = 0; h < 28; h++)
                for (w = 0; w < 28; w++) printf "\\%03o", int(w / 2) == i % 10 ? pixel : (i * 7 + h) % 8
    }' >pixels
    printf '\000\000\010\003\000\000\000\'"$(printf %03o "$3")"'\000\000\000\034\000\000\000\034' >"$1/$2-images-idx3-ubyte"
    printf "$(cat pixels)" >>"$1/$2-images-idx3-ubyte"
    printf '\000\000\010\001\000\000\000\'"$(printf %03o "$3")" >"$1/$2-labels-idx1-ubyte"
    printf "$(awk -v n="$3" 'BEGIN { for (i = 0; i < n; i++) printf "\\%03o", i % 10 }')" >>"$1/$2-labels-idx1-ubyte"
}

idx data/fashion-mnist train 60 200
idx data/fashion-mnist t10k 40 200
idx data/mnist train 60 120
idx data/mnist t10k 40 200

# ---- what a network was trained on

F=run/last.safetensors
on_cpu="--device cpu --threads 1"
train="train --model tiny --batch 20 --epochs 2 $on_cpu --quiet"
expect "train" 0 $train --dataset fashion-mnist --out run
expect "inspect names the data" 0 inspect --checkpoint $F
has out "^data  *fashion-mnist: 60 training images, files [0-9a-f]\{16\}, mean 0.286 0.286 0.286, std 0.353 0.353 0.353$"
expect "inspect names it as JSON" 0 inspect --checkpoint $F --json
is "... with its fields" "$(tr -d '[:space:]' <out |
    grep -c '"data":{"name":"fashion-mnist","images":60,"fingerprint":"[0-9a-f]*","mean":\[0.286,0.286,0.286\],')" -eq 1

# losses FILE...: of `eval --json` in FILE, without what differs from run to run
loss_of() { sed -n 's/.*"loss":[[:space:]]*\([0-9.e-]*\).*/\1/p' "$1"; }

expect "eval takes the data set of the training" 0 eval --checkpoint $F $on_cpu --json
has out '"dataset":[[:space:]]*"fashion-mnist"'
is "... without a word" ! -s err
own=$(loss_of out)
expect "eval on another data set" 0 eval --checkpoint $F $on_cpu --json --dataset mnist
has err "^detent eval: note: trained on fashion-mnist; mnist's images are normalised as fashion-mnist's were$"
is "... of equal pixels gives the equal loss" "$(loss_of out)" = "$own"
expect "verify on another data set" 0 verify --checkpoint $F $on_cpu --dataset mnist --images 2
has err "^detent verify: note: trained on fashion-mnist; mnist's"
expect "verify" 0 verify --checkpoint $F $on_cpu --images 2
is "... without a word" ! -s err
expect "capture" 0 capture --checkpoint $F $on_cpu --layer features.4 --out a.safetensors
expect "capture of another data set" 0 capture --checkpoint $F $on_cpu --layer features.4 --dataset mnist --out b.safetensors
has err "^detent capture: note: trained on"
is "... of equal pixels has the equal codes" "$(cmp a.safetensors b.safetensors 2>&1)" = ""
expect "export of vectors" 0 export --checkpoint $F $on_cpu --to vectors --layer features.4 --out vectors
has vectors/manifest.json '"name":[[:space:]]*"fashion-mnist"'

mv data elsewhere
expect "export of a program needs no images" 0 export --checkpoint $F $on_cpu --to program --out own.safetensors
expect "... of whatever data set" 0 export --checkpoint $F $on_cpu --to program --dataset mnist --out other.safetensors
has err "^detent export: note: trained on fashion-mnist; mnist's images are normalised as"
is "... and has the equal program" "$(cmp own.safetensors other.safetensors 2>&1)" = ""
expect "export of C needs none either" 0 export --checkpoint $F $on_cpu --to c --out c
has c/network.c "as those of fashion-mnist, files [0-9a-f]*:"
expect "eval needs the images" 1 eval --checkpoint $F $on_cpu --data nowhere
has err "^detent eval: fashion-mnist: there is no folder nowhere"
mv elsewhere data

expect "a program knows its data set" 0 eval --checkpoint own.safetensors $on_cpu --engine program --json
has out '"dataset":[[:space:]]*"fashion-mnist"'
expect "... and says when it gets another" 0 eval --checkpoint own.safetensors $on_cpu --engine program --dataset mnist
has err "note: trained on fashion-mnist; mnist's"

# The same file as versions wrote it that did not tell.
sed 's/"data":"{/"dato":"{/' $F >old.safetensors
expect "a file that does not tell" 2 eval --checkpoint old.safetensors $on_cpu
has err "^detent eval: old.safetensors: does not say what the network was trained on; name the dataset with --dataset$"
expect "... nor is it exported" 2 export --checkpoint old.safetensors $on_cpu --to program --out x
has err "name the dataset with --dataset"
expect "... is evaluated as on what is named" 0 eval --checkpoint old.safetensors $on_cpu --dataset fashion-mnist --json
is "... without a word" ! -s err
is "... to the equal loss" "$(loss_of out)" = "$own"
expect "... and exported" 0 export --checkpoint old.safetensors $on_cpu --dataset fashion-mnist --to program --out o.safetensors
expect "... into a program that knows" 0 eval --checkpoint o.safetensors $on_cpu --engine program
expect "inspect of it" 0 inspect --checkpoint old.safetensors
has out "^data  *unknown"
expect "... as integers" 2 inspect --checkpoint old.safetensors --engine program
has err "name the dataset with --dataset"
expect "... normalised as what is named" 0 inspect --checkpoint old.safetensors --engine program --dataset fashion-mnist
has out "^data  *fashion-mnist: "

expect "--init of another data set's" 0 $train --dataset mnist --init $F --out next
expect "... is of the new one" 0 inspect --checkpoint next/last.safetensors
has out "^data  *mnist: 60 .* mean 0.1307 "

expect "a run that stops" 0 $train --dataset fashion-mnist --out part
idx other train 60 199
idx other t10k 40 199
cp -r part again
sed 's/"epochs":[[:space:]]*2/"epochs": 3/' again/config.json >config && mv config again/config.json
sed 's/\\"epochs\\":2/\\"epochs\\":3/' part/last.safetensors >again/last.safetensors
expect "resume with other files of that name" 2 train --resume --out again --data other
has err "have the checksums [0-9a-f]*, here they are [0-9a-f]*; resume with the files it started with, which --data names"
expect "... and with its own" 0 train --resume --out again

# ---- outputs that are no plain files

mkdir store
mkfifo pipe
ln -s store/net.safetensors link
ln -s link chain
timeout 60 cat pipe >from_pipe &
export="export --checkpoint run/last.safetensors $on_cpu"
expect "a program into a pipe" 0 $export --to program --out pipe
wait $!
is "... gets there whole" "$(cmp own.safetensors from_pipe 2>&1)" = ""
is "... and the pipe stays one" -p pipe
expect "a program by a link to what is not there" 0 $export --to program --out link
is "... is what the link names" "$(cmp own.safetensors store/net.safetensors 2>&1)" = ""
expect "a capture by a link to that link" 0 capture --checkpoint $F $on_cpu --layer features.4 --out chain
is "... replaces the file behind both" "$(cmp a.safetensors store/net.safetensors 2>&1)" = ""
is "... and both stay links" -L link -a -L chain
"$detent" $export --to program --multiplier-bits none --out /dev/stdout 2>err | cat >from_stdout
is "a program on stdout is the whole of it" "$(cmp own.safetensors from_stdout 2>&1)" = ""
has err "^/dev/stdout: .* layers"
"$detent" $export --to program --out /dev/fd/7 7>from_fd >out 2>err
is "a program on a descriptor" "$(cmp own.safetensors from_fd 2>&1)" = ""
mkdir linked linked_to
ln -s ../linked_to/config linked/config.json
ln -s ../linked_to/last linked/last.safetensors
expect "a run by links" 0 $train --dataset fashion-mnist --out linked
is "... stays where they lead" -L linked/config.json -a -s linked_to/config -a -L linked/last.safetensors -a -s linked_to/last
is "... and leaves nothing half" "$(ls linked linked_to | grep -c -e tmp -e part)" -eq 0
expect "a folder as a file" 1 $export --to program --out store
has err "^detent export: store: is a folder; name a file in it$"
if mknod null c 1 3 2>/dev/null; then
    expect "a program into a device" 0 $export --to program --out null
    is "... which stays one" -c null
else
    n=$((n + 1))
    echo "ok $n - a program into a device # SKIP no right to make one"
fi

# ---- folders

expect "a folder with a slash at its end" 1 eval --checkpoint $F $on_cpu --data store/
has err "folder store has no file t10k-images-idx3-ubyte"
idx slash train 60 200
cp data/fashion-mnist/t10k* slash
printf 'x' >>slash/train-labels-idx1-ubyte
expect "a bad file in it" 1 $train --dataset fashion-mnist --data slash/ --out never
has err "^detent train: slash/train-labels-idx1-ubyte, byte 68"
expect "a run with a slash at its end" 0 $train --dataset fashion-mnist --out slashes//
expect "... is named with one" 2 $train --dataset fashion-mnist --out slashes/
"$detent" train --model tiny --batch 20 --epochs 2 $on_cpu --dataset fashion-mnist --out slashes/ --force >out 2>err
has out "slashes/best.safetensors"
is "... in all lines" "$(cat out err | grep -c '[a-z]//')" -eq 0
"$detent" $export --to c --out c/ >out
"$detent" $export --to vectors --layer features.4 --out vectors/ >>out
is "... also of exports" "$(grep -c '//' out)" -eq 0
mkdir -p torch/FashionMNIST/raw
for f in data/fashion-mnist/*; do cp "$f" "torch/FashionMNIST/raw/$(basename "$f" | sed 's/-idx/.idx/')"; done
expect "torchvision's folder, names with a dot" 0 eval --checkpoint $F $on_cpu --data torch --json
is "... has the images" "$(loss_of out)" = "$own"

# ---- inputs that are files of another kind

printf 'PK\003\004%0200d' 0 >net.pth
for command in "eval" "verify" "inspect" "export --out x" "capture --layer features.4 --out x"; do
    expect "${command%% *} of a .pth" 1 $command --checkpoint net.pth
    has err "net.pth: is a zip archive, as torch.save makes it"
    sed 's/"format":"detent-checkpoint"/"formax":"detent-checkpoint"/' $F >torch.safetensors
    expect "${command%% *} of a safetensors file of others" 1 $command --checkpoint torch.safetensors
    has err "torch.safetensors: has tensors but no settings of a network.*'detent train --init' takes its parameters"
done
expect "--init of a .pth" 1 $train --dataset mnist --init net.pth --out never
has err "is a zip archive"
expect "--init of a program" 1 $train --dataset mnist --init own.safetensors --out never
has err "own.safetensors: is an exported program, integers for hardware ('detent-program'), and has no parameters"
is "... leaves no directory" ! -e never

finish
