"""What stands and moves on a street: cars, people, trees and lamps, each kind drawn at n places at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from i2i.sources.scenes.canvas import BLACK, Colour, Shapes
from i2i.sources.scenes.facades import Sun
from i2i.sources.scenes.materials import Material
from i2i.sources.scenes.quads import across, along, flat, palette, standing, tinted
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
_TURN = np.linspace(0, 2 * np.pi, 12, endpoint=False)
RING = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1).astype(np.float32)


def _drawn(rng: np.random.Generator, colours: Floats, count: int, amount: float = 8) -> Floats:
    return tinted(rng, colours[(rng.random(count) * len(colours)).astype(np.intp)], amount)


def _cabin(half: float, y0: float, y1: float, bottom: tuple[float, float], top: tuple[float, float]) -> Floats:
    """Return the two sloped sides of a cabin that is 0.14 m narrower on either side at its top."""
    sides = along(np.array([-half, half]), y0, y1, *bottom)
    sides[:, 2:, 0] *= (half - 0.14) / half
    sides[:, 2, 2], sides[:, 3, 2] = top[1], top[0]
    return sides


def _windscreen(half: float, y0: float, y1: float, z0: float, z1: float) -> Floats:
    screen = across(-half, half, y0, y1, z0)
    screen[:, 2:, 0] *= (half - 0.12) / half
    screen[:, 2:, 2] = z1
    return screen


def _wheels() -> Floats:
    wheels = np.empty((4, 12, 3), np.float32)
    for wheel, (x, z) in zip(wheels, ((-0.91, 0.8), (0.91, 0.8), (-0.91, 3.4), (0.91, 3.4)), strict=True):
        wheel[:, 0], wheel[:, 1], wheel[:, 2] = x, 0.34 + 0.34 * RING[:, 1], z + 0.34 * RING[:, 0]
    return wheels


# A car 1.8 m wide and 4.2 m long whose near end is z = 0, in drawing order. Of each face: how much of the body's
# colour it has and what it has besides, and which light falls on it (an index to _faces_light).
_SIDE, _TOP, _FRONT, _DARK = 0, 1, 2, 3
_PARTS: tuple[tuple[Floats, float, Colour, int], ...] = (
    (along(np.array([-0.9, 0.9]), 0.28, 0.88, 0.0, 4.2), 1.0, BLACK, _SIDE),
    (flat(-0.9, 0.9, 0.0, 4.2, 0.88), 1.1, BLACK, _TOP),
    (_cabin(0.84, 0.88, 1.45, (0.25, 3.2), (0.7, 2.5)), 1.0, BLACK, _SIDE),
    (_cabin(0.85, 0.93, 1.38, (0.5, 2.95), (0.85, 2.4)), 0.0, (58, 68, 80), _DARK),
    (flat(-0.7, 0.7, 0.7, 2.5, 1.45), 1.1, BLACK, _TOP),
    (_windscreen(0.84, 0.88, 1.45, 0.25, 0.7), 0.92, BLACK, _FRONT),
    (_windscreen(0.74, 0.94, 1.39, 0.28, 0.66), 0.0, (74, 88, 104), _DARK),
    (across(np.array([-0.84, 0.56]), np.array([-0.56, 0.84]), 0.0, 0.4, 0.02), 0.0, (26, 26, 28), _DARK),
    (across(-0.9, 0.9, 0.26, 0.88, 0.0), 0.92, BLACK, _FRONT),
    (across(-0.9, 0.9, 0.26, 0.44, 0.0), 0.0, (58, 58, 62), _FRONT),
    (across(-0.24, 0.24, 0.46, 0.6, 0.0), 0.0, (226, 222, 190), _FRONT),
    (across(np.array([-0.87, 0.5]), np.array([-0.5, 0.87]), 0.58, 0.8, 0.0), 0.0, BLACK, _FRONT),
)
_COUNTS = [len(corners) for corners, *_ in _PARTS]
_CAR = np.concatenate([corners for corners, *_ in _PARTS])
_BODY = np.repeat(np.array([share for _, share, *_ in _PARTS], np.float32), _COUNTS)[:, None]
_FIXED_COLOUR = np.repeat(palette(*(colour for *_, colour, _ in _PARTS)), _COUNTS, axis=0)
_FACES = np.repeat(np.array([face for *_, face in _PARTS]), _COUNTS)
_UNDER = flat(-0.96, 0.96, -0.12, 4.3, 0.01)
_WHEELS = _wheels()


def draw_cars(
    shapes: Shapes,
    rng: np.random.Generator,
    x: Floats,
    z: Floats,
    sun: Sun,
    facing: npt.NDArray[np.bool_],
    lit: npt.NDArray[np.bool_],
) -> None:
    """Draw cars whose near ends are at (x, z); facing: it is the front; lit: the lights are on by night."""
    count, parts = len(x), len(_CAR)
    scale = np.ones((count, 1, 1, 3), np.float32)
    scale[:, 0, 0, 1] = np.float32((1.0, 1.02, 1.08, 1.3))[(rng.random(count) * 4).astype(np.intp)]
    place = np.stack([x, 0 * x, z], axis=1)[:, None, None]
    colour = _FIXED_COLOUR + _BODY * _drawn(rng, CARS, count)[:, None]
    colour[:, -2:] = np.where(facing[:, None], np.float32((236, 236, 226)), np.float32((176, 20, 20)))[:, None]
    light = np.zeros((count, parts, 3), np.float32)
    light[:, -2:] = (np.where(facing[:, None], np.float32(HEADLIGHT), np.float32(TAILLIGHT)) * lit[:, None])[:, None]
    faces_light = np.empty((count, 4), np.float32)
    faces_light[:, _SIDE] = np.where(x > 0, sun.right, sun.left)
    faces_light[:, 1:] = sun.top, sun.front, 0.3
    for template, material, tone in ((_UNDER, Material.ROAD, 26), (_WHEELS, Material.CAR, 28)):
        corners = (template * scale + place).reshape(-1, *template.shape[1:])
        shapes.add(corners, (tone, tone, tone), material, shade=0.3, depth=np.repeat(z, len(template)))
    shapes.add(
        (_CAR * scale + place).reshape(-1, 4, 3),
        colour.reshape(-1, 3),
        Material.CAR,
        shade=faces_light[:, _FACES].reshape(-1),
        other=light.reshape(-1, 3),
        depth=np.repeat(z, parts),
    )


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
_HEAD = np.stack([0.125 * RING + np.array([0, 1.6]), 0.105 * RING + np.array([0, 1.57])]).astype(np.float32)


def draw_people(shapes: Shapes, rng: np.random.Generator, x: Floats, z: Floats, light: float) -> None:
    """Draw people of 1.5 to 1.9 m; light: the fraction of sunlight on them."""
    count = len(x)
    chance = rng.random((2, count, 1, 1, 1), np.float32)
    size, stride = 0.86 + 0.22 * chance[0], 0.3 * chance[1] - 0.05
    colours = np.empty((count, 5, 3), np.float32)
    colours[:, :2] = _drawn(rng, TROUSERS, count)[:, None]
    colours[:, 2:] = _drawn(rng, CLOTHES, count)[:, None]
    colours[:, 2:4] *= np.float32(0.86)
    limbs = standing((_LIMBS + stride * _STRIDES) * size, x, z)
    shapes.add(limbs, colours.reshape(-1, 3), Material.PERSON, shade=light, depth=np.repeat(z, 5))
    head = np.stack([_drawn(rng, HAIR, count), _drawn(rng, SKIN, count)], axis=1).reshape(-1, 3)
    shapes.add(standing(_HEAD * size, x, z), head, Material.PERSON, shade=light, depth=np.repeat(z, 2))


# A tree's foliage, blob by blob, dark ones first: distance from the middle, size, how much above the middle, tone.
_BLOBS = np.array(
    [(0.6, 0.58, -0.16, 0.62)] * 5 + [(0.52, 0.44, 0.08, 0.92)] * 5 + [(0.4, 0.3, 0.36, 1.16)] * 3, np.float32
)
_TONES = _BLOBS[:, 3]


def _crowns(count: int) -> Floats:
    """Return crowns of radius 1 about (0, 0), count x blobs x k x 2; trees choose among them."""
    rng = np.random.Generator(np.random.PCG64(20170330))
    distance, size, rise, _ = _BLOBS.T
    turn = 2 * np.pi * (np.arange(len(_BLOBS)) / 5 + rng.random((count, 1)))
    middle = np.stack([distance * np.cos(turn), 0.8 * distance * np.sin(turn) + rise], axis=2)
    ragged = size[:, None] * (0.78 + 0.44 * rng.random((count, len(_BLOBS), len(RING))))
    return (middle[:, :, None] + ragged[..., None] * RING).astype(np.float32)


_CROWNS = _crowns(32)


def draw_trees(shapes: Shapes, rng: np.random.Generator, x: Floats, z: Floats, leaves: Floats, light: float) -> Floats:
    """Draw trees; return the radius of each crown in metres; its middle is at 2.6 m and three quarters of that."""
    count, blobs = len(x), len(_BLOBS)
    chance = rng.random((2, count), np.float32)
    radius = 1.5 + np.float32(0.9) * chance[0]
    shapes.add(across(x - 0.15, x + 0.15, 0, 2.6 + radius, z), (88, 72, 58), Material.TRUNK, shade=0.5 * light, depth=z)
    crown = _CROWNS[(chance[1] * len(_CROWNS)).astype(np.intp)] * radius[:, None, None, None]
    crown[..., 1] += (2.6 + np.float32(0.75) * radius)[:, None, None]
    colours = tinted(rng, np.tile(leaves, (count, 1)), 6)[:, None] * _TONES[:, None]
    shade = np.tile(_TONES * np.float32(0.8 * light), count)
    shapes.add(standing(crown, x, z), colours.reshape(-1, 3), Material.LEAF, shade=shade, depth=np.repeat(z, blobs))
    return radius


def draw_lanterns(shapes: Shapes, x: Floats, z: Floats) -> Floats:
    """Draw posts with a lantern on top, whose light is warm; return where the lights are, n x 3."""
    _posts(shapes, x, z, 3.6, (44, 50, 48))
    glass = np.array([(-0.16, 3.6), (0.16, 3.6), (0.3, 4.25), (-0.3, 4.25)], np.float32)[None, None]
    hood = np.array([(-0.34, 4.22), (0.34, 4.22), (0.1, 4.5), (-0.1, 4.5)], np.float32)[None, None]
    every = np.ones((len(x), 1, 1, 1), np.float32)
    shapes.add(standing(glass * every, x, z), (246, 236, 200), Material.LAMP, other=(255, 232, 172), depth=z)
    shapes.add(standing(hood * every, x, z), (44, 50, 48), Material.LAMP, shade=0.8, depth=z)
    return np.stack([x, 0 * x + 3.9, z], axis=1)


def draw_street_lamps(shapes: Shapes, x: Floats, z: Floats) -> Floats:
    """Draw posts with an arm over the road, whose light is white; return where the lights are, n x 3."""
    grey: Colour = (122, 126, 130)
    _posts(shapes, x, z, 6.2, grey)
    end = x - np.sign(x) * np.float32(1.5)
    arms = across(x, end, 6.1, 6.2, z)
    arms[:, 1:3, 1] += 0.3
    shapes.add(arms, grey, Material.LAMP, shade=0.7, depth=z)
    heads = across(end - 0.45, end + 0.45, 6.28, 6.56, z)
    shapes.add(heads, (208, 212, 218), Material.LAMP, shade=0.8, other=(250, 250, 255), depth=z)
    return np.stack([end, 0 * x + 6.4, z], axis=1)


def _posts(shapes: Shapes, x: Floats, z: Floats, height: float, colour: Colour) -> None:
    shapes.add(across(x - 0.07, x + 0.07, 0, height, z), colour, Material.LAMP, shade=0.7, depth=z)
    shapes.add(across(x - 0.13, x + 0.13, 0, 0.8, z), colour, Material.LAMP, shade=0.5, depth=z)
