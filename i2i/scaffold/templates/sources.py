"""A source that draws its pictures, registered in pyproject.toml."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from i2i.contracts import Count, ImageSpec, Natural, Sample
from i2i.errors import UsageError


class Placeholder:
    """Coloured discs on a dark ground: `a` shows their outlines, `b` the discs; each 3 × size × size, uint8.

    size: pixels a side. count: how many samples. seed: of what is drawn; each sample follows from it and its index.
    UsageError where the task asks for other pictures.
    """

    def __init__(
        self, images: Mapping[str, ImageSpec], *, size: Count = 64, count: Count = 1000, seed: Natural = 0
    ) -> None:
        for name, spec in images.items():
            if name not in ("a", "b") or spec != ImageSpec():
                raise UsageError(f"placeholder draws 'a' and 'b' in colour, not {name!r} as {spec}.")
        self.size = size
        self.count = count
        self.seed = seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        draw = np.random.default_rng((self.seed, index))  # of its own: workers share no generator
        row, column = np.mgrid[: self.size, : self.size] / self.size
        outlines = np.zeros((3, self.size, self.size), dtype=np.uint8)
        discs = np.full_like(outlines, 32)
        for _ in range(3):
            x, y, radius = draw.uniform((0.2, 0.2, 0.1), (0.8, 0.8, 0.3))
            distance = np.hypot(column - x, row - y) - radius
            discs[:, distance < 0] = draw.integers(64, 256, (3, 1))
            outlines[:, np.abs(distance) < 1 / self.size] = 255
        return {"a": outlines, "b": discs}
