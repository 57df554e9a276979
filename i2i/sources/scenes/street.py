"""A street: what stands where, drawn at random, in metres; the same for every picture and size of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from i2i.sources.scenes import things
from i2i.sources.scenes.canvas import Colour, Shapes
from i2i.sources.scenes.facades import Building, Sun, draw_row, plan_row
from i2i.sources.scenes.materials import Material
from i2i.sources.scenes.quads import across, between, flat, pick
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
        """Return M x 3 metres as M x 2 in picture units (x right, y down, 0 ... 1)."""
        scale = self.focal / np.maximum(points[:, 2], NEAREST)
        x = self.vanish + points[:, 0] * scale
        y = self.horizon + (self.eye - points[:, 1]) * scale
        return np.stack([x, y], axis=1)


@dataclass(frozen=True)
class Weather:
    """The sky by day, and how wet the road is; the night has the same clouds and the same road."""

    clouds: float
    sunlight: float
    haze: float
    wet: float
    zenith: Colour
    horizon: Colour
    warmth: float


@dataclass(frozen=True)
class Layout:
    """Where the kerbs and walls are, x in metres, and the side street, z."""

    kerb: tuple[float, float]
    wall: tuple[float, float]
    gap: float

    @property
    def middle(self) -> float:
        """The middle of the road."""
        return (self.kerb[0] + self.kerb[1]) / 2


@dataclass(frozen=True)
class Street:
    """Everything that the pictures of one street are made from.

    sun: the direction to the sun, x, y, z. roofline: the height of the walls of the left and right row at every
    half metre. lights: place, colour (1 is as bright as the day) and reach in metres of every light, L x 7.
    halos: how many of the lights, the first ones, glow in the air.
    """

    view: View
    weather: Weather
    layout: Layout
    sun: tuple[float, float, float]
    roofline: Floats
    shapes: Shapes
    shadows: list[Floats]
    lights: Floats
    halos: int
    phase: tuple[int, int]


SKIES: tuple[tuple[float, Weather], ...] = (
    (0.45, Weather(0.25, 1.0, 420, 0.0, (74, 132, 210), (190, 214, 234), 0.0)),
    (0.25, Weather(0.55, 0.85, 340, 0.0, (92, 142, 206), (208, 218, 226), 0.3)),
    (0.15, Weather(0.30, 0.95, 300, 0.0, (106, 146, 200), (240, 216, 180), 1.0)),
    (0.15, Weather(0.95, 0.12, 200, 1.0, (158, 168, 180), (206, 210, 214), 0.0)),
)


def draw_street(rng: np.random.Generator) -> Street:
    """Draw one street; every random number that any of its pictures depends on is drawn here."""
    view = View(between(rng, 1.9, 3.4), between(rng, 0.52, 0.72), between(rng, 0.3, 0.7), between(rng, 0.5, 0.6))
    weather = _weather(rng)
    layout = _layout(rng)
    sun = _sun(rng)
    strength = weather.sunlight
    faces = Sun(*(strength * max(0.0, face) for face in (sun[0] * 1.25, -sun[0] * 1.25, -sun[2] * 1.25, 1.05 * sun[1])))
    shapes = Shapes()
    _ground(shapes, rng, layout, weather, faces)
    _skyline(shapes, rng)
    roofline = np.zeros((2, 256), np.float32)
    shops: list[tuple[float, float]] = []
    for row, (side, wall) in enumerate(zip((-1, 1), layout.wall, strict=True)):
        edge = view.focal * abs(wall) / (view.vanish if side < 0 else 1 - view.vanish)
        buildings = plan_row(rng, side, wall, max(NEAREST, edge - between(rng, 0.5, 8)), END, layout.gap)
        _note_roofs(roofline[row], buildings)
        shops += [(wall, z) for z in draw_row(shapes, rng, buildings, faces)]
    shadows, lights, halos = _furnish(shapes, rng, layout, faces, sun)
    lights += [(wall * 0.86, 1.6, z, 0.5, 0.38, 0.22, 2.2) for wall, z in shops if z < 40]
    phase = (int(64 * rng.random()), int(64 * rng.random()))
    table = np.array(lights, np.float32)
    return Street(view, weather, layout, sun, roofline, shapes, shadows, table, halos, phase)


def _weather(rng: np.random.Generator) -> Weather:
    chance = rng.random()
    for share, weather in SKIES:
        chance -= share
        if chance < 0:
            break
    return weather


def _layout(rng: np.random.Generator) -> Layout:
    left, right = -between(rng, 3.2, 6.0), between(rng, 3.0, 5.5)
    walls = left - between(rng, 2.2, 3.6), right + between(rng, 2.2, 3.6)
    return Layout((left, right), walls, between(rng, 22, 60) if rng.random() < 0.6 else 2 * END)


def _sun(rng: np.random.Generator) -> tuple[float, float, float]:
    """Draw the direction to the sun, 30 to 60 degrees high, more often from a side or behind the camera."""
    high, turn = between(rng, 0.5, 1.0), between(rng, 0.25, 2 * np.pi - 0.25)
    return float(np.cos(high) * np.sin(turn)), float(np.sin(high)), float(np.cos(high) * np.cos(turn))


def _ground(shapes: Shapes, rng: np.random.Generator, layout: Layout, weather: Weather, sun: Sun) -> None:
    dry = 1 - 0.35 * weather.wet
    road: Colour = (104 * dry, 104 * dry, 108 * dry)
    stone: Colour = (172 * dry, 166 * dry, 156 * dry)
    left, right = layout.kerb
    shapes.add(flat(-90, 90, NEAREST, 600), stone, Material.PAVEMENT, shade=sun.top)
    shapes.add(flat(left, right, NEAREST, 600), road, Material.ROAD, shade=sun.top)
    if layout.gap < END:
        shapes.add(flat(-90, 90, layout.gap + 1, layout.gap + 6.5), road, Material.ROAD, shade=sun.top)
    kerbs = flat(np.array([left - 0.16, right]), np.array([left, right + 0.16]), NEAREST, 200)
    shapes.add(kerbs, (198, 194, 186), Material.PAVEMENT, shade=sun.top)
    white: Colour = (232, 232, 226)
    zebra = layout.gap - 4 if layout.gap < END else between(rng, 8, 30)
    dashes = np.arange(NEAREST + between(rng, 0, 5), END, 6.0, dtype=np.float32)
    dashes = dashes[np.abs(dashes + 1.5 - zebra) > 4]
    middle = layout.middle
    shapes.add(flat(middle - 0.09, middle + 0.09, dashes, dashes + 3), white, Material.MARKING, shade=sun.top)
    stripes = np.arange(left + 0.4, right - 0.5, 1.0, dtype=np.float32)
    if rng.random() < 0.7:
        shapes.add(flat(stripes, stripes + 0.5, zebra - 1.5, zebra + 1.5), white, Material.MARKING, shade=sun.top)


def _skyline(shapes: Shapes, rng: np.random.Generator) -> None:
    """Draw the town behind the end of the street, a few lights in it."""
    for z, tone in ((170.0, 0.9), (130.0, 0.78)):
        x = np.arange(-150, 150, 12, dtype=np.float32) + 6 * rng.random(25).astype(np.float32)
        tall = 6 + 22 * rng.random(25).astype(np.float32) ** 2
        shapes.add(across(x, x + 12, 0, tall, z), (150 * tone, 158 * tone, 172 * tone), Material.DISTANT, shade=0.3)
    shown = slice(9, 17)
    shapes.add(across(x[shown] + 4, x[shown] + 6, 3, 0.7 * tall[shown], 130.0), (170, 164, 150), Material.DISTANT, other=(150, 110, 60))


def _note_roofs(roofline: Floats, buildings: list[Building]) -> None:
    for building in buildings:
        roofline[int(building.near / ROOFLINE_STEP) : int(building.far / ROOFLINE_STEP)] = building.height


def _furnish(
    shapes: Shapes, rng: np.random.Generator, layout: Layout, sun: Sun, ray: tuple[float, float, float]
) -> tuple[list[Floats], list[tuple[float, ...]], int]:
    """Draw what stands on the street, far things first; return the shadows on the ground, the lights and the halos."""
    things_at = _lamps_and_trees(rng, layout) + _traffic(rng, layout) + _people(rng, layout)
    things_at.sort(key=lambda thing: -thing[1])
    classic, leaves = rng.random() < 0.5, pick(rng, things.LEAVES)
    lamp_colour = things.WARM_LAMP if classic else things.WHITE_LAMP
    shadows: list[Floats] = []
    lamps: list[tuple[float, ...]] = []
    beams: list[tuple[float, ...]] = []
    lean = np.array([-ray[0] / ray[1], -ray[2] / ray[1]], np.float32)
    for kind, z, x in things_at:
        if kind == "lamp":
            place = things.draw_lamp(shapes, x, z, -1.0 if x > 0 else 1.0, classic=classic)
            lamps.append((*place, *(channel / 255 * 1.15 for channel in lamp_colour), 3.4 if classic else 5.0))
            shadows.append(_cast(np.array([[(-0.1, 0), (0.1, 0), (0.1, place[1]), (-0.1, place[1])]], np.float32), x, z, lean))
        elif kind == "tree":
            blob = things.draw_tree(shapes, rng, x, z, leaves, sun.top)
            shadows.append(_cast(blob + np.array([0, 3.8], np.float32), x, z, lean))
        elif kind == "person":
            things.draw_person(shapes, rng, x, z, 0.8 * sun.top)
            shadows.append(_cast(np.array([[(-0.2, 0), (0.2, 0), (0.2, 1.6), (-0.2, 1.6)]], np.float32), x, z, lean))
        else:
            facing, lit = kind == "oncoming", kind != "parked"
            things.draw_car(shapes, rng, x, z, sun, facing=facing, lit=lit)
            for part in (0.2, 1.6, 3.0):
                box = np.array([[(-0.9, 0), (0.9, 0), (0.9, 1.2), (-0.9, 1.2)]], np.float32)
                shadows.append(_cast(box, x, z + part, lean))
            if lit:
                beams.append((x, 0.5, z - 2.2, 0.9, 0.88, 0.78, 1.5) if facing else (x, 0.5, z - 0.6, 0.7, 0.08, 0.05, 0.7))
    return shadows, lamps + beams, len(lamps)


def _cast(outline: Floats, x: float, z: float, lean: Floats) -> Floats:
    """Return the shadow on the ground of outlines n x k x 2 (right, up) that stand at (x, z)."""
    corners = np.zeros((*outline.shape[:2], 3), np.float32)
    corners[:, :, 0] = x + outline[:, :, 0] + outline[:, :, 1] * lean[0]
    corners[:, :, 2] = z + outline[:, :, 1] * lean[1]
    return corners


Thing = tuple[str, float, float]


def _lamps_and_trees(rng: np.random.Generator, layout: Layout) -> list[Thing]:
    found: list[Thing] = []
    spacing, trees = between(rng, 13, 19), between(rng, 0, 1)
    for kerb, side in zip(layout.kerb, (-1, 1), strict=True):
        z = between(rng, 6, 6 + spacing)
        while z < 75:
            if abs(z - layout.gap - 3.5) > 4:
                found.append(("lamp", z, kerb + side * 0.45))
            if rng.random() < trees and abs(z + spacing / 2 - layout.gap - 3.5) > 4:
                found.append(("tree", z + spacing / 2, kerb + side * 0.8))
            z += spacing
    return found


def _traffic(rng: np.random.Generator, layout: Layout) -> list[Thing]:
    found: list[Thing] = []
    for kind, lane in (("oncoming", (layout.kerb[0] + layout.middle) / 2), ("leaving", (layout.middle + layout.kerb[1]) / 2)):
        z = between(rng, 5, 22)
        while z < 70:
            found.append((kind, z, lane + between(rng, -0.25, 0.25)))
            z += between(rng, 9, 30)
    if layout.kerb[1] - layout.kerb[0] > 9.4:
        z = between(rng, 6, 16)
        while z < 60:
            if abs(z - layout.gap - 2) > 8:
                found.append(("parked", z, layout.kerb[1] - 1.0))
            z += between(rng, 5.5, 12)
    return found


def _people(rng: np.random.Generator, layout: Layout) -> list[Thing]:
    found: list[Thing] = []
    for _ in range(2 + int(7 * rng.random())):
        side = int(2 * rng.random())
        kerb, wall = layout.kerb[side], layout.wall[side]
        found.append(("person", 5 + 40 * rng.random() ** 1.5, kerb + (wall - kerb) * between(rng, 0.3, 0.85)))
    return found
