"""Many small convex polygons filled at once, column by column: a call for each would cost more than its pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from i2i.sources.scenes.textures import Floats

Integers = npt.NDArray[np.integer]


def covered(x: Floats, y: Floats, sides: Integers, side: int) -> tuple[Integers, Integers]:
    """Return the pixels that polygons cover in a picture of side x side, row by row, and how many each covers.

    x, y: the corners of one polygon after another, in pixels; the centre of a pixel is whole. sides: how many each
    polygon has. As `cv2.fillConvexPoly` does, what comes within half a pixel of a centre covers it.
    """
    if not len(sides):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    column, top, bottom, widths = _columns(np.rint(x * 16) * np.float32(1 / 16), y, sides, side)
    first, after = _whole(np.minimum(top, bottom), np.maximum(top, bottom), side)
    heights = after - first
    ends = np.zeros(len(heights) + 1, np.intp)
    np.cumsum(heights, out=ends[1:])
    pixels = np.arange(0, side * ends[-1], side)
    pixels += (column + side * (first - ends[:-1])).repeat(heights)
    last = np.cumsum(widths)
    return pixels, ends.take(last) - ends.take(last - widths)


def _columns(x: Floats, y: Floats, sides: Integers, side: int) -> tuple[Integers, Floats, Floats, Integers]:
    """Return the column and both ends of every column of every polygon, and how many columns each polygon has."""
    ends = np.cumsum(sides)
    starts = ends - sides
    following = np.arange(1, len(x) + 1)
    following[ends - 1] = starts
    x1, y1 = x.take(following), y.take(following)
    first, after = _whole(np.minimum(x, x1), np.maximum(x, x1), side)
    begin = np.minimum.reduceat(first, starts)
    widths = np.maximum.reduceat(after, starts) - begin
    shift = np.cumsum(widths) - widths - begin
    # Each column is crossed by one edge to the right and one to the left; upright edges add nothing to these.
    step = x1 - x
    right, left = np.flatnonzero(step > 0), np.flatnonzero(step < 0)
    edges = np.concatenate([right, left])
    counts = (after - first).take(edges)
    lines = np.zeros((len(x), 4), np.float32)
    slope = np.divide(y1 - y, step, out=lines[:, 1], where=step != 0)
    lines[:, 0] = y - slope * x
    np.minimum(y, y1, out=lines[:, 2])
    np.maximum(y, y1, out=lines[:, 3])
    column = runs(first.take(edges), counts)
    offset, slope, low, high = lines.take(edges, axis=0).repeat(counts, axis=0).T
    height = slope * column.astype(np.float32)
    height += offset
    np.maximum(height, low, out=height)
    np.minimum(height, high, out=height)
    column += shift.repeat(sides).take(edges).repeat(counts)
    rightward, total = int(counts[: len(right)].sum()), int(widths.sum())
    one, other = np.zeros((2, total), np.float32)
    one[column[:rightward]] = height[:rightward]
    other[column[rightward:]] = height[rightward:]
    return np.arange(total) - shift.repeat(widths), one, other, widths


def _whole(low: Floats, high: Floats, side: int) -> tuple[Integers, Integers]:
    """Return the first of the pixels 0 ... side - 1 from low to high, rounded, and the one after the last."""
    first = np.minimum(np.maximum(low, 0), side) + np.float32(0.5)
    after = np.minimum(np.maximum(high, -1), side - 1) + np.float32(1.5)
    return first.astype(np.intp), after.astype(np.intp)


def runs(first: Integers, counts: Integers) -> Integers:
    """Return first[0], first[0] + 1, ... (counts[0] of them), then those of first[1], and so on."""
    ends = np.cumsum(counts)
    return np.repeat(first - ends + counts, counts) + np.arange(ends[-1] if len(ends) else 0)
