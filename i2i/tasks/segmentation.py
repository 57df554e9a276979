"""The task of naming the class of every pixel of a photograph."""

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
        self.classes = [str(index) for index in range(classes)] if isinstance(classes, int) else list(classes)
        self.out_channels = len(self.classes)
        if not self.classes:
            raise UsageError("segmentation: 'classes' is empty: name at least one class")
        if palette is not None and len(palette) != self.out_channels:
            raise UsageError(
                f"segmentation: 'palette' has {len(palette)} colours for {self.out_channels} classes: give one for each"
            )
        self.void = void
        self.palette = palette or [_voc_colour(index + 1) for index in range(self.out_channels)]
        if palette is None and void is not None and void < self.out_channels:
            self.palette[void] = (0, 0, 0)
        self.images: Mapping[str, ImageSpec] = {"photo": ImageSpec(3), "label": ImageSpec(1, self.out_channels, void)}
        self.inputs: tuple[str, ...] = ("photo",)
        self.target = "label"

    def batch(self, images: Images) -> Batch:
        """Bring the photo into [-1, 1] and the label into one-hot form; the mask is 0 at void pixels.

        An index that is no class raises DataError on the CPU. On other devices looking would make the host wait, so
        its pixel becomes NaN there, and so does the loss.
        """
        label = images["label"]
        valid = torch.ones_like(label, dtype=torch.bool) if self.void is None else label != self.void
        wrong = valid & ((label < 0) | (label >= self.out_channels))
        if label.device.type == "cpu" and wrong.any():
            raise DataError(
                f"segmentation: a label holds the class index {int(label[wrong][0])}, but there are only the classes "
                f"0 ... {self.out_channels - 1}: set 'classes', or 'void' if this index is to be ignored"
            )
        index = torch.arange(self.out_channels, device=label.device).view(1, -1, 1, 1)
        one_hot = ((label == index) & valid).float().masked_fill(wrong, torch.nan)
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


def _voc_colour(index: int) -> tuple[int, int, int]:
    """Return PASCAL VOC's RGB colour of an index: its bits dealt to the three channels, highest first; all differ."""
    red, green, blue = (sum((index >> 3 * bit + channel & 1) << 7 - bit for bit in range(8)) for channel in range(3))
    return red, green, blue
