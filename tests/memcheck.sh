#!/bin/sh
# The life of a network under valgrind's memcheck: trained, resumed, evaluated, verified, exported, quantized. No invalid
# access, no branch on a value that nobody has set, no block that is lost.
# Usage: memcheck.sh PROGRAM. As helgrind.sh, it is skipped where valgrind does not know the build's instructions.
set -u
program=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
images="--dataset synthetic --test-size 4 --threads 1"
train="--model tiny $images --train-size 8 --batch 4 --epochs 1 --quiet"
export GOMP_SPINCOUNT=2000 # else detent sets it and starts anew, without valgrind

if ! command -v valgrind >/dev/null; then
    echo "skipped: valgrind is missing (apt-get install valgrind)"
    exit 77
fi
judge() { # words of a command
    valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
        "$program" "$@" >log 2>&1 && return
    if grep -q "Illegal opcode\|unhandled instruction" log; then
        echo "skipped: valgrind does not know this build's instructions; configure with -DDETENT_NATIVE=OFF"
        exit 77
    fi
    echo "FAIL: $*"
    cat log
    exit 1
}

# shellcheck disable=SC2086 # words are wanted
{
    judge train $train --out run
    judge train --resume --extend 1 --out run --quiet
    judge eval --checkpoint run/last.safetensors $images
    judge verify --checkpoint run/last.safetensors $images --images 1
    judge export --checkpoint run/last.safetensors --to program --out net.safetensors
    judge eval --checkpoint net.safetensors $images
    judge export --checkpoint run/last.safetensors --to c --out c --name net
    judge train $train --wbits float --abits float --out float
    judge quantize --checkpoint float/last.safetensors --images 4 --out q.safetensors
}
