#!/bin/sh
# train_torchrun.sh - trains on several hosts that torchrun starts; each host runs this, with the same words but NODE.
#
#   NODE=0 NODES=2 HEAD=10.0.0.1 DATA=/shared/cifar10 OUT=/shared/runs/w4a2 sh examples/train_torchrun.sh
#
# HEAD is the address of the host with NODE 0, which the others reach. DATA and OUT lie where all hosts see them. Of
# torchrun detent takes the variables alone: neither Python nor PyTorch runs in the ranks.
set -eu

: "${NODE:?the number of this host, from 0}" "${NODES:?how many hosts}" "${HEAD:?the address of host 0}"
: "${DATA:?the folder of the data set}" "${OUT:?the run directory}"
ranks=${RANKS_PER_NODE:-1}
OMP_NUM_THREADS=$(($(nproc) / ranks))
export OMP_NUM_THREADS

exec torchrun --no-python --nnodes "$NODES" --node-rank "$NODE" --nproc-per-node "$ranks" \
    --master-addr "$HEAD" --master-port "${PORT:-29500}" \
    detent train --recipe w4a2 --dataset cifar10 --data "$DATA" --batch 512 --device cpu --resume --out "$OUT"
