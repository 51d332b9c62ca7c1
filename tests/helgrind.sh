#!/bin/sh
# Looks for data races between contexts of different threads: contexts_at_once under valgrind's helgrind.
# Usage: helgrind.sh PROGRAM. One thread for dt_program_run too, which has no context.
set -u
here=$(dirname "$0")
log=$(mktemp)
trap 'rm -f "$log"' EXIT

if ! command -v valgrind >/dev/null; then
    echo "skipped: valgrind is missing (apt-get install valgrind)"
    exit 77
fi
if OMP_NUM_THREADS=1 valgrind -q --tool=helgrind --suppressions="$here/helgrind.supp" --error-exitcode=9 "$1" >"$log" 2>&1; then
    exit 0
fi
if grep -q "Illegal opcode\|unhandled instruction" "$log"; then
    echo "skipped: valgrind does not know this build's instructions; configure with -DDETENT_NATIVE=OFF"
    exit 77
fi
cat "$log"
exit 1
