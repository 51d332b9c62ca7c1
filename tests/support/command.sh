# command.sh - what the tests of the command share: test_cli*.sh read it first, with the path of detent as $1.
#
# Goes to a folder of its own, which is removed at the end. Checks print "ok N - what" or "not ok N - what"; `finish` is
# the last line of a test and gives the exit code: 1 if any check is not ok.
set -u

detent=${1:?usage: $0 PATH_OF_DETENT}
case $detent in /*) ;; *) detent=$PWD/$detent ;; esac
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1

n=0
n_failed=0
tiny="--model tiny --dataset synthetic --train-size 60 --test-size 40 --batch 16 --threads 1 --device cpu"

ok()
{
    n=$((n + 1))
    printf 'ok %d - %s\n' $n "$1"
}

not_ok()
{
    n=$((n + 1))
    n_failed=$((n_failed + 1))
    printf 'not ok %d - %s\n' $n "$1"
    sed 's/^/#   /' out err
}

# expect WHAT CODE ARGUMENTS...: runs detent and compares its exit code; leaves its output in `out` and `err`.
expect()
{
    what=$1
    code=$2
    shift 2
    "$detent" "$@" >out 2>err
    got=$?
    if [ $got -eq "$code" ]; then ok "$what"; else not_ok "$what: exit code $got, expected $code"; fi
}

# has FILE PATTERN: the last command wrote that.
has()
{
    if grep -q -e "$2" "$1"; then ok "... says '$2'"; else not_ok "... does not say '$2'"; fi
}

# is WHAT CONDITION...: a test(1) that must hold.
is()
{
    what=$1
    shift
    if [ "$@" ]; then ok "$what"; else not_ok "$what"; fi
}

# main_of_reals: writes c/main.c, which runs the exported c/net.c: samples of reals on stdin, scores on stdout.
main_of_reals()
{
    cat >c/main.c <<'END'
#include <stdio.h>
#include "net.h"

static float image[NET_HEIGHT * NET_WIDTH * NET_CHANNELS];

int main(void)
{
    float scores[NET_CLASSES];

    while (fread(image, sizeof image, 1, stdin) == 1) {
        net_run_reals(image, scores);
        fwrite(scores, sizeof scores, 1, stdout);
    }
    return 0;
}
END
}

# check WHAT STATUS: the status is 0.
check()
{
    if [ "$2" -eq 0 ]; then ok "$1"; else not_ok "$1"; fi
}

# json WHAT FILE: the file is JSON, or each line of a .jsonl is.
json()
{
    case $2 in *.jsonl) lines=--json-lines ;; *) lines= ;; esac
    if ! command -v python3 >/dev/null; then
        n=$((n + 1))
        echo "ok $n - $1 # SKIP no python3 to parse JSON with"
    elif python3 -m json.tool $lines "$2" >/dev/null 2>&1; then
        ok "$1"
    else
        not_ok "$1"
    fi
}

finish()
{
    echo "1..$n"
    exit $((n_failed > 0))
}
