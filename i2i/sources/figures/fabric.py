"""Noise and cloth: the tiles that every figure samples, made once a process, the same in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import hypot, log2

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Colour = tuple[float, float, float]
"""RGB in 0 ... 255."""

Frame = tuple[float, float, float, float]
"""Where cloth lies: x, y of its origin, and x, y of its upward axis, a stature long; in picture units."""
Box = tuple[slice, slice]

SIDE = 256  # texels of a tile's side
LEVELS = 6  # each half as large as the one before, so that far cloth does not sparkle
_REPEATS = 4  # of a tile, side by side
_SHARES = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
SPARE = 64  # how far a window into noise may be moved, in pixels


@dataclass(frozen=True)
class Cloth:
    """A weave between two colours; `repeat` is the breadth of a tile in statures."""

    weave: str
    ground: Colour
    figure: Colour
    repeat: float = 0.25

    @property
    def mean(self) -> Colour:
        """The colour from afar."""
        return mixed(self.ground, self.figure, float(_weaves()[self.weave][-1].mean()) / 255)

    @cached_property
    def table(self) -> npt.NDArray[np.uint32]:
        """Every mixture of the two colours, as the four bytes RGB and 255."""
        table = np.full((256, 4), 255, np.uint8)
        share = _SHARES * (floats(self.figure) - floats(self.ground))
        table[:, :3] = np.clip(share + floats(self.ground), 0, 255)
        return table.view(np.uint32)[:, 0]

    def woven(self, box: Box, side: int, frame: Frame) -> Bytes:
        """Return the cloth over a part of a picture of `side` pixels, RGB and 255, H x W x 4."""
        x, y, up_x, up_y = frame
        stature = hypot(up_x, up_y) * side
        texels = SIDE / (self.repeat * stature)  # a pixel
        level = min(max(int(log2(max(texels, 1e-6))), 0), LEVELS - 1)
        texels /= 1 << level
        cosine, sine = -up_y * side / stature * texels, up_x * side / stature * texels
        left, top = box[1].start - x * side, box[0].start - y * side
        # Only a border of one value is fast: the tile is repeated, and the part's middle put into its middle.
        wide, high = box[1].stop - box[1].start, box[0].stop - box[0].start
        middle = (cosine * wide + sine * high) / 2, (cosine * high - sine * wide) / 2
        period = SIDE >> level
        corner = [
            (place + half) % period + period * (_REPEATS // 2) - half
            for place, half in zip((cosine * left + sine * top, cosine * top - sine * left), middle, strict=True)
        ]
        turn = np.array([[cosine, sine, corner[0]], [-sine, cosine, corner[1]]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        weights = cv2.warpAffine(_weaves()[self.weave][level], turn, (wide, high), flags=flags, borderValue=80)
        return np.asarray(self.table.take(weights).view(np.uint8).reshape(high, wide, 4))


def floats(values: Sequence[float] | Sequence[Sequence[float]]) -> Floats:
    """Return an array of numbers."""
    return np.array(values, np.float32)


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """Return a colour between two: the second's share is `share`."""
    a, b, c = (one + (two - one) * share for one, two in zip(first, second, strict=True))
    return a, b, c


def luma(colour: Colour) -> float:
    """Return how bright a colour is, 0 ... 1."""
    return (0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]) / 255


def noise(rng: np.random.Generator, side: int, along: float, across: float) -> Floats:
    """Return periodic Gaussian noise of these correlation lengths in texels (rows, columns), standard deviation 1."""
    row, column = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    gain = np.exp(-2 * np.pi**2 * ((along * row) ** 2 + (across * column) ** 2))
    gain[0, 0] = 0
    made = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side))) * gain, s=(side, side))
    return np.asarray(made / made.std(), np.float32)


@lru_cache(maxsize=1)
def _weaves() -> dict[str, list[Bytes]]:
    """Return every weave at every level: the share of the second colour, 0 ... 255."""
    rng = np.random.Generator(np.random.PCG64(20170722))
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    grain = 0.6 * noise(rng, SIDE, 1, 1) + 0.5 * noise(rng, SIDE, 6, 6) + 0.4 * noise(rng, SIDE, 30, 30)
    band = (np.sin(rows * (8 * np.pi / SIDE)) > 0.1) * 200.0
    cross = (np.sin(columns * (8 * np.pi / SIDE)) > 0.1) * 1.0
    fine = (np.sin(rows * (24 * np.pi / SIDE)) > 0.85) + (np.sin(columns * (24 * np.pi / SIDE)) > 0.85)
    cell = np.hypot((columns + 16 * (rows // 32 % 2)) % 32 - 16, rows % 32 - 16)
    ribs = np.abs(np.sin(columns * (32 * np.pi / SIDE))) * 90 + np.abs(np.sin(rows * (64 * np.pi / SIDE))) * 40
    petals = np.clip(noise(rng, SIDE, 5, 5) * 4 - 3.2, 0, 1) * 220
    twill = noise(rng, SIDE, 5, 0.8) * 26 + noise(rng, SIDE, 20, 20) * 26 + 70
    made = {
        "plain": 70 + 16 * grain,
        "denim": twill,
        "knit": ribs + 20 + 10 * grain,
        "stripes": band + 8 * grain,
        "pinstripes": (np.sin(columns * (16 * np.pi / SIDE)) > 0.9) * 180 + 20 + 10 * grain,
        "check": 0.5 * band + 100 * cross + 30 * fine + 8 * grain,
        "dots": (cell < 6.5) * 210 + 10 + 10 * grain,
        "flowers": petals + 15 + 10 * grain,
    }
    return {name: [_level(np.clip(weave, 0, 255), level) for level in range(LEVELS)] for name, weave in made.items()}


def _level(weave: Floats, level: int) -> Bytes:
    small = cv2.resize(weave.astype(np.uint8), (SIDE >> level, SIDE >> level), interpolation=cv2.INTER_AREA)
    return np.tile(small, (_REPEATS, _REPEATS))


@lru_cache(maxsize=1)
def _bank() -> dict[str, Floats]:
    """Return the tiles that `window` stretches, SIDE texels, standard deviation about 1."""
    rng = np.random.Generator(np.random.PCG64(20181105))
    return {
        "folds": 0.8 * noise(rng, SIDE, 14, 8) + 0.5 * noise(rng, SIDE, 6, 5),
        "drapes": noise(rng, SIDE, 40, 26) + 0.4 * noise(rng, SIDE, 16, 12),
        "strands": noise(rng, SIDE, 22, 1.6) + 0.5 * noise(rng, SIDE, 8, 4),
        "waves": noise(rng, SIDE, 1.6, 22) + 0.5 * noise(rng, SIDE, 4, 12),
        "curls": noise(rng, SIDE, 2.2, 2.2),
        "clouds": 0.8 * noise(rng, SIDE, 24, 24) + 0.45 * noise(rng, SIDE, 9, 9) + 0.25 * noise(rng, SIDE, 3, 3),
        "leaves": np.tanh(1.5 * noise(rng, SIDE, 5, 5)) + 0.6 * np.tanh(2 * noise(rng, SIDE, 1.6, 1.6)),
        "wobble": noise(rng, SIDE, 12, 12),
        "hatching": _slanted(noise(rng, SIDE, 30, 1.0)),
    }


def _slanted(tile: Floats) -> Floats:
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    return np.asarray(tile[rows, (columns + rows) % SIDE])


@lru_cache(maxsize=32)
def _stretched(name: str, side: int) -> Floats:
    return np.tile(np.asarray(cv2.resize(_bank()[name], (side, side), interpolation=cv2.INTER_AREA)), (2, 2))


def window(name: str, side: int, phase: tuple[int, int]) -> Floats:
    """Return a view of noise that is as large as the picture, side x side; phase in 0 ... 255 moves it."""
    row, column = phase[0] * side // 256, phase[1] * side // 256
    return _stretched(name, side)[row : row + side, column : column + side]


@lru_cache(maxsize=8)
def _grain(size: int) -> Floats:
    rng = np.random.Generator(np.random.PCG64(20171030))
    made = rng.standard_normal((size + SPARE, size + SPARE, 3), dtype=np.float32)
    return np.asarray(0.8 * made + 0.6 * made.mean(axis=2, keepdims=True), np.float32)


def grain(size: int, phase: tuple[int, int]) -> Floats:
    """Return a window of a camera's noise, size x size x 3, standard deviation about 1."""
    row, column = phase[0] % SPARE, phase[1] % SPARE
    return _grain(size)[row : row + size, column : column + size]
