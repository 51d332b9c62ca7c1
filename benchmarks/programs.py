"""Runs bench_ops (every kernel beside its ceiling) and bench_train (epochs with evaluation and checkpoints).

usage: programs.py BUILD [--device cpu|cuda] [--parts ops train] [--budget SECONDS]

Results: ops-MACHINE.json and train-MACHINE.json, each the objects that the program printed.
"""

import argparse
import json
import subprocess
import time

import machine

# Most wanted first: a budget may end the list early.
OPS = {
    "cpu": [["--batch", "128"], ["--batch", "512"], ["--model", "shallowcaps", "--size", "28", "--batch", "100"],
            ["--model", "deepcaps", "--size", "28", "--batch", "100"]],
    "cuda": [["--batch", "128"], ["--batch", "512"], ["--batch", "2048"],
             ["--model", "shallowcaps", "--size", "28", "--batch", "100"],
             ["--model", "deepcaps", "--size", "64", "--decoder", "conv64", "--batch", "100"]],
}
TRAIN = {
    "cpu": [["--images", "4096", "--test-images", "1024", "--epochs", "2"]],
    "cuda": [["--images", "50000", "--test-images", "10000", "--epochs", "10", "--batch", batch]
             for batch in ("128", "512")],
}
QUICK = {"ops": [["--batch", "16", "--rounds", "2"]],
         "train": [["--images", "128", "--test-images", "32", "--epochs", "2", "--batch", "32"]]}


def run_all(args, part, settings, begin):
    """What the program printed for each of the settings, or why it did not."""
    results = []
    for options in settings:
        left = args.budget - (time.monotonic() - begin)
        words = " ".join(options)
        if left < 5:
            results.append({"options": words, "skipped": "no time was left"})
            continue
        command = [str(args.build / f"bench_{part}"), "--json", "--device", args.device, *options]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=left)
            answer = json.loads(done.stdout) if done.returncode == 0 else {
                "skipped": (done.stderr.strip().splitlines() or ["it ended without a word"])[0]}
        except subprocess.TimeoutExpired:
            answer = {"skipped": f"took more than the {left:.0f} s that were left"}
        results.append({"options": words} | answer)
        machine.say(f"{part}, {words}: " + answer.get("skipped", "done"))
    return results


def main():
    parser = argparse.ArgumentParser(description="Runs bench_ops and bench_train.")
    machine.add_arguments(parser)
    parser.add_argument("--parts", nargs="+", choices=["ops", "train"], default=["ops", "train"])
    parser.add_argument("--rounds", default="10", help="of bench_ops")
    parser.add_argument("--quick", action="store_true", help="tiny settings: does it run?")
    args = parser.parse_args()
    begin = time.monotonic()
    for part in args.parts:
        settings = QUICK[part] if args.quick else {"ops": OPS, "train": TRAIN}[part][args.device]
        if part == "ops":
            settings = [["--rounds", args.rounds, *options] for options in settings]
        machine.save(args, part, {"runs": run_all(args, part, settings, begin)})


if __name__ == "__main__":
    main()
