"""The pictures of a street: by day, by night, its labels and its outlines, all from one rasterisation."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from i2i.sources.scenes.canvas import FULL, Colour, Paints
from i2i.sources.scenes.materials import CLASS_OF, CONTRAST_OF, FIXED, GROUND, PAVED, TILE_OF, Material
from i2i.sources.scenes.street import ROOFLINE_STEP, Street
from i2i.sources.scenes.textures import LEVELS, SIDE, Bytes, Floats, Texture, photo_noise, sample, tile

_TEXELS = 64  # a metre
_FAR = 400.0
_LEVELS = np.array([tile(0, level) for level in range(LEVELS)], np.int32)
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
    def material(self) -> npt.NDArray[np.intp]:
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
        x, y, z = self.place
        on_ground = self.ground_depth[:, None] < self.wall_depth
        # What is nearer has larger tiles, which begin earlier.
        first_w, side_w = self._tiles(self.wall_depth)
        first_g, side_g = self._tiles(self.ground_depth)
        side = np.maximum(side_w, side_g[:, None])
        first = np.minimum(first_w, first_g[:, None])
        first += TILE_OF.take(self.material)
        scale = side * np.float32(_TEXELS / SIDE)
        u, v = ((np.where(on_ground, *pair) * scale).astype(np.int32) for pair in ((x, z), (z, y)))
        leaf = self.material == Material.LEAF
        screen = (np.arange(self.size) * np.float32(210 / self.size)).astype(np.int32)
        leaves = tile(Texture.LEAF, 1)
        for values, value in ((u, screen), (v, screen[:, None]), (first, leaves[0]), (side, leaves[1])):
            np.copyto(values, value, where=leaf)
        detail = sample(first, side, u, v)
        detail -= 128
        detail *= CONTRAST_OF.take(self.material)
        detail += 1
        return detail

    def _tiles(self, depth: Floats) -> npt.NDArray[np.int32]:
        """Return where the tiles begin whose texels are as large as pixels at that depth, and their sides, 2 x N."""
        footprint = np.log2(depth * np.float32(_TEXELS / (self.street.view.focal * self.size)))
        return np.asarray(_LEVELS[np.clip(footprint, 0, LEVELS - 1).astype(np.intp)].T)

    @cached_property
    def painted(self) -> Floats:
        """The colour of each surface, texture included, 0 ... 255, 3 x H x W."""
        return self.paints.averaged[:3] * self.relief

    @cached_property
    def sky(self) -> tuple[Floats, Floats]:
        """How much of each pixel above the horizon is sky, and how much of it is cloud, h x W in [0, 1]."""
        rows = int(np.searchsorted(self.down, 0))
        share = 1 - self.paints.averaged[7, :rows] * np.float32(1 / FULL)
        scale = np.float32(46) / (np.float32(0.12) - self.down[:rows, None])
        u = (self.right * scale + 97 * self.street.phase[0]).astype(np.int32)
        v = (scale * 2.2 + 61 * self.street.phase[1]).astype(np.int32) + 0 * u
        density = sample(*tile(Texture.CLOUD, 0), u, v) * np.float32(0.8 / 64)
        density += np.float32(1.6 * self.street.weather.clouds - 2.2)
        return share, share * np.clip(density, 0, 1)

    @cached_property
    def mirror(self) -> tuple[int, npt.NDArray[np.int32]]:
        """The first row below the horizon, and for each pixel from there on the pixel that a wet road shows there."""
        first = int(np.searchsorted(self.down, 0.002))
        base = self.street.view.focal * self.street.view.eye / self.wall_depth
        rows = (2 * base - self.down[first:, None] + np.float32(self.street.view.horizon)) * self.size
        x, z = ((self.place[axis, first:] * step).astype(np.int32) for axis, step in ((0, 160), (2, 60)))
        ripple = sample(*tile(Texture.CLOUD, 0), x, z) - 128
        columns = np.arange(self.size) + ripple * np.float32(self.size / 170 / 64)
        limit = self.size - 1
        row, column = np.clip(rows, 0, limit).astype(np.int32), np.clip(columns, 0, limit).astype(np.int32)
        return first, row * self.size + column

    def reflect(self, picture: Floats, strength: float) -> None:
        """Add to the road of a picture, 3 x H x W, what it mirrors, blurred up and down as a wet road does."""
        first, source = self.mirror
        blurred = np.empty_like(picture)
        for plane, out in zip(picture, blurred, strict=True):
            cv2.blur(plane, (1 + self.size // 64, 1 + self.size // 9), dst=out)
        wet = PAVED.take(self.material[first:]) * np.clip(strength * (1.15 - 1.6 * self.down[first:, None]), 0, 1)
        mirrored = blurred.reshape(3, -1).take(source, axis=1)
        mirrored -= _HALF * picture[:, first:]
        mirrored *= wet
        picture[:, first:] += mirrored

    def sunlit(self) -> Floats:
        """The share of each pixel that the sun reaches, 0 ... 1, H x W: the houses' and the things' shadows."""
        roofs = cv2.resize(self._roof_shadows(), (self.size, self.size))
        ground = self._cast_shadows() * GROUND.take(self.material)
        return np.asarray(1 - np.maximum(roofs, ground) * FIXED.take(self.material))

    def _roof_shadows(self) -> Floats:
        """Where the shadow of the row of houses towards the sun falls, worked out at half the size."""
        x, y, z = self.place[:, ::2, ::2]
        toward, up, ahead = self.street.sun
        side = int(toward > 0)
        toward = np.copysign(max(abs(toward), 0.06), toward)
        travel = (np.float32(self.street.layout.wall[side]) - x) * np.float32(1 / toward)
        hit = ((z + travel * np.float32(ahead)) * np.float32(1 / ROOFLINE_STEP)).astype(np.int32)
        above = y + travel * np.float32(up) - self.street.roofline[side].take(hit, mode="clip")
        return np.asarray(np.clip(_HALF - 2 * above, 0, 1))

    def _cast_shadows(self) -> Floats:
        mask = np.zeros((self.size, self.size), np.uint8)
        for outlines in self.street.shadows:
            corners = self.street.view.project(outlines.reshape(-1, 3)).T * np.float32(16 * self.size)
            for outline in corners.astype(np.int32).reshape(*outlines.shape[:2], 2):
                cv2.fillConvexPoly(mask, outline, 255, cv2.LINE_8, 4)
        return np.asarray(cv2.blur(mask, (3, 3)) * np.float32(1 / 255), np.float32)


def day(frame: StreetFrame) -> Bytes:
    """Return the photo by day, 3 x H x W."""
    weather = frame.street.weather
    picture = _colours(weather.sun)[..., None] / np.float32(FULL) * (frame.paints.averaged[3] * frame.sunlit())
    cloudy = 0.30 * (1 - weather.sunlight)
    picture += _colours((0.64 + cloudy, 0.67 + cloudy, 0.72 + cloudy))[..., None]
    picture *= frame.painted
    clear = np.exp(frame.place[2] * np.float32(-1 / weather.haze))
    picture *= clear
    sky, clouds = frame.sky
    rows = len(sky)
    picture[:, rows:] += _colours(weather.horizon)[..., None] * (1 - clear[rows:])
    clouds = clouds * np.float32(0.85)
    blue = sky - clouds
    zenith = blue * np.minimum(-frame.down[:rows, None] / np.float32(frame.street.view.horizon), 1) ** np.float32(0.7)
    haze = (1 - sky) * (1 - clear[:rows]) + blue - zenith
    grey: Colour = (250, 250, 250) if weather.clouds < 0.9 else (196, 200, 206)
    picture[:, :rows] += _blend((weather.horizon, weather.zenith, grey), haze, zenith, clouds)
    if weather.wet > 0:
        frame.reflect(picture, 0.5 * weather.wet)
    return _develop(frame, picture, noise=3.0)


def _colours(colour: Colour) -> Floats:
    """Return a colour as 3 x 1."""
    return np.array(colour, np.float32)[:, None]


def _blend(colours: tuple[Colour, ...], *shares: Floats) -> Floats:
    """Return the sum of colours, each by its share of a pixel, H x W, as 3 x H x W."""
    mixed = np.array(colours, np.float32).T @ np.stack(shares).reshape(len(shares), -1)
    return np.asarray(mixed.reshape(3, *shares[0].shape))


def night(frame: StreetFrame) -> Bytes:
    """Return the photo by night, 3 x H x W: lamps, windows and cars shine; what they do not reach is dark."""
    picture = _lamplight(frame)
    picture *= frame.painted
    picture += frame.paints.averaged[4:7]
    sky, clouds = frame.sky
    low = (1 + frame.down[: len(sky), None] / np.float32(frame.street.view.horizon)) ** 3
    picture[:, : len(sky)] += _blend(((12, 17, 40), (92, 55, 22), (26, 24, 30)), sky, sky * low, clouds)
    picture += _glow(frame)
    frame.reflect(picture, 0.25 + 0.45 * frame.street.weather.wet)
    return _develop(frame, picture, noise=1.2)


def _lamplight(frame: StreetFrame) -> Floats:
    """Return the light that falls on each surface, 1 is daylight, 3 x H x W; worked out at a quarter of the size."""
    side = max(8, frame.size // 4)
    points = StreetFrame(frame.street, side).place.reshape(3, -1)
    lights = frame.street.lights
    places, colours, reach = lights[:, :3], lights[:, 3:6], lights[:, 6:7] ** -2
    # The squared distance to each light, over its reach.
    share = (-2 * reach * places) @ points
    share += reach * ((places**2).sum(axis=1, keepdims=True) + (points**2).sum(axis=0))
    light = (1.6 * colours.T) @ _squared(1 / (1 + share)) + _colours((0.055, 0.065, 0.11))
    return _enlarged(light.reshape(3, side, side), frame.size)


def _glow(frame: StreetFrame) -> Floats:
    """Return the glow in the air about lamps and lit things, 3 x H x W, worked out at a quarter of the size."""
    side = max(8, frame.size // 4)
    lit = np.empty((3, side, side), np.float32)
    for plane, out in zip(frame.paints.averaged[4:7], lit, strict=True):
        small = cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA)
        cv2.GaussianBlur(small, (0, 0), side / 20, dst=out)
    lamps = frame.street.lights[frame.street.lights[:, 7] > 0]
    x, y = frame.street.view.project(lamps[:, :3])
    grid = (np.arange(side, dtype=np.float32) + _HALF) / side
    reach = 1 / (np.float32(0.36 * frame.street.view.focal) / lamps[:, 2:3] + np.float32(0.006))
    across, down = ((grid - x[:, None]) * reach) ** 2, ((grid - y[:, None]) * reach) ** 2 + 1
    halo = _squared(1 / (down[:, :, None] + across[:, None]))
    glow = (120 * lamps[:, 7] * lamps[:, 3:6].T) @ halo.reshape(len(lamps), -1)
    return _enlarged(glow.reshape(3, side, side) + np.float32(0.3) * lit, frame.size)


def _squared(values: Floats) -> Floats:
    return values * values


def _enlarged(planes: Floats, size: int) -> Floats:
    large = np.empty((len(planes), size, size), np.float32)
    for plane, out in zip(planes, large, strict=True):
        cv2.resize(plane, (size, size), dst=out)
    return large


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
    return np.asarray(255 - 225 * lines, np.uint8)[None]
