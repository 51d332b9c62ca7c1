#!/bin/sh
# Made program_v1_scores.txt with the last build that wrote programs of version 1 (commit 640efec): the C that it wrote
# of files/program_v1.safetensors, run on four images of numbers.  sh make_program_v1_golden.sh DETENT
set -eu
detent=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
"$detent" export --checkpoint "$here/files/program_v1.safetensors" --to c --out "$work/c" >&2
cat >"$work/main.c" <<'END'
#include "c/network.h"

#include <stdio.h>

enum { PIXELS = NETWORK_HEIGHT * NETWORK_WIDTH * NETWORK_CHANNELS };

int main(void)
{
    for (int n = 0; n < 4; n++) {
        uint8_t image[PIXELS];
        float scores[NETWORK_CLASSES];
        for (int i = 0; i < PIXELS; i++) image[i] = (uint8_t)(i / (n + 1) * (2 * n + 1) + 50 * n);
        network_run(image, scores);
        for (int o = 0; o < NETWORK_CLASSES; o++) printf("%a%c", (double)scores[o], o + 1 < NETWORK_CLASSES ? ' ' : '\n');
    }
    return 0;
}
END
cc -O1 -I "$work" -o "$work/main" "$work/main.c" "$work/c/network.c"
"$work/main" >"$here/program_v1_scores.txt"
