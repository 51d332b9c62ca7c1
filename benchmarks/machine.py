"""What the benchmarks' scripts share: a description of the machine, its short name, and files of results.

usage: machine.py [cpu|cuda] prints the short name

A file of results is an object: {"machine": {...}, "kind": "compare", ...}; its name is KIND-MACHINE.json.
"""

import datetime
import json
import os
import pathlib
import platform
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
RESULTS = HERE / "results"

# AMD's family numbers in /proc/cpuinfo; 23 and 25 are two generations each, told apart by the model number
ZEN = {23: ((0x30, "zen"), (0x100, "zen2")), 25: ((0x10, "zen3"), (0x20, "zen4"), (0x60, "zen3"), (0x100, "zen4")),
       26: ((0x100, "zen5"),)}


def answer(*command):
    """What a command prints, or "" where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def read(path):
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return ""


def slug(text):
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def cpu_fields():
    lines = read("/proc/cpuinfo").split("\n\n")[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def cores():
    return len(os.sched_getaffinity(0))


def cpu_name(fields):
    if fields.get("vendor_id") == "AuthenticAMD":
        model = int(fields.get("model", "0"))
        for limit, name in ZEN.get(int(fields.get("cpu family", "0")), ()):
            if model < limit:
                return name
    return slug(re.sub(r"\(.*?\)|CPU|@.*", "", fields.get("model name", platform.machine())))


def gpu():
    """Name, driver, memory and clocks; "" where there is none."""
    fields = "name,driver_version,memory.total,clocks.sm,clocks.max.sm,clocks.mem"
    return answer("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader").partition("\n")[0]


def short_name(device):
    if device == "cuda":
        found = gpu().partition(",")[0] or "unknown"
        return slug(found.replace("NVIDIA", "").replace("80GB", "").replace("HBM3", ""))
    return f"cpu-{cpu_name(cpu_fields())}-{cores()}cores"


def describe(device):
    fields = cpu_fields()
    facts = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": answer("git", "describe", "--always", "--dirty") or "unknown",
        "cpu": f"{fields.get('model name', 'unknown')} ({cpu_name(fields)})",
        "cores": cores(),
        "cpu_mhz": fields.get("cpu MHz", ""),
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "not shown",
        "load": [round(load, 2) for load in os.getloadavg()],
        "system": f"{platform.system()} {platform.release()}",
        "compiler": answer("cc", "--version").partition("\n")[0],
    }
    if device == "cuda":
        facts["gpu"] = gpu()
        facts["nvcc"] = answer("nvcc", "--version").splitlines()[-2:-1]
    return facts


def say(text):
    print(text, file=sys.stderr, flush=True)


def add_arguments(parser):
    parser.add_argument("build", type=pathlib.Path, help="folder of the built benchmarks")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--machine", help="its name in names of files (found out)")
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS, help="folder of results (results)")
    parser.add_argument("--budget", type=float, default=86400.0, help="seconds after which nothing more is begun")


def save(args, kind, result):
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{kind}-{args.machine or short_name(args.device)}.json"
    path.write_text(json.dumps({"kind": kind, "machine": describe(args.device)} | result, indent=1) + "\n")


if __name__ == "__main__":
    print(short_name(sys.argv[1] if len(sys.argv) > 1 else "cpu"))
