"""Shapes in drawing order, and the two ways to draw them: painted with light and shade, or sketched with a pencil."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from i2i.sources.figures.fabric import Box, Bytes, Cloth, Colour, Floats, Frame, floats, luma, window

Pixels = npt.NDArray[np.int32]
Outlines = Sequence[Floats] | Floats
"""Curves K x 2 each, or N x K x 2, in picture units: (0, 0) is the upper left corner, (1, 1) the lower right."""

OVERSAMPLING = 2  # pyrDown's filter then gives edges of many levels
_BITS = 4  # of a pixel's fraction
_AA = cv2.LINE_AA


class Shape(Protocol):
    """What can be painted and sketched."""

    def paint(self, canvas: Canvas, /) -> None: ...

    def sketch(self, sheet: Sheet, /) -> None: ...


class _Surface:
    """What both ways of drawing share: pixels twice as fine as the picture's."""

    def __init__(self, size: int, phase: tuple[int, int]):
        self.side = size * OVERSAMPLING
        self.phase = phase

    def pixels(self, outlines: Outlines) -> Sequence[Pixels]:
        """Return outlines as pixels in fixed point; the picture's pixel i is centred on pixel 2i, as in pyrDown."""
        scale = 1 << _BITS
        if isinstance(outlines, np.ndarray):
            return list((outlines * (self.side * scale) - (scale - 0.5)).astype(np.int32))
        return [(outline * (self.side * scale) - (scale - 0.5)).astype(np.int32) for outline in outlines]

    def box(self, outlines: Sequence[Pixels], reach: int) -> Box | None:
        """Return what outlines and `reach` pixels about them cover of the surface and of `reach` pixels about it."""
        left, top, width, height = cv2.boundingRect(outlines[0] if len(outlines) == 1 else np.concatenate(outlines))
        x0, y0 = max((left >> _BITS) - reach, -reach), max((top >> _BITS) - reach, -reach)
        x1 = min((left + width >> _BITS) + 2, self.side) + reach
        y1 = min((top + height >> _BITS) + 2, self.side) + reach
        if x1 <= 0 or y1 <= 0 or x0 >= self.side or y0 >= self.side or x1 <= x0 or y1 <= y0:
            return None
        return slice(y0, y1), slice(x0, x1)

    def inside(self, box: Box) -> tuple[Box, Box]:
        """Return which part of a box lies on the surface: in the surface's pixels, and in the box's."""
        rows, columns = (slice(max(part.start, 0), min(part.stop, self.side)) for part in box)
        own = [
            slice(kept.start - part.start, kept.stop - part.start)
            for kept, part in zip((rows, columns), box, strict=True)
        ]
        return (rows, columns), (own[0], own[1])


class Canvas(_Surface):
    """A painting: `colours` S x S x 4 with the coverage last, and `tone`, the light on each pixel, S x S."""

    def __init__(self, size: int, phase: tuple[int, int], light: tuple[float, float]):
        super().__init__(size, phase)
        self.colours: Bytes = np.zeros((self.side, self.side, 4), np.uint8)
        self.tone: Floats = np.ones((self.side, self.side), np.float32)
        x, y = light
        self.slope = np.array([[x + y, 2 * y, y - x], [2 * x, 0, -2 * x], [x - y, -2 * y, -x - y]], np.float32)

    def finished(self) -> tuple[Bytes, Bytes]:
        """Return the figure on black, H x W x 3, and its coverage, H x W."""
        tone = cv2.convertScaleAbs(self.tone, alpha=128)
        light = cv2.merge([tone, tone, tone, np.full_like(tone, 128)])
        lit = cv2.pyrDown(cv2.multiply(self.colours, light, scale=1 / 128))
        return lit[:, :, :3], lit[:, :, 3]


class Sheet(_Surface):
    """A drawing: how dark the pencil's lines are, and how dark its hatching, S x S each."""

    def __init__(self, size: int, phase: tuple[int, int]):
        super().__init__(size, phase)
        self.lines: Bytes = np.zeros((self.side, self.side), np.uint8)
        self.hatching: Bytes = np.zeros((self.side, self.side), np.uint8)

    def finished(self) -> Bytes:
        """Return the drawing, dark on white, H x W."""
        side, (row, column) = self.side, self.phase
        wander = side * 0.0022
        x, y = (window("wobble", side, phase) * wander for phase in ((row, column), (column, row)))
        grid = np.arange(side, dtype=np.float32)
        lines = cv2.remap(self.lines, grid + x, grid[:, None] + y, cv2.INTER_LINEAR)
        pressure = window("clouds", side, self.phase) * 0.14 + 0.84
        strokes = window("hatching", side, self.phase) * 0.24 + 0.8
        dark = np.maximum(lines * pressure, self.hatching * strokes)
        return np.asarray(cv2.pyrDown(np.clip(252 - dark, 0, 255).astype(np.uint8)))


@dataclass(frozen=True)
class Solid:
    """A body: outlines that are one shape together, painted in a colour, or in a cloth that lies along `frame`.

    relief: the radius of its roundness; 0 is flat and takes the light of what is beneath. bumps: which noise makes its
    folds or strands, and how deep. cast: how much it shades what is beneath. shade: its own light, 1 is full.
    line: the weight of its outline in a sketch, 1 the common one, 0 none. hatched: how much of its darkness the pencil
    shows. filled: how dark the pencil fills it, 0 ... 1. joined: outlines that it grows out of: the light shows no edge
    towards them.
    """

    outlines: Outlines
    pigment: Colour | Cloth
    relief: float = 0
    bumps: tuple[str, float] | None = None
    cast: float = 0.3
    shade: float = 1
    frame: Frame = (0, 0, 0, -1)
    line: float = 1
    hatched: float = 0.3
    filled: float = 0
    joined: Outlines = ()

    def paint(self, canvas: Canvas) -> None:
        """Paint it over what is there."""
        outlines = canvas.pixels(self.outlines)
        reach = round(self.relief * canvas.side)
        box = canvas.box(outlines, max(reach, 1))
        if box is None:
            return
        if not isinstance(self.pigment, Cloth):
            for outline in outlines:
                cv2.fillPoly(canvas.colours, [outline], (*self.pigment, 255), _AA, _BITS)
            if not reach:
                return
        mask = _mask(outlines, box)
        there, own = canvas.inside(box)
        if isinstance(self.pigment, Cloth):
            cv2.copyTo(self.pigment.woven(there, canvas.side, self.frame), mask[own], canvas.colours[there])
        whole = cv2.bitwise_or(mask, _mask(canvas.pixels(self.joined), box)) if len(self.joined) else mask
        lit = self._light(canvas, whole, there, own, max(reach, 1))
        cv2.copyTo(lit[own], mask[own], canvas.tone[there])

    def _light(self, canvas: Canvas, mask: Bytes, there: Box, own: Box, reach: int) -> Floats:
        """Return the light by the slope of the blurred shape: an airbrush's roundness, free of creases."""
        width = 2 * reach + 1
        blurred = cv2.boxFilter(mask, cv2.CV_32F, (width, width), borderType=cv2.BORDER_CONSTANT)
        blurred = cv2.boxFilter(blurred, cv2.CV_32F, (reach | 1, reach | 1), borderType=cv2.BORDER_CONSTANT)
        if self.cast:
            canvas.tone[there] *= 1 - blurred[own] * (self.cast / 255)
        if self.bumps:
            name, depth = self.bumps
            blurred[own] += window(name, canvas.side, canvas.phase)[there] * (depth / max(self.relief, 1e-3))
        kernel = canvas.slope * (-0.95 * reach / (8 * 255))
        kernel[1, 1] = 0.24 / 255
        delta = 0.80 * self.shade
        return np.asarray(cv2.filter2D(blurred, cv2.CV_32F, kernel, delta=delta, borderType=cv2.BORDER_REPLICATE))

    def sketch(self, sheet: Sheet) -> None:
        """Draw its outline over what is there, which it hides."""
        outlines = sheet.pixels(self.outlines)
        if self.filled:
            for outline in outlines:
                cv2.fillPoly(sheet.lines, [outline], round(255 * self.filled), _AA, _BITS)
            return
        box = sheet.box(outlines, 2)
        if box is None:
            return
        mask = _mask(outlines, box)
        there, own = sheet.inside(box)
        colour = self.pigment.mean if isinstance(self.pigment, Cloth) else self.pigment
        dark = np.full_like(mask, round((1 - luma(colour)) * 255 * self.hatched))
        cv2.copyTo(dark[own], mask[own], sheet.hatching[there])
        inner = cv2.erode(mask, *_pen(sheet.side, self.line)) if self.line else mask
        edge = np.bitwise_and(np.bitwise_xor(mask, inner), np.uint8(0xE0))
        cv2.copyTo(edge[own], mask[own], sheet.lines[there])


def _mask(outlines: Sequence[Pixels], box: Box) -> Bytes:
    mask = np.zeros((box[0].stop - box[0].start, box[1].stop - box[1].start), np.uint8)
    corner = np.array((box[1].start << _BITS, box[0].start << _BITS), np.int32)
    for outline in outlines:
        cv2.fillPoly(mask, [outline - corner], 255, cv2.LINE_8, _BITS)
    return mask


@lru_cache(maxsize=64)
def _pen(side: int, weight: float) -> tuple[Bytes, tuple[int, int]]:
    """Return the kernel and its anchor of an erosion that leaves a line thicker below and at the right."""
    width = max(2, round(side * 0.0115 * weight) + 1)
    thin = (width - 1) // 3
    return np.ones((width, width), np.uint8), (thin, thin)


@dataclass(frozen=True)
class Tint:
    """A soft stain of colour on what is there: shade, blush, stubble; the pencil hatches it where `hatched`."""

    outline: Floats
    colour: Colour
    strength: float
    blur: float
    hatched: float = 0

    def paint(self, canvas: Canvas) -> None:
        """Mix its colour into what is there; coverage stays."""
        outlines = canvas.pixels([self.outline])
        reach = max(round(self.blur * canvas.side), 1)
        box = canvas.box(outlines, reach)
        if box is None:
            return
        there, own = canvas.inside(box)
        width = 2 * reach + 1
        share = cv2.boxFilter(_mask(outlines, box), cv2.CV_32F, (width, width), borderType=cv2.BORDER_CONSTANT)[own]
        below = canvas.colours[there]
        share = share * (self.strength / 255) * (below[:, :, 3] == 255)
        stain = np.full_like(below, 255)
        stain[:] = (*map(round, self.colour), 255)
        cv2.blendLinear(below, stain, 1 - share, share, below)

    def sketch(self, sheet: Sheet) -> None:
        """Hatch it lightly."""
        if self.hatched:
            value = round((1 - luma(self.colour)) * 255 * self.hatched)
            cv2.fillPoly(sheet.hatching, list(sheet.pixels([self.outline])), value, _AA, _BITS)


@dataclass(frozen=True)
class Lines:
    """Thin lines of one colour, as wide as `width`; `line` and `darkness` are their weight and tone in a sketch."""

    curves: Outlines
    colour: Colour
    width: float
    line: float = 1
    darkness: float = 0.75

    def paint(self, canvas: Canvas) -> None:
        """Draw them with the brush; what is thinner than a pixel is that much fainter."""
        width = self.width * canvas.side
        cv2.polylines(
            canvas.colours, canvas.pixels(self.curves), False, (*self.colour, 255), max(1, round(width)), _AA, _BITS
        )

    def sketch(self, sheet: Sheet) -> None:
        """Draw them with the pencil."""
        if self.line:
            width = max(1, round(sheet.side * 0.0062 * self.line))
            cv2.polylines(sheet.lines, sheet.pixels(self.curves), False, round(255 * self.darkness), width, _AA, _BITS)


_ARC = np.linspace(np.pi / 2, 3 * np.pi / 2, 6)
_CAP = np.stack([np.cos(_ARC), np.sin(_ARC)], axis=1).astype(np.float32)


def capsules(points: Floats, radii: Floats) -> Floats:
    """Return the outlines of a limb: between consecutive points a rounded, tapered bar, (N - 1) x 12 x 2."""
    along = points[1:] - points[:-1]
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), (1e-6))[:, None]
    axes = np.empty((len(along), 2, 2), np.float32)
    axes[:, 0], axes[:, 1, 0], axes[:, 1, 1] = along, -along[:, 1], along[:, 0]
    cap = _CAP @ axes
    outlines = np.empty((len(along), 12, 2), np.float32)
    outlines[:, :6] = points[:-1, None] + radii[:-1, None, None] * cap
    outlines[:, 6:] = points[1:, None] - radii[1:, None, None] * cap
    return outlines


@lru_cache(maxsize=64)
def _basis(count: int, steps: int, closed: bool) -> Floats:
    """Return the matrix of a uniform Catmull-Rom spline through `count` points (Catmull and Rom, 1974)."""
    t = np.arange(steps, dtype=np.float32) / steps
    weights = 0.5 * np.stack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2])
    spans = count if closed else count - 1
    basis = np.zeros((spans * steps + (not closed), count), np.float32)
    for span in range(spans):
        for k, weight in enumerate(weights, span - 1):
            index = k % count if closed else min(max(k, 0), count - 1)
            basis[span * steps : (span + 1) * steps, index] += weight
    if not closed:
        basis[-1, -1] = 1
    return basis


def smooth(points: Sequence[Sequence[float]] | Floats, steps: int = 5, *, closed: bool = True) -> Floats:
    """Return a smooth curve through points K x 2."""
    return np.asarray(_basis(len(points), steps, closed) @ np.asarray(points, np.float32))


@lru_cache(maxsize=8)
def circle(corners: int) -> Floats:
    """Return a circle of radius 1, corners x 2; not to be changed in place."""
    turn = np.arange(corners) * (2 * np.pi / corners)
    return np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32)


def ellipse(x: float, y: float, width: float, height: float, corners: int = 20) -> Floats:
    """Return an ellipse about (x, y) with these half axes."""
    return np.asarray(circle(corners) * floats((width, height)) + floats((x, y)))
