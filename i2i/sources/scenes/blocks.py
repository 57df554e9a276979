"""The kit of a town: blocks of houses, parks and halls, rivers, cars and trees, as photo, shadow and map."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from itertools import product

import numpy as np

from i2i.sources.scenes.canvas import Colour, Paint
from i2i.sources.scenes.kit import EVERYWHERE, Kit, KitBuilder
from i2i.sources.scenes.quads import dimmed, palette, tinted
from i2i.sources.scenes.spans import Integers
from i2i.sources.scenes.textures import Floats
from i2i.sources.scenes.things import CARS

ROOFS = palette((168, 92, 68), (146, 78, 62), (120, 84, 70), (96, 92, 94), (182, 118, 86))
FLAT_ROOFS = palette((190, 188, 182), (150, 150, 152), (120, 116, 114), (208, 204, 196), (134, 150, 160))
GRASS: Colour = (104, 128, 70)
ASPHALT: Colour = (112, 112, 114)
SAND: Colour = (206, 190, 156)
PAVING: Colour = (170, 164, 154)
WATER: Colour = (58, 92, 106)
EDGE = 150.0  # metres from the middle: beyond any corner of the widest picture
PAVEMENT = 2.9  # metres about a block
WIDTHS, DEPTHS, VARIANTS = (40, 47, 54, 62, 71, 81), (32, 38, 45, 54), 5
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


class Slope(IntEnum):
    """Where a surface faces: the columns of the table of lights that `Kit.place` is given."""

    LEVEL = 0
    NORTH = 1
    EAST = 2
    SOUTH = 3
    WEST = 4


class Sheet(IntEnum):
    """What a map draws, the later over the earlier; polygons of one sheet must not overlap, or both vanish there."""

    AVENUE = 0
    AVENUE_ACROSS = 1
    CASING = 2
    GROUND = 3
    BUILT = 4
    PARK = 5
    WATER = 6
    BRIDGE_CASING = 7
    BRIDGE = 8
    PATH = 9
    PATH_ACROSS = 10
    POND = 11
    OUTLINE = 12
    BUILDING = 13


# By Use: what a block is covered with, its colour, how many trees it has, and its sheet of the map.
LOTS = np.array([Surface.GRASS, Surface.GRASS, Surface.PAVING, Surface.GRASS, Surface.ASPHALT])
LOT_COLOURS = palette((110, 134, 74), (116, 128, 82), (150, 146, 140), (92, 132, 62), (132, 132, 132))
TREES = np.array([4, 3, 0, 17, 0])
LOT_SHEETS = np.array([Sheet.GROUND, Sheet.GROUND, Sheet.BUILT, Sheet.PARK, Sheet.BUILT])


@dataclass(frozen=True)
class TownKit:
    """Pieces about (0, 0): corners are x, the metres they move towards the sun, and y.

    A piece has one number in `photo` and `plan`; in `shadows`, whose corners move away from the sun, four times that
    number and one more for each quarter that the shadows fall to. blocks: by use, width, depth and variant. cars: along
    the street and across. dashes, rivers, bridges: by depth. dashed: a row of dashes from edge to edge.
    """

    photo: Kit
    shadows: Kit
    plan: Kit
    blocks: list[list[list[list[int]]]]
    cars: tuple[list[int], list[int]]
    trees: list[int]
    dashes: list[int]
    rivers: list[int]
    bridges: list[int]
    dashed: int


@dataclass(frozen=True)
class _Blocks:
    """Blocks by columns: the numbers of their pieces, their edges in metres, and their use."""

    piece: Integers
    x0: Floats
    x1: Floats
    y0: Floats
    y1: Floats
    use: Integers

    def used(self, use: Use) -> _Blocks:
        """Return the blocks of one use."""
        chosen = self.use == use
        return _Blocks(*(column[chosen] for column in vars(self).values()))


def rectangles(x0: Floats, x1: Floats, y0: Floats, y1: Floats) -> Floats:
    """Return n x 4 x 2."""
    corners = np.empty((len(x0), 4, 2), np.float32)
    corners[:, ::3, 0], corners[:, 1:3, 0] = x0[:, None], x1[:, None]
    corners[:, :2, 1], corners[:, 2:, 1] = y0[:, None], y1[:, None]
    return corners


class _Builder:
    """The three kits while they are made."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self._photo, self._shadows, self._plan = KitBuilder(), KitBuilder(), KitBuilder()

    def reserve(self, count: int) -> Integers:
        """Return the numbers of `count` new pieces."""
        self._shadows.reserve(4 * count)
        self._plan.reserve(count)
        return self._photo.reserve(count)

    def draw(
        self,
        piece: Integers,
        corners: Floats,
        colour: Paint,
        surface: Surface | Integers,
        *,
        shade: float = 1,
        slope: Slope = Slope.LEVEL,
        lean: float | Floats = 0,
    ) -> None:
        """Add polygons to the photo, n x k x 2; lean: how far each moves towards the sun, in metres."""
        self._photo.add(piece, _leaning(corners, lean), colour, surface, face=slope, share=shade)

    def map(self, piece: Integers, corners: Floats, sheet: Sheet | Integers) -> None:
        """Add polygons to the map, n x k x 2."""
        self._plan.add(piece, _leaning(corners, 0), (0, 0, 0), sheet, face=Slope.LEVEL)

    def shade(self, piece: Integers, corners: Floats, height: float | Floats) -> None:
        """Add what casts a shadow at a height in metres, n x k x 2."""
        for quarter in range(4):
            self._shadows.add(4 * piece + quarter, _leaning(corners, height), (0, 0, 0), 0, face=Slope.LEVEL)

    def box(self, piece: Integers, x0: Floats, x1: Floats, y0: Floats, y1: Floats, height: Floats) -> None:
        """Add the shadows of boxes."""
        for quarter in range(4):
            a, b = (x1, x0) if quarter & 1 else (x0, x1)
            c, d = (y1, y0) if quarter & 2 else (y0, y1)
            high, low = height + 0 * a, 0 * height + 0 * a
            outline = [(a, low, c), (b, low, c), (b, high, c), (b, high, d), (a, high, d), (a, low, d)]
            corners = np.array(outline, np.float32).transpose(2, 0, 1)
            self._shadows.add(4 * piece + quarter, corners, (0, 0, 0), 0, face=Slope.LEVEL)

    def building(self, piece: Integers, x0: Floats, x1: Floats, y0: Floats, y1: Floats, height: Floats) -> None:
        """Add the shadow of buildings, and what the map shows of them."""
        self.box(piece, x0, x1, y0, y1, height)
        edge = np.float32(0.9)
        self.map(piece, rectangles(x0, x1, y0, y1), Sheet.OUTLINE)
        self.map(piece, rectangles(x0 + edge, x1 - edge, y0 + edge, y1 - edge), Sheet.BUILDING)

    def build(self) -> tuple[Kit, Kit, Kit]:
        """Return the kits of the photo, of the shadows and of the map."""
        photo, shadows, plan = (kit.build((EVERYWHERE,)) for kit in (self._photo, self._shadows, self._plan))
        return photo, shadows, plan


def _leaning(corners: Floats, lean: float | Floats) -> Floats:
    points = np.empty((*corners.shape[:2], 3), np.float32)
    points[..., ::2], points[..., 1] = corners, np.asarray(lean).reshape(-1, 1)
    return points


@lru_cache(maxsize=1)
def town_kit() -> TownKit:
    """Make the kit."""
    builder = _Builder(np.random.Generator(np.random.PCG64(20180910)))
    sizes = np.array(list(product(Use, WIDTHS, DEPTHS, range(VARIANTS))), np.float32)
    use, (x, y) = sizes[:, 0].astype(np.intp), sizes[:, 1:3].T / 2
    blocks = _Blocks(builder.reserve(len(sizes)), -x, x, -y, y, use)
    _lots(builder, blocks)
    for kind, build in ((Use.HOUSES, _houses), (Use.TERRACES, _terraces), (Use.CITY, _city), (Use.HALL, _halls)):
        build(builder, blocks.used(kind))
    _gardens(builder, blocks)
    rivers, bridges, dashes = (builder.reserve(len(DEPTHS)) for _ in range(3))
    _rivers(builder, rivers)
    _bridges(builder, bridges)
    _dashes(builder, dashes, np.array(DEPTHS, np.float32) / 2 + np.float32(6.5))
    dashed = builder.reserve(1)
    _dashes(builder, dashed, np.full(1, EDGE, np.float32), level=True)
    cars, trees = (_lone_cars(builder, level=True), _lone_cars(builder, level=False)), builder.reserve(24)
    _trees(builder, trees, np.zeros((24, 2), np.float32), 1.8 + 2.4 * builder.rng.random(24, np.float32))
    photo, shadows, plan = builder.build()
    return TownKit(
        *(photo, shadows, plan),
        blocks=blocks.piece.reshape(len(Use), len(WIDTHS), len(DEPTHS), VARIANTS).tolist(),
        cars=cars,
        trees=trees.tolist(),
        dashes=dashes.tolist(),
        rivers=rivers.tolist(),
        bridges=bridges.tolist(),
        dashed=int(dashed[0]),
    )


def _lots(builder: _Builder, b: _Blocks) -> None:
    """Make the ground of blocks: pavements about gardens, courts, car parks, and parks with paths and ponds."""
    ground = rectangles(b.x0, b.x1, b.y0, b.y1)
    for edge, sheet in ((0.9, Sheet.CASING), (0.0, Sheet.GROUND)):
        wide = np.float32(PAVEMENT + edge)
        rim = rectangles(b.x0 - wide, b.x1 + wide, b.y0 - wide, b.y1 + wide)
        builder.map(b.piece, rim, sheet)
    builder.draw(b.piece, rim, PAVING, Surface.PAVING)
    builder.draw(b.piece, ground, tinted(builder.rng, LOT_COLOURS[b.use], 5), LOTS[b.use])
    some = b.use > Use.TERRACES
    builder.map(b.piece[some], ground[some], LOT_SHEETS[b.use[some]])
    _parks(builder, b.used(Use.PARK))


def _parks(builder: _Builder, park: _Blocks) -> None:
    ring = 0 * park.x0 + np.float32(1.3)
    paths = rectangles(park.x0, park.x1, -ring, ring), rectangles(-ring, ring, park.y0, park.y1)
    for path, sheet in zip(paths, (Sheet.PATH, Sheet.PATH_ACROSS), strict=True):
        builder.draw(park.piece, path, SAND, Surface.PAVING)
        builder.map(park.piece, path, sheet)
    count = len(park.piece)
    chance = builder.rng.random((count, 3), np.float32)
    size = np.stack([park.x1 - park.x0, park.y1 - park.y0], axis=1) * (0.18 + 0.12 * chance[:, :2])
    ragged = 0.85 + 0.3 * builder.rng.random((count, len(_RING), 1), np.float32)
    ponds = chance[:, 2] < 0.6
    outline = (size[:, None] * ragged * _RING)[ponds]
    builder.draw(park.piece[ponds], np.float32(1.12) * outline, SAND, Surface.PAVING)
    builder.draw(park.piece[ponds], outline, WATER, Surface.WATER)
    builder.map(park.piece[ponds], outline, Sheet.POND)


def _gables(
    builder: _Builder, piece: Integers, x0: Floats, x1: Floats, y0: Floats, y1: Floats, roof: Floats, hip: Floats
) -> None:
    """Make roofs with a ridge along x; hip: how far the ridge stops short of the ends, in metres."""
    middle = (y0 + y1) / 2
    slopes = rectangles(x0, x1, y0, middle), rectangles(x0, x1, middle, y1)
    slopes[0][:, 2, 0] -= hip
    slopes[0][:, 3, 0] += hip
    slopes[1][:, 0, 0] += hip
    slopes[1][:, 1, 0] -= hip
    # The east end is what the other three faces leave of the whole.
    whole = hip > 0
    entire = rectangles(x0, x1, y0, y1)[whole]
    builder.draw(piece[whole], entire, roof[whole], Surface.TILES, slope=Slope.EAST)
    builder.draw(piece, slopes[0], roof, Surface.TILES, slope=Slope.NORTH)
    builder.draw(piece, slopes[1], roof, Surface.TILES, slope=Slope.SOUTH)
    west = np.array([(x0, y0), (x0 + hip, middle), (x0, y1)], np.float32).transpose(2, 0, 1)
    builder.draw(piece[whole], west[whole], roof[whole], Surface.TILES, slope=Slope.WEST)


def _houses(builder: _Builder, b: _Blocks) -> None:
    """Make two rows of detached houses a block, each with its drive."""
    rng = builder.rng
    count = np.floor((b.x1 - b.x0) / 17)
    owner, row, place = np.nonzero((np.arange(8) < count[:, None])[:, None].repeat(2, axis=1))
    chance, piece = rng.random((6, len(owner)), np.float32), b.piece[owner]
    lot = ((b.x1 - b.x0) / count)[owner]
    x = b.x0[owner] + lot * (place + 0.4 + 0.2 * chance[0])
    deep, wide = 4.0 + 1.2 * chance[1], 4.6 + 1.8 * chance[2]
    back = np.minimum(4 + 3 * chance[3] + deep, (b.y1 - b.y0)[owner] / 2 - deep)
    y = np.where(row == 0, b.y0[owner] + back, b.y1[owner] - back)
    street = np.where(row == 0, b.y0[owner], b.y1[owner])
    drive = x + wide * np.float32(0.6)
    low, high = np.minimum(street, y), np.maximum(street, y)
    builder.draw(piece, rectangles(drive, drive + np.float32(2.8), low, high), (176, 170, 160), Surface.PAVING)
    roof = tinted(rng, ROOFS[(chance[4] * len(ROOFS)).astype(np.intp)], 8)
    walls = x - wide, x + wide, y - deep, y + deep
    builder.building(piece, *walls, 0 * x + 6)
    _gables(builder, piece, *walls, roof, np.where(chance[5] < 0.5, 0.8 * deep, 0).astype(np.float32))


def _terraces(builder: _Builder, b: _Blocks) -> None:
    """Make two rows of houses wall to wall a block."""
    rng = builder.rng
    count = np.floor((b.x1 - b.x0) / 12)
    owner, row, place = np.nonzero((np.arange(9) < count[:, None])[:, None].repeat(2, axis=1))
    wide = ((b.x1 - b.x0) / count)[owner]
    x0 = b.x0[owner] + wide * place
    y0 = np.where(row == 0, b.y0[owner] + 1, b.y1[owner] - 12)
    y1 = y0 + np.float32(11)
    chance = rng.random((len(b.x0), 2), np.float32)[owner, row]
    roof = tinted(rng, ROOFS[(chance * len(ROOFS)).astype(np.intp)], 7)
    builder.building(b.piece[owner], x0, x0 + wide, y0, y1, 0 * x0 + 10)
    _gables(builder, b.piece[owner], x0, x0 + wide, y0, y1, roof, 0 * x0)


def _city(builder: _Builder, b: _Blocks) -> None:
    """Make blocks of tall buildings with flat roofs around courts."""
    rng = builder.rng
    split = (b.x0 + (b.x1 - b.x0) * (0.35 + 0.3 * rng.random(len(b.x0)))).astype(np.float32)
    depth = np.minimum(np.float32(15), 0.36 * (b.y1 - b.y0))
    gap = np.float32(1.2)
    x0 = np.concatenate([b.x0, split + gap, b.x0, split + gap, b.x0, b.x1 - 13])
    x1 = np.concatenate([split - gap, b.x1, split - gap, b.x1, b.x0 + 13, b.x1])
    y0 = np.concatenate([b.y0, b.y0, b.y1 - depth, b.y1 - depth, b.y0 + depth, b.y0 + depth])
    y1 = np.concatenate([b.y0 + depth, b.y0 + depth, b.y1, b.y1, b.y1 - depth, b.y1 - depth])
    chance = rng.random((2, len(x0)), np.float32)
    there, piece = chance[0] < 0.86, np.tile(b.piece, 6)
    _flat_roofs(builder, piece[there], x0[there], x1[there], y0[there], y1[there], 10 + 12 * chance[1][there])


def _halls(builder: _Builder, b: _Blocks) -> None:
    """Make one large hall a block; the rest is a car park with its rows of cars."""
    share = (0.45 + 0.2 * builder.rng.random(len(b.x0), np.float32)) * (b.x1 - b.x0)
    x0, x1, y0, y1 = b.x0 + 3, b.x0 + share, b.y0 + 4, b.y1 - 4
    _flat_roofs(builder, b.piece, x0, x1, y0, y1, 0 * x0 + 8)
    owner, row, place = np.nonzero(np.ones((len(x0), 4, 14), bool))
    x = x1[owner] + 5 + np.float32(3) * place
    y = b.y0[owner] + 5 + (b.y1 - b.y0)[owner] / 4 * row
    inside, thin = x < b.x1[owner] - 3, np.float32(0.2)
    lines = rectangles(x - 1.5 - thin, x - 1.5 + thin, y, y + 5)[inside]
    builder.draw(b.piece[owner[inside]], lines, (214, 214, 208), Surface.ASPHALT)
    parked = inside & (builder.rng.random(len(x)) < 0.55)
    x, y = x[parked], y[parked]
    _cars(builder, b.piece[owner[parked]], x - 0.95, x + 0.95, y + 0.3, y + 4.7)


def _flat_roofs(
    builder: _Builder, piece: Integers, x0: Floats, x1: Floats, y0: Floats, y1: Floats, height: Floats
) -> None:
    chance = builder.rng.random((3, len(x0)), np.float32)
    roof = tinted(builder.rng, FLAT_ROOFS[(chance[0] * len(FLAT_ROOFS)).astype(np.intp)], 7)
    builder.building(piece, x0, x1, y0, y1, height)
    builder.draw(piece, rectangles(x0, x1, y0, y1), dimmed(roof, 1.18), Surface.ROOF, shade=0.8)
    edge = np.float32(0.8)
    inner = rectangles(x0 + edge, x1 - edge, y0 + edge, y1 - edge)
    builder.draw(piece, inner, roof, Surface.ROOF, shade=0.75)
    x = x0 + 3 + chance[1] * np.maximum(x1 - x0 - 9, 0)
    y = y0 + 3 + chance[2] * np.maximum(y1 - y0 - 9, 0)
    outlet = rectangles(x, x + 3.4, y, y + 2.6)
    builder.draw(piece, outlet, dimmed(roof, 0.6), Surface.ROOF, shade=0.3, lean=-1.3)
    builder.draw(piece, outlet, (206, 206, 204), Surface.ROOF, shade=0.9)


def _lone_cars(builder: _Builder, *, level: bool) -> list[int]:
    """Make cars that stand along x, or along y."""
    pieces = builder.reserve(32)
    long, wide = np.full(32, 2.3, np.float32), np.full(32, 1.0, np.float32)
    x, y = (long, wide) if level else (wide, long)
    _cars(builder, pieces, -x, x, -y, y)
    return list(pieces.tolist())


def _cars(builder: _Builder, piece: Integers, x0: Floats, x1: Floats, y0: Floats, y1: Floats) -> None:
    colours = tinted(builder.rng, CARS[(builder.rng.random(len(x0)) * len(CARS)).astype(np.intp)], 8)
    builder.box(piece, x0, x1, y0, y1, 0 * x0 + np.float32(1.4))
    builder.draw(piece, rectangles(x0, x1, y0, y1), colours, Surface.CAR, shade=0.8)
    x, y = (x1 - x0) * np.float32(0.24), (y1 - y0) * np.float32(0.24)
    builder.draw(piece, rectangles(x0 + x, x1 - x, y0 + y, y1 - y), dimmed(colours, 0.6), Surface.CAR, shade=0.8)


def _gardens(builder: _Builder, b: _Blocks) -> None:
    """Make the trees of blocks: a few in gardens, behind the houses, many in parks."""
    owner, _ = np.nonzero(np.arange(TREES.max()) < TREES[b.use][:, None])
    chance = builder.rng.random((3, len(owner)), np.float32)
    garden = (b.use <= Use.TERRACES)[owner]
    away = np.where(garden, 0.36 + 0.28 * chance[1], chance[1])
    x, y = b.x0[owner] + (b.x1 - b.x0)[owner] * chance[0], b.y0[owner] + (b.y1 - b.y0)[owner] * away
    middle = np.stack([x, y], axis=1).astype(np.float32)
    _trees(builder, b.piece[owner], middle, 1.8 + 2.4 * chance[2])


def _trees(builder: _Builder, piece: Integers, middle: Floats, radius: Floats) -> None:
    rng = builder.rng
    ragged = radius[:, None, None] * (0.85 + 0.3 * rng.random((len(middle), len(_RING), 1), np.float32)) * _RING
    crown = middle[:, None] + ragged
    builder.shade(piece, crown, 1.5 * radius)
    leaves = tinted(rng, np.tile(palette((74, 104, 50)), (len(middle), 1)), 9)
    builder.draw(piece, crown, dimmed(leaves, 0.8), Surface.CROWN, shade=0.5)
    top = middle[:, None] + np.float32(0.55) * ragged
    builder.draw(piece, top, dimmed(leaves, 1.2), Surface.CROWN, shade=0.9, lean=0.3 * radius)


def _rivers(builder: _Builder, pieces: Integers) -> None:
    """Make rivers that fill rows without blocks, their banks a park."""
    x = np.arange(-EDGE - 25, EDGE + 25, 25, dtype=np.float32)
    for piece, depth in zip(pieces, DEPTHS, strict=True):
        owner, half = np.full(len(x), piece), np.float32(depth / 2 + PAVEMENT)
        wave = 3 * np.sin(np.arange(len(x) + 1) * 0.45 + depth).astype(np.float32)
        bank = rectangles(x, x + 25, 0 * x - half, 0 * x + half)
        builder.draw(owner, bank, (98, 130, 66), Surface.GRASS)
        builder.map(owner, bank, Sheet.PARK)
        for edge, colour, surface in ((1.6, (150, 142, 120), Surface.PAVING), (0.0, WATER, Surface.WATER)):
            far = np.float32(depth / 2 - 8 + edge)
            water = rectangles(x, x + 25, wave[:-1] - far, wave[:-1] + far)
            water[:, 1, 1], water[:, 2, 1] = wave[1:] - far, wave[1:] + far
            builder.draw(owner, water, colour, surface)
        builder.map(owner, water, Sheet.WATER)


def _bridges(builder: _Builder, pieces: Integers) -> None:
    """Make streets across rivers."""
    y = np.array(DEPTHS, np.float32) / 2 + np.float32(PAVEMENT)
    for edge, colour, surface in ((2.6, PAVING, Surface.PAVING), (0.0, ASPHALT, Surface.ASPHALT)):
        x = 0 * y + np.float32(3.6 + edge)
        builder.draw(pieces, rectangles(-x, x, -y, y), colour, surface)
    for edge, sheet in ((0.9, Sheet.BRIDGE_CASING), (0.0, Sheet.BRIDGE)):
        x = 0 * y + np.float32(3.6 + edge)
        builder.map(pieces, rectangles(-x, x, -y, y), sheet)


def _dashes(builder: _Builder, pieces: Integers, half: Floats, *, level: bool = False) -> None:
    """Make the dashes of avenues, as far as `half` on either side, and their ground on the map."""
    owner, dash = np.nonzero(np.arange(-18, 18)[None] * 8 + 4 < half[:, None])
    start = np.arange(-18, 18, dtype=np.float32)[dash] * 8
    inside = start >= -half[owner]
    start, piece, thin = start[inside], pieces[owner[inside]], 0 * start[inside] + np.float32(0.35)
    sides, ends = (-thin, thin), (start, start + 4)
    builder.draw(piece, rectangles(*(ends + sides if level else sides + ends)), (226, 226, 220), Surface.ASPHALT)
    wide = 0 * half + np.float32(6)
    along, across = (-half, half), (-wide, wide)
    builder.map(
        pieces,
        rectangles(*(along + across if level else across + along)),
        Sheet.AVENUE_ACROSS if level else Sheet.AVENUE,
    )
