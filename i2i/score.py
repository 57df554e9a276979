"""The FCN-score: whether a segmentation network sees in a translation what it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from i2i.confusion import Confusion
from i2i.contracts import Images, ImageSpec
from i2i.errors import DataError, UsageError, nearest
from i2i.translate import Translator, load

NEAR = 32
"""A colour within this distance of a palette's, in levels of 255, is that colour after JPEG or resizing."""
UNKNOWN = -1
STRANGE = 0.05
"""More than this share of pixels with other colours, and the labels were not painted with this palette."""


class FCNScore:
    """The accuracy of a segmentation network, the scorer, on the translations, against the classes they were made from.

    Isola et al. 2017, section 4.1, after Long et al. 2015, section 5: "pixel accuracy", "class accuracy" and "class
    IoU" over the whole set, in [0, 1]. The real photos are measured beside: what a perfect translation would score.

    scorer: a run or a model folder of a segmentation. labels: the sample's picture that holds the true classes; by
    default its one class map, or else the one picture beside the target, painted with the palette. palette: an RGB
    triple in 0 ... 255 for each class, where it is not the scorer's own. Pixels that are void for the scorer do not
    count, nor black ones where black is no colour of the palette.
    """

    higher_is_better = True
    beside = ("truth",)

    def __init__(
        self, *, scorer: Path, labels: str | None = None, palette: list[tuple[int, int, int]] | None = None
    ) -> None:
        self.scorer = scorer
        self.labels = labels
        self.palette = palette
        self.confusion = Confusion()
        self.translator: Translator | None = None

    def update(self, fake: Tensor, real: Tensor, *, mask: Tensor | None = None, images: Images | None = None) -> None:
        """Take in N pictures, 1 or 3 × H × W in [0, 1]; UsageError for class indices, and where classes are missing."""
        if not fake.is_floating_point():
            raise UsageError("fcn_score measures pictures, and these are class indices: use the metric 'classes'.")
        if self.translator is None:
            self.translator = self._load(fake.device)
        task = self.translator.task
        channels = task.images[task.inputs[0]].channels
        predicted = self.translator(fake.expand(-1, channels, -1, -1) if fake.shape[1] == 1 else fake)
        true, counted = self._true(images or {}, real, task.images[task.target])
        if true.shape != predicted.shape:
            raise DataError(f"fcn_score: classes {tuple(true.shape)} do not fit pictures {tuple(predicted.shape)}.")
        self.confusion.add(predicted, true, counted)

    def compute(self) -> dict[str, Tensor]:
        """Return the three accuracies in [0, 1]; DataError if no pixel was counted."""
        return self.confusion.scores()

    def _load(self, device: torch.device) -> Translator:
        translator = load(self.scorer, str(device))
        task = translator.task
        if task.images[task.target].classes is None:
            raise UsageError(f"{self.scorer}: translates into pictures; fcn_score needs a segmentation as scorer.")
        self.palette = self.palette or [*getattr(task, "palette", [])]
        return translator

    def _true(self, images: Images, real: Tensor, spec: ImageSpec) -> tuple[Tensor, Tensor]:
        """Return (the true classes, N × 1 × H × W, where they count); DataError for a class that the scorer lacks."""
        name = self._name(images, real)
        picture, classes = images[name], spec.classes or 0
        void = UNKNOWN if spec.void is None else spec.void
        if picture.is_floating_point():
            picture = self._by_colour(name, picture)
            return picture, (picture != UNKNOWN) & (picture != void)
        counted = picture != void
        if (wrong := picture[counted & ((picture < 0) | (picture >= classes))]).numel():
            raise DataError(
                f"fcn_score: {name!r} holds the class index {int(wrong[0])}, and the scorer {self.scorer} knows "
                f"0 ... {classes - 1}: train one on these classes, with 'void' for what is to be ignored."
            )
        return picture, counted

    def _name(self, images: Images, real: Tensor) -> str:
        """Return the name of the picture that holds the true classes."""
        if self.labels is not None:
            if self.labels not in images:
                given = f"{nearest(self.labels, images)} It has: {', '.join(images)}."
                raise UsageError(f"fcn_score: the task has no picture {self.labels!r}.{given}")
            return self.labels
        maps = [name for name, picture in images.items() if not picture.is_floating_point()]
        painted = [name for name, picture in images.items() if picture is not real and picture.shape[1] == 3]
        names = maps or painted
        if len(names) != 1:
            found = f"there are {' and '.join(names)}" if names else "there is none"
            raise UsageError(f"fcn_score needs the picture with the true classes, and {found}: name it as 'labels'.")
        return names[0]

    def _by_colour(self, name: str, picture: Tensor) -> Tensor:
        """Return the class of the nearest colour at each pixel, UNKNOWN where it is black or none is near."""
        if not self.palette or picture.shape[1] != 3:
            reason = "it is grey" if self.palette else "the scorer's task has no palette"
            raise UsageError(f"fcn_score cannot tell classes by the colours of {name!r}: {reason}. Give class maps.")
        black = (0, 0, 0)
        index, distance = _nearest(picture, self.palette if black in self.palette else [*self.palette, black])
        strange = distance > NEAR
        if (share := strange.float().mean().item()) > STRANGE:
            raise DataError(
                f"fcn_score: {share:.0%} of the pixels of {name!r} have none of the palette's colours: give those that "
                "the labels are painted in as 'palette', in the order of the scorer's classes, or give class maps."
            )
        return index.masked_fill(strange | (index == len(self.palette)), UNKNOWN)


def _nearest(picture: Tensor, palette: Sequence[tuple[int, int, int]]) -> tuple[Tensor, Tensor]:
    """Return (the index of the nearest colour, its distance in levels of 255), N × 1 × H × W."""
    pixels = picture.float() * 255
    best = torch.full_like(pixels[:, :1], torch.inf)
    index = torch.zeros_like(best, dtype=torch.int64)
    for i, colour in enumerate(palette):  # one by one: all at once would hold as many pictures in memory as classes
        distance = (pixels - pixels.new_tensor(colour).view(1, 3, 1, 1)).square().sum(1, keepdim=True).sqrt()
        index = torch.where(distance < best, i, index)
        best = torch.minimum(best, distance)
    return index, best
