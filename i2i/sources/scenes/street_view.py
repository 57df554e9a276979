"""The pictures of a street: by day, by night, its labels and its outlines, all from one rasterisation."""

from __future__ import annotations

from functools import cached_property, lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from i2i.sources.scenes.canvas import FULL, Colour, Paints
from i2i.sources.scenes.materials import (
    CLASS_OF,
    CONTRAST_OF,
    FIXED,
    GROUND,
    PAVED,
    TILE_OF,
    WARMTH_OF,
    Material,
)
from i2i.sources.scenes.street import ROOFLINE_STEP, Street
from i2i.sources.scenes.textures import LEVELS, SIDE, Bytes, Floats, Texels, Texture, developed, look_up, tile, within

_TEXELS = 64  # a metre
_FAR = 400.0
_FIRSTS, _SIDES = np.array([tile(0, level) for level in range(LEVELS)], np.int32).T.copy()
_CLOUD, _ = tile(Texture.CLOUD, 0)
_HALF = np.float32(0.5)
# How dark the outlines are, by how much of a pixel is a border.
_INK = (255 - 225 * np.minimum(np.arange(256) * 1.5 / 255, 1)).astype(np.uint8)


@lru_cache(maxsize=8)
def _coarse(size: int, side: int) -> npt.NDArray[np.intp]:
    """Return which pixels of a picture are in the middles of those of a smaller one, side x side as one row."""
    middle = ((np.arange(side) + 0.5) * size / side).astype(np.intp)
    return (middle[:, None] * size + middle).reshape(-1)


@lru_cache(maxsize=8)
def _leaves(size: int) -> Texels:
    """Return the texels of leaves, which lie flat on the picture, size x size as one row."""
    first, side = tile(Texture.LEAF, 1)
    step = (np.arange(size) * np.float32(210 / size)).astype(np.int32)
    return np.asarray(first + step[:, None] * side + step, np.int32).reshape(-1)


class StreetFrame:
    """A street at size x size pixels; each intermediate picture is made when it is first asked for."""

    def __init__(self, street: Street, size: int):
        self.street = street
        self.size = size
        centres = (np.arange(size, dtype=np.float32) + _HALF) / np.float32(size)
        self.right = centres - np.float32(street.view.vanish)
        self.down = centres - np.float32(street.view.horizon)
        self.above = self.down[self.down < 0]

    @cached_property
    def paints(self) -> Paints:
        """The rasterised street."""
        shapes = self.street.shapes
        return shapes.raster(self.street.view.project(shapes.points()), self.size)

    @cached_property
    def material(self) -> Bytes:
        """The material of each pixel, H x W."""
        return self.paints.material()

    @cached_property
    def wall_depth(self) -> Floats:
        """How far away the walls of the empty street are in each column, in metres, W."""
        left, right = self.street.layout.wall
        reach = np.where(self.right < 0, np.float32(-left), np.float32(right)) * np.float32(self.street.view.focal)
        return np.asarray(np.minimum(reach / np.maximum(np.abs(self.right), np.float32(1e-4)), _FAR))

    @cached_property
    def ground_depth(self) -> Floats:
        """How far away the ground of the empty street is in each row, in metres, H."""
        reach = np.float32(self.street.view.focal * self.street.view.eye)
        return np.asarray(np.minimum(reach / np.maximum(self.down, np.float32(1e-4)), _FAR))

    @cached_property
    def place(self) -> Floats:
        """Where each pixel of the empty street lies: x, y, z in metres, 3 x H x W."""
        place = np.empty((3, self.size, self.size), np.float32)
        z = np.minimum(self.wall_depth, self.ground_depth[:, None], out=place[2])
        scaled = z * np.float32(1 / self.street.view.focal)
        np.multiply(self.right, scaled, out=place[0])
        np.multiply(-self.down[:, None], scaled, out=place[1])
        place[1] += np.float32(self.street.view.eye)
        return place

    @cached_property
    def relief(self) -> Floats:
        """The texture as a factor about 1, H x W."""
        first, side = self._tiles(self.wall_depth)
        scale = side * np.float32(_TEXELS / SIDE)
        index = within(side, (self.wall_depth * scale).astype(np.int32), (self.place[1] * scale).astype(np.int32))
        index += first
        self._lay_ground(index[len(self.above) :])
        index += cv2.LUT(self.material, TILE_OF)
        leaf = np.flatnonzero(self.material == Material.LEAF)
        index.reshape(-1)[leaf] = _leaves(self.size).take(leaf)
        detail = look_up(index)
        detail -= 128
        detail *= cv2.LUT(self.material, CONTRAST_OF)
        detail += 1
        return detail

    def _lay_ground(self, index: Texels) -> None:
        """Put the texels of the ground in place of those of the walls, in the rows below the horizon."""
        first = self.size - len(index)
        depth = self.ground_depth[first:, None]
        begin, side = self._tiles(depth)
        scale = side * np.float32(_TEXELS / SIDE)
        ground = within(side, (self.place[0, first:] * scale).astype(np.int32), (depth * scale).astype(np.int32))
        ground += begin
        np.copyto(index, ground, where=depth < self.wall_depth)

    def _tiles(self, depth: Floats) -> tuple[Texels, Texels]:
        """Return where the tiles begin whose texels are as large as pixels at that depth, and their sides."""
        footprint = np.log2(depth * np.float32(_TEXELS / (self.street.view.focal * self.size)))
        level = np.clip(footprint, 0, LEVELS - 1).astype(np.intp)
        return _FIRSTS.take(level), _SIDES.take(level)

    @cached_property
    def painted(self) -> Floats:
        """The colour of each surface, texture included, 0 ... 255, 3 x H x W."""
        return self.paints.averaged[:3] * self.relief

    @cached_property
    def sky(self) -> tuple[Floats, Floats]:
        """How much of each pixel above the horizon is sky, and how much of it is cloud, h x W in [0, 1]."""
        share = 1 - np.multiply(self.paints.averaged[7, : len(self.above)], 1 / FULL, dtype=np.float32)
        scale = np.float32(46) / (np.float32(0.12) - self.above[:, None])
        u = (self.right * scale + 97 * self.street.phase[0]).astype(np.int32)
        v = (scale * 2.2 + 61 * self.street.phase[1]).astype(np.int32)
        density = look_up(within(SIDE, u, v) + _CLOUD)
        density *= np.float32(0.8 / 64)
        density += np.float32(1.6 * self.street.weather.clouds - 2.2)
        np.clip(density, 0, 1, out=density)
        density *= share
        return share, density

    @cached_property
    def mirror(self) -> tuple[int, Floats, Floats]:
        """The first row below the horizon, and from there on the column and row that a wet road shows at each pixel."""
        first = int(np.searchsorted(self.down, 0.002))
        base = self.street.view.focal * self.street.view.eye / self.wall_depth
        rows = np.float32(2 * self.size) * base + np.float32(self.street.view.horizon * self.size - 0.5)
        rows = rows - np.float32(self.size) * self.down[first:, None]
        x, z = ((self.place[axis, first:] * step).astype(np.int32) for axis, step in ((0, 160), (2, 60)))
        columns = look_up(within(SIDE, x, z) + _CLOUD)
        columns -= 128
        columns *= np.float32(self.size / 170 / 64)
        columns += np.arange(-0.5, self.size - 1, dtype=np.float32)
        return first, columns, rows

    def reflect(self, picture: Floats, strength: float) -> None:
        """Add to the road of a picture, 3 x H x W, what it mirrors, blurred up and down as a wet road does."""
        first, columns, rows = self.mirror
        if first == self.size:
            return
        planes = cv2.convertScaleAbs(picture.reshape(-1, self.size)).reshape(picture.shape)
        blurred = cv2.blur(cv2.merge([*planes]), (1 + self.size // 64, 1 + self.size // 9))
        mirrored = cv2.remap(blurred, columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        wet = cv2.LUT(self.material, PAVED)[first:]
        wet *= np.clip(strength * (1.15 - 1.6 * self.down[first:, None]), 0, 1)
        for plane, image in zip(picture[:, first:], cv2.split(mirrored), strict=True):
            plane += (image - _HALF * plane) * wet

    def sunlit(self) -> Bytes:
        """The share of each pixel that the sun reaches, 255 is all of it, H x W: houses and things cast shadows."""
        roofs = cv2.resize(self._roof_shadows(), (self.size, self.size))
        dark = cv2.bitwise_and(roofs, cv2.LUT(self.material, FIXED))
        ground = cv2.bitwise_and(self._cast_shadows(), cv2.LUT(self.material, GROUND))
        return np.asarray(cv2.bitwise_not(cv2.max(dark, ground)))

    def _roof_shadows(self) -> Bytes:
        """Where the shadow of the row of houses towards the sun falls, worked out at half the size."""
        x, y, z = self.place[:, ::2, ::2]
        toward, up, ahead = self.street.sun
        side = int(toward > 0)
        toward = np.copysign(max(abs(toward), 0.06), toward)
        travel = (np.float32(self.street.layout.wall[side]) - x) * np.float32(1 / toward)
        hit = ((z + travel * np.float32(ahead)) * np.float32(1 / ROOFLINE_STEP)).astype(np.int32)
        above = y + travel * np.float32(up) - self.street.roofline[side].take(hit, mode="clip")
        return np.asarray(np.clip(127 - 510 * above, 0, 255), np.uint8)

    def _cast_shadows(self) -> Bytes:
        mask = np.zeros((self.size, self.size), np.uint8)
        corners = np.concatenate([outlines.reshape(-1, 3).T for outlines in self.street.shadows], axis=1)
        pixels = (self.street.view.project(corners).T * np.float32(16 * self.size)).astype(np.int32, order="C")
        first = 0
        for count, sides, _ in (outlines.shape for outlines in self.street.shadows):
            for start in range(first, first + count * sides, sides):
                cv2.fillConvexPoly(mask, pixels[start : start + sides], 255, cv2.LINE_8, 4)
            first += count * sides
        return np.asarray(cv2.blur(mask, (3, 3)))


def day(frame: StreetFrame) -> Bytes:
    """Return the photo by day, 3 x H x W."""
    weather = frame.street.weather
    cloudy = 0.30 * (1 - weather.sunlight)
    direct = weather.sun[0] / FULL, weather.sun[1] / FULL, weather.sun[2] / FULL
    light = np.empty((2, frame.size, frame.size), np.float32)
    clear = np.exp(frame.place[2] * np.float32(-1 / weather.haze), out=light[1])
    shine = cv2.multiply(frame.sunlit(), frame.paints.averaged[3], scale=1 / 255)
    np.multiply(shine, clear, out=light[0])
    picture = _blend((direct, (0.64 + cloudy, 0.67 + cloudy, 0.72 + cloudy)), light)
    picture *= frame.painted
    sky, covered = frame.sky
    rows = len(sky)
    picture[:, rows:] += _blend((weather.horizon,), 1 - clear[None, rows:])
    haze, zenith, clouds = air = np.empty((3, *sky.shape), np.float32)
    np.multiply(covered, np.float32(0.85), out=clouds)
    blue = sky - clouds
    height = np.minimum(frame.above[:, None] * np.float32(-1 / frame.street.view.horizon), 1)
    np.multiply(blue, height ** np.float32(0.7), out=zenith)
    np.multiply(1 - sky, 1 - clear[:rows], out=haze)
    haze += blue
    haze -= zenith
    grey: Colour = (250, 250, 250) if weather.clouds < 0.9 else (196, 200, 206)
    picture[:, :rows] += _blend((weather.horizon, weather.zenith, grey), air)
    if weather.wet > 0:
        frame.reflect(picture, 0.5 * weather.wet)
    return developed(picture, 3.0, frame.street.phase)


def _blend(colours: tuple[Colour, ...], shares: Floats) -> Floats:
    """Return the sum of n colours, each by its share of a pixel, n x H x W, as 3 x H x W."""
    mixed = np.array(colours, np.float32).T @ shares.reshape(len(shares), -1)
    return np.asarray(mixed.reshape(3, *shares.shape[1:]))


def night(frame: StreetFrame) -> Bytes:
    """Return the photo by night, 3 x H x W: lamps, windows and cars shine; what they do not reach is dark."""
    picture = _lamplight(frame)
    picture *= frame.painted
    picture += frame.paints.averaged[4:7]
    sky, clouds = frame.sky
    low = (1 + frame.above[:, None] / np.float32(frame.street.view.horizon)) ** 3
    picture[:, : len(sky)] += _blend(((12, 17, 40), (92, 55, 22), (26, 24, 30)), np.stack((sky, sky * low, clouds)))
    picture += _glow(frame)
    frame.reflect(picture, 0.25 + 0.45 * frame.street.weather.wet)
    return developed(picture, 1.2, frame.street.phase)


def _lamplight(frame: StreetFrame) -> Floats:
    """Return the light that falls on each surface, 1 is daylight, 3 x H x W; worked out at a quarter of the size."""
    side = max(8, frame.size // 4)
    points = np.ones((5, side * side), np.float32)
    points[:3] = frame.place.reshape(3, -1).take(_coarse(frame.size, side), axis=1)
    points[3] = np.square(points[:3]).sum(axis=0)
    lights = frame.street.lights
    places, colours, reach = lights[:, :3], lights[:, 3:6], lights[:, 6:7] ** -2
    distance = np.square(places).sum(axis=1, keepdims=True)
    # The squared distance to each light, over its reach.
    share = np.concatenate([-2 * reach * places, reach, reach * distance + 1], axis=1) @ points
    light = (1.6 * colours.T) @ np.reciprocal(np.square(share, out=share), out=share)
    light += np.array([[0.055], [0.065], [0.11]], np.float32)
    return _enlarged(light.reshape(3, side, side), frame.size)


def _glow(frame: StreetFrame) -> Floats:
    """Return the glow in the air about lamps and lit things, 3 x H x W, worked out at a quarter of the size."""
    side = max(8, frame.size // 4)
    lit = np.empty((3, side, side), np.float32)
    for plane, out in zip(frame.paints.averaged[4:7], lit, strict=True):
        small = cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA)
        cv2.GaussianBlur(small.astype(np.float32), (0, 0), side / 20, dst=out)
    lamps = frame.street.lights[frame.street.lights[:, 7] > 0]
    x, y = frame.street.view.project(lamps[:, :3].T)
    grid = (np.arange(side, dtype=np.float32) + _HALF) / side
    reach = 1 / (np.float32(0.36 * frame.street.view.focal) / lamps[:, 2:3] + np.float32(0.006))
    across, down = ((grid - x[:, None]) * reach) ** 2, ((grid - y[:, None]) * reach) ** 2 + 1
    halo = down[:, :, None] + across[:, None]
    np.reciprocal(np.square(halo, out=halo), out=halo)
    glow = (120 * lamps[:, 7] * lamps[:, 3:6].T) @ halo.reshape(len(lamps), -1)
    return _enlarged(glow.reshape(3, side, side) + np.float32(0.3) * lit, frame.size)


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
    air = 1 - np.exp(frame.place[2, rows:] * np.float32(-0.5 / frame.street.weather.haze))
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
