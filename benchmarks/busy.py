"""What training, evaluation and verify lose on a machine that others use too.

usage: busy.py BUILD [--rounds N] [--steps N]

VGG16 w4a2 choke 16 on synthetic images, with as many threads as there are CPUs. Each round runs each of the three on the
quiet machine; on the quiet machine with threads that spin while they wait, as libgomp has them by itself; and beside one
busy process a CPU, of the same priority. A round also runs two trainings at once. Each ratio is that of a round, to what
the quiet machine made in it, and the answer is the median over rounds. Results: busy-MACHINE.json.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import machine

NETWORK = ["--model", "vgg16", "--choke", "16", "--wbits", "4", "--abits", "2"]
SPINNING = {"GOMP_SPINCOUNT": "300000"}  # libgomp's own number


class Work:
    """The commands, and a folder with a checkpoint."""

    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        self.network = ["--model", "tiny"] if args.quick else NETWORK
        self.run(["train", *self.images(1), "--out", folder + "/start"], {})

    def images(self, steps):
        return [*self.network, "--dataset", "synthetic", "--device", "cpu", "--seed", "7", "--epochs", "1", "--quiet",
                "--batch", "128", "--train-size", str(128 * steps), "--test-size", "20"]

    def start(self, words, environment):
        clean = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
        return subprocess.Popen([str(self.args.build / "detent"), *words], env=clean | environment,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def run(self, words, environment):
        process = self.start(words, environment)
        text = process.communicate()[0]
        if process.returncode != 0:
            raise SystemExit(f"busy.py: detent {' '.join(words)} ended with {process.returncode}")
        return text

    def trainings(self, environment, count=1):
        """Images/s of so many at once, together."""
        folders = [f"{self.folder}/{k}" for k in range(count)]
        running = [self.start(["train", *self.images(self.args.steps), "--out", f, "--force"], environment)
                   for f in folders]
        for process in running:
            process.communicate()
        lines = [(pathlib.Path(f) / "metrics.jsonl").read_text().splitlines()[-1] for f in folders]
        return sum(json.loads(line)["images_per_s"] for line in lines)

    def checkpoint(self):
        return ["--checkpoint", self.folder + "/start/last.safetensors", "--dataset", "synthetic", "--device", "cpu"]

    def evaluation(self, environment):
        """Each is short, for there are no more images."""
        words = ["eval", *self.checkpoint(), "--json"]
        return statistics.median(json.loads(self.run(words, environment))["images_per_s"] for _ in range(7))

    def verify(self, environment):
        images, begun = self.args.steps * 16, time.monotonic()
        self.run(["verify", *self.checkpoint(), "--images", str(images)], environment)
        return images / (time.monotonic() - begun)


@contextlib.contextmanager
def busy_cpus():
    others = [subprocess.Popen(["yes"], stdout=subprocess.DEVNULL) for _ in range(machine.cores())]
    try:
        yield
    finally:
        for process in others:
            process.kill()
            process.wait()


def one_round(work):
    found = {}
    for name, measure in (("training", work.trainings), ("evaluation", work.evaluation), ("verify", work.verify)):
        images = {"quiet": measure({}), "spinning": measure(SPINNING)}
        with busy_cpus():
            images["busy"] = measure({})
        found[name] = {"images_per_s": images, "busy": images["busy"] / images["quiet"],
                       "to_spinning": images["quiet"] / images["spinning"]}
        machine.say("{}: {quiet:.0f} images/s, spinning {spinning:.0f}, beside busy CPUs {busy:.0f}".format(
            name, **images))
    two, one = work.trainings({}, 2), found["training"]["images_per_s"]["quiet"]
    machine.say(f"two trainings: {two:.0f} images/s together")
    return found | {"two_trainings": {"images_per_s": two, "to_one": two / one}}


def medians(rounds):
    median = {name: {ratio: statistics.median(r[name][ratio] for r in rounds) for ratio in ("busy", "to_spinning")}
              for name in ("training", "evaluation", "verify")}
    return median | {"two_trainings": {"to_one": statistics.median(r["two_trainings"]["to_one"] for r in rounds)}}


def main():
    parser = argparse.ArgumentParser(description="Measures what busy CPUs cost.")
    machine.add_arguments(parser)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40, help="of a training")
    parser.add_argument("--quick", action="store_true", help="tiny settings: does it run?")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.steps = 1, 2
    deadline, rounds = time.monotonic() + args.budget, []
    with tempfile.TemporaryDirectory() as folder:
        work = Work(args, folder)
        while len(rounds) < args.rounds and (not rounds or time.monotonic() < deadline):
            rounds.append(one_round(work))
    result = {"steps": args.steps, "rounds": rounds, "median": medians(rounds)}
    for name, ratios in result["median"].items():
        machine.say(name + ": " + ", ".join(f"{key.replace('_', ' ')} {value:.3f}" for key, value in ratios.items()))
    machine.save(args, "busy", result)


if __name__ == "__main__":
    main()
