"""Reads and runs what detent writes: checkpoints, integer programs and captures.

open() gives a Network, whose predict() returns scores, and on request what any layer gave. tensors() and metadata() read
any safetensors file without the library.
"""
import dataclasses
import json
import os
import pathlib

import numpy as np

from . import _library
from ._library import Error

__all__ = ["Error", "Network", "Value", "metadata", "open", "tensors"]

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1",
          "U16": "<u2", "U32": "<u4", "U64": "<u8", "BOOL": "?"}


def _header(path):
    """The header of a safetensors file, and where its data begin."""
    size = os.path.getsize(path)
    with pathlib.Path(path).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise Error(f"{path}: {size} bytes, which is too short for a safetensors file with that header")
        try:
            header = json.loads(file.read(length))
        except ValueError as problem:
            raise Error(f"{path}: its header is no JSON: {problem}") from None
    return header, 8 + length


def tensors(path):
    """The tensors of a safetensors file: a dict of read-only arrays, which stay in the file until they are read."""
    header, begin = _header(path)
    data = np.memmap(path, mode="r")
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in _TYPES:
            raise Error(f"{path}: {name} has the type {entry['dtype']}, which numpy has not got")
        first, end = (begin + offset for offset in entry["data_offsets"])
        if end > data.size:
            raise Error(f"{path}: {name} ends at byte {end}, and the file at {data.size}")
        found[name] = data[first:end].view(_TYPES[entry["dtype"]]).reshape(entry["shape"])
    return found


def metadata(path):
    """The metadata of a safetensors file: a dict of strings."""
    return _header(path)[0].get("__metadata__", {})


@dataclasses.dataclass(frozen=True)
class Value:
    """What a layer gave: values [images, ...], int32 on the grid, else float32. scale: real = scale * integer; one for
    all, or one for each channel, the last axis; None where values are real."""

    values: np.ndarray
    scale: np.ndarray | None

    def real(self):
        """The real values, float32."""
        return self.values if self.scale is None else self.values.astype(np.float32) * self.scale


class Network:
    """A network with its parameters. It is opened by open()."""

    def __init__(self, path, threads):
        self._handle = _library.Handle(os.fspath(path), threads)
        info = self._handle.info()
        self.name = self._handle.text()
        self.shape = (info.height, info.width, info.channels)
        self.classes = info.n_classes

    def __repr__(self):
        return f"{self.name}: {'x'.join(map(str, self.shape))}, {self.classes} classes"

    def predict(self, images, layers=None):
        """Scores, float32 [n, classes], of images [n, height, width, channels]: uint8 pixels, or float32 that are
        normalised already. With layers, "all" or a list of names, also a dict of a Value for each."""
        images = np.ascontiguousarray(images)
        if images.dtype not in (np.uint8, np.float32):
            raise Error(f"images are {images.dtype}; they are uint8 pixels, or float32 that are normalised already")
        if images.ndim != 4 or images.shape[1:] != self.shape:
            wanted = ", ".join(map(str, self.shape))
            raise Error(f"images have the shape {images.shape}; {self.name} takes (n, {wanted})")
        scores = np.empty((len(images), self.classes), np.float32)
        if layers is None:
            self._handle.predict(images, scores, None, None)
            return scores
        parts = {}
        wanted = None if layers == "all" else set(layers)

        def keep(name, values, scale):
            batches, first = parts.setdefault(name, ([], scale))
            if not np.array_equal(first, scale):
                raise Error(f"the scale of {name} is not that of the batch before; predict at most 128 images at once")
            batches.append(values)

        self._handle.predict(images, scores, keep, wanted)
        if wanted and wanted - parts.keys():
            raise Error(f"{self.name} has no value called {sorted(wanted - parts.keys())[0]}; "
                        f"predict(images, layers='all') gives all")
        return scores, {name: _value(np.concatenate(values), scale) for name, (values, scale) in parts.items()}


def _value(values, scale):
    if scale is None:
        return Value(values, None)
    return Value(values.astype(np.int32), scale if scale.size > 1 else scale[0])


def open(path, threads=0):
    """Opens a checkpoint or a program. threads: of the CPU; 0: as many as OpenMP takes."""
    return Network(path, threads)
