"""psum_loops.py - tap psums of features.27 the way a notebook computes them: nested loops over tiles, taps and output
positions, one small product of torch tensors each. The peer of bench_accel.

Prints one JSON object: tap psums a second, the median of the rounds, checked against one convolution first.
"""

import argparse
import json
import statistics
import time

import torch


def tap_psums(x, w, rows):
    """x [C, H, W] codes, w [K, C, 3, 3] codes -> [tiles, 9, H * W, K]: sums over the channels of one tile."""
    channels, height, width = x.shape
    filters = w.shape[0]
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    tiles = channels // rows
    psum = torch.zeros(tiles, 9, height * width, filters)
    for tile in range(tiles):
        lanes = slice(tile * rows, (tile + 1) * rows)
        for kij in range(9):
            w_tap = w[:, lanes, kij // 3, kij % 3]
            for o_nij in range(height * width):
                h, v = o_nij // width + kij // 3, o_nij % width + kij % 3
                psum[tile, kij, o_nij] = w_tap @ padded[lanes, h, v]
    return psum


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--images", type=int, default=4, help="of one round")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    x = torch.randint(0, 4, (args.images, args.channels, 4, 4)).float()
    w = torch.randint(-7, 8, (args.channels, args.channels, 3, 3)).float()

    want = torch.nn.functional.conv2d(x, w, padding=1)
    got = torch.stack([tap_psums(image, w, args.rows).sum(dim=(0, 1)) for image in x])
    assert torch.equal(got.transpose(1, 2).reshape(want.shape), want), "the loops are wrong"

    seconds = []
    for _ in range(args.rounds):
        begin = time.perf_counter()
        for image in x:
            tap_psums(image, w, args.rows)
        seconds.append(time.perf_counter() - begin)
    n = args.images * args.channels // args.rows * 9 * 16 * args.channels
    print(json.dumps({"peer": "torch nested loops", "torch": torch.__version__,
                      "tap_psums_per_s": round(n / statistics.median(seconds))}))


if __name__ == "__main__":
    main()
