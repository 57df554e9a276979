"""Rectangles in the world's metres (x right, y up, z away), and the few draws that every part of a scene makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TypeVar

import numpy as np

from i2i.sources.scenes.canvas import Colour, Paint
from i2i.sources.scenes.textures import Floats

Span = float | Floats
_T = TypeVar("_T")


def along(x: Span, y0: Span, y1: Span, z0: Span, z1: Span) -> Floats:
    """Return upright rectangles parallel to the street, n x 4 x 3; each argument a number or n of them."""
    quads = np.empty((_count(x, y0, y1, z0, z1), 4, 3), np.float32)
    by_corner = quads.T
    by_corner[0] = x
    by_corner[1, :2], by_corner[1, 2:] = y0, y1
    by_corner[2, ::3], by_corner[2, 1:3] = z0, z1
    return quads


def across(x0: Span, x1: Span, y0: Span, y1: Span, z: Span) -> Floats:
    """Return upright rectangles that face the camera, n x 4 x 3."""
    quads = np.empty((_count(x0, x1, y0, y1, z), 4, 3), np.float32)
    by_corner = quads.T
    by_corner[0, ::3], by_corner[0, 1:3] = x0, x1
    by_corner[1, :2], by_corner[1, 2:] = y0, y1
    by_corner[2] = z
    return quads


def flat(x0: Span, x1: Span, z0: Span, z1: Span, y: Span = 0) -> Floats:
    """Return level rectangles, n x 4 x 3."""
    quads = np.empty((_count(x0, x1, y, z0, z1), 4, 3), np.float32)
    by_corner = quads.T
    by_corner[0, ::3], by_corner[0, 1:3] = x0, x1
    by_corner[1] = y
    by_corner[2, :2], by_corner[2, 2:] = z0, z1
    return quads


def swept(x0: Floats, x1: Floats, y0: Floats, y1: Floats, dx: Floats, dy: Floats) -> Floats:
    """Return what rectangles cover that move by (dx, dy), n x 6 x 2; all n move towards the same quarter."""
    if len(x0) and dx[0] < 0:
        x0, x1 = x1, x0
    if len(x0) and dy[0] < 0:
        y0, y1 = y1, y0
    outline = [(x0, y0), (x1, y0), (x1 + dx, y0 + dy), (x1 + dx, y1 + dy), (x0 + dx, y1 + dy), (x0, y1)]
    return np.array(outline, np.float32).transpose(2, 0, 1)


def _count(*spans: Span) -> int:
    lengths = [len(span) for span in spans if isinstance(span, np.ndarray)]
    return lengths[0] if lengths else 1


class Draws:
    """A scene's random numbers, 0 ... 1.

    The first `count` are drawn all at once: one by one, as those after them, each costs ten times as much.
    """

    def __init__(self, rng: np.random.Generator, count: int):
        self.random: Callable[[], float] = chain(rng.random(count).tolist(), iter(rng.random, None)).__next__


def between(rng: Draws, low: float, high: float) -> float:
    """Draw uniformly."""
    return low + (high - low) * rng.random()


def pick(rng: Draws, options: Sequence[_T]) -> _T:
    """Draw one of the options."""
    return options[int(rng.random() * len(options))]


def tinted(rng: np.random.Generator, colours: Floats, amount: float = 12) -> Floats:
    """Return n x 3 colours, each channel moved by up to `amount`, and all three by up to twice as much together."""
    moves = (2 * rng.random((len(colours), 4), np.float32) - 1) * np.float32(amount)
    return np.asarray(colours + moves[:, :3] + 2 * moves[:, 3:])


def chosen(rng: np.random.Generator, colours: Floats, count: int) -> Floats:
    """Draw n of the colours, n x 3."""
    return colours[(rng.random(count) * len(colours)).astype(np.intp)]


def dimmed(colour: Paint, factor: float) -> Paint:
    """Return a colour, or n of them, times a factor."""
    if isinstance(colour, np.ndarray):
        return colour * np.float32(factor)
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def palette(*colours: Colour) -> Floats:
    """Return colours as rows to draw from."""
    return np.array(colours, np.float32)
