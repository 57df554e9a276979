"""What of the kit stands and moves on a street: cars, people, trees and lamps."""

from __future__ import annotations

import numpy as np

from i2i.sources.scenes.canvas import BLACK, Colour
from i2i.sources.scenes.kit import DETAIL, EVERYWHERE, FAR, MIDDLE, Face, KitBuilder
from i2i.sources.scenes.materials import Material
from i2i.sources.scenes.quads import across, along, chosen, flat, palette, tinted
from i2i.sources.scenes.spans import Integers
from i2i.sources.scenes.textures import Floats

CARS = palette(
    (196, 36, 34),
    (236, 236, 234),
    (34, 36, 42),
    (52, 86, 156),
    (168, 172, 178),
    (226, 184, 50),
    (52, 104, 78),
    (120, 30, 44),
)
LEAVES = palette((76, 112, 48), (60, 98, 50), (98, 122, 52), (84, 114, 62), (188, 130, 44), (206, 152, 164))
CLOTHES = palette((170, 50, 46), (52, 70, 120), (60, 60, 64), (206, 196, 176), (70, 110, 84), (214, 160, 60))
TROUSERS = palette((44, 48, 66), (60, 56, 52), (96, 84, 70))
HAIR = palette((40, 30, 26), (92, 62, 40), (190, 160, 110))
SKIN = palette((228, 184, 152), (196, 146, 112), (132, 88, 62))
HEADLIGHT: Colour = (255, 250, 226)
TAILLIGHT: Colour = (255, 36, 22)
LANTERN_HEIGHT, MAST_HEIGHT, MAST_ARM = 3.9, 6.4, 1.5
CROWN_MIDDLE = 4.1  # metres above the ground; a crown of scale 1 has a radius of 1.9
CROWN_RADIUS = 1.9


def _ring(count: int) -> Floats:
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32)


_CROWN, _BLOB = _ring(12), _ring(8)


def crown_shadow(lean: tuple[float, float]) -> Floats:
    """Return what a crown shades, in metres from the tree, k x 2; lean: of a shadow, for a metre of height."""
    return np.float32(CROWN_RADIUS) * _CROWN + np.float32(CROWN_MIDDLE) * np.array(lean, np.float32)


def _standing(outlines: Floats, x: float = 0, y: float = 0) -> Floats:
    """Return outlines n x k x 2 (right, up) as upright polygons that face the camera, moved by (x, y)."""
    corners = np.zeros((*outlines.shape[:2], 3), np.float32)
    corners[..., :2] = outlines + np.array([x, y])
    return corners


def _cabin(half: float, y0: float, y1: float, bottom: tuple[float, float], top: tuple[float, float]) -> Floats:
    """Return the sloped inner side of a cabin that is 0.14 m narrower on either side at its top."""
    sides = along(-half, y0, y1, *bottom)
    sides[:, 2:, 0] *= (half - 0.14) / half
    sides[:, 2, 2], sides[:, 3, 2] = top[1], top[0]
    return sides


def _windscreen(half: float, y0: float, y1: float, z0: float, z1: float) -> Floats:
    screen = across(-half, half, y0, y1, z0)
    screen[:, 2:, 0] *= (half - 0.12) / half
    screen[:, 2:, 2] = z1
    return screen


def _wheels() -> Floats:
    wheels = np.empty((2, len(_BLOB), 3), np.float32)
    for wheel, z in zip(wheels, (0.8, 3.4), strict=True):
        wheel[:, 0], wheel[:, 1], wheel[:, 2] = -0.91, 0.34 + 0.34 * _BLOB[:, 1], z + 0.34 * _BLOB[:, 0]
    return wheels


# A car 1.8 m wide and 4.2 m long whose near end is z = 0, in drawing order: its faces, how much of the body's colour
# they have and what they have besides, the light that falls on them, and how far away they are worth drawing. Its outer
# side is never seen.
_CAR: tuple[tuple[Floats, float, Colour, Face, float], ...] = (
    (_wheels(), 0.0, (28, 28, 30), Face.DARK, MIDDLE),
    (along(-0.9, 0.28, 0.88, 0.0, 4.2), 1.0, BLACK, Face.WALL, EVERYWHERE),
    (flat(-0.9, 0.9, 0.0, 4.2, 0.88), 1.1, BLACK, Face.TOP, MIDDLE),
    (_cabin(0.84, 0.88, 1.45, (0.25, 3.2), (0.7, 2.5)), 1.0, BLACK, Face.WALL, FAR),
    (_cabin(0.85, 0.93, 1.38, (0.5, 2.95), (0.85, 2.4)), 0.0, (58, 68, 80), Face.DARK, MIDDLE),
    (flat(-0.7, 0.7, 0.7, 2.5, 1.45), 1.1, BLACK, Face.TOP, MIDDLE),
    (_windscreen(0.84, 0.88, 1.45, 0.25, 0.7), 0.92, BLACK, Face.FRONT, MIDDLE),
    (_windscreen(0.74, 0.94, 1.39, 0.28, 0.66), 0.0, (74, 88, 104), Face.DARK, FAR),
    (across(np.array([-0.84, 0.56]), np.array([-0.56, 0.84]), 0.0, 0.4, 0.02), 0.0, (26, 26, 28), Face.DARK, DETAIL),
    (across(-0.9, 0.9, 0.26, 0.88, 0.0), 0.92, BLACK, Face.FRONT, EVERYWHERE),
    (across(-0.9, 0.9, 0.26, 0.44, 0.0), 0.0, (58, 58, 62), Face.FRONT, DETAIL),
    (across(-0.24, 0.24, 0.46, 0.6, 0.0), 0.0, (226, 222, 190), Face.FRONT, DETAIL),
)
_CAR_LIGHTS = across(np.array([-0.87, 0.5]), np.array([-0.5, 0.87]), 0.58, 0.8, 0.0)


def make_cars(kit: KitBuilder, rng: np.random.Generator, count: int, day: Colour, night: Colour) -> Integers:
    """Add cars whose lights have these colours: the near end is z = 0."""
    pieces = kit.reserve(count)
    tall = np.array([1.0, 1.02, 1.08, 1.3], np.float32)[np.arange(count) % 4]
    body = tinted(rng, chosen(rng, CARS, count), 8)
    scale = np.stack([0 * tall + 1, tall, 0 * tall + 1], axis=1)[:, None]
    kit.add(pieces, flat(-0.96, 0.96, -0.12, 4.3, 0.01), (26, 26, 28), Material.ROAD, face=Face.DARK, reach=FAR)
    for faces, share, colour, face, reach in _CAR:
        for corners in faces:
            painted = body * np.float32(share) + palette(colour)
            kit.add(pieces, corners * scale, painted, Material.CAR, face=face, reach=reach)
    for corners in _CAR_LIGHTS:
        kit.add(pieces, corners * scale, day, Material.CAR, face=Face.FRONT, other=night)
    return pieces


# A walking person 1.75 m tall, for a stride of 0 and what a stride of 1 m moves: legs, arms, coat.
_LIMBS = np.array(
    [
        [(-0.13, 0.86), (0.01, 0.86), (-0.05, 0), (-0.18, 0)],
        [(-0.01, 0.86), (0.13, 0.86), (0.18, 0), (0.05, 0)],
        [(-0.2, 1.4), (-0.12, 1.42), (-0.2, 0.8), (-0.29, 0.84)],
        [(0.2, 1.4), (0.12, 1.42), (0.2, 0.8), (0.29, 0.84)],
        [(-0.17, 1.42), (0.17, 1.42), (0.2, 0.78), (-0.2, 0.78)],
    ],
    np.float32,
)
_STRIDES = np.zeros_like(_LIMBS)
_STRIDES[:2, 2:, 0] = np.array([[1], [-1]])
_STRIDES[2:4, 2:, 0] = np.array([[-0.5], [0.5]])


def make_people(kit: KitBuilder, rng: np.random.Generator, count: int) -> Integers:
    """Add people of 1.5 to 1.9 m."""
    pieces = kit.reserve(count)
    size = rng.uniform(0.86, 1.08, (count, 1, 1)).astype(np.float32)
    stride = rng.uniform(-0.05, 0.25, (count, 1, 1)).astype(np.float32)
    trousers, coat = tinted(rng, chosen(rng, TROUSERS, count), 8), tinted(rng, chosen(rng, CLOTHES, count), 8)
    colours, reaches = (trousers, trousers, 0.86 * coat, 0.86 * coat, coat), (EVERYWHERE, *[MIDDLE] * 3, EVERYWHERE)
    for limb, move, colour, reach in zip(_LIMBS, _STRIDES, colours, reaches, strict=True):
        outline = _standing((limb + stride * move) * size)
        kit.add(pieces, outline, colour, Material.PERSON, face=Face.TOP, share=0.8, reach=reach)
    for radius, height, colour, reach in ((0.125, 1.6, HAIR, EVERYWHERE), (0.105, 1.57, SKIN, MIDDLE)):
        head = _standing((radius * _BLOB + np.array([0, height], np.float32)) * size)
        kit.add(pieces, head, chosen(rng, colour, count), Material.PERSON, face=Face.TOP, share=0.8, reach=reach)
    return pieces


# A tree's foliage, blob by blob, dark ones first: distance from the middle, size, how much above the middle, tone.
_BLOBS = [(0.6, 0.58, -0.16, 0.62)] * 5 + [(0.52, 0.44, 0.08, 0.92)] * 5 + [(0.4, 0.3, 0.36, 1.16)] * 3


def make_trees(kit: KitBuilder, rng: np.random.Generator, leaves: Floats, count: int) -> Integers:
    """Add trees with leaves of one colour, their crowns about CROWN_MIDDLE."""
    pieces = kit.reserve(count)
    trunk = across(-0.15, 0.15, 0, CROWN_MIDDLE, 0)
    kit.add(pieces, trunk, (88, 72, 58), Material.TRUNK, face=Face.TOP, share=0.5)
    start = rng.random(count)
    scale = CROWN_RADIUS * rng.uniform(0.8, 1.2, (count, 1, 1))
    for number, (distance, size, rise, tone) in enumerate(_BLOBS):
        turn = 2 * np.pi * (number / 5 + start + 0.06 * (number // 5))
        middle = np.stack([distance * np.cos(turn), 0.8 * distance * np.sin(turn) + rise], axis=1)[:, None]
        ragged = size * rng.uniform(0.78, 1.22, (count, len(_BLOB), 1)) * _BLOB
        blob = _standing((scale * (middle + ragged)).astype(np.float32), y=CROWN_MIDDLE)
        colour = tinted(rng, np.tile(leaves, (count, 1)), 5) * np.float32(tone)
        reach = MIDDLE if number % 2 else EVERYWHERE if number in (0, 4, 8, 10) else FAR
        kit.add(pieces, blob, colour, Material.LEAF, face=Face.TOP, share=0.8 * tone, reach=reach)
    return pieces


def make_skylines(kit: KitBuilder, rng: np.random.Generator, count: int) -> Integers:
    """Add rows of far houses, to stand at z = 0, a few of their windows lit by night."""
    pieces = kit.reserve(count)
    for z, tone, wide, places in ((170.0, 0.9, 40, range(-1, 1)), (130.0, 0.78, 12, range(-2, 2))):
        for place in places:
            x = wide * place + 6 * rng.random(count) - 3
            tall = 6 + 22 * rng.random(count) ** 2
            colour = (150 * tone, 158 * tone, 172 * tone)
            kit.add(pieces, across(x, x + wide, 0, tall, z), colour, Material.DISTANT, face=Face.LIT, share=0.3)
            if z == 130.0 and place in (-1, 0):
                for right, high in ((3, 0.4), (7, 0.75)):
                    window = across(x + right, x + right + 2, high * tall - 1.2, high * tall + 1.2, z)
                    kit.add(pieces, window, (170, 164, 150), Material.DISTANT, face=Face.LIT, other=(200, 150, 80))
    return pieces


def make_lamps(kit: KitBuilder) -> tuple[Integers, Integers]:
    """Add a post with a lantern, whose light is warm, and one with an arm over the road, whose light is white."""
    lantern, mast = kit.reserve(1), kit.reserve(1)
    iron: Colour = (44, 50, 48)
    _post(kit, lantern, 3.6, iron)
    glass = _standing(np.array([[(-0.16, 3.6), (0.16, 3.6), (0.3, 4.25), (-0.3, 4.25)]], np.float32))
    hood = _standing(np.array([[(-0.34, 4.22), (0.34, 4.22), (0.1, 4.5), (-0.1, 4.5)]], np.float32))
    kit.add(lantern, glass, (246, 236, 200), Material.LAMP, face=Face.LIT, other=(255, 232, 172))
    kit.add(lantern, hood, iron, Material.LAMP, face=Face.LIT, share=0.8)
    grey: Colour = (122, 126, 130)
    _post(kit, mast, 6.2, grey)
    arm = across(0, -MAST_ARM, 6.1, 6.2, 0)
    arm[:, 1:3, 1] += 0.3
    kit.add(mast, arm, grey, Material.LAMP, face=Face.LIT, share=0.7)
    head = across(-MAST_ARM - 0.45, -MAST_ARM + 0.45, 6.28, 6.56, 0)
    kit.add(mast, head, (208, 212, 218), Material.LAMP, face=Face.LIT, share=0.8, other=(250, 250, 255))
    return lantern, mast


def _post(kit: KitBuilder, piece: Integers, height: float, colour: Colour) -> None:
    kit.add(piece, across(-0.07, 0.07, 0, height, 0), colour, Material.LAMP, face=Face.LIT, share=0.7)
    foot = across(-0.13, 0.13, 0, 0.8, 0)
    kit.add(piece, foot, colour, Material.LAMP, face=Face.LIT, share=0.5, reach=DETAIL)
