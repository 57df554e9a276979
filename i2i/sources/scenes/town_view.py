"""The pictures of a town from above: an aerial photo and its map."""

from __future__ import annotations

from math import cos, log2, sin

import cv2
import numpy as np
import numpy.typing as npt

from i2i.sources.scenes.blocks import Sheet, Surface
from i2i.sources.scenes.canvas import FRACTION_BITS, FULL, OVERSAMPLING, Colour, halved
from i2i.sources.scenes.textures import LEVELS, Bytes, Floats, Texture, by_byte, developed, look_up, tile
from i2i.sources.scenes.town import Town

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
_TILE_OF = [by_byte([tile(_TEXTURES[on][0], level)[0] for on in Surface], np.int32) for level in range(LEVELS)]
_CONTRAST_OF = by_byte([_TEXTURES[surface][1] / 64 for surface in Surface], np.float32)
_SHADED = by_byte([204 * (surface not in (Surface.TILES, Surface.ROOF)) for surface in Surface], np.uint8)
_AMBIENT = np.array((0.54, 0.57, 0.63), np.float32)[:, None, None]
_SUN = np.array((0.66 / FULL, 0.63 / FULL, 0.56 / FULL), np.float32)[:, None, None]
_STREETS: Colour = (255, 255, 255)
_SHEETS: dict[Sheet, Colour] = {
    Sheet.AVENUE: (255, 226, 130),
    Sheet.AVENUE_ACROSS: (255, 226, 130),
    Sheet.CASING: (206, 200, 192),
    Sheet.GROUND: (242, 239, 233),
    Sheet.BUILT: (232, 230, 226),
    Sheet.PARK: (200, 230, 178),
    Sheet.WATER: (163, 204, 255),
    Sheet.BRIDGE_CASING: (206, 200, 192),
    Sheet.BRIDGE: (255, 255, 255),
    Sheet.PATH: (250, 250, 244),
    Sheet.PATH_ACROSS: (250, 250, 244),
    Sheet.POND: (163, 204, 255),
    Sheet.OUTLINE: (186, 178, 168),
    Sheet.BUILDING: (216, 210, 202),
}


def aerial(town: Town, size: int) -> Bytes:
    """Return the photo from above, 3 x H x W."""
    paints = town.photo.raster(town.project(town.photo.points(), town.sun), size)
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
    cv2.rectangle(picture, (0, 0), (side, side), _STREETS, cv2.FILLED)  # a tenth of the cost of `picture[:] =`
    sheet_of = town.plan.materials().tolist()
    sheets: list[list[npt.NDArray[np.int32]]] = [[] for _ in Sheet]
    for number, corners in town.plan.outlines(town.project(town.plan.points()), side):
        sheets[sheet_of[number]].append(corners)
    for polygons, colour in zip(sheets, _SHEETS.values(), strict=True):
        if polygons:
            cv2.fillPoly(picture, polygons, colour, cv2.LINE_8, FRACTION_BITS)
    return np.asarray(cv2.transpose(halved(picture).reshape(-1, 3))).reshape(3, size, size)


def _relief(town: Town, surface: Bytes) -> Floats:
    size = surface.shape[0]
    texels = _TEXELS * town.extent / size
    level = min(max(int(log2(texels)), 0), LEVELS - 1)
    _, side = tile(0, level)
    step = np.arange(size, dtype=np.float32) * np.float32(texels / 2**level)
    across, down = step * np.float32(cos(town.turn)), step * np.float32(sin(town.turn))
    u = (across + np.float32(8 * town.phase[0]) + down[:, None]).astype(np.int32)
    u &= side - 1
    u *= side
    index = (across[:, None] - down).astype(np.int32)
    index &= side - 1
    index += u
    index += cv2.LUT(surface, _TILE_OF[level])
    detail = look_up(index)
    detail -= 128
    detail *= cv2.LUT(surface, _CONTRAST_OF)
    detail += 1
    return detail


def _shadow(town: Town, size: int) -> Bytes:
    mask = np.zeros((size, size), np.uint8)
    fill, line = cv2.fillConvexPoly, cv2.LINE_8
    for _, corners in town.shadows.outlines(town.project(town.shadows.points(), town.cast), size):
        fill(mask, corners, 255, line, FRACTION_BITS)
    return np.asarray(cv2.blur(mask, (2, 2)))
