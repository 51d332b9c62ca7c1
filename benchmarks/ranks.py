"""Whether ranks are as fast as threads: whole trainings in pairs, one rank of N threads beside N ranks of one thread.

usage: ranks.py BUILD [--ranks N] [--pairs N] [--steps N] [--batch N]

VGG16 w4a2 choke 16 on synthetic images. The two of a pair follow each other, and the next pair begins with the other
one. A pair's ratio is images/s of the ranks divided by those of the one rank, of the epoch: with the first step, and
with what a run does once (it looks at its clips) or at an epoch's end. The ratio of steps is that of the median step
alone, which is what a long run has. A third ratio is that of their CPU time, user and system, which says more where
others use the machine. The answer is the median over pairs. DETENT_LINKS=tcp lets ranks sum by TCP. Results:
ranks-MACHINE.json.
"""

import argparse
import json
import pathlib
import resource
import statistics
import subprocess
import tempfile
import time

import machine

NETWORK = "--model vgg16 --choke 16 --wbits 4 --abits 2 --dataset synthetic --device cpu --seed 7 --epochs 1 --quiet"
TINY = "--model tiny --dataset synthetic --device cpu --seed 7 --epochs 1 --quiet"


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def train(args, ranks, folder):
    """{"images_per_s", "step_s", "cpu_s"} of one training; evaluation is of a few images."""
    network = TINY if args.quick else NETWORK
    command = [str(args.build / "detent"), "train", *network.split(), "--out", folder, "--force"]
    command += ["--batch", str(args.batch), "--train-size", str(args.batch * args.steps), "--test-size", "20"]
    command += ["--ranks", str(ranks), "--threads", str(args.ranks // ranks), "--log-every", "1"]
    before = cpu_seconds()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    used = cpu_seconds() - before
    lines = [json.loads(line) for line in (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines()]
    steps = [line["batch_s"] for line in lines if line.get("event") == "step"]
    return {"images_per_s": lines[-1]["images_per_s"], "step_s": statistics.median(steps[1:]), "cpu_s": used}


def pair(args, number, folder):
    order = (1, args.ranks) if number % 2 == 0 else (args.ranks, 1)
    found = {ranks: train(args, ranks, folder) for ranks in order}
    one, many = found[1], found[args.ranks]
    return {"one": one, "many": many, "ratio": many["images_per_s"] / one["images_per_s"],
            "step_ratio": one["step_s"] / many["step_s"], "cpu_ratio": one["cpu_s"] / many["cpu_s"]}


def main():
    parser = argparse.ArgumentParser(description="Compares ranks with threads.")
    machine.add_arguments(parser)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="of a training")
    parser.add_argument("--batch", type=int, default=128, help="of all ranks together")
    parser.add_argument("--quick", action="store_true", help="tiny settings: does it run?")
    args = parser.parse_args()
    if args.quick:
        args.pairs, args.steps, args.batch = 1, 3, 16
    deadline = time.monotonic() + args.budget
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        while len(pairs) < args.pairs and (not pairs or time.monotonic() < deadline):
            pairs.append(pair(args, len(pairs), folder + "/run"))
            machine.say("pair {}: {one[images_per_s]:.1f} and {many[images_per_s]:.1f} images/s, ratio {ratio:.3f}, of "
                        "steps {step_ratio:.3f}, of CPU time {cpu_ratio:.3f}".format(len(pairs), **pairs[-1]))
    result = {"ranks": args.ranks, "batch": args.batch, "steps": args.steps, "pairs": pairs,
              **{name: statistics.median(p[name] for p in pairs) for name in ("ratio", "step_ratio", "cpu_ratio")}}
    machine.say("{ranks} ranks: {ratio:.3f} of one rank's images/s; of steps {step_ratio:.3f}; by CPU time "
                "{cpu_ratio:.3f}".format(**result))
    machine.save(args, "ranks", result)


if __name__ == "__main__":
    main()
