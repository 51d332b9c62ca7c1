#!/bin/sh
# Kernels on CPUs older than this one, imitated by qemu: no instruction leaks into what such a CPU runs.
#   old_cpu.sh OLD_CPU     the program of old_cpu.c
[ "$(uname -m)" = x86_64 ] || { echo "skipped: this machine is no x86-64"; exit 77; }
command -v qemu-x86_64 >/dev/null || { echo "skipped: qemu-x86_64 is missing (apt-get install qemu-user)"; exit 77; }
unset DETENT_CPU

# qemu imitates no AVX-512, so that one instruction of it ends the program, whatever the CPU's model.
run()
{
    echo "$1: expected level $2"
    qemu-x86_64 -cpu "$1" "$program" "$2" || { echo "$1: failed with status $?"; exit 1; }
}

refuse()
{
    message=$(DETENT_CPU=$2 qemu-x86_64 -cpu "$1" "$program" refuses) || { echo "$1: $message"; exit 1; }
    case $message in
    *"'$2'"*"'$3'"*) echo "$1: $message" ;;
    *) echo "$1: expected '$2' and '$3' in: $message"; exit 1 ;;
    esac
}

program=$1
run Nehalem scalar
run Haswell avx2
run Haswell-v4 avx2
refuse Nehalem avx2 scalar
refuse Haswell amx avx2
