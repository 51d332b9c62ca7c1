#!/bin/sh
# test_cli_shortage.sh - whichever call of the system fails, the program ends with a message and exit code 1, or does
#                        without it and ends well; what it writes is whole, old or new, and nothing half is left.
#
# usage: test_cli_shortage.sh PATH_OF_DETENT_SHORTAGE (tests/support/shortage.c).  Of each command 8 calls of each kind
# fail; DETENT_TEST_SHORTAGE=N lets up to N of them, and DETENT_TEST_SHORTAGE=all each of them, which takes hours. Prints
# "ok N - what" or "not ok N - what"; exit code 1 if any is not ok.
support=$(cd "$(dirname "$0")/../support" && pwd)
. "$support/command.sh"
export OMP_NUM_THREADS=1
ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0 # of memory that is short, some may be left behind at the end
export ASAN_OPTIONS

. "$support/shortages.sh"
kinds="memory open write read sync rename close stat thread process"

# ---- what the commands read

small="--model tiny --dataset synthetic --train-size 32 --test-size 20 --batch 16 --threads 1 --device cpu"
few="--test-size 20 --threads 1 --device cpu"
expect "a run" 0 train $small --epochs 1 --quiet --out run
expect "a run of reals" 0 train $small --wbits float --abits float --epochs 1 --quiet --out reals
expect "an ONNX file" 0 export reals/last.safetensors --to onnx --out reals.onnx
expect "a network of 8 bits" 0 quantize reals/last.safetensors --images 16 --threads 1 --out q.safetensors
expect "vectors" 0 export run/last.safetensors --to vectors --layer features.4 --out vectors
printf 'a,b,kind\n1,2,x\n3,4,y\n5,6,x\n' >table.csv

# ---- one command, with one call that fails

net=last.safetensors
after="train $small --epochs 1 --quiet --resume --out run"
shortages "train" "" "run/last.safetensors run/best.safetensors" train $small --epochs 1 --quiet --out run
after="train --resume --extend 1 --quiet --out run"
shortages "resume" "run" "run/last.safetensors run/best.safetensors" train --resume --extend 1 --quiet --out run
after=
cp run/$net $net
cp reals/$net reals.safetensors
shortages "quantize" "reals.safetensors" "q.safetensors" quantize reals.safetensors --images 16 --threads 1 \
    --out q.safetensors
cp q.safetensors p.safetensors
shortages "export to a program" "$net p.safetensors" "p.safetensors" export $net --to program --out p.safetensors
shortages "export to C" "$net" "c/net.c c/net.h" export $net --to c --name net --out c
shortages "export to vectors" "$net" "v/manifest.json" export $net --to vectors --layer features.4 --out v
shortages "export to ONNX" "reals.safetensors" "r.onnx" export reals.safetensors --to onnx --out r.onnx
shortages "export to TensorFlow Lite" "q.safetensors" "q.tflite" export q.safetensors --to tflite --out q.tflite
shortages "import" "reals.onnx" "i.safetensors" import reals.onnx --out i.safetensors
shortages "capture" "$net" "c.safetensors" capture $net $few --layer features.4 --out c.safetensors
shortages "eval" "$net" "" eval $net $few --json
shortages "verify" "$net" "" verify $net --images 2 --threads 1 --device cpu
shortages "verify of vectors" "vectors" "" verify --vectors vectors
shortages "inspect" "$net" "" inspect $net
shortages "prune" "reals.safetensors" "x.safetensors" prune reals.safetensors --share 0.5 --out x.safetensors
shortages "data" "table.csv" "" data --dataset csv:table.csv,test=33
# ---- threads and processes, which ranks and sweeps have

# starts WHAT FOLDER COMMAND...: without that thread or process there is exit code 1, a message, and nothing half
starts()
{
    what=$1
    folder=$2
    shift 2
    rm -rf "$folder"
    (DETENT_SHORTAGE=$what exec "$detent" "$@") >out 2>err
    got=$?
    n_injected=$((n_injected + 1))
    is "$1 without $what ends with $got" $got -eq 1
    is "... says why" "$(cat out err | grep -c 'temporarily unavailable')" -gt 0
    is "... and leaves nothing aside" "$(find "$folder" -name '*.tmp-*' 2>err)" = ""
}

ranks="train $small --epochs 1 --quiet --ranks 2 --timeout 20"
expect "two ranks" 0 $ranks --out two
for what in thread:1 process:1 process:2; do
    starts $what ranks $ranks --out ranks
    expect "... and it begins anew" 0 $ranks --resume --out ranks
    is "... with the same end" "$(cmp ranks/$net two/$net 2>&1)" = ""
done
cat >sweep.json <<'END'
{ "options": { "model": "tiny", "dataset": "synthetic", "train-size": 32, "test-size": 20, "batch": 16, "epochs": 1 },
  "grid": { "seed": [0, 1] } }
END
for what in process:1 process:2; do
    starts $what sweep sweep sweep.json --jobs 2 --quiet --out sweep
    is "... of one run alone" "$(grep -c '^\[.*failed' out)" -eq 1
    expect "... and it goes on" 0 sweep sweep.json --jobs 2 --quiet --out sweep
done

# ---- disks that are full, or may only be read, in earnest

# on_disk KIB MOUNT COMMAND...: runs it on a file system of memory that begins with `was`, with so much more room, and leaves
# `left`. MOUNT: rw or ro.
on_disk()
{
    kib=$(($(du -sk was | cut -f 1) + $1))
    mount=$2
    shift 2
    rm -rf left disk
    mkdir disk
    unshare -rm sh -c 'mount -t tmpfs -o size=$1k tmpfs disk && cp -r was/. disk && mount -o remount,$2 disk || exit 99
                       shift 2; cd disk; "$@" >../out 2>../err; got=$?; cp -r . ../left; exit $got' \
        sh "$kib" "$mount" "$detent" "$@"
    got=$?
}

# refused WHAT WORDS: exit code 1, which words say why; networks are as they were, and nothing half is left.
refused()
{
    is "$1 ends with exit code $got" $got -eq 1
    has err "$2"
    diff -r -x config.json -x metrics.jsonl was left >out 2>&1
    check "... and leaves networks as they were" $?
}

rm -rf was
mkdir was
cp -r run $net reals.safetensors was/
cp reals.safetensors was/p.safetensors
more="--resume --extend 1 --quiet --out run"
program="export $net --to program --out p.safetensors"
if unshare -rm mount -t tmpfs tmpfs run 2>err; then
    on_disk 1024 rw $program
    is "a disk with room: exit code $got" $got -eq 0
    on_disk 1024 ro train $more
    refused "a run on a disk that may only be read" "Read-only file system"
    on_disk 1024 ro $program
    refused "a program on a disk that may only be read" "Read-only file system"
    on_disk 16 rw train $more
    refused "a run on a full disk" "No space left on device"
    cp -r left again
    expect "... which goes on where there is room" 0 train --resume --quiet --out again/run
    on_disk 4 rw $program
    refused "a program on a full disk" "No space left on device"
    on_disk 4 rw export reals.safetensors --to onnx --out r.onnx
    refused "ONNX on a full disk" "No space left on device"
else
    n=$((n + 1))
    echo "ok $n - disks in earnest # SKIP no mount in a namespace: $(head -n 1 err)"
fi

is "there were many failures: $n_injected, of which $n_survived did not matter" $n_injected -gt 100
finish
