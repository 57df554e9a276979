"""The tasks between photographs and maps of classes: naming the class of every pixel, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Interval
from torch import Tensor

from i2i.contracts import Batch, Count, ImageSpec, Natural
from i2i.errors import DataError, UsageError

if TYPE_CHECKING:
    from i2i.contracts import Images

Level = Annotated[int, Interval(ge=0, le=255)]


class Segmentation:
    """Translate a `photo`, RGB in [0, 1], into its `label`: class indices, int64 N × 1 × H × W in 0 ... classes-1.

    classes: how many there are, or their names in the order of their indices. void: the index of pixels that count for
    nothing; it may lie within the classes or beyond them (255 is common), and is never predicted. palette: an RGB
    triple in 0 ... 255 for each class; by default the colours of PASCAL VOC, with black kept for void.
    In network space a label is one-hot, N × classes × H × W, with a row of zeros at void pixels, and a prediction is
    a probability for each class.
    """

    paired = True
    in_channels = 3

    def __init__(
        self,
        *,
        classes: Count | list[str] = 12,
        void: Natural | None = None,
        palette: list[tuple[Level, Level, Level]] | None = None,
    ) -> None:
        self.classes = _names("segmentation", classes)
        self.palette = _palette("segmentation", len(self.classes), void, palette)
        self.out_channels = len(self.classes)
        self.void = void
        self.images: Mapping[str, ImageSpec] = {"photo": ImageSpec(3), "label": ImageSpec(1, self.out_channels, void)}
        self.inputs: tuple[str, ...] = ("photo",)
        self.target = "label"

    def batch(self, images: Images) -> Batch:
        """Bring the photo into [-1, 1] and the label into one-hot form; the mask is 0 at void pixels.

        An index that is no class raises DataError on the CPU. On other devices looking would make the host wait, so
        its pixel becomes NaN there, and so does the loss.
        """
        one_hot, valid = _one_hot("segmentation", images["label"], self.out_channels, self.void)
        return Batch(self.encode(images), one_hot, None if self.void is None else valid.float())

    def encode(self, images: Images) -> Tensor:
        """Bring the photo into network space, N × 3 × H × W in [-1, 1]."""
        return images["photo"] * 2 - 1

    def activate(self, output: Tensor) -> Tensor:
        """Turn raw scores into probabilities by softmax over the classes, in float32.

        A score more than 80 below its pixel's best counts as 80 below and keeps its gradient: its probability would
        become 0 in float32, and no loss could bring it back.
        """
        scores = output.float()
        known = scores.detach()
        lift = (known.amax(1, keepdim=True) - 80 - known).clamp(min=0)
        return torch.softmax(scores + lift, 1)

    def decode(self, output: Tensor, images: Images) -> Tensor:
        """Take the most probable class of each pixel, int64 N × 1 × H × W."""
        if self.void is not None and self.void < self.out_channels:
            index = torch.arange(self.out_channels, device=output.device).view(1, -1, 1, 1)
            output = output.masked_fill(index == self.void, -torch.inf)
        return output.argmax(1, keepdim=True)


class Labels:
    """Translate a `label`, class indices int64 N × 1 × H × W, into a `photo`, RGB in [0, 1]: labels to streets.

    classes, void, palette: as of the task `segmentation`; the palette is for looking at. In network space a label is
    one-hot, N × classes × H × W, with zeros at void pixels, where the paper has its colours (Isola et al. 2017,
    section 4): classes are no amounts, and no two of them lie nearer to each other than others.
    """

    paired = True
    out_channels = 3

    def __init__(
        self,
        *,
        classes: Count | list[str] = 12,
        void: Natural | None = None,
        palette: list[tuple[Level, Level, Level]] | None = None,
    ) -> None:
        self.classes = _names("labels", classes)
        self.in_channels = len(self.classes)
        self.void = void
        self.colours = _palette("labels", self.in_channels, void, palette)
        self.images: Mapping[str, ImageSpec] = {"label": ImageSpec(1, self.in_channels, void), "photo": ImageSpec(3)}
        self.inputs: tuple[str, ...] = ("label",)
        self.target = "photo"

    def batch(self, images: Images) -> Batch:
        """Bring the label into one-hot form and the photo into [-1, 1]; a wrong index is told as by `segmentation`."""
        return Batch(self.encode(images), images["photo"] * 2 - 1)

    def encode(self, images: Images) -> Tensor:
        """Bring the label into one-hot form, N × classes × H × W."""
        return _one_hot("labels", images["label"], self.in_channels, self.void)[0]

    def preview(self, images: Images) -> Tensor:
        """Paint the label in its palette, void in black: N × 3 × H × W in [0, 1]."""
        label = images["label"]
        known = (label >= 0) & (label < self.in_channels)
        known = known if self.void is None else known & (label != self.void)
        colours = torch.tensor(self.colours, dtype=torch.float32, device=label.device) / 255
        painted = colours[torch.where(known, label, 0)[:, 0]].movedim(3, 1)
        return painted * known

    def activate(self, output: Tensor) -> Tensor:
        """Bound raw scores by tanh, in float32."""
        return torch.tanh(output.float())

    def decode(self, output: Tensor, images: Images) -> Tensor:
        """Bring a translation back to [0, 1], N × 3 × H × W."""
        return ((output + 1) / 2).clamp(0, 1)


def _names(task: str, classes: int | list[str]) -> list[str]:
    if not classes:
        raise UsageError(f"{task}: 'classes' is empty: name at least one class")
    return [str(index) for index in range(classes)] if isinstance(classes, int) else list(classes)


def _palette(
    task: str, classes: int, void: int | None, chosen: list[tuple[int, int, int]] | None
) -> list[tuple[int, int, int]]:
    """Return a colour for each class: those chosen, or PASCAL VOC's with black for void."""
    if chosen is not None and len(chosen) != classes:
        raise UsageError(f"{task}: 'palette' has {len(chosen)} colours for {classes} classes: give one for each")
    palette = list(chosen or [_voc_colour(index + 1) for index in range(classes)])
    if chosen is None and void is not None and void < classes:
        palette[void] = (0, 0, 0)
    return palette


def _one_hot(task: str, label: Tensor, classes: int, void: int | None) -> tuple[Tensor, Tensor]:
    """Return (one-hot float N × classes × H × W, valid bool N × 1 × H × W) of a label; zeros where it is void."""
    valid = torch.ones_like(label, dtype=torch.bool) if void is None else label != void
    wrong = valid & ((label < 0) | (label >= classes))
    if label.device.type == "cpu" and wrong.any():
        raise DataError(
            f"{task}: a label holds the class index {int(label[wrong][0])}, but there are only the classes "
            f"0 ... {classes - 1}: set 'classes', or 'void' if this index is to be ignored"
        )
    index = torch.arange(classes, device=label.device).view(1, -1, 1, 1)
    return ((label == index) & valid).float().masked_fill(wrong, torch.nan), valid


def _voc_colour(index: int) -> tuple[int, int, int]:
    """Return PASCAL VOC's RGB colour of an index: its bits dealt to the three channels, highest first; all differ."""
    red, green, blue = (sum((index >> 3 * bit + channel & 1) << 7 - bit for bit in range(8)) for channel in range(3))
    return red, green, blue
