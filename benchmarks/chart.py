"""Charts as SVG text, plain Python: horizontal bars, and points with lines. Light colours, axis titles with units."""

import math
from xml.sax.saxutils import escape

INK, GREY, GRID = "#333333", "#777777", "#e2e2e2"
BLUE, GREEN, ORANGE, SAND, VIOLET = "#9ec9e8", "#a8d8b0", "#f6c89a", "#ebe3d3", "#cdbfe3"
DARK = {BLUE: "#4a90c2", GREEN: "#5aa66a", ORANGE: "#d98b3f", SAND: "#b3a27e", VIOLET: "#8a72b5"}
CHARACTER = 6.7  # width of one at 12 px, about


def text(x, y, words, anchor="start", size=12, colour=INK, turn=None, weight="normal"):
    turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn is not None else ""
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
            f'font-weight="{weight}"{turned}>{escape(str(words))}</text>')


def rectangle(x, y, width, height, colour):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" rx="2" fill="{colour}"/>'


def line(x1, y1, x2, y2, colour=GRID, width=1.0, dash=None):
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"{dashed}/>')


def document(width, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="DejaVu Sans, Helvetica, Arial, sans-serif">\n'
            + rectangle(0, 0, width, height, "#ffffff") + "\n" + "\n".join(parts) + "\n</svg>\n")


def ticks(most, wanted=6):
    """Round numbers from 0 to at least most."""
    if most <= 0:
        return [0.0, 1.0]
    rough = most / wanted
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= rough * 0.999)
    return [step * i for i in range(int(math.ceil(most / step - 1e-9)) + 1)]


def number(value):
    if value >= 10000 and value % 1000 == 0:
        return f"{value / 1000:g}k"
    return f"{value:.6g}"


def legend(x, y, entries):
    """entries: [(colour, words)], side by side."""
    parts = []
    for colour, words in entries:
        parts += [rectangle(x, y - 10, 14, 12, colour), text(x + 20, y, words)]
        x += 40 + CHARACTER * len(words)
    return parts


def bars(title, axis, panels, entries=()):
    """panels: [(heading, [{"label", "value", "colour", "note", "inner"}])]; inner is drawn darker, from 0 too."""
    rows = [row for _, panel in panels for row in panel]
    left = 24 + CHARACTER * max(len(row["label"]) for row in rows)
    right = 30 + CHARACTER * max(len(row["note"]) for row in rows)
    scale = ticks(max(max(row["value"], row.get("inner", 0.0)) for row in rows))
    plot, height, top = 520.0, 24.0, 62.0 if entries else 44.0
    place = lambda value: left + plot * value / scale[-1]
    bottom = top + sum(30 + height * len(panel) for _, panel in panels)
    parts = [text(16, 24, title, size=15, weight="bold")] + legend(16, 46, entries)
    for tick in scale:
        parts += [line(place(tick), top, place(tick), bottom),
                  text(place(tick), bottom + 16, number(tick), "middle", 11, GREY)]
    y = top
    for heading, panel in panels:
        parts.append(text(left + 4, y + 20, heading, colour=GREY))
        y += 30
        for row in panel:
            parts += [text(left - 8, y + 14, row["label"], "end"),
                      rectangle(left, y + 2, place(row["value"]) - left, height - 7, row["colour"])]
            if row.get("inner"):
                parts.append(rectangle(left, y + 2, place(row["inner"]) - left, height - 7, DARK[row["colour"]]))
            parts.append(text(place(max(row["value"], row.get("inner", 0.0))) + 6, y + 14, row["note"], size=11))
            y += height
    parts += [line(left, top, left, bottom, GREY), text(left + plot / 2, bottom + 36, axis, "middle", 12)]
    return document(left + plot + right, bottom + 50, parts)


def points_panel(x0, panel):
    """One chart of points with their fitted line, 380 wide; panel: title, x, y, points, fit, note."""
    left, top, width, height = x0 + 74.0, 84.0, 290.0, 230.0
    xs, ys = ticks(max(x for x, _ in panel["points"]), 4), ticks(max(y for _, y in panel["points"]), 5)
    px, py = lambda x: left + width * x / xs[-1], lambda y: top + height * (1 - y / ys[-1])
    parts = [text(x0 + 16, 52, panel["title"], size=13, weight="bold"), text(x0 + 16, 68, panel["note"], size=11,
                                                                           colour=GREY)]
    for x in xs:
        parts += [line(px(x), top, px(x), top + height), text(px(x), top + height + 16, number(x), "middle", 11, GREY)]
    for y in ys:
        parts += [line(left, py(y), left + width, py(y)), text(left - 6, py(y) + 4, number(y), "end", 11, GREY)]
    if panel.get("fit"):
        at = lambda x: panel["fit"]["a"] + panel["fit"]["b"] * x
        first, last = 0.0 if at(0.0) >= 0 else -panel["fit"]["a"] / panel["fit"]["b"], panel["points"][-1][0]
        parts.append(line(px(first), py(at(first)), px(last), py(at(last)), DARK[BLUE], 1.5, "5 4"))
    for x, y in panel["points"]:
        parts.append(f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="4.5" fill="{BLUE}" stroke="{DARK[BLUE]}"/>')
    parts += [line(left, top, left, top + height, GREY), line(left, top + height, left + width, top + height, GREY),
              text(left + width / 2, top + height + 38, panel["x"], "middle"),
              text(x0 + 24, top + height / 2, panel["y"], "middle", turn=-90)]
    return parts


def points(title, panels):
    parts = [text(16, 24, title, size=15, weight="bold")]
    for i, panel in enumerate(panels):
        parts += points_panel(390.0 * i, panel)
    return document(390.0 * len(panels) + 10, 366, parts)
