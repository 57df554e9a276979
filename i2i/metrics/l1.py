"""The mean absolute error."""

from __future__ import annotations

import torch
from torch import Tensor

from i2i.contracts import Images
from i2i.errors import DataError, UsageError


class L1:
    """The mean absolute difference of fake and real, N × C × H × W in [0, 1]: 0 is equal, 1 black against white.

    The mean over the pictures, each by itself, of the mean over its pixels and channels.
    """

    higher_is_better = False

    def __init__(self) -> None:
        self.total = torch.zeros((), dtype=torch.float64)
        self.count = 0

    def update(self, fake: Tensor, real: Tensor, *, mask: Tensor | None = None, images: Images | None = None) -> None:
        """Take in N pictures, whole; UsageError for class indices."""
        if not real.is_floating_point():
            raise UsageError("l1 measures pictures, and these are class indices: use the metric 'accuracy'.")
        if fake.shape != real.shape:
            raise DataError(f"l1: {tuple(fake.shape)} cannot be compared with {tuple(real.shape)}: sizes must be equal")
        each = (fake.float() - real.float()).abs().flatten(1).mean(1)
        self.total += each.cpu().double().sum()
        self.count += len(each)

    def compute(self) -> Tensor:
        """Return the mean over all pictures so far, a scalar; DataError if there are none."""
        if not self.count:
            raise DataError("l1: there are no pictures to measure")
        return self.total / self.count
