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
from i2i.sources.scenes.facades import make_buildings
from i2i.sources.scenes.kit import Face, Kit, KitBuilder
from i2i.sources.scenes.materials import Material
from i2i.sources.scenes.quads import Draws, between, palette, pick, swept
from i2i.sources.scenes.spans import Integers
from i2i.sources.scenes.textures import Floats
from i2i.sources.scenes.walls import NEAREST, ROW, View, Walls

END = 95.0  # metres; farther, there is a skyline
ROOFLINE_STEP = 0.5
_LIGHTS_END, _SHADOWS_END, _CARS_END, _THINGS_END = 60.0, 32.0, 55.0, 70.0  # metres; farther, they are hardly seen
_DRAWS = 256  # about twice as many random numbers as a street needs
_SIDE_STREET = 7.5
_BUILDINGS = 256


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


# How pavement, road, kerbs and markings look, dry and wet, as in `Shapes.add`.
_GROUND_LOOKS = np.zeros((2, 4, 8), np.float32)
_GROUND_LOOKS[:, :, :3] = palette((172, 166, 156), (104, 104, 108), (198, 194, 186), (232, 232, 226))
_GROUND_LOOKS[1, :2, :3] *= 0.65
_GROUND_LOOKS[:, :, 7] = Material.PAVEMENT, Material.ROAD, Material.PAVEMENT, Material.MARKING


@dataclass(frozen=True)
class Layout:
    """Where the kerbs and walls are, x in metres, and the side street, z."""

    kerb: tuple[float, float]
    wall: tuple[float, float]
    gap: float


@dataclass(frozen=True)
class Street:
    """Everything that the pictures of one street are made from.

    sun: the direction to the sun, x, y, z. roofline: the height of the walls of the row towards the sun at every half
    metre. shadows: the corners of what the sun's shadows of things cover on the ground, 3 x M, in metres, and where
    each of them begins and ends. lights: place, colour (1 is as bright as the day), reach in metres and glow in the
    air of every light, L x 8.
    """

    view: View
    weather: Weather
    layout: Layout
    sun: tuple[float, float, float]
    roofline: Floats
    shapes: Shapes
    walls: Walls
    shadows: tuple[Floats, list[tuple[int, int]]]
    lights: Floats
    phase: tuple[int, int]


@dataclass(frozen=True)
class _StreetKit:
    """The numbers of the pieces; of the buildings, whose walls come first, the measures by number."""

    kit: Kit
    width: list[float]
    height: list[float]
    shop: list[bool]
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
    width, height, shop = buildings.width.tolist(), buildings.height.tolist(), buildings.shop.tolist()
    return _StreetKit(builder.build(), width, height, shop, cars, people, skylines, trees, lamps)


Placed = list[tuple[int, float, float]]
"""The numbers of pieces, and where they stand: x and z. A few dozen: lists are quicker than arrays."""


def draw_street(generator: np.random.Generator) -> Street:
    """Draw one street; every random number that any of its pictures depends on is drawn here."""
    rng = Draws(generator, _DRAWS)
    view = View(between(rng, 1.9, 3.4), between(rng, 0.52, 0.72), between(rng, 0.3, 0.7), between(rng, 0.5, 0.6))
    weather = WEATHERS[bisect_left(_SHARES, rng.random() * _SHARES[-1])]
    layout, sun, shapes, parts = _layout(rng), _sun(rng), Shapes(), _street_kit()
    light = _light_on_faces(weather, sun)
    _ground(shapes, rng, layout, weather, float(light[0, Face.TOP]))
    rows = _rows(rng, layout, view, parts)
    lamps, trees = _kerbside(rng, layout, parts)
    people, (cars, kinds) = _people(rng, layout, parts.people), _traffic(rng, layout, parts.cars)
    loose = sorted(lamps + trees + people + cars, key=_nearness)
    tint = 0.93 + np.float32(0.14) * generator.random((len(rows) + len(loose), 3), np.float32)
    skyline = pick(rng, parts.skylines)
    wall, first = _place(shapes, parts, skyline, rows, loose, tint, light)
    walls = Walls(
        strips=parts.kit.strips,
        keys=np.array([near + ROW * (x > 0) for _, x, near in rows]),
        width=np.array([parts.width[number] for number, _, _ in rows]),
        wall=wall,
        first=first,
        distance=(-layout.wall[0] * view.focal, layout.wall[1] * view.focal),
    )
    roofline = _roofline(rows, layout.wall[sun[0] > 0], parts)
    shadows = _shadows(sun, lamps, trees, people, cars)
    lights = _lights(lamps, cars, kinds, rows, parts)
    phase = int(64 * rng.random()), int(64 * rng.random())
    return Street(view, weather, layout, sun, roofline, shapes, walls, shadows, lights, phase)


def _nearness(placed: tuple[int, float, float]) -> float:
    return -placed[2]


def _place(
    shapes: Shapes, parts: _StreetKit, skyline: int, rows: Placed, loose: Placed, tint: Floats, light: Floats
) -> tuple[Integers, Integers]:
    """Draw the skyline, then the buildings, then what stands on the street, of each the far before the near.

    Return the walls of the rows by their numbers in the kit, and the numbers of their first polygons.
    """
    houses = [(*house, owner) for owner, house in enumerate(rows)]
    shells = [(number + _BUILDINGS, x, near, owner) for number, x, near, owner in houses[::-1]]
    reliefs = [(number + 2 * _BUILDINGS, x, near, owner) for number, x, near, owner in houses[::-1]]
    others = [(*thing, owner) for owner, thing in enumerate(loose, len(rows))]
    placed = np.array([(skyline, 1.0, 0.0, 0), *shells, *houses, *reliefs, *others], np.float32)
    (piece, owner), (x, z) = placed.T[::3].astype(np.intp), placed.T[1:3]
    before, piece = len(shapes), parts.kit.at(piece, z)
    first = parts.kit.place(shapes, piece, x, z, tint.take(owner, axis=0), light)
    walls = slice(1 + len(shells), 1 + len(shells) + len(houses))
    return piece[walls], first[walls] + (before + 1)


def _layout(rng: Draws) -> Layout:
    left, right = -between(rng, 3.2, 6.0), between(rng, 3.0, 5.5)
    walls = left - between(rng, 2.2, 3.6), right + between(rng, 2.2, 3.6)
    return Layout((left, right), walls, between(rng, 22, 60) if rng.random() < 0.6 else END)


def _sun(rng: Draws) -> tuple[float, float, float]:
    """Draw the direction to the sun, 30 to 60 degrees high, not straight ahead."""
    high, turn = between(rng, 0.5, 1.0), between(rng, 0.25, 2 * np.pi - 0.25)
    return float(np.cos(high) * np.sin(turn)), float(np.sin(high)), float(np.cos(high) * np.cos(turn))


def _light_on_faces(weather: Weather, sun: tuple[float, float, float]) -> Floats:
    """Return the fraction of sunlight on each Face of what stands at the left and at the right, 2 x 6."""
    x, up, ahead = (1.08 * weather.sunlight * part for part in sun)
    front, top = max(0.0, -ahead), 0.9 * up
    rows = [(0.15, wall, front, top, (wall + top) / 2, 1.0) for wall in (max(0.0, x), max(0.0, -x))]
    return np.array(rows, np.float32)


def _ground(shapes: Shapes, rng: Draws, layout: Layout, weather: Weather, light: float) -> None:
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
    quads = np.array([(-90.0, 90.0, NEAREST, 600.0), *lanes, *kerbs, *marks], np.float32).T
    corners = np.zeros((3, quads.shape[1], 4), np.float32)
    corners[0], corners[2] = quads[:2].T.take((0, 1, 1, 0), axis=1), quads[2:].T.take((0, 0, 1, 1), axis=1)
    kinds = [0] + [1] * len(lanes) + [2] * len(kerbs) + [3] * len(marks)
    table = _GROUND_LOOKS[int(weather.wet > 0)].take(kinds, axis=0)
    table[:, 3] = light
    shapes.extend(corners.reshape(3, -1), np.full(len(kinds), 4), table)


def _rows(rng: Draws, layout: Layout, view: View, parts: _StreetKit) -> Placed:
    """Return the buildings of both sides, the left one first, of each the near before the far."""
    rows: Placed = []
    for wall, aside in zip(layout.wall, (-view.vanish, 1 - view.vanish), strict=True):
        tall, near, edge = between(rng, 0.15, 0.6), layout.gap, view.focal * wall / aside
        stretch: Placed = []
        while near > edge:
            number = int((tall + 0.4 * rng.random()) * _BUILDINGS)
            near -= parts.width[number]
            stretch.append((number, wall, near))
        rows += reversed(stretch)
        near = layout.gap + _SIDE_STREET
        while near < END:
            number = int((tall + 0.4 * rng.random()) * _BUILDINGS)
            rows.append((number, wall, near))
            near += parts.width[number]
    return rows


def _roofline(rows: Placed, wall: float, parts: _StreetKit) -> Floats:
    line = [0.0] * 256
    for number, x, near in rows:
        if x == wall:
            first, after = int(max(near, 0) / ROOFLINE_STEP), int((near + parts.width[number]) / ROOFLINE_STEP)
            line[first:after] = [parts.height[number]] * (after - first)
    return np.array(line, np.float32)


def _kerbside(rng: Draws, layout: Layout, parts: _StreetKit) -> tuple[Placed, Placed]:
    """Return the lamps and the trees between them: one kind of lamp and one kind of tree a street."""
    spacing, share = between(rng, 13, 19), between(rng, 0.2, 1)
    lamp, leaves = pick(rng, parts.lamps), pick(rng, parts.trees)
    lamps: Placed = []
    trees: Placed = []
    for kerb, out in zip(layout.kerb, (-1, 1), strict=True):
        z = 6 + spacing * rng.random()
        while z < _THINGS_END:
            if abs(z - layout.gap - 3.5) > 4:
                lamps.append((lamp, kerb + 0.45 * out, z))
            z += spacing / 2
            planted = rng.random()
            if planted < share and abs(z - layout.gap - 3.5) > 4:
                trees.append((leaves[int(planted * len(leaves))], kerb + 0.8 * out, z))
            z += spacing / 2
    return lamps, trees


def _people(rng: Draws, layout: Layout, people: list[int]) -> Placed:
    placed: Placed = []
    for _ in range(2 + int(7 * rng.random())):
        kerb, wall = pick(rng, (*zip(layout.kerb, layout.wall, strict=True),))
        x = kerb + (wall - kerb) * between(rng, 0.3, 0.85)
        placed.append((pick(rng, people), x, 5 + 40 * rng.random() ** 1.5))
    return placed


def _traffic(rng: Draws, layout: Layout, cars: list[list[int]]) -> tuple[Placed, list[int]]:
    """Return the cars and their kinds: 0 comes towards the camera, 1 goes away, 2 is parked."""
    left, right = layout.kerb
    lanes = left + 0.25 * (right - left), left + 0.75 * (right - left), right - 1.0
    placed: Placed = []
    kinds = []
    for kind in range(3 if right - left > 9.4 else 2):
        z, (least, more, sway) = -3.0, (9.0, 21.0, 0.5) if kind < 2 else (5.5, 8.0, 0.1)
        while (z := z + least + more * rng.random()) < _CARS_END:
            if kind < 2 or abs(z - layout.gap - 2) > 8:
                placed.append((pick(rng, cars[kind]), lanes[kind] + sway * (rng.random() - 0.5), z))
                kinds.append(kind)
    return placed, kinds


def _shadows(
    sun: tuple[float, float, float], lamps: Placed, trees: Placed, people: Placed, cars: Placed
) -> tuple[Floats, list[tuple[int, int]]]:
    """Return what the shadows of things cover on the ground: boxes drawn out, and crowns of trees."""
    lean = -sun[0] / sun[1], -sun[2] / sun[1]
    boxes = [
        (x - half, x + half, z, z + length, lean[0] * height, lean[1] * height)
        for placed, half, length, height in (
            (lamps, 0.09, 0.0, 4.5),
            (trees, 0.15, 0.0, 3.0),
            (people, 0.22, 0.0, 1.6),
            (cars, 0.9, 4.2, 1.1),
        )
        for _, x, z in placed
        if z < _SHADOWS_END
    ]
    middles = [(x, z) for _, x, z in trees if z < _SHADOWS_END]
    crowns = np.array(middles, np.float32).reshape(-1, 1, 2) + things.crown_shadow(lean)
    drawn_out = swept(*np.array(boxes, np.float32).reshape(-1, 6).T)
    split, sides = 6 * len(boxes), crowns.shape[1]
    corners = np.zeros((3, split + sides * len(middles)), np.float32)
    corners[::2, :split], corners[::2, split:] = drawn_out.reshape(-1, 2).T, crowns.reshape(-1, 2).T
    ends = [(start, start + 6) for start in range(0, split, 6)]
    return corners, ends + [(start, start + sides) for start in range(split, corners.shape[1], sides)]


def _lights(lamps: Placed, cars: Placed, kinds: list[int], rows: Placed, parts: _StreetKit) -> Floats:
    """Return the lights of lamps, of cars and of shops, L x 8."""
    lights: list[tuple[float, ...]] = []
    for lamp, x, z in lamps:
        if lamp == parts.lamps[0]:
            lights.append((x, things.LANTERN_HEIGHT, z, 1.15, 0.84, 0.46, 3.4, 1))
        else:
            lights.append((x - copysign(things.MAST_ARM, x), things.MAST_HEIGHT, z, 1.06, 1.08, 1.15, 5.0, 1))
    for kind, (_, x, z) in zip(kinds, cars, strict=True):
        if kind == 0:
            lights.append((x, 0.5, z - 2.2, 0.9, 0.88, 0.78, 1.6, 0.35))
        elif kind == 1:
            lights.append((x, 0.5, z - 0.6, 0.8, 0.08, 0.05, 0.7, 0.12))
    for number, x, z in rows:
        if z < 36 and parts.shop[number]:
            lights.append((0.86 * x, 1.6, z + parts.width[number] / 2, 0.5, 0.38, 0.22, 2.4, 0))
    return np.array([light for light in lights if light[2] < _LIGHTS_END], np.float32).reshape(-1, 8)
