"""Turns what gpu_check.sh left in its work folder into report.md and report.json.

usage: gpu_report.py WORK OUT

WORK/steps.tsv: name, status, seconds, note of each step. OUT/report-*.md, made by benchmarks/report.py, is appended.
"""
import datetime
import json
import pathlib
import subprocess
import sys


def read_steps(path):
    fields = ("name", "status", "seconds", "note")
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    return [dict(zip(fields, row)) | {"seconds": int(row[2])} for row in rows]


def commit():
    command = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def markdown(report):
    lines = [f"# GPU check, {report['date']}", "", f"Commit {report['commit']}; {report['gpu']}.", ""]
    lines += ["| step | result | s | |", "|---|---|---:|---|"]
    lines += [f"| {s['name']} | {s['status']} | {s['seconds']} | {s['note'].strip()} |" for s in report["steps"]]
    return "\n".join(lines) + "\n"


def main():
    work, out = map(pathlib.Path, sys.argv[1:])
    gpu = work / "gpu"
    report = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "gpu": gpu.read_text().splitlines()[0] if gpu.exists() and gpu.read_text() else "no GPU",
        "steps": read_steps(work / "steps.tsv"),
    }
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    benchmarks = [path.read_text().replace("\n#", "\n##").replace("# Bench", "## Bench", 1)
                  for path in sorted(out.glob("report-*.md"))]
    (out / "report.md").write_text("\n".join([markdown(report), *benchmarks]))


if __name__ == "__main__":
    main()
