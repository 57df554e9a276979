"""Mutations of picture files: `python tests/faults/mutate.py` counts crashes, hangs and, for PNG, silent errors."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from i2i import images
from i2i.errors import DataError

FORMATS = ("png", "jpg", "tif", "webp", "bmp", "npy")
PER_FILE = 10.0
"""Seconds that one file may take."""


def original() -> np.ndarray:
    """Return a picture of 24 x 20 pixels, smooth and noisy in parts."""
    random_numbers = np.random.default_rng(0)
    ramp = np.add.outer(np.arange(24) * 5, np.arange(20) * 6)[..., None] + np.array([0, 10, 20])
    ramp[12:] = random_numbers.integers(0, 256, (12, 20, 3))
    return np.minimum(ramp, 255).astype(np.uint8)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return other bytes than `data`: flipped, overwritten, cut, doubled or swapped, once or a few times."""
    new = bytearray(data)
    while bytes(new) == data:
        for _ in range(rng.choice((1, 1, 1, 2, 8))):
            at, span = rng.randrange(len(new)), rng.randrange(1, 17)
            at = at if rng.random() < 0.6 else rng.randrange(min(len(new), 64))  # headers break more than pixels
            kind = rng.randrange(6)
            if kind == 0:
                new[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                new[at : at + span] = rng.randbytes(len(new[at : at + span]))
            elif kind == 2:
                del new[max(1, at) :]
            elif kind == 3:
                new[at:at] = new[at : at + span]
            elif kind == 4 and len(new) > span:
                del new[at : at + span]
            else:
                new[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))[: len(new) - at]
    return bytes(new)


def work(kind: str, start: int, count: int) -> None:
    """Read mutations start ... count - 1 of a format; print the number of each before it is read, then what came."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / f"whole.{kind}"
        images.write(whole, original())
        data, right = whole.read_bytes(), images.read(whole).pixels
        path = Path(folder) / f"mutated.{kind}"
        for number in range(start, count):
            path.write_bytes(mutated(data, random.Random(f"{kind} {number}")))
            print(number, end=" ", flush=True)
            try:
                found = images.read(path).pixels
                print("same" if np.array_equal(found, right) else "other", flush=True)
            except DataError:
                print("refused", flush=True)


def survey(kind: str, count: int) -> Counter[str]:
    """Return how many mutations were refused, read the same, read as other pixels, crashed or hung."""
    result: Counter[str] = Counter()
    start = 0
    while start < count:
        lines = _run(kind, start, count, result)
        results = [line.split() for line in lines]
        result.update(words[1] for words in results if len(words) == 2)
        start = int(results[-1][0]) + 1 if results else count
    return result


def _run(kind: str, start: int, count: int, result: Counter[str]) -> list[str]:
    """Run a process for mutations start ... count - 1 until its end, its crash or its hang, which is counted."""
    command = [sys.executable, __file__, "--work", kind, str(start), str(count)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, text=True)
        seen, hung = -1, False
        while True:
            try:
                process.wait(PER_FILE)
                break
            except subprocess.TimeoutExpired:
                size = out.seek(0, 2)
                if size == seen:  # not one file more in all this time
                    process.kill()
                    process.wait()
                    result["hung"] += 1
                    hung = True
                    break
                seen = size
        out.seek(0)
        lines = out.read().splitlines()
        if not hung and (process.returncode or not lines):
            result["crashed"] += 1
        if process.returncode:
            err.seek(0)
            print(kind, lines[-1:], err.read()[-400:], file=sys.stderr)
        return lines


def main() -> int:
    """Print a line of counts for each format; 1 if one crashed, hung, or was a PNG read silently wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="mutations of each format")
    parser.add_argument("--format", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--work", nargs=3, metavar=("FORMAT", "START", "COUNT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given.work[0], int(given.work[1]), int(given.work[2]))
        return 0
    bad = 0
    for kind in given.format:
        found = survey(kind, given.count)
        print(json.dumps({"format": kind, "mutations": given.count, **dict(sorted(found.items()))}), flush=True)
        bad += found["crashed"] + found["hung"] + (found["other"] if kind == "png" else 0)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
