#!/bin/sh
# gpu_debs.sh - downloads the Debian packages that a bare machine with a GPU lacks to build detent, with all that those
# need, for scripts/gpu_check.sh to unpack there. Run it where apt-get reaches a mirror, with the Debian release that
# the GPU machine has (or an older one).
#
#   scripts/gpu_debs.sh [OUT]     OUT: the folder (gpu-debs); 42 packages, 12 MB on Debian 12
#
# Never among them: the C and C++ libraries and the compiler, of which the machine has its own.
set -eu
out=${1:-gpu-debs}
wanted="libcjson-dev libmd-dev libpng-dev zlib1g-dev libcriterion-dev pkgconf"
own='^(libc6|libc6-dev|libc-dev-bin|libc-bin|linux-libc-dev|libcrypt1|libcrypt-dev|libgcc-s1|libstdc\+\+6|gcc-[0-9]+-base)$'
own="$own|^(debconf.*|cdebconf|dpkg.*|perl.*|libperl.*|install-info|tar|rpcsvc-proto|libnsl.*|libtirpc.*)\$"

command -v apt-cache >/dev/null || {
    echo "gpu_debs: this system has no apt-cache; run it on Debian or Ubuntu" >&2
    exit 1
}
mkdir -p "$out"
# shellcheck disable=SC2086 # a list of words
packages=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances $wanted | grep '^[a-z0-9]' | grep -Ev ':|<' | grep -Ev "$own" | sort -u)
[ -n "$packages" ] || {
    echo "gpu_debs: apt knows none of: $wanted; run apt-get update" >&2
    exit 1
}
cd "$out"
rm -f ./*.deb # of an earlier list
# Downloading needs no root; where root runs this, apt's own user may not enter the folder.
# shellcheck disable=SC2086
apt-get -qq -o APT::Sandbox::User=root download $packages
echo "gpu_debs: $(find . -name '*.deb' | wc -l) packages, $(du -sk . | cut -f1) KiB, in $out"
