"""Curves of trainings: which share of the images is wrong after each epoch, of training and of test images, as SVG.

usage: curves.py OUT.svg TITLE RUN...

Each RUN is a folder of `detent train`, or its metrics.jsonl. Several are the stages of one training: they follow each
other, and a line stands between them.
"""

import json
import pathlib
import sys

import chart

LEFT, TOP, WIDTH, HEIGHT = 64.0, 64.0, 620.0, 260.0
SERIES = (("test images", "test_accuracy", chart.DARK[chart.ORANGE]), ("training images", "train_accuracy",
                                                                     chart.DARK[chart.BLUE]))


def epochs_of(run):
    path = pathlib.Path(run)
    path = path / "metrics.jsonl" if path.is_dir() else path
    rows = [json.loads(text) for text in path.read_text().splitlines()]
    return [row for row in rows if row.get("train_accuracy") is not None]


def curves(title, runs):
    stages = [epochs_of(run) for run in runs]
    rows = [row for stage in stages for row in stage]
    wrong = {key: [100.0 * (1.0 - row[key]) for row in rows] for _, key, _ in SERIES}
    xs, ys = chart.ticks(len(rows), 8), chart.ticks(max(max(values) for values in wrong.values()), 6)
    px, py = lambda x: LEFT + WIDTH * x / xs[-1], lambda y: TOP + HEIGHT * (1 - y / ys[-1])
    parts = [chart.text(16, 24, title, size=15, weight="bold")]
    parts += chart.legend(LEFT, 48, [(colour, f"{name}, {wrong[key][-1]:.2f} % at the end")
                                     for name, key, colour in SERIES])
    for x in xs:
        parts += [chart.line(px(x), TOP, px(x), TOP + HEIGHT),
                  chart.text(px(x), TOP + HEIGHT + 16, chart.number(x), "middle", 11, chart.GREY)]
    for y in ys:
        parts += [chart.line(LEFT, py(y), LEFT + WIDTH, py(y)),
                  chart.text(LEFT - 6, py(y) + 4, chart.number(y), "end", 11, chart.GREY)]
    begun = 0
    for stage in stages[:-1]:
        begun += len(stage)
        parts.append(chart.line(px(begun), TOP, px(begun), TOP + HEIGHT, chart.GREY, 1.0, "4 4"))
    for _, key, colour in SERIES:
        places = " ".join(f"{px(i + 1):.1f},{py(y):.1f}" for i, y in enumerate(wrong[key]))
        parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
    parts += [chart.text(LEFT + WIDTH / 2, TOP + HEIGHT + 38, "epochs", "middle"),
              chart.text(20, TOP + HEIGHT / 2, "wrong predictions, %", "middle", turn=-90)]
    return chart.document(LEFT + WIDTH + 24, TOP + HEIGHT + 52, parts)


def main():
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    pathlib.Path(sys.argv[1]).write_text(curves(sys.argv[2], sys.argv[3:]))


if __name__ == "__main__":
    main()
