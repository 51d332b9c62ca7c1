"""Turns the results of one machine into report-MACHINE.md and charts beside it.

usage: report.py [--out FOLDER] [--machine NAME] [--device cpu|cuda]

Reads step-, capsules-, ops-, train- and scaling-MACHINE.json of the folder, whichever are there. What is derived here:
the floor, images/s if every kernel of the step took its ceiling's time (ops.h), and sums over kernels.
"""

import argparse
import json
import pathlib

import chart
import machine

KINDS = ("step", "capsules", "ops", "train", "scaling")


def load(path):
    """None if the file is missing or of an older form (one object a line)."""
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return None


def heading(facts):
    lines = [f"Measured {facts['date']}, commit {facts['commit']}: {facts['cpu']}, {facts['cores']} cores, "
             f"{facts['system']}, {facts['compiler']}; load {' '.join(map(str, facts['load']))} at the end, "
             f"governor {facts['governor']}."]
    if facts.get("gpu"):
        lines.append(f"GPU (name, driver, memory, clocks now, most, of memory): {facts['gpu']}.")
    return lines


def model_of(run):
    if run["model"] != "vgg16":
        return run["model"]
    return f"vgg16 choke {run['choke']} w{run['wbits']}a{run['abits']}"


# ---- a step beside its peers ----

def floors(ops):
    """{(model, batch): (ms, images/s)} of the mixed runs."""
    runs = [run for run in (ops or {}).get("runs", []) if "floor_ms" in run]
    return {(run["model"], run["batch"]): (run["floor_ms"], 1e3 * run["batch"] / run["floor_ms"]) for run in runs}


def rate(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def rounds_text(values):
    return "; ".join(rate(value) for value in values)


def contest_rows(contests):
    lines = ["| network, batch | contestant | images/s | detent, same rounds | detent is faster by | step ms | "
             "peak MiB | its rounds |", "|---|---|---:|---:|---|---:|---:|---|"]
    for c in contests:
        where = f"{c['network']}, {c['batch']}"
        if "skipped" in c:
            continue
        if "peer" not in c:
            last = c["ours_last"]
            lines.append(f"| {where} | detent mixed, alone | {rate(c['ours_images_per_s'])} | | | "
                         f"{last['step_ms']['median']:.2f} | {last['peak_mib']:.0f} | {rounds_text(c['ours'])} |")
            continue
        last = c["peer_last"]
        lines.append(f"| {where} | {c['name']} | {rate(c['peer_images_per_s'])} | {rate(c['ours_images_per_s'])} | "
                     f"**{c['ratio']:.2f}x** ({min(c['ratios']):.2f} to {max(c['ratios']):.2f}) | "
                     f"{last['step_ms']['median']:.2f} | {last['peak_mib']:.0f} | {rounds_text(c['peer'])} |")
    return lines + skipped_rows(contests)


def skipped_rows(contests):
    """Who was left out, by reason."""
    reasons = {}
    for c in contests:
        if "skipped" in c:
            reasons.setdefault(c["skipped"], []).append(f"{c['name']} ({c['network']}, {c['batch']})")
    return [""] + [f"Left out, {reason}: {', '.join(names)}." for reason, names in reasons.items()]


def contest_panels(contests, floor):
    panels = []
    for key in dict.fromkeys((c["network"], c["batch"]) for c in contests):
        mine = [c for c in contests if (c["network"], c["batch"]) == key and "skipped" not in c]
        rounds = sorted(value for c in mine for value in c["ours"])
        if not rounds:
            continue
        ours = rounds[len(rounds) // 2]
        rows = [{"label": "detent mixed", "value": ours, "colour": chart.GREEN, "note": rate(ours)}]
        if key in floor:
            most = floor[key][1]
            rows.insert(0, {"label": "every kernel at its ceiling (direct convolutions)", "value": most,
                            "colour": chart.SAND, "note": f"{rate(most)}; detent at {100 * ours / most:.0f} %"})
        for c in sorted((c for c in mine if "peer" in c), key=lambda c: -c["peer_images_per_s"]):
            colour = chart.GREEN if c["name"].startswith("detent") else (
                chart.ORANGE if c["name"].startswith("Brevitas") else chart.BLUE)
            rows.append({"label": c["name"], "value": c["peer_images_per_s"], "colour": colour,
                         "note": f"{rate(c['peer_images_per_s'])} (detent {c['ratio']:.2f}x)"})
        panels.append((f"{key[0]}, batch {key[1]}", rows))
    return panels


def versions(contests):
    seen = {}
    for c in contests:
        for answer in (c.get("ours_last", {}), c.get("peer_last", {})):
            for key, name in (("torch_version", "PyTorch"), ("brevitas", "Brevitas")):
                if key in answer:
                    seen[f"{name} {answer[key]}"] = True
            if "precision" in answer:
                seen[answer["device"]] = True
    return ", ".join(seen)


def step_section(result, title, ops, name, out):
    contests = result["contests"]
    lines = [f"## {title}", "", *heading(result["machine"]), f"{versions(contests)}. Rounds are paired: detent's and "
             "the contestant's follow each other, and the factor is the median of the pairs' (least to most).", ""]
    panels = contest_panels(contests, floors(ops))
    if panels:
        svg = chart.bars("Training step: images per second, median of paired rounds", "images/s (more is better)",
                         panels)
        (out / f"{name}.svg").write_text(svg)
        lines += [f"![images per second]({name}.svg)", ""]
    return lines + contest_rows(contests) + [""]


# ---- kernels ----

def sums(rows):
    """Rows summed over operator and pass, in order of first appearance."""
    total = {}
    for row in rows:
        t = total.setdefault((row["op"], row["pass"]), dict.fromkeys(("n", "ms", "ceiling_ms", "bytes", "flop"), 0))
        t["n"] += 1
        for field in ("ms", "ceiling_ms", "bytes", "flop"):
            t[field] += row[field]
    return total


def row_label(row):
    more = f" +{row['nodes'] - 1}" if row["nodes"] > 1 else ""
    return f"{row['op']} {row['name']}{more} " + (row["pass"] if row["pass"] != "update" else "")


def ceilings_text(c):
    rates = list(zip(c["mib"], c["copy_gb_per_s"], c["read_gb_per_s"]))
    memory = ", ".join(f"{mib:g} MiB {copy:.0f}" + (f" ({read:.0f})" if read else "") for mib, copy, read in rates)
    peaks = ", ".join(f"{key.removesuffix('_gflops')} {value:,.0f}" for key, value in c.items()
                      if key.endswith("_gflops") and value)
    launch = f"; the smallest copy in a replayed graph takes {1e3 * c['launch_ms']:.2f} us" if c["launch_ms"] else ""
    return f"Ceilings of the run: GB/s of a copy (of reading) by size: {memory}; GFLOP/s: {peaks}{launch}."


def ops_chart(run, name, out):
    rows = sorted(run["rows"], key=lambda row: -row["ms"])
    shown = [row for row in rows[:28] if row["ms"] > 0.002 * run["sum_ms"]]
    rest = run["sum_ms"] - sum(row["ms"] for row in shown)
    panel = [{"label": row_label(row), "value": row["ms"], "inner": min(row["ms"], row["ceiling_ms"]),
              "colour": chart.BLUE if row["bound"] == "memory" else chart.ORANGE, "note": f"{100 * row['share']:.0f} %"}
             for row in shown]
    title = f"{model_of(run)}, batch {run['batch']}, {run['precision']}: where the step's time goes"
    entries = [(chart.BLUE, "time, bound by memory"), (chart.ORANGE, "time, bound by operations"),
               (chart.DARK[chart.BLUE], "dark: at the ceiling")]
    text = f"{len(shown)} largest of {len(rows)} kernels; the others take {rest:.2f} ms; note: share of the ceiling"
    svg = chart.bars(title, "ms of a step (less is better)", [(text, panel)], entries)
    (out / f"{name}.svg").write_text(svg)


def ops_run(run, name, out):
    ops_chart(run, name, out)
    step = run["step_ms"]
    lines = [f"### {model_of(run)}, batch {run['batch']}, {run['precision']}, {run['device']}", "",
             f"Step {step['median']:.3f} ms (least {step['min']:.3f}), its kernels {run['sum_ms']:.3f} ms together, "
             f"floor {run['floor_ms']:.3f} ms: {100 * run['floor_ms'] / step['median']:.0f} % of it reached.",
             ceilings_text(run["ceilings"]), "", f"![kernels]({name}.svg)", "",
             "| operator | pass | kernels | ms | ceiling ms | share | GB/s | GFLOP/s |",
             "|---|---|---:|---:|---:|---:|---:|---:|"]
    for (op, which), t in sums(run["rows"]).items():
        lines.append(f"| {op} | {which} | {t['n']} | {t['ms']:.3f} | {t['ceiling_ms']:.3f} | "
                     f"{100 * t['ceiling_ms'] / t['ms']:.0f} % | {t['bytes'] / t['ms'] / 1e6:.1f} | "
                     f"{t['flop'] / t['ms'] / 1e6:.0f} |")
    return lines + [""]


def ops_section(result, name, out):
    lines = ["## Kernels and their ceilings", "", *heading(result["machine"]), ""]
    for run in result["runs"]:
        if "skipped" in run:
            lines += [f"{run['options']}: skipped, {run['skipped']}", ""]
        else:
            lines += ops_run(run, f"{name}-{run['model']}-{run['batch']}", out)
    return lines


# ---- whole runs, growth ----

def train_section(result):
    lines = ["## Whole runs, with evaluation and checkpoints", "", *heading(result["machine"]), "",
             "| network | images x epochs | batch | start s | total s | images/s | steps | evaluation | checkpoints | "
             "loss |",
             "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for run in result["runs"]:
        if "skipped" in run:
            lines.append(f"| {run['options']} | skipped: {run['skipped']} | | | | | | | | |")
            continue
        share = lambda key: f"{100 * run[key] / run['total_s']:.1f} %"
        lines.append(f"| {model_of(run)} | {run['images']} of {run['dataset']} x {run['epochs']} | {run['batch']} | "
                     f"{run['start_s']:.2f} | {run['total_s']:.2f} | {run['images_per_s']:,.0f} | {share('steps_s')} | "
                     f"{share('evaluation_s')} | {share('checkpoint_s')} | {run['loss']:.3f} |")
    return lines + [""]


def fit_text(series):
    fit = series.get("fit")
    if not fit:
        return ""
    return f"{fit['a']:.4g} + {fit['b']:.4g} n {series['unit']}, R² {fit['r2']:.5f}"


def scaling_section(result, name, out):
    series = {s["name"]: s for s in result["series"]}
    batch = result["batch_of_bits_and_images"]
    panels = [{"title": title, "x": x, "y": y, "points": series[key]["points"], "fit": series[key].get("fit"),
               "note": fit_text(series[key])}
              for key, title, x, y in (("batch", "Step and batch", "images in a batch", "ms of a step"),
                                       ("images", f"Epoch and images, batch {batch}", "images of an epoch",
                                        "s of an epoch"))
              if series[key]["points"]]
    lines = ["## How the cost grows", "", *heading(result["machine"]), ""]
    if panels:
        (out / f"{name}.svg").write_text(chart.points("vgg16 choke 16 w4a2: how the cost grows", panels))
        lines += [f"![growth]({name}.svg)", ""]
    for s in result["series"]:
        lines += [f"| {s['name']} | " + " | ".join(str(x) for x, _ in s["points"]) + " |",
                  "|---" * (len(s["points"]) + 1) + "|",
                  f"| {s['unit']} | " + " | ".join(f"{y:.4g}" for _, y in s["points"]) + " |", ""]
        if fit_text(s):
            lines += [f"Least squares: {fit_text(s)}.", ""]
    return lines


def main():
    parser = argparse.ArgumentParser(description="Turns results into Markdown and charts.")
    parser.add_argument("--out", type=pathlib.Path, default=machine.RESULTS, help="folder of results (results)")
    parser.add_argument("--machine", help="its name in names of files (found out)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    args = parser.parse_args()
    name = args.machine or machine.short_name(args.device)
    found = {kind: load(args.out / f"{kind}-{name}.json") for kind in KINDS}
    lines = [f"# Benchmarks on {name}", "", "Made by report.py; ../README.md says what is measured and how.", ""]
    for kind, title in (("step", "Training step of VGG16 beside its peers"),
                        ("capsules", "Training step of capsule networks beside their peers")):
        if found[kind]:
            lines += step_section(found[kind], title, found["ops"], f"{kind}-{name}", args.out)
    if found["ops"]:
        lines += ops_section(found["ops"], f"ops-{name}", args.out)
    if found["train"]:
        lines += train_section(found["train"])
    if found["scaling"]:
        lines += scaling_section(found["scaling"], f"scaling-{name}", args.out)
    path = args.out / f"report-{name}.md"
    path.write_text("\n".join(lines))
    machine.say(f"report: written to {path}")


if __name__ == "__main__":
    main()
