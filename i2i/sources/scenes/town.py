"""A town from above: which block, river, car and tree lies where, drawn at random, in metres."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np

from i2i.sources.scenes.blocks import ASPHALT, DEPTHS, EDGE, WIDTHS, Slope, Surface, Use, town_kit
from i2i.sources.scenes.canvas import Shapes
from i2i.sources.scenes.quads import Draws, between, flat, pick
from i2i.sources.scenes.textures import Floats

_DRAWS = 1000  # about twice as many random numbers as a town needs
STREET, AVENUE = 13.0, 5.0  # metres between blocks, and how many more along an avenue
# How often each use is met, in hundredths, by the kind of town.
_SHARES = ((62, 18, 4, 12, 4), (20, 42, 20, 12, 6), (5, 20, 50, 12, 13))
_KINDS = [[use for use, share in zip(Use, shares, strict=True) for _ in range(share)] for shares in _SHARES]

Placed = list[tuple[int, float, float]]
"""The numbers of pieces, and where they lie: x and y. A few dozen: lists are quicker than arrays."""


@dataclass(frozen=True)
class Town:
    """Everything that the pictures of one town are made from.

    photo, plan, shadows: how it looks, what a map draws, and what the sun does not reach; corners are x and y along
    the streets and between them the metres that they move along `sun`, or `cast` if they are of shadows. turn: the
    streets' angle. extent: the picture's side in metres.
    """

    photo: Shapes
    plan: Shapes
    shadows: Shapes
    sun: tuple[float, float]
    cast: tuple[float, float]
    turn: float
    extent: float
    phase: tuple[int, int]

    def project(self, points: Floats, push: tuple[float, float] = (0.0, 0.0)) -> Floats:
        """Return 3 x M corners, moved along `push`, as 2 x M in picture units (x right, y down, 0 ... 1)."""
        cosine, sine = cos(self.turn) / self.extent, sin(self.turn) / self.extent
        moved = push[0] * cosine - push[1] * sine, push[0] * sine + push[1] * cosine
        turned = np.array([[cosine, moved[0], -sine], [sine, moved[1], cosine]], np.float32) @ points
        turned += np.float32(0.5)
        return np.asarray(turned)


class _Layout:
    """A town while it is laid out: the ground, and what stands upon it.

    reach: no corner of the picture is farther from its middle, in metres.
    """

    def __init__(self, rng: Draws):
        self.rng = rng
        self.kit = town_kit()
        self.ground: Placed = []
        self.upon: Placed = []
        self.extent, self.turn = between(rng, 120, 190), between(rng, 0, 2 * pi)
        self.reach = 0.5**0.5 * self.extent
        self._cosine, self._sine = cos(self.turn), sin(self.turn)

    def add(self, placed: Placed, piece: int, x: float, y: float, reach: float) -> None:
        """Put a piece there if the picture shows what reaches that many metres about it."""
        limit = self.extent / 2 + reach
        if abs(x * self._cosine - y * self._sine) < limit and abs(x * self._sine + y * self._cosine) < limit:
            placed.append((piece, x, y))


def draw_town(generator: np.random.Generator) -> Town:
    """Draw one town; every random number that any of its pictures depends on is drawn here."""
    rng = Draws(generator, _DRAWS)
    layout = _Layout(rng)
    azimuth, low = between(rng, 0, 2 * pi), between(rng, 0.6, 1.2)
    sun = cos(azimuth), sin(azimuth)
    _lay_out(layout)
    tint = 0.95 + np.float32(0.1) * generator.random((len(layout.ground) + len(layout.upon), 3), np.float32)
    photo, plan, shadows = _place(layout, sun, tint)
    phase = int(64 * rng.random()), int(64 * rng.random())
    return Town(photo, plan, shadows, sun, (-low * sun[0], -low * sun[1]), layout.turn, layout.extent, phase)


def _place(layout: _Layout, sun: tuple[float, float], tint: Floats) -> tuple[Shapes, Shapes, Shapes]:
    """Draw the photo, the map and the shadows of what was laid out; what lies at the left is mirrored."""
    kit = layout.kit
    placed = np.array(layout.ground + layout.upon, np.float32)
    piece, x, y = placed[:, 0].astype(np.intp), placed[:, 1], placed[:, 2]
    photo, plan, shadows = Shapes(), Shapes(), Shapes()
    photo.add(flat(-EDGE, EDGE, -EDGE, EDGE), ASPHALT, Surface.ASPHALT)
    tint[np.isin(piece, kit.bridges)] = 1  # as the streets that they carry on
    kit.photo.place(photo, piece, x, y, tint, _light_on_slopes(sun))
    kit.plan.place(plan, piece, x, y, tint, np.ones((2, len(Slope)), np.float32))
    quarter = 4 * piece + ((x > 0) == (sun[0] > 0)) + 2 * (sun[1] > 0)
    kit.shadows.place(shadows, quarter, x, y, tint, np.ones((2, len(Slope)), np.float32))
    return photo, plan, shadows


def _light_on_slopes(sun: tuple[float, float]) -> Floats:
    """Return the fraction of sunlight on each Slope of what lies at the left and at the right, 2 x 5."""
    north, east, south, west = (0.55 + 0.45 * part for part in (-sun[1], sun[0], sun[1], -sun[0]))
    return np.array([(1, north, west, south, east), (1, north, east, south, west)], np.float32)


def _lay_out(layout: _Layout) -> None:
    """Lay out rows of blocks from edge to edge; a row may be a river, and a street between two rows an avenue."""
    rng = layout.rng
    straight, avenue, kind = rng.random() < 0.5, rng.random() < 0.8, pick(rng, _KINDS)
    river = int(1 + 3 * rng.random()) if rng.random() < 0.5 else -1
    y, columns, row = -layout.reach - 50 * rng.random(), _columns(layout, straight), -1
    while y < layout.reach:
        row, depth = row + 1, int(rng.random() * len(DEPTHS))
        if not straight and rng.random() < 0.5:
            columns = _columns(layout, straight)
        y += DEPTHS[depth] / 2
        if row == river:
            _river(layout, columns, depth, y)
        else:
            _row(layout, columns, depth, y, kind, straight)
        y += (DEPTHS[depth] + STREET) / 2
        wide = AVENUE if row == 2 and avenue else 0
        y += wide / 2
        if wide:
            layout.ground.append((layout.kit.dashed, 0.0, y))
        _street(layout, y, wide)
        y += (STREET + wide) / 2


def _columns(layout: _Layout, avenue: bool) -> list[tuple[int, float, float]]:
    """Draw the widths of the blocks of a row, by number, their middles, and the middles of the streets after them.

    The street after the second block may be an avenue.
    """
    columns: list[tuple[int, float, float]] = []
    x = -layout.reach - 60 * layout.rng.random()
    while x < layout.reach:
        width = int(layout.rng.random() * len(WIDTHS))
        wide = STREET + AVENUE * (avenue and len(columns) == 1)
        columns.append((width, x + WIDTHS[width] / 2, x + WIDTHS[width] + wide / 2))
        x += WIDTHS[width] + wide
    return columns


def _row(
    layout: _Layout, columns: list[tuple[int, float, float]], depth: int, y: float, kind: list[Use], avenue: bool
) -> None:
    """Lay out one row of blocks, and the cars on the streets between them, of which one may be an avenue."""
    rng, kit, deep = layout.rng, layout.kit, DEPTHS[depth]
    if avenue:
        layout.add(layout.ground, kit.dashes[depth], columns[1][2], y, deep)
    for width, x, street in columns:
        variants = kit.blocks[pick(rng, kind)][width][depth]
        layout.add(layout.ground, pick(rng, variants), x, y, (WIDTHS[width] + deep) / 2)
        if rng.random() < 0.8:
            lane = street + pick(rng, (-1.8, 1.8))
            layout.add(layout.upon, pick(rng, kit.cars[1]), lane, y + deep * between(rng, -0.5, 0.5), 3)


def _river(layout: _Layout, columns: list[tuple[int, float, float]], depth: int, y: float) -> None:
    """Lay out a river, and bridges that carry some of the streets across."""
    layout.ground.append((layout.kit.rivers[depth], 0.0, y))
    for _, _, street in columns:
        if layout.rng.random() < 0.4:
            layout.add(layout.ground, layout.kit.bridges[depth], street, y, DEPTHS[depth])


def _street(layout: _Layout, y: float, wide: float) -> None:
    """Put cars on a street between two rows, and perhaps a row of trees along it."""
    rng, kit = layout.rng, layout.kit
    lane = 1.8 + 0.7 * wide / AVENUE
    for _ in range(4):
        x = between(rng, -layout.reach, layout.reach)
        layout.add(layout.upon, pick(rng, kit.cars[0]), x, y + pick(rng, (-lane, lane)), 3)
    if rng.random() < 0.4:
        x, y = -layout.reach, y + (STREET + wide) / 2 - 1.2
        while (x := x + 12) < layout.reach:
            layout.add(layout.upon, pick(rng, kit.trees), x, y, 9)
