"""The outlines of a face and its hair in head units: half the head's height is 1, its centre (0, 0), y down."""

from __future__ import annotations

import numpy as np

from i2i.sources.figures.canvas import circle, smooth
from i2i.sources.figures.fabric import Floats, floats
from i2i.sources.figures.people import Face, Hair, Person
from i2i.sources.figures.poses import Pose

Points = list[tuple[float, float]]
Marks = dict[tuple[str, int], tuple[Floats, float]]
"""Curves on the face, K x 2, by name and side (-1 the picture's left, 1 its right, 0 neither), and their height
above the skin."""

_T = np.linspace(-1, 1, 9, dtype=np.float32)
_ARCH = 1 - _T**2
_LID: Floats = np.asarray(_ARCH**0.8, np.float32)
_BOW: Floats = np.asarray(_ARCH**0.7 * (1 - 0.25 * np.exp(-(_T**2) * 30)), np.float32)


def _curve(x: Floats, y: Floats) -> Floats:
    return np.stack([x, y], axis=1)


def features(person: Person, pose: Pose) -> Marks:
    """Return everything that moves with the face when it turns."""
    marks: Marks = {}
    for side in (-1, 1):
        marks |= _eye(person, pose, side)
        marks |= _cheek(person.face, side)
    return marks | _nose(person.face, 1 if pose.head_turn >= 0 else -1) | _mouth(person, pose)


def _eye(person: Person, pose: Pose, side: int) -> Marks:
    face = person.face
    x = side * face.spacing
    wide, high = (0.158 * face.eye), (0.078 * face.eye * (1 - 0.22 * max(pose.smile, 0)))
    across, slant = x + wide * _T, -side * _T * face.slant
    upper, lower = slant - high * _LID, slant + 0.62 * high * _ARCH
    centre = floats((x + pose.gaze[0] * wide * 0.55, high * (0.4 * pose.gaze[1] - 0.1)))
    iris, pupil = (centre + circle(16) * (0.084 * face.eye * size) for size in (1, 0.5))
    for disc in (iris, pupil):
        disc[:, 1] = np.clip(disc[:, 1], np.interp(disc[:, 0], across, upper), np.interp(disc[:, 0], across, lower))
    lash: Floats = (0.052 if person.woman else 0.036) * (0.35 + 0.65 * _ARCH)
    tail = (side * 0.03 * person.woman) * np.asarray(_T * side > 0.8, np.float32)
    rim: Floats = upper + np.float32(0.012)
    lid = np.concatenate([_curve(across + tail, upper - lash), _curve(across, rim)[::-1]])
    crease = _curve(x + wide * _T, upper - 0.075 + 0.03 * _T**2)
    return {
        ("white", side): (np.concatenate([_curve(across, upper), _curve(across, lower)[::-1]]), 0),
        ("iris", side): (iris, 0),
        ("pupil", side): (pupil, 0),
        ("glint", side): (centre + floats((-0.03, -0.032)) + circle(6) * 0.022, 0),
        ("lid", side): (lid, 0),
        ("under", side): (_curve(across, lower)[1:-1], 0),
        ("crease", side): (crease[1:-1], 0),
        ("brow", side): (_brow(face, pose, side), 0),
        ("socket", side): (circle(12) * floats((0.2, 0.12)) + floats((x, -0.07)), 0),
    }


def _brow(face: Face, pose: Pose, side: int) -> Floats:
    lift = 0.02 * max(pose.smile, 0)
    spine = [
        (side * 0.125, -0.195 - lift),
        (side * 0.27, -0.24 - lift),
        (side * 0.40, -0.245 - lift),
        (side * 0.50, -0.185),
    ]
    upper = smooth(spine, 4, closed=False)
    lower = upper.copy()
    taper = face.brow * np.linspace(1, 0.25, len(upper), dtype=np.float32)
    upper[:, 1] -= taper
    lower[:, 1] += taper * 0.6
    return np.concatenate([upper, lower[::-1]])


def _cheek(face: Face, side: int) -> Marks:
    fold = smooth([(side * 0.19, 0.36), (side * 0.29, 0.46), (side * 0.33, 0.60)], 4, closed=False)
    blush = circle(12) * floats((0.17, 0.13)) + floats((side * 0.40, 0.30))
    centre = floats((side * (face.spacing + 0.01), 0.03))
    ring = np.concatenate([circle(20), circle(20)[:1]])
    square = np.sign(ring) * np.abs(ring) ** 0.45
    return {
        ("fold", side): (fold, 0),
        ("blush", side): (blush, 0),
        ("round", side): (ring * floats((0.235, 0.20)) + centre, 0.10),
        ("square", side): (square * floats((0.245, 0.165)) + centre, 0.10),
        ("hinge", side): (floats([(side * (face.spacing + 0.245), -0.01)]), 0.10),
    }


def _nose(face: Face, side: int) -> Marks:
    wide, tip = face.nose, face.nose_length
    shade = [(side * 0.05, -0.10), (side * 0.075, 0.10), (side * wide, tip - 0.04), (side * wide * 0.9, tip + 0.05),
             (side * 0.02, tip + 0.06), (side * 0.02, 0.1)]  # fmt: skip
    bridge = [(side * 0.085, -0.10), (side * 0.065, 0.08), (side * 0.085, tip - 0.12)]
    base = [(-wide * 0.45, tip + 0.045), (0, tip + 0.075), (wide * 0.45, tip + 0.045)]
    marks: Marks = {
        ("nose shade", 0): (floats(shade), 0.06),
        ("nose under", 0): (circle(10) * floats((wide * 1.1, 0.05)) + floats((0, tip + 0.09)), 0.05),
        ("nose light", 0): (circle(8) * floats((0.05, 0.06)) + floats((0, tip - 0.06)), 0.2),
        ("nose bridge", 0): (smooth(bridge, 4, closed=False), 0.06),
        ("nose base", 0): (smooth(base, 4, closed=False), 0.12),
        ("nose", 0): (floats([(0, tip - 0.05)]), 0.2),
        ("bridge", 0): (smooth([(-0.085, -0.01), (0, -0.05), (0.085, -0.01)], 4, closed=False), 0.14),
    }
    for s in (-1, 1):
        wing = [(s * (wide - 0.025), tip - 0.07), (s * wide, tip), (s * (wide - 0.035), tip + 0.045)]
        marks["nose wing", s] = smooth(wing, 4, closed=False), 0.03
        marks["nostril", s] = circle(8) * floats((0.034, 0.02)) + floats((s * wide * 0.48, tip + 0.035)), 0.08
    return marks


def _mouth(person: Person, pose: Pose) -> Marks:
    face = person.face
    x = (face.mouth * (1 + 0.16 * max(pose.smile, 0))) * _T
    y = (0.60 + 0.02 * max(pose.smile, 0)) - (0.075 * (pose.smile + 0.3)) * _T**2
    gap = (0.10 * pose.open_mouth) * _ARCH
    middle, below = _curve(x, y - 0.3 * gap), _curve(x, y + 0.7 * gap)
    top = _curve(x, middle[:, 1] - (0.056 * face.lips) * _BOW)
    bottom = _curve(x * 0.96, below[:, 1] + (0.085 * face.lips) * _ARCH)
    teeth = np.concatenate([middle[1:-1], (middle * 0.35 + below * 0.65)[-2:0:-1]])
    moustache = [(-0.33, 0.60), (-0.25, 0.50), (-0.10, 0.445), (0, 0.46), (0.10, 0.445), (0.25, 0.50), (0.33, 0.60),
                 (0.18, 0.55), (0, 0.54), (-0.18, 0.55)]  # fmt: skip
    return {
        ("lip shade", 0): (circle(10) * floats((0.16, 0.04)) + floats((0, 0.76)), 0),
        ("upper lip", 0): (np.concatenate([top, middle[::-1]]), 0),
        ("lower lip", 0): (np.concatenate([below, bottom[::-1]]), 0),
        ("lip light", 0): (circle(8) * floats((0.09, 0.02)) + floats((0, 0.645 + 0.06 * pose.open_mouth)), 0),
        ("mouth", 0): (np.concatenate([middle, below[::-1]]), 0),
        ("teeth", 0): (teeth, 0),
        ("mouth line", 0): (middle, 0),
        ("moustache", 0): (smooth(moustache, 3), 0.04),
    }


# ---- the silhouette


def skull(face: Face) -> Floats:
    """Return the outline of the head without hair and ears."""
    jaw = [(face.jaw + 0.04, 0.55), (face.jaw * 0.66, 0.83), (face.chin, 0.985)]
    half = [(0.42, -0.90), (0.68, -0.55), (0.735, -0.10), (0.705, 0.22), *jaw]
    return smooth([(0.0, -0.99), *half, *mirrored(half)], 4)


def mirrored(half: Points) -> Points:
    """Return points of the other side, in the order that closes an outline."""
    return [(-x, y) for x, y in reversed(half)]


def beard(face: Face, *, grown: float) -> Floats:
    """Return the outline of what grows on the jaw and leaves the mouth free; `grown`: how far below the chin."""
    jaw = [(-0.715, 0.12), (-face.jaw - 0.05, 0.56), (-face.jaw * 0.68, 0.86 + grown), (-face.chin, 1.0 + grown)]
    inner = [(0.60, 0.30), (0.43, 0.46), (0.22, 0.43)]
    return smooth([*jaw, *mirrored(jaw), *inner, (0, 0.45), *mirrored(inner)], 3)


GOATEE: Points = [(-0.20, 0.70), (-0.27, 0.86), (-0.16, 1.03), (0.16, 1.03), (0.27, 0.86), (0.20, 0.70), (0, 0.74)]


def mane(hair: Hair) -> Points:
    """Return the outline of the hair behind the neck."""
    wide, low = 0.86 + 0.6 * hair.volume + (0.12 if hair.texture == "curly" else 0), hair.length
    left = [(-0.6, -0.7), (-wide, -0.15), (-wide - 0.04, 0.4), (-wide * 0.95, low * 0.8), (-wide * 0.72, low)]
    return [*left, (0, low * 1.03), *mirrored(left)]


def crown(hair: Hair, ear: float) -> Points:
    """Return the upper border of the hair, from the picture's left temple to its right, as low as `ear`."""
    side, up, swell = 0.76 + 0.75 * hair.volume, 1.0 + hair.volume, 0.4 * hair.volume
    left = [(-0.735, ear), (-side, -0.15), (-side * 0.97, -0.55), (-0.48 - swell, -0.93 - swell)]
    return [*left, (0.12 * hair.part, -up), *mirrored(left)]


def hairline(style: str, part: float, ear: float) -> Points:
    """Return the border of hair and forehead, from the picture's left to its right."""
    if style == "side":
        side = 1 if part >= 0 else -1
        parted = [(-0.70, ear), (-0.60, -0.36), (-0.44, -0.60), (-0.30, -0.74)]
        line = [*parted, (0.02, -0.60), (0.36, -0.46), (0.60, -0.30), (0.70, ear)]
        return line if side > 0 else mirrored(line)
    if style in ("bangs", "fringe"):
        low = -0.30 if style == "bangs" else -0.42
        return [(-0.70, ear), (-0.63, -0.22), (-0.40, low - 0.02), (-0.15, low + 0.03), (0.1, low - 0.02),
                (0.38, low + 0.02), (0.63, -0.22), (0.70, ear)]  # fmt: skip
    half = {
        "centre": [(-0.70, ear), (-0.62, -0.28), (-0.40, -0.56)],
        "receding": [(-0.71, ear), (-0.66, -0.40), (-0.50, -0.78), (-0.26, -0.82)],
    }.get(style, [(-0.71, ear), (-0.63, -0.38), (-0.52, -0.60)])
    middle = {"centre": (part * 0.3, -0.84), "receding": (0.0, -0.70)}.get(style, (0.0, -0.66))
    return [*half, middle, *mirrored(half)]


def curtain(hair: Hair, side: int) -> tuple[Points, Points]:
    """Return the outer and the inner border of hair that falls past a cheek, downwards."""
    low, wide = min(hair.length, 1.9), 0.80 + 0.7 * hair.volume
    tip = 0.70 if hair.length < 1.2 else 0.62
    outer = [(side * (wide - 0.04), -0.45), (side * wide, 0.1), (side * wide, low * 0.55), (side * (tip + 0.08), low)]
    inner = [(side * 0.58, -0.40), (side * 0.685, 0.1), (side * 0.67, low * 0.5 + 0.08), (side * (tip - 0.02), low)]
    return outer, inner
