"""A kit of parts: pieces made of painted polygons, made once a process; a scene only says which stand where."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from i2i.sources.scenes.canvas import BLACK, Paint, Shapes
from i2i.sources.scenes.spans import Integers, runs
from i2i.sources.scenes.textures import Floats


class Face(IntEnum):
    """Which light falls on a polygon: the columns of the table of lights that `Kit.place` is given."""

    DARK = 0
    WALL = 1
    FRONT = 2
    TOP = 3
    ROOF = 4
    LIT = 5


# How far away in metres a polygon is still worth drawing: farther, it is thinner than a pixel, and each costs a
# microsecond. A piece is drawn without those whose reach ends before the place where it stands.
DETAIL, MIDDLE, FAR, EVERYWHERE = 11.0, 19.0, 38.0, 1e9
_REACHES = (DETAIL, MIDDLE, FAR, EVERYWHERE)


class KitBuilder:
    """Collects the polygons of many pieces at a time."""

    def __init__(self) -> None:
        self.pieces = 0
        self._groups: list[tuple[Floats, Integers, Floats, Floats]] = []

    def reserve(self, count: int) -> Integers:
        """Return the numbers of `count` new pieces."""
        self.pieces += count
        return np.arange(self.pieces - count, self.pieces)

    def add(
        self,
        piece: Integers,
        corners: Floats,
        colour: Paint,
        material: int | Integers,
        *,
        face: Face,
        share: float | Floats = 1,
        other: Paint = BLACK,
        reach: float = EVERYWHERE,
    ) -> None:
        """Append n polygons of k corners, n x k x 3, each to its piece, over what that piece has.

        share: of the light that falls on such a face. reach: DETAIL, MIDDLE, FAR or EVERYWHERE.
        """
        columns = np.empty((len(piece), 8), np.float32)
        columns[:, :3], columns[:, 3], columns[:, 4:7], columns[:, 7] = colour, share, other, material
        limits = np.full((len(piece), 2), (face, reach))
        self._groups.append((np.broadcast_to(corners, (len(piece), *corners.shape[1:])), piece, columns, limits))

    def build(self) -> Kit:
        """Return the kit."""
        piece = np.concatenate([group[1] for group in self._groups])
        face, reach = np.concatenate([group[3] for group in self._groups]).T
        sides = np.concatenate([np.full(len(group[0]), group[0].shape[1]) for group in self._groups])
        corners = np.concatenate([group[0].reshape(-1, 3) for group in self._groups])
        ends = np.cumsum(sides)
        levels = [np.flatnonzero(reach >= least) for least in _REACHES]
        polygons = [level[np.argsort(piece[level], kind="stable")] for level in levels]
        counts = np.stack([np.bincount(piece[level], minlength=self.pieces) for level in levels])
        corner_counts = np.stack([np.bincount(piece[level], sides[level], self.pieces) for level in levels])
        return Kit(
            corners=np.ascontiguousarray(corners.T),  # `take` would copy a mere view, whole, at each call
            first_corner=ends - sides,
            sides=sides,
            table=np.concatenate([group[2] for group in self._groups]),
            face=face.astype(np.intp),
            polygons=np.concatenate(polygons),
            first=np.cumsum(counts).reshape(counts.shape) - counts,
            counts=counts,
            corner_counts=corner_counts.astype(np.intp),
        )


@dataclass(frozen=True)
class Kit:
    """Pieces: first and counts, one row for each reach, say where in `polygons` a piece's numbers of polygons are.

    corner_counts: how many corners these polygons have, like counts.
    """

    corners: Floats
    first_corner: Integers
    sides: Integers
    table: Floats
    face: Integers
    polygons: Integers
    first: Integers
    counts: Integers
    corner_counts: Integers

    def place(self, shapes: Shapes, piece: Integers, x: Floats, z: Floats, tint: Floats, light: Floats) -> None:
        """Draw n pieces at (x, 0, z), those at the left (x < 0) mirrored; the later cover the earlier.

        tint: n x 3, factors of the colours. light: 2 x 6, what falls on each Face of pieces at the left and at the
        right.
        """
        right = x > 0
        piece = np.searchsorted(_REACHES, z) * self.counts.shape[1] + piece
        counts, count = self.counts.take(piece), self.corner_counts.take(piece)
        polygon = self.polygons.take(runs(self.first.take(piece), counts))
        sides, table = self.sides.take(polygon), self.table.take(polygon, axis=0)
        table[:, :3] *= tint.repeat(counts, axis=0)
        table[:, 3] *= light.take(self.face.take(polygon) + (right * light.shape[1]).repeat(counts))
        corners = self.corners.take(runs(self.first_corner.take(polygon), sides), axis=1)
        corners[0] *= np.where(right, np.float32(1), np.float32(-1)).repeat(count)
        corners[0] += x.repeat(count)
        corners[2] += z.repeat(count)
        shapes.extend(corners, sides, table)
