"""What the peers share: their options, the timing of a training step, and the result as one JSON object.

Times cover zero_grad, forward, loss, backward and the update; on a GPU each step ends with a synchronisation.
peak_mib is the process's resident peak on a CPU (base_mib of it before the first step) and the allocator's on a GPU.
"""

import json
import resource
import statistics
import time

import torch


def add_arguments(parser, batch):
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--steps", type=int, default=10, help="timed steps")
    parser.add_argument("--warmup", type=int, default=2, help="untimed steps before them")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--mode", choices=["eager", "channels_last", "compile"], default="eager")
    parser.add_argument("--amp", action="store_true", help="autocast to bfloat16")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def prepare(model, images, args):
    """The model and its images in the memory format and the form that --mode asks for."""
    if args.mode != "eager":
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    if args.mode == "compile":
        model = torch.compile(model)
    return model, images


def measure(step, args):
    """step() trains once and returns the loss."""
    base = resident_peak_mib()
    times, losses = [], []
    for number in range(args.warmup + args.steps):
        start = time.perf_counter()
        loss = step()
        if args.device == "cuda":
            torch.cuda.synchronize()
        if number >= args.warmup:
            times.append(1e3 * (time.perf_counter() - start))
        losses.append(loss.item())
    peak = torch.cuda.max_memory_allocated() / 2**20 if args.device == "cuda" else resident_peak_mib()
    return report(args, times, losses, base, peak)


def resident_peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(args, times, losses, base, peak):
    median, best = statistics.median(times), min(times)
    return {
        "images_per_s": round(1e3 * args.batch / median, 2),
        "images_per_s_best": round(1e3 * args.batch / best, 2),
        "step_ms": {"median": round(median, 2), "min": round(best, 2)},
        "steps": len(times),
        "peak_mib": round(peak, 1),
        "base_mib": round(base, 1),
        "loss_first": round(losses[0], 4),
        "loss_last": round(losses[-1], 4),
        "torch_version": torch.__version__,
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "mode": args.mode,
        "amp": args.amp,
        "tf32_conv": args.device == "cuda" and torch.backends.cudnn.allow_tf32,
        "threads": args.threads,
    }


def print_result(result, as_json):
    if as_json:
        print(json.dumps(result))
    else:
        print(f"{result['images_per_s']} images/s, step {result['step_ms']['median']} ms (median), "
              f"{result['step_ms']['min']} ms (min), peak {result['peak_mib']} MiB, "
              f"loss {result['loss_first']} -> {result['loss_last']}")
