"""Writes metrics.txt: scikit-learn's metrics of a few cases, among them those where a quotient has no divisor.

    python3 make_metrics_golden.py [--out DIR]      needs scikit-learn; writes the same bytes each time
    python3 make_metrics_golden.py --check FILE     FILE has cases with somebody else's metrics: exit code 1, and what
                                                    differs, if scikit-learn's are others; 77 without scikit-learn

Format: words separated by white space, read with fscanf.

    # one line of comment, with scikit-learn's version
    single N CLASSES    N images of one class each
    C ...               N true classes
    C ...               N predicted classes
    X ...               accuracy, macro precision, recall, F1, balanced accuracy, kappa
    multi N LABELS      N images with several labels
    B ...               N x LABELS true labels, 0 or 1
    B ...               N x LABELS predicted labels
    X ...               binary accuracy, Hamming loss, exact match, macro precision, recall, F1, Jaccard, the same micro
    end                 after the last case
"""

import argparse
import os
import random
import sys
import warnings

try:
    import numpy as np
    import sklearn
    from sklearn import metrics as sk
except ImportError as error:
    print(error)
    sys.exit(77)

warnings.filterwarnings("ignore")  # of classes that only predictions have
sklearn.set_config(assume_finite=True, skip_parameter_validation=True)  # 2,000 cases take half the time


def averages(true, predicted, average):
    return list(sk.precision_recall_fscore_support(true, predicted, average=average, zero_division=0)[:3])


def single_metrics(true, predicted):
    return [sk.accuracy_score(true, predicted), *averages(true, predicted, "macro"),
            sk.balanced_accuracy_score(true, predicted), sk.cohen_kappa_score(true, predicted)]


def multi_metrics(true, predicted):
    rows = [float((true == predicted).mean()), sk.hamming_loss(true, predicted), sk.accuracy_score(true, predicted)]
    for average in ("macro", "micro"):
        rows += averages(true, predicted, average)
        rows.append(sk.jaccard_score(true, predicted, average=average, zero_division=0))
    return rows


SINGLE = [  # classes, true, predicted
    (3, [0, 1, 2, 2, 1, 0], [0, 2, 2, 1, 1, 0]),
    (2, [0, 0, 0], [0, 0, 0]),  # one class, all right: kappa has no divisor
    (2, [0, 0, 0], [1, 1, 1]),  # one class, all wrong
    (5, [1, 1, 3, 3], [1, 3, 3, 3]),  # classes that nobody has
    (4, [0, 1, 0, 1], [2, 1, 2, 1]),  # a class that only predictions have
    (4, [0, 2, 3, 3], [0, 0, 0, 0]),  # classes that are never predicted
    (1, [0, 0], [0, 0]),
]
MULTI = [  # true, predicted
    ([[1, 0, 1], [0, 1, 0], [1, 1, 1]], [[1, 0, 0], [0, 1, 1], [1, 1, 1]]),
    ([[0, 0], [0, 0]], [[0, 0], [0, 0]]),  # no positives at all
    ([[0, 0], [0, 0]], [[1, 0], [0, 0]]),  # positives that are none
    ([[1, 1], [1, 1]], [[0, 0], [0, 0]]),  # nothing found
    ([[1, 0, 0, 0]], [[1, 0, 0, 0]]),
]


def drawn(rng):
    for _ in range(8):
        n, classes = rng.randint(1, 40), rng.randint(2, 7)
        yield classes, [rng.randrange(classes) for _ in range(n)], [rng.randrange(classes) for _ in range(n)]


def drawn_labels(rng):
    for _ in range(8):
        n, labels = rng.randint(1, 20), rng.randint(2, 6)
        yield tuple([[int(rng.random() < 0.4) for _ in range(labels)] for _ in range(n)] for _ in range(2))


def write(file):
    rng = random.Random(1)
    print(f"# scikit-learn {sklearn.__version__}; make_metrics_golden.py describes it", file=file)
    for classes, true, predicted in [*SINGLE, *drawn(rng)]:
        print("single", len(true), classes, file=file)
        print(*true, file=file)
        print(*predicted, file=file)
        print(*(repr(float(x)) for x in single_metrics(true, predicted)), file=file)
    for true, predicted in [*MULTI, *drawn_labels(rng)]:
        true, predicted = np.array(true), np.array(predicted)
        print("multi", *true.shape, file=file)
        print(*true.ravel(), file=file)
        print(*predicted.ravel(), file=file)
        print(*(repr(float(x)) for x in multi_metrics(true, predicted)), file=file)
    print("end", file=file)


def check(path):
    words = iter(open(path).read().split())
    n_cases = n_wrong = 0
    for kind in words:
        if kind == "end":
            break
        n, k = int(next(words)), int(next(words))
        count = n if kind == "single" else n * k
        true, predicted = ([int(next(words)) for _ in range(count)] for _ in range(2))
        if kind == "multi":
            true, predicted = (np.array(x).reshape(n, k) for x in (true, predicted))
        right = single_metrics(true, predicted) if kind == "single" else multi_metrics(true, predicted)
        given = [float(next(words)) for _ in right]
        n_cases += 1
        if not np.allclose(given, right, rtol=1e-12, atol=1e-12, equal_nan=True):
            n_wrong += 1
            print(f"case {n_cases}, {kind} {n} {k}: {given}, scikit-learn {right}")
    print(f"{n_cases} cases, {n_wrong} differ from scikit-learn {sklearn.__version__}")
    return 1 if n_wrong or n_cases == 0 else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default=os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--check")
    arguments = parser.parse_args()
    if arguments.check:
        return check(arguments.check)
    with open(os.path.join(arguments.out, "metrics.txt"), "w") as file:
        write(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
