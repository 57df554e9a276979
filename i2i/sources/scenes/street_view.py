"""The pictures of a street: by day, by night, its labels and its outlines, all from one rasterisation."""

from __future__ import annotations

from functools import cached_property, lru_cache

import cv2
import numpy as np

from i2i.sources.scenes.canvas import FULL, Paints
from i2i.sources.scenes.materials import (
    CLASS_OF,
    CONTRAST_OF,
    FIXED,
    GROUND,
    PAVED,
    TILE_OF,
    WARMTH_OF,
)
from i2i.sources.scenes.street import ROOFLINE_STEP, Street
from i2i.sources.scenes.textures import LEVELS, SIDE, Bytes, Floats, Texels, Texture, developed, look_up, tile, within

_TEXELS = 64  # a metre
_FAR = np.float32(400)
_FIRSTS, _SIDES = np.array([tile(0, level) for level in range(LEVELS)], np.int32).T.copy()
_FOOTPRINTS = 2.0 ** np.arange(1, LEVELS)  # texels of the first level for a pixel, where the next levels begin
_CLOUD, _ = tile(Texture.CLOUD, 0)
_HALF = np.float32(0.5)
# How dark the outlines are, by how much of a pixel is a border.
_INK = (255 - 225 * np.minimum(np.arange(256) * 1.5 / 255, 1)).astype(np.uint8)


@lru_cache(maxsize=8)
def _ripples(side: int) -> Floats:
    """Return how many pixels aside a wet road mirrors things, by row below the horizon and column, side x 2 side."""
    depth = 1.6 * side / (np.arange(side)[:, None] + 0.5)
    x = depth * (np.arange(2 * side) / side - 1)
    noise = look_up(within(SIDE, (60 * depth).astype(np.int32), (260 * x).astype(np.int32)) + _CLOUD)
    return np.asarray((noise - 128) * (side / 170 / 64) - 0.5, np.float32)


class StreetFrame:
    """A street at size x size pixels; each intermediate picture is made when it is first asked for."""

    def __init__(self, street: Street, size: int):
        self.street = street
        self.size = size
        view, (left_wall, right_wall) = street.view, street.layout.wall
        centres = (np.arange(size, dtype=np.float32) + _HALF) / np.float32(size)
        self.right, self.down = centres - np.float32(view.vanish), centres - np.float32(view.horizon)
        self.above = self.down[self.down < 0]
        # How far away in metres the walls of the empty street are in each column, and the ground is in each row.
        walls = np.where(self.right < 0, np.float32(-left_wall * view.focal), np.float32(right_wall * view.focal))
        self.wall_depth = np.minimum(walls / np.maximum(np.abs(self.right), np.float32(1e-4)), _FAR)
        reach = np.float32(view.focal * view.eye)
        self.ground_depth = np.minimum(reach / np.maximum(self.down, reach / _FAR), _FAR)

    @cached_property
    def paints(self) -> Paints:
        """The rasterised street."""
        shapes = self.street.shapes
        return shapes.raster(
            self.street.view.project(shapes.points()), self.size, (self.street.walls, self.street.view)
        )

    @cached_property
    def material(self) -> Bytes:
        """The material of each pixel, H x W."""
        return self.paints.material()

    @cached_property
    def place(self) -> Floats:
        """Where every other pixel of the empty street lies: x, y, z in metres, 3 x h x h."""
        walls, ground = self.wall_depth[::2], self.ground_depth[::2, None]
        place = np.empty((3, len(walls), len(walls)), np.float32)
        z = np.minimum(walls, ground, out=place[2])
        scaled = z * np.float32(1 / self.street.view.focal)
        np.multiply(self.right[::2], scaled, out=place[0])
        np.multiply(-self.down[::2, None], scaled, out=place[1])
        place[1] += np.float32(self.street.view.eye)
        return place

    @cached_property
    def relief(self) -> Floats:
        """The texture as a factor about 1, H x W."""
        view, (first, side) = self.street.view, self._tiles(self.wall_depth)
        scale = side * np.float32(_TEXELS / SIDE)
        height = self.down[:, None] * (self.wall_depth * scale * np.float32(-1 / view.focal))
        height += scale * np.float32(view.eye)
        index = height.astype(np.int32)
        index &= side - 1
        index += ((self.wall_depth * scale).astype(np.int32) & side - 1) * side + first
        self._lay_ground(index[len(self.above) :])
        index += cv2.LUT(self.material, TILE_OF)
        detail = look_up(index)
        detail -= 128
        detail *= cv2.LUT(self.material, CONTRAST_OF)
        detail += 1
        return detail

    def _lay_ground(self, index: Texels) -> None:
        """Put the texels of the ground in place of those of the walls, in the rows below the horizon."""
        depth = self.ground_depth[self.size - len(index) :, None]
        begin, side = self._tiles(depth)
        scale = side * np.float32(_TEXELS / SIDE)
        ground = (self.right * (depth * scale * np.float32(1 / self.street.view.focal))).astype(np.int32)
        ground &= side - 1
        ground += ((depth * scale).astype(np.int32) & side - 1) * side + begin
        np.copyto(index, ground, where=depth < self.wall_depth)

    def _tiles(self, depth: Floats) -> tuple[Texels, Texels]:
        """Return where the tiles begin whose texels are as large as pixels at that depth, and their sides."""
        level = np.searchsorted(_FOOTPRINTS, depth * np.float32(_TEXELS / (self.street.view.focal * self.size)))
        return _FIRSTS.take(level), _SIDES.take(level)

    @cached_property
    def painted(self) -> Floats:
        """The colour of each surface, texture included, 0 ... 255, 3 x H x W."""
        return self.paints.averaged[:3] * self.relief

    @cached_property
    def sky(self) -> tuple[Floats, Floats]:
        """How much of each pixel above the horizon is sky, and how cloudy the sky is there, h x W in [0, 1]."""
        rows = len(self.above)
        share = self.paints.averaged[7, :rows] * np.float32(-1 / FULL)
        share += 1
        # Clouds are soft: worked out at half the size.
        scale = np.float32(46) / (np.float32(0.12) - self.above[::2, None])
        u = (self.right[::2] * scale + 97 * self.street.phase[0]).astype(np.int32)
        v = (scale * 2.2 + 61 * self.street.phase[1]).astype(np.int32)
        density = look_up(within(SIDE, v, u) + _CLOUD)
        density *= np.float32(0.8 / 64)
        density += np.float32(1.6 * self.street.weather.clouds - 2.2)
        np.maximum(np.minimum(density, 1, out=density), 0, out=density)
        return share, np.asarray(cv2.resize(density, (self.size, rows))) if rows else share

    def paint_sky(self, picture: Floats, gradient: Floats, clouds: Floats, fog: Floats) -> None:
        """Add the sky to a picture, 3 x H x W, in place of the fog there, 3 x h x W.

        gradient: the colour of each row, 3 x h x 1. clouds: what they add to it where they are thickest.
        """
        share, density = self.sky
        air = density * clouds
        air += gradient
        air -= fog
        air *= share
        picture[:, : len(share)] += air

    def reflect(self, picture: Floats, strength: float) -> None:
        """Add to the road of a picture, 3 x H x W, what it mirrors, blurred up and down as a wet road does.

        Worked out at half the size.
        """
        walls, down = self.wall_depth[::2], self.down[::2]
        side, below = len(down), int(np.searchsorted(down, 0.002))
        if below == side:
            return
        rows = np.float32(2 * side * self.street.view.focal * self.street.view.eye) / walls
        rows = rows + np.float32(self.street.view.horizon * side - 0.5) - np.float32(side) * down[below:, None]
        shift = self.street.phase[1] * side // 64
        columns = _ripples(side)[: side - below, shift : shift + side] + np.arange(side, dtype=np.float32)
        first = below * self.size // side
        wet = cv2.LUT(self.material, PAVED)[first:]
        wet *= np.clip(strength * (1.15 - 1.6 * self.down[first:, None]), 0, 1)
        small = cv2.merge([cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA) for plane in picture])
        blurred = cv2.blur(small, (1 + side // 64, 1 + side // 9))
        image = cv2.remap(blurred, columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        mirrored = cv2.resize(image, (self.size, self.size - first)).transpose(2, 0, 1) * wet
        wet *= -_HALF
        wet += 1
        picture[:, first:] *= wet
        picture[:, first:] += mirrored

    def sunlit(self) -> Bytes:
        """The share of each pixel that the sun reaches, 255 is all of it, H x W: houses and things cast shadows."""
        roofs = cv2.resize(self._roof_shadows(), (self.size, self.size))
        dark = cv2.bitwise_and(roofs, cv2.LUT(self.material, FIXED))
        ground = cv2.bitwise_and(self._cast_shadows(), cv2.LUT(self.material, GROUND))
        return np.asarray(cv2.bitwise_not(cv2.max(dark, ground)))

    def _roof_shadows(self) -> Bytes:
        """Where the shadow of the row of houses towards the sun falls, worked out at half the size."""
        x, y, z = self.place
        toward, up, ahead = self.street.sun
        side = int(toward > 0)
        toward = np.copysign(max(abs(toward), 0.06), toward)
        travel = (np.float32(self.street.layout.wall[side]) - x) * np.float32(1 / toward)
        hit = ((z + travel * np.float32(ahead)) * np.float32(1 / ROOFLINE_STEP)).astype(np.int32)
        above = y + travel * np.float32(up) - self.street.roofline.take(hit, mode="clip")
        return np.asarray(cv2.convertScaleAbs(np.maximum(above * np.float32(-510) + 127, 0)))

    def _cast_shadows(self) -> Bytes:
        mask = np.zeros((self.size, self.size), np.uint8)
        corners, ends = self.street.shadows
        pixels = (self.street.view.project(corners).T * np.float32(16 * self.size)).astype(np.int32, order="C")
        for start, end in ends:
            cv2.fillConvexPoly(mask, pixels[start:end], 255, cv2.LINE_8, 4)
        return np.asarray(cv2.blur(mask, (3, 3)))


def day(frame: StreetFrame) -> Bytes:
    """Return the photo by day, 3 x H x W."""
    weather, rows = frame.street.weather, len(frame.above)
    sun, horizon, zenith = (_colour(*colour) for colour in (weather.sun, weather.horizon, weather.zenith))
    ambient = _colour(0.64, 0.67, 0.72) + np.float32(0.30 * (1 - weather.sunlight))
    walls, ground = (np.exp(depth * np.float32(-1 / weather.haze)) for depth in (frame.wall_depth, frame.ground_depth))
    shine = cv2.multiply(frame.sunlit(), frame.paints.averaged[3], scale=1 / 255)
    picture = sun / FULL * (shine * np.maximum(walls, ground[:, None]))
    picture += ambient
    picture *= frame.painted
    fog = np.minimum(horizon * (1 - walls), horizon * (1 - ground[:, None]))
    picture += fog
    height = np.minimum(frame.above[:, None] * np.float32(-1 / frame.street.view.horizon), 1) ** np.float32(0.7)
    gradient = horizon + (zenith - horizon) * height
    grey = _colour(250, 250, 250) if weather.clouds < 0.9 else _colour(196, 200, 206)
    frame.paint_sky(picture, gradient, np.float32(0.85) * (grey - gradient), fog[:, :rows])
    if weather.wet > 0:
        frame.reflect(picture, 0.5 * weather.wet)
    return developed(picture, 3.0, frame.street.phase)


def _colour(red: float, green: float, blue: float) -> Floats:
    return np.array((red, green, blue), np.float32)[:, None, None]


def night(frame: StreetFrame) -> Bytes:
    """Return the photo by night, 3 x H x W: lamps, windows and cars shine; what they do not reach is dark."""
    picture = _lamplight(frame)
    picture *= frame.painted
    lit = frame.paints.averaged[4:7].astype(np.float32)
    picture += lit
    low = (1 + frame.above[:, None] / np.float32(frame.street.view.horizon)) ** 3
    frame.paint_sky(picture, _colour(12, 17, 40) + _colour(92, 55, 22) * low, _colour(26, 24, 30), _colour(0, 0, 0))
    picture += _glow(frame, lit)
    frame.reflect(picture, 0.25 + 0.45 * frame.street.weather.wet)
    return developed(picture, 1.2, frame.street.phase)


def _lamplight(frame: StreetFrame) -> Floats:
    """Return the light that falls on each surface, 1 is daylight, 3 x H x W; worked out at a quarter of the size."""
    side = (frame.size + 3) // 4
    points = np.ones((5, side * side), np.float32)
    points[:3] = frame.place[:, ::2, ::2].reshape(3, -1)
    points[3] = np.square(points[:3]).sum(axis=0)
    lights = frame.street.lights
    places, colours, reach = lights[:, :3], lights[:, 3:6], lights[:, 6:7] ** -2
    distance = np.square(places).sum(axis=1, keepdims=True)
    # The squared distance to each light, over its reach.
    share = np.concatenate([-2 * reach * places, reach, reach * distance + 1], axis=1) @ points
    light = (1.6 * colours.T) @ np.reciprocal(np.square(share, out=share), out=share)
    light += np.array([[0.055], [0.065], [0.11]], np.float32)
    return _enlarged(light.reshape(3, side, side), frame.size)


def _glow(frame: StreetFrame, lit: Floats) -> Floats:
    """Return the glow in the air about lamps and lit things, 3 x H x W, worked out at a quarter of the size."""
    side = (frame.size + 3) // 4
    lamps = frame.street.lights[frame.street.lights[:, 7] > 0]
    x, y = frame.street.view.project(lamps[:, :3].T)
    grid = (np.arange(side, dtype=np.float32) + _HALF) / side
    reach = 1 / (np.float32(0.36 * frame.street.view.focal) / lamps[:, 2:3] + np.float32(0.006))
    across, down = ((grid - x[:, None]) * reach) ** 2, ((grid - y[:, None]) * reach) ** 2 + 1
    halo = down[:, :, None] + across[:, None]
    np.reciprocal(np.square(halo, out=halo), out=halo)
    glow = ((120 * lamps[:, 7] * lamps[:, 3:6].T) @ halo.reshape(len(lamps), -1)).reshape(3, side, side)
    for plane, out in zip(lit, glow, strict=True):
        small = cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA)
        cv2.scaleAdd(cv2.blur(small, (1 + side // 7, 1 + side // 7)), 0.3, out, dst=out)
    return _enlarged(glow, frame.size)


def _enlarged(planes: Floats, size: int) -> Floats:
    large = np.empty((len(planes), size, size), np.float32)
    for plane, out in zip(planes, large, strict=True):
        cv2.resize(plane, (size, size), dst=out)
    return large


def thermal(frame: StreetFrame) -> Bytes:
    """Return what a camera of heat sees by day, 1 x H x W: people, cars and sunlit ground are bright, the sky dark."""
    picture = np.asarray(cv2.LUT(frame.material, WARMTH_OF), np.float32)
    sunlit = cv2.bitwise_and(frame.sunlit(), cv2.LUT(frame.material, FIXED))
    picture += np.float32((10 + 30 * frame.street.weather.sunlight) / 255) * sunlit
    picture *= _HALF + _HALF * frame.relief
    picture += np.float32(0.08) * frame.paints.averaged[4:7].sum(axis=0)
    rows = len(frame.above)
    depth = np.minimum(frame.wall_depth, frame.ground_depth[rows:, None])
    air = 1 - np.exp(depth * np.float32(-0.5 / frame.street.weather.haze))
    picture[rows:] += air * (70 - picture[rows:])
    # Its pixels are few: a camera of heat has a fraction of a photo's.
    cv2.GaussianBlur(picture, (0, 0), max(0.4, frame.size / 200), dst=picture)
    return developed(picture[None], 2.0, frame.street.phase)


def labels(frame: StreetFrame) -> Bytes:
    """Return the class of each pixel, 1 x H x W."""
    return np.asarray(cv2.LUT(frame.material, CLASS_OF))[None]


def edges(frame: StreetFrame) -> Bytes:
    """Return the outlines, dark on white, 1 x H x W."""
    return np.asarray(cv2.LUT(frame.paints.outlines(), _INK))[None]
