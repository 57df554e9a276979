"""How far one picture of a pair lies off the other, in pixels, and whether that is sure: also of two kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

import cv2
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]

REACH = 32
"""Pixels within which a shift is looked for, or a quarter of the shorter side."""
WINDOW = 512
"""Sides of the middle of a picture that shifts are estimated from: an FFT of more takes longer and tells no more."""
CLEAR, BETTER, NEAR = 8.0, 0.03, 2
"""When a pair may be shifted: its peak is this many standard deviations high, its edges agree by this much more there
than at zero, and it is this many pixels away. Edges that people drew lie a pixel beside those of the photo."""
RIVAL, STRICT, ZERO = 0.5, 0.35, 0.7
"""When it is: the next peak is at most this part of it, and what is a pixel around zero at most ZERO. STRICT is for
pictures whose edges are not of one kind, as the lines of a skeleton and the outlines of a person: all of the set
together have no single peak either.
`python -m bench audit` measures what is found and what is missed."""
ALL_NEAR, ALL_CLEAR, FEW, ENOUGH = 0.9, 10.0, 16, 10
"""When all are: their mean, of FEW pixels around zero and of at least ENOUGH pairs, has a peak that far from zero."""
ASIDE = 2
"""Pixels around a peak that are the peak itself."""


@dataclass(frozen=True)
class Shift:
    """Where the second picture of a pair lies: pixels right and down of the first.

    height: of the peak, in standard deviations. rival: the part of it that the next peak has.
    """

    right: float
    down: float
    height: float
    rival: float

    def __str__(self) -> str:
        across = f"{abs(self.right):.2g} px {'right' if self.right > 0 else 'left'}" if abs(self.right) >= 0.05 else ""
        down = f"{abs(self.down):.2g} px {'below' if self.down > 0 else 'above'}" if abs(self.down) >= 0.05 else ""
        return " and ".join(part for part in (across, down) if part)


def edges(plane: Plane, *, classes: bool = False) -> Plane:
    """Return where the middle of a picture H × W changes, at most 512 × 512: gradient magnitude, or borders of classes.

    Brightness differs between day and night, or photo and labels; the places where things end do not.
    """
    top, left = (max(0, (side - WINDOW) // 2) for side in plane.shape)
    plane = np.ascontiguousarray(plane[top : top + WINDOW, left : left + WINDOW])
    if not classes:
        return np.asarray(cv2.magnitude(cv2.Sobel(plane, cv2.CV_32F, 1, 0), cv2.Sobel(plane, cv2.CV_32F, 0, 1)))
    found = np.zeros_like(plane)
    found[:, 1:-1] = plane[:, 2:] != plane[:, :-2]
    found[1:-1] = np.maximum(found[1:-1], plane[2:] != plane[:-2])
    return found


def correlated(one: Plane, other: Plane) -> Plane | None:
    """Return how well `other` lies on `one`, edges H × W both, at every shift within reach, in standard deviations.

    Square; the middle is no shift, and what lies right of it says how much further right `other` is. None where there
    is nothing to go by. Phase correlation (Kuglin and Hines, 1975, "The phase correlation image alignment method")
    under a Hann window, smoothed over a pixel, as edges of two kinds of pictures are never quite in the same place.
    """
    height, width = one.shape
    reach = min(REACH, height // 4, width // 4)
    if reach < NEAR or not (one.any() and other.any()):
        return None
    window = np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    product = np.fft.rfft2((other - other.mean()) * window) * np.fft.rfft2((one - one.mean()) * window).conj()
    product /= np.abs(product) + 1e-12
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    surface = np.fft.irfft2(product * np.exp(-2 * np.pi**2 * (x**2 + y**2)), s=one.shape)
    near = np.roll(surface, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    return np.asarray(near / (surface.std() + 1e-12), dtype=np.float32)


def around_zero(near: Plane) -> Plane | None:
    """Return the middle of what `correlated` gives, 33 × 33; None where it is smaller."""
    middle = len(near) // 2
    part = slice(middle - FEW, middle + FEW + 1)
    return near[part, part] if middle >= FEW else None


def apart(near: Plane, one: Plane, other: Plane) -> Shift | None:
    """Return the shift of a pair that may have one, from `correlated` and its edges; `sure` says whether it has.

    A row of like windows has a high peak one window further; there the edges agree less than where they are.
    """
    right, down = (round(side) for side in peak(near))
    shift = Shift(right, down, float(near.max()), rival(near))
    middle = len(near) // 2
    zero = float(near[middle - 1 : middle + 2, middle - 1 : middle + 2].max())
    if max(abs(right), abs(down)) < NEAR or zero > ZERO * shift.height:
        return None
    if shift.height < CLEAR or shift.rival > RIVAL:
        return None
    return shift if agreement(one, other, right, down) >= agreement(one, other) + BETTER else None


def sure(shift: Shift, together: Shift | None) -> bool:
    """Whether a pair is shifted, and not just as all of its set are, by what `of_all` says."""
    if all_apart(together) and np.hypot(shift.right - together.right, shift.down - together.down) < NEAR:
        return False
    like = together is not None and together.height >= ALL_CLEAR and together.rival <= RIVAL
    return shift.rival <= (RIVAL if like else STRICT)


def of_all(seen: Sequence[Plane]) -> Shift | None:
    """Return where most pairs of a set lie, from `around_zero` of each; None where they are too few."""
    if len(seen) < ENOUGH:
        return None
    mean = np.mean(seen, axis=0)
    return Shift(*peak(mean), float(mean.max()) * len(seen) ** 0.5, rival(mean))


def all_apart(together: Shift | None) -> TypeGuard[Shift]:
    """Whether a whole set is shifted, by what `of_all` says."""
    if together is None or together.height < ALL_CLEAR or together.rival > RIVAL:
        return False
    return bool(np.hypot(together.right, together.down) >= ALL_NEAR)


def rival(near: Plane) -> float:
    """Return the part of the highest peak that the next one has, beyond ASIDE pixels."""
    row, column = (int(place) for place in np.unravel_index(near.argmax(), near.shape))
    rest = near.copy()
    rest[max(0, row - ASIDE) : row + ASIDE + 1, max(0, column - ASIDE) : column + ASIDE + 1] = -np.inf
    return max(0.0, float(rest.max() / near.max()))


def agreement(one: Plane, other: Plane, x: int = 0, y: int = 0) -> float:
    """Return the correlation of edges where `other`, x pixels further right and y further down, overlaps `one`."""
    height, width = one.shape
    soft = [cv2.GaussianBlur(np.sqrt(plane), (0, 0), 0.7) for plane in (one, other)]
    first = soft[0][max(0, -y) : height - max(0, y), max(0, -x) : width - max(0, x)]
    second = soft[1][max(0, y) : height - max(0, -y), max(0, x) : width - max(0, -x)]
    first, second = first - first.mean(), second - second.mean()
    return float((first * second).sum() / (np.linalg.norm(first) * np.linalg.norm(second) + 1e-12))


def peak(near: Plane) -> tuple[float, float]:
    """Return (right, down) of the highest place from the middle, between pixels by a parabola."""
    row, column = (int(place) for place in np.unravel_index(near.argmax(), near.shape))
    found = []
    for at, line in ((column, near[row]), (row, near[:, column])):
        between = 0.0
        if 0 < at < len(line) - 1:
            before, here, after = (float(value) for value in line[at - 1 : at + 2])
            bend = before - 2 * here + after
            between = (before - after) / (2 * bend) if bend < 0 else 0.0
        found.append(at - len(line) // 2 + between)
    return found[0], found[1]
