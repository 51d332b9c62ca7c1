#!/bin/sh
# The scripts in examples/: shellcheck finds nothing in them, and what they would start is a command line that detent
# takes. srun, torchrun and scontrol are functions here that note their words.
#
# usage: test_examples.sh PATH_OF_DETENT
examples=$(cd "$(dirname "$0")/../../examples" && pwd)
. "$(dirname "$0")/../support/command.sh"

if command -v shellcheck >/dev/null; then
    for script in "$examples"/*.sh "$examples"/*.sbatch; do
        shellcheck --shell=sh "$script" >out 2>&1
        check "shellcheck finds nothing in $(basename "$script")" $?
    done
else
    n=$((n + 1))
    echo "ok $n - shellcheck of the examples # SKIP there is no shellcheck"
fi

# A launcher that drops its own words, and asks detent to read the others: --help is answered once all of them are good.
mkdir bin
cat >bin/launcher <<'SH'
#!/bin/sh
while [ "$1" != detent ]; do shift; done
shift
echo "$@" >"$WORDS"
"$DETENT" "$@" --help >"$WORDS.help"
code=$?
[ $code -eq 0 ] && code=${LAUNCHER_CODE:-0}
exit $code
SH
cat >bin/scontrol <<'SH'
#!/bin/sh
echo "$@" >"$WORDS.scontrol"
SH
chmod +x bin/launcher bin/scontrol
ln -s launcher bin/srun
ln -s launcher bin/torchrun
export DETENT="$detent" WORDS="$work/words" DATA=d OUT=o

# starts CODE SCRIPT: the script ends with that code, and has started what the next checks ask of `words`.
starts()
{
    rm -f words words.scontrol
    PATH=$work/bin:$PATH sh "$examples/$2" >out 2>err
    is "$2 ends with $?, expected $1" $? -eq "$1"
}

starts 0 train.sbatch
has words "^train --recipe w4a2 .* --resume --out o$"
is "... and puts nothing into the queue" ! -e words.scontrol
SLURM_JOB_ID=7 LAUNCHER_CODE=130 starts 0 train.sbatch
has words.scontrol "^requeue 7$"
LAUNCHER_CODE=1 starts 1 train.sbatch
NODE=0 NODES=2 HEAD=127.0.0.1 starts 0 train_torchrun.sh
has words "^train --recipe w4a2 .* --resume --out o$"
SWEEP=$examples/sweep.json SLURM_ARRAY_TASK_ID=17 starts 0 sweep.sbatch
has words "^sweep .*sweep.json --out o --index 17$"
expect "the runs of its file" 0 sweep "$examples/sweep.json" --plan
is "... are 18" "$(wc -l <out)" -eq 18

finish
