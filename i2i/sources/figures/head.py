"""The head as shapes in drawing order: hair behind, face, beard, hair before, glasses."""

from __future__ import annotations

from math import cos, sin

import numpy as np

from i2i.sources.figures import face as faces
from i2i.sources.figures.canvas import Lines, Shape, Solid, Tint, ellipse, smooth
from i2i.sources.figures.fabric import Colour, Floats, floats, luma, mixed
from i2i.sources.figures.face import Points
from i2i.sources.figures.people import Person
from i2i.sources.figures.poses import Pose, Skeleton

DARK: Colour = (28, 20, 20)
WHITE: Colour = (238, 234, 230)
GOLD: Colour = (232, 200, 110)


class Head:
    """A head where the picture shows it; `at` holds the marks of the face in picture units.

    detailed: draw also what would be smaller than a pixel of a small head.
    """

    def __init__(self, person: Person, pose: Pose, skeleton: Skeleton, rng: np.random.Generator, *, detailed: bool):
        self.person, self.pose, self.rng, self.detailed = person, pose, rng, detailed
        self.scale = person.body.head * skeleton.unit
        tilt = pose.head_tilt + 0.4 * pose.lean
        turned = np.array([[cos(tilt), sin(tilt)], [-sin(tilt), cos(tilt)]])
        self.rotation = (turned * self.scale).astype(np.float32)
        self.centre = skeleton.points["chin"] + floats((0, -0.94)) @ self.rotation
        self.turn, self.straight, self.nod = (
            (f(a)) for f, a in ((sin, pose.head_turn), (cos, pose.head_turn), (sin, pose.nod))
        )
        marks = faces.features(person, pose)
        placed = self.surface([mark for mark, _ in marks.values()], [lift for _, lift in marks.values()])
        self.at = dict(zip(marks, placed, strict=True))
        skin, hair = person.skin, person.hair.colour
        self.dim = mixed(skin, (96, 34, 20), 0.42)
        self.hair_dark, self.hair_light = (
            mixed(hair, (0, 0, 0), 0.3),
            mixed(hair, (255, 226, 190), 0.04 + 0.16 * luma(hair)),
        )

    def outline(self, points: Points | Floats) -> Floats:
        """Map points of the silhouette into the picture: it hardly changes when the head turns."""
        xy = np.array(points, np.float32)
        low = np.clip(xy[:, 1] + 0.1, 0, 1)
        xy[:, 0] += self.turn * (0.04 + 0.20 * low)
        xy[:, 1] += self.nod * 0.12 * (1 - low)
        return np.asarray(xy @ self.rotation + self.centre)

    def surface(self, curves: list[Floats], lifts: list[float]) -> list[Floats]:
        """Map curves on the face into the picture: they travel with it when it turns, the more the higher they are."""
        ends = np.cumsum([len(curve) for curve in curves])
        xy = np.concatenate(curves)
        round_off = 1 - (xy * floats((1 / 0.80, 1 / 1.5))) ** 2 @ np.ones(2, np.float32)
        height = 0.72 * np.sqrt(np.maximum(round_off, 0.02))
        height += np.repeat(floats(lifts), np.diff(ends, prepend=0))
        placed = np.empty_like(xy)
        placed[:, 0] = xy[:, 0] * self.straight + height * self.turn
        placed[:, 1] = xy[:, 1] + height * self.nod * 0.8
        return np.split(placed @ self.rotation + self.centre, ends[:-1])

    # ---- drawing order

    def behind(self) -> list[Shape]:
        """Return the hair that the neck and the trunk hide."""
        hair, shapes = self.person.hair, list[Shape]()
        if hair.bun == "tail":
            tail = [(0.1, -0.9), (0.75, -0.75), (1.0, -0.1), (0.92, 0.7), (0.78, 1.25), (0.62, 0.7), (0.5, 0)]
            side = -1 if self.turn > 0 else 1
            shapes.append(self._lock([(side * x, y) for x, y in tail]))
        if hair.length > 0:
            shapes.append(self._lock(faces.mane(hair), shade=0.8))
        if hair.bun == "bun":
            x, y = self.outline([(0.0, -1.12 - hair.volume)])[0].tolist()
            bun = ellipse(x, y, 0.34 * self.scale, 0.34 * self.scale)
            shapes.append(Solid([bun], hair.colour, 0.2 * self.scale, ("curls", 0.5 * self.scale), hatched=0.6))
        return shapes

    def front(self) -> list[Shape]:
        """Return the head itself."""
        eyes = [shape for side in (-1, 1) for shape in (*self._eye(side), self._brow(side))]
        face = [*self._ears(), *self._skin(), *self._beard(), *eyes, *self._nose(), *self._mouth()]
        return [*face, *self._cap(), *self._glasses()]

    # ---- the face

    def _ears(self) -> list[Shape]:
        scale, shapes = self.scale, list[Shape]()
        for side in (-1, 1):
            if side * self.turn > 0.42:
                continue
            x, y = self.outline([(side * (0.745 - side * float(self.turn) * 0.10), 0.06)])[0].tolist()
            ear = ellipse(x, y, 0.105 * scale, 0.21 * scale, 14)
            shapes.append(Solid([ear], self.person.skin, relief=0.06 * scale, cast=0, shade=0.94))
            shapes.append(Tint(ellipse(x, y, 0.05 * scale, 0.12 * scale, 10), self.dim, 0.5, 0.03 * scale))
            if self.person.earrings:
                drop = ellipse(x, y + 0.27 * scale, 0.045 * scale, 0.045 * scale, 10)
                shapes.append(Solid([drop], GOLD, relief=0.03 * scale, line=0.6))
        return shapes

    def _skin(self) -> list[Shape]:
        person, scale, at = self.person, self.scale, self.at
        shapes: list[Shape] = [
            Solid([self.outline(faces.skull(person.face))], person.skin, relief=0.42 * scale, cast=0.5)
        ]
        blush, glow = mixed(person.skin, (214, 74, 62), 0.55), 0.42 if person.woman else 0.26
        for side in (-1, 1):
            shapes.append(Tint(at["blush", side], blush, glow, 0.12 * scale))
            shapes.append(Tint(at["socket", side], self.dim, 0.26, 0.08 * scale))
        if not self.detailed:
            return shapes
        if person.face.freckles:
            spots = self.rng.random((14, 2), np.float32) * floats((0.84, 0.26)) + floats((-0.42, 0.12))
            brown = mixed(person.skin, (150, 78, 40), 0.5)
            for x, y in self.surface([spots], [0])[0].tolist():
                shapes.append(Solid([ellipse(x, y, 0.014 * scale, 0.012 * scale, 6)], brown, filled=0.4))
        if person.face.lines > 0.2:
            colour = mixed(person.skin, self.dim, 0.3 + 0.35 * person.face.lines)
            folds = [at["fold", side] for side in (-1, 1)]
            shapes.append(Lines(folds, colour, 0.016 * scale, line=0.5, darkness=0.4 * person.face.lines))
        return shapes

    def _eye(self, side: int) -> list[Shape]:
        person, scale, at = self.person, self.scale, self.at
        eye: list[Shape] = [
            Solid([at["white", side]], WHITE, line=0, hatched=0),
            Solid([at["iris", side]], person.eyes, filled=0.5),
            Solid([at["pupil", side]], (16, 12, 12), filled=0.9),
            Solid([at["lid", side]], mixed(DARK, person.hair.colour, 0.25), filled=0.92),
        ]
        if not self.detailed:
            return eye
        edge = mixed(person.skin, self.dim, 0.65)
        return [
            *eye,
            Solid([at["glint", side]], (250, 250, 250), filled=0.01),
            Lines([at["under", side]], edge, 0.014 * scale, line=0.45, darkness=0.45),
            Lines([at["crease", side]], edge, 0.018 * scale, line=0.45, darkness=0.4),
        ]

    def _brow(self, side: int) -> Shape:
        hair = self.person.hair.colour
        fair = luma(hair) > 0.55
        colour = mixed(hair, (90, 60, 40), 0.5) if fair else mixed(self.hair_dark, self.person.skin, 0.12)
        return Solid([self.at["brow", side]], colour, filled=0.6 if fair else 0.85)

    def _nose(self) -> list[Shape]:
        skin, scale, at = self.person.skin, self.scale, self.at
        shade = Tint(at["nose shade", 0], self.dim, 0.42, 0.05 * scale)
        curve = Lines([at["nose base", 0]], mixed(skin, self.dim, 0.75), 0.016 * scale, line=0.5, darkness=0.55)
        if not self.detailed:
            return [shade, curve]
        holes = [Solid([at["nostril", side]], mixed(self.dim, DARK, 0.35), filled=0.65) for side in (-1, 1)]
        wings = [at["nose wing", -1], at["nose wing", 1]]
        return [
            shade,
            Tint(at["nose under", 0], self.dim, 0.5, 0.04 * scale),
            Tint(at["nose light", 0], mixed(skin, (255, 250, 240), 0.6), 0.4, 0.08 * scale),
            *holes,
            curve,
            Lines(wings, curve.colour, curve.width, line=0.5, darkness=0.55),
            Lines([at["nose bridge", 0]], mixed(skin, self.dim, 0.35), 0.012 * scale, line=0.4, darkness=0.35),
        ]

    def _mouth(self) -> list[Shape]:
        scale, at, lips = self.scale, self.at, self.person.lips
        dark = mixed(lips, DARK, 0.6)
        shapes: list[Shape] = [
            Solid([at["upper lip", 0]], mixed(lips, DARK, 0.12), line=0.35, hatched=0.45),
            Solid([at["lower lip", 0]], lips, line=0.35, hatched=0.3),
        ]
        if self.detailed:
            shapes.append(Tint(at["lip shade", 0], self.dim, 0.35, 0.05 * scale))
            shapes.append(Tint(at["lip light", 0], (255, 236, 228), 0.35, 0.03 * scale))
        if self.pose.open_mouth > 0.1:
            shapes.append(Solid([at["mouth", 0]], mixed(dark, DARK, 0.5), filled=0.85))
            shapes.append(Solid([at["teeth", 0]], WHITE, filled=0.01))
        else:
            shapes.append(Lines([at["mouth line", 0]], dark, 0.022 * scale, line=0.7))
        return shapes

    def _beard(self) -> list[Shape]:
        kind, face = self.person.beard, self.person.face
        colour = mixed(self.person.hair.colour, self.hair_dark, 0.4)
        if not kind:
            return []
        if kind == "stubble":
            shadow = self.outline(faces.beard(face, grown=0))
            return [Tint(shadow, mixed(colour, self.person.skin, 0.35), 0.5, 0.06 * self.scale, hatched=0.22)]
        grown: list[Floats] = []
        if kind == "goatee":
            grown.append(self.outline(smooth(faces.GOATEE, 4)))
        if kind == "full":
            grown.append(self.outline(faces.beard(face, grown=0.1)))
        relief, bumps = 0.07 * self.scale, ("curls", 0.55 * self.scale)
        return [
            Solid([patch], colour, relief, bumps, cast=0.25, line=0.5, hatched=0.6)
            for patch in (*grown, self.at["moustache", 0])
        ]

    # ---- hair

    def _curls(self, edge: Floats) -> Floats:
        """Let a border of hair wave or curl outwards."""
        texture = self.person.hair.texture
        if texture == "straight":
            return edge
        depth, step = (0.085, 5.5) if texture == "curly" else (0.035, 11.0)
        reach = np.hypot(edge[:, 0], edge[:, 1])
        turn = np.arange(len(edge), dtype=np.float32) * (np.pi / step)
        waves = np.abs(np.sin(turn + self.rng.random(len(edge), np.float32) * 0.5))
        waves *= depth / np.maximum(reach, 0.3)
        return np.asarray(edge * (1 + waves)[:, None], np.float32)

    def _mass(self, outlines: list[Floats], *, shade: float = 1, cast: float = 0.4) -> Shape:
        hair = self.person.hair
        noise, depth = {"straight": ("strands", 0.55), "wavy": ("strands", 0.7), "curly": ("curls", 1.1)}[hair.texture]
        colour = mixed(hair.colour, self.person.skin, 0.25) if hair.style == "buzz" else hair.colour
        return Solid(
            outlines, colour, 0.17 * self.scale, (noise, depth * self.scale), cast, shade, line=0.8, hatched=0.62
        )

    def _lock(self, points: Points, *, shade: float = 1) -> Shape:
        return self._mass([self.outline(self._curls(smooth(points, 8)))], shade=shade, cast=0.3)

    def _cap(self) -> list[Shape]:
        hair = self.person.hair
        if hair.style == "bald":
            return []
        ear = 0.10 if self.person.woman else -0.02
        over, line = (
            smooth(faces.crown(hair, ear), 6, closed=False),
            smooth(faces.hairline(hair.style, hair.part, ear), 6, closed=False),
        )
        border = self._curls(over) if hair.volume > 0.05 else over
        outlines, strands = [np.concatenate([border, line[::-1]])], [self._combed(over, line)]
        if hair.length > 0:
            for side in (-1, 1):
                outer, inner = (smooth(edge, 6, closed=False) for edge in faces.curtain(hair, side))
                outlines.append(np.concatenate([self._curls(outer), inner[::-1]]))
                shares = np.linspace(0.15, 0.85, 5, dtype=np.float32)[:, None, None]
                strands.append((outer * (1 - shares) + inner * shares)[:, 3:-1:2])
        mass = self._mass([self.outline(outline) for outline in outlines])
        return (
            [mass]
            if hair.style == "buzz"
            else [mass, *self._strands(strands[: 9 if self.detailed else 1]), self._wisps(over)]
        )

    def _combed(self, over: Floats, line: Floats) -> Floats:
        """Return strands of the front hair, N x 7 x 2: from the part to the hairline, or straight up from it."""
        hair, where = self.person.hair, np.linspace(0.03, 0.97, 18, dtype=np.float32)
        end, above = _resampled(line, where), _resampled(over, where)
        if hair.style in ("back", "receding"):
            start, middle = above * 0.97, (above + end) * 0.52
        else:
            start = np.broadcast_to(
                floats((0.9 * hair.part if hair.style == "side" else 0, -0.95 - hair.volume)), end.shape
            )
            middle = above * 0.8 + end * 0.2
        t = np.linspace(0.12, 1, 7, dtype=np.float32)[:, None]
        return np.asarray(start[:, None] * (1 - t) ** 2 + middle[:, None] * (2 * t * (1 - t)) + end[:, None] * t**2)

    def _strands(self, groups: list[Floats]) -> list[Shape]:
        wave = {"straight": 0.0, "wavy": 0.02, "curly": 0.045}[self.person.hair.texture]
        placed: list[Floats] = []
        for group in groups:
            count, points = group.shape[:2]
            turn = np.arange(points, dtype=np.float32) * 2 + self.rng.random((count, 1), np.float32) * 6
            bent = group + wave * np.sin(turn)[:, :, None]
            placed += list(self.outline(bent.reshape(-1, 2)).reshape(count, points, 2))
        return [
            Lines(placed[0::2], self.hair_dark, 0.015 * self.scale, line=0.5, darkness=0.8),
            Lines(placed[1::3], self.hair_light, 0.013 * self.scale, line=0.4, darkness=0.65),
        ]

    def _wisps(self, over: Floats) -> Shape:
        """Return single hairs that leave the border, finer than a pixel: what makes a matte soft."""
        count, length = 12, 8
        first = self.rng.integers(1, len(over) - length - 1, count)
        lift = np.linspace(-0.02, 1, length, dtype=np.float32)[None, :, None] ** 2 * 0.085
        lift = np.where((self.rng.random(count) < 0.5)[:, None, None], lift, lift[:, ::-1])
        amount = self.rng.random((count, 1, 1), np.float32)
        curves = over[first[:, None] + np.arange(length)] * (0.985 + lift * amount)
        placed = self.outline(curves.reshape(-1, 2)).reshape(count, length, 2)
        return Lines(placed, self.person.hair.colour, 0.005 * self.scale, line=0.3, darkness=0.3)

    # ---- what is worn

    def _glasses(self) -> list[Shape]:
        kind, at = self.person.glasses, self.at
        if not kind:
            return []
        rims = [at[kind, side] for side in (-1, 1)]
        arms = [np.concatenate([at["hinge", side], self.outline([(side * 0.73, -0.04)])]) for side in (-1, 1)]
        glass: list[Shape] = [Tint(rim, (232, 242, 250), 0.16, 0.02 * self.scale) for rim in rims]
        wire = Lines([*rims, at["bridge", 0], *arms], self.person.frames, 0.032 * self.scale, line=0.8, darkness=0.9)
        return [*glass, wire]


def _resampled(curve: Floats, where: Floats) -> Floats:
    marks = np.linspace(0, 1, len(curve))
    return np.stack([np.interp(where, marks, curve[:, axis]) for axis in (0, 1)], axis=1).astype(np.float32)
