"""What is behind a person: a studio, a wall, a room, a park, a street, a beach, or lights out of focus."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from i2i.sources.figures.fabric import Colour, Floats, floats, mixed, window
from i2i.sources.figures.people import between, pick, varied

_SHIFT = 4


_BLACK: Colour = (0, 0, 0)
_WHITE: Colour = (255, 255, 255)
PALETTES: dict[str, tuple[Colour, ...]] = {
    "backdrop": ((178, 182, 186), (206, 198, 188), (120, 134, 150), (196, 170, 160), (150, 166, 148), (92, 96, 104),
                 (222, 206, 168)),
    "plaster": ((196, 186, 168), (168, 184, 188), (206, 160, 130), (150, 170, 150), (214, 204, 190), (128, 142, 168),
                (222, 190, 120)),
    "brick": ((160, 92, 72), (176, 124, 96), (196, 190, 182), (140, 112, 100)),
    "pavement": ((150, 146, 140), (134, 122, 108), (112, 112, 116), (158, 154, 150)),
    "wallpaper": ((214, 206, 190), (176, 190, 186), (190, 176, 196), (226, 196, 168), (160, 178, 200)),
    "wood": ((160, 118, 78), (124, 88, 60), (190, 158, 118)),
    "glass": ((176, 208, 232), (190, 214, 226)),
    "frame": ((70, 54, 44), (40, 38, 40)),
    "painting": ((220, 200, 160), (120, 150, 170), (190, 120, 100)),
    "book": ((150, 60, 50), (60, 90, 120), (200, 170, 100), (80, 110, 80)),
    "clear sky": ((150, 194, 230), (120, 178, 226), (170, 196, 214)),
    "town sky": ((186, 206, 226), (216, 214, 210), (236, 206, 170)),
    "sea sky": ((120, 178, 226), (240, 190, 150), (170, 196, 214)),
    "foliage": ((86, 124, 62), (110, 134, 60), (70, 112, 74), (168, 130, 56)),
    "trunk": ((86, 66, 50), (70, 58, 50)),
    "grass": ((122, 156, 78), (112, 148, 84)),
    "path": ((198, 182, 152), (182, 174, 160)),
    "house": ((170, 120, 96), (196, 182, 160), (140, 144, 152), (206, 196, 180), (120, 100, 92)),
    "pane": ((84, 98, 116), (70, 88, 104)),
    "sea": ((58, 128, 156), (70, 140, 150)),
    "sand": ((222, 198, 154), (214, 188, 150)),
    "night": ((34, 38, 58), (58, 40, 44), (30, 52, 54), (70, 62, 52)),
}  # fmt: skip
GLOWS: tuple[tuple[Colour, Colour], ...] = (
    ((255, 190, 100), (255, 120, 80)),
    ((120, 200, 255), (255, 220, 160)),
    ((255, 120, 170), (140, 130, 255)),
)


class Place:
    """A background, size x size, drawn from far to near; `floor` is where the ground meets what stands on it."""

    def __init__(self, rng: np.random.Generator, size: int, floor: float):
        self.rng, self.size, self.floor = rng, size, floor
        row, column = rng.integers(0, 256, 2).tolist()
        self.phase = (row, column)
        self.picture: Floats = np.zeros((size, size, 3), np.float32)

    def colour(self, palette: str) -> Colour:
        """Draw a colour."""
        return varied(self.rng, pick(self.rng, PALETTES[palette]), 8)

    def between(self, low: float, high: float) -> float:
        """Draw a number."""
        return between(self.rng, low, high)

    def fade(self, top: float, bottom: float, first: Colour, last: Colour) -> None:
        """Fill rows from one height to another with a gradient."""
        rows = self._rows(top, bottom)
        count = rows.stop - rows.start
        if count > 0:
            share = np.linspace(0, 1, count, dtype=np.float32)[:, None, None]
            self.picture[rows] = floats(first) * (1 - share) + floats(last) * share

    def grain(self, name: str, depth: float, top: float = 0, bottom: float = 1) -> None:
        """Make rows brighter and darker by noise."""
        rows = self._rows(top, bottom)
        self.picture[rows] *= 1 + window(name, self.size, self.phase)[rows][:, :, None] * depth

    def _rows(self, top: float, bottom: float) -> slice:
        start, stop = (min(max(round(edge * self.size), 0), self.size) for edge in (top, bottom))
        return slice(start, max(start, stop))

    def rustle(self, before: Floats, depth: float) -> None:
        """Make leaves of all that has been drawn since."""
        drawn = np.asarray(self.picture[:, :, 1] != before[:, :, 1], np.float32)
        self.picture *= 1 + (drawn * window("leaves", self.size, self.phase))[:, :, None] * depth

    def fill(self, points: list[tuple[float, float]], colour: Colour) -> None:
        """Fill a polygon."""
        fixed = (floats(points) * (self.size * 16) - 8).astype(np.int32)
        cv2.fillPoly(self.picture, [fixed], colour, cv2.LINE_8, _SHIFT)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fill a rectangle."""
        x0, y0, x1, y1 = (max(round(edge * self.size), 0) for edge in (left, top, right, bottom))
        self.picture[y0:y1, x0:x1] = colour

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Fill a circle."""
        x, y, radius = (value * self.size * 16 for value in (x, y, radius))
        cv2.circle(self.picture, (round(x), round(y)), round(radius), colour, -1, cv2.LINE_8, _SHIFT)

    def tilted(self) -> None:
        """Light the picture from one side."""
        strength = self.between(-0.14, 0.14)
        self.picture *= np.linspace(1 - strength, 1 + strength, self.size, dtype=np.float32)[:, None]


def _studio(place: Place) -> None:
    tint = place.colour("backdrop")
    light = mixed(tint, _WHITE, 0.3)
    place.fade(0, place.floor, mixed(tint, _BLACK, 0.12), light)
    place.fade(place.floor, 1, light, mixed(tint, _BLACK, 0.1))
    place.grain("clouds", 0.035)
    x, y = place.between(0.3, 0.7), place.between(0.25, 0.5)
    axis = (np.arange(place.size, dtype=np.float32) + 0.5) / place.size
    place.picture *= (1.08 - 0.5 * ((axis - x) ** 2 + ((axis - y) ** 2)[:, None]))[:, :, None]


def _wall(place: Place) -> None:
    floor = place.floor
    if place.rng.random() < 0.4:
        _bricks(place)
    else:
        tint = place.colour("plaster")
        place.fade(0, floor, tint, mixed(tint, _BLACK, 0.08))
        place.grain("clouds", 0.07, 0, floor)
    ground = place.colour("pavement")
    place.fade(floor, 1, mixed(ground, _BLACK, 0.15), ground)
    place.grain("leaves", 0.06, floor, 1)
    place.box(0, floor - 0.012, 1, floor + 0.008, mixed(ground, _BLACK, 0.35))
    place.tilted()


def _bricks(place: Place) -> None:
    tint = place.colour("brick")
    axis = (np.arange(place.size, dtype=np.float32) + 0.5) / place.size
    rows = axis / 0.042
    columns = axis / 0.115 + 0.5 * (rows.astype(np.int32) % 2)[:, None].astype(np.float32)
    joint = (columns % 1 < 0.09) | (rows % 1 < 0.2)[:, None]
    tones = (place.rng.random((25, 11), np.float32) * 36 - 18)[rows.astype(np.int32)[:, None], columns.astype(np.int32)]
    bricks = floats(tint) + tones[:, :, None]
    place.picture[:] = np.where(joint[:, :, None], floats(mixed(tint, (216, 208, 196), 0.5)), bricks)
    place.grain("leaves", 0.05, 0, place.floor)


def _room(place: Place) -> None:
    floor, tint, wood = place.floor, place.colour("wallpaper"), place.colour("wood")
    place.fade(0, floor, tint, mixed(tint, _BLACK, 0.1))
    place.grain("clouds", 0.03, 0, floor)
    place.fade(floor, 1, mixed(wood, _BLACK, 0.2), wood)
    for line in range(-6, 14):
        far, near = line / 8, 0.5 + (line / 8 - 0.5) * 2.4
        place.fill([(far, floor), (far + 0.004, floor), (near + 0.012, 1), (near, 1)], mixed(wood, _BLACK, 0.4))
    place.grain("strands", 0.05, floor, 1)
    place.box(0, floor - 0.03, 1, floor, mixed(tint, _WHITE, 0.55))
    for left in (place.between(0.02, 0.2), place.between(0.62, 0.78)):
        hang = pick(place.rng, (_window, _painting, _shelf))
        hang(place, left, place.between(0.08, 0.2), place.between(0.16, 0.26))
    place.tilted()


def _window(place: Place, left: float, top: float, wide: float) -> None:
    low = top + place.between(0.22, 0.34)
    place.box(left, top, left + wide, low, (244, 242, 236))
    glass = place.colour("glass")
    for edge in (left + 0.012, left + wide / 2 + 0.006):
        place.box(edge, top + 0.014, edge + wide / 2 - 0.018, low - 0.014, glass)


def _painting(place: Place, left: float, top: float, wide: float) -> None:
    low = top + place.between(0.16, 0.26)
    place.box(left, top, left + wide, low, place.colour("frame"))
    place.box(left + 0.014, top + 0.014, left + wide - 0.014, low - 0.014, place.colour("painting"))


def _shelf(place: Place, left: float, top: float, wide: float) -> None:
    wood = mixed(place.colour("wood"), _BLACK, 0.2)
    for board in (top + 0.1, top + 0.23):
        for book, height in enumerate(place.rng.random(7).tolist()):
            x = left + wide * book / 7
            place.box(x, board - 0.05 - 0.04 * height, x + wide / 7.6, board, place.colour("book"))
        place.box(left - 0.02, board, left + wide + 0.02, board + 0.015, wood)


def _park(place: Place) -> None:
    rng, floor, sky = place.rng, place.floor, place.colour("clear sky")
    place.fade(0, floor, sky, mixed(sky, (255, 250, 240), 0.6))
    place.grain("clouds", 0.04, 0, floor)
    green, bare = place.colour("foliage"), place.picture.copy()
    for x in (place.between(0, 0.45), place.between(0.55, 1)):
        place.box(x, floor - 0.22, x + place.between(0.02, 0.04), floor, place.colour("trunk"))
    for depth in (0.0, 0.5, 1.0):
        tone = mixed(mixed(green, sky, 0.4), mixed(green, _BLACK, 0.3), depth)
        for x, height, radius, shade in rng.random((12, 4)).tolist():
            y = floor - 0.03 - (0.36 - 0.14 * depth) * height * (0.4 + 0.6 * abs(2 * x - 1))
            place.disc(x, y, 0.045 + 0.075 * radius, mixed(tone, _BLACK, 0.24 * shade))
    place.rustle(bare, 0.16)
    grass = place.colour("grass")
    place.fade(floor - 0.05, 1, mixed(grass, green, 0.5), grass)
    if rng.random() < 0.5:
        x = place.between(0.2, 0.8)
        edges = [(x - 0.03, floor - 0.05), (x + 0.03, floor - 0.05), (x + 0.5, 1.0), (x - 0.4, 1.0)]
        place.fill(edges, place.colour("path"))
    place.grain("leaves", 0.09, floor - 0.05, 1)


def _street(place: Place) -> None:
    floor, left = place.floor, -0.05
    place.picture[:] = place.colour("town sky")
    while left < 1:
        wide = place.between(0.16, 0.34)
        _house(place, left, left + wide, place.between(-0.1, 0.32))
        left += wide
    stone = place.colour("pavement")
    place.fade(floor, 1, mixed(stone, _BLACK, 0.2), stone)
    place.grain("clouds", 0.05)
    for step in range(6):
        y = floor + (1 - floor) * (step / 6) ** 1.6
        place.box(0, y, 1, y + 0.004 + 0.004 * step / 6, mixed(stone, _BLACK, 0.3))


def _house(place: Place, left: float, right: float, top: float) -> None:
    floor, wide, wall, pane = place.floor, right - left, place.colour("house"), place.colour("pane")
    place.box(left, top, right, floor, wall)
    row = top + 0.04
    while row < min(floor - 0.12, 1):
        for column, shade in zip((0.09, 0.41, 0.73), place.rng.random(3).tolist(), strict=True):
            x = left + wide * column
            place.box(x, row, x + wide * 0.17, row + 0.06, mixed(pane, _WHITE, 0.25 * shade))
        row += 0.1
    place.box(left + wide * 0.1, floor - 0.1, right - wide * 0.1, floor, mixed(wall, (30, 34, 44), 0.65))


def _beach(place: Place) -> None:
    floor, sky, sea, sand = place.floor, place.colour("sea sky"), place.colour("sea"), place.colour("sand")
    line = floor - place.between(0.12, 0.22)
    place.fade(0, line, sky, mixed(sky, (255, 246, 230), 0.6))
    place.grain("clouds", 0.05, 0, line)
    place.fade(line, floor + 0.01, sea, mixed(sea, (200, 230, 226), 0.45))
    place.grain("waves", 0.07, line, floor)
    place.fade(floor, 1, mixed(sand, (120, 100, 80), 0.3), sand)
    place.grain("leaves", 0.05, floor, 1)
    place.box(0, floor - 0.006, 1, floor + 0.008, (244, 246, 242))


def _lights(place: Place) -> None:
    dark, glow, floor = place.colour("night"), pick(place.rng, GLOWS), place.floor
    place.fade(0, 1, dark, mixed(dark, _BLACK, 0.35))
    for x, y, radius, share, strength in place.rng.random((22, 5)).tolist():
        colour = mixed(dark, mixed(*glow, share), 0.15 + 0.5 * strength)
        place.disc(x, y * min(floor, 1), 0.02 + 0.05 * radius, colour)
    place.grain("clouds", 0.05)
    place.fade(floor + 0.02, 1, mixed(dark, (120, 110, 110), 0.3), mixed(dark, _BLACK, 0.2))
    place.grain("leaves", 0.10, floor, 1)


PLACES: tuple[Callable[[Place], None], ...] = (_studio, _wall, _room, _park, _street, _beach, _lights)


def draw_place(rng: np.random.Generator, size: int, *, near: bool) -> Floats:
    """Draw a background, size x size x 3, 0 ... 255; `near`: of a portrait, out of focus and without the ground."""
    kind = pick(rng, PLACES)
    floor = between(rng, 0.68, 0.80)
    if near:
        floor += 0.12 if kind is _beach else 0.5
    place = Place(rng, size, floor)
    kind(place)
    reach = round(size * (between(rng, 0.010, 0.028) if near else between(rng, 0.002, 0.007)))
    width = 2 * max(reach, 1) + 1
    picture = cv2.blur(place.picture, (width, width))
    if reach:
        picture = cv2.blur(picture, (width, width))
    return np.asarray(np.clip(picture, 0, 255, out=picture))
