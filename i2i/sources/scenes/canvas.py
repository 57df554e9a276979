"""The display list: polygons in drawing order with their paints, and their rasterisation at any size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from i2i.sources.scenes.spans import Integers
from i2i.sources.scenes.textures import Bytes, Floats
from i2i.sources.scenes.walls import View, Walls

Colour = tuple[float, float, float]
Paint = Colour | Floats
"""One RGB colour for all polygons, or n x 3; 0 ... 255, and what is beyond is cut."""

OVERSAMPLING = 2  # drawn twice as large and averaged: cheaper and cleaner at seams than anti-aliased edges
BLACK: Colour = (0, 0, 0)
FULL = 252  # the greatest value of `Paints.averaged`
FRACTION_BITS = 4
# Oversampled pixels: the area and the breadth of a polygon that is left out, since it would mark more than it covers.
_SMALLEST, _THINNEST = 4.0, 0.6


class Shapes:
    """Polygons; the later cover the earlier."""

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
    ) -> None:
        """Append n convex polygons of k corners, n x k x D; the other arguments are one for all, or n of them.

        colour, other: what the two pictures of a scene show there. shade: a fraction 0 ... 1 that is averaged like a
        colour. material: 0 ... 255, never averaged.
        """
        table = np.empty((len(corners), 8), np.float32)
        table[:, :3], table[:, 3], table[:, 4:7], table[:, 7] = colour, shade, other, material
        sides = np.empty(len(corners), np.intp)  # `np.full` takes five times as long for so few
        sides.fill(corners.shape[1])
        self.extend(corners.reshape(-1, corners.shape[2]).T, sides, table)

    def extend(self, corners: Floats, sides: Integers, table: Floats) -> None:
        """Append P polygons: their corners, D x M, how many each has, and the columns of `add`, P x 8.

        Those of no corners only have a number, for `Walls` to draw.
        """
        self._corners.append(corners)
        self._sides.append(sides)
        self._table.append(table)

    def __len__(self) -> int:
        return sum(map(len, self._sides))

    def points(self) -> Floats:
        """Return every corner, D x M, to be projected to the picture."""
        return np.concatenate(self._corners, axis=1)

    def outlines(self, points: Floats, side: int) -> Iterator[tuple[int, npt.NDArray[np.int32]]]:
        """Return the number of every polygon that reaches into a picture of side x side, and its corners there.

        points: 2 x M projected corners, as in `raster`. The corners are pixels as `cv2.fillPoly` wants them, with
        FRACTION_BITS. What is too tiny is left out.
        """
        fixed = points * np.float32(side << FRACTION_BITS)
        fixed -= (1 << FRACTION_BITS) / 2
        sides = np.concatenate(self._sides)
        ends, polygons = sides.cumsum(), np.flatnonzero(sides)
        polygons = polygons.take(_shown(fixed, (ends - sides).take(polygons), side << FRACTION_BITS))
        pixels, ends = fixed.T.astype(np.int32, order="C"), ends.take(polygons)
        starts = ends - sides.take(polygons)
        for number, start, end in zip((polygons + 1).tolist(), starts.tolist(), ends.tolist(), strict=True):
            yield number, pixels[start:end]

    def materials(self) -> Bytes:
        """Return the material of every polygon by its number."""
        materials = np.zeros(len(self) + 1, np.uint8)
        materials[1:] = np.concatenate(self._table)[:, 7]
        return materials

    def raster(self, points: Floats, size: int, walls: tuple[Walls, View] | None = None) -> Paints:
        """Draw at 2 x M projected corners in picture units: (0, 0) is the upper left corner, (1, 1) the lower right."""
        side = size * OVERSAMPLING
        # Numbered in drawing order: what is drawn last at a pixel is the greatest number there.
        index = np.zeros((side, side), np.uint16)
        fill, line = cv2.fillConvexPoly, cv2.LINE_8
        for number, corners in self.outlines(points, side):
            fill(index, corners, number, line, FRACTION_BITS)
        if walls is not None:
            np.maximum(index, walls[0].draw(walls[1], side), out=index)
        return Paints(index, *_looks(np.concatenate(self._table)))


def _looks(table: Floats) -> tuple[Bytes, Bytes]:
    """Return what is averaged and the material of every polygon; number 0 is what nothing is drawn upon."""
    looks, materials = np.zeros((len(table) + 1, 8), np.uint8), np.zeros(len(table) + 1, np.uint8)
    materials[1:] = table[:, 7]
    table[:, 3] *= 255
    table[:, 7] = 255
    looks[1:] = np.minimum(np.maximum(table, 0), 255)
    return looks, materials


def _shown(fixed: Floats, starts: Integers, limit: int) -> Integers:
    """Return which polygons reach into the picture and are not too tiny."""
    low, high = np.minimum.reduceat(fixed, starts, axis=1), np.maximum.reduceat(fixed, starts, axis=1)
    inside = (high > 0) & (low < limit)
    wide, tall = (high - low) * np.float32(1 / (1 << FRACTION_BITS))
    shown = inside[0] & inside[1] & (wide * tall > _SMALLEST) & (np.minimum(wide, tall) > _THINNEST)
    return np.flatnonzero(shown)


@dataclass(frozen=True)
class Paints:
    """A rasterised display list: the polygon's number at each pixel, oversampled, and by number how each looks.

    looks: the first colour, the shade, the other colour, 255 where anything is drawn, P x 8. materials: P.
    """

    index: npt.NDArray[np.uint16]
    looks: Bytes
    materials: Bytes

    @cached_property
    def centres(self) -> Integers:
        """The number at each pixel's centre, H x W."""
        return self.index[1::OVERSAMPLING, 1::OVERSAMPLING].astype(np.intp)

    @cached_property
    def averaged(self) -> Bytes:
        """What `looks` says of each pixel, each byte the mean of four, 8 x H x W; the greatest value is FULL."""
        # Eight bytes are added at a time: a quarter of each is at most 63, and four of those do not overflow.
        words = (self.looks // 4).view(np.uint64)[:, 0]
        sums = words.take(self.centres)
        sums *= 4
        # Most pixels lie within one polygon; only at the others four are looked up.
        pairs = self.index.view(np.uint32)
        upper, lower = pairs[0::2], pairs[1::2]
        differ = upper >> 16
        differ ^= upper
        differ &= 0xFFFF
        differ |= upper ^ lower
        mixed = np.flatnonzero(differ != 0)
        side, flat = len(self.index), self.index.reshape(-1)
        corner = 2 * mixed
        corner += corner // side * side
        quarters = words.take(flat.take(corner + np.array([[0], [1], [side], [side + 1]])))
        sums.reshape(-1)[mixed] = quarters.sum(axis=0)
        return np.asarray(cv2.transpose(sums.view(np.uint8).reshape(-1, 8))).reshape(8, *sums.shape)

    def material(self) -> Bytes:
        """Return the material at each pixel's centre, H x W."""
        return self.materials.take(self.centres)

    def outlines(self) -> Bytes:
        """Return how much of each pixel is a border between two polygons, H x W, 255 is all of it."""
        border = np.zeros(self.index.shape, np.uint8)
        border[:, 1:] = cv2.compare(self.index[:, 1:], self.index[:, :-1], cv2.CMP_NE)
        border[1:] |= cv2.compare(self.index[1:], self.index[:-1], cv2.CMP_NE)
        return halved(border)


def halved(drawn: Bytes) -> Bytes:
    """Return a picture at its size from one that is oversampled, H x W or H x W x C."""
    small = len(drawn) // OVERSAMPLING
    return np.asarray(cv2.resize(drawn, (small, small), interpolation=cv2.INTER_AREA))
