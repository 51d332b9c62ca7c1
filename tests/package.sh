#!/bin/sh
# A program outside of this project gets the library in three ways: pkg-config, find_package, add_subdirectory.
# Usage: package.sh SOURCE BUILD GENERATOR. The program is examples/train.c.
set -eu
source=$1 build=$2 generator=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for tool in cmake pkg-config cc c++; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: $tool is missing"
        exit 77
    fi
done

fail() { echo "FAIL: $*"; exit 1; }
prefix=$work/prefix
cmake --install "$build" --prefix "$prefix" >"$work/log" || { cat "$work/log"; fail "install"; }

cp "$source/examples/train.c" "$work/hello.c"
cd "$work" # where the example leaves its checkpoint

# ---- pkg-config, and each header alone, in C and C++

PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name detent.pc)")
export PKG_CONFIG_PATH
sanitized=$(sed -n 's/^DETENT_SANITIZE:STRING=//p' "$build/CMakeCache.txt")
# shellcheck disable=SC2046 # words are wanted
cc ${sanitized:+-fsanitize=$sanitized} "$work/hello.c" -o "$work/hello" $(pkg-config --cflags --libs detent) ||
    fail "pkg-config --libs does not link"
LD_LIBRARY_PATH=$(dirname "$(find "$prefix" -name 'libdetent.*' | head -1)") "$work/hello" || fail "pkg-config: run"
# own_network and infer, in C11 and C++17: each trains resnet8 on images of its own, and runs the program of it
compile() { # language, standard, compiler
    for example in own_network infer; do
        # shellcheck disable=SC2046
        "$3" -x "$1" -std="$2" -Wall -Wextra -Wpedantic -Werror ${sanitized:+-fsanitize=$sanitized} \
            "$source/examples/$example.c" -x none -o "$work/$example" $(pkg-config --cflags --libs detent) -lm ||
            fail "$example in $2"
    done
}
run_examples() { # how they were built
    LD_LIBRARY_PATH=$(dirname "$(find "$prefix" -name 'libdetent.*' | head -1)")
    export LD_LIBRARY_PATH
    "$1/own_network" "$source/models/resnet8.json" >"$work/log" || { cat "$work/log"; fail "own_network of $1"; }
    grep -q "image of class 3: predicted 3; model and program agree in every bit" "$work/log" ||
        { cat "$work/log"; fail "own_network of $1 says something else"; }
    "$1/infer" stripes.program.safetensors >"$work/log" || { cat "$work/log"; fail "infer of $1"; }
    grep -q "^class 9: " "$work/log" || fail "infer of $1 says something else"
    unset LD_LIBRARY_PATH
}
compile c c11 cc
run_examples "$work"
compile c++ c++17 c++
run_examples "$work"
for header in "$prefix"/include/detent/*.h; do
    name=$(basename "$header")
    printf '#include <detent/%s>\nint main() { return 0; }\n' "$name" >"$work/one.c"
    cp "$work/one.c" "$work/one.cc"
    # shellcheck disable=SC2046
    cc -std=c99 -Wall -Wextra -Wpedantic -Werror -fsyntax-only "$work/one.c" $(pkg-config --cflags detent) || fail "$name in C"
    # shellcheck disable=SC2046
    c++ -std=c++11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only "$work/one.cc" $(pkg-config --cflags detent) ||
        fail "$name in C++"
done
unset PKG_CONFIG_PATH
[ -z "$sanitized" ] || exit 0 # the rest would need its flags, too

[ -s "$prefix"/share/detent/models/resnet8.json ] || fail "no networks"
"$prefix"/bin/detent inspect --model "$prefix"/share/detent/models/resnet8.json >"$work/log" || fail "an installed network"
for file in bash-completion/completions/detent zsh/vendor-completions/_detent fish/vendor_completions.d/detent.fish \
    man/man1/detent.1; do
    [ -s "$prefix/share/$file" ] || fail "no $file"
done

# ---- find_package

mkdir "$work/found" "$work/added"
cp hello.c found/main.c
cat >"$work/found/CMakeLists.txt" <<'C'
cmake_minimum_required(VERSION 3.25)
project(found C)
find_package(detent 0.1 REQUIRED)
add_executable(app main.c)
target_link_libraries(app PRIVATE detent::detent)
foreach(example own_network infer)
  add_executable(${example} ${EXAMPLES}/${example}.c)
  target_link_libraries(${example} PRIVATE detent::detent m)
endforeach()
C
cmake -S "$work/found" -DEXAMPLES="$source/examples" -B "$work/found/b" -G "$generator" -DCMAKE_PREFIX_PATH="$prefix" >"$work/log" 2>&1 &&
    cmake --build "$work/found/b" >>"$work/log" 2>&1 || { cat "$work/log"; fail "find_package"; }
"$work/found/b/app" || fail "find_package: run"
run_examples "$work/found/b"

# ---- add_subdirectory: the program is compiled, which needs the headers; linking it would compile the library anew

cp "$work/hello.c" "$work/added/main.c"
cat >"$work/added/CMakeLists.txt" <<C
cmake_minimum_required(VERSION 3.25)
project(added C)
set(DETENT_CUDA OFF CACHE STRING "")
add_subdirectory($source detent)
add_executable(app main.c)
target_link_libraries(app PRIVATE detent::detent)
C
cmake -S "$work/added" -B "$work/added/b" -G "$generator" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON >"$work/log" 2>&1 ||
    { cat "$work/log"; fail "add_subdirectory"; }
own=$(grep '"command".*main\.c$\|"command".*added/main\.c"' "$work/added/b/compile_commands.json" | head -1)
[ -n "$own" ] || fail "add_subdirectory: no command for main.c"
for flag in march Wconversion Wshadow fno-math-errno ffp-contract _GNU_SOURCE fopenmp; do
    case $own in *$flag*) fail "add_subdirectory: the program is compiled with $flag: $own" ;; esac
done
(cd "$work/added/b" && sh -c "$(printf '%s' "$own" | sed 's/.*"command": "//; s/",*$//')") || fail "add_subdirectory: compile"
echo "all three ways work"
