"""The buildings of the kit: walls, roofs, windows and shops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from i2i.sources.scenes.canvas import Colour
from i2i.sources.scenes.kit import DETAIL, FAR, MIDDLE, Face, KitBuilder
from i2i.sources.scenes.materials import Material
from i2i.sources.scenes.quads import across, along, chosen, dimmed, flat, palette, tinted
from i2i.sources.scenes.spans import Integers
from i2i.sources.scenes.textures import Floats

WALLS = palette(
    (158, 82, 64),
    (134, 92, 72),
    (176, 116, 84),
    (186, 156, 116),
    (196, 182, 162),
    (196, 144, 122),
    (152, 168, 180),
    (158, 168, 142),
    (200, 198, 194),
    (178, 172, 160),
    (164, 162, 158),
)
WALL_MATERIALS = np.array([Material.BRICK] * 3 + [Material.PLASTER] * 6 + [Material.STONE] * 2)
ROOFS = palette((142, 74, 56), (92, 84, 84), (112, 92, 80), (78, 90, 100))
SIGNS = palette((190, 40, 40), (36, 110, 70), (40, 70, 150), (214, 150, 30), (120, 44, 110), (30, 130, 150))
TRIM: Colour = (226, 222, 212)
GLASS: Colour = (66, 80, 98)
SHOP_GLASS: Colour = (206, 182, 138)
SHOP_LIGHT: Colour = (236, 190, 124)
DOOR_LIGHT: Colour = (255, 208, 132)
# What a window shows by day foretells its light: no blind, nobody home; otherwise the blind's colour.
BLIND_SHARES = np.cumsum([0.20, 0.36, 0.16, 0.22])
BLINDS = palette((0, 0, 0), (228, 194, 122), (196, 112, 62), (222, 216, 196), (132, 170, 206))
BLIND_LIGHTS = palette((8, 10, 16), (255, 196, 104), (244, 132, 58), (255, 226, 170), (128, 176, 236))
STOREYS, BAYS = 8, 6  # at most, the ground floor included


@dataclass(frozen=True)
class Buildings:
    """Buildings of the right side by the columns of their measures in metres: x = 0 is the wall, z = 0 the near end.

    piece, shell, relief: the wall, what walls may cover, and what stands out from the wall.
    """

    piece: Integers
    shell: Integers
    relief: Integers
    width: Floats
    ground: Floats
    storey: Floats
    floors: Floats
    height: Floats
    wall: Floats
    trim: Floats
    material: Integers
    roof: Floats
    run: Floats
    rise: Floats
    bays: Floats
    shop: npt.NDArray[np.bool_]
    door: Floats

    def only(self, some: Integers | npt.NDArray[np.bool_]) -> Buildings:
        """Return some of the buildings."""
        return Buildings(*(column[some] for column in vars(self).values()))


def make_buildings(kit: KitBuilder, rng: np.random.Generator, count: int) -> Buildings:
    """Add `count` buildings to a kit that is still empty, low ones first."""
    buildings = _plan(rng, count, kit.reserve_walls(count), kit.reserve(count), kit.reserve(count))
    _shells(kit, buildings)
    _entrances(kit, rng, buildings.only(~buildings.shop))
    _windows(kit, rng, buildings)
    _shops(kit, rng, buildings.only(buildings.shop))
    _relief(kit, buildings)
    _balconies(kit, buildings.only((rng.random(count) < 0.3) & (buildings.floors > 1)))
    return buildings


def _plan(rng: np.random.Generator, count: int, piece: Integers, shell: Integers, relief: Integers) -> Buildings:
    chance = rng.random((12, count), np.float32)
    style = (chance[0] * len(WALLS)).astype(np.intp)
    wall = tinted(rng, WALLS[style])
    pitched = chance[1] < 0.55
    width, ground, storey = 7.5 + 7 * chance[2], 3.4 + 0.7 * chance[3], 2.9 + 0.5 * chance[4]
    floors = np.sort(np.clip(np.rint(0.8 + 5.4 * chance[5]), 1, STOREYS - 1).astype(np.float32))
    bays = np.clip(np.rint(width / (2.3 + 1.1 * chance[6])), 1, BAYS)
    return Buildings(
        piece=piece,
        shell=shell,
        relief=relief,
        width=width,
        ground=ground,
        storey=storey,
        floors=floors,
        height=ground + floors * storey + np.float32(0.5),
        wall=wall,
        trim=np.where(chance[7, :, None] < 0.3, 0.72 * wall, tinted(rng, np.tile(palette(TRIM), (count, 1)), 6)),
        material=WALL_MATERIALS[style],
        roof=tinted(rng, chosen(rng, ROOFS, count), 8),
        run=np.where(pitched, 1.2 + chance[8], 0.01),
        rise=np.where(pitched, 2.6 + 1.2 * chance[9], 0.01),
        bays=bays,
        shop=chance[10] < 0.6,
        door=np.floor(bays * chance[11]),
    )


def _shells(kit: KitBuilder, b: Buildings) -> None:
    """Make of each building the side wall that faces the camera, the roof, and the wall along the street."""
    back, top = 0 * b.run + 12, b.height + b.rise
    gable = np.array([(0 * back, 0 * back), (0 * back, b.height), (b.run, top), (back, top), (back, 0 * back)])
    corners = np.concatenate([gable, 0 * gable[:, :1]], axis=1).transpose(2, 0, 1).astype(np.float32)
    kit.add(b.shell, corners, 0.86 * b.wall, b.material, face=Face.FRONT)
    slope = along(0 * b.run, b.height, top, 0, b.width)
    slope[:, 2:, 0] = b.run[:, None]
    kit.add(b.shell, slope, b.roof, Material.ROOF, face=Face.ROOF)
    kit.add(b.piece, along(0, 0, b.height, 0, b.width), b.wall, b.material, face=Face.WALL)


def _windows(kit: KitBuilder, rng: np.random.Generator, b: Buildings) -> None:
    chance = rng.random((2, len(b.piece)), np.float32)
    pitch = b.width / b.bays
    half = pitch * (0.2 + 0.1 * chance[0])
    tall = b.storey * (0.48 + 0.16 * chance[1])
    level, bay = np.arange(STOREYS)[:, None], np.arange(BAYS)
    exists = (bay < b.bays[:, None, None]) & (level <= b.floors[:, None, None])
    exists &= (level > 0) | (~b.shop[:, None, None] & (bay != b.door[:, None, None]))
    owner, storey, column = np.nonzero(exists)
    y0 = np.where(storey == 0, 1.1, b.ground[owner] + b.storey[owner] * (storey - 0.75)).astype(np.float32)
    middle = pitch[owner] * (column + 0.5).astype(np.float32)
    y1, z0, z1 = y0 + tall[owner], middle - half[owner], middle + half[owner]
    piece = b.piece[owner]
    frames = along(0, y0 - 0.2, y1 + 0.14, z0 - 0.14, z1 + 0.14)
    kit.add(piece, frames, b.trim[owner], Material.TRIM, face=Face.WALL, reach=MIDDLE)
    _glaze(kit, rng, piece, np.stack([y0, y1, z0, z1]))


def _glaze(kit: KitBuilder, rng: np.random.Generator, piece: Integers, rects: Floats) -> None:
    """Make glass, blinds and mullions of windows, 4 x N: y0, y1, z0, z1."""
    chance = rng.random((2, len(piece)), np.float32)
    kind = np.searchsorted(BLIND_SHARES, chance[0])
    drop = np.where(kind > 0, (0.55 + 0.8 * chance[1]).clip(max=1), 0)
    for some, reach in ((kind == 0, FAR), ((kind > 0) & (drop < 1), MIDDLE)):
        glass, light = along(0, *rects[:, some]), 0.6 * BLIND_LIGHTS[kind[some]]
        kit.add(piece[some], glass, GLASS, Material.GLASS, face=Face.LIT, share=0.1, other=light, reach=reach)
    some = kind > 0
    y0, y1, z0, z1 = rects[:, some]
    blinds = along(0, y1 - (y1 - y0) * drop[some], y1, z0, z1)
    colour, light = BLINDS[kind[some]], 0.88 * BLIND_LIGHTS[kind[some]]
    kit.add(piece[some], blinds, colour, Material.GLASS, face=Face.LIT, share=0.8, other=light, reach=FAR)
    y0, y1, z0, z1 = rects
    middle = (z0 + z1) / 2
    mullions = along(0, y0, y1, middle - 0.05, middle + 0.05)
    kit.add(piece, mullions, (204, 200, 192), Material.TRIM, face=Face.WALL, reach=DETAIL)


def _shops(kit: KitBuilder, rng: np.random.Generator, b: Buildings) -> None:
    base = along(0, 0, b.ground, 0, b.width)
    kit.add(b.piece, base, dimmed(b.wall, 0.66), Material.TRIM, face=Face.WALL, reach=FAR)
    panes = np.rint(b.width / 3.2)
    owner, pane = np.nonzero(np.arange(5) < panes[:, None])
    wide = ((b.width - 0.4) / panes)[owner]
    z0, top, piece = 0.35 + wide * pane, b.ground[owner] - 1.0, b.piece[owner]
    z1 = z0 + wide - 0.3
    for low, high, colour, light in (
        (0 * top + 0.45, top, SHOP_GLASS, SHOP_LIGHT),
        (top - 0.7, top, (232, 216, 176), (252, 222, 168)),
    ):
        panel = along(0, low, high, z0, z1)
        kit.add(piece, panel, colour, Material.GLASS, face=Face.LIT, share=0.7, other=light, reach=FAR)
    for _ in range(2):
        chance = rng.random((2, len(owner)), np.float32)
        left, goods = z0 + (z1 - z0) * 0.75 * chance[0], chosen(rng, SIGNS, len(owner))
        shown = along(0, 0.5, 0.9 + 0.9 * chance[1], left, left + 0.6)
        kit.add(piece, shown, goods, Material.GLASS, face=Face.LIT, share=0.5, other=0.8 * goods, reach=MIDDLE)
    sign = tinted(rng, chosen(rng, SIGNS, len(b.piece)), 10)
    band = along(0, b.ground - 0.85, b.ground - 0.2, 0.2, b.width - 0.2)
    kit.add(b.piece, band, sign, Material.TRIM, face=Face.WALL, other=1.25 * sign, reach=FAR)
    covered = rng.random(len(b.piece)) < 0.5
    _awnings(kit, b.only(covered), sign[covered])


def _awnings(kit: KitBuilder, b: Buildings, sign: Floats) -> None:
    """Make eight stripes over each shop window, in the sign's colour and white by turns."""
    owner, stripe = np.nonzero(np.ones((len(b.piece), 8), bool))
    wide = ((b.width - 0.4) / 8)[owner]
    z0, high = 0.2 + wide * stripe, b.ground[owner] - 0.9
    quads = along(0, high, high - 0.5, z0, z0 + wide)
    quads[:, 2:, 0] = -1.1
    colours = np.where((stripe % 2 == 0)[:, None], sign[owner], palette((232, 228, 218)))
    piece = b.relief[owner]
    kit.add(piece, quads, colours, Material.TRIM, face=Face.TOP, share=0.7, other=0.22 * colours, reach=MIDDLE)


def _entrances(kit: KitBuilder, rng: np.random.Generator, b: Buildings) -> None:
    """Make of each house the plinth, and the door under its lamp."""
    plinth = along(0, 0, 0.7, 0, b.width)
    kit.add(b.piece, plinth, dimmed(b.wall, 0.7), Material.STONE, face=Face.WALL, reach=FAR)
    door = b.width / b.bays * (b.door + np.float32(0.5))
    frame = along(0, 0, 2.6, door - 0.8, door + 0.8)
    kit.add(b.piece, frame, b.trim, Material.TRIM, face=Face.WALL, reach=MIDDLE)
    paint = tinted(rng, 0.7 * chosen(rng, SIGNS, len(door)), 8)
    leaf = along(0, 0, 2.35, door - 0.58, door + 0.58)
    kit.add(b.piece, leaf, paint, Material.TRIM, face=Face.WALL, reach=MIDDLE)
    lamp = along(0, 2.4, 2.8, door - 0.3, door + 0.3)
    kit.add(b.piece, lamp, (244, 236, 210), Material.LAMP, face=Face.WALL, other=DOOR_LIGHT, reach=MIDDLE)


def _relief(kit: KitBuilder, b: Buildings) -> None:
    """Make what stands out from the walls: cornices and string courses."""
    high, top = b.height - np.float32(0.4), b.height + np.float32(0.1)
    under = flat(0, -0.35, 0, b.width, high)
    kit.add(b.relief, under, dimmed(b.trim, 0.5), Material.TRIM, face=Face.DARK, reach=DETAIL)
    kit.add(b.relief, across(0, -0.35, high, top, 0), b.trim, Material.TRIM, face=Face.FRONT, reach=MIDDLE)
    kit.add(b.relief, along(-0.35, high, top, 0, b.width), b.trim, Material.TRIM, face=Face.WALL, reach=FAR)
    course = along(0, b.ground - 0.1, b.ground + 0.15, 0, b.width)
    kit.add(b.piece, course, b.trim, Material.TRIM, face=Face.WALL, reach=MIDDLE)


def _balconies(kit: KitBuilder, b: Buildings) -> None:
    owner, level = np.nonzero(np.arange(1, STOREYS) < b.floors[:, None])
    y = b.ground[owner] + b.storey[owner] * (level + np.float32(1.02))
    z0, z1 = 0.28 * b.width[owner], 0.72 * b.width[owner]
    piece, trim = b.relief[owner], b.trim[owner]
    under, end, rail = flat(0, -0.9, z0, z1, y), across(0, -0.9, y, y + 0.95, z0), along(-0.9, y, y + 0.95, z0, z1)
    kit.add(piece, under, dimmed(b.wall[owner], 0.5), Material.TRIM, face=Face.DARK, reach=MIDDLE)
    kit.add(piece, end, dimmed(trim, 0.75), Material.TRIM, face=Face.FRONT, reach=MIDDLE)
    kit.add(piece, rail, dimmed(trim, 0.85), Material.TRIM, face=Face.WALL, reach=MIDDLE)
