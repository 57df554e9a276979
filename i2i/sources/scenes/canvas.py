"""The display list: polygons in drawing order with their paints, and their rasterisation at any size."""

from __future__ import annotations

from dataclasses import dataclass, field

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
_SMALLEST = 0.6  # oversampled pixels; a polygon of less area would still mark a whole pixel


@dataclass
class Shapes:
    """Polygons; the nearer cover the farther, and of two at the same depth the later covers the earlier."""

    _corners: list[Floats] = field(default_factory=list)
    _sides: list[tuple[int, int]] = field(default_factory=list)
    _paints: list[Floats] = field(default_factory=lambda: [np.zeros((1, 9), np.float32)])

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
        paint = np.empty((len(corners), 9), np.float32)
        paint[:, :3], paint[:, 3], paint[:, 4:7] = colour, shade, other
        paint[:, 7], paint[:, 8] = material, depth
        self._corners.append(corners.reshape(-1, corners.shape[2]))
        self._sides.append(corners.shape[:2])
        self._paints.append(paint)

    def points(self) -> Floats:
        """Return every corner, M x D, to be projected to the picture."""
        return np.concatenate(self._corners)

    def raster(self, points: Floats, size: int) -> Paints:
        """Draw at M x 2 projected corners in picture units: (0, 0) is the upper left corner, (1, 1) the lower right."""
        side = size * OVERSAMPLING
        scale = np.float32(side << _FRACTION_BITS)
        pixels = np.clip(np.rint(points * scale - (1 << _FRACTION_BITS) / 2), -8 * scale, 9 * scale).astype(np.int32)
        sides = np.repeat(np.array([k for _, k in self._sides]), np.array([n for n, _ in self._sides]))
        ends = np.cumsum(sides)
        starts = ends - sides
        paints = np.concatenate(self._paints)
        shown = _shown(pixels, starts, int(scale))
        order = np.argsort(-paints[1:, 8], kind="stable")
        order = order[shown[order]]
        index = np.zeros((side, side), np.uint16)
        fill, line = cv2.fillConvexPoly, cv2.LINE_8
        for number, start, end in zip((order + 1).tolist(), starts[order].tolist(), ends[order].tolist(), strict=True):
            fill(index, pixels[start:end], number, line, _FRACTION_BITS)
        paints[:, 3] *= 255
        return Paints(index.astype(np.intp), np.clip(paints[:, :8], 0, 255).astype(np.uint8))


def _shown(pixels: npt.NDArray[np.int32], starts: npt.NDArray[np.intp], limit: int) -> npt.NDArray[np.bool_]:
    low = np.minimum.reduceat(pixels, starts)
    high = np.maximum.reduceat(pixels, starts)
    extent = (high - low).astype(np.float32)
    large = extent[:, 0] * extent[:, 1] > _SMALLEST * (1 << _FRACTION_BITS) ** 2
    return np.asarray((high > 0).all(axis=1) & (low < limit).all(axis=1) & large)


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
