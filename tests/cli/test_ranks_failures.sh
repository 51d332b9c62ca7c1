#!/bin/sh
# test_ranks_failures.sh - one of two ranks is killed, is stopped, loses its connections or says nonsense, at random
# moments. The other one names it in time, the last checkpoint is one of an undisturbed run, and the run goes on on 2, on
# 1 and on 2 ranks with the bytes of a run that was handed over at the same steps and never disturbed.
#
# usage: test_ranks_failures.sh PATH_OF_DETENT PATH_OF_MISDEED.  DETENT_TEST_SEED chooses the moments; it is printed.
# DETENT_TEST_MOMENTS says how many for each kind of failure: 10 is the whole test, 2 what it does by itself.
misdeed=${2:?usage: $0 PATH_OF_DETENT PATH_OF_MISDEED}
case $misdeed in /*) ;; *) misdeed=$PWD/$misdeed ;; esac
. "$(dirname "$0")/../support/command.sh"

if ! command -v python3 >/dev/null; then
    echo "[SKIP] test_ranks_failures: no python3 to find a free port"
    exit 77
fi
seed=${DETENT_TEST_SEED:-$(date +%s)}
moments=${DETENT_TEST_MOMENTS:-2}
echo "# DETENT_TEST_SEED=$seed, DETENT_TEST_MOMENTS=$moments"
timeout=4
# long enough for all moments; a run that finds no checkpoint of its own ends
endless="--model tiny --dataset synthetic --train-size 160 --test-size 20 --batch 32 --epochs 2000 --save-every 3
         --threads 1 --device cpu --seed 7 --timeout $timeout"
pid0='' pid1=''
unset RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT DETENT_SECRET SLURM_STEP_ID \
    OMPI_COMM_WORLD_RANK PMI_RANK TORCHELASTIC_USE_AGENT_STORE

# start CULPRIT OPTIONS...: two ranks in the background, one of them with the misdeed of the environment.
start()
{
    culprit=$1
    shift
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    for rank in 0 1; do
        preload=
        [ $rank -eq "$culprit" ] && preload=$misdeed
        RANK=$rank WORLD_SIZE=2 LOCAL_RANK=$rank MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
            DETENT_SECRET=a-secret-of-the-test LD_PRELOAD=$preload "$detent" train "$@" >out$rank 2>err$rank &
        eval "pid$rank=$!"
    done
}

# go_on DIR RANKS: until the third checkpoint from here on.
go_on()
{
    export DETENT_MISDEED=end DETENT_MISDEED_AT=3
    if [ "$2" -eq 2 ]; then
        start 0 --resume --out "$1" --timeout $timeout
        wait "$pid0"
        went=$?
        wait "$pid1"
        cat err0 err1 >err
        cp out0 out
    else
        LD_PRELOAD=$misdeed "$detent" train --resume --out "$1" >out 2>err
        went=$?
    fi
    unset DETENT_MISDEED DETENT_MISDEED_AT
    [ $went -eq 130 ]
}

# fails HOW CULPRIT MILLISECONDS PATTERN: all of it, for one moment.
fails()
{
    what="rank $2 $1, $3 ms behind a checkpoint"
    other=$((1 - $2))
    rm -rf failed whole moment
    export DETENT_MISDEED="$1" DETENT_MISDEED_AT="$3" DETENT_MISDEED_FILE=failed/last.safetensors DETENT_MISDEED_DONE=moment
    # shellcheck disable=SC2086 # the options are words
    start "$2" $endless --out failed
    eval "wait \$pid$other"
    code=$?
    ended=$(($(date +%s%N) / 1000000))
    eval "kill -KILL \$pid$2 2>/dev/null; wait \$pid$2 2>/dev/null"
    unset DETENT_MISDEED DETENT_MISDEED_AT DETENT_MISDEED_FILE DETENT_MISDEED_DONE
    cp out$other out
    cp err$other err
    took=$((ended - $(cat moment)))
    is "$what: the other ends with $code" $code -eq 1
    is "... within $timeout s: $took ms" $took -le $((timeout * 1000))
    has err "rank $2 on .*$4"

    cp failed/last.safetensors at-failure
    export DETENT_MISDEED=end DETENT_MISDEED_AT=at-failure
    # shellcheck disable=SC2086
    start 0 $endless --out whole
    wait "$pid0"
    code=$?
    wait "$pid1"
    unset DETENT_MISDEED DETENT_MISDEED_AT
    cat err0 err1 >err
    is "... its last checkpoint is one of an undisturbed run: $code" $code -eq 130
    for many in 2 1 2; do
        for dir in failed whole; do
            go_on $dir $many || not_ok "... $dir goes on on $many: $went"
        done
    done
    cmp failed/last.safetensors whole/last.safetensors >out 2>err
    check "... and from there on, on 2, 1 and 2 ranks, they have the same bytes" $?
    ! cmp -s failed/last.safetensors at-failure
    check "... which are not those of the failure" $?
}

random=$(awk -v seed="$seed" -v n="$moments" 'BEGIN { srand(seed); for (i = 0; i < 4 * n; i++) printf "%d ", 400 * rand() }')
# shellcheck disable=SC2086 # they are words
set -- $random
k=0
while [ $k -lt "$moments" ]; do
    who=$((k % 2))
    fails kill $who "$1" "has ended, or its link has"
    fails stop $((1 - who)) "$2" "has given no sign of life"
    fails close $who "$3" "has ended, or its link has"
    fails lie $((1 - who)) "$4" "\(sent what is no sign of life\|it sends beside the shared queue\)"
    shift 4
    k=$((k + 1))
done

finish
