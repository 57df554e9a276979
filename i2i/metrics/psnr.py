"""The peak signal-to-noise ratio."""

from __future__ import annotations

import torch
from torch import Tensor

from i2i.contracts import Images, Positive
from i2i.errors import DataError, UsageError


class PSNR:
    """The peak signal-to-noise ratio of fake against real, N × C × H × W in [0, 1], in dB.

    The mean over the pictures of each one's -10 log10(mean squared error over pixels and channels). A picture without
    error would score infinity and is counted as `cap` dB, as is any that scores more.
    """

    higher_is_better = True

    def __init__(self, *, cap: Positive = 100.0) -> None:
        self.cap = cap
        self.total = torch.zeros((), dtype=torch.float64)
        self.count = 0

    def update(self, fake: Tensor, real: Tensor, *, mask: Tensor | None = None, images: Images | None = None) -> None:
        """Take in N pictures, whole; UsageError for class indices."""
        if not real.is_floating_point():
            raise UsageError("psnr measures pictures, and these are class indices: use the metric 'accuracy'.")
        if fake.shape != real.shape:
            raise DataError(
                f"psnr: {tuple(fake.shape)} cannot be compared with {tuple(real.shape)}: sizes must be equal"
            )
        errors = (fake.float() - real.float()).square().flatten(1).mean(1).cpu().double()
        self.total += (-10 * errors.log10()).clamp(max=self.cap).sum()
        self.count += len(errors)

    def compute(self) -> Tensor:
        """Return the mean over all pictures so far, a scalar; DataError if there are none."""
        if not self.count:
            raise DataError("psnr: there are no pictures to measure")
        return self.total / self.count
