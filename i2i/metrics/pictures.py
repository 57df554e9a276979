"""What measures of pictures share: what they refuse, the part of a picture that counts, the mean over pictures."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from i2i.errors import DataError, UsageError

Region = Literal["all", "mask"]
"""What of a picture is measured: all of it, or what the task's mask counts alone, such as an inpainting's hole."""


def check(metric: str, fake: Tensor, real: Tensor, channels: int | None = None) -> None:
    """Raise UsageError for class indices, DataError for sizes that differ or another number of channels."""
    if not (fake.is_floating_point() and real.is_floating_point()):
        raise UsageError(f"{metric} measures pictures, and these are class indices: use the metric 'classes'.")
    if fake.shape != real.shape:
        raise DataError(
            f"{metric}: {tuple(fake.shape)} cannot be compared with {tuple(real.shape)}: sizes must be equal"
        )
    if channels is not None and real.shape[1] != channels:
        raise DataError(f"{metric} measures pictures of {channels} channels, and these have {real.shape[1]}.")


def within(values: Tensor, region: Region, mask: Tensor | None) -> Tensor:
    """Return each picture's mean over the region, float64 on the host; a picture without any has no entry.

    values: N × C × h × w at the pixels, or at the windows that lie within the picture, each of which belongs to the
    pixel at its centre. mask: N × 1 × H × W. UsageError where a region is asked for and there is no mask.
    """
    if region == "all":
        return values.flatten(1).mean(1).cpu().double()
    if mask is None:
        raise UsageError("region = 'mask' needs a task that has one, such as inpainting: leave it at 'all'.")
    height, width = values.shape[2:]
    top, left = (mask.shape[2] - height) // 2, (mask.shape[3] - width) // 2
    counts = (mask[:, :, top : top + height, left : left + width] > 0).expand_as(values)
    number = counts.flatten(1).sum(1)
    total = values.masked_fill(~counts, 0).flatten(1).sum(1)
    return (total / number)[number > 0].cpu().double()


class Mean:
    """The mean over pictures of a value that each has by itself."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.total = torch.zeros((), dtype=torch.float64)
        self.count = 0

    def add(self, values: Tensor) -> None:
        """Take in one value a picture."""
        self.total += values.sum()
        self.count += len(values)

    def compute(self) -> Tensor:
        """Return the mean over all pictures so far, a scalar; DataError if there are none."""
        if not self.count:
            raise DataError(f"{self.metric}: there are no pictures to measure")
        return self.total / self.count
