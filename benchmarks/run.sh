#!/bin/sh
# run.sh BUILD_DIR [DEVICE [OUT [SECONDS]]] - all benchmarks of training: every kernel beside its ceiling, a whole run,
# how the cost grows, the step beside PyTorch's and Brevitas'; then a report with charts.
#
#   DEVICE   cpu or cuda (cpu)
#   OUT      folder of results (benchmarks/results)
#   SECONDS  that all of it may take, about (450); each part has its share, and leaves out what does not fit
#
# PYTHON names an interpreter that has torch and brevitas (python3); without one only detent is timed. Files are named
# after the machine. NETWORKS="vgg16 shallowcaps deepcaps" compares these (vgg16). QUICK=1: tiny settings, does it run?
set -eu
build=$1
device=${2:-cpu}
here=$(cd "$(dirname "$0")" && pwd)
out=${3:-$here/results}
seconds=${4:-450}
quick=${QUICK:+--quick}

part() { # share of the seconds in percent, script, options...
    budget=$((seconds * $1 / 100))
    script=$2
    shift 2
    # $quick is an option or nothing
    python3 "$here/$script" "$build" --device "$device" --out "$out" --budget "$budget" $quick "$@"
}

# $NETWORKS is a list, to be split
if [ "$device" = cpu ]; then
    part 14 programs.py --parts ops
    part 8 programs.py --parts train
    part 18 scaling.py --rounds 1
    part 60 compare.py --rounds 3 --networks ${NETWORKS:-vgg16}
else
    part 12 programs.py --parts ops
    part 6 programs.py --parts train
    part 12 scaling.py --rounds 2
    part 70 compare.py --rounds 5 --networks ${NETWORKS:-vgg16 shallowcaps}
fi
python3 "$here/report.py" --device "$device" --out "$out"
