"""A kit of parts: pieces made of painted polygons, made once a process; a scene only says which stand where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from i2i.sources.scenes.canvas import BLACK, Paint, Shapes
from i2i.sources.scenes.spans import Integers, runs
from i2i.sources.scenes.textures import Floats
from i2i.sources.scenes.walls import Strips, cut


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
REACHES = (DETAIL, MIDDLE, FAR, EVERYWHERE)


class KitBuilder:
    """Collects the polygons of many pieces at a time."""

    def __init__(self) -> None:
        self.pieces = 0
        self.walls = 0
        self._groups: list[tuple[Floats, Integers, Floats, Floats, Floats]] = []

    def reserve(self, count: int) -> Integers:
        """Return the numbers of `count` new pieces."""
        self.pieces += count
        return np.arange(self.pieces - count, self.pieces)

    def reserve_walls(self, count: int) -> Integers:
        """Return the numbers of `count` new pieces, the first ones of the kit, that are walls at x = 0."""
        self.walls = count
        return self.reserve(count)

    def add(
        self,
        piece: Integers,
        corners: Floats,
        colour: Paint,
        material: int | Integers,
        *,
        face: IntEnum,
        share: float | Floats = 1,
        other: Paint = BLACK,
        reach: float = EVERYWHERE,
    ) -> None:
        """Append n polygons of k corners, n x k x 3, each to its piece, over what that piece has.

        share: of the light that falls on such a face. reach: DETAIL, MIDDLE, FAR or EVERYWHERE.
        Those of walls are rectangles `along` 0.
        """
        columns = np.empty((len(piece), 8), np.float32)
        columns[:, :3], columns[:, 3], columns[:, 4:7], columns[:, 7] = colour, share, other, material
        limits = np.full((len(piece), 2), (face, reach))
        corners = np.broadcast_to(corners, (len(piece), *corners.shape[1:]))
        rects = np.stack((corners[:, 0, 1], corners[:, 2, 1], corners[:, 0, 2], corners[:, 2, 2]), axis=1)
        painted = piece < self.walls
        self._groups.append((corners[:, :0] if painted.any() else corners, piece, columns, limits, rects))

    def build(self, reaches: Sequence[float] = REACHES) -> Kit:
        """Return the kit; reaches: those that its polygons have, in order."""
        piece = np.concatenate([group[1] for group in self._groups])
        face, reach = np.concatenate([group[3] for group in self._groups]).T
        sides = np.concatenate([np.full(len(group[0]), group[0].shape[1]) for group in self._groups])
        corners = np.concatenate([group[0].reshape(-1, 3) for group in self._groups])
        levels = [np.flatnonzero(reach >= least) for least in reaches]
        counts = np.concatenate([np.bincount(piece[level], minlength=self.pieces) for level in levels])
        corner_counts = np.concatenate([np.bincount(piece[level], sides[level], self.pieces) for level in levels])
        corner_counts = corner_counts.astype(np.intp)
        # Stored at every reach, piece by piece, so that a piece is one stretch.
        order = np.concatenate([level[np.argsort(piece[level], kind="stable")] for level in levels])
        first, rects = np.cumsum(counts) - counts, np.concatenate([group[4] for group in self._groups])[order]
        painted = sides[order] == 0
        walls = zip(np.split(rects, first[1:]), np.split(painted, first[1:]), strict=True)
        return Kit(
            pieces=self.pieces,
            corners=np.ascontiguousarray(corners[runs((np.cumsum(sides) - sides)[order], sides[order])].T),
            sides=sides[order],
            table=np.concatenate([group[2] for group in self._groups])[order],
            face=face[order].astype(np.intp),
            first=first,
            counts=counts,
            first_corner=np.cumsum(corner_counts) - corner_counts,
            corner_counts=corner_counts,
            strips=cut([wall[those] for wall, those in walls]),
        )


@dataclass(frozen=True)
class Kit:
    """Pieces at one reach after another: where their polygons and corners begin, and how many each has.

    corners: 3 x M. sides, table, face: of each polygon. strips: the pieces that are walls, at each reach.
    """

    pieces: int
    corners: Floats
    sides: Integers
    table: Floats
    face: Integers
    first: Integers
    counts: Integers
    first_corner: Integers
    corner_counts: Integers
    strips: Strips

    def at(self, piece: Integers, distance: Floats) -> Integers:
        """Return numbers of pieces without what is not worth drawing at these distances, in metres."""
        return np.asarray(np.searchsorted(REACHES, distance) * self.pieces + piece)

    def place(self, shapes: Shapes, piece: Integers, x: Floats, z: Floats, tint: Floats, light: Floats) -> Integers:
        """Draw n pieces at (x, 0, z), those at the left (x < 0) mirrored; the later cover the earlier.

        piece: as `at` returns them. tint: n x 3, factors of the colours. light: what falls on each face of pieces at
        the left and at the right. Return where the polygons of each begin among those added.
        """
        right = x > 0
        counts, count = self.counts.take(piece), self.corner_counts.take(piece)
        ends = counts.cumsum()
        polygon = runs(self.first.take(piece), counts)
        sides, table = self.sides.take(polygon), self.table.take(polygon, axis=0)
        table[:, :3] *= tint.repeat(counts, axis=0)
        table[:, 3] *= light.take(self.face.take(polygon) + (right * light.shape[1]).repeat(counts))
        corners = self.corners.take(runs(self.first_corner.take(piece), count), axis=1)
        across, aside, along = np.array((np.copysign(1, x), x, z), np.float32).repeat(count, axis=1)
        corners[0] *= across
        corners[0] += aside
        corners[2] += along
        shapes.extend(corners, sides, table)
        return np.asarray(ends - counts)
