#!/bin/sh
# A machine whose pointers have 32 bits is refused: by CMake, and by the headers where a program includes them.
# Usage: narrow.sh SOURCE. Needs a compiler that knows -m32, but no library of 32 bits: nothing is linked.
set -eu
source=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAIL: $*"; cat "$work/log"; exit 1; }

echo 'int main(void) { return 0; }' >"$work/main.c"
if ! cc -m32 -c "$work/main.c" -o "$work/main.o" 2>"$work/log"; then
    echo "skipped: cc does not know -m32"
    exit 77
fi

if cc -m32 -ffreestanding -fsyntax-only -I "$source/include" -x c "$source/include/detent/types.h" 2>"$work/log"; then
    fail "the headers are compiled for 32 bits"
fi
grep -q 'error.*counts bytes in 64 bits: compile for a 64-bit machine' "$work/log" || fail "headers: another reason"

if cmake -S "$source" -B "$work/b" -G Ninja -DCMAKE_C_FLAGS=-m32 -DCMAKE_CXX_FLAGS=-m32 \
    -DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY -DDETENT_CUDA=OFF >"$work/log" 2>&1; then
    fail "CMake accepts 32 bits"
fi
tr -s '\n ' ' ' <"$work/log" >"$work/line"
grep -q "counts bytes in 64 bits, and this compiler's pointers have 32: leave -m32 out" "$work/line" ||
    fail "CMake: another reason"
