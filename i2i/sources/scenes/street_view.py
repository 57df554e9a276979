"""The pictures of a street: by day, by night, its labels and its outlines, all from one rasterisation."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from i2i.sources.scenes.canvas import Colour, Paints
from i2i.sources.scenes.materials import CLASS_OF, CONTRAST_OF, FIXED, GROUND, PAVED, TILE_OF, Material
from i2i.sources.scenes.street import ROOFLINE_STEP, Street
from i2i.sources.scenes.textures import LEVELS, Bytes, Floats, Texture, photo_noise, sample, tile_number

_TEXELS = 64  # a metre
_FAR = 400.0
_HALF = np.float32(0.5)


class StreetFrame:
    """A street at size x size pixels; each intermediate picture is made when it is first asked for."""

    def __init__(self, street: Street, size: int):
        self.street = street
        self.size = size
        centres = (np.arange(size, dtype=np.float32) + _HALF) / np.float32(size)
        self.right = centres - np.float32(street.view.vanish)
        self.down = centres - np.float32(street.view.horizon)

    @cached_property
    def paints(self) -> Paints:
        """The rasterised street."""
        shapes = self.street.shapes
        return shapes.raster(self.street.view.project(shapes.points()), self.size)

    @cached_property
    def material(self) -> Bytes:
        """The material of each pixel, H x W."""
        return self.paints.materials()

    @cached_property
    def wall_depth(self) -> Floats:
        """How far away the walls of the empty street are in each column, in metres, W."""
        left, right = self.street.layout.wall
        reach = np.where(self.right < 0, np.float32(left), np.float32(right)) * np.float32(self.street.view.focal)
        return np.minimum(reach / np.where(np.abs(self.right) < 1e-4, np.float32(1e-4), self.right), _FAR).__abs__()

    @cached_property
    def ground_depth(self) -> Floats:
        """How far away the ground of the empty street is in each row, in metres, H."""
        reach = np.float32(self.street.view.focal * self.street.view.eye)
        return np.minimum(reach / np.maximum(self.down, np.float32(1e-4)), _FAR)

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
        x, y, z = self.place * np.float32(_TEXELS)
        on_ground = self.ground_depth[:, None] < self.wall_depth
        u, v = np.where(on_ground, x, z).astype(np.int32), np.where(on_ground, z, y).astype(np.int32)
        tile = np.minimum(self._level(self.wall_depth), self._level(self.ground_depth)[:, None])
        tile += TILE_OF.take(self.material)
        leaf = np.nonzero(self.material == Material.LEAF)
        screen = (np.arange(self.size) * np.float32(420 / self.size)).astype(np.int32)
        u[leaf], v[leaf], tile[leaf] = screen[leaf[1]], screen[leaf[0]], tile_number(Texture.LEAF, 1)
        detail = sample(tile, u, v)
        detail -= 128
        detail *= CONTRAST_OF.take(self.material)
        detail += 1
        return detail

    def _level(self, depth: Floats) -> npt.NDArray[np.int32]:
        """Return which level of a texture has texels as large as pixels at that depth, as its offset in the bank."""
        footprint = np.log2(depth * np.float32(_TEXELS / (self.street.view.focal * self.size)))
        return np.clip(footprint, 0, LEVELS - 1).astype(np.int32) * tile_number(0, 1)

    @cached_property
    def painted(self) -> Floats:
        """The colour of each surface, texture included, 0 ... 255, and its share of sunlight, 4 x H x W."""
        painted = self.paints.colours().transpose(2, 0, 1).astype(np.float32, order="C")
        painted[:3] *= self.relief
        painted[3] *= np.float32(1 / 255)
        return painted

    @cached_property
    def clouds(self) -> Floats:
        """The density of the clouds, H x W in [0, 1]; rows below the horizon have no meaning."""
        height = np.maximum(-self.down, 0) + np.float32(0.12)
        scale = np.float32(46) / height[:, None]
        u = (self.right * scale + 97 * self.street.phase[0]).astype(np.int32)
        v = (scale * 2.2 + 61 * self.street.phase[1]).astype(np.int32) + 0 * u
        amount = np.float32(2 * self.street.weather.clouds - 0.75)
        density = sample(tile_number(Texture.CLOUD, 0), u, v) * np.float32(0.8 / 64)
        return np.clip(density + np.float32(0.8) * (amount - 2), 0, 1)

    @cached_property
    def mirror(self) -> tuple[int, npt.NDArray[np.int32]]:
        """The first row below the horizon, and for each pixel from there on the pixel that a wet road shows there."""
        first = int(np.searchsorted(self.down, 0.002))
        base = self.street.view.focal * self.street.view.eye / self.wall_depth
        rows = (2 * base - self.down[first:, None] + np.float32(self.street.view.horizon)) * self.size
        x, z = ((self.place[axis, first:] * step).astype(np.int32) for axis, step in ((0, 40), (2, 12)))
        ripple = sample(tile_number(Texture.GRAIN, 2), x, z) - 128
        columns = np.arange(self.size) + ripple * np.float32(self.size / 90 / 64)
        limit = self.size - 1
        row, column = np.clip(rows, 0, limit).astype(np.int32), np.clip(columns, 0, limit).astype(np.int32)
        return first, row * self.size + column

    def reflect(self, picture: Floats, strength: float) -> None:
        """Add to the road of a picture, 3 x H x W, what it mirrors, blurred up and down as a wet road does."""
        first, source = self.mirror
        blurred = np.stack([cv2.blur(plane, (1, max(1, self.size // 10))) for plane in picture])
        wet = PAVED.take(self.material[first:]) * np.clip(strength * (1.15 - 1.6 * self.down[first:, None]), 0, 1)
        picture[:, first:] += (blurred.reshape(3, -1).take(source, axis=1) - _HALF * picture[:, first:]) * wet.astype(
            np.float32
        )

    def sunlit(self) -> Floats:
        """The share of each pixel that the sun reaches, 0 ... 1, H x W: the houses' and the things' shadows."""
        x, y, z = self.place
        toward, up, ahead = self.street.sun
        side = int(toward > 0)
        toward = np.copysign(max(abs(toward), 0.06), toward)
        travel = (np.float32(self.street.layout.wall[side]) - x) * np.float32(1 / toward)
        hit = ((z + travel * np.float32(ahead)) * np.float32(1 / ROOFLINE_STEP)).astype(np.int32)
        roof = self.street.roofline[side].take(hit, mode="clip")
        lit = np.clip((y + travel * np.float32(up) - roof) * np.float32(2) + _HALF, 0, 1)
        cast = self._cast_shadows()
        lit *= 1 - cast * GROUND.take(self.material)
        return np.where(FIXED.take(self.material), lit, 1)

    def _cast_shadows(self) -> Floats:
        mask = np.zeros((self.size, self.size), np.uint8)
        for outlines in self.street.shadows:
            corners = self.street.view.project(outlines.reshape(-1, 3)).T * np.float32(16 * self.size)
            for outline in corners.astype(np.int32).reshape(*outlines.shape[:2], 2):
                cv2.fillConvexPoly(mask, outline, 255, cv2.LINE_8, 4)
        return np.asarray(cv2.blur(mask, (3, 3)) * np.float32(1 / 255), np.float32)


def day(frame: StreetFrame) -> Bytes:
    """Return the photo by day, 3 x H x W."""
    weather, cover = frame.street.weather, frame.paints.cover()
    cloudy = 0.22 * (1 - weather.sunlight)
    ambient: Colour = (0.50 + cloudy, 0.54 + cloudy, 0.60 + cloudy)
    light = _blend((ambient, weather.sun), np.ones_like(cover), frame.painted[3] * frame.sunlit())
    clear = np.exp(frame.place[2] * np.float32(-1 / weather.haze))
    light *= frame.painted[:3]
    light *= clear
    grey: Colour = (250, 250, 250) if weather.clouds < 0.9 else (196, 200, 206)
    high = np.clip(-frame.down / np.float32(frame.street.view.horizon), 0, 1)[:, None] ** np.float32(0.7)
    sky = 1 - cover
    clouds = sky * frame.clouds * np.float32(0.85)
    blue = sky - clouds
    zenith = blue * high
    light += _blend((weather.horizon, weather.zenith, grey), cover * (1 - clear) + blue - zenith, zenith, clouds)
    if weather.wet > 0:
        frame.reflect(light, 0.5 * weather.wet)
    return _develop(frame, light, noise=3.0)


def _blend(colours: tuple[Colour, ...], *shares: Floats) -> Floats:
    """Return the sum of colours, each by its share of a pixel, H x W, as 3 x H x W."""
    mixed = np.array(colours, np.float32).T @ np.stack(shares).reshape(len(shares), -1)
    return np.asarray(mixed.reshape(3, *shares[0].shape))


def night(frame: StreetFrame) -> Bytes:
    """Return the photo by night, 3 x H x W: lamps, windows and cars shine; what they do not reach is dark."""
    shining = frame.paints.others()
    picture = _lamplight(frame)
    picture *= frame.painted[:3]
    picture += shining.transpose(2, 0, 1)
    sky = 1 - frame.paints.cover()
    low = np.clip(1 + frame.down / np.float32(frame.street.view.horizon), 0, 1)[:, None] ** 3
    picture += _blend(((12, 17, 40), (92, 55, 22), (26, 24, 30)), sky, sky * low, sky * frame.clouds)
    picture += _glow(frame, shining)
    frame.reflect(picture, 0.35 + 0.4 * frame.street.weather.wet)
    return _develop(frame, picture, noise=1.2)


def _lamplight(frame: StreetFrame) -> Floats:
    """Return the light that falls on each surface, 1 is daylight, 3 x H x W; worked out at half the size."""
    points = frame.place[:, ::2, ::2]
    shape, points = points.shape[1:], points.reshape(3, -1)
    lights = frame.street.lights
    places, colours, reach = lights[:, :3], lights[:, 3:6], lights[:, 6:7] ** -2
    # The squared distance to each light, over its reach.
    share = (-2 * reach * places) @ points
    share += reach * (places**2).sum(axis=1, keepdims=True) + 1
    share += reach * (points * points).sum(axis=0)
    np.reciprocal(share, out=share)
    share *= share
    light = (1.9 * colours.T) @ share + np.float32([[0.055], [0.065], [0.11]])
    return np.stack([cv2.resize(plane, (frame.size, frame.size)) for plane in light.reshape(3, *shape)])


def _glow(frame: StreetFrame, shining: Bytes) -> Floats:
    """Return the glow in the air about lamps and lit things, 3 x H x W, worked out at a quarter of the size."""
    side = max(8, frame.size // 4)
    small = cv2.resize(shining, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    lit = 0.22 * cv2.GaussianBlur(small, (0, 0), side / 24) + 0.12 * cv2.GaussianBlur(small, (0, 0), side / 9)
    lamps = frame.street.lights[frame.street.lights[:, 7] > 0]
    x, y = frame.street.view.project(lamps[:, :3])
    grid = (np.arange(side, dtype=np.float32) + _HALF) / side
    reach = 1 / (np.float32(0.36 * frame.street.view.focal) / lamps[:, 2:3] + np.float32(0.006))
    across, down = ((grid - x[:, None]) * reach) ** 2, ((grid - y[:, None]) * reach) ** 2 + 1
    halo = (down[:, :, None] + across[:, None]) ** -2
    glow = (120 * lamps[:, 7] * lamps[:, 3:6].T) @ halo.reshape(len(lamps), -1)
    glow = glow.reshape(3, side, side) + lit.transpose(2, 0, 1)
    return np.stack([cv2.resize(plane, (frame.size, frame.size)) for plane in glow])


def _develop(frame: StreetFrame, picture: Floats, noise: float) -> Bytes:
    """Return what a camera makes of a picture in 0 ... 255, with a little noise."""
    picture += photo_noise(frame.size, noise, frame.street.phase)
    np.clip(picture, 0, 255, out=picture)
    return picture.astype(np.uint8)


def labels(frame: StreetFrame) -> Bytes:
    """Return the class of each pixel, 1 x H x W."""
    return CLASS_OF.take(frame.material)[None]


def edges(frame: StreetFrame) -> Bytes:
    """Return the outlines, dark on white, 1 x H x W."""
    lines = np.minimum(frame.paints.outlines() * np.float32(1.5), 1)
    return (255 - 225 * lines).astype(np.uint8)[None]
