"""What the peers share: their options, the timing of a training step, and the result as one JSON object.

Times cover zero_grad, forward, loss, backward and the update, of --together steps that are waited for once. peak_mib is
the process's resident peak on a CPU (base_mib of it before the first step) and the allocator's on a GPU.

--mode eager is the network as it is written. The others are what PyTorch offers to make it faster: channels_last, and
with it a fused optimiser; compile, both and torch.compile; compile_max, the same with mode="max-autotune". --amp adds
autocast, with fp16 a gradient scaler too.

--serve: warmed up, it says so with a line {"ready": true}, and times --steps steps for each line that it reads.
"""

import json
import resource
import statistics
import sys
import time

import torch

AMP = {"bf16": torch.bfloat16, "fp16": torch.float16}


def add_arguments(parser, batch):
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--steps", type=int, default=10, help="timed steps")
    parser.add_argument("--warmup", type=int, default=2, help="untimed steps before them")
    parser.add_argument("--together", type=int, default=1, help="steps in a row before the device is waited for")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--mode", choices=["eager", "channels_last", "compile", "compile_max"], default="eager")
    parser.add_argument("--amp", choices=sorted(AMP), help="autocast to 16 bits")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--serve", action="store_true", help="--json again for each line read")


def prepare(model, images, args):
    """The model and its images in the memory format and the form that --mode asks for."""
    if args.mode != "eager":
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    if args.mode == "compile":
        model = torch.compile(model)
    if args.mode == "compile_max":
        model = torch.compile(model, mode="max-autotune")
    return model, images


def make_step(loss_of, optimizer, args):
    """loss_of() gives the loss of a batch; the step trains once and returns it."""
    scaler = torch.amp.GradScaler(args.device, enabled=args.amp == "fp16")

    def step():
        optimizer.zero_grad()
        with torch.autocast(args.device, dtype=AMP.get(args.amp), enabled=args.amp is not None):
            loss = loss_of()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    return step


def timed_steps(step, args):
    """Milliseconds of a step, of args.together that are waited for once; the last loss."""
    start = time.perf_counter()
    for _ in range(args.together):
        loss = step()
    if args.device == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start) / args.together, loss.item()


def run(step, args, facts):
    """Times step() as the options say, and prints the result with the facts about what it was."""
    base = resident_peak_mib()
    warm = [timed_steps(step, args)[1] for _ in range(args.warmup)]

    def one_round():
        rounds = [timed_steps(step, args) for _ in range(max(1, args.steps // args.together))]
        return report(args, [ms for ms, _ in rounds], (warm or [rounds[0][1]])[0], rounds[-1][1], base) | facts

    if not args.serve:
        print_result(one_round(), args.json)
        return
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(one_round()), flush=True)


def resident_peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(args, times, first_loss, last_loss, base):
    median, best = statistics.median(times), min(times)
    on_gpu = args.device == "cuda"
    return {
        "images_per_s": round(1e3 * args.batch / median, 2),
        "images_per_s_best": round(1e3 * args.batch / best, 2),
        "step_ms": {"median": round(median, 3), "min": round(best, 3)},
        "steps": len(times) * args.together,
        "together": args.together,
        "peak_mib": round(torch.cuda.max_memory_allocated() / 2**20 if on_gpu else resident_peak_mib(), 1),
        "base_mib": round(base, 1),
        "loss_first": round(first_loss, 4),
        "loss_last": round(last_loss, 4),
        "torch_version": torch.__version__,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "mode": args.mode,
        "amp": args.amp,
        "tf32_conv": on_gpu and torch.backends.cudnn.allow_tf32,
        "threads": args.threads,
    }


def print_result(result, as_json):
    if as_json:
        print(json.dumps(result))
    else:
        print(f"{result['images_per_s']} images/s, step {result['step_ms']['median']} ms (median), "
              f"{result['step_ms']['min']} ms (min), peak {result['peak_mib']} MiB, "
              f"loss {result['loss_first']} -> {result['loss_last']}")
