"""The Python package beside the program: equal scores, equal integers; and what it says of wrong files and images.

usage: test_python.py WORK, where test_python.sh has left images, a checkpoint, a program, a capture, and what the program
predicts of them. DETENT_LIBRARY names the shared library, which has layout.c in it.
"""
import ctypes
import pathlib
import sys
import unittest

import numpy as np

import detent
from detent import _library

WORK = pathlib.Path(sys.argv.pop())


class Fact(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("value", ctypes.c_size_t)]


class Layout(unittest.TestCase):
    def test_structures_are_those_of_the_headers(self):
        facts = (Fact * 64).in_dll(_library.load(), "detent_layout")
        seen = 0
        for fact in facts:
            if not fact.name:
                break
            name, _, member = fact.name.decode().partition(".")
            here = getattr(_library, name)
            if isinstance(here, type):
                here = getattr(here, member).offset if member else ctypes.sizeof(here)
            self.assertEqual(here, fact.value, fact.name)
            seen += 1
        self.assertGreater(seen, 20)


class Networks(unittest.TestCase):
    def setUp(self):
        self.images = np.array(detent.tensors(WORK / "images.safetensors")["images"])

    def compare(self, kind):
        net = detent.open(WORK / f"{kind}.safetensors", threads=1)
        expected = detent.tensors(WORK / f"{kind}_predicted.safetensors")
        scores, layers = net.predict(self.images, layers="all")
        self.assertTrue(np.array_equal(scores, expected["scores"]))
        self.assertTrue(np.array_equal(net.predict(self.images), expected["scores"]))
        names = {name for name in expected if name != "scores" and not name.endswith(".scale")}
        self.assertEqual(set(layers), names)
        n_integers = 0
        for name in names:
            value = layers[name]
            self.assertEqual(value.values.dtype, expected[name].dtype, name)
            self.assertTrue(np.array_equal(value.values, expected[name]), name)
            if value.scale is None:
                continue
            n_integers += 1
            self.assertTrue(np.array_equal(np.atleast_1d(value.scale), np.atleast_1d(expected[name + ".scale"])), name)
            self.assertTrue(np.array_equal(value.real(), value.values.astype(np.float32) * expected[name + ".scale"]))
        self.assertGreater(n_integers, 3)
        return net

    def test_checkpoint(self):
        self.assertRegex(repr(self.compare("checkpoint")), r"^tiny.*w4a4: \d+x\d+x\d, 10 classes$")

    def test_program(self):
        self.compare("program")

    def test_both_predict_alike(self):
        scores = [detent.open(WORK / f"{kind}.safetensors").predict(self.images) for kind in ("checkpoint", "program")]
        self.assertTrue(np.array_equal(*(s.argmax(1) for s in scores)))

    def test_capture(self):
        capture = detent.tensors(WORK / "capture.safetensors")
        self.assertTrue(any(array.dtype.kind == "i" and array.size > 0 for array in capture.values()))
        self.assertIn("format", detent.metadata(WORK / "capture.safetensors"))

    def test_single_layers(self):
        net = detent.open(WORK / "program.safetensors")
        name = sorted(net.predict(self.images, layers="all")[1])[0]
        self.assertEqual(list(net.predict(self.images, layers=[name])[1]), [name])
        with self.assertRaisesRegex(detent.Error, "no value called nowhere"):
            net.predict(self.images, layers=["nowhere"])

    def test_wrong_images(self):
        net = detent.open(WORK / "program.safetensors")
        with self.assertRaisesRegex(detent.Error, r"have the shape \(2, 5, 5, 3\)"):
            net.predict(np.zeros((2, 5, 5, 3), np.uint8))
        with self.assertRaisesRegex(detent.Error, "images are float64"):
            net.predict(self.images.astype(np.float64))

    def test_wrong_files(self):
        with self.assertRaisesRegex(detent.Error, "nowhere.safetensors"):
            detent.open("nowhere.safetensors")
        (WORK / "short").write_bytes(b"short")
        with self.assertRaisesRegex(detent.Error, "5 bytes"):
            detent.tensors(WORK / "short")


if __name__ == "__main__":
    unittest.main()
