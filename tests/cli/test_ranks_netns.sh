#!/bin/sh
# test_ranks_netns.sh - two ranks as on two hosts: each in a network namespace of its own, with a link between them that
# takes 2 ms each way and drops 1 % of the packets; then the link goes down, and both end in time.
#
# The link is ../support/lossy_link.py. It needs user namespaces, iproute2, python3 and TUN devices; where one is missing
# the test is skipped with the reason.
#
# usage: test_ranks_netns.sh PATH_OF_DETENT.  DETENT_TEST_SEED chooses the packets that are lost; it is printed.
if [ "${DETENT_IN_NAMESPACE:-}" != yes ]; then
    skip()
    {
        echo "[SKIP] test_ranks_netns: $1"
        exit 77
    }
    for tool in unshare ip python3; do command -v $tool >/dev/null || skip "there is no $tool"; done
    unshare -Urnm true 2>/dev/null || skip "user and network namespaces are not allowed"
    DETENT_IN_NAMESPACE=yes exec unshare -Urnm sh "$0" "$@"
fi
support=$(cd "$(dirname "$0")/../support" && pwd)
. "$support/command.sh"

skip()
{
    echo "[SKIP] test_ranks_netns: $1"
    exit 77
}

# ---- two hosts and a link

mount -t tmpfs tmpfs /run 2>/dev/null || skip "no mount in the namespace"
{ ip netns add here && ip netns add there; } 2>err || skip "ip netns: $(head -1 err)"
seed=${DETENT_TEST_SEED:-$(date +%s)}
echo "# DETENT_TEST_SEED=$seed"
python3 "$support/lossy_link.py" --delay 0.002 --loss 0.01 --seed "$seed" ready report >out 2>err &
link=$!
trap 'kill $link 2>/dev/null; rm -rf "$work"' EXIT
soon()
{
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
        [ -e "$1" ] && return
        sleep 0.3
    done
}
soon ready
[ -e ready ] || skip "TUN devices: $(tail -1 err)"
{ ip link set left netns here && ip link set right netns there; } 2>err || skip "TUN devices: $(head -1 err)"
ip -n here addr add 10.9.0.1 peer 10.9.0.2 dev left
ip -n there addr add 10.9.0.2 peer 10.9.0.1 dev right
ip link set lo up
for at in here there; do ip -n $at link set lo up; done
ip -n here link set left up
ip -n there link set right up

tiny="--model tiny --dataset synthetic --train-size 96 --test-size 40 --batch 32 --epochs 8 --threads 1 --device cpu --seed 7"

# rank NAMESPACE RANK OPTIONS...: in that namespace; the address is rank 0's, which the other host sees.
rank()
{
    at=$1
    which=$2
    shift 2
    # shellcheck disable=SC2086 # the options are words
    exec ip netns exec "$at" env RANK="$which" WORLD_SIZE=2 LOCAL_RANK=0 MASTER_ADDR=10.9.0.1 MASTER_PORT=29511 \
        DETENT_SECRET=a-secret-of-the-test "$detent" train $tiny "$@"
}

rank here 0 --out both >out0 2>err0 &
pid0=$!
rank there 1 --out both >out1 2>err1 &
pid1=$!
wait $pid0
code0=$?
wait $pid1
code1=$?
cat out0 out1 >out
cat err0 err1 >err
is "two hosts train over a link with delay and loss: exit codes $code0 and $code1" $code0 -eq 0 -a $code1 -eq 0
has out "^ranks  *2, by TCP$"
# shellcheck disable=SC2086
expect "two ranks of one host" 0 train $tiny --ranks 2 --out local
cmp both/last.safetensors local/last.safetensors >out 2>err
check "... give the same bytes" $?

# ---- the link goes down

rank here 0 --out down --epochs 100000 --timeout 6 >out0 2>err0 &
pid0=$!
rank there 1 --out down --epochs 100000 --timeout 6 >out1 2>err1 &
pid1=$!
soon down/last.safetensors
ip -n here link set left down
begin=$(date +%s)
wait $pid0
code0=$?
wait $pid1
code1=$?
took=$(($(date +%s) - begin))
cat out0 >out
cat err0 err1 >err
is "without the link both end: exit codes $code0 and $code1" $code0 -eq 1 -a $code1 -eq 1
is "... within the timeout of 6 s: $took s" $took -le 7
has err0 "rank 1 on .*given no sign of life"
has err1 "rank 0 on .*given no sign of life"
expect "... and the last checkpoint is whole" 0 eval --checkpoint down/last.safetensors --dataset synthetic \
    --test-size 20 --device cpu

# ---- what the link did

kill $link
soon report
cp report out
: >err
python3 -c 'import json, sys
r = json.load(open("report"))
print("# " + json.dumps(r))
sys.exit(not (r["dropped"] > 0 and r["dropped"] < 0.05 * r["packets"] and r["quickest_s"] >= 0.002))'
check "packets were lost, and none took less than 2 ms" $?

finish
