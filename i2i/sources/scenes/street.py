"""A street: what stands where, drawn at random, in metres; the same for every picture and size of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from i2i.sources.scenes import things
from i2i.sources.scenes.canvas import BLACK, Colour, Integers, Shapes
from i2i.sources.scenes.facades import Buildings, make_buildings
from i2i.sources.scenes.kit import Face, Kit, KitBuilder
from i2i.sources.scenes.materials import Material
from i2i.sources.scenes.quads import between, flat, palette, swept
from i2i.sources.scenes.textures import Floats

END = 95.0  # metres; farther, there is a skyline
NEAREST = 1.0
ROOFLINE_STEP = 0.5
_LIGHTS_END, _SHADOWS_END = 60.0, 45.0  # metres; farther, neither is seen
_SIDE_STREET = 7.5
_BUILDINGS = 384
_ROW = 13  # buildings on either side of the side street: enough to fill the longest stretch
_BEHIND = 1000.0  # added to the depth of buildings: they are behind all that stands on the street


@dataclass(frozen=True)
class View:
    """A camera at (0, eye, 0) that looks along z; its uprights stay upright."""

    eye: float
    focal: float
    vanish: float
    horizon: float

    def project(self, points: Floats) -> Floats:
        """Return M x 3 metres as 2 x M in picture units (x right, y down, 0 ... 1)."""
        x, y, z = points.T
        scale = np.float32(self.focal) / np.maximum(z, np.float32(NEAREST))
        projected = np.empty((2, len(points)), np.float32)
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
_SHARES = np.cumsum([weather.share for weather in WEATHERS])


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
    kit: Kit
    buildings: Buildings
    cars: Integers
    people: Integers
    skylines: Integers
    trees: Integers
    lamps: Integers


@lru_cache(maxsize=1)
def _street_kit() -> _StreetKit:
    """Make the kit: cars by kind (coming, leaving, parked), trees by colour of leaves, lamps by kind (warm, white)."""
    builder, rng = KitBuilder(), np.random.Generator(np.random.PCG64(20170721))
    buildings = make_buildings(builder, rng, _BUILDINGS)
    white, red = (236, 236, 226), (176, 20, 20)
    kinds = ((white, things.HEADLIGHT), (red, things.TAILLIGHT), (red, BLACK))
    cars = np.stack([things.make_cars(builder, rng, 32, day, night) for day, night in kinds])
    people = things.make_people(builder, rng, 64)
    skylines = things.make_skylines(builder, rng, 24)
    trees = np.stack([things.make_trees(builder, rng, leaves, 12) for leaves in things.LEAVES])
    lamps = np.concatenate(things.make_lamps(builder))
    return _StreetKit(builder.build(), buildings, cars, people, skylines, trees, lamps)


Placed = tuple[Integers, Floats, Floats]
"""The numbers of pieces, and where they stand: x and z."""


def draw_street(rng: np.random.Generator) -> Street:
    """Draw one street; every random number that any of its pictures depends on is drawn here."""
    view = View(between(rng, 1.9, 3.4), between(rng, 0.52, 0.72), between(rng, 0.3, 0.7), between(rng, 0.5, 0.6))
    weather = WEATHERS[int(np.searchsorted(_SHARES, rng.random() * _SHARES[-1]))]
    layout, sun, shapes, parts = _layout(rng), _sun(rng), Shapes(), _street_kit()
    light = _light_on_faces(weather, sun)
    top = float(light[0, Face.TOP])
    _ground(shapes, rng, layout, weather, top)
    skyline = parts.skylines[int(rng.random() * len(parts.skylines)), None]
    rows = _rows(rng, layout, view, parts.buildings)
    lamps, trees = _kerbside(rng, layout, parts)
    people, (cars, kind) = _people(rng, layout, parts.people), _traffic(rng, layout, parts.cars)
    placed = ((skyline, np.ones(1, np.float32), np.zeros(1, np.float32)), rows, lamps, trees, people, cars)
    piece, x, z = (np.concatenate([group[column] for group in placed]) for column in range(3))
    depth = z.copy()
    depth[: len(rows[0]) + 1] += _BEHIND
    depth[0] += END
    tint = (0.93 + 0.14 * rng.random((len(piece), 3), np.float32)).astype(np.float32)
    parts.kit.place(shapes, piece, x, z, depth, tint, light)
    shadows = _shadows(sun, lamps, trees, people, cars)
    lights = np.concatenate([_lamp_lights(lamps, parts), *_beams(cars, kind), _shop_lights(rows, parts.buildings)])
    lights = lights[lights[:, 2] < _LIGHTS_END]
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
    dry = 1 - 0.35 * weather.wet
    left, right = layout.kerb
    lanes = [flat(left, right, NEAREST, 600)]
    if layout.gap < END:
        lanes.append(flat(-90, 90, layout.gap + 1, layout.gap + 6.5))
    kerbs = flat(np.array([left - 0.16, right]), np.array([left, right + 0.16]), NEAREST, 200)
    zebra = layout.gap - 4 if layout.gap < END else between(rng, 8, 30)
    dashes = np.arange(NEAREST + between(rng, 0, 5), END, 6.0, dtype=np.float32)
    dashes = dashes[np.abs(dashes + 1.5 - zebra) > 4]
    middle = (left + right) / 2
    marks = [flat(middle - 0.09, middle + 0.09, dashes, dashes + 3)]
    if rng.random() < 0.7:
        stripes = np.arange(left + 0.4, right - 0.5, 1.0, dtype=np.float32)
        marks.append(flat(stripes, stripes + 0.5, zebra - 1.5, zebra + 1.5))
    quads = [flat(-90, 90, NEAREST, 600), *lanes, kerbs, *marks]
    kinds = np.repeat(np.arange(4), (1, len(lanes), len(kerbs), sum(map(len, marks))))
    colours = palette(
        (172 * dry, 166 * dry, 156 * dry), (104 * dry, 104 * dry, 108 * dry), (198, 194, 186), (232, 232, 226)
    )
    materials = np.array([Material.PAVEMENT, Material.ROAD, Material.PAVEMENT, Material.MARKING])
    shapes.add(np.concatenate(quads), colours[kinds], materials[kinds], shade=light)


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
    x = np.broadcast_to(wall[:, None, None], near.shape)
    return buildings.piece[chosen[seen]], x[seen], near[seen].astype(np.float32)


def _roofline(rows: Placed, buildings: Buildings) -> Floats:
    line = np.zeros((2, 256), np.float32)
    piece, x, near = rows
    first = np.maximum(near / ROOFLINE_STEP, 0).astype(np.intp)
    last = ((near + buildings.width[piece]) / ROOFLINE_STEP).astype(np.intp)
    sides, heights = (x > 0).astype(np.intp), buildings.height[piece]
    for side, a, b, height in zip(sides.tolist(), first.tolist(), last.tolist(), heights.tolist(), strict=True):
        line[side, a:b] = height
    return line


def _kerbside(rng: np.random.Generator, layout: Layout, parts: _StreetKit) -> tuple[Placed, Placed]:
    """Return the lamps and the trees between them: one kind of lamp and one kind of tree a street."""
    spacing, share = between(rng, 13, 19), between(rng, 0.2, 1)
    chance = rng.random((2, 2, 5), np.float32)
    z = 6 + spacing * (chance[0, :, :1] + np.arange(5, dtype=np.float32))
    kerb, out = np.array(layout.kerb, np.float32)[:, None], np.array([[-1], [1]], np.float32)
    free = np.abs(z - layout.gap - 3.5) > 4
    tree_z = z + np.float32(spacing / 2)
    planted = (chance[1] < share) & (np.abs(tree_z - layout.gap - 3.5) > 4)
    lamp_x, tree_x = kerb + 0.45 * out + 0 * z, kerb + 0.8 * out + 0 * z
    lamp = parts.lamps[int(rng.random() * len(parts.lamps))]
    leaves = parts.trees[int(rng.random() * len(parts.trees))]
    lamps = np.full(int(free.sum()), lamp)
    trees = leaves[(chance[1][planted] * len(leaves)).astype(np.intp)]
    return (lamps, lamp_x[free], z[free].astype(np.float32)), (trees, tree_x[planted], tree_z[planted])


def _people(rng: np.random.Generator, layout: Layout, people: Integers) -> Placed:
    chance = rng.random((4, 2 + int(7 * rng.random())), np.float32)
    side = (chance[0] * 2).astype(np.intp)
    kerb, wall = np.array(layout.kerb, np.float32)[side], np.array(layout.wall, np.float32)[side]
    x, z = kerb + (wall - kerb) * (0.3 + 0.55 * chance[1]), 5 + 40 * chance[2] ** np.float32(1.5)
    return people[(chance[3] * len(people)).astype(np.intp)], x, z


def _traffic(rng: np.random.Generator, layout: Layout, cars: Integers) -> tuple[Placed, Integers]:
    """Return the cars and their kinds: 0 comes towards the camera, 1 goes away, 2 is parked."""
    left, right = layout.kerb
    lanes = np.array([left + 0.25 * (right - left), left + 0.75 * (right - left), right - 1.0], np.float32)
    chance = rng.random((3, 3, 6), np.float32)
    apart = np.array([[9.0, 9.0, 5.5]], np.float32).T + np.array([[21.0, 21.0, 8.0]], np.float32).T * chance[0]
    z = np.cumsum(apart, axis=1) - np.float32(3)
    x = lanes[:, None] + (chance[1] - np.float32(0.5)) * np.array([[0.5, 0.5, 0.1]], np.float32).T
    kind = np.arange(3)[:, None] + np.zeros((1, 6), np.intp)
    parking = right - left > 9.4
    there = (z < 65) & ((kind < 2) | (parking & (np.abs(z - layout.gap - 2) > 8)))
    kind = kind[there]
    return (cars[kind, (chance[2][there] * cars.shape[1]).astype(np.intp)], x[there], z[there]), kind


def _shadows(
    sun: tuple[float, float, float], lamps: Placed, trees: Placed, people: Placed, cars: Placed
) -> list[Floats]:
    """Return what the shadows of things cover on the ground, n x k x 3: boxes drawn out, and crowns of trees."""
    lean = -sun[0] / sun[1], -sun[2] / sun[1]
    boxes = ((lamps, 0.09, 0.0, 4.5), (trees, 0.15, 0.0, 3.0), (people, 0.22, 0.0, 1.6), (cars, 0.9, 4.2, 1.1))
    x, z = (np.concatenate([placed[axis] for placed, *_ in boxes]) for axis in (1, 2))
    near = z < _SHADOWS_END
    kinds = np.repeat(np.arange(len(boxes)), [len(placed[0]) for placed, *_ in boxes])[near]
    x, z = x[near], z[near]
    half, length, height = np.array([box[1:] for box in boxes], np.float32)[kinds].T
    drawn_out = swept(x - half, x + half, z, z + length, lean[0] * height, lean[1] * height)
    middle = np.stack(trees[1:], axis=1)[:, None] + things.CROWN_MIDDLE * np.array(lean, np.float32)
    return [_on_ground(drawn_out), _on_ground(middle + np.float32(things.CROWN_RADIUS) * things.RING)]


def _on_ground(outlines: Floats) -> Floats:
    corners = np.zeros((*outlines.shape[:2], 3), np.float32)
    corners[..., ::2] = outlines
    return corners


def _lights(x: Floats, y: float, z: Floats, colour: Colour, reach: float, glow: float) -> Floats:
    lights = np.empty((len(x), 8), np.float32)
    lights[:, 0], lights[:, 1], lights[:, 2] = x, y, z
    lights[:, 3:] = *colour, reach, glow
    return lights


def _lamp_lights(lamps: Placed, parts: _StreetKit) -> Floats:
    piece, x, z = lamps
    if len(piece) and piece[0] == parts.lamps[0]:
        return _lights(x, things.LANTERN_HEIGHT, z, (1.15, 0.84, 0.46), 3.4, 1)
    return _lights(x - np.sign(x) * things.MAST_ARM, things.MAST_HEIGHT, z, (1.06, 1.08, 1.15), 5.0, 1)


def _beams(cars: Placed, kind: Integers) -> tuple[Floats, Floats]:
    _, x, z = cars
    coming, leaving = kind == 0, kind == 1
    return (
        _lights(x[coming], 0.5, z[coming] - 2.2, (0.9, 0.88, 0.78), 1.6, 0.35),
        _lights(x[leaving], 0.5, z[leaving] - 0.6, (0.8, 0.08, 0.05), 0.7, 0.12),
    )


def _shop_lights(rows: Placed, buildings: Buildings) -> Floats:
    piece, x, z = rows
    shops = buildings.shop[piece] & (z < 36)
    return _lights(0.86 * x[shops], 1.6, z[shops] + buildings.width[piece[shops]] / 2, (0.5, 0.38, 0.22), 2.4, 0)
