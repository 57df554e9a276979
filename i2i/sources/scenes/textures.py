"""The bank of noise that every scene samples its surfaces from: made once a process, the same in each."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

SIDE = 512  # texels of a tile's side; a power of two, so that wrapping is a bit mask
LEVELS = 6  # each half as large as the one before: a far surface samples a small tile, or it would sparkle
_SIDES = [SIDE >> level for level in range(LEVELS)]
_FIRST = [sum(side * side for side in _SIDES[:level]) for level in range(LEVELS + 1)]

Floats = npt.NDArray[np.floating]
Bytes = npt.NDArray[np.uint8]
Texels = npt.NDArray[np.int32]


class Texture(IntEnum):
    """The tiles of the bank, by their place in it."""

    GRAIN = 0
    BRICK = 1
    STONE = 2
    SLABS = 3
    TILES = 4
    LEAF = 5
    CLOUD = 6
    GRASS = 7
    SMOOTH = 8


@lru_cache(maxsize=1)
def bank() -> Bytes:
    """Return every tile at every level, one after another in columns, 128 is neutral; `tile` says where each begins.

    In columns, since a column of a picture shows texels above each other of a wall: they share lines of the cache.
    """
    rng = np.random.Generator(np.random.PCG64(20160521))
    grain = 0.5 * _noise(rng, 1.0) + 0.5 * _noise(rng, 4.0) + 0.5 * _noise(rng, 40.0)
    tiles = {
        Texture.GRAIN: grain,
        Texture.BRICK: _courses(rng, 16, 8, 1.6) + 0.5 * grain,
        Texture.STONE: _courses(rng, 64, 32, 2.2) + 0.5 * grain,
        Texture.SLABS: _courses(rng, 32, 32, 2.0) + 0.5 * grain,
        Texture.TILES: _courses(rng, 16, 16, 1.6) + 0.5 * grain,
        Texture.LEAF: 1.2 * np.tanh(1.5 * _noise(rng, 5.0)) + 0.6 * np.tanh(2.0 * _noise(rng, 2.0)) + 0.2 * grain,
        Texture.CLOUD: 0.9 * _noise(rng, 60.0)
        + 0.5 * _noise(rng, 25.0)
        + 0.25 * _noise(rng, 10.0)
        + 0.12 * _noise(rng, 4.0),
        Texture.GRASS: 0.6 * _noise(rng, 1.5) + 0.7 * _noise(rng, 9.0) + 0.5 * _noise(rng, 40.0),
        Texture.SMOOTH: 0.0 * grain,
    }
    return np.concatenate([_levels(np.ascontiguousarray(tiles[texture].T)) for texture in Texture])


def tile(texture: int, level: int) -> tuple[int, int]:
    """Return where a tile begins in the bank, and its side in texels; of one texture, level by level, in order."""
    return texture * _FIRST[LEVELS] + _FIRST[level], _SIDES[level]


def within(side: Texels | int, u: Texels, v: Texels) -> Texels:
    """Return where texels (u, v), wrapped, are in a tile, counted from its beginning."""
    return (u & side - 1) * side + (v & side - 1)


def look_up(index: Texels) -> Floats:
    """Look up texels of the bank: float32, 128 is neutral, 64 one deviation."""
    return bank().take(index).astype(np.float32)


def by_byte(values: Sequence[float], kind: type[np.generic]) -> npt.NDArray[Any]:
    """Return values as a table for `cv2.LUT`, which gathers twice as fast as `take`: 256 of them, zeros at the end."""
    table = np.zeros(256, kind)
    table[: len(values)] = values
    return table


@lru_cache(maxsize=8)
def _photo_noise(size: int, strength: float) -> Floats:
    rng = np.random.Generator(np.random.PCG64(20171030))
    noise = rng.standard_normal((3, size * size + 64 * 64), dtype=np.float32)
    # What is half below a whole is cut, not rounded.
    return np.asarray((0.8 * noise + 0.6 * noise.mean(axis=0)) * np.float32(strength) - np.float32(0.5), np.float32)


def developed(picture: Floats, noise: float, phase: tuple[int, int]) -> Bytes:
    """Return what a camera makes of a picture in 0 ... 255, 1 or 3 x size x size, with its noise: about that deviation.

    phase: 0 ... 63 each, which noise.
    """
    size = picture.shape[1]
    first = 64 * phase[0] + phase[1]
    grain = _photo_noise(size, noise)[: len(picture), first : first + size * size]
    return np.asarray(cv2.add(picture.reshape(len(picture), -1), grain, dtype=cv2.CV_8U)).reshape(picture.shape)


def _noise(rng: np.random.Generator, sigma: float) -> Floats:
    """Return periodic Gaussian noise of correlation length sigma texels, standard deviation 1."""
    frequency = np.fft.fftfreq(SIDE)
    gain = np.exp(-2 * (np.pi * sigma) ** 2 * (frequency[:, None] ** 2 + frequency[None, : SIDE // 2 + 1] ** 2))
    gain[0, 0] = 0
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) * gain, s=(SIDE, SIDE))
    return np.asarray(noise / noise.std(), np.float32)


def _courses(rng: np.random.Generator, width: int, height: int, joint: float) -> Floats:
    """Return running bond of blocks width x height texels: each block of its own tone, with dark joints."""
    tones = rng.standard_normal((SIDE // height, SIDE // width)).astype(np.float32)
    tile = np.kron(tones, np.ones((height, width), np.float32)) * 0.6
    tile[::height] -= joint
    tile[:, ::width] -= joint
    for row in range(height, SIDE, 2 * height):
        tile[row : row + height] = np.roll(tile[row : row + height], width // 2, axis=1)
    return np.asarray(tile - tile.mean(), np.float32)


def _levels(texels: Floats) -> Bytes:
    levels = [cv2.resize(texels, (side, side), interpolation=cv2.INTER_AREA).reshape(-1) for side in _SIDES]
    return np.asarray(np.clip(128 + 64 * np.concatenate(levels), 0, 255), np.uint8)
