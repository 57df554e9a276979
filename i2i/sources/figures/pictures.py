"""One sample: a person, a pose and a place, and the aligned pictures made of them."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import cv2
import numpy as np

from i2i.sources.figures.body import Figure
from i2i.sources.figures.canvas import Canvas, Shape, Sheet, circle
from i2i.sources.figures.fabric import Bytes, Floats, floats, grain, mixed
from i2i.sources.figures.head import Head
from i2i.sources.figures.people import Person, between, draw_person
from i2i.sources.figures.places import draw_place
from i2i.sources.figures.poses import JOINTS, Pose, Skeleton, draw_bust, draw_pose, place

Subject = Literal["figure", "portrait"]

# OpenPose's limbs of the COCO model, in drawing order, by joint; the hue goes once round from limb to limb.
LIMBS = ((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
         (0, 14), (14, 16), (0, 15), (15, 17))  # fmt: skip
COLOURS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255),
    (255, 0, 170), (255, 0, 85),
)  # fmt: skip


class Sitting:
    """One sample; each part is drawn when a layer first needs it, from a stream of random numbers of its own."""

    def __init__(self, entropy: tuple[int, int], who: tuple[int, ...], subject: Subject, size: int):
        self.entropy, self.who, self.subject, self.size = entropy, who, subject, size
        rng = self._generator(0)
        self.pose: Pose = draw_pose(rng) if subject == "figure" else draw_bust(rng)
        self.person: Person = draw_person(self._person_generator(1))
        self.skeleton: Skeleton = place(self.person.body, self.pose, self._camera(rng), rng)
        row, column = rng.integers(0, 256, 2).tolist()
        self.phase = (row, column)

    def _camera(self, rng: np.random.Generator) -> tuple[float, float, float] | None:
        if self.subject == "figure":
            return None
        half = between(rng, 0.225, 0.265)
        return half / self.person.body.head, between(rng, 0.44, 0.56), between(rng, 0.62, 0.68)

    def _generator(self, stream: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64((*self.entropy, stream)))

    def _person_generator(self, stream: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64((*self.who, stream)))

    @cached_property
    def head(self) -> Head:
        detailed = self.skeleton.unit * self.person.body.head * self.size > 14
        return Head(self.person, self.pose, self.skeleton, self._person_generator(3), detailed=detailed)

    @cached_property
    def shapes(self) -> list[Shape]:
        """Everything that is drawn of the person, from back to front."""
        figure, head = Figure(self.person, self.pose, self.skeleton), self.head
        return [*head.behind(), *figure.behind(), *figure.front(), *head.front()]

    @cached_property
    def painted(self) -> tuple[Bytes, Bytes]:
        """The person on black, H x W x 3, and the coverage, H x W."""
        row, column, side = self._person_generator(4).integers(0, 256, 3).tolist()  # of the place: the sun, the folds
        canvas = Canvas(self.size, (row, column), (0.62 if side < 128 else -0.62, 0.78))
        for shape in self.shapes:
            shape.paint(canvas)
        return canvas.finished()

    def photo(self) -> Bytes:
        """Return the person in a place, 3 x H x W."""
        figure, cover = self.painted
        behind = draw_place(self._person_generator(2), self.size, near=self.subject == "portrait")
        self._shadow(behind)
        behind *= (255 - cover)[:, :, None] * np.float32(1 / 255)
        behind += figure
        behind += grain(self.size, self.phase) * 2.6
        return np.ascontiguousarray(np.clip(behind, 0, 255).astype(np.uint8).transpose(2, 0, 1))

    def _shadow(self, behind: Floats) -> None:
        """Darken the ground beneath the feet and the trunk."""
        if self.subject == "portrait":
            return
        unit, ground, scale = self.skeleton.unit, self.skeleton.ground, self.size * 16
        spots = [(float(self.skeleton.points["pelvis"][0]), ground - 0.01, 0.13)]
        for toe, heel in self.skeleton.feet.values():
            spots.append((float(toe[0] + heel[0]) / 2, max(float(toe[1]), float(heel[1]), ground - 0.06 * unit), 0.06))
        shade = np.zeros((self.size, self.size), np.float32)
        for x, y, wide in spots:
            centre = (round(x * scale), round(min(y, ground) * scale))
            axes = (round(wide * unit * scale), round(0.2 * wide * unit * scale))
            cv2.ellipse(shade, centre, axes, 0, 0, 360, 0.45, -1, cv2.LINE_8, 4)
        reach = 2 * round(self.size * 0.016) + 1
        behind *= 1 - cv2.blur(cv2.blur(shade, (reach, reach)), (reach, reach))[:, :, None]

    def alpha(self) -> Bytes:
        """Return how much of each pixel the person covers, 1 x H x W."""
        return np.ascontiguousarray(self.painted[1])[None]

    def sketch(self) -> Bytes:
        """Return the pencil drawing of the person, 1 x H x W."""
        sheet = Sheet(self.size, self.phase)
        for shape in self.shapes:
            shape.sketch(sheet)
        return sheet.finished()[None]

    def joints(self) -> Floats:
        """Return the joints in the order of JOINTS, 18 x 2, in picture units."""
        head, points = self.head, self.skeleton.points
        face = {"nose": head.at["nose", 0][0]}
        for side, name in ((-1, "right"), (1, "left")):
            face[f"{name}_eye"] = head.at["white", side].mean(axis=0)
            face[f"{name}_ear"] = head.outline([(side * 0.70, 0.04)])[0]
        return np.stack([face[name] if name in face else points[name] for name in JOINTS]).astype(np.float32)

    def stick(self) -> Bytes:
        """Return the stick figure, 3 x H x W, in OpenPose's colours."""
        side, joints = self.size * 2, self.joints()
        picture = np.zeros((side, side, 3), np.uint8)
        width = (0.011 if self.subject == "figure" else 0.018) * side
        pixels = joints * side - 1
        bars = (_bars(pixels, width) * 16).astype(np.int32)
        for bar, colour in zip(bars, COLOURS, strict=False):
            cv2.fillConvexPoly(picture, bar, mixed((0, 0, 0), colour, 0.6), cv2.LINE_AA, 4)
        for (x, y), colour in zip((pixels * 16).astype(np.int32).tolist(), COLOURS, strict=True):
            cv2.circle(picture, (x, y), round(width * 16), colour, -1, cv2.LINE_AA, 4)
        return np.ascontiguousarray(cv2.pyrDown(picture).transpose(2, 0, 1))


def _bars(joints: Floats, width: float) -> Floats:
    """Return limbs as OpenPose draws them: ellipses as long as the bones, 17 x 20 x 2."""
    first, second = (joints[list(ends)] for ends in zip(*LIMBS, strict=True))
    middle, half = (first + second) / 2, (second - first) / 2
    length = np.maximum(np.hypot(half[:, 0], half[:, 1]), 1e-3)
    across = half[:, ::-1] * floats((-1, 1)) * (width / length)[:, None]
    turn = circle(20)
    return np.asarray(middle[:, None] + turn[:, :1] * half[:, None] + turn[:, 1:] * across[:, None])
