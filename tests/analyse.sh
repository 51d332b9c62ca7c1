#!/bin/sh
# An analyser over library, command and benchmarks, as they are configured without CUDA; anything it says is a failure.
# Usage: analyse.sh cppcheck|clang-tidy SOURCE BUILD. What cppcheck says and is not so stands in cppcheck.supp, each with
# its reason; it does not look again at what has not changed.
set -u
tool=$1 source=$2 folder=$3/$1
for needed in "$tool" cmake; do
    if ! command -v "$needed" >/dev/null; then
        echo "[SKIP] $tool: $needed is missing (apt-get install $needed)"
        exit 77
    fi
done

mkdir -p "$folder/seen"
cmake -S "$source" -B "$folder" -G Ninja -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DBUILD_TESTING=OFF -DDETENT_CUDA=OFF \
    >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }

if [ "$tool" = cppcheck ]; then
    exec cppcheck -q --project="$folder/compile_commands.json" --cppcheck-build-dir="$folder/seen" --std=c11 \
        --library=posix,gnu --enable=warning,performance,portability --error-exitcode=1 \
        --suppressions-list="$source/tests/cppcheck.supp" --relative-paths="$source" \
        --template='{file}:{line}: {severity}: {message} [{id}]'
fi

# Without: four that judge names and layout; widening, which sizes that are bounded trip; sizes of pointers, which arrays
# of pointers are made with; signs of chars, which are codes of 8 bits; equal branches, which lists by macros have;
# division, text without its end and a macro of two arguments, each meant so where it stands.
checks='-*,bugprone-*'
for one in easily-swappable-parameters reserved-identifier assignment-in-if-condition narrowing-conversions \
    implicit-widening-of-multiplication-result misplaced-widening-cast sizeof-expression integer-division \
    signed-char-misuse branch-clone not-null-terminated-result macro-parentheses; do
    checks=$checks,-bugprone-$one
done
sed -n 's/^ *"file": "\(.*\.c\)".*/\1/p' "$folder/compile_commands.json" | sort -u |
    xargs clang-tidy -p "$folder" --quiet --warnings-as-errors='*' -checks="$checks" 2>"$folder/log" || {
    grep "error:" "$folder/log"
    exit 1
}
