#!/usr/bin/env python3
"""Writes models/*.json, known networks:  make_networks.py [FOLDER]

For images of 32x32x3 and 10 classes:

  resnet8    MLPerf Tiny's: a stem of 16 filters and three residual blocks of 16, 32, 64
  resnet20   He et al., "Deep residual learning", 2016, section 4.2, n = 3
  resnet18   the same paper's for ImageNet, with a 3x3 stem and no pool behind it
             All with the shortcuts "B" of that paper: a 1x1 convolution where shapes differ, the identity elsewhere.
  mobilenet  Howard et al., "MobileNets", 2017, at a quarter of the width; the stem does not stride, so that the last map
             is 2x2
  cnv        FINN's CNV (Umuroglu et al., 2017): 3x3 convolutions without padding. Its two hidden fully connected layers
             are convolutions of a map of 1x1, so that they are quantized as the others are.

For windows of signals, the networks of a study of biomedical signals on wearables (Kokhazad et al., IoT 6(2):29, 2025).
Where the study does not say what a layer is, the file has our reading, and its comment says so:
  smartwatch_lean, smartwatch_fat
             100 values of 6 sensors, 6 activities. Lean is known by its tensors.
  bspc_lean, bspc_fat
             ST-CNN-5 (Anand et al., Biomedical Signal Processing and Control, 2022): 1000 values of 12 leads, 5 labels:
             five convolutions along time and one across the leads
  bspc_gap_lean, bspc_gap_fat
             ST-CNN-GAP-5, with two residual connections
"""

import json
import pathlib
import sys


class Network:
    def __init__(self, image=(32, 32, 3), classes=10, loss=None, comment=None):
        self.nodes = []
        self.image, self.classes, self.loss, self.comment = list(image), classes, loss, comment

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
        loss = f', "loss": {json.dumps(self.loss)}' if self.loss else ""
        comment = f'  "comment": {json.dumps(self.comment)},\n' if self.comment else ""
        return (f'{{ "format": "detent-network", "name": "{name}", "image": {self.image}, "classes": {self.classes}{loss},\n'
                + comment + '  "nodes": [\n' + ",\n".join(lines) + "\n  ]\n}\n")


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


def smartwatch(filters, hidden, comment):
    """TensorFlow's padding "same": a window of 2 gets a row and a column more behind the map, a pool of 2 at odd sides."""
    n = Network((100, 6, 1), 6, comment=comment)
    x, height = "image", 100
    for i, width in enumerate(filters, 1):
        x = n.conv(f"conv{i}", x, width, 2, pad=[0, 0, 1, 1])
        x = n.add(f"relu{i}", "relu", n.add(f"bias{i}", "bias", x))
        pad = {"pad": [0, 0, 1, 0]} if height % 2 else {}
        x = n.add(f"pool{i}", "maxpool", x, window=[2, 1], **pad)
        height = (height + 1) // 2
    x = n.add("fc1", "linear", n.add("flatten", "flatten", x), features=hidden)
    n.add("classifier", "linear", n.add("fc1.relu", "relu", x), features=6)
    return n


def labels_head(n, x, hidden):
    for i, features in enumerate(hidden, 1):
        x = n.add(f"fc{i}.relu", "relu", n.add(f"fc{i}", "linear", x, features=features))
    n.add("classifier", "linear", x, features=5)


def bspc(filters, spatial, ends, hidden, comment):
    n = Network((1000, 12, 1), 5, "binary-cross-entropy", comment)
    x = "image"
    for i, (width, window) in enumerate(zip(filters, (5, 5, 5, 3, 3)), 1):
        x = n.add(f"pool{i}", "maxpool", n.unit(f"conv{i}", x, width, [window, 1]), window=[2, 1])
    x = n.unit("conv6", x, spatial, [1, 12])
    x = n.add("pool6", "avgpool", x, window=0) if ends == "mean" else n.add("pool6", "maxpool", x, window=[2, 1])
    labels_head(n, n.add("flatten", "flatten", x), hidden)
    return n


def bspc_gap(narrow, wide, spatial, hidden, comment):
    """A skip's first convolution strides by 4, and its second has the window that makes the lengths equal."""
    n = Network((1000, 12, 1), 5, "binary-cross-entropy", comment)

    def join(i, x, skip):
        return n.add(f"join{i}.relu", "relu", n.add(f"join{i}", "add", [x, skip]))

    def skip(i, x, filters, window, second):
        x = n.unit(f"skip{i}.1", x, filters[0], [window, 1], stride=[4, 1])
        return n.normed(f"skip{i}.2", x, filters[1], [second, 1])

    pool1 = n.add("pool1", "maxpool", n.unit("conv1", "image", narrow, [5, 1]), window=[2, 1])
    x = n.add("pool2", "maxpool", n.unit("conv2", pool1, narrow, [5, 1]), window=[4, 1])
    x = join(1, n.normed("conv3", x, wide, [5, 1]), skip(1, pool1, (wide, wide), 7, 5))
    pool3 = n.add("pool3", "maxpool", x, window=[2, 1])
    x = n.add("pool4", "maxpool", n.unit("conv4", pool3, wide, [3, 1]), window=[4, 1])
    x = join(2, n.normed("conv5", x, wide, [3, 1]), skip(2, pool3, (narrow, wide), 4, 3))
    x = n.unit("conv6", n.add("pool5", "maxpool", x, window=[2, 1]), spatial, [1, 12])
    labels_head(n, n.add("flatten", "flatten", n.add("pool6", "avgpool", x, window=[2, 1])), hidden)
    return n


OURS = "Our reading of the study, which gives the kinds of layers and the size alone: "
BIOMEDICAL = {
    "smartwatch_lean": smartwatch([4, 6, 3, 4], 8, "The study's tensors: 1,655 parameters. Behind the first linear layer we "
                                                   "read a ReLU."),
    "smartwatch_fat": smartwatch([8, 16, 16, 24, 24, 32], 32, OURS + "six convolutions, pools, and two linear layers."),
    "bspc_lean": bspc([16, 32, 32, 64, 64], 64, "mean", [128, 64], OURS + "about 100,000 parameters."),
    "bspc_fat": bspc([32, 64, 64, 128, 128], 256, "max", [1024, 64], OURS + "about 4,000,000 parameters."),
    "bspc_gap_lean": bspc_gap(32, 64, 128, [128, 64],
                              OURS + "about 250,000 parameters. Filters as in a public port of ST-CNN-GAP-5, but the second "
                              "of each skip's convolutions, and 128 across the leads."),
    "bspc_gap_fat": bspc_gap(128, 256, 512, [512, 256], OURS + "about 4,000,000 parameters; the lean one, four times as wide."),
}


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent / "models"
    networks = {"resnet8": resnet([16, 32, 64], 1), "resnet20": resnet([16, 32, 64], 3),
                "resnet18": resnet([64, 128, 256, 512], 2), "mobilenet": mobilenet(0.25), "cnv": cnv(), **BIOMEDICAL}
    for name, network in networks.items(): (folder / f"{name}.json").write_text(network.text(name))


main()
