"""The walls along a street, drawn column by column: each column of the picture shows one upright line of one wall."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from i2i.sources.scenes.spans import Integers, runs
from i2i.sources.scenes.textures import Floats

SPACING = 64.0  # metres; what the walls of the kit are apart in `Strips.keys`: more than any is wide
NEAREST = 1.0  # metres
ROW = 1e3  # metres; what the right row is apart from the left one in the keys of `Walls`
_NOTHING, _ABOVE = -(1 << 14), 1e6


@dataclass(frozen=True)
class Strips:
    """Walls of rectangles, cut upright where a rectangle begins or ends, so that each strip is a pile of runs.

    keys: where strip after strip begins, in metres along its wall, plus SPACING times the number of the wall.
    first, counts: where the runs of a strip begin, and how many there are; one more strip at the end is empty.
    tops, numbers: of each run, downwards, its upper end in metres and the rectangle of its wall that it shows.
    """

    keys: Floats
    first: Integers
    counts: Integers
    tops: Floats
    numbers: Integers


def cut(walls: list[Floats]) -> Strips:
    """Cut walls into strips; each is n x 4 of y0, y1, z0, z1, the later over the earlier, the first from z0 = 0."""
    parts = [_cut(number, rects) for number, rects in enumerate(walls) if len(rects)]
    parts.append((np.zeros(0), np.ones(1, np.intp), np.array([_ABOVE]), np.array([_NOTHING])))
    keys, counts, tops, numbers = (np.concatenate(column) for column in zip(*parts, strict=True))
    # The smaller, the more of it stays in the processor's cache.
    return Strips(keys, np.cumsum(counts) - counts, counts, tops.astype(np.float32), numbers.astype(np.int16))


def _cut(wall: int, rects: Floats) -> tuple[Floats, Integers, Floats, Integers]:
    """Return the keys and counts of a wall's strips, and the tops and numbers of their runs."""
    y, z = np.unique(rects[:, :2])[::-1], np.unique(rects[:, 2:])
    shown = np.full((len(z) - 1, len(y) + 1), _NOTHING)
    low, high = np.searchsorted(-y, -rects[:, :2]).T.tolist()
    near, far = np.searchsorted(z, rects[:, 2:]).T.tolist()
    for number in range(len(rects)):
        shown[near[number] : far[number], high[number] + 1 : low[number] + 1] = number
    begins = np.ones(shown.shape, bool)
    begins[:, 1:] = shown[:, 1:] != shown[:, :-1]
    _, run = np.nonzero(begins)
    return z[:-1] + SPACING * wall, begins.sum(axis=1), np.concatenate([[_ABOVE], y])[run], shown[begins]


@dataclass(frozen=True)
class View:
    """A camera at (0, eye, 0) that looks along z; its uprights stay upright."""

    eye: float
    focal: float
    vanish: float
    horizon: float

    def project(self, points: Floats) -> Floats:
        """Return 3 x M metres as 2 x M in picture units (x right, y down, 0 ... 1)."""
        x, y, z = points
        scale = np.float32(self.focal) / np.maximum(z, np.float32(NEAREST))
        projected = np.empty((2, points.shape[1]), np.float32)
        np.add(x * scale, np.float32(self.vanish), out=projected[0])
        np.add((np.float32(self.eye) - y) * scale, np.float32(self.horizon), out=projected[1])
        return projected


@dataclass(frozen=True)
class Walls:
    """The walls of both rows, in the order of their keys.

    keys: where each begins, in metres from the camera, ROW more at the right. wall: its number in `strips`. first: the
    number of its first rectangle in the picture. distance: of the left and the right row from the camera, times the
    focal length.
    """

    strips: Strips
    keys: Floats
    width: Floats
    wall: Integers
    first: Integers
    distance: tuple[float, float]

    def draw(self, view: View, side: int) -> npt.NDArray[np.uint16]:
        """Return the number of the rectangle at each pixel, 0 where there is no wall, side x side."""
        aside = (np.arange(side) + 0.5) / side - view.vanish
        right = aside > 0
        depth = np.where(right, self.distance[1], -self.distance[0]) / aside
        key = np.minimum(depth, ROW - 1) + ROW * right
        house = np.maximum(np.searchsorted(self.keys, key) - 1, 0)
        along = key - self.keys.take(house)
        strip = np.searchsorted(self.strips.keys, SPACING * self.wall.take(house) + along) - 1
        strip[(along < 0) | (along >= self.width.take(house))] = -1
        counts = self.strips.counts.take(strip)
        run = runs(self.strips.first.take(strip), counts)
        scale, first = np.array((side * view.focal / depth, self.first.take(house)), np.float32).repeat(counts, axis=1)
        top = np.float32(view.eye) - self.strips.tops.take(run)
        top *= scale
        top += np.float32(view.horizon * side + 0.5)
        begins = np.full(len(run) + 1, side * side)
        begins[:-1] = np.minimum(np.maximum(top, 0), side)
        begins[:-1] += np.arange(0, side * side, side).repeat(counts)
        number = np.maximum(self.strips.numbers.take(run) + first, 0).astype(np.uint16)
        return np.asarray(cv2.transpose(number.repeat(begins[1:] - begins[:-1]).reshape(side, side)))
