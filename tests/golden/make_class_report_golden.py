"""Writes class_report.txt: scikit-learn's confusion matrix and top-k accuracies of scores computed from their index.

    python3 make_class_report_golden.py [--out DIR]      needs scikit-learn; writes the same bytes each time

Format: words separated by white space, read with fscanf.

    # one line of comment, with scikit-learn's version
    case IMAGES CLASSES
    N N ...             the confusion matrix, row by row: a row is a true class
    X X ...             top-k accuracy for k = 1 .. CLASSES
    end                 after the last case

scores() and labels() below are what tests/test_class_report.c makes too; all scores of an image differ.
"""

import argparse
import os

import numpy as np
import sklearn
from sklearn.metrics import confusion_matrix, top_k_accuracy_score

CASES = [(1, 3), (7, 5), (200, 10), (331, 17)]


def hashed(k):
    h = k * 0x9E3779B1 & 0xFFFFFFFF
    h ^= h >> 15
    return (h * 0x85EBCA77 & 0xFFFFFFFF) >> 8


def labels(n, classes):
    return np.array([hashed(7919 * i + 3) % classes for i in range(n)])


def scores(n, classes):
    """24-bit integers, so exact in f32; the own class gets a lead, so that the ranks are not all alike."""
    s = np.array([[hashed(i * classes + c) for c in range(classes)] for i in range(n)], dtype=np.float64)
    s[np.arange(n), labels(n, classes)] += 2.0**22
    assert all(len(set(row)) == classes for row in s)
    return s


def write_case(file, n, classes):
    every = range(classes)
    true, s = labels(n, classes), scores(n, classes)
    print("case", n, classes, file=file)
    for row in confusion_matrix(true, s.argmax(axis=1), labels=every):
        print(*row, file=file)
    top = [top_k_accuracy_score(true, s, k=k, labels=every) if k < classes else 1.0 for k in range(1, classes + 1)]
    print(*(repr(float(x)) for x in top), file=file)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default=os.path.dirname(os.path.abspath(__file__)))
    with open(os.path.join(parser.parse_args().out, "class_report.txt"), "w") as file:
        print(f"# scikit-learn {sklearn.__version__}; make_class_report_golden.py describes it", file=file)
        for case in CASES:
            write_case(file, *case)
        print("end", file=file)


main()
