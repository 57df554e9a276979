"""What stands and moves on a street: cars, people, trees and lamps, each drawn at a place in metres."""

from __future__ import annotations

import numpy as np

from i2i.sources.scenes.canvas import BLACK, Colour, Shapes
from i2i.sources.scenes.facades import Sun
from i2i.sources.scenes.materials import Material
from i2i.sources.scenes.quads import across, along, between, dimmed, flat, pick, tinted
from i2i.sources.scenes.textures import Floats

CARS: tuple[Colour, ...] = (
    (196, 36, 34),
    (236, 236, 234),
    (34, 36, 42),
    (52, 86, 156),
    (168, 172, 178),
    (226, 184, 50),
    (52, 104, 78),
    (120, 30, 44),
)
LEAVES: tuple[Colour, ...] = ((84, 128, 52), (66, 112, 56), (110, 142, 58), (96, 132, 70), (198, 142, 44), (222, 168, 180))
CLOTHES: tuple[Colour, ...] = ((170, 50, 46), (52, 70, 120), (60, 60, 64), (206, 196, 176), (70, 110, 84), (214, 160, 60))
SKIN: tuple[Colour, ...] = ((228, 184, 152), (196, 146, 112), (132, 88, 62))
HEADLIGHT: Colour = (255, 250, 226)
TAILLIGHT: Colour = (255, 36, 22)
WARM_LAMP: Colour = (255, 192, 104)
WHITE_LAMP: Colour = (240, 240, 255)
TYRE: Colour = (26, 26, 28)
_TURN = np.linspace(0, 2 * np.pi, 8, endpoint=False)
_OCTAGON = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1).astype(np.float32)
_BLOB_TURN = np.linspace(0, 2 * np.pi, 12, endpoint=False)
_BLOB = np.stack([np.cos(_BLOB_TURN), np.sin(_BLOB_TURN)], axis=1).astype(np.float32)


def _trapezoids(x: float, y0: float, y1: float, bottom: tuple[float, float], top: tuple[float, float]) -> Floats:
    sides = []
    for side in (-1, 1):
        low, high = side * x, side * (x - 0.14)
        sides.append([(low, y0, bottom[0]), (low, y0, bottom[1]), (high, y1, top[1]), (high, y1, top[0])])
    return np.array(sides, np.float32)


def _screen(x: float, y0: float, y1: float, z0: float, z1: float) -> Floats:
    return np.array([[(-x, y0, z0), (x, y0, z0), (x - 0.12, y1, z1), (-x + 0.12, y1, z1)]], np.float32)


def _wheels() -> Floats:
    wheels = np.empty((4, 8, 3), np.float32)
    for wheel, (x, z) in zip(wheels, ((-0.9, 0.8), (0.9, 0.8), (-0.9, 3.4), (0.9, 3.4)), strict=True):
        wheel[:, 0], wheel[:, 1], wheel[:, 2] = x, 0.34 + 0.34 * _OCTAGON[:, 1], z + 0.34 * _OCTAGON[:, 0]
    return wheels


# A car 1.8 m wide and 4.2 m long whose near end is its tail, in drawing order: what it is, its faces.
_CAR: tuple[tuple[str, Floats], ...] = (
    ("under", flat(-0.96, 0.96, -0.12, 4.3, 0.01)),
    ("wheel", _wheels()),
    ("side", along(np.array([-0.9, 0.9]), 0.28, 0.88, 0.0, 4.2)),
    ("top", flat(-0.9, 0.9, 0.0, 4.2, 0.88)),
    ("side", _trapezoids(0.84, 0.88, 1.45, (0.25, 3.2), (0.7, 2.5))),
    ("glass", _trapezoids(0.85, 0.93, 1.38, (0.5, 2.95), (0.85, 2.4))),
    ("top", flat(-0.7, 0.7, 0.7, 2.5, 1.45)),
    ("face", _screen(0.84, 0.88, 1.45, 0.25, 0.7)),
    ("screen", _screen(0.74, 0.94, 1.39, 0.28, 0.66)),
    ("tread", across(np.array([-0.84, 0.56]), np.array([-0.56, 0.84]), 0.0, 0.4, 0.02)),
    ("face", across(-0.9, 0.9, 0.26, 0.88, 0.0)),
    ("bumper", across(-0.9, 0.9, 0.26, 0.44, 0.0)),
    ("plate", across(-0.24, 0.24, 0.46, 0.6, 0.0)),
    ("light", across(np.array([-0.86, 0.54]), np.array([-0.54, 0.86]), 0.6, 0.78, 0.0)),
)


def draw_car(shapes: Shapes, rng: np.random.Generator, x: float, z: float, sun: Sun, *, facing: bool, lit: bool) -> None:
    """Draw a car whose near end is at (x, z); facing: its front is towards the camera; lit: its lights are on by night."""
    body = tinted(rng, pick(rng, CARS), 8)
    lamp = HEADLIGHT if facing else TAILLIGHT
    night = lamp if lit else BLACK
    looks: dict[str, tuple[Colour, Material, float, Colour]] = {
        "under": ((26, 26, 28), Material.ROAD, 0, BLACK),
        "wheel": (TYRE, Material.CAR, 0.5, BLACK),
        "side": (body, Material.CAR, sun.right if x > 0 else sun.left, BLACK),
        "top": (dimmed(body, 1.1), Material.CAR, sun.top, BLACK),
        "glass": ((58, 68, 80), Material.CAR, 0.3, BLACK),
        "face": (dimmed(body, 0.92), Material.CAR, sun.front, BLACK),
        "screen": ((74, 88, 104), Material.CAR, 0.3, (10, 10, 12)),
        "tread": (TYRE, Material.CAR, 0, BLACK),
        "bumper": ((58, 58, 62), Material.CAR, sun.front, BLACK),
        "plate": ((226, 222, 190), Material.CAR, sun.front, (40, 38, 30) if lit else BLACK),
        "light": ((236, 236, 226) if facing else (176, 20, 20), Material.CAR, sun.front, night),
    }
    scale = np.array([between(rng, 0.96, 1.04), pick(rng, (1.0, 1.02, 1.08, 1.35)), 1], np.float32)
    place = np.array([x, 0, z], np.float32)
    for part, corners in _CAR:
        colour, material, shade, light = looks[part]
        shapes.add(corners * scale + place, colour, material, shade=shade, other=light)


def draw_person(shapes: Shapes, rng: np.random.Generator, x: float, z: float, light: float) -> None:
    """Draw a person of 1.5 to 1.9 m; light: the fraction of sunlight at that place."""
    tall = between(rng, 1.5, 1.9)
    stride = between(rng, 0.04, 0.26)
    coat, legs = tinted(rng, pick(rng, CLOTHES), 10), tinted(rng, pick(rng, ((44, 48, 66), (60, 56, 52), (96, 84, 70))), 8)
    limbs = np.array(
        [
            [(-0.13, 0.86), (0.01, 0.86), (stride - 0.06, 0), (stride - 0.2, 0)],
            [(-0.01, 0.86), (0.13, 0.86), (0.2 - stride, 0), (0.06 - stride, 0)],
            [(-0.17, 1.42), (0.17, 1.42), (0.2, 0.78), (-0.2, 0.78)],
            [(-0.2, 1.4), (-0.12, 1.42), (-0.2 - stride / 2, 0.8), (-0.29 - stride / 2, 0.84)],
            [(0.2, 1.4), (0.12, 1.42), (0.2 + stride / 2, 0.8), (0.29 + stride / 2, 0.84)],
        ],
        np.float32,
    )
    shade = np.array([[(-0.22, 0), (0.22, 0), (0.22, -0.05), (-0.22, -0.05)]], np.float32)
    head = np.stack([0.0 + 0.115 * _OCTAGON, 0.015 + 0.12 * _OCTAGON]) + np.array([0, 1.6], np.float32)
    size = tall / 1.75
    shapes.add(_standing(shade, x, z, size), (40, 40, 42), Material.PAVEMENT, shade=0)
    shapes.add(_standing(limbs[:2], x, z, size), legs, Material.PERSON, shade=light)
    shapes.add(_standing(limbs[2:], x, z, size), coat, Material.PERSON, shade=light)
    hair = pick(rng, ((40, 30, 26), (92, 62, 40), (190, 160, 110)))
    shapes.add(_standing(head[1:], x, z, size), hair, Material.PERSON, shade=light)
    skin = pick(rng, SKIN)
    shapes.add(_standing(head[:1] - np.array([0, 0.03], np.float32), x, z, size), skin, Material.PERSON, shade=light)


def draw_tree(shapes: Shapes, rng: np.random.Generator, x: float, z: float, leaves: Colour, light: float) -> Floats:
    """Draw a tree; return its foliage seen from the sun as a blob on the ground about (0, 0), 1 x k x 2 metres."""
    trunk, radius = between(rng, 1.9, 2.7), between(rng, 1.2, 2.0)
    shapes.add(across(x - 0.14, x + 0.14, 0, trunk + radius, z), (92, 74, 58), Material.TRUNK, shade=0.6 * light)
    leaves = tinted(rng, leaves, 8)
    for count, spread, size, drop, colour, shade in (
        (4, 0.62, 0.62, -0.12, dimmed(leaves, 0.66), 0.2),
        (5, 0.56, 0.46, 0.06, leaves, 0.6),
        (4, 0.42, 0.34, 0.34, dimmed(leaves, 1.18), 1.0),
    ):
        turn = 2 * np.pi * (np.arange(count) + rng.random()) / count
        centre = np.stack([spread * np.cos(turn), spread * 0.8 * np.sin(turn) + drop], axis=1)
        ragged = size * (0.8 + 0.4 * rng.random((count, len(_BLOB), 1)))
        blobs = radius * (centre[:, None] + ragged * _BLOB) + np.array([0, trunk + 0.9 * radius])
        shapes.add(_standing(blobs.astype(np.float32), x, z, 1), colour, Material.LEAF, shade=shade * light)
    return radius * _BLOB[None]


def draw_lamp(shapes: Shapes, x: float, z: float, inward: float, *, classic: bool) -> tuple[float, float, float]:
    """Draw a lamp post (classic: a warm lantern; otherwise an arm with a white head); return where its light is."""
    grey: Colour = (44, 50, 48) if classic else (120, 124, 128)
    height = 3.6 if classic else 6.2
    shapes.add(across(x - 0.07, x + 0.07, 0, height, z), grey, Material.LAMP, shade=0.7)
    shapes.add(across(x - 0.13, x + 0.13, 0, 0.8, z), grey, Material.LAMP, shade=0.5)
    if classic:
        glass = np.array([[(-0.14, 0), (0.14, 0), (0.26, 0.6), (-0.26, 0.6)]], np.float32)
        hood = np.array([[(-0.32, 0.58), (0.32, 0.58), (0.1, 0.86), (-0.1, 0.86)]], np.float32)
        top = np.array([0, height], np.float32)
        shapes.add(_standing(glass + top, x, z, 1), (244, 236, 206), Material.LAMP, other=(255, 226, 160))
        shapes.add(_standing(hood + top, x, z, 1), grey, Material.LAMP, shade=0.8)
        return x, height + 0.3, z
    end = x + 1.5 * inward
    arm = np.array([[(x, height - 0.1, z), (x, height, z), (end, height + 0.3, z), (end, height + 0.2, z)]], np.float32)
    shapes.add(arm, grey, Material.LAMP, shade=0.7)
    head = across(end - 0.42, end + 0.42, height + 0.1, height + 0.34, z)
    shapes.add(head, (206, 210, 216), Material.LAMP, shade=0.8, other=(250, 250, 255))
    return end, height + 0.2, z


def _standing(outline: Floats, x: float, z: float, size: float) -> Floats:
    """Return outlines n x k x 2 (right, up) as upright polygons n x k x 3 that face the camera at (x, z)."""
    corners = np.empty((*outline.shape[:2], 3), np.float32)
    corners[:, :, :2] = outline * np.float32(size)
    corners[:, :, 0] += x
    corners[:, :, 2] = z
    return corners
