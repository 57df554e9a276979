"""The display list: polygons in drawing order with their paints, and their rasterisation at any size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from i2i.sources.scenes.textures import Bytes, Floats

Colour = tuple[float, float, float]
Paint = Colour | Floats
"""One RGB colour for all polygons, or n x 3; 0 ... 255, and what is beyond is cut."""
Integers = npt.NDArray[np.integer]

OVERSAMPLING = 2  # drawn twice as large and averaged: cheaper and cleaner at seams than anti-aliased edges
BACKDROP = 1e6  # the depth of what everything else covers
BLACK: Colour = (0, 0, 0)
FULL = 252  # the greatest value of `Paints.averaged`
_FRACTION_BITS = 4
# Oversampled pixels: the area and the breadth of a polygon that is left out, since it would mark more than it covers.
_SMALLEST, _THINNEST = 0.9, 0.4


class Shapes:
    """Polygons; the nearer cover the farther, and of two at the same depth the later covers the earlier."""

    def __init__(self) -> None:
        self._corners: list[Floats] = []
        self._sides: list[Integers] = []
        self._table: list[Floats] = []

    def add(
        self,
        corners: Floats,
        colour: Paint,
        material: int | Integers,
        *,
        shade: float | Floats = 1,
        other: Paint = BLACK,
        depth: float = BACKDROP,
    ) -> None:
        """Append n convex polygons of k corners, n x k x D; the other arguments are one for all, or n of them.

        colour, other: what the two pictures of a scene show there. shade: a fraction 0 ... 1 that is averaged like a
        colour. material: 0 ... 255, never averaged. depth: how far away.
        """
        table = np.empty((len(corners), 9), np.float32)
        table[:, :3], table[:, 3], table[:, 4:7], table[:, 7], table[:, 8] = colour, shade, other, material, depth
        self.extend(corners.reshape(-1, corners.shape[2]), np.full(len(corners), corners.shape[1]), table)

    def extend(self, corners: Floats, sides: Integers, table: Floats) -> None:
        """Append P polygons: their corners one after another, how many each has, and the columns of `add`, P x 9."""
        self._corners.append(corners)
        self._sides.append(sides)
        self._table.append(table)

    def points(self) -> Floats:
        """Return every corner, M x D, to be projected to the picture."""
        return np.concatenate(self._corners)

    def raster(self, points: Floats, size: int) -> Paints:
        """Draw at 2 x M projected corners in picture units: (0, 0) is the upper left corner, (1, 1) the lower right."""
        side = size * OVERSAMPLING
        scale = np.float32(side << _FRACTION_BITS)
        fixed = points * scale
        fixed -= (1 << _FRACTION_BITS) / 2
        np.clip(fixed, -8 * scale, 9 * scale, out=fixed)
        sides, table = np.concatenate(self._sides), np.concatenate(self._table)
        ends = np.cumsum(sides)
        shown = np.flatnonzero(_shown(fixed, ends, sides, float(scale)))
        order = shown[np.argsort(-table[:, 8][shown], kind="stable")]
        pixels = fixed.T.astype(np.int32, order="C")
        index = np.zeros((side, side), np.uint16)
        fill, line = cv2.fillConvexPoly, cv2.LINE_8
        last = ends.take(order)
        for polygon, start, end in zip(order.tolist(), (last - sides.take(order)).tolist(), last.tolist(), strict=True):
            fill(index, pixels[start:end], polygon + 1, line, _FRACTION_BITS)
        return Paints(index, *_looks(table))


def _looks(table: Floats) -> tuple[Bytes, Bytes]:
    """Return what is averaged and the material of every polygon; number 0 is what nothing is drawn upon."""
    looks, materials = np.zeros((len(table) + 1, 8), np.uint8), np.zeros(len(table) + 1, np.uint8)
    materials[1:] = table[:, 7]
    table[:, 3] *= 255
    table[:, 7] = 255
    looks[1:] = np.clip(table[:, :8], 0, 255)
    return looks, materials


def _shown(fixed: Floats, ends: Integers, sides: Integers, limit: float) -> npt.NDArray[np.bool_]:
    """Return which polygons reach into the picture and are not too small, judged by four of their corners."""
    (a, b, c, d) = (fixed.take(ends - 1 - sides * quarter // 4, axis=1) for quarter in range(4))
    low, high = np.minimum(np.minimum(a, b), np.minimum(c, d)), np.maximum(np.maximum(a, b), np.maximum(c, d))
    inside = (high > 0) & (low < limit)
    extent = high - low
    extent *= 1 / (1 << _FRACTION_BITS)
    wide, tall = extent
    return np.asarray(inside[0] & inside[1] & (wide * tall > _SMALLEST) & (np.minimum(wide, tall) > _THINNEST))


@dataclass(frozen=True)
class Paints:
    """A rasterised display list: the polygon's number at each pixel, oversampled, and by number how each looks.

    looks: the first colour, the shade, the other colour, 255 where anything is drawn, P x 8. materials: P.
    """

    index: npt.NDArray[np.uint16]
    looks: Bytes
    materials: Bytes

    @cached_property
    def _wide(self) -> npt.NDArray[np.intp]:
        # `take` would convert a narrower index at each call.
        return self.index.astype(np.intp)

    @cached_property
    def averaged(self) -> Floats:
        """What `looks` says of each pixel, each byte the mean of four, 8 x H x W; the greatest value is FULL."""
        # Eight bytes are added at a time: a quarter of each is at most 63, and four of those do not overflow.
        words = (self.looks // 4).view(np.uint64)[:, 0].take(self._wide)
        rows = words[0::2] + words[1::2]
        sums = rows[:, 0::2] + rows[:, 1::2]
        return np.array(cv2.split(sums.view(np.uint8).reshape(*sums.shape, 8)), np.float32)

    def picture(self) -> Bytes:
        """Return the first colour of each pixel, exact where it is flat, H x W x 3."""
        side = len(self.index)
        words = np.ascontiguousarray(self.looks[:, :4]).view(np.uint32)[:, 0]
        drawn = words.take(self._wide).view(np.uint8).reshape(side, side, 4)
        small = side // OVERSAMPLING
        return np.asarray(cv2.resize(drawn, (small, small), interpolation=cv2.INTER_AREA))[:, :, :3]

    def material(self) -> npt.NDArray[np.intp]:
        """Return the material at each pixel's centre, H x W."""
        return self.materials.astype(np.intp).take(self._wide[1::OVERSAMPLING, 1::OVERSAMPLING])

    def outlines(self) -> Floats:
        """Return how much of each pixel is a border between two polygons, H x W in [0, 1]."""
        border = np.zeros(self.index.shape, np.uint8)
        border[:, 1:] = self.index[:, 1:] != self.index[:, :-1]
        border[1:] |= self.index[1:] != self.index[:-1]
        small = border[0::2] + border[1::2]
        return np.asarray((small[:, 0::2] + small[:, 1::2]) * np.float32(0.25))
