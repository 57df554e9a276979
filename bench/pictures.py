"""Pictures to measure with: JPEG files of drawn scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from i2i.contracts import ImageSpec
from i2i.sources.scenes import Scenes


def side_by_side(folder: Path, count: int, size: int = 256) -> Path:
    """Write `count` JPEG files, a street by day at the left and its labels at the right; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    scenes = Scenes({"day": ImageSpec(3), "labels": ImageSpec(3)}, size=size, count=count)
    for index in range(count):
        sample = scenes[index]
        both = np.concatenate([sample["day"], sample["labels"]], 2).transpose(1, 2, 0)
        Image.fromarray(both).save(folder / f"{index:04}.jpg", quality=95)
    return folder
