"""A street: what stands where, drawn at random, in metres; the same for every picture and size of it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import ceil, copysign

import numpy as np

from i2i.sources.scenes import things
from i2i.sources.scenes.canvas import BLACK, Colour, Shapes
from i2i.sources.scenes.facades import Buildings, make_buildings
from i2i.sources.scenes.kit import Face, Kit, KitBuilder
from i2i.sources.scenes.materials import Material
from i2i.sources.scenes.quads import between, flat, palette, pick, swept
from i2i.sources.scenes.textures import Floats

END = 95.0  # metres; farther, there is a skyline
NEAREST = 1.0
ROOFLINE_STEP = 0.5
_LIGHTS_END, _SHADOWS_END = 60.0, 45.0  # metres; farther, neither is seen
_SIDE_STREET = 7.5
_BUILDINGS = 384
_ROW = 13  # buildings on either side of the side street: enough to fill the longest stretch


@dataclass(frozen=True)
class View:
    """A camera at (0, eye, 0) that looks along z; its uprights stay upright."""

    eye: float
    focal: float
    vanish: float
    horizon: float

    def project(self, points: Floats) -> Floats:
        """Return 3 x M metres as 2 x M in picture units (x right, y down, 0 ... 1)."""
        x, y, z = points
        scale = np.float32(self.focal) / np.maximum(z, np.float32(NEAREST))
        projected = np.empty((2, points.shape[1]), np.float32)
        np.add(x * scale, np.float32(self.vanish), out=projected[0])
        np.add((np.float32(self.eye) - y) * scale, np.float32(self.horizon), out=projected[1])
        return projected


@dataclass(frozen=True)
class Weather:
    """The sky by day, and how wet the road is; the night has the same clouds and the same road."""

    share: float
    clouds: float
    sunlight: float
    haze: float
    wet: float
    zenith: Colour
    horizon: Colour
    sun: Colour


WEATHERS = (
    Weather(0.45, 0.25, 1.0, 420, 0.0, (74, 132, 210), (190, 214, 234), (0.72, 0.69, 0.64)),
    Weather(0.25, 0.55, 0.85, 340, 0.0, (92, 142, 206), (208, 218, 226), (0.72, 0.69, 0.64)),
    Weather(0.15, 0.30, 0.95, 300, 0.0, (106, 146, 200), (240, 216, 180), (0.80, 0.68, 0.50)),
    Weather(0.15, 0.95, 0.12, 200, 1.0, (158, 168, 180), (206, 210, 214), (0.72, 0.69, 0.64)),
)
_SHARES = list(accumulate(weather.share for weather in WEATHERS))


_GROUND_COLOURS = palette((172, 166, 156), (104, 104, 108), (198, 194, 186), (232, 232, 226))
_GROUND_MATERIALS = np.array([Material.PAVEMENT, Material.ROAD, Material.PAVEMENT, Material.MARKING])
_GETS_WET = np.array([[1], [1], [0], [0]], np.float32)


@dataclass(frozen=True)
class Layout:
    """Where the kerbs and walls are, x in metres, and the side street, z."""

    kerb: tuple[float, float]
    wall: tuple[float, float]
    gap: float


@dataclass(frozen=True)
class Street:
    """Everything that the pictures of one street are made from.

    sun: the direction to the sun, x, y, z. roofline: the height of the walls of the left and right row at every
    half metre. shadows: what the sun's shadows of things cover on the ground, in metres. lights: place, colour
    (1 is as bright as the day), reach in metres and glow in the air of every light, L x 8.
    """

    view: View
    weather: Weather
    layout: Layout
    sun: tuple[float, float, float]
    roofline: Floats
    shapes: Shapes
    shadows: list[Floats]
    lights: Floats
    phase: tuple[int, int]


@dataclass(frozen=True)
class _StreetKit:
    """The numbers of the pieces; shops: how wide is each building that has a shop, by its number."""

    kit: Kit
    buildings: Buildings
    shops: dict[int, float]
    cars: list[list[int]]
    people: list[int]
    skylines: list[int]
    trees: list[list[int]]
    lamps: list[int]


@lru_cache(maxsize=1)
def _street_kit() -> _StreetKit:
    """Make the kit: cars by kind (coming, leaving, parked), trees by colour of leaves, lamps by kind (warm, white)."""
    builder, rng = KitBuilder(), np.random.Generator(np.random.PCG64(20170721))
    buildings = make_buildings(builder, rng, _BUILDINGS)
    white, red = (236, 236, 226), (176, 20, 20)
    kinds = ((white, things.HEADLIGHT), (red, things.TAILLIGHT), (red, BLACK))
    cars = [things.make_cars(builder, rng, 32, day, night).tolist() for day, night in kinds]
    people = things.make_people(builder, rng, 64).tolist()
    skylines = things.make_skylines(builder, rng, 24).tolist()
    trees = [things.make_trees(builder, rng, leaves, 12).tolist() for leaves in things.LEAVES]
    lamps = np.concatenate(things.make_lamps(builder)).tolist()
    shops = dict(zip(buildings.piece[buildings.shop].tolist(), buildings.width[buildings.shop].tolist(), strict=True))
    return _StreetKit(builder.build(), buildings, shops, cars, people, skylines, trees, lamps)


Placed = tuple[list[int], list[float], list[float]]
"""The numbers of pieces, and where they stand: x and z. A few dozen: lists are quicker than arrays."""


def draw_street(rng: np.random.Generator) -> Street:
    """Draw one street; every random number that any of its pictures depends on is drawn here."""
    view = View(between(rng, 1.9, 3.4), between(rng, 0.52, 0.72), between(rng, 0.3, 0.7), between(rng, 0.5, 0.6))
    weather = WEATHERS[bisect_left(_SHARES, rng.random() * _SHARES[-1])]
    layout, sun, shapes, parts = _layout(rng), _sun(rng), Shapes(), _street_kit()
    light = _light_on_faces(weather, sun)
    top = float(light[0, Face.TOP])
    _ground(shapes, rng, layout, weather, top)
    skyline = [pick(rng, parts.skylines)], [1.0], [0.0]
    rows = _rows(rng, layout, view, parts.buildings)
    lamps, trees = _kerbside(rng, layout, parts)
    people, (cars, kinds) = _people(rng, layout, parts.people), _traffic(rng, layout, parts.cars)
    placed = skyline, rows, lamps, trees, people, cars
    piece = np.array([number for group in placed for number in group[0]])
    x, z = np.array([[place for group in placed for place in group[axis]] for axis in (1, 2)], np.float32)
    # The far before the near: the skyline, then the buildings, then what stands on the street.
    depth, behind = -z, len(rows[0]) + 1
    depth[:behind] -= 2 * END
    depth[0] -= END
    order = depth.argsort(kind="stable")
    tint = 0.93 + np.float32(0.14) * rng.random((len(piece), 3), np.float32)
    parts.kit.place(shapes, piece[order], x[order], z[order], tint[order], light)
    shadows = _shadows(sun, lamps, trees, people, cars)
    lights = _lights(lamps, cars, kinds, rows, parts)
    phase = int(64 * rng.random()), int(64 * rng.random())
    return Street(view, weather, layout, sun, _roofline(rows, parts.buildings), shapes, shadows, lights, phase)


def _layout(rng: np.random.Generator) -> Layout:
    left, right = -between(rng, 3.2, 6.0), between(rng, 3.0, 5.5)
    walls = left - between(rng, 2.2, 3.6), right + between(rng, 2.2, 3.6)
    return Layout((left, right), walls, between(rng, 22, 60) if rng.random() < 0.6 else END)


def _sun(rng: np.random.Generator) -> tuple[float, float, float]:
    """Draw the direction to the sun, 30 to 60 degrees high, not straight ahead."""
    high, turn = between(rng, 0.5, 1.0), between(rng, 0.25, 2 * np.pi - 0.25)
    return float(np.cos(high) * np.sin(turn)), float(np.sin(high)), float(np.cos(high) * np.cos(turn))


def _light_on_faces(weather: Weather, sun: tuple[float, float, float]) -> Floats:
    """Return the fraction of sunlight on each Face of what stands at the left and at the right, 2 x 6."""
    x, up, ahead = (1.08 * weather.sunlight * part for part in sun)
    front, top = max(0.0, -ahead), 0.9 * up
    rows = [(0.15, wall, front, top, (wall + top) / 2, 1.0) for wall in (max(0.0, x), max(0.0, -x))]
    return np.array(rows, np.float32)


def _ground(shapes: Shapes, rng: np.random.Generator, layout: Layout, weather: Weather, light: float) -> None:
    left, right = layout.kerb
    lanes = [(left, right, NEAREST, 600.0)]
    if layout.gap < END:
        lanes.append((-90.0, 90.0, layout.gap + 1, layout.gap + 6.5))
    kerbs = [(left - 0.16, left, NEAREST, 200.0), (right, right + 0.16, NEAREST, 200.0)]
    zebra = layout.gap - 4 if layout.gap < END else between(rng, 8, 30)
    middle, first = (left + right) / 2, NEAREST + between(rng, 0, 5)
    dashes = [first + 6 * dash for dash in range(ceil((END - first) / 6))]
    marks = [(middle - 0.09, middle + 0.09, z, z + 3) for z in dashes if abs(z + 1.5 - zebra) > 4]
    if rng.random() < 0.7:
        stripes = [left + 0.4 + stripe for stripe in range(ceil(right - left - 0.9))]
        marks += [(x, x + 0.5, zebra - 1.5, zebra + 1.5) for x in stripes]
    quads = [(-90.0, 90.0, NEAREST, 600.0), *lanes, *kerbs, *marks]
    kinds = np.repeat(np.arange(4), (1, len(lanes), len(kerbs), len(marks)))
    colours = _GROUND_COLOURS * (1 - 0.35 * weather.wet * _GETS_WET)
    x0, x1, z0, z1 = np.array(quads, np.float32).T
    shapes.add(flat(x0, x1, z0, z1), colours.take(kinds, axis=0), _GROUND_MATERIALS.take(kinds), shade=light)


def _rows(rng: np.random.Generator, layout: Layout, view: View, buildings: Buildings) -> Placed:
    """Return the buildings of both sides: from the side street towards the camera, and on from there to the end."""
    tall = 0.15 + 0.45 * rng.random((2, 1, 1), np.float32)
    chosen = ((tall + 0.4 * rng.random((2, 2, _ROW), np.float32)) * _BUILDINGS).astype(np.intp)
    width = buildings.width[chosen]
    passed = np.cumsum(width, axis=2)
    near = np.stack([layout.gap - passed[:, 0], layout.gap + _SIDE_STREET + passed[:, 1] - width[:, 1]], axis=1)
    wall = np.array(layout.wall, np.float32)
    edge = view.focal * np.abs(wall) / np.array((view.vanish, 1 - view.vanish))
    seen = (near + width > edge[:, None, None]) & (near < END)
    side = np.nonzero(seen)[0].tolist()
    return buildings.piece[chosen[seen]].tolist(), [layout.wall[right] for right in side], near[seen].tolist()


def _roofline(rows: Placed, buildings: Buildings) -> Floats:
    line = np.zeros((2, 256), np.float32)
    widths, heights = buildings.width.take(rows[0]).tolist(), buildings.height.take(rows[0]).tolist()
    for x, near, width, height in zip(*rows[1:], widths, heights, strict=True):
        line[int(x > 0), int(max(near, 0) / ROOFLINE_STEP) : int((near + width) / ROOFLINE_STEP)] = height
    return line


def _kerbside(rng: np.random.Generator, layout: Layout, parts: _StreetKit) -> tuple[Placed, Placed]:
    """Return the lamps and the trees between them: one kind of lamp and one kind of tree a street."""
    spacing, share = between(rng, 13, 19), between(rng, 0.2, 1)
    starts, chances = rng.random((2, 2, 5), np.float32).tolist()
    lamp, leaves = pick(rng, parts.lamps), pick(rng, parts.trees)
    lamps: Placed = ([], [], [])
    trees: Placed = ([], [], [])
    for kerb, out, start, chance in zip(layout.kerb, (-1, 1), starts, chances, strict=True):
        for place, planted in enumerate(chance):
            z = 6 + spacing * (start[0] + place)
            if abs(z - layout.gap - 3.5) > 4:
                _put(lamps, lamp, kerb + 0.45 * out, z)
            z += spacing / 2
            if planted < share and abs(z - layout.gap - 3.5) > 4:
                _put(trees, leaves[int(planted * len(leaves))], kerb + 0.8 * out, z)
    return lamps, trees


def _put(placed: Placed, piece: int, x: float, z: float) -> None:
    placed[0].append(piece)
    placed[1].append(x)
    placed[2].append(z)


def _people(rng: np.random.Generator, layout: Layout, people: list[int]) -> Placed:
    placed: Placed = ([], [], [])
    for side, aside, far, who in rng.random((4, 2 + int(7 * rng.random())), np.float32).T.tolist():
        kerb, wall = layout.kerb[side >= 0.5], layout.wall[side >= 0.5]
        _put(placed, people[int(who * len(people))], kerb + (wall - kerb) * (0.3 + 0.55 * aside), 5 + 40 * far**1.5)
    return placed


def _traffic(rng: np.random.Generator, layout: Layout, cars: list[list[int]]) -> tuple[Placed, list[int]]:
    """Return the cars and their kinds: 0 comes towards the camera, 1 goes away, 2 is parked."""
    left, right = layout.kerb
    lanes = left + 0.25 * (right - left), left + 0.75 * (right - left), right - 1.0
    apart, aside, which = rng.random((3, 3, 6), np.float32).tolist()
    placed: Placed = ([], [], [])
    kinds = []
    for kind in range(3 if right - left > 9.4 else 2):
        z, (least, more, sway) = -3.0, (9.0, 21.0, 0.5) if kind < 2 else (5.5, 8.0, 0.1)
        for place in range(6):
            z += least + more * apart[kind][place]
            if z < 65 and (kind < 2 or abs(z - layout.gap - 2) > 8):
                car = cars[kind][int(which[kind][place] * len(cars[kind]))]
                _put(placed, car, lanes[kind] + sway * (aside[kind][place] - 0.5), z)
                kinds.append(kind)
    return placed, kinds


def _shadows(
    sun: tuple[float, float, float], lamps: Placed, trees: Placed, people: Placed, cars: Placed
) -> list[Floats]:
    """Return what the shadows of things cover on the ground, n x k x 3: boxes drawn out, and crowns of trees."""
    lean = -sun[0] / sun[1], -sun[2] / sun[1]
    boxes = [
        (x - half, x + half, z, z + length, lean[0] * height, lean[1] * height)
        for placed, half, length, height in (
            (lamps, 0.09, 0.0, 4.5),
            (trees, 0.15, 0.0, 3.0),
            (people, 0.22, 0.0, 1.6),
            (cars, 0.9, 4.2, 1.1),
        )
        for x, z in zip(*placed[1:], strict=True)
        if z < _SHADOWS_END
    ]
    middle = np.array(trees[1:], np.float32).T + things.CROWN_MIDDLE * np.array(lean, np.float32)
    crowns = middle[:, None] + np.float32(things.CROWN_RADIUS) * things.RING
    drawn_out = swept(*np.array(boxes, np.float32).reshape(-1, 6).T)
    return [_on_ground(drawn_out), _on_ground(crowns)]


def _on_ground(outlines: Floats) -> Floats:
    corners = np.zeros((*outlines.shape[:2], 3), np.float32)
    corners[..., ::2] = outlines
    return corners


def _lights(lamps: Placed, cars: Placed, kinds: list[int], rows: Placed, parts: _StreetKit) -> Floats:
    """Return the lights of lamps, of cars and of shops, L x 8."""
    lights: list[tuple[float, ...]] = []
    for lamp, x, z in zip(*lamps, strict=True):
        if lamp == parts.lamps[0]:
            lights.append((x, things.LANTERN_HEIGHT, z, 1.15, 0.84, 0.46, 3.4, 1))
        else:
            lights.append((x - copysign(things.MAST_ARM, x), things.MAST_HEIGHT, z, 1.06, 1.08, 1.15, 5.0, 1))
    for kind, x, z in zip(kinds, *cars[1:], strict=True):
        if kind == 0:
            lights.append((x, 0.5, z - 2.2, 0.9, 0.88, 0.78, 1.6, 0.35))
        elif kind == 1:
            lights.append((x, 0.5, z - 0.6, 0.8, 0.08, 0.05, 0.7, 0.12))
    for piece, x, z in zip(*rows, strict=True):
        if z < 36 and piece in parts.shops:
            lights.append((0.86 * x, 1.6, z + parts.shops[piece] / 2, 0.5, 0.38, 0.22, 2.4, 0))
    return np.array([light for light in lights if light[2] < _LIGHTS_END], np.float32).reshape(-1, 8)
