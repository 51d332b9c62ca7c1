#!/bin/sh
# test_docs.sh - what the pages say is there: each relative link leads to a file, and to a heading of it; each command
#                line of detent is one that it takes, with its values; each option that is named exists; and
#                docs/README.md names each page.
#
# usage: test_docs.sh PATH_OF_DETENT.  Prints "ok N - what" or "not ok N - what"; exit code 1 if any is not ok.
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/../support/command.sh"

# ---- links

(cd "$root" && find . -name '*.md' -not -path './build*' -not -path './runs/*' -not -path './.*') |
    sed 's/^\.\///' | sort >pages
is "there are pages" "$(wc -l <pages)" -gt 30
(cd "$root" && xargs awk -f "$here/links.awk") <pages >found
grep '^anchor ' found | sort -u >anchors
grep '^link ' found | cut -c 6- >links

# path_of PAGE TARGET: where the target is, from the root, without . and ..
path_of()
{
    case $1 in */*) printf '%s/%s' "${1%/*}" "$2" ;; *) printf '%s' "$2" ;; esac |
        awk -F / '{ n = 0
            for (i = 1; i <= NF; i++) if ($i == "..") n--; else if ($i != "." && $i != "") part[++n] = $i
            for (i = 1; i <= n; i++) printf "%s%s", part[i], i < n ? "/" : "" }'
}

n_links=0
: >broken
while IFS='	' read -r at target; do
    case $target in *://* | mailto:*) continue ;; esac
    n_links=$((n_links + 1))
    page=${at%:*}
    file=${target%%#*}
    path=$page
    [ -z "$file" ] || path=$(path_of "$page" "$file")
    if [ ! -e "$root/$path" ]; then
        echo "$at: $target is not there" >>broken
    elif [ "$file" != "$target" ] && ! grep -qxF "anchor $path#${target#*#}" anchors; then
        echo "$at: $path has no heading for #${target#*#}" >>broken
    fi
done <links
cp broken out
: >err
is "links: $n_links, of which $(wc -l <broken) lead nowhere" ! -s broken
is "... and there are many" $n_links -gt 100

: >out
for page in "$root"/docs/*.md "$root"/docs/examples/*.md; do
    name=${page#"$root"/docs/}
    [ "$name" = README.md ] || grep -q "($name[)#]" "$root/docs/README.md" || echo "$name" >>out
done
is "docs/README.md names every page" ! -s out

# ---- commands

grep -v '^benchmarks/' pages >told # its programs have options of their own
(cd "$root" && xargs awk -f "$here/commands.awk") <told >commands
ln -s "$root/models" models
"$detent" help | sed -n 's/^  \([a-z-]*\)  *.*/\1/p' >known
while read -r command; do
    "$detent" "$command" --usage | tr -s ' \n' ' ' | grep -o -e '--[a-z0-9-]*=\{0,1\}' | sed "s/^/$command /"
done <known >options
"$detent" import "$root/tests/golden/onnx/shortcut.onnx" --out stand_in.safetensors >out 2>err
check "a network that stands in for those of the pages" $?

# stand_in FILE: a network where the page has one of its own
stand_in()
{
    [ -e "$1" ] && return
    case $1 in */*) mkdir -p "${1%/*}" ;; esac
    case $1 in
    *.json) cp models/resnet8.json "$1" ;;
    *.onnx) cp "$root/tests/golden/onnx/shortcut.onnx" "$1" ;;
    *.safetensors) cp stand_in.safetensors "$1" ;;
    esac
}

# takes WORDS...: detent reads them, up to the --usage behind them. Of an option that a page names without its value, the
# name alone is looked up.
takes()
{
    command=$1
    last=
    network=
    for word in "$@"; do
        case $word in --model) network=yes ;; *) [ -z "$network" ] || stand_in "$word"; network= ;; esac
        last=$word
    done
    case $last in
    --*=*) ;;
    --*)
        if grep -qxF "$command $last=" options; then # without its value
            line=
            for word in "$@"; do line="$line '$word'"; done
            eval "set -- ${line% *}"
        fi
        ;;
    esac
    "$detent" "$@" --usage </dev/null
}

n_commands=0
while IFS='	' read -r at words; do
    eval "set -- $words"
    shift
    case $1 in manual | completion | help | [A-Z]*) continue ;; esac
    n_commands=$((n_commands + 1))
    takes "$@" >out 2>err || not_ok "$at: $words"
done <commands
ok "commands: $n_commands"
is "... and there are many" $n_commands -gt 200

# ---- options that stand alone

# of cmake, Slurm, torchrun, TensorBoard, nvcc and scripts/
cat >others <<'END'
--build
--dry-run
--fmad
--install
--kill-on-bad-exit
--list-presets
--logdir
--no-python
--nproc-per-node
--ntasks
--preset
END
sed 's/.* //; s/=//' options | sort -u >all
(cd "$root" && xargs awk '/^ *```/ { c = !c; next } !c') <told | grep -o '`[^`]*`' |
    grep -o -e '--[a-z][a-z0-9-]*' | sort -u >named
grep -vxF -f all named | grep -vxF -f others >out
is "options that are named: $(wc -l <named), all are known" ! -s out
finish
