"""A measure of errors in levels, registered in pyproject.toml."""

from __future__ import annotations

import torch
from i2i.contracts import Images
from i2i.errors import DataError, UsageError
from torch import Tensor


class Placeholder:
    """The root of the mean squared error of a picture, in levels of 0 to 255, and of that the mean over the pictures.

    fake, real: N × C × H × W in [0, 1]. The task's mask is left aside.
    """

    higher_is_better = False

    def __init__(self) -> None:
        self.errors: list[Tensor] = []

    def update(self, fake: Tensor, real: Tensor, *, mask: Tensor | None = None, images: Images | None = None) -> None:
        """Take in N pictures; UsageError for class indices."""
        if not fake.is_floating_point():
            raise UsageError("placeholder measures pictures, not class indices: choose another metric.")
        squares = (fake.double() - real.double()).square().mean(dim=(1, 2, 3))
        self.errors.append(255 * squares.sqrt().cpu())

    def compute(self) -> Tensor:
        """Return the mean over all pictures so far, a scalar; DataError if there are none."""
        if not self.errors:
            raise DataError("placeholder: there are no pictures to measure.")
        return torch.cat(self.errors).mean()
