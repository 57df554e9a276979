"""The pictures of a town from above: an aerial photo and its map."""

from __future__ import annotations

import cv2
import numpy as np

from i2i.sources.scenes.canvas import FULL, OVERSAMPLING, halved
from i2i.sources.scenes.spans import covered
from i2i.sources.scenes.textures import LEVELS, Bytes, Floats, Texture, by_byte, developed, look_up, tile, within
from i2i.sources.scenes.town import MAP_GROUND, Surface, Town

_TEXELS = 5  # a metre
_TEXTURES = {
    Surface.GRASS: (Texture.GRASS, 0.12),
    Surface.ASPHALT: (Texture.GRAIN, 0.10),
    Surface.PAVING: (Texture.GRAIN, 0.12),
    Surface.WATER: (Texture.CLOUD, 0.06),
    Surface.TILES: (Texture.TILES, 0.10),
    Surface.ROOF: (Texture.GRAIN, 0.09),
    Surface.CROWN: (Texture.LEAF, 0.26),
    Surface.CAR: (Texture.SMOOTH, 0.0),
}
_TILE_OF = by_byte([tile(_TEXTURES[surface][0], 0)[0] for surface in Surface], np.int32)
_CONTRAST_OF = by_byte([_TEXTURES[surface][1] / 64 for surface in Surface], np.float32)
_SHADED = by_byte([204 * (surface not in (Surface.TILES, Surface.ROOF)) for surface in Surface], np.uint8)
_AMBIENT = np.array((0.54, 0.57, 0.63), np.float32)[:, None, None]
_SUN = np.array((0.66 / FULL, 0.63 / FULL, 0.56 / FULL), np.float32)[:, None, None]


def aerial(town: Town, size: int) -> Bytes:
    """Return the photo from above, 3 x H x W."""
    paints = town.photo.raster(town.project(town.photo.points()), size)
    painted, surface = paints.averaged[:4], paints.material()
    dark = cv2.multiply(_shadow(town, size), cv2.LUT(surface, _SHADED), scale=1 / 255)
    sunlit = cv2.multiply(cv2.bitwise_not(dark), painted[3], scale=1 / 255)
    picture = _SUN * sunlit
    picture += _AMBIENT
    picture *= _relief(town, surface)
    picture *= painted[:3]
    return developed(picture, 2.5, town.phase)


def plan(town: Town, size: int) -> Bytes:
    """Return the map, 3 x H x W."""
    side = size * OVERSAMPLING
    picture = np.empty((side, side, 3), np.uint8)
    cv2.rectangle(picture, (0, 0), (side, side), MAP_GROUND, cv2.FILLED)  # a tenth of the cost of `picture[:] =`
    points = town.project(np.concatenate([corners.reshape(-1, 2) for corners, _ in town.plan]).T)
    pixels = (points.T * np.float32(16 * side) - 8).astype(np.int32, order="C")
    end = 0
    for corners, colour in town.plan:
        first, end = end, end + len(corners) * corners.shape[1]
        polygons = pixels[first:end].reshape(corners.shape)
        cv2.fillPoly(picture, list(polygons), colour, cv2.LINE_8, 4)
    return np.stack(cv2.split(halved(picture)))


def _relief(town: Town, surface: Bytes) -> Floats:
    size = surface.shape[0]
    texels = _TEXELS * town.extent / size
    level = int(np.clip(np.log2(texels), 0, LEVELS - 1))
    first, side = tile(0, level)
    step = np.arange(size, dtype=np.float32) * np.float32(texels / 2**level)
    cosine, sine = np.float32(np.cos(town.turn)), np.float32(np.sin(town.turn))
    u, v = step * cosine + (step * sine)[:, None], (step * cosine)[:, None] - step * sine
    shift = np.float32(8 * town.phase[0])
    index = within(side, (u + shift).astype(np.int32), v.astype(np.int32))
    index += cv2.LUT(surface, _TILE_OF) + first
    detail = look_up(index)
    return np.asarray(1 + (detail - 128) * cv2.LUT(surface, _CONTRAST_OF))


def _shadow(town: Town, size: int) -> Bytes:
    corners = np.concatenate([outlines.reshape(-1, 2).T for outlines in town.shadows], axis=1)
    sides = np.concatenate([np.full(len(outlines), outlines.shape[1]) for outlines in town.shadows])
    mask = np.zeros((size, size), np.uint8)
    x, y = town.project(corners) * np.float32(size)
    pixels, _ = covered(x, y, sides, size)
    mask.reshape(-1)[pixels] = 255
    return np.asarray(cv2.blur(mask, (2, 2)))
