"""How many scenes a second one core draws at 128x128: `python bench/scenes.py [scenes, 300 unless said otherwise]`."""

from __future__ import annotations

import sys
from statistics import median
from time import process_time

import cv2

from i2i.contracts import ImageSpec
from i2i.sources.scenes import Scenes

LAYERS = (
    ("day",),
    ("day", "night"),
    ("labels", "day"),
    ("edges", "day"),
    ("day", "night", "labels", "edges"),
    ("aerial", "map"),
)


def main() -> None:
    """Time every set of layers on the same scenes: processor time, so that other work on the machine counts less."""
    count = max(300, int(sys.argv[1])) if len(sys.argv) > 1 else 300
    cv2.setNumThreads(1)
    print(f"{'layers':24}{'median':>10}{'best':>10}   scenes a second, of {count}")
    for layers in LAYERS:
        scenes = Scenes({layer: ImageSpec(3) for layer in layers}, size=128, count=count + 1)
        scenes[count]  # what is made once a process
        seconds = []
        for index in range(count):
            start = process_time()
            scenes[index]
            seconds.append(process_time() - start)
        print(f"{' '.join(layers):24}{1 / median(seconds):10.0f}{1 / min(seconds):10.0f}", flush=True)


if __name__ == "__main__":
    main()
