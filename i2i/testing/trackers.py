"""The checks of trackers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from i2i.build import Part
from i2i.testing.supply import Check


def tracker_takes_everything(part: Part) -> None:
    """log, image and close work in an empty folder, and again where a run goes on."""
    with tempfile.TemporaryDirectory() as folder:
        for step in (1, 3):
            tracker = part(Path(folder))
            tracker.log(step, {"g/l1": 0.5})
            tracker.image(step, "samples", np.zeros((8, 12, 3), dtype=np.uint8))
            tracker.log(step + 1, {"g/l1": 0.25, "d/adversarial": 0.7})
            tracker.close()


CHECKS: list[Check] = [tracker_takes_everything]
