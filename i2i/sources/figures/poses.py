"""How a person stands: joint angles drawn from plausible ranges, a skeleton of three dimensions, and its projection."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin, sqrt

import numpy as np

from i2i.sources.figures.fabric import Floats, floats
from i2i.sources.figures.people import Body, between, pick

Range = tuple[float, float]
# A limb's two bones: degrees away from hanging, sideways (outwards) and forwards, each a range.
Limb = tuple[Range, Range, Range, Range]

JOINTS = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear", "left_ear",
)  # fmt: skip
"""The 18 joints in the order of OpenPose's COCO model (Cao et al. 2017)."""

ARMS: dict[str, Limb] = {
    "hanging": ((7, 18), (-8, 10), (3, 12), (4, 26)),
    "hip": ((38, 52), (-16, -4), (-56, -44), (10, 26)),
    "waving": ((62, 110), (0, 25), (140, 182), (0, 20)),
    "raised": ((132, 160), (-8, 8), (150, 188), (-10, 10)),
    "spread": ((52, 88), (-5, 15), (60, 110), (0, 20)),
    "pocket": ((15, 24), (-20, -8), (-12, -3), (12, 26)),
    "showing": ((12, 30), (5, 25), (35, 75), (20, 50)),
    "belly": ((16, 28), (-4, 12), (-74, -58), (40, 56)),
    "swung": ((6, 12), (18, 34), (2, 10), (40, 70)),
    "back": ((6, 12), (-34, -18), (2, 8), (-14, 8)),
}
LEGS: dict[str, Limb] = {
    "straight": ((1, 6), (-3, 4), (0, 5), (-5, 0)),
    "eased": ((7, 15), (8, 20), (1, 7), (-12, -3)),
    "wide": ((13, 22), (0, 6), (11, 20), (-5, 0)),
    "ahead": ((1, 4), (18, 30), (0, 3), (4, 18)),
    "behind": ((1, 4), (-24, -12), (0, 3), (-48, -28)),
    "lifted": ((6, 20), (45, 75), (0, 10), (-25, 5)),
    "sideways": ((28, 48), (0, 12), (22, 44), (-10, 0)),
    "tucked": ((16, 32), (10, 30), (2, 14), (-70, -40)),
}
ARM_WEIGHTS = {"hanging": 0.3, "hip": 0.17, "waving": 0.12, "raised": 0.07, "spread": 0.09, "pocket": 0.1,
               "showing": 0.08, "belly": 0.07}  # fmt: skip


@dataclass(frozen=True)
class Pose:
    """Joint angles: each limb's two bones as (sideways, forwards) in radians; the trunk and the head; turns positive
    towards the picture's right."""

    arms: tuple[tuple[float, ...], tuple[float, ...]]
    legs: tuple[tuple[float, ...], tuple[float, ...]]
    turn: float
    lean: float
    stoop: float
    shrug: float
    sway: float
    head_turn: float
    head_tilt: float
    nod: float
    smile: float
    open_mouth: float
    gaze: tuple[float, float]
    airborne: float


def draw_pose(rng: np.random.Generator) -> Pose:
    """Draw a pose of the whole body."""
    kind = pick(rng, ("standing", "walking", "leaping", "dancing"), (0.6, 0.2, 0.1, 0.1))
    names = list(ARM_WEIGHTS)
    arms = [pick(rng, names, list(ARM_WEIGHTS.values())) for _ in "rl"]
    turn, lean, airborne = between(rng, -38, 38), between(rng, -3, 3), 0.0
    if kind == "standing":
        legs = list(
            pick(rng, (("straight", "straight"), ("straight", "eased"), ("wide", "wide"), ("wide", "straight")))
        )
    elif kind == "walking":
        legs, arms = ["ahead", "behind"], ["back", "swung"]
        turn = between(rng, 25, 65) * pick(rng, (-1, 1))
    elif kind == "leaping":
        legs = list(pick(rng, (("tucked", "tucked"), ("sideways", "tucked"), ("lifted", "behind"))))
        arms = [pick(rng, ("raised", "spread", "waving")) for _ in "rl"]
        airborne = between(rng, 0.03, 0.10)
    else:
        legs = list(pick(rng, (("sideways", "straight"), ("lifted", "straight"), ("sideways", "eased"))))
        arms = [pick(rng, ("raised", "spread", "waving", "hip", "showing")) for _ in "rl"]
        lean = between(rng, -12, 12)
    if rng.random() < 0.5:
        legs.reverse()
        arms.reverse()
    return _pose(rng, arms, legs, turn, lean, airborne)


def draw_bust(rng: np.random.Generator) -> Pose:
    """Draw a pose for a portrait: arms hang, and the face looks about."""
    arms = [pick(rng, ("hanging", "hanging", "pocket")) for _ in "rl"]
    return _pose(rng, arms, ["straight", "straight"], between(rng, -26, 26), between(rng, -2, 2), 0.0)


def _pose(
    rng: np.random.Generator, arms: list[str], legs: list[str], turn: float, lean: float, airborne: float
) -> Pose:
    right, left = (tuple(radians(between(rng, *span)) for span in ARMS[name]) for name in arms)
    first, second = (tuple(radians(between(rng, *span)) for span in LEGS[name]) for name in legs)
    smile = between(rng, -0.1, 1.1)
    return Pose(
        arms=(right, left),
        legs=(first, second),
        turn=radians(turn),
        lean=radians(lean),
        stoop=radians(between(rng, -3, 5)),
        shrug=radians(between(rng, -5, 5)),
        sway=radians(between(rng, -4, 4)),
        head_turn=radians(max(-32, min(32, 0.55 * turn + between(rng, -18, 18)))),
        head_tilt=radians(between(rng, -9, 9)),
        nod=radians(between(rng, -9, 9)),
        smile=smile,
        open_mouth=max(0.0, between(rng, -0.8, 1.0)) if smile > 0.35 else 0.0,
        gaze=(between(rng, -0.35, 0.35), between(rng, -0.15, 0.2)),
        airborne=airborne,
    )


@dataclass(frozen=True)
class Skeleton:
    """Joints where the picture shows them: `points` in picture units and `depth` in statures towards the camera.

    unit: a stature in picture units. feet: toe and heel by side. ground: where shadows fall.
    """

    points: dict[str, Floats]
    depth: dict[str, float]
    unit: float
    feet: dict[str, tuple[Floats, Floats]]
    ground: float


# How far a body goes beyond a joint, in statures: hair about the chin, fingers, a skirt at the knee.
_REACH = {"chin": 0.115, "wrist": 0.09, "knee": 0.095, "ankle": 0.06}
_TILT = 0.10  # how far the ground rises in the picture for each stature away


def _bone(side: float, sideways: float, forwards: float, length: float) -> Floats:
    return (
        np.array((side * sin(sideways), cos(sideways) * cos(forwards), cos(sideways) * sin(forwards)), np.float32)
        * length
    )


def _upright(body: Body, pose: Pose) -> dict[str, Floats]:
    """Return the joints before the body is turned: x to the picture's right, y down, z to the camera; hips at 0."""
    at: dict[str, Floats] = {"pelvis": np.zeros(3, np.float32)}
    trunk = floats((sin(pose.lean), -cos(pose.lean) * cos(pose.stoop), cos(pose.lean) * sin(pose.stoop)))
    at["neck"] = trunk * 0.292
    at["chin"] = at["neck"] + floats((0.02 * sin(pose.lean), -0.038, 0.012))
    for side, name, arm, leg in zip((-1, 1), ("right", "left"), pose.arms, pose.legs, strict=True):
        wide = side * body.shoulders
        at[f"{name}_shoulder"] = at["neck"] + floats((0.92 * wide, 0.034 - wide * sin(pose.shrug), 0))
        at[f"{name}_elbow"] = at[f"{name}_shoulder"] + _bone(side, arm[0], arm[1], 0.162)
        at[f"{name}_wrist"] = at[f"{name}_elbow"] + _bone(side, arm[2], arm[3], 0.140)
        at[f"{name}_hip"] = floats((side * body.hips * 0.56, 0.012 - side * body.hips * sin(pose.sway), 0))
        at[f"{name}_knee"] = at[f"{name}_hip"] + _bone(side, leg[0], leg[1], 0.232 * body.leg)
        at[f"{name}_ankle"] = at[f"{name}_knee"] + _bone(side, leg[2], leg[3], 0.222 * body.leg)
    return at


def _feet(at: dict[str, Floats], pose: Pose) -> dict[str, Floats]:
    """Return toes and heels, turned outwards a little and level unless the shin points back."""
    ends = {}
    for side, name, which in ((-1, "right", 0), (1, "left", 1)):
        back = max(0.0, -pose.legs[which][3] - radians(12))
        out = radians(16) * side
        toe = floats((sin(out), 0.0, cos(out))) * 0.085
        toe = floats((toe[0], toe[2] * sin(back), toe[2] * cos(back)))
        sole = floats((0, 0.026 * cos(back), -0.026 * sin(back)))
        ends[f"{name}_toe"] = at[f"{name}_ankle"] + toe + sole
        ends[f"{name}_heel"] = at[f"{name}_ankle"] - toe * 0.22 + sole
    return ends


def place(body: Body, pose: Pose, camera: tuple[float, float, float] | None, rng: np.random.Generator) -> Skeleton:
    """Turn and project the skeleton; camera is (unit, x, y of the chin), or None to fit all of the body."""
    at = _upright(body, pose)
    at |= _feet(at, pose)
    names = list(at)
    cosine, sine = cos(pose.turn), sin(pose.turn)
    turn = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]], np.float32)
    solid = np.stack([at[name] for name in names]) @ turn
    flat = solid[:, :2] + floats((0, _TILT)) * solid[:, 2:]
    for name in ("right", "left"):  # shoes are seen from nearer above than the ground far away
        toe, ankle = names.index(f"{name}_toe"), names.index(f"{name}_ankle")
        flat[toe, 1] += 0.25 * (solid[toe, 2] - solid[ankle, 2])
    if camera is None:
        unit, x, y, ground = _fitted(rng, names, flat, body, pose)
    else:
        unit, chin = camera[0], flat[names.index("chin")]
        x, y, ground = camera[1] - unit * float(chin[0]), camera[2] - unit * float(chin[1]), 2.0
    flat = flat * unit + floats((x, y))
    points = dict(zip(names, flat, strict=True))
    feet = {side: (points[f"{side}_toe"], points[f"{side}_heel"]) for side in ("right", "left")}
    return Skeleton(points, dict(zip(names, solid[:, 2].tolist(), strict=True)), unit, feet, ground)


def _fitted(
    rng: np.random.Generator, names: list[str], flat: Floats, body: Body, pose: Pose
) -> tuple[float, float, float, float]:
    """Return the unit, the offset and the ground of a body that lies inside the picture, at random in what is left."""
    reach = floats([_REACH.get(name.rpartition("_")[2], 0.05) for name in names])[:, None]
    low, high = (flat - reach).min(axis=0), (flat + reach).max(axis=0)
    low[1] = min(float(low[1]), float(flat[names.index("chin"), 1]) - 2.6 * body.head)
    high[1] = float(flat[:, 1].max()) + 0.045 + pose.airborne
    width, height = (high - low).tolist()
    unit = min(0.95 / height, 0.96 / width, 0.95) * between(rng, 0.88, 1)
    slack = (1 - unit * width, 1 - unit * height)
    x = slack[0] * between(rng, 0.3, 0.7) - unit * float(low[0])
    y = slack[1] * between(rng, 0.45, 0.65) - unit * float(low[1])
    return unit, x, y, y + unit * (float(high[1]) - 0.03)


def half_width(across: float, deep: float, turn: float) -> float:
    """Return what half of an elliptic cross-section measures when it is turned."""
    return sqrt((across * cos(turn)) ** 2 + (deep * sin(turn)) ** 2)
