"""Writes resize.txt: images that Pillow's Image.resize with BILINEAR makes of pixels computed from their index.

    python3 make_resize_golden.py [--out DIR]      needs Pillow; writes the same bytes each time

Format: words separated by white space, read with fscanf.

    # one line of comment, with Pillow's version
    case HEIGHT WIDTH CHANNELS NEW_HEIGHT NEW_WIDTH
    P P ...                                  the new image, [new_height][new_width][channels]
    end                                      after the last case

Byte k of an old image is pixel(k) below; so tests/test_resize.c, which reads the file, makes it too.
"""

import argparse
import os

import PIL
from PIL import Image

CASES = [
    (5, 7, 1, 10, 14),
    (8, 8, 3, 16, 16),
    (9, 6, 1, 4, 5),
    (7, 33, 3, 7, 5),  # one axis alone
    (33, 7, 1, 1, 7),
    (1, 1, 3, 3, 2),
    (4, 5, 1, 9, 3),  # one axis up, the other down
    (28, 28, 1, 28, 28),
    (16, 16, 3, 21, 23),
]


def pixel(k):
    h = k * 0x9E3779B1 & 0xFFFFFFFF
    h ^= h >> 15
    return (h * 0x85EBCA77 & 0xFFFFFFFF) >> 24


def write_case(file, height, width, channels, new_height, new_width):
    data = bytes(pixel(k) for k in range(height * width * channels))
    image = Image.frombytes("L" if channels == 1 else "RGB", (width, height), data)
    new = image.resize((new_width, new_height), Image.BILINEAR).tobytes()
    print("case", height, width, channels, new_height, new_width, file=file)
    for first in range(0, len(new), 24):
        print(*new[first : first + 24], file=file)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=os.path.dirname(os.path.abspath(__file__)))
    with open(os.path.join(parser.parse_args().out, "resize.txt"), "w") as file:
        print(f"# Pillow {PIL.__version__}, Image.resize, BILINEAR; make_resize_golden.py describes it", file=file)
        for case in CASES:
            write_case(file, *case)
        print("end", file=file)


if __name__ == "__main__":
    main()
