"""How the cost grows: the step with the batch and with the bits, an epoch with the number of images.

usage: scaling.py BUILD [--device cpu|cuda] [--budget SECONDS]

Each series gets the straight line a + b n of least squares, and R^2: the share of the variance that the line explains.
a is what a step costs whatever its batch (launches, weights, the update), 1/b the images/s that larger batches
approach. Series are run in --rounds turns, and each point is the median of its turns. Results: scaling-MACHINE.json.
"""

import argparse
import json
import statistics
import subprocess
import time

import machine

BATCHES = {"cpu": [32, 64, 128, 256, 512], "cuda": [32, 64, 128, 256, 512, 1024, 2048]}
BITS = [("w4a4", "4", "4"), ("w4a2", "4", "2"), ("w2a2", "2", "2"), ("w8a8", "8", "8"), ("float", "32", "32")]
IMAGES = {"cpu": [1024, 2048, 4096], "cuda": [10000, 20000, 40000, 80000]}


def fit(points):
    """{"a", "b", "r2"} of y = a + b x over [(x, y), ...]."""
    n = len(points)
    mean_x, mean_y = (sum(p[k] for p in points) / n for k in (0, 1))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    b = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    a = mean_y - b * mean_x
    total = sum((y - mean_y) ** 2 for _, y in points)
    rest = sum((y - a - b * x) ** 2 for x, y in points)
    return {"a": a, "b": b, "r2": 1.0 - rest / total if total > 0 else 1.0}


class Series:
    """Points (x, command, what of the answer is y), measured turn by turn."""

    def __init__(self, name, unit, points):
        self.name, self.unit, self.points = name, unit, points
        self.turns = {x: [] for x, _ in points}

    def turn(self, deadline, value):
        for x, command in self.points:
            left = deadline - time.monotonic()
            if left < 3:
                return
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=left)
            except subprocess.TimeoutExpired:
                return
            if done.returncode:
                machine.say(f"{self.name} {x}: {(done.stderr.strip().splitlines() or ['failed'])[0]}")
                continue
            self.turns[x].append(value(json.loads(done.stdout)))

    def result(self):
        points = [(x, statistics.median(turns)) for x, turns in self.turns.items() if turns]
        answer = {"name": self.name, "unit": self.unit, "points": points, "turns": list(self.turns.values())}
        if len(points) > 2 and not isinstance(points[0][0], str):
            answer["fit"] = fit(points)
        return answer


def step_command(args, batch, wbits, abits):
    if args.quick:
        pace = ["--steps", "2", "--warmup", "2"]
    elif args.device == "cuda":
        pace = ["--steps", str(max(16, min(256, 32768 // batch // 8 * 8))), "--together", "8", "--warmup", "8"]
    else:
        pace = ["--steps", str(max(3, min(12, 768 // batch))), "--warmup", "2"]
    return [str(args.build / "bench_step"), "--json", "--device", args.device, "--batch", str(batch), "--wbits", wbits,
            "--abits", abits, *pace]


def epoch_command(args, images):
    return [str(args.build / "bench_train"), "--json", "--device", args.device, "--images", str(images),
            "--test-images", "0", "--epochs", "1" if args.device == "cpu" else "3", "--batch", str(args.epoch_batch)]


def series_of(args):
    batches = args.batches or ([8, 16, 32] if args.quick else BATCHES[args.device])
    images = args.images or ([64, 128, 192] if args.quick else IMAGES[args.device])
    step = lambda answer: answer["step_ms"]["median"]
    last_epoch = lambda answer: answer["epoch_s"][-1]
    return [
        (Series("batch", "ms", [(n, step_command(args, n, "4", "2")) for n in batches]), step),
        (Series("bits", "ms", [(name, step_command(args, args.epoch_batch, w, a)) for name, w, a in BITS]), step),
        (Series("images", "s", [(n, epoch_command(args, n)) for n in images]), last_epoch),
    ]


def main():
    parser = argparse.ArgumentParser(description="Measures how the cost of training grows.")
    machine.add_arguments(parser)
    parser.add_argument("--batches", nargs="+", type=int)
    parser.add_argument("--images", nargs="+", type=int, help="of an epoch")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="tiny settings: does it run?")
    args = parser.parse_args()
    args.epoch_batch = 16 if args.quick else 128
    deadline = time.monotonic() + args.budget
    all_series = series_of(args)
    for number in range(args.rounds):
        for series, value in all_series:
            series.turn(deadline, value)
        machine.say(f"scaling: turn {number + 1} of {args.rounds}")
    results = [series.result() for series, _ in all_series]
    for result in results:
        if "fit" in result:
            machine.say("{name}: {fit[a]:.4g} + {fit[b]:.4g} n {unit}, R^2 {fit[r2]:.5f}".format(**result))
    machine.save(args, "scaling", {"batch_of_bits_and_images": args.epoch_batch, "series": results})


if __name__ == "__main__":
    main()
