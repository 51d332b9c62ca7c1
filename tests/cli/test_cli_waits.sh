#!/bin/sh
# test_cli_waits.sh - how detent's threads wait for each other: briefly, unless the user has said otherwise. The program
# begins once more for that, in the same process and with the same words.
#
# usage: test_cli_waits.sh PATH_OF_DETENT
. "$(dirname "$0")/../support/command.sh"

unset OMP_WAIT_POLICY GOMP_SPINCOUNT

# waits_of VARIABLE=VALUE...: begins a run with these variables, and writes what it then has of them to `waits`.
waits_of()
{
    rm -rf "a run"
    # shellcheck disable=SC2086 # the options are words
    env "$@" "$detent" train $tiny --epochs 100000 --out "a run" >out 2>err &
    pid=$!
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
        [ -e "a run/last.safetensors" ] && break
        sleep 0.3
    done
    tr '\0' '\n' <"/proc/$pid/environ" | grep -E '^(OMP_WAIT_POLICY|GOMP_SPINCOUNT)=' >waits
    kill -TERM $pid
    wait $pid
    is "the process that was started ends with $?" $? -eq 130
    has err "go on with 'detent train --resume --out a run'"
}

if [ ! -r /proc/self/environ ]; then
    echo "[SKIP] test_cli_waits: no /proc"
    exit 77
fi
waits_of A=b
is "... whose threads look 2000 times: $(cat waits)" "$(cat waits)" = GOMP_SPINCOUNT=2000
waits_of OMP_WAIT_POLICY=active
is "a policy that is given is kept: $(cat waits)" "$(cat waits)" = OMP_WAIT_POLICY=active
waits_of GOMP_SPINCOUNT=7
is "... and so is a number: $(cat waits)" "$(cat waits)" = GOMP_SPINCOUNT=7
expect "exit codes are those of the program: a wrong option" 2 train --no-such-option
expect "... and a run that is not there" 1 eval --checkpoint nowhere.safetensors

finish
