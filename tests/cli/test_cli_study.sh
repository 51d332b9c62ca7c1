#!/bin/sh
# test_cli_study.sh - detent report --study: its commands, what it does with those that are done, that fail or that a
#                     signal stops, and its tables, of outputs that the test has made.
#
# usage: test_cli_study.sh PATH_OF_DETENT
models=$(cd "$(dirname "$0")/../../models" && pwd)
. "$(dirname "$0")/../support/command.sh"

# ---- a stop, and going on

"$detent" report --study --quick --models "$models" --out s >out 2>err &
pid=$!
i=0
while [ ! -e "s/BSPC_GAP model/fat BSPC_GAP models/BSPC_res_param4M/run-train/config.json" ] && [ $i -lt 600 ]; do
    sleep 0.1
    i=$((i + 1))
done
kill -TERM $pid
wait $pid
is "a signal stops it" $? -eq 130
has err "stopped after [0-9]* of 736 commands; the same line goes on"
is "... and it has written its commands" "$(grep -c '^detent ' s/commands.sh)" -eq 736

# ---- outputs that others have made: each command is done, and has printed numbers

grep '^detent ' s/commands.sh | sed "s/.* >//; s/^'//; s/'\$//" >outputs
while IFS= read -r o; do
    mkdir -p "${o%/*}"
    case $o in *QAT*) a=0.75 ;; *eval-drq.out) a=0.80 ;; *) a=0.90 ;; esac
    cat >"$o" <<EOF
{ "images": [ { "largest_difference": 0 }, { "largest_difference": 0.5 } ], "metrics": { "accuracy": $a, "binary_accuracy": $a, "macro_precision": 0.5, "macro_recall": 0.25,
  "macro_f1": 0.125, "balanced_accuracy": 0.25, "cohen_kappa": null, "hamming_loss": 0.1, "macro_jaccard": 0.3 } }
EOF
    : >"${o%.out}.done"
done <outputs
for i in 1 2; do # two marks have times
    o=$(sed -n "${i}p" outputs)
    echo "40.000 31.500" >"${o%.out}.done"
done
expect "tables of commands that are done" 0 report --study --quick --models "$models" --out s
has out "^processor time 1:03: [a-z]* "
is "... in lines of CSV" "$(wc -l <s/study.csv)" -eq $((1 + 3 * 2 * 5 * 4 + 9 * 2 * 5 * 6))
has s/study.md "^| DRQ | 80.0 (92.3) | 80.0 (94.0) | 80.0 (93.4) | 80.0 (94.8) |$"
has s/study.md "^| DRQ | 75.0↓ (90.4↓) | 75.0↓ (91.8↓) | 75.0↓ (90.4↓) | 75.0↓ (91.8↓) |$"
has s/study.md "^| FIQ - Int8 | 0.900~ (0.770↓) | 0.500~ (0.817↓) | 0.250~ (0.754↓) | 0.125~ (0.742↓) | 0.250~ (0.754↓) | - (0.722↓) |$"
has s/study.md "^| DRQ | 0.800↓ (0.869~) | "
has s/study.md "1, 1 of 50 |$"
has s/study.csv "^BSPC,QAT,FIQ - Int8,Before pruning lean"
has s/study.html "<svg"
is "... every cell is there" "$(grep -c '|  |' s/study.md)" -eq 0

# ---- failures

one=$(grep 'same-i8.out' outputs | head -1)
rm -f "${one%.out}.done"
expect "a command that fails" 1 report --study --quick --models "$models" --out s
has err "the study's command '.*same-i8' has failed; its output is in "
echo "no JSON" >"$one"
: >"${one%.out}.done"
expect "an output that is damaged" 1 report --study --quick --models "$models" --out s
has err "same-i8.out: is missing, or no JSON"
expect "no folder" 2 report --study
expect "nothing to report" 2 report --out s
finish
