#!/usr/bin/env python3
"""Writes models/*.json, known networks for images of 32x32x3 and 10 classes:  make_networks.py [FOLDER]

  resnet8    MLPerf Tiny's: a stem of 16 filters and three residual blocks of 16, 32, 64
  resnet20   He et al., "Deep residual learning", 2016, section 4.2, n = 3
  resnet18   the same paper's for ImageNet, with a 3x3 stem and no pool behind it
             All with the shortcuts "B" of that paper: a 1x1 convolution where shapes differ, the identity elsewhere.
  mobilenet  Howard et al., "MobileNets", 2017, at a quarter of the width; the stem does not stride, so that the last map
             is 2x2
  cnv        FINN's CNV (Umuroglu et al., 2017): 3x3 convolutions without padding. Its two hidden fully connected layers
             are convolutions of a map of 1x1, so that they are quantized as the others are.
"""

import json
import pathlib
import sys


class Network:
    def __init__(self):
        self.nodes = []

    def add(self, name, operator, inputs, **attributes):
        self.nodes.append((name, operator, inputs, attributes))
        return name

    def conv(self, name, x, filters, window, stride=1, pad=0, groups=1):
        attributes = {"filters": filters, "window": window}
        if stride != 1: attributes["stride"] = stride
        if pad: attributes["pad"] = pad
        if groups != 1: attributes["groups"] = groups
        return self.add(name, "conv", x, **attributes)

    def normed(self, name, x, filters, window, **options):
        """A convolution and its batch norm."""
        return self.add(name + ".bn", "batchnorm", self.conv(name, x, filters, window, **options))

    def unit(self, name, x, filters, window, most=None, **options):
        """... and a ReLU, or with most = 6 a ReLU6."""
        attributes = {"most": most} if most else {}
        return self.add(name + ".relu", "relu", self.normed(name, x, filters, window, **options), **attributes)

    def block(self, name, x, filters, stride, projects):
        y = self.unit(name + ".conv1", x, filters, 3, stride=stride, pad=1)
        y = self.normed(name + ".conv2", y, filters, 3, pad=1)
        if projects: x = self.normed(name + ".shortcut", x, filters, 1, stride=stride)
        return self.add(name + ".relu", "relu", self.add(name + ".add", "add", [y, x]))

    def head(self, x):
        x = self.add("pool", "avgpool", x, window=0)
        self.add("classifier", "linear", self.add("flatten", "flatten", x), features=10)

    def text(self, name):
        columns = [[json.dumps(n), json.dumps(o), json.dumps(i)] for n, o, i, _ in self.nodes]
        width = [max(len(row[c]) for row in columns) + 1 for c in range(3)]
        lines = []
        for row, (_, _, _, attributes) in zip(columns, self.nodes):
            cells = [cell + "," for cell in row]
            if attributes:
                inside = ", ".join(f'"{key}": {json.dumps(value)}' for key, value in attributes.items())
                line = " ".join(cell.ljust(w) for cell, w in zip(cells, width)) + " { " + inside + " }"
            else:
                cells[2] = row[2]
                line = " ".join([cells[0].ljust(width[0]), cells[1].ljust(width[1]), cells[2]])
            lines.append(f"    [{line}]")
        return (f'{{ "format": "detent-network", "name": "{name}", "image": [32, 32, 3], "classes": 10,\n'
                '  "nodes": [\n' + ",\n".join(lines) + "\n  ]\n}\n")


def resnet(widths, blocks):
    n = Network()
    x = n.unit("stem", "image", widths[0], 3, pad=1)
    before = widths[0]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            x = n.block(f"stage{stage + 1}.{block + 1}", x, width, stride, stride != 1 or before != width)
            before = width
    n.head(x)
    return n


def mobilenet(width):
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + 5 * [(512, 1)] + [(1024, 2), (1024, 1)]
    n = Network()
    before = int(32 * width)
    x = n.unit("stem", "image", before, 3, most=6, pad=1)
    for i, (filters, stride) in enumerate(blocks, 1):
        x = n.unit(f"block{i}.depthwise", x, before, 3, most=6, stride=stride, pad=1, groups=before)
        before = int(filters * width)
        x = n.unit(f"block{i}.pointwise", x, before, 1, most=6)
    n.head(x)
    return n


def cnv():
    n = Network()
    x = "image"
    for i, filters in enumerate([64, 64, 128, 128, 256, 256], 1):
        x = n.unit(f"conv{i}", x, filters, 3)
        if i in (2, 4): x = n.add(f"pool{i // 2}", "maxpool", x, window=2)
    for i in (1, 2): x = n.unit(f"fc{i}", x, 512, 1)
    n.add("classifier", "linear", n.add("flatten", "flatten", x), features=10)
    return n


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent / "models"
    networks = {"resnet8": resnet([16, 32, 64], 1), "resnet20": resnet([16, 32, 64], 3),
                "resnet18": resnet([64, 128, 256, 512], 2), "mobilenet": mobilenet(0.25), "cnv": cnv()}
    for name, network in networks.items(): (folder / f"{name}.json").write_text(network.text(name))


main()
