"""Sources, sound and broken: apart from the other parts, since processes without torch import them."""

from __future__ import annotations

from typing import Any

import numpy as np


class Drawn:
    """Four samples, drawn from their index."""

    def __init__(self, images: Any) -> None:
        self.images = dict(images)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self.draw(index, 0)

    def draw(self, index: int, seed: int) -> dict[str, np.ndarray]:
        """Draw a sample with another seed."""
        generator = np.random.default_rng([index, seed])
        return {k: generator.integers(0, 255, (s.channels, 8, 9), dtype=np.uint8) for k, s in self.images.items()}


class Doubled(Drawn):
    def draw(self, index: int, seed: int) -> dict[str, np.ndarray]:
        return {name: picture.astype(np.float64) / 255 for name, picture in super().draw(index, seed).items()}


class OutOfRange(Drawn):
    def draw(self, index: int, seed: int) -> dict[str, np.ndarray]:
        return {name: picture.astype(np.float32) / 200 for name, picture in super().draw(index, seed).items()}


class FromGlobalChance(Drawn):
    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {k: np.random.randint(0, 255, (s.channels, 8, 9)).astype(np.uint8) for k, s in self.images.items()}


class Unpicklable(Drawn):
    def __init__(self, images: Any) -> None:
        super().__init__(images)
        self.read = lambda index: index


class OtherMate(Drawn):
    def draw(self, index: int, seed: int) -> dict[str, np.ndarray]:
        return super().draw(index, int(np.random.randint(9)))


class OfItsProcess(Drawn):
    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {name: np.full((3, 8, 9), hash(name) % 255, np.uint8) for name in self.images}
