#!/bin/sh
# Runs a program with DETENT_CPU set to a level; skipped where the machine has not got the level.
#   at_level.sh CPU_LEVELS LEVEL PROGRAM [ARGUMENT...]     CPU_LEVELS: the program of cpu_levels.c
levels=$("$1" list) || exit 1
level=$2
shift 2
case " $levels " in
*" $level "*) ;;
*) echo "skipped: this machine's levels are $levels" && exit 77 ;;
esac
DETENT_CPU=$level exec "$@"
