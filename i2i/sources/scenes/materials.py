"""What surfaces are made of, and what that means: the class of the label map, and the texture."""

from __future__ import annotations

from enum import IntEnum, auto

import numpy as np

from i2i.sources.scenes.textures import Texture, by_byte, tile

CLASSES = ("sky", "building", "window", "road", "marking", "pavement", "tree", "car", "person", "lamp")
PALETTE = (
    (128, 128, 128),
    (128, 0, 0),
    (0, 128, 192),
    (128, 64, 128),
    (224, 192, 224),
    (0, 0, 192),
    (128, 128, 0),
    (64, 0, 128),
    (64, 64, 0),
    (192, 192, 128),
)


class Material(IntEnum):
    """The surfaces of a street; 0 is where nothing is drawn."""

    SKY = 0
    PLASTER = auto()
    BRICK = auto()
    STONE = auto()
    TRIM = auto()
    ROOF = auto()
    GLASS = auto()
    DISTANT = auto()
    ROAD = auto()
    MARKING = auto()
    PAVEMENT = auto()
    LEAF = auto()
    TRUNK = auto()
    CAR = auto()
    PERSON = auto()
    LAMP = auto()


# Material: class, texture, contrast of the texture.
_PROPERTIES = {
    Material.SKY: ("sky", Texture.SMOOTH, 0.0),
    Material.PLASTER: ("building", Texture.GRAIN, 0.10),
    Material.BRICK: ("building", Texture.BRICK, 0.20),
    Material.STONE: ("building", Texture.STONE, 0.16),
    Material.TRIM: ("building", Texture.GRAIN, 0.05),
    Material.ROOF: ("building", Texture.TILES, 0.22),
    Material.GLASS: ("window", Texture.SMOOTH, 0.0),
    Material.DISTANT: ("building", Texture.SMOOTH, 0.0),
    Material.ROAD: ("road", Texture.GRAIN, 0.13),
    Material.MARKING: ("marking", Texture.GRAIN, 0.10),
    Material.PAVEMENT: ("pavement", Texture.SLABS, 0.15),
    Material.LEAF: ("tree", Texture.LEAF, 0.30),
    Material.TRUNK: ("tree", Texture.GRAIN, 0.15),
    Material.CAR: ("car", Texture.SMOOTH, 0.0),
    Material.PERSON: ("person", Texture.GRAIN, 0.06),
    Material.LAMP: ("lamp", Texture.SMOOTH, 0.0),
}

_GROUND = (Material.ROAD, Material.MARKING, Material.PAVEMENT)
# Tables for `cv2.LUT`.
CLASS_OF = by_byte([CLASSES.index(_PROPERTIES[material][0]) for material in Material], np.uint8)
TILE_OF = by_byte([tile(_PROPERTIES[material][1], 0)[0] for material in Material], np.int32)
# How bright a camera of heat sees each, in the order of `Material`; glass shows the cold sky.
WARMTH_OF = by_byte([14, 92, 104, 84, 88, 78, 46, 74, 96, 84, 88, 66, 80, 150, 236, 128], np.float32)
CONTRAST_OF = by_byte([_PROPERTIES[material][2] / 64 for material in Material], np.float32)
# Walls and ground lie where the empty street says they do; the sun's shadow is worked out for them pixel by pixel.
FIXED = by_byte(
    [
        255 * (Material.PLASTER <= material <= Material.PAVEMENT and material != Material.DISTANT)
        for material in Material
    ],
    np.uint8,
)
GROUND = by_byte([255 * (material in _GROUND) for material in Material], np.uint8)
PAVED = by_byte([material in (Material.ROAD, Material.MARKING) for material in Material], np.float32)
COLOURS_OF = [by_byte(channel, np.uint8) for channel in zip(*PALETTE, strict=True)]
