"""Times detent's training step beside its peers', in paired rounds: ours, theirs, theirs, ours, ...

usage: compare.py BUILD [--device cpu|cuda] [--networks vgg16 ...] [--batch N ...] [--rounds N] [--budget SECONDS]

Ours stays warm through all contests of a batch size, a peer through its rounds: both wait for a line, time some steps
and answer (--serve), so that what is compiled is compiled once, and each pair of rounds sees the same machine. A
contest's ratio is the median of its pairs'. Peers of a GPU get warm all at the same time, but for those that tune
themselves by the clock. Batch sizes share what is left of the budget. PYTHON names the interpreter that has torch
(python3); what cannot run is left out, with the reason. Results: step-MACHINE.json of vgg16, capsules-MACHINE.json of the capsule networks.
"""

import argparse
import collections
import json
import os
import pathlib
import selectors
import statistics
import subprocess
import tempfile
import time

import machine

Contestant = collections.namedtuple("Contestant", "name options")

# Most wanted first: a budget may end the list early.
VGG16_CPU = [
    Contestant("PyTorch eager", ["--mode", "eager"]),
    Contestant("PyTorch compiled, bf16 autocast", ["--mode", "compile", "--amp", "bf16"]),
    Contestant("Brevitas", ["--quantizer", "brevitas"]),
    Contestant("PyTorch channels last, bf16 autocast", ["--mode", "channels_last", "--amp", "bf16"]),
    Contestant("PyTorch channels last", ["--mode", "channels_last"]),
    Contestant("PyTorch compiled", ["--mode", "compile"]),
    Contestant("detent f32", ["--precision", "f32"]),
    Contestant("Brevitas, channels last, bf16 autocast",
               ["--quantizer", "brevitas", "--mode", "channels_last", "--amp", "bf16"]),
    Contestant("PyTorch without quantizers, compiled, bf16 autocast",
               ["--quantizer", "none", "--mode", "compile", "--amp", "bf16"]),
]
VGG16_CUDA = [
    Contestant("PyTorch eager", ["--mode", "eager"]),
    Contestant("PyTorch compiled, max-autotune, bf16 autocast", ["--mode", "compile_max", "--amp", "bf16"]),
    Contestant("Brevitas", ["--quantizer", "brevitas"]),
    Contestant("PyTorch channels last, bf16 autocast", ["--mode", "channels_last", "--amp", "bf16"]),
    Contestant("PyTorch compiled, bf16 autocast", ["--mode", "compile", "--amp", "bf16"]),
    Contestant("PyTorch compiled, fp16 autocast", ["--mode", "compile", "--amp", "fp16"]),
    Contestant("detent f32", ["--precision", "f32"]),
    Contestant("Brevitas, channels last, bf16 autocast",
               ["--quantizer", "brevitas", "--mode", "channels_last", "--amp", "bf16"]),
    Contestant("PyTorch without quantizers, compiled, max-autotune, bf16 autocast",
               ["--quantizer", "none", "--mode", "compile_max", "--amp", "bf16"]),
]
CAPSULES = [
    Contestant("PyTorch eager, broadcast", ["--variant", "broadcast"]),
    Contestant("PyTorch eager, einsum", ["--variant", "einsum"]),
    Contestant("PyTorch channels last, einsum", ["--variant", "einsum", "--mode", "channels_last"]),
    Contestant("detent f32", ["--precision", "f32"]),
]
VGG16_OPTIONS = ["--choke", "16", "--wbits", "4", "--abits", "2"]


class Server:
    """A program that times a round for each line it reads, once it is warm."""

    def __init__(self, command):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)
        self.unread = b""
        self.is_warm = False

    def warm(self, seconds):
        if not self.is_warm:
            self.answer(seconds)
        self.is_warm = True

    def line(self, deadline):
        while b"\n" not in self.unread:
            if not self.selector.select(max(1.0, deadline - time.monotonic())):
                raise RuntimeError("no answer in time")
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                self.log.seek(0)
                raise RuntimeError((self.log.read().strip().splitlines() or ["it ended without a word"])[-1])
            self.unread += more
        line, _, self.unread = self.unread.partition(b"\n")
        return line

    def answer(self, seconds):
        """The next object on its output; other lines are a library's chatter."""
        deadline = time.monotonic() + seconds
        while True:
            line = self.line(deadline)
            if line.startswith(b"{"):
                return json.loads(line)

    def round(self, seconds):
        try:
            self.process.stdin.write(b"go\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer says why
        return self.answer(seconds)

    def stop(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.kill()
        self.process.wait()
        self.log.close()


class Bench:
    def __init__(self, args):
        self.args = args
        self.deadline = self.end = time.monotonic() + args.budget
        self.started = {}  # contestants that are getting warm
        self.python = os.environ.get("PYTHON", "python3")
        self.has_torch = not subprocess.run([self.python, "-c", "import torch"], capture_output=True).returncode
        self.has_brevitas = not subprocess.run([self.python, "-c", "import brevitas"], capture_output=True).returncode
        data = machine.answer(str(args.build.resolve() / "detent"), "data")
        self.has_fashion = data.partition("fashion-mnist:")[2].partition("\n")[2].lstrip().startswith("found in")

    def left(self):
        return self.deadline - time.monotonic()

    def share(self, n_runs):
        """The next of n runs has its share of what is left of the budget."""
        now = time.monotonic()
        self.deadline = now + (self.end - now) / n_runs

    def pace(self, batch, is_peer):
        """Options for how many steps a round has: a second or two of them on a CPU, a tenth or more on a GPU."""
        if self.args.quick:
            return ["--steps", "2", "--warmup", "2"]
        if self.args.device == "cuda":
            steps = max(8, min(32 if is_peer else 128, 16384 // batch // 8 * 8))
            return ["--steps", str(steps), "--together", "8", "--warmup", "3" if is_peer else "8"]
        steps = (512 if is_peer else 1024) // batch
        return ["--steps", str(max(2, min(steps, 16))), "--warmup", "3"]

    def ours(self, network, batch, options):
        model = VGG16_OPTIONS if network == "vgg16" else ["--model", network]
        if network != "vgg16":
            model += ["--dataset", "fashion-mnist"] if self.has_fashion else ["--size", "28"]
        return [str(self.args.build / "bench_step"), "--serve", "--device", self.args.device, "--batch", str(batch),
                *self.pace(batch, False), *model, *options]

    def theirs(self, network, batch, options):
        script = machine.HERE / "peers" / ("vgg16_torch.py" if network == "vgg16" else "capsnet_torch.py")
        model = VGG16_OPTIONS if network == "vgg16" else ["--model", network]
        return [self.python, str(script), "--serve", "--device", self.args.device, "--batch", str(batch),
                "--threads", str(machine.cores()), *self.pace(batch, True), *model, *options]

    def refusal(self, contestant):
        if contestant.name.startswith("detent"):
            return None
        if not self.has_torch:
            return f"{self.python} has no torch"
        if "brevitas" in contestant.options and not self.has_brevitas:
            return f"{self.python} has no brevitas"
        return None

    def pairs(self, ours, peer):
        """[(our answer, the peer's answer), ...]; who goes first changes from round to round."""
        rounds = []
        for number in range(self.args.rounds):
            if rounds and self.left() < 0:
                break
            seconds = max(60.0, self.left())
            first, second = (ours, peer) if number % 2 == 0 else (peer, ours)
            answers = [first.round(seconds), second.round(seconds)]
            rounds.append(answers if number % 2 == 0 else answers[::-1])
        return rounds

    def start(self, network, batch, contestant):
        command = self.ours if contestant.name.startswith("detent") else self.theirs
        return Server(command(network, batch, contestant.options))

    def contest(self, ours, network, batch, contestant):
        result = {"network": network, "batch": batch, "name": contestant.name}
        reason = self.refusal(contestant) or ("no time was left" if self.left() < 10 else None)
        if reason:
            return result | {"skipped": reason}
        peer = self.started.get(contestant.name) or self.start(network, batch, contestant)
        self.started[contestant.name] = peer
        peer.warm(min(self.args.start, self.left()))
        rounds = self.pairs(ours, peer)
        peer.stop()
        del self.started[contestant.name]
        mine, other = ([answer[side]["images_per_s"] for answer in rounds] for side in (0, 1))
        ratios = [a / b for a, b in zip(mine, other)]
        return result | {"ours": mine, "peer": other, "ratio": round(statistics.median(ratios), 4),
                         "ratios": [round(ratio, 4) for ratio in ratios], "peer_images_per_s": statistics.median(other),
                         "ours_images_per_s": statistics.median(mine), "ours_last": rounds[-1][0],
                         "peer_last": rounds[-1][1]}

    def warm_together(self, network, batch, contestants):
        for contestant in contestants:
            if self.args.device == "cuda" and "compile_max" not in contestant.options and not self.refusal(contestant):
                self.started[contestant.name] = self.start(network, batch, contestant)
        for server in self.started.values():
            try:
                server.warm(min(self.args.start, self.left()))
            except RuntimeError:
                pass  # its contest will say so

    def alone(self, ours, network, batch):
        answers = [ours.round(600.0) for _ in range(self.args.rounds)]
        mine = [answer["images_per_s"] for answer in answers]
        return {"network": network, "batch": batch, "name": "detent", "ours": mine,
                "ours_images_per_s": statistics.median(mine), "ours_last": answers[-1]}

    def contests(self, ours, network, batch, contestants):
        self.warm_together(network, batch, contestants)
        for contestant in contestants:
            try:
                result = self.contest(ours, network, batch, contestant)
            except RuntimeError as reason:
                result = {"network": network, "batch": batch, "name": contestant.name, "skipped": str(reason)}
            yield result

    def run(self, network, batch, contestants):
        """Yields the result of each contest at one batch size."""
        ours = Server(self.ours(network, batch, []))
        found = False
        try:
            ours.warm(self.args.start)
            for result in self.contests(ours, network, batch, contestants):
                found = found or "ours" in result
                yield result
            if not found:  # nobody to compare with
                yield self.alone(ours, network, batch)
        except RuntimeError as reason:
            yield {"network": network, "batch": batch, "name": "detent", "skipped": str(reason)}
        finally:
            for server in [ours, *self.started.values()]:
                server.stop()
            self.started = {}


def line_of(result):
    head = f"{result['network']} batch {result['batch']}: {result['name']}"
    if "skipped" in result:
        return f"{head}: skipped, {result['skipped']}"
    if "ratio" not in result:
        return f"{head}: {result['ours_images_per_s']:.0f} images/s"
    return (f"{head}: {result['peer_images_per_s']:.0f} images/s, detent {result['ours_images_per_s']:.0f}: "
            f"{result['ratio']:.2f}x ({min(result['ratios']):.2f} to {max(result['ratios']):.2f})")


def parse_arguments():
    parser = argparse.ArgumentParser(description="Times detent's training step beside its peers', in paired rounds.")
    machine.add_arguments(parser)
    parser.add_argument("--networks", nargs="+", choices=["vgg16", "shallowcaps", "deepcaps"], default=["vgg16"])
    parser.add_argument("--batch", nargs="+", type=int, help="of vgg16 (128; with cuda 128 512)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--start", type=float, default=300.0, help="seconds that a program may take to be warm")
    parser.add_argument("--peers", help="only contestants whose name has this in it")
    parser.add_argument("--quick", action="store_true", help="two steps a round: does it run?")
    return parser.parse_args()


def runs_of(args):
    """[(network, batch, contestants)]"""
    on_gpu = args.device == "cuda"
    runs = []
    for network in args.networks:
        contestants = (VGG16_CUDA if on_gpu else VGG16_CPU) if network == "vgg16" else CAPSULES
        contestants = [c for c in contestants if not args.peers or args.peers in c.name]
        batches = args.batch or ([128, 512] if on_gpu else [128])
        runs += [(network, batch, contestants) for batch in (batches if network == "vgg16" else [100])]
    return runs


def main():
    args = parse_arguments()
    bench = Bench(args)
    results = {"step": [], "capsules": []}
    runs = runs_of(args)
    for number, run in enumerate(runs):
        bench.share(len(runs) - number)
        kind = "step" if run[0] == "vgg16" else "capsules"
        for result in bench.run(*run):
            machine.say(line_of(result))
            results[kind].append(result)
            machine.save(args, kind, {"contests": results[kind]})  # so that what is cut off keeps what it has


if __name__ == "__main__":
    main()
