"""The display list: polygons in drawing order with their paints, and their rasterisation at any size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from i2i.sources.scenes.textures import Bytes, Floats

Colour = tuple[float, float, float]
Paint = Colour | Floats
"""One RGB colour for all polygons, or n x 3; 0 ... 255, and what is beyond is cut."""

OVERSAMPLING = 2  # drawn twice as large and averaged: cheaper and cleaner at seams than anti-aliased edges
BACKDROP = 1e6
BLACK: Colour = (0, 0, 0)
_FRACTION_BITS = 4
_SMALLEST = 0.9  # oversampled pixels; a polygon of less area would still mark a whole pixel


class Shapes:
    """Polygons; the nearer cover the farther, and of two at the same depth the later covers the earlier."""

    def __init__(self) -> None:
        self._corners: list[Floats] = []
        self._sizes: list[tuple[int, int]] = []
        # Red, green, blue, shade, another red, green, blue, material, depth. What is not the same for a whole group is
        # written over it later: a group in one paint, as most are, costs no array.
        self._paints: list[tuple[float, ...]] = []
        self._varied: list[tuple[int, slice, Floats]] = []

    def add(
        self,
        corners: Floats,
        colour: Paint,
        material: int | npt.NDArray[np.integer],
        *,
        shade: float | Floats = 1,
        other: Paint = BLACK,
        depth: float | Floats = BACKDROP,
    ) -> None:
        """Append n convex polygons of k corners, n x k x D; every other argument is one for all, or n of them.

        colour, other: what the two pictures of a scene show there. shade: a fraction 0 ... 1 that is averaged like a
        colour. material: 0 ... 255, never averaged. depth: how far away.
        """
        paint: list[float] = []
        for value, width in ((colour, 3), (shade, 1), (other, 3), (material, 1), (depth, 1)):
            if isinstance(value, np.ndarray):
                columns = slice(len(paint), len(paint) + width)
                self._varied.append((len(self._sizes), columns, value.reshape(-1, width)))
                paint += (0,) * width
            elif isinstance(value, tuple):
                paint += value
            else:
                paint.append(value)
        self._paints.append(tuple(paint))
        self._sizes.append(corners.shape[:2])
        self._corners.append(corners.reshape(-1, corners.shape[2]))

    def points(self) -> Floats:
        """Return every corner, M x D, to be projected to the picture."""
        return np.concatenate(self._corners)

    def _table(self, counts: npt.NDArray[np.intp]) -> Floats:
        """Return the paint of every polygon, P x 9."""
        table = np.repeat(np.array(self._paints, np.float32), counts, axis=0)
        ends = np.cumsum(counts).tolist()
        for group, columns, values in self._varied:
            table[ends[group] - len(values) : ends[group], columns] = values
        return table

    def raster(self, points: Floats, size: int) -> Paints:
        """Draw at 2 x M projected corners in picture units: (0, 0) is the upper left corner, (1, 1) the lower right."""
        side = size * OVERSAMPLING
        scale = np.float32(side << _FRACTION_BITS)
        fixed = points * scale
        fixed -= (1 << _FRACTION_BITS) / 2
        np.clip(fixed, -8 * scale, 9 * scale, out=fixed)
        counts, corners = np.array(self._sizes).T
        sides = np.repeat(corners, counts)
        ends = np.cumsum(sides)
        table = self._table(counts)
        shown = np.flatnonzero(_shown(fixed, ends, sides, float(scale)))
        order = shown[np.argsort(-table[:, 8][shown], kind="stable")]
        pixels = fixed.T.astype(np.int32, order="C")
        index = np.zeros((side, side), np.uint16)
        fill, line = cv2.fillConvexPoly, cv2.LINE_8
        last = ends[order]
        for polygon, start, end in zip(order.tolist(), (last - sides[order]).tolist(), last.tolist(), strict=True):
            fill(index, pixels[start:end], polygon + 1, line, _FRACTION_BITS)
        table[:, 3] *= 255
        paints = np.zeros((len(table) + 1, 8), np.uint8)
        paints[1:] = np.clip(table[:, :8], 0, 255)
        return Paints(index.astype(np.intp), paints)


def _shown(
    fixed: Floats, ends: npt.NDArray[np.intp], sides: npt.NDArray[np.intp], limit: float
) -> npt.NDArray[np.bool_]:
    """Return which polygons reach into the picture and are not too small, judged by four of their corners."""
    (a, b, c, d) = (fixed[:, ends - 1 - sides * quarter // 4] for quarter in range(4))
    low, high = np.minimum(np.minimum(a, b), np.minimum(c, d)), np.maximum(np.maximum(a, b), np.maximum(c, d))
    extent = high - low
    inside = (high > 0) & (low < limit)
    return np.asarray(inside[0] & inside[1] & (extent[0] * extent[1] > _SMALLEST * (1 << _FRACTION_BITS) ** 2))


@dataclass(frozen=True)
class Paints:
    """A rasterised display list: the polygon's number at each pixel, oversampled, and the paint of each, P x 8."""

    index: npt.NDArray[np.intp]
    table: Bytes

    def _averaged(self, columns: slice) -> Bytes:
        side = self.index.shape[0]
        words = np.ascontiguousarray(self.table[:, columns]).view(np.uint32)[:, 0]
        drawn = words.take(self.index).view(np.uint8).reshape(side, side, 4)
        small = side // OVERSAMPLING
        return np.asarray(cv2.resize(drawn, (small, small), interpolation=cv2.INTER_AREA))

    def colours(self) -> Bytes:
        """Return the first colour and the shade (0 ... 255) of each pixel, H x W x 4."""
        return self._averaged(slice(0, 4))

    def others(self) -> Bytes:
        """Return the second colour of each pixel, H x W x 3."""
        return self._averaged(slice(4, 8))[:, :, :3]

    def materials(self) -> Bytes:
        """Return the material at each pixel's centre, H x W."""
        return self.table[:, 7].take(self.index[1::OVERSAMPLING, 1::OVERSAMPLING])

    def cover(self) -> Floats:
        """Return how much of each pixel is drawn upon, H x W in [0, 1]."""
        return _share((self.index > 0).view(np.uint8))

    def outlines(self) -> Floats:
        """Return how much of each pixel is a border between two polygons, H x W in [0, 1]."""
        border = np.zeros(self.index.shape, np.uint8)
        border[:, 1:] = self.index[:, 1:] != self.index[:, :-1]
        border[1:] |= self.index[1:] != self.index[:-1]
        return _share(border)


def _share(mask: Bytes) -> Floats:
    side = mask.shape[0] // OVERSAMPLING
    small = cv2.resize(mask * np.uint8(252), (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small * np.float32(1 / 252), np.float32)
