"""The body below the head and its clothes, as shapes in drawing order."""

from __future__ import annotations

from math import hypot, sin

import numpy as np

from i2i.sources.figures.canvas import Lines, Shape, Solid, capsules, ellipse, smooth
from i2i.sources.figures.fabric import Colour, Floats, Frame, floats, mixed
from i2i.sources.figures.people import Person
from i2i.sources.figures.poses import Pose, Skeleton, half_width

BLACK: Colour = (20, 18, 20)
WHITE: Colour = (255, 255, 255)
Points = list[tuple[float, float]]
"""(across, down) in statures along the trunk; the hips are (0, 0), the neck (0, -0.29)."""

# Radii in statures of a limb's root, middle, joint, middle, end.
_ARM = floats((0.0275, 0.0265, 0.0225, 0.0235, 0.0155))
_LEG = floats((0.050, 0.042, 0.0315, 0.0315, 0.0185))
_MARKS = floats((0, 0.5, 1, 1.3, 2))  # where those are, in bones
_LOOSE = {"hoodie": 0.010, "sweater": 0.007, "jacket": 0.008, "shirt": 0.004}
# How deep and how wide a collar leaves the neck free.
_NECKLINES = {"round": (0.018, 0.046), "scoop": (0.052, 0.056), "vee": (0.062, 0.045), "shirt": (0.045, 0.038),
              "lapels": (0.022, 0.045), "hood": (0.024, 0.048)}  # fmt: skip


class Figure:
    """A person in a pose, from the neck down, in picture units."""

    def __init__(self, person: Person, pose: Pose, skeleton: Skeleton):
        self.person, self.pose, self.at, self.depth = person, pose, skeleton.points, skeleton.depth
        self.feet, self.unit = skeleton.feet, skeleton.unit
        self.pelvis, self.neck = self.at["pelvis"], self.at["neck"]
        up = self.neck - self.pelvis
        self.up = up / (hypot(*up.tolist()))
        self.out = floats((-self.up[1], self.up[0]))  # to the picture's right
        self.folds = ("folds" if self.unit < 1.5 else "drapes", 0.8)
        self.frame = self._along(self.neck, self.pelvis)
        self.shown = float(self.pelvis[1]) < 1.2  # of a portrait, only the upper half is
        self.seam = mixed(person.outfit.cloth.mean, BLACK, 0.4)
        self.far, self.near = (
            ("right", "left") if self.depth["right_shoulder"] < self.depth["left_shoulder"] else ("left", "right")
        )
        reach = self.depth[f"{self.far}_wrist"] - self.depth[f"{self.far}_shoulder"]
        self.hidden = abs(pose.turn) > 0.25 or reach < -0.02  # the far arm is, by the trunk

    def behind(self) -> list[Shape]:
        """Return what the trunk hides: the legs, and the far arm of who stands sideways."""
        arm = self._arm(self.far) if self.hidden else []
        return arm + (self._legs() if self.shown else [])

    def front(self) -> list[Shape]:
        """Return the trunk, the neck and the arms before it."""
        skirt, trunk = self._skirt() if self.shown else [], self._trunk()
        below = [*trunk, *skirt] if self.person.outfit.bottom == "dress" else [*skirt, *trunk]
        shapes = [*below, *self._neck(), *self._collar()]
        far = [] if self.hidden else self._arm(self.far)
        return [*shapes, *far, *self._arm(self.near)]

    def trunk(self, points: Points) -> Floats:
        """Map points along the trunk into the picture."""
        xy = np.array(points, np.float32) * self.unit
        return np.asarray(self.pelvis + xy[:, :1] * self.out - xy[:, 1:] * self.up)

    def _along(self, start: Floats, end: Floats) -> Frame:
        """Return where cloth lies that is sewn along a bone."""
        x, y = (start - end).tolist()
        scale = self.unit / max(hypot(x, y), 1e-6)
        return float(start[0]), float(start[1]), x * scale, y * scale

    # ---- arms

    def _arm(self, side: str) -> list[Shape]:
        shoulder, elbow, wrist = (self.at[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "wrist"))
        person, outfit = self.person, self.person.outfit
        thick = self.unit * (0.82 + 0.18 * person.body.girth) * (0.88 if person.woman else 1.0)
        bones = _bones(shoulder, elbow, wrist)
        bones[0] += (elbow - shoulder) * 0.05
        radii = _ARM * thick
        # The light shows no edge where the arm leaves the shoulder.
        yoke = capsules(np.stack([shoulder, shoulder + (self.neck - shoulder) * 0.55]), radii[[0, 0]])
        shapes: list[Shape] = [self._hand(elbow, wrist, thick)]
        if outfit.sleeves < 1.9:
            shapes.append(Solid(capsules(bones, radii), person.skin, relief=0.022 * thick, cast=0.25, joined=yoke))
        if outfit.sleeves > 0:
            bones, radii = _cut(bones, radii, outfit.sleeves)
            radii += self.unit * _widening(0.010 if outfit.top == "tee" else 0.006, len(radii))
            frame = self._along(shoulder, elbow)
            sleeve = capsules(bones, radii)
            shapes.append(Solid(sleeve, outfit.cloth, 0.024 * thick, self.folds, cast=0.22, frame=frame, joined=yoke))
        return shapes

    def _hand(self, elbow: Floats, wrist: Floats, thick: float) -> Shape:
        x, y = (wrist - elbow).tolist()
        length = max(hypot(x, y), 1e-6)
        step = floats((x / length, y / length))
        across = floats((-step[1], step[0])) * (1 if wrist[0] < self.pelvis[0] else -1)
        unit = self.unit
        palm, tips = wrist + step * unit * 0.026, wrist + step * unit * 0.062
        root = palm - step * unit * 0.012
        thumb = wrist + (step * 0.030 - across * 0.022) * unit
        fingers = capsules(np.stack([wrist, palm, tips]), floats((0.0135, 0.0185, 0.0105)) * thick)
        digit = capsules(np.stack([root, thumb]), floats((0.011, 0.007)) * thick)
        return Solid(np.concatenate([fingers, digit]), self.person.skin, relief=0.014 * thick, cast=0.25)

    # ---- legs

    def _legs(self) -> list[Shape]:
        right, left = (self.depth[f"{side}_knee"] + self.depth[f"{side}_ankle"] for side in ("right", "left"))
        shapes = [
            shape for side in (("left", "right") if right > left else ("right", "left")) for shape in self._leg(side)
        ]
        outfit = self.person.outfit
        if outfit.bottom in ("trousers", "shorts"):
            relief = 0.035 * self.unit
            shapes.append(
                Solid([self._hips()], outfit.bottom_cloth, relief, self.folds, cast=0, frame=self.frame, line=0)
            )
        return shapes

    def _hips(self) -> Floats:
        body = self.person.body
        wide = 0.96 * half_width(body.hips, 0.075 * body.girth, self.pose.turn)
        half = [(-0.97 * wide, 0.05), (-wide, 0.0), (-0.86 * wide, -0.07)]
        crotch = [(0.45 * wide, 0.085), (0.0, 0.075), (-0.45 * wide, 0.085)]
        return smooth(self.trunk([*half, *_mirrored(half), *crotch]), 4)

    def _leg(self, side: str) -> list[Shape]:
        hip, knee, ankle = (self.at[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle"))
        outfit, thick = self.person.outfit, self.unit * (0.72 + 0.28 * self.person.body.girth)
        bones, radii = _bones(hip, knee, ankle), _LEG * thick
        length = outfit.bottom_length if outfit.bottom in ("trousers", "shorts") else 0.0
        shapes: list[Shape] = []
        if length < 1.9:
            sock = capsules(np.stack([ankle + (knee - ankle) * 0.13, ankle]), radii[[4, 4]] * 1.1)
            shapes.append(Solid(capsules(bones, radii), self.person.skin, relief=0.034 * thick))
            shapes.append(Solid(sock, outfit.socks, relief=0.014 * self.unit, cast=0.1))
        shapes += self._shoe(side, ankle)
        if length:
            bones, radii = _cut(bones, radii, length)
            radii += self.unit * _widening(0.010 if length > 1 else 0.016, len(radii))
            frame = self._along(hip, knee)
            trouser = capsules(bones, radii)
            shapes.append(Solid(trouser, outfit.bottom_cloth, 0.038 * thick, self.folds, shade=0.97, frame=frame))
        return shapes

    def _shoe(self, side: str, ankle: Floats) -> list[Shape]:
        toe, heel = self.feet[side]
        unit, outfit = self.unit, self.person.outfit
        ball = heel + (toe - heel) * 0.72
        upper = capsules(np.stack([heel, ball, toe]), floats((0.022, 0.0225, 0.019)) * unit)
        shaft = capsules(np.stack([ankle, heel + (ball - heel) * 0.3]), floats((0.0215, 0.024)) * unit)
        relief = 0.017 * self.unit
        return [
            Solid(upper + floats((0, 0.0075)) * unit, outfit.soles, relief=relief, cast=0.2),
            Solid(np.concatenate([upper, shaft]), outfit.shoes, relief=relief, cast=0.1, line=0.7),
        ]

    def _skirt(self) -> list[Shape]:
        outfit, body, reach = self.person.outfit, self.person.body, self.person.outfit.bottom_length
        if outfit.bottom not in ("skirt", "dress"):
            return []
        hems = []
        for side in ("right", "left"):
            hip, knee, ankle = (self.at[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle"))
            hems.append(hip + (knee - hip) * reach if reach <= 1 else knee + (ankle - knee) * (reach - 1))
        left, right = sorted(hems, key=lambda hem: float(hem[0]))
        flare, drop = floats((self.unit * (0.052 + 0.022 * reach), 0)), floats((0, 0.01 * self.unit))
        left, right, middle = left - flare, right + flare, (left + right) / 2 + drop
        wide = half_width(body.hips, 0.08 * body.girth, self.pose.turn)
        half = [(-wide * 1.03, 0.01), (-wide * 0.86, -0.075)]
        waist = self.trunk([*half, *_mirrored(half)])
        hem = np.stack([right, (right + middle) / 2 + drop, middle, (left + middle) / 2 + drop, left])
        outline = smooth(np.concatenate([waist, hem]), 4)
        return [Solid([outline], outfit.bottom_cloth, 0.05 * self.unit, self.folds, frame=self.frame)]

    # ---- trunk

    def _side(self) -> Points:
        """Return the left of the trunk's outline, upwards."""
        body, turn, top = self.person.body, self.pose.turn, self.person.outfit.top
        hips, waist, chest = (
            half_width(across, deep * body.girth, turn)
            for across, deep in ((body.hips, 0.076), (body.waist, 0.058), (body.chest, 0.072))
        )
        loose = _LOOSE.get(top, 0.0)
        hem = -0.01 if top in ("dress", "tank") else 0.042
        return [
            (-hips * 1.02 - loose, hem),
            (-hips - loose, -0.03),
            (-waist - 1.6 * loose, -0.125),
            (-chest - loose, -0.215),
        ]

    def _trunk(self) -> list[Shape]:
        half = self._side()
        radius = 0.028 * self.unit
        shoulders = sorted((self.at["right_shoulder"], self.at["left_shoulder"]), key=lambda joint: float(joint[0]))
        outer, top = 0.8 * radius * self.out, radius * (1.05 * self.up)
        lean = 0.2 * radius * self.out
        (left, right), nape = shoulders, self.trunk([(-0.037, -0.309), (0.037, -0.309)])
        outline = [*self.trunk(half), left - outer, left + top - lean, *nape, right + top + lean, right + outer]
        outline += list(self.trunk(_mirrored(half)))
        body = smooth(np.stack(outline), 4)
        main = Solid([body], self.person.outfit.cloth, 0.042 * self.unit, self.folds, frame=self.frame)
        return [main, *self._sewn(half)]

    def _sewn(self, half: Points) -> list[Shape]:
        """Return what is sewn onto the top."""
        outfit, unit, shift = self.person.outfit, self.unit, 0.05 * sin(self.pose.turn)
        if outfit.top == "jacket":
            edge = [(shift * 0.6 - 0.030, 0.03), (shift - 0.024, -0.12), (shift * 0.8 - 0.030, -0.25), (0, -0.30),
                    (shift * 0.8 + 0.030, -0.25), (shift + 0.024, -0.12), (shift * 0.6 + 0.030, 0.03)]  # fmt: skip
            return [Solid([self.trunk(edge)], outfit.inner, 0.02 * unit, self.folds, cast=0)]
        if outfit.top == "shirt":
            placket = smooth(self.trunk([(0, -0.285), (shift, -0.17), (shift * 0.7, 0.03)]), 4, closed=False)
            light = mixed(outfit.cloth.mean, WHITE, 0.6)
            spots = self.trunk(
                [
                    (0.006 + share * shift, down)
                    for share, down in ((0.55, -0.235), (1, -0.17), (1, -0.105), (0.85, -0.04))
                ]
            )
            buttons = [
                Solid([ellipse(x, y, 0.0042 * unit, 0.0042 * unit, 8)], light, line=0.4) for x, y in spots.tolist()
            ]
            return [Lines([placket], self.seam, 0.0035 * unit, line=0.6), *buttons]
        if outfit.top == "hoodie":
            pocket = [(shift - 0.05, -0.005), (shift - 0.036, -0.065), (shift + 0.036, -0.065), (shift + 0.05, -0.005)]
            return [Lines([self.trunk(pocket)], self.seam, 0.004 * unit, line=0.7)]
        if outfit.top == "dress":
            waist = [(half[2][0] * 0.98, -0.115), (0, -0.105), (-half[2][0] * 0.98, -0.115)]
            return [Lines([smooth(self.trunk(waist), 4, closed=False)], self.seam, 0.010 * unit, line=0.8)]
        return []

    def _neck(self) -> list[Shape]:
        chin, unit = self.at["chin"], self.unit
        wide = 0.029 if self.person.woman else 0.036
        rise = chin - self.neck
        bones = np.stack([self.neck + rise * 0.3, chin, chin + rise * 0.9])
        column = capsules(bones, floats((1.1, 1, 1)) * wide * unit)
        return [
            *self._neckline(),
            Solid(column, self.person.skin, relief=0.03 * self.unit, cast=0, shade=0.93, line=0.8),
        ]

    def _neckline(self) -> list[Shape]:
        """Return the skin that the top leaves free."""
        collar, shift = self.person.outfit.collar, 0.03 * sin(self.pose.turn)
        if collar == "high":
            return []
        depth, wide = _NECKLINES[collar]
        sharp = collar in ("vee", "shirt")
        narrow, low = (0.55, 0.25) if sharp else (0.85, 0.4)
        drift = shift if sharp else 0.0
        fold = -0.285 + depth * low
        points = [(-wide, -0.306), (wide, -0.306), (wide * narrow + drift, fold), (shift, -0.285 + depth)]
        points.append((-wide * narrow + drift, fold))
        outline = self.trunk(points)
        skin = outline if sharp else smooth(outline, 4)
        return [Solid([skin], self.person.skin, relief=0.02 * self.unit, cast=0, shade=0.98)]

    def _collar(self) -> list[Shape]:
        collar, shift = self.person.outfit.collar, 0.03 * sin(self.pose.turn)
        if collar in ("shirt", "lapels"):
            return self._flaps(collar, shift)
        if collar == "high":
            half = [(-0.045, -0.285), (-0.041, -0.318), (-0.037, -0.335)]
            outline = smooth(self.trunk([*half, *_mirrored(half), (0, -0.272)]), 3)
            return [
                Solid([outline], self.person.outfit.cloth, 0.02 * self.unit, self.folds, cast=0.2, frame=self.frame)
            ]
        if collar == "hood":
            return self._hood(shift)
        if collar == "round":
            half = [(-0.046, -0.304), (-0.038, -0.280)]
            edge = smooth(self.trunk([*half, (shift, -0.266), *_mirrored(half)]), 3, closed=False)
            return [Lines([edge], self.seam, 0.006 * self.unit, line=0.8)]
        return []

    def _flaps(self, collar: str, shift: float) -> list[Shape]:
        shapes: list[Shape] = []
        for side in (-1, 1):
            flap = [(side * 0.046, -0.318), (side * 0.040 + shift * 0.3, -0.288), (side * 0.022 + shift, -0.250),
                    (side * 0.002 + shift * 1.1, -0.272), (side * 0.030, -0.300)]  # fmt: skip
            if collar == "lapels":
                flap = [(side * 0.050, -0.318), (side * 0.058, -0.255), (side * 0.050 + shift, -0.205),
                        (side * 0.026 + shift, -0.13), (side * 0.031 + shift * 0.6, -0.25)]  # fmt: skip
            relief, cloth = 0.008 * self.unit, self.person.outfit.cloth
            shapes.append(Solid([self.trunk(flap)], cloth, relief, cast=0.35, frame=self.frame, line=0.8))
        return shapes

    def _hood(self, shift: float) -> list[Shape]:
        outfit, unit = self.person.outfit, self.unit
        ring = [(-0.043, -0.322), (-0.053, -0.290), (-0.034 + shift, -0.260), (shift, -0.248), (0.034 + shift, -0.260),
                (0.053, -0.290), (0.043, -0.322)]  # fmt: skip
        curve = smooth(self.trunk(ring), 3, closed=False)
        roll = capsules(curve, np.full(len(curve), 0.014 * unit, np.float32))
        strings = [
            self.trunk([(side * 0.012 + shift, -0.25), (side * 0.016 + shift, -0.215), (side * 0.013 + shift, -0.19)])
            for side in (-1, 1)
        ]
        hood = Solid(roll, outfit.cloth, 0.014 * unit, cast=0.35, frame=self.frame)
        return [hood, Lines(strings, outfit.inner, 0.005 * unit, line=0.7)]


def _mirrored(half: Points) -> Points:
    return [(-across, down) for across, down in reversed(half)]


def _bones(root: Floats, joint: Floats, end: Floats) -> Floats:
    """Return the points of a limb that its radii belong to, 5 x 2."""
    return np.stack([root, (root + joint) / 2, joint, joint + (end - joint) * 0.3, end])


def _cut(bones: Floats, radii: Floats, length: float) -> tuple[Floats, Floats]:
    """Cut a limb where its cloth ends, `length` bones from its root."""
    kept = int((length > _MARKS).sum())
    x, y, radius = (np.interp(length, _MARKS, column) for column in (*bones.T, radii))
    return np.concatenate([bones[:kept], floats([(x, y)])]), np.append(radii[:kept], radius)


def _widening(end: float, count: int) -> Floats:
    """Return how far cloth stands off a limb, in statures, from its root to its hem."""
    return np.linspace(0.002, end, count, dtype=np.float32)
