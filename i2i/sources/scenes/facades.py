"""The buildings on both sides of a street: walls, roofs, windows and shops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from i2i.sources.scenes.canvas import Colour, Shapes
from i2i.sources.scenes.materials import Material
from i2i.sources.scenes.quads import across, along, dimmed, flat, palette, tinted
from i2i.sources.scenes.textures import Floats

Choice = npt.NDArray[np.bool_] | npt.NDArray[np.intp]

WALLS = palette(
    (158, 82, 64),
    (134, 92, 72),
    (176, 116, 84),
    (206, 170, 108),
    (224, 206, 174),
    (214, 154, 124),
    (160, 178, 190),
    (168, 178, 148),
    (222, 220, 212),
    (186, 180, 166),
    (164, 162, 158),
)
WALL_MATERIALS = np.array([Material.BRICK] * 3 + [Material.PLASTER] * 6 + [Material.STONE] * 2)
ROOFS = palette((142, 74, 56), (92, 84, 84), (112, 92, 80), (78, 90, 100))
SIGNS = palette((190, 40, 40), (36, 110, 70), (40, 70, 150), (214, 150, 30), (120, 44, 110), (30, 130, 150))
TRIM: Colour = (226, 222, 212)
GLASS: Colour = (66, 80, 98)
SHOP_GLASS: Colour = (112, 116, 112)
SHOP_LIGHT: Colour = (250, 204, 138)
DOOR_LIGHT: Colour = (255, 208, 132)
# What a window shows by day foretells its light: no blind, nobody home; otherwise the blind's colour.
BLIND_SHARES = np.cumsum([0.20, 0.36, 0.16, 0.22])
BLINDS = palette((0, 0, 0), (236, 216, 168), (206, 120, 72), (240, 240, 236), (146, 182, 212))
BLIND_LIGHTS = palette((8, 10, 16), (255, 196, 104), (244, 132, 58), (255, 232, 184), (128, 176, 236))
STOREYS, BAYS = 8, 6  # at most, the ground floor included
# Metres; what is farther is thinner than a pixel, and every polygon costs a microsecond.
DETAIL_END = 20.0  # mullions and sills
FRAME_END = 40.0  # frames, ground floors, and glass beside a blind
WINDOW_END = 70.0
WIDTHS = 16


@dataclass(frozen=True)
class Sun:
    """The fraction of sunlight on the faces that a street has, 0 ... 1."""

    left: float
    right: float
    front: float
    top: float

    def walls(self, side: Floats) -> Floats:
        """Return the light on walls of the left (-1) or right (1) side of the street."""
        return np.where(side < 0, np.float32(self.left), np.float32(self.right))


@dataclass(frozen=True)
class Buildings:
    """Buildings by the columns of their measures in metres, far ones first; a wall is at x, from near to far."""

    side: Floats
    x: Floats
    near: Floats
    far: Floats
    ground: Floats
    storey: Floats
    floors: Floats
    height: Floats
    wall: Floats
    trim: Floats
    material: npt.NDArray[np.intp]
    roof: Floats
    run: Floats
    rise: Floats
    bays: Floats
    shop: npt.NDArray[np.bool_]
    door: Floats
    light: Floats

    def only(self, chosen: Choice) -> Buildings:
        """Return some of the buildings."""
        return Buildings(*(column[chosen] for column in vars(self).values()))


def plan_buildings(
    rng: np.random.Generator, walls: tuple[float, float], starts: tuple[float, float], end: float, gap: float, sun: Sun
) -> Buildings:
    """Return the buildings on both sides from `starts` to `end`, with a side street at z = gap."""
    spans = []
    for side, start in zip((-1, 1), starts, strict=True):
        near = start
        for width in (7.5 + 8 * rng.random(WIDTHS)).tolist():
            far = gap if near < gap < near + width + 4 else near + width
            if near < end:
                spans.append((side, near, far))
            near = gap + 7.5 if far == gap else far
    spans.sort(key=lambda span: -span[1])
    side, near, far = np.array(spans, np.float32).T
    chance = rng.random((12, len(spans)), np.float32)
    tall = (2.2 + 2.4 * rng.random(2))[(side > 0).astype(np.intp)]
    style = (chance[0] * len(WALLS)).astype(np.intp)
    wall = tinted(rng, WALLS[style])
    pitched = chance[1] < 0.55
    ground, storey = 3.4 + 0.7 * chance[2], 2.9 + 0.5 * chance[3]
    floors = np.clip(np.rint(tall + 3.2 * chance[4] - 1.6), 1, STOREYS - 1).astype(np.float32)
    bays = np.clip(np.rint((far - near) / (2.3 + 1.1 * chance[11])), 1, BAYS)
    return Buildings(
        side=side,
        x=np.where(side < 0, *np.float32(walls)),
        near=near,
        far=far,
        ground=ground,
        storey=storey,
        floors=floors,
        height=ground + floors * storey + np.float32(0.5),
        wall=wall,
        trim=np.where(chance[5, :, None] < 0.3, 0.72 * wall, tinted(rng, np.tile(palette(TRIM), (len(spans), 1)), 6)),
        material=WALL_MATERIALS[style],
        roof=tinted(rng, ROOFS[(chance[6] * len(ROOFS)).astype(np.intp)], 8),
        run=np.where(pitched, 1.2 + chance[7], 0.01),
        rise=np.where(pitched, 2.6 + 1.2 * chance[8], 0.01),
        shop=(chance[9] < 0.6) & (near < FRAME_END),
        bays=bays,
        door=np.floor(bays * chance[10]),
        light=sun.walls(side),
    )


def draw_buildings(shapes: Shapes, rng: np.random.Generator, buildings: Buildings, sun: Sun) -> None:
    """Draw the buildings, those of both sides at once: a side's facades lie in one plane and hide no other's."""
    _shells(shapes, buildings, sun)
    _entrances(shapes, rng, buildings.only(~buildings.shop & (buildings.near < FRAME_END)))
    _windows(shapes, rng, buildings)
    _shops(shapes, rng, buildings.only(buildings.shop), sun)
    _relief(shapes, buildings, sun)
    balconies = rng.random(len(buildings.near)) < 0.3
    _balconies(shapes, buildings.only(balconies & (buildings.near < DETAIL_END) & (buildings.floors > 1)), sun)


def _shells(shapes: Shapes, b: Buildings, sun: Sun) -> None:
    """Draw of each building the side wall that faces the camera, the roof, and the wall along the street."""
    count = len(b.near)
    back, ridge, top = b.x + b.side * 12, b.x + b.side * b.run, b.height + b.rise
    zero = np.zeros(count, np.float32)
    gable = [
        (b.x, zero, b.near),
        (b.x, b.height, b.near),
        (ridge, top, b.near),
        (back, top, b.near),
        (back, zero, b.near),
    ]
    slope = [(b.x, b.height, b.near), (b.x, b.height, b.far), (ridge, top, b.far), (ridge, top, b.near)]
    wall = [(b.x, zero, b.near), (b.x, zero, b.far), (b.x, b.height, b.far), (b.x, b.height, b.near)]
    corners = np.array([gable, [*slope, slope[3]], [*wall, wall[3]]], np.float32).transpose(3, 0, 1, 2)
    colours = np.stack([0.86 * b.wall, b.roof, b.wall], axis=1)
    materials = np.stack([b.material, np.full(count, Material.ROOF), b.material], axis=1)
    shade = np.stack([zero + sun.front, 0.5 * (b.light + sun.top), b.light], axis=1)
    shapes.add(corners.reshape(-1, 5, 3), colours.reshape(-1, 3), materials.reshape(-1), shade=shade.reshape(-1))


def _windows(shapes: Shapes, rng: np.random.Generator, b: Buildings) -> None:
    chance = rng.random((2, len(b.near)), np.float32)
    pitch = (b.far - b.near) / b.bays
    half = pitch * (0.2 + 0.1 * chance[0])
    tall = b.storey * (0.48 + 0.16 * chance[1])
    level, bay = np.arange(STOREYS, dtype=np.float32)[:, None], np.arange(BAYS, dtype=np.float32)
    exists = (bay < b.bays[:, None, None]) & (level <= b.floors[:, None, None])
    exists &= (b.near < WINDOW_END)[:, None, None]
    at_ground = (level == 0) & (b.shop | (b.near > FRAME_END))[:, None, None]
    exists &= ~at_ground & ~((level == 0) & (bay == b.door[:, None, None]))
    owner, storey, column = np.nonzero(exists)
    bottom = np.where(storey == 0, 1.1, b.ground[owner] + b.storey[owner] * (storey - np.float32(0.75)))
    centre = b.near[owner] + pitch[owner] * (column + np.float32(0.5))
    x, y1, z0, z1 = b.x[owner], bottom + tall[owner], centre - half[owner], centre + half[owner]
    framed = z0 < FRAME_END
    frames = along(x, bottom - 0.14, y1 + 0.14, z0 - 0.14, z1 + 0.14)
    shapes.add(frames[framed], b.trim[owner][framed], Material.TRIM, shade=b.light[owner][framed])
    _glaze(shapes, rng, np.stack([x, bottom, y1, z0, z1]), b.light[owner])


def _glaze(shapes: Shapes, rng: np.random.Generator, rects: Floats, light: Floats) -> None:
    """Draw glass, blinds, mullions and sills of windows, 5 x N: x, y0, y1, z0, z1."""
    chance = rng.random((2, rects.shape[1]), np.float32)
    kind = np.searchsorted(BLIND_SHARES, chance[0])
    blind = kind > 0
    glass = ~blind | (rects[3] < FRAME_END)
    shapes.add(
        along(*rects[:, glass]), GLASS, Material.GLASS, shade=0.3 * light[glass], other=BLIND_LIGHTS[kind[glass]]
    )
    x, y0, y1, z0, z1 = rects[:, blind]
    below = y1 - (y1 - y0) * (0.35 + 0.65 * chance[1, blind])
    chosen = kind[blind]
    blinds = along(x, below, y1, z0, z1)
    shapes.add(blinds, BLINDS[chosen], Material.GLASS, shade=light[blind], other=0.84 * BLIND_LIGHTS[chosen])
    close = rects[3] < DETAIL_END
    x, y0, y1, z0, z1 = rects[:, close]
    middle = (z0 + z1) / 2
    shapes.add(along(x, y0, y1, middle - 0.05, middle + 0.05), (206, 202, 194), Material.TRIM, shade=light[close])
    sills = along(x, y0 - 0.22, y0 - 0.06, z0 - 0.2, z1 + 0.2)
    shapes.add(sills, (196, 192, 184), Material.TRIM, shade=light[close])


def _shops(shapes: Shapes, rng: np.random.Generator, b: Buildings, sun: Sun) -> None:
    count = len(b.near)
    shapes.add(along(b.x, 0, b.ground, b.near, b.far), dimmed(b.wall, 0.66), Material.TRIM, shade=b.light)
    panes = np.rint((b.far - b.near) / 3.2)
    owner, pane = np.nonzero(np.arange(5) < panes[:, None])
    width = ((b.far - b.near - 0.4) / panes)[owner]
    z0 = b.near[owner] + 0.35 + width * pane
    z1, x, light = z0 + width - 0.3, b.x[owner], b.light[owner]
    top = b.ground[owner] - 1.0
    shapes.add(along(x, 0.45, top, z0, z1), SHOP_GLASS, Material.GLASS, shade=0.4 * light, other=SHOP_LIGHT)
    shapes.add(
        along(x, top - 0.7, top, z0, z1), (168, 166, 156), Material.GLASS, shade=0.4 * light, other=(255, 232, 184)
    )
    for _ in range(2):
        chance = rng.random((3, len(owner)), np.float32)
        goods = SIGNS[(chance[0] * len(SIGNS)).astype(np.intp)]
        left = z0 + (z1 - z0) * 0.75 * chance[1]
        shown = along(x, 0.5, 0.9 + 0.9 * chance[2], left, left + 0.6)
        shapes.add(shown, goods, Material.GLASS, shade=0.4 * light, other=0.8 * goods)
    sign = tinted(rng, SIGNS[(rng.random(count) * len(SIGNS)).astype(np.intp)], 10)
    band = along(b.x - b.side * 0.15, b.ground - 0.85, b.ground - 0.2, b.near + 0.2, b.far - 0.2)
    shapes.add(band, sign, Material.TRIM, shade=b.light, other=1.25 * sign)
    covered = rng.random(count) < 0.5
    _awnings(shapes, b.only(covered), sign[covered], sun)


def _awnings(shapes: Shapes, b: Buildings, sign: Floats, sun: Sun) -> None:
    """Draw twelve stripes over each shop window, in the sign's colour and white by turns."""
    stripe = ((b.far - b.near - 0.4) / 12)[:, None]
    z0 = ((b.near + 0.2)[:, None] + stripe * np.arange(12)).reshape(-1)
    owner = np.repeat(np.arange(len(b.near)), 12)
    high = b.ground[owner] - 0.9
    quads = along(b.x[owner], high, high - 0.5, z0, z0 + np.repeat(stripe[:, 0], 12))
    quads[:, 2:, 0] -= (1.1 * b.side[owner])[:, None]
    colours = np.where((np.arange(len(owner)) % 2 == 0)[:, None], sign[owner], np.float32((232, 228, 218)))
    shapes.add(quads, colours, Material.TRIM, shade=0.7 * sun.top, other=0.22 * colours)


def _entrances(shapes: Shapes, rng: np.random.Generator, b: Buildings) -> None:
    """Draw of each house the plinth, and the door under its lamp."""
    shapes.add(along(b.x, 0, 0.7, b.near, b.far), dimmed(b.wall, 0.7), Material.STONE, shade=b.light)
    door = b.near + (b.far - b.near) / b.bays * (b.door + np.float32(0.5))
    shapes.add(along(b.x, 0, 2.6, door - 0.8, door + 0.8), b.trim, Material.TRIM, shade=b.light)
    paint = tinted(rng, 0.7 * SIGNS[(rng.random(len(door)) * len(SIGNS)).astype(np.intp)], 8)
    shapes.add(along(b.x, 0, 2.35, door - 0.58, door + 0.58), paint, Material.TRIM, shade=b.light)
    lamps = along(b.x, 2.4, 2.8, door - 0.3, door + 0.3)
    shapes.add(lamps, (244, 236, 210), Material.LAMP, shade=b.light, other=DOOR_LIGHT)


def _relief(shapes: Shapes, b: Buildings, sun: Sun) -> None:
    """Draw what stands out from the walls: cornices and string courses."""
    out, high, top = b.x - b.side * np.float32(0.35), b.height - np.float32(0.4), b.height + np.float32(0.1)
    shapes.add(flat(b.x, out, b.near, b.far, high), dimmed(b.trim, 0.5), Material.TRIM, shade=0)
    shapes.add(across(b.x, out, high, top, b.near), b.trim, Material.TRIM, shade=sun.front)
    shapes.add(along(out, high, top, b.near, b.far), b.trim, Material.TRIM, shade=b.light)
    shapes.add(along(b.x, b.ground - 0.1, b.ground + 0.15, b.near, b.far), b.trim, Material.TRIM, shade=b.light)


def _balconies(shapes: Shapes, b: Buildings, sun: Sun) -> None:
    owner, level = np.nonzero(np.arange(1, STOREYS) < b.floors[:, None])
    y = b.ground[owner] + b.storey[owner] * (level + np.float32(1.02))
    width = (b.far - b.near)[owner]
    z0, z1 = b.near[owner] + 0.28 * width, b.near[owner] + 0.72 * width
    x, out = b.x[owner], b.x[owner] - b.side[owner] * np.float32(0.9)
    trim, light = b.trim[owner], b.light[owner]
    shapes.add(flat(x, out, z0, z1, y), dimmed(b.wall[owner], 0.5), Material.TRIM, shade=0)
    shapes.add(across(x, out, y, y + 0.95, z0), dimmed(trim, 0.75), Material.TRIM, shade=sun.front)
    shapes.add(along(out, y, y + 0.95, z0, z1), dimmed(trim, 0.85), Material.TRIM, shade=light)
