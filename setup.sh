#!/bin/sh
# Installs what building and testing detent needs on Debian 12, and says what it does. Without root it prints the
# command instead. CUDA is optional and not installed here: docs/ARCHITECTURE.md says where it is looked for.
set -eu

packages="gcc g++ libc6-dev cmake ninja-build pkg-config zlib1g-dev libcjson-dev libdnnl-dev
libmd-dev libpng-dev libmatio-dev libcriterion-dev iverilog verilator python3-numpy
dataset-fashion-mnist"

missing=""
for package in $packages; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
if [ -z "$missing" ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "setup: this system has no apt-get; install what corresponds to:$missing" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "setup: packages are missing; as root:  apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
echo "setup: installing$missing"
apt-get update -qq
# shellcheck disable=SC2086 # the list is words on purpose
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
echo "setup: done"
