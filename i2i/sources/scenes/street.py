"""A street: what stands where, drawn at random, in metres; the same for every picture and size of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from i2i.sources.scenes import things
from i2i.sources.scenes.canvas import Colour, Shapes
from i2i.sources.scenes.facades import Buildings, Sun, draw_buildings, plan_buildings
from i2i.sources.scenes.materials import Material
from i2i.sources.scenes.quads import across, between, flat, swept
from i2i.sources.scenes.textures import Floats

END = 95.0  # metres; farther, there is a skyline
NEAREST = 1.0
ROOFLINE_STEP = 0.5


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


def draw_street(rng: np.random.Generator) -> Street:
    """Draw one street; every random number that any of its pictures depends on is drawn here."""
    view = View(between(rng, 1.9, 3.4), between(rng, 0.52, 0.72), between(rng, 0.3, 0.7), between(rng, 0.5, 0.6))
    shares = np.cumsum([weather.share for weather in WEATHERS])
    weather = WEATHERS[int(np.searchsorted(shares, rng.random() * shares[-1]))]
    layout = _layout(rng)
    sun = _sun(rng)
    # What falls on the walls at the left and right, on what faces the camera, and on level ground.
    faces = Sun(*(weather.sunlight * max(0.0, 1.2 * face) for face in (sun[0], -sun[0], -sun[2], 0.9 * sun[1])))
    shapes = Shapes()
    _ground(shapes, rng, layout, weather, faces)
    _skyline(shapes, rng)
    edges = (view.vanish, 1 - view.vanish)
    seen = [view.focal * abs(wall) / edge for wall, edge in zip(layout.wall, edges, strict=True)]
    starts = max(NEAREST, seen[0] - between(rng, 0.5, 8)), max(NEAREST, seen[1] - between(rng, 0.5, 8))
    buildings = plan_buildings(rng, layout.wall, starts, END, layout.gap, faces)
    draw_buildings(shapes, rng, buildings, faces)
    shadows, lights = _furnish(shapes, rng, layout, faces, sun)
    lights.append(_shop_lights(buildings))
    phase = int(64 * rng.random()), int(64 * rng.random())
    return Street(view, weather, layout, sun, _roofline(buildings), shapes, shadows, np.concatenate(lights), phase)


def _layout(rng: np.random.Generator) -> Layout:
    left, right = -between(rng, 3.2, 6.0), between(rng, 3.0, 5.5)
    walls = left - between(rng, 2.2, 3.6), right + between(rng, 2.2, 3.6)
    return Layout((left, right), walls, between(rng, 22, 60) if rng.random() < 0.6 else 2 * END)


def _sun(rng: np.random.Generator) -> tuple[float, float, float]:
    """Draw the direction to the sun, 30 to 60 degrees high, not straight ahead."""
    high, turn = between(rng, 0.5, 1.0), between(rng, 0.25, 2 * np.pi - 0.25)
    return float(np.cos(high) * np.sin(turn)), float(np.sin(high)), float(np.cos(high) * np.cos(turn))


def _ground(shapes: Shapes, rng: np.random.Generator, layout: Layout, weather: Weather, sun: Sun) -> None:
    dry = 1 - 0.35 * weather.wet
    road: Colour = (104 * dry, 104 * dry, 108 * dry)
    stone: Colour = (172 * dry, 166 * dry, 156 * dry)
    white: Colour = (232, 232, 226)
    left, right = layout.kerb
    shapes.add(flat(-90, 90, NEAREST, 600), stone, Material.PAVEMENT, shade=sun.top)
    shapes.add(flat(left, right, NEAREST, 600), road, Material.ROAD, shade=sun.top)
    if layout.gap < END:
        shapes.add(flat(-90, 90, layout.gap + 1, layout.gap + 6.5), road, Material.ROAD, shade=sun.top)
    kerbs = flat(np.array([left - 0.16, right]), np.array([left, right + 0.16]), NEAREST, 200)
    shapes.add(kerbs, (198, 194, 186), Material.PAVEMENT, shade=sun.top)
    zebra = layout.gap - 4 if layout.gap < END else between(rng, 8, 30)
    dashes = np.arange(NEAREST + between(rng, 0, 5), END, 6.0, dtype=np.float32)
    dashes = dashes[np.abs(dashes + 1.5 - zebra) > 4]
    middle = (left + right) / 2
    shapes.add(flat(middle - 0.09, middle + 0.09, dashes, dashes + 3), white, Material.MARKING, shade=sun.top)
    if rng.random() < 0.7:
        stripes = np.arange(left + 0.4, right - 0.5, 1.0, dtype=np.float32)
        shapes.add(flat(stripes, stripes + 0.5, zebra - 1.5, zebra + 1.5), white, Material.MARKING, shade=sun.top)


def _skyline(shapes: Shapes, rng: np.random.Generator) -> None:
    """Draw the town behind the end of the street, a few of its windows lit."""
    for z, tone in ((170.0, 0.9), (130.0, 0.78)):
        chance = rng.random((2, 9), np.float32)
        x = np.arange(-54, 54, 12, dtype=np.float32) + 6 * chance[0]
        tall = 6 + 22 * chance[1] ** 2
        shapes.add(across(x, x + 12, 0, tall, z), (150 * tone, 158 * tone, 172 * tone), Material.DISTANT, shade=0.3)
    windows = across(x + 4, x + 6, 3, 0.7 * tall, 130.0)
    shapes.add(windows, (170, 164, 150), Material.DISTANT, other=(150, 110, 60))


def _roofline(buildings: Buildings) -> Floats:
    line = np.zeros((2, 256), np.float32)
    columns = (buildings.side, buildings.near / ROOFLINE_STEP, buildings.far / ROOFLINE_STEP, buildings.height)
    for side, near, far, height in np.stack(columns, axis=1).tolist():
        line[int(side > 0), int(near) : int(far)] = height
    return line


def _shop_lights(buildings: Buildings) -> Floats:
    shops = buildings.only(buildings.shop & (buildings.near < 36))
    lights = np.empty((len(shops.near), 8), np.float32)
    lights[:, 0], lights[:, 1], lights[:, 2] = 0.86 * shops.x, 1.6, (shops.near + shops.far) / 2
    lights[:, 3:] = 0.5, 0.38, 0.22, 2.4, 0
    return lights


def _furnish(
    shapes: Shapes, rng: np.random.Generator, layout: Layout, sun: Sun, ray: tuple[float, float, float]
) -> tuple[list[Floats], list[Floats]]:
    """Draw what stands on the street; return the shadows on the ground and the lights."""
    lean = -ray[0] / ray[1], -ray[2] / ray[1]
    lamps, trees = _kerbside(rng, layout)
    if rng.random() < 0.5:
        lights = _lights(things.draw_lanterns(shapes, *lamps), (1.15, 0.84, 0.46), 3.4, 1)
    else:
        lights = _lights(things.draw_street_lamps(shapes, *lamps), (1.06, 1.08, 1.15), 5.0, 1)
    leaves = things.LEAVES[int(rng.random() * len(things.LEAVES))]
    crowns = things.draw_trees(shapes, rng, *trees, leaves, sun.top)
    people = _people(rng, layout)
    things.draw_people(shapes, rng, *people, 0.8 * sun.top)
    x, z, kind = _traffic(rng, layout)
    facing, lit = kind == 0, kind < 2
    things.draw_cars(shapes, rng, x, z, sun, facing, lit)
    beams = np.stack([x, 0 * x + 0.7, z], axis=1)
    boxes = [(*lamps, 0.09, 0.0, 4.5), (*trees, 0.15, 0.0, 3.0), (*people, 0.22, 0.0, 1.6), (x, z, 0.9, 4.2, 1.1)]
    shadows = [_box_shadows(boxes, lean), _crown_shadows(*trees, crowns, lean)]
    ahead, behind = np.float32((0, -0.2, -2.2)), np.float32((0, -0.2, -0.6))
    return shadows, [
        lights,
        _lights(beams[facing] + ahead, (0.9, 0.88, 0.78), 1.6, 0.35),
        _lights(beams[lit & ~facing] + behind, (0.8, 0.08, 0.05), 0.7, 0.12),
    ]


def _lights(places: Floats, colour: Colour, reach: float, glow: float) -> Floats:
    lights = np.empty((len(places), 8), np.float32)
    lights[:, :3] = places
    lights[:, 3:] = *colour, reach, glow
    return lights


def _box_shadows(boxes: list[tuple[Floats, Floats, float, float, float]], lean: tuple[float, float]) -> Floats:
    """Return the shadows on the ground of boxes, n x 6 x 3; by kind: x, nearest z, half the width, length, height."""
    x, z = np.concatenate([box[0] for box in boxes]), np.concatenate([box[1] for box in boxes])
    kinds = np.repeat(np.arange(len(boxes)), [len(box[0]) for box in boxes])
    half, length, height = np.array([box[2:] for box in boxes], np.float32)[kinds].T
    return _on_ground(swept(x - half, x + half, z, z + length, lean[0] * height, lean[1] * height))


def _crown_shadows(x: Floats, z: Floats, radius: Floats, lean: tuple[float, float]) -> Floats:
    middle = np.stack([x, z], axis=1) + (2.6 + 0.75 * radius)[:, None] * np.array(lean, np.float32)
    return _on_ground(radius[:, None, None] * things.RING + middle[:, None])


def _on_ground(outlines: Floats) -> Floats:
    corners = np.zeros((*outlines.shape[:2], 3), np.float32)
    corners[..., ::2] = outlines
    return corners


def _kerbside(rng: np.random.Generator, layout: Layout) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Return where the lamps and the trees between them are, x and z of each."""
    spacing, share = between(rng, 13, 19), between(rng, 0.2, 1)
    start = 6 + spacing * rng.random((2, 1), np.float32)
    z = start + np.float32(spacing) * np.arange(5, dtype=np.float32)
    kerb, out = np.array(layout.kerb, np.float32)[:, None], np.array([[-1], [1]], np.float32)
    free = np.abs(z - layout.gap - 3.5) > 4
    between_lamps = z + np.float32(spacing / 2)
    planted = (rng.random(z.shape) < share) & (np.abs(between_lamps - layout.gap - 3.5) > 4)
    lamp_x, tree_x = kerb + 0.45 * out + 0 * z, kerb + 0.8 * out + 0 * z
    return (lamp_x[free], z[free]), (tree_x[planted], between_lamps[planted])


def _traffic(rng: np.random.Generator, layout: Layout) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """Return x, z and kind of the cars: 0 comes towards the camera, 1 goes away, 2 is parked."""
    left, right = layout.kerb
    lanes = np.array([left + 0.25 * (right - left), left + 0.75 * (right - left), right - 1.0], np.float32)
    chance = rng.random((2, 3, 6), np.float32)
    apart = np.array([[9.0, 9.0, 5.5]], np.float32).T + np.array([[21.0, 21.0, 8.0]], np.float32).T * chance[0]
    z = np.cumsum(apart, axis=1) - np.float32(3)
    x = lanes[:, None] + (chance[1] - np.float32(0.5)) * np.array([[0.5, 0.5, 0.1]], np.float32).T
    kind = np.arange(3)[:, None] + np.zeros((1, 6), np.int64)
    parking = right - left > 9.4
    there = (z < 65) & ((kind < 2) | (parking & (np.abs(z - layout.gap - 2) > 8)))
    return x[there], z[there], kind[there]


def _people(rng: np.random.Generator, layout: Layout) -> tuple[Floats, Floats]:
    chance = rng.random((3, 2 + int(7 * rng.random())), np.float32)
    side = (chance[0] * 2).astype(np.intp)
    kerb, wall = np.array(layout.kerb, np.float32)[side], np.array(layout.wall, np.float32)[side]
    return kerb + (wall - kerb) * (0.3 + 0.55 * chance[1]), 5 + 40 * chance[2] ** np.float32(1.5)
