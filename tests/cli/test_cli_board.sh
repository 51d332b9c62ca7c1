#!/bin/sh
# test_cli_board.sh - detent train --tensorboard: files of events, read by a reader of the test's own, and by TensorBoard
#                     where that is installed; and that a run is the same with and without them.
#
# usage: test_cli_board.sh PATH_OF_DETENT
support=$(cd "$(dirname "$0")/../support" && pwd)
. "$(dirname "$0")/../support/command.sh"

command -v python3 >/dev/null || {
    echo "[SKIP] test_cli_board: no python3 to read events with"
    exit 77
}

without_clock='s/,"images_per_s":[^,}]*//; s/,"seconds":[^,}]*//; s/,"[a-z]*_s\(_mean\)*":[^,}]*//g'

# shellcheck disable=SC2086 # the options are words on purpose
expect "a run" 0 train $tiny --epochs 3 --log-every 2 --out plain --quiet
# shellcheck disable=SC2086
expect "a run with events" 0 train $tiny --epochs 3 --log-every 2 --tensorboard --out run --quiet
is "... has a file of them" "$(find run -name 'events.out.tfevents.*' | wc -l)" -eq 1
is "... and the same metrics" "$(sed "$without_clock" plain/metrics.jsonl)" = "$(sed "$without_clock" run/metrics.jsonl)"
expect "the same network" 0 inspect --diff plain/last.safetensors --checkpoint run/last.safetensors
has out "^0 tensors differ$"
expect "codes of the last epoch" 0 inspect --histograms --checkpoint run/last.safetensors --test-size 40 --images 32 --json
cp out codes.json

cat >check.py <<'END'
import glob, json, struct, sys

sys.path.insert(0, sys.argv[1])
import events, page

files = sorted(glob.glob("run/events.out.tfevents.*"))
all_events = [e for f in files for e in events.events(f)]
if all_events[0][2:] != ("version", "brain.Event:2"):
    print("version", all_events[0])
scalars = {(tag, step): v for step, tag, kind, v in all_events if kind == "scalar"}
f32 = lambda x: struct.unpack("<f", struct.pack("<f", x))[0]


def same(what, found, wanted):
    if found != wanted:
        print(what, found, wanted)


lines = [json.loads(line) for line in open("run/metrics.jsonl")]
epochs = [line for line in lines if "event" not in line]
for line in epochs:
    for tag, name in (("train/loss", "train_loss"), ("train/accuracy", "train_accuracy"), ("test/loss", "test_loss"),
                      ("test/accuracy", "test_accuracy"), ("train/lr", "lr")):
        same(name, scalars.get((tag, line["step"])), f32(line[name]))
    for name, value in line["clips"].items():
        same(name, scalars.get(("clip/" + name, line["step"])), f32(value))
for line in lines:
    if line.get("event") == "step":
        same("step", scalars.get(("step/loss", line["step"])), f32(line["loss"]))

histograms = {(tag, step): v for step, tag, kind, v in all_events if kind == "histogram"}
for step in (line["step"] for line in epochs):
    same("histograms at %d" % step, len([1 for _, s in histograms if s == step]), 6)
for layer in json.load(open("codes.json"))["layers"]:
    h = histograms["weights/" + layer["name"], epochs[-1]["step"]]
    same("counts", h["counts"], [row["count"] for row in layer["weights"]])
    same("limits", h["limits"], [row["high"] + 0.5 for row in layer["weights"]])
    same("min", h["min"], layer["weights"][0]["low"] - 0.5)
    same("num", h["num"], sum(h["counts"]))
    same("sum", h["sum"], sum(row["low"] * row["count"] for row in layer["weights"]))
    same("squares", h["squares"], sum(row["low"] ** 2 * row["count"] for row in layer["weights"]))

images = [v for _, tag, kind, v in all_events if kind == "image" and tag.startswith("wrong/")]
same("there are images", len(images) >= 8, True)
for image in images:
    import base64
    size = page.png_size("data:image/png;base64," + base64.b64encode(image["png"]).decode())
    same("size", (size, image["channels"]), ((image["width"], image["height"]), 3))
    same("about", ", taken for " in image["about"], True)
same("check value of CRC-32C", events.crc32c(b"123456789"), 0xE3069283)
END
python3 check.py "$support" >differences 2>err
check "the events can be read, and their checksums are right" $?
is "... and say what metrics.jsonl and inspect say" "$(cat differences)" = ""

# ---- the reader notices what is wrong

python3 - "$support" >noticed 2>err <<'END'
import glob, sys

sys.path.insert(0, sys.argv[1])
import events

data = open(glob.glob("run/events.out.tfevents.*")[0], "rb").read()
for at in (0, 9, 20, 40, len(data) - 1):
    damaged = data[:at] + bytes([data[at] ^ 16]) + data[at + 1:]
    try:
        list(events.records(damaged))
        print("byte %d is not noticed" % at)
    except ValueError:
        pass
END
is "a flipped bit is noticed" "$(cat noticed)" = ""

# ---- going on, and replacing

# shellcheck disable=SC2086
expect "a longer run" 0 train --resume --extend 1 --out run --quiet
is "... has another file" "$(find run -name 'events.out.tfevents.*' | wc -l)" -eq 2
python3 - "$support" >start 2>err <<'END'
import glob, sys

sys.path.insert(0, sys.argv[1])
import events

last = sorted(glob.glob("run/events.out.tfevents.*"))[-1]
print([(step, v) for step, _, kind, v in events.events(last) if kind == "start"])
END
is "... that says where it goes on" "$(cat start)" = "[(13, 1)]"
python3 check.py "$support" >differences 2>err
check "... and both can be read" $?

if python3 -c 'import tensorboard' 2>/dev/null; then
    python3 - >board 2>err <<'END'
import json
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

a = EventAccumulator("run", size_guidance={"scalars": 0, "histograms": 0, "images": 0})
a.Reload()
epochs = [json.loads(line) for line in open("run/metrics.jsonl") if '"event"' not in line]
found = [(e.step, e.value) for e in a.Scalars("test/loss")]
for (step, value), line in zip(found, epochs):
    if step != line["step"] or abs(value - line["test_loss"]) > 1e-6 * value:
        print("test/loss", step, value, line)
if len(found) != 4 or len(a.Tags()["histograms"]) != 6 or not a.Tags()["images"]:
    print(found, a.Tags())
print(len(a.Histograms("weights/features.4")[0].histogram_value.bucket))
END
    check "TensorBoard reads them" $?
    is "... and has the same numbers" "$(cat board)" = "15"
else
    n=$((n + 1))
    echo "ok $n - TensorBoard reads them # SKIP python3 has no tensorboard"
fi

# shellcheck disable=SC2086
expect "--force" 0 train $tiny --epochs 1 --force --out run --quiet
is "... removes events too" "$(find run -name 'events.out.tfevents.*' | wc -l)" -eq 0
# shellcheck disable=SC2086
expect "images held out" 0 train $tiny --val-size 20 --epochs 1 --tensorboard --out held --quiet
python3 - "$support" >tags 2>err <<'END'
import glob, sys

sys.path.insert(0, sys.argv[1])
import events

print(*sorted({tag for _, tag, kind, _ in events.events(glob.glob("held/events.*")[0]) if kind == "scalar"}))
END
is "... are told apart" "$(grep -c 'best/test_accuracy.* val/loss' tags)" -eq 1
finish
