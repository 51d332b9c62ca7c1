#!/bin/sh
# newcomer.sh - walks a newcomer's path on bare Debian 12 systems, made for it by debootstrap, and times each step: the
# two commands of README.md, the Debian packages, the Python package and its fifteen lines, the examples against the
# installed library. The sources are those of the last commit.
#
#   scripts/newcomer.sh FOLDER     as root; FOLDER is made, and holds both systems: remove it afterwards
#
# Packages come from the host's mirror, or from that of the variable MIRROR. Half an hour on 2 cores of a Xeon with AMX.
# shellcheck disable=SC2016 # what is in single quotes is expanded by apt, or inside a system
set -eu
cd "$(dirname "$0")/.."
fail() {
    echo "newcomer: $*" >&2
    exit 1
}
[ $# -eq 1 ] || fail "usage: scripts/newcomer.sh FOLDER"
[ "$(id -u)" -eq 0 ] || fail "making a system needs root"
command -v debootstrap >/dev/null || fail "debootstrap is missing (apt-get install debootstrap)"
[ ! -e "$1" ] || fail "$1 is there already; remove it, or name another folder"
mirror=${MIRROR:-$(apt-get indextargets --format '$(SITE)' 'Codename: bookworm' | head -1)}
[ -n "$mirror" ] || fail "the host has no mirror of Debian 12; set MIRROR"
mkdir -p "$1"
folder=$(cd "$1" && pwd)
table=$folder/times.txt
: >"$table"

# step WHAT COMMAND...: its time goes into the table; its output into WHAT.log
step() {
    what=$1
    shift
    log=$folder/$(echo "$what" | tr -c 'a-z0-9\n' '_').log
    echo "== $what"
    began=$(date +%s)
    "$@" >"$log" 2>&1 || {
        tail -n 40 "$log" >&2
        fail "'$what' failed; all of it is in $log"
    }
    seconds=$(($(date +%s) - began))
    printf '%-52s %3d:%02d\n' "$what" $((seconds / 60)) $((seconds % 60)) | tee -a "$table"
}

# inside SYSTEM COMMAND: as root in that system, with /proc and an environment that knows nothing of the host's
inside() {
    unshare --mount --pid --fork sh -c 'mount -t proc proc "$0/proc" && exec chroot "$0" /usr/bin/env -i \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        sh -euc "$1"' "$folder/$1" "$2"
}

bare_system() { # name
    debootstrap --variant=minbase bookworm "$folder/$1" "$mirror"
    cp /etc/resolv.conf "$folder/$1/etc/resolv.conf"
    echo "127.0.0.1 localhost" >"$folder/$1/etc/hosts" # which Debian's installer writes, and debootstrap does not
}

# ---- who has the sources

step "a bare system" bare_system sources
mkdir "$folder/sources/detent"
git archive HEAD | tar -x -C "$folder/sources/detent"
step "./run demo, with installing and building" inside sources 'cd /detent && ./run demo'
step "./run test" inside sources 'cd /detent && ./run test'
step "what packages are built with" inside sources 'cd /detent && apt-get install -qq debhelper && apt-get build-dep -qq ./'
step "dpkg-buildpackage" inside sources 'cp -r /detent /package && cd /package && rm -rf build runs && dpkg-buildpackage -b -us -uc'
step "pip wheel" inside sources 'apt-get install -qq python3-pip python3-setuptools python3-wheel
    pip wheel -q --no-deps --no-build-isolation -w /wheels /detent/python'

# ---- who installs packages

step "another bare system" bare_system packages
cp "$folder"/sources/*.deb "$folder"/sources/wheels/*.whl "$folder/packages/"
cp -r examples "$folder/packages/examples"
awk '/^```python/ { on = 1; next } /^```/ { on = 0 } on' python/README.md >"$folder/packages/fifteen_lines.py"
step "apt install ./detent*.deb" inside packages \
    'apt-get install -qq ./detent_*.deb ./libdetent0.1_*.deb ./libdetent-dev_*.deb && detent --version'
step "detent train, verify, export, capture" inside packages '
    detent train --recipe w4a2 --dataset synthetic --train-size 512 --test-size 64 --epochs 1 --out run
    detent verify run/last.safetensors --images 10
    detent export run/last.safetensors --to program --out net.safetensors
    detent capture run/last.safetensors --layer features.27 --index 0 --out capture.safetensors'
step "pip install of the wheel, and its fifteen lines" inside packages '
    apt-get install -qq python3-venv python3-numpy && python3 -m venv --system-site-packages env
    env/bin/pip install -q --no-deps ./detent-*.whl && env/bin/python3 fifteen_lines.py'
step "examples against the installed library" inside packages '
    apt-get install -qq gcc libc6-dev pkg-config
    for example in train own_network infer; do
        gcc examples/$example.c -o $example $(pkg-config --cflags --libs detent) -lm
    done
    ./own_network /usr/share/detent/models/resnet8.json && ./infer stripes.program.safetensors'
echo
cat "$table"
