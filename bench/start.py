"""How long the first answer takes: `python -m bench start`. Each line is the median of fresh processes, in turn."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from bench import translate
from i2i import images

LOAD = """
import time, torch
start = time.perf_counter()
import i2i
from i2i import images
i2i.load({model!r}, "cpu", "auto")(images.read({picture!r}).pixels)
print(time.perf_counter() - start)
"""


def main(work: Path, turns: int) -> list[dict[str, object]]:
    """Print and return a row for each: what, and its seconds."""
    work.mkdir(parents=True, exist_ok=True)
    broken, picture = work / "broken.toml", work / "picture.png"
    broken.write_text('task = "pared"\nsource = "scenes"\n')
    images.write(picture, np.zeros((256, 256, 3), np.uint8))
    code = LOAD.format(model=str(translate.model(work / "model")), picture=str(picture))
    i2i = [sys.executable, "-m", "i2i"]
    commands = {
        "python alone": [sys.executable, "-c", "pass"],
        "i2i --help": [*i2i, "--help"],
        "i2i plugins": [*i2i, "plugins"],
        "i2i check of a broken recipe": [*i2i, "check", str(broken)],
        "import torch": [sys.executable, "-c", "import torch"],
    }
    taken: dict[str, list[float]] = {name: [] for name in (*commands, "model of 54 M weights to first picture")}
    for _ in range(turns):
        for name, command in commands.items():
            taken[name].append(_wall(command))
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        taken["model of 54 M weights to first picture"].append(float(told.stdout))
    rows: list[dict[str, object]] = [
        {"what": name, "seconds": median(seconds), "least": min(seconds)} for name, seconds in taken.items()
    ]
    for row in rows:
        print(f"{row['what']:40}{row['seconds']:8.2f} s, at best {row['least']:.2f} s", flush=True)
    return rows


def _wall(command: Sequence[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, capture_output=True, check=False)
    return time.perf_counter() - start
