#!/bin/sh
# test_cli_ranks.sh - `detent train` on several ranks: runs repeat, share a batch, stop together and go on on another
# number of ranks; a rank that is killed or stopped ends all in time, and the last checkpoint goes on.
#
# usage: test_cli_ranks.sh PATH_OF_DETENT.  DETENT_TEST_SEED chooses the moments of failures; it is printed.
. "$(dirname "$0")/../support/command.sh"

seed=${DETENT_TEST_SEED:-$(date +%s)}
echo "# DETENT_TEST_SEED=$seed"
tiny="--model tiny --dataset synthetic --train-size 310 --test-size 90 --batch 32 --epochs 2 --threads 1 --device cpu --seed 7"
endless="--model tiny --dataset synthetic --train-size 640 --test-size 90 --batch 32 --epochs 100000 --save-every 3
         --threads 1 --device cpu --seed 7 --timeout 6"
pid0='' pid1=''
unset DETENT_LINKS RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT DETENT_SECRET SLURM_STEP_ID \
    OMPI_COMM_WORLD_RANK PMI_RANK TORCHELASTIC_USE_AGENT_STORE

# same WHAT DIR DIR: both runs have the same checkpoints.
same()
{
    if cmp "$2/last.safetensors" "$3/last.safetensors" >out 2>err && cmp "$2/best.safetensors" "$3/best.safetensors" >out 2>err
    then ok "$1"; else not_ok "$1"; fi
}

# epochs FILE: its lines of epochs, without what depends on the clock.
epochs()
{
    sed -n 's/^\(epoch.*lr [^ ]*\).*/\1/p' "$1"
}

# ---- equal runs

# shellcheck disable=SC2086 # the options are words
{
    expect "one rank" 0 train $tiny --out one
    sed '/^  weights .* oscillate  *codes used$/,/^complete/{/^complete/!d}' out >one.out # which several ranks do not count
    for many in 2 4; do
        expect "$many ranks" 0 train $tiny --ranks $many --out r$many
        has out "^complete   2 epochs"
        is "... print the lines of one, and one of the ranks" "$(wc -l <out)" -eq $(($(wc -l <one.out) + 1))
        is "... and leave four files" "$(find r$many -type f | wc -l)" -eq 4
        has out "^ranks  *$many, by shared memory$"
        DETENT_LINKS=tcp expect "$many ranks by TCP" 0 train $tiny --ranks $many --out again
        has out "^ranks  *$many, by TCP$"
        same "... give the same bytes" r$many again
        rm -rf again
    done
    expect "two ranks, statistics of all" 0 train $tiny --ranks 2 --sync-bn --out s2
    cp out s2.out
    expect "one rank, two parts" 0 train $tiny --accumulate 2 --out a2
}
epochs one.out >want
epochs s2.out >got
is "... whose epochs print as those of one rank" "$(cat want)" = "$(cat got)"

# ---- the options

# shellcheck disable=SC2086
{
    expect "a batch that three cannot share" 2 train $tiny --ranks 3 --out bad
    has err "^detent train: --batch 32 is shared by 3 ranks in 1 part each: it must be a multiple of 3$"
    is "... is refused once" "$(grep -c 'multiple of 3' err)" -eq 1
    RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29999 \
        expect "a launcher within a launcher" 2 train $tiny --ranks 2 --out bad
    has err "torchrun has started this one as rank 0 of 2: leave --ranks out"
    RANK=5 WORLD_SIZE=2 MASTER_PORT=29999 expect "rank 5 of 2" 2 train $tiny --out bad
    has err "RANK is 5 and WORLD_SIZE is 2"
    expect "a rank alone has no links" 2 bench-comm
    has err "give --ranks N"
}
is "nothing was written" ! -e bad

# ---- the other doors

# a port that is free now
port()
{
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

if command -v python3 >/dev/null; then
    # door WHAT OUT VARIABLES...: two ranks by environment; %R stands for the rank.
    door()
    {
        what=$1
        dir=$2
        shift 2
        for rank in 0 1; do
            # shellcheck disable=SC2086,SC2046
            env $(echo "$@" | sed "s/%R/$rank/g") "$detent" train $tiny --out "$dir" >"out$rank" 2>"err$rank" &
            eval "pid$rank=$!"
        done
        wait "$pid0"
        code0=$?
        wait "$pid1"
        cat out1 err0 err1 >err
        is "$what: exit codes $code0 and $?" $code0 -eq 0 -a $? -eq 0
        is "... rank 1 is silent" ! -s out1
        same "... the run of --ranks 2" r2 "$dir"
        is "... and the secret is gone" ! -e "$dir/rendezvous"
    }
    door torchrun torch RANK=%R WORLD_SIZE=2 LOCAL_RANK=%R LOCAL_WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 "MASTER_PORT=$(port)"
    door Slurm slurm SLURM_STEP_ID=0 SLURM_JOB_ID=$$ SLURM_PROCID=%R SLURM_STEP_NUM_TASKS=2 SLURM_LOCALID=%R \
        SLURM_STEP_NODELIST=localhost
    door mpirun mpi OMPI_COMM_WORLD_RANK=%R OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=%R \
        OMPI_COMM_WORLD_LOCAL_SIZE=2 DETENT_SECRET=a-secret-of-the-test

    at=$(port)
    # shellcheck disable=SC2086
    for rank in 0 1; do
        RANK=$rank WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=$at DETENT_SECRET=a-secret-of-the-test \
            "$detent" train $tiny --lr 0.0$((rank + 1)) --out differ >"out$rank" 2>"err$rank" &
        eval "pid$rank=$!"
    done
    wait "$pid0"
    is "ranks with different options end: $?" $? -ne 0
    wait "$pid1"
    cp err1 err
    has err "options: rank 1 has '--lr 0.02', rank 0 on .* has '--lr 0.01'"
    has err0 "rank 1 on .* failed: options: rank 1 has '--lr 0.02'"
else
    n=$((n + 1))
    echo "ok $n - doors by environment # SKIP no python3 to find a free port"
fi

# ---- stopping and going on

# begin DIR OPTIONS...: starts a run of two ranks in the background, and waits until it has saved something new.
begin()
{
    dir=$1
    shift
    rm -f mark
    : >mark
    # shellcheck disable=SC2086
    "$detent" train $endless "$@" --out "$dir" >out 2>err &
    pid=$!
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
        [ -n "$(find "$dir" -name last.safetensors -newer mark 2>/dev/null)" ] && break
        kill -0 $pid 2>/dev/null || break
        sleep 0.3
    done
}

# ranks: the processes of its ranks, rank 0 first.
ranks()
{
    ps -o pid= --ppid $pid
}

# cores RANK: those on which it may run.
cores()
{
    sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' "/proc/$(ranks | sed -n $(($1 + 1))p | tr -d ' ')/status"
}

begin stopped --ranks 2
if [ "$(nproc)" -gt 1 ]; then
    is "each rank keeps to cores of its own: $(cores 0) and $(cores 1)" "$(cores 0)" != "$(cores 1)"
else
    n=$((n + 1))
    echo "ok $n - each rank keeps to cores of its own # SKIP one core"
fi
kill -TERM "$(ranks | sed -n 2p)"
wait $pid
is "SIGTERM at rank 1 ends all with 130, here $?" $? -eq 130
has err "^detent train: stopped after step .* saved; go on with 'detent train --resume --ranks 2 --out stopped'$"
is "... said once" "$(grep -c stopped err)" -eq 1
begin stopped --resume
kill -USR1 $pid
wait $pid
is "the run goes on on one rank: $?" $? -eq 130
has out "^resumed    after step"
begin stopped --resume --ranks 2
kill -TERM $pid
wait $pid
is "... and on two again; the launcher hands signals on: $?" $? -eq 130
has out "^resumed    after step"

# ---- exact on the same number of ranks

long="$tiny --epochs 60 --save-every 7"
# shellcheck disable=SC2086
{
    expect "an undisturbed run" 0 train $long --ranks 2 --out undisturbed
    for moment in 2 10 20; do
        : >out
        "$detent" train $long --ranks 2 --out disturbed >out 2>err &
        pid=$!
        while [ "$(grep -c '^epoch' out)" -lt $moment ] && kill -0 $pid 2>/dev/null; do sleep 0.02; done
        kill -TERM $pid 2>/dev/null
        wait $pid
        is "stopped at epoch $moment, or later" $? -eq 130
        expect "... and resumed" 0 train --resume --ranks 2 --threads 1 --out disturbed
        same "... it ends with the same bytes" undisturbed disturbed
        rm -rf disturbed
    done
}

# ---- a rank that fails

# fails SIGNAL RANK MOMENT PATTERN: that rank gets that signal at that moment of a run on two; the job ends in time.
fails()
{
    begin failed --resume --ranks 2
    sleep "$3"
    begin_s=$(date +%s)
    kill -"$1" "$(ranks | sed -n $(($2 + 1))p)"
    wait $pid
    code=$?
    took=$(($(date +%s) - begin_s))
    is "SIG$1 at rank $2 after $3 s ends all: exit code $code" $code -eq 1
    is "... within the timeout of 6 s: $took s" $took -le 7
    has err "$4"
    expect "... the last checkpoint is whole" 0 eval --checkpoint failed/last.safetensors --dataset synthetic --test-size 20 \
        --device cpu
}

begin failed --ranks 2
kill -TERM $pid
wait $pid
moments=$(awk -v seed="$seed" 'BEGIN { srand(seed); for (i = 0; i < 4; i++) printf "%.3f ", rand() * 1.5 }')
# shellcheck disable=SC2086 # they are words
set -- $moments
fails KILL 1 "$1" "rank 1 on .* has ended, or its link has"
fails KILL 0 "$2" "rank 0 on .* has ended, or its link has"
fails STOP 1 "$3" "rank 1 on .* has given no sign of life"
fails STOP 0 "$4" "rank 0 on .* has given no sign of life"
for many in 2 1 2; do
    begin failed --resume --ranks $many
    kill -TERM $pid
    wait $pid
    is "it goes on on $many" $? -eq 130
    has out "^resumed    after step"
done

# ---- the links

expect "bench-comm" 0 bench-comm --ranks 2 --json
json "... prints JSON" out

finish
