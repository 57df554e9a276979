"""A town from above: streets, lots, houses, trees and cars, drawn at random, in metres."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from i2i.sources.scenes.canvas import Colour, Shapes
from i2i.sources.scenes.quads import between, dimmed, palette, swept, tinted
from i2i.sources.scenes.spans import Integers
from i2i.sources.scenes.textures import Floats
from i2i.sources.scenes.things import CARS

ROWS, COLUMNS = 5, 4  # of blocks: enough to fill the widest picture at any angle
EDGE = 150.0  # metres from the middle: beyond any corner of the widest picture
ROOFS = palette((168, 92, 68), (146, 78, 62), (120, 84, 70), (96, 92, 94), (182, 118, 86))
FLAT_ROOFS = palette((190, 188, 182), (150, 150, 152), (120, 116, 114), (208, 204, 196), (134, 150, 160))
GRASS: Colour = (104, 128, 70)
ASPHALT: Colour = (112, 112, 114)
SAND: Colour = (206, 190, 156)
PAVING: Colour = (170, 164, 154)
WATER: Colour = (58, 92, 106)
MAP_GROUND: Colour = (242, 239, 233)
MAP_CITY: Colour = (232, 230, 226)
MAP_PARK: Colour = (200, 230, 178)
MAP_WATER: Colour = (163, 204, 255)
MAP_ROAD: Colour = (255, 255, 255)
MAP_AVENUE: Colour = (255, 226, 130)
MAP_CASING: Colour = (206, 200, 192)
MAP_BUILDING: Colour = (216, 210, 202)
MAP_OUTLINE: Colour = (186, 178, 168)
MAP_PATH: Colour = (250, 250, 244)
_TURN = np.linspace(0, 2 * np.pi, 9, endpoint=False)
_RING = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1).astype(np.float32)


class Surface(IntEnum):
    """What the ground and roofs are made of."""

    GRASS = 0
    ASPHALT = 1
    PAVING = 2
    WATER = 3
    TILES = 4
    ROOF = 5
    CROWN = 6
    CAR = 7


class Use(IntEnum):
    """What a block is used for."""

    HOUSES = 0
    TERRACES = 1
    CITY = 2
    PARK = 3
    HALL = 4


# How often each use is met, by the kind of town.
USES = np.cumsum([(0.62, 0.18, 0.04, 0.12, 0.04), (0.2, 0.42, 0.2, 0.12, 0.06), (0.05, 0.2, 0.5, 0.12, 0.13)], axis=1)


@dataclass(frozen=True)
class Town:
    """Everything that the pictures of one town are made from.

    photo, plan: the same town as it looks and as a map draws it, in metres along its streets. The map is sheets, the
    later over the earlier, each n x k x 2 of one colour, whose polygons do not overlap. turn: the streets' angle.
    extent: the picture's side in metres. shadows: what lies in the shadow of buildings and trees.
    """

    photo: Shapes
    plan: list[tuple[Floats, Colour]]
    shadows: list[Floats]
    turn: float
    extent: float
    phase: tuple[int, int]

    def project(self, points: Floats) -> Floats:
        """Return 2 x M metres as 2 x M in picture units (x right, y down, 0 ... 1)."""
        cosine, sine = np.cos(self.turn) / self.extent, np.sin(self.turn) / self.extent
        turned = np.array([[cosine, -sine], [sine, cosine]], np.float32) @ points
        turned += np.float32(0.5)
        return np.asarray(turned)


@dataclass(frozen=True)
class Blocks:
    """Blocks between the streets, by columns: x0, x1, y0, y1 in metres, and their use."""

    x0: Floats
    x1: Floats
    y0: Floats
    y1: Floats
    use: Integers

    def used(self, use: Use) -> Blocks:
        """Return the blocks of one use."""
        chosen = self.use == use
        return Blocks(*(column[chosen] for column in vars(self).values()))


def rectangles(x0: Floats, x1: Floats, y0: Floats, y1: Floats) -> Floats:
    """Return n x 4 x 2."""
    corners = np.empty((len(x0), 4, 2), np.float32)
    corners[:, ::3, 0], corners[:, 1:3, 0] = x0[:, None], x1[:, None]
    corners[:, :2, 1], corners[:, 2:, 1] = y0[:, None], y1[:, None]
    return corners


class _Sketch:
    """A town while it is drawn."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.photo = Shapes()
        self.plan: list[tuple[Floats, Colour]] = []
        self.boxes: list[Floats] = []
        self.cars: list[Floats] = []
        self.crowns: list[Floats] = []
        self.extent, self.turn = between(rng, 120, 190), between(rng, 0, 2 * np.pi)
        azimuth, low = between(rng, 0, 2 * np.pi), between(rng, 0.6, 1.2)
        self.sun = np.array([np.cos(azimuth), np.sin(azimuth)], np.float32)
        self.cast = self.sun * np.float32(-low)  # metres of shadow for a metre of height

    def seen(self, x: Floats, y: Floats, reach: float | Floats) -> npt.NDArray[np.bool_]:
        """Return which of the places, with what reaches that many metres about them, the picture shows."""
        cosine, sine = np.float32(np.cos(self.turn)), np.float32(np.sin(self.turn))
        limit = np.float32(self.extent / 2) + reach
        return np.asarray((np.abs(x * cosine - y * sine) < limit) & (np.abs(x * sine + y * cosine) < limit))

    def ground(self, corners: Floats, colour: Colour | Floats, surface: Surface, drawn: Colour | None) -> None:
        """Add level ground to the photo, and to the map unless that does not show it."""
        self.photo.add(corners, colour, surface)
        if drawn is not None:
            self.plan.append((corners, drawn))

    def footprint(self, x0: Floats, x1: Floats, y0: Floats, y1: Floats, height: Floats) -> None:
        """Note buildings, for their shadows and for the map."""
        self.boxes.append(np.stack([x0, x1, y0, y1, height]).astype(np.float32))

    def shadows(self) -> list[Floats]:
        """Return what the shadows of boxes and trees cover, n x k x 2."""
        x0, x1, y0, y1, height = np.concatenate(self.boxes + self.cars, axis=1)
        return [swept(x0, x1, y0, y1, height * self.cast[0], height * self.cast[1]), *self.crowns]

    def facing(self, x: float, y: float) -> float:
        """Return the sunlight on a slope that faces (x, y), 0 ... 1."""
        return float(np.clip(0.55 + 0.45 * (x * self.sun[0] + y * self.sun[1]), 0, 1))


def draw_town(rng: np.random.Generator) -> Town:
    """Draw one town; every random number that any of its pictures depends on is drawn here."""
    sketch = _Sketch(rng)
    straight = rng.random() < 0.5
    x, y = _streets(rng, straight)
    river = int(rng.random() * ROWS) if rng.random() < 0.5 else -1
    blocks = _blocks(sketch, x, y, river)
    low, high = np.full(1, -EDGE), np.full(1, EDGE)
    sketch.ground(rectangles(low, high, low, high), GRASS, Surface.GRASS, None)
    _lots(sketch, blocks)
    if river >= 0:
        _river(sketch, y[river], y[river + 1])
    roads = _roads(sketch, x, y, river, straight)
    for use, build in ((Use.HOUSES, _houses), (Use.TERRACES, _terraces), (Use.CITY, _city), (Use.HALL, _halls)):
        used = blocks.used(use)
        if len(used.use):
            build(sketch, used)
    if sketch.boxes:
        _map_buildings(sketch, np.concatenate(sketch.boxes, axis=1))
    _cars(sketch, roads)
    _trees(sketch, blocks, roads)
    phase = int(64 * rng.random()), int(64 * rng.random())
    return Town(sketch.photo, sketch.plan, sketch.shadows(), sketch.turn, sketch.extent, phase)


def _map_buildings(sketch: _Sketch, boxes: Floats) -> None:
    x0, x1, y0, y1, _ = boxes
    seen = sketch.seen((x0 + x1) / 2, (y0 + y1) / 2, np.hypot(x1 - x0, y1 - y0) / 2)
    x0, x1, y0, y1 = boxes[:4, seen]
    edge = np.float32(0.9)
    sketch.plan.append((rectangles(x0, x1, y0, y1), MAP_OUTLINE))
    sketch.plan.append((rectangles(x0 + edge, x1 - edge, y0 + edge, y1 - edge), MAP_BUILDING))


def _streets(rng: np.random.Generator, straight: bool) -> tuple[Floats, Floats]:
    """Return the middle lines of the streets: x of those across each row, ROWS x COLUMNS + 1, and y between rows."""
    y = np.cumsum(44 + 26 * rng.random(ROWS + 1, np.float32), dtype=np.float32)
    x = np.cumsum(52 + 46 * rng.random((ROWS, COLUMNS + 1), np.float32), axis=1, dtype=np.float32)
    # Most streets go on beyond the next crossing.
    for row in range(1, ROWS):
        if rng.random() < 0.5 or straight:
            x[row] = x[row - 1]
    return x - x[:, -1:] / 2 - 20 * rng.random((), np.float32), y - y[-1] / 2 - 10 * rng.random((), np.float32)


def _blocks(sketch: _Sketch, x: Floats, y: Floats, river: int) -> Blocks:
    rng, margin = sketch.rng, np.float32(6.5)
    chance = rng.random((ROWS, COLUMNS))
    kind = int(3 * rng.random())
    use = np.searchsorted(USES[kind], chance * 0.999)
    row, column = np.nonzero(np.arange(ROWS)[:, None] + 0 * use != river)
    x0, x1, y0, y1 = x[row, column] + margin, x[row, column + 1] - margin, y[row] + margin, y[row + 1] - margin
    seen = sketch.seen((x0 + x1) / 2, (y0 + y1) / 2, np.hypot(x1 - x0, y1 - y0) / 2)
    return Blocks(x0[seen], x1[seen], y0[seen], y1[seen], use[row, column][seen])


# By Use: what a block is covered with, its colour, how many trees it has, and its colour on the map.
LOTS = np.array([Surface.GRASS, Surface.GRASS, Surface.PAVING, Surface.GRASS, Surface.ASPHALT])
LOT_COLOURS = palette((110, 134, 74), (116, 128, 82), (150, 146, 140), (92, 132, 62), (132, 132, 132))
TREES = np.array([5, 3, 0, 22, 0])


def _lots(sketch: _Sketch, blocks: Blocks) -> None:
    """Draw the ground of the blocks: gardens, courts and car parks, parks with paths and ponds."""
    corners = rectangles(blocks.x0, blocks.x1, blocks.y0, blocks.y1)
    sketch.photo.add(corners, tinted(sketch.rng, LOT_COLOURS[blocks.use], 5), LOTS[blocks.use])
    sketch.plan.append((corners[(blocks.use == Use.CITY) | (blocks.use == Use.HALL)], MAP_CITY))
    sketch.plan.append((corners[blocks.use == Use.PARK], MAP_PARK))
    park = blocks.used(Use.PARK)
    if not len(park.use):
        return
    x, y, ring = (park.x0 + park.x1) / 2, (park.y0 + park.y1) / 2, np.float32(1.3)
    for path in (park.x0, park.x1, y - ring, y + ring), (x - ring, x + ring, park.y0, park.y1):
        sketch.ground(rectangles(*path), SAND, Surface.PAVING, MAP_PATH)
    chance = sketch.rng.random((len(x), 3), np.float32)
    size = np.stack([park.x1 - park.x0, park.y1 - park.y0], axis=1) * (0.18 + 0.12 * chance[:, :2])
    ragged = 0.85 + 0.3 * sketch.rng.random((len(x), len(_RING), 1), np.float32)
    outline = (size[:, None] * ragged * _RING)[chance[:, 2] < 0.6]
    middle = np.stack([x, y], axis=1)[:, None][chance[:, 2] < 0.6]
    sketch.ground(middle + np.float32(1.12) * outline, SAND, Surface.PAVING, None)
    sketch.ground(middle + outline, WATER, Surface.WATER, MAP_WATER)


def _river(sketch: _Sketch, y0: float, y1: float) -> None:
    """Draw a river in a row without blocks, its banks a park."""
    x = np.arange(-EDGE, EDGE, 25, dtype=np.float32)
    wave = np.sin(np.arange(len(x) + 1) * between(sketch.rng, 0.3, 0.6) + between(sketch.rng, 0, 6)).astype(np.float32)
    low, high = y0 + 12 + 3 * wave, y1 - 12 + 3 * wave
    sketch.ground(rectangles(x, x + 25, 0 * x + y0, 0 * x + y1), (98, 130, 66), Surface.GRASS, MAP_PARK)
    for edge, colour, drawn in ((1.6, (150, 142, 120), None), (0.0, WATER, MAP_WATER)):
        corners = rectangles(x, x + 25, low[:-1] - edge, high[:-1] + edge)
        corners[:, 1, 1], corners[:, 2, 1] = low[1:] - edge, high[1:] + edge
        sketch.ground(corners, colour, Surface.WATER if drawn else Surface.PAVING, drawn)


def _roads(sketch: _Sketch, x: Floats, y: Floats, river: int, straight: bool) -> Floats:
    """Draw the streets; return them as x0, x1, y0, y1, half the width, and 1 for an avenue, n x 6."""
    rng = sketch.rng
    avenues = rng.random() < 0.8, straight and rng.random() < 0.8
    there = rng.random(x.shape) < np.where(np.arange(ROWS) == river, 0.4, 1.0)[:, None]
    row, column = np.nonzero(there)
    middle = COLUMNS // 2 + 1
    near = sketch.seen(x[row, column], (y[row] + y[row + 1]) / 2, (y[row + 1] - y[row]) / 2 + 9)
    row, column = row[near], column[near]
    half = np.where((column == middle) & avenues[1], np.float32(6.0), np.float32(3.6))
    upright = np.stack([x[row, column] - half, x[row, column] + half, y[row], y[row + 1], half, half > 4], axis=1)
    half = np.where((np.arange(ROWS + 1) == ROWS // 2) & avenues[0], np.float32(6.5), np.float32(3.6))
    level = np.stack([0 * y - EDGE, 0 * y + EDGE, y - half, y + half, half, half > 4], axis=1)
    roads = np.concatenate([upright, level]).astype(np.float32)
    wide, avenue = roads[:, 4], roads[:, 5] > 0
    for edge, colour, surface in ((2.6, PAVING, Surface.PAVING), (0.0, ASPHALT, Surface.ASPHALT)):
        sketch.photo.add(rectangles(*_widened(roads, edge)), colour, surface)
    level = np.arange(len(roads)) >= len(upright)
    for edge, which, drawn in ((0.9, wide > 0, MAP_CASING), (0, ~avenue, MAP_ROAD), (0, avenue, MAP_AVENUE)):
        for way in (which & ~level, which & level):
            sketch.plan.append((rectangles(*_widened(roads[way], edge)), drawn))
    _markings(sketch, roads[avenue])
    return roads


def _widened(roads: Floats, edge: float) -> Floats:
    """Return x0, x1, y0, y1 of roads made wider by `edge` metres on either side, and as much longer."""
    return roads[:, :4].T + np.float32(edge) * np.array([[-1], [1], [-1], [1]], np.float32)


def _markings(sketch: _Sketch, avenues: Floats) -> None:
    owner, dash = np.nonzero(np.ones((len(avenues), 36), bool))
    level = avenues[owner, 1] - avenues[owner, 0] > 100
    start = np.where(level, np.float32(-144), avenues[owner, 2]) + dash * np.float32(8)
    middle_x, middle_y = avenues[owner, :2].mean(axis=1), avenues[owner, 2:4].mean(axis=1)
    thin = np.float32(0.35)
    x0, x1 = np.where(level, start, middle_x - thin), np.where(level, start + 4, middle_x + thin)
    y0, y1 = np.where(level, middle_y - thin, start), np.where(level, middle_y + thin, start + 4)
    inside = (level | (y1 < avenues[owner, 3])) & sketch.seen(x0, y0, 4)
    sketch.photo.add(rectangles(x0, x1, y0, y1)[inside], (226, 226, 220), Surface.ASPHALT)


def _gables(sketch: _Sketch, x0: Floats, x1: Floats, y0: Floats, y1: Floats, roof: Floats, hip: Floats) -> None:
    """Draw roofs with a ridge along x; hip: how far the ridge stops short of the ends, in metres."""
    middle = (y0 + y1) / 2
    slopes = rectangles(x0, x1, y0, middle), rectangles(x0, x1, middle, y1)
    slopes[0][:, 2, 0] -= hip
    slopes[0][:, 3, 0] += hip
    slopes[1][:, 0, 0] += hip
    slopes[1][:, 1, 0] -= hip
    # The east end is what the other three faces leave of the whole.
    whole = hip > 0
    sketch.photo.add(rectangles(x0, x1, y0, y1)[whole], roof[whole], Surface.TILES, shade=sketch.facing(1, 0))
    sketch.photo.add(slopes[0], roof, Surface.TILES, shade=sketch.facing(0, -1))
    sketch.photo.add(slopes[1], roof, Surface.TILES, shade=sketch.facing(0, 1))
    west = np.array([(x0, y0), (x0 + hip, middle), (x0, y1)], np.float32).transpose(2, 0, 1)
    sketch.photo.add(west[whole], roof[whole], Surface.TILES, shade=sketch.facing(-1, 0))


def _houses(sketch: _Sketch, blocks: Blocks) -> None:
    """Draw two rows of detached houses a block, each with its drive."""
    rng = sketch.rng
    count = np.floor((blocks.x1 - blocks.x0) / 17)
    owner, row, place = np.nonzero((np.arange(8) < count[:, None])[:, None].repeat(2, axis=1))
    chance = rng.random((6, len(owner)), np.float32)
    lot = ((blocks.x1 - blocks.x0) / count)[owner]
    x = blocks.x0[owner] + lot * (place + 0.4 + 0.2 * chance[0])
    deep, wide = 4.0 + 1.2 * chance[1], 4.6 + 1.8 * chance[2]
    back = np.minimum(4 + 3 * chance[3] + deep, (blocks.y1 - blocks.y0)[owner] / 2 - deep)
    y = np.where(row == 0, blocks.y0[owner] + back, blocks.y1[owner] - back)
    street = np.where(row == 0, blocks.y0[owner], blocks.y1[owner])
    drive = x + wide * np.float32(0.6)
    low, high = np.minimum(street, y), np.maximum(street, y)
    sketch.photo.add(rectangles(drive, drive + np.float32(2.8), low, high), (176, 170, 160), Surface.PAVING)
    roof = tinted(rng, ROOFS[(chance[4] * len(ROOFS)).astype(np.intp)], 8)
    sketch.footprint(x - wide, x + wide, y - deep, y + deep, 0 * x + 6)
    hip = np.where(chance[5] < 0.5, 0.8 * deep, 0).astype(np.float32)
    _gables(sketch, x - wide, x + wide, y - deep, y + deep, roof, hip)


def _terraces(sketch: _Sketch, blocks: Blocks) -> None:
    """Draw two rows of houses wall to wall a block."""
    rng = sketch.rng
    count = np.floor((blocks.x1 - blocks.x0) / 12)
    owner, row, place = np.nonzero((np.arange(9) < count[:, None])[:, None].repeat(2, axis=1))
    wide = ((blocks.x1 - blocks.x0) / count)[owner]
    x0 = blocks.x0[owner] + wide * place
    y0 = np.where(row == 0, blocks.y0[owner] + 1, blocks.y1[owner] - 12)
    y1 = y0 + np.float32(11)
    chance = rng.random((len(blocks.x0), 2), np.float32)[owner, row]
    roof = tinted(rng, ROOFS[(chance * len(ROOFS)).astype(np.intp)], 7)
    sketch.footprint(x0, x0 + wide, y0, y1, 0 * x0 + 10)
    _gables(sketch, x0, x0 + wide, y0, y1, roof, 0 * x0)


def _city(sketch: _Sketch, blocks: Blocks) -> None:
    """Draw blocks of tall buildings with flat roofs around courts."""
    rng = sketch.rng
    split = (blocks.x0 + (blocks.x1 - blocks.x0) * (0.35 + 0.3 * rng.random(len(blocks.x0)))).astype(np.float32)
    depth = np.minimum(np.float32(15), 0.36 * (blocks.y1 - blocks.y0))
    gap = np.float32(1.2)
    x0 = np.concatenate([blocks.x0, split + gap, blocks.x0, split + gap, blocks.x0, blocks.x1 - 13])
    x1 = np.concatenate([split - gap, blocks.x1, split - gap, blocks.x1, blocks.x0 + 13, blocks.x1])
    y0 = np.concatenate(
        [blocks.y0, blocks.y0, blocks.y1 - depth, blocks.y1 - depth, blocks.y0 + depth, blocks.y0 + depth]
    )
    y1 = np.concatenate(
        [blocks.y0 + depth, blocks.y0 + depth, blocks.y1, blocks.y1, blocks.y1 - depth, blocks.y1 - depth]
    )
    chance = rng.random((2, len(x0)), np.float32)
    there = chance[0] < 0.86
    _flat_roofs(sketch, x0[there], x1[there], y0[there], y1[there], 10 + 12 * chance[1][there])


def _halls(sketch: _Sketch, blocks: Blocks) -> None:
    """Draw one large hall a block; the rest is a car park with its rows of cars."""
    share = (0.45 + 0.2 * sketch.rng.random(len(blocks.x0), np.float32)) * (blocks.x1 - blocks.x0)
    x0, x1, y0, y1 = blocks.x0 + 3, blocks.x0 + share, blocks.y0 + 4, blocks.y1 - 4
    _flat_roofs(sketch, x0, x1, y0, y1, 0 * x0 + 8)
    owner, row, place = np.nonzero(np.ones((len(x0), 4, 14), bool))
    x = x1[owner] + 5 + np.float32(3) * place
    y = blocks.y0[owner] + 5 + (blocks.y1 - blocks.y0)[owner] / 4 * row
    inside = x < blocks.x1[owner] - 3
    thin = np.float32(0.2)
    sketch.photo.add(rectangles(x - 1.5 - thin, x - 1.5 + thin, y, y + 5)[inside], (214, 214, 208), Surface.ASPHALT)
    parked = inside & (sketch.rng.random(len(x)) < 0.55)
    _draw_cars(sketch, x[parked] - 0.95, x[parked] + 0.95, y[parked] + 0.3, y[parked] + 4.7)


def _flat_roofs(sketch: _Sketch, x0: Floats, x1: Floats, y0: Floats, y1: Floats, height: Floats) -> None:
    rng = sketch.rng
    chance = rng.random((5, len(x0)), np.float32)
    roof = tinted(rng, FLAT_ROOFS[(chance[0] * len(FLAT_ROOFS)).astype(np.intp)], 7)
    sketch.footprint(x0, x1, y0, y1, height)
    sketch.photo.add(rectangles(x0, x1, y0, y1), dimmed(roof, 1.18), Surface.ROOF, shade=0.8)
    edge = np.float32(0.8)
    sketch.photo.add(rectangles(x0 + edge, x1 - edge, y0 + edge, y1 - edge), roof, Surface.ROOF, shade=0.75)
    for a, b in ((1, 2), (3, 4)):
        x = x0 + 3 + chance[a] * np.maximum(x1 - x0 - 9, 0)
        y = y0 + 3 + chance[b] * np.maximum(y1 - y0 - 9, 0)
        dark = rectangles(x, x + 3, y, y + 2.4) - 1.3 * sketch.sun
        sketch.photo.add(dark.astype(np.float32), dimmed(roof, 0.6), Surface.ROOF, shade=0.3)
        sketch.photo.add(rectangles(x, x + 3, y, y + 2.4), (206, 206, 204), Surface.ROOF, shade=0.9)


def _cars(sketch: _Sketch, roads: Floats) -> None:
    """Draw cars on the right-hand lanes of the streets."""
    owner, _ = np.nonzero(np.ones((len(roads), 4), bool))
    chance = sketch.rng.random((3, len(owner)), np.float32)
    x0, x1, y0, y1, half, _ = roads[owner].T
    level = x1 - x0 > 100
    lane = np.where(chance[0] < 0.5, -0.5, 0.5).astype(np.float32) * half
    at = np.where(level, 260 * chance[1] - 130, y0 + (y1 - y0) * chance[1])
    x = np.where(level, at, (x0 + x1) / 2 + lane)
    y = np.where(level, (y0 + y1) / 2 + lane, at)
    long, wide = np.float32(2.3), np.float32(1.0)
    across, down = np.where(level, long, wide), np.where(level, wide, long)
    there = (chance[2] < np.where(level, 1.0, 0.4)) & sketch.seen(x, y, 3)
    _draw_cars(sketch, *((side[there]) for side in (x - across, x + across, y - down, y + down)))


def _draw_cars(sketch: _Sketch, x0: Floats, x1: Floats, y0: Floats, y1: Floats) -> None:
    colours = tinted(sketch.rng, CARS[(sketch.rng.random(len(x0)) * len(CARS)).astype(np.intp)], 8)
    sketch.cars.append(np.stack([x0, x1, y0, y1, 0 * x0 + 1.4]).astype(np.float32))
    sketch.photo.add(rectangles(x0, x1, y0, y1), colours, Surface.CAR, shade=0.8)
    x, y = (x1 - x0) * np.float32(0.24), (y1 - y0) * np.float32(0.24)
    sketch.photo.add(rectangles(x0 + x, x1 - x, y0 + y, y1 - y), dimmed(colours, 0.6), Surface.CAR, shade=0.8)


def _trees(sketch: _Sketch, blocks: Blocks, roads: Floats) -> None:
    """Draw trees: a few in gardens, many in parks, rows of them along some streets."""
    rng = sketch.rng
    many = TREES[blocks.use]
    owner, _ = np.nonzero(np.arange(TREES.max()) < many[:, None])
    chance = rng.random((2, len(owner)), np.float32)
    x = blocks.x0[owner] + (blocks.x1 - blocks.x0)[owner] * chance[0]
    # In gardens trees stand behind the houses.
    garden = (blocks.use <= Use.TERRACES)[owner]
    away = np.where(garden, 0.36 + 0.28 * chance[1], chance[1])
    y = blocks.y0[owner] + (blocks.y1 - blocks.y0)[owner] * away
    levels = roads[(roads[:, 1] - roads[:, 0] > 100) & (rng.random(len(roads)) < 0.5)]
    row, place = np.nonzero(np.ones((len(levels), 26), bool))
    along = np.float32(11) * (place - 12.5) + 0 * row
    x = np.concatenate([x, along]).astype(np.float32)
    y = np.concatenate([y, levels[row, 3] + 1.8]).astype(np.float32)
    seen = sketch.seen(x, y, 9)
    x, y = x[seen], y[seen]
    radius = 1.8 + 2.4 * rng.random(len(x), np.float32)
    _draw_trees(sketch, x, y, radius)


def _draw_trees(sketch: _Sketch, x: Floats, y: Floats, radius: Floats) -> None:
    rng = sketch.rng
    middle = np.stack([x, y], axis=1)[:, None]
    ragged = radius[:, None, None] * (0.85 + 0.3 * rng.random((len(x), len(_RING), 1), np.float32)) * _RING
    tall = (radius * 1.5)[:, None, None]
    sketch.crowns.append(middle + ragged + tall * sketch.cast)
    leaves = tinted(rng, np.tile(palette((74, 104, 50)), (len(x), 1)), 9)
    sketch.photo.add(middle + ragged, dimmed(leaves, 0.8), Surface.CROWN, shade=0.5)
    top = middle + 0.55 * ragged + 0.3 * radius[:, None, None] * sketch.sun
    sketch.photo.add(top.astype(np.float32), dimmed(leaves, 1.2), Surface.CROWN, shade=0.9)
