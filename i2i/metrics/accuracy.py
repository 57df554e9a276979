"""Per-pixel accuracy of class maps."""

from __future__ import annotations

import torch
from torch import Tensor

from i2i.contracts import Natural


class Accuracy:
    """The share of pixels given their true class, over all pixels of the set; `void` pixels count for nothing.

    update: class indices, N × 1 × H × W, or pictures in [0, 1], of which a pixel is right when all its channels agree
    within half a level of 8 bits. Share in [0, 1].
    """

    higher_is_better = True

    def __init__(self, *, void: Natural | None = None) -> None:
        self.void = void
        self.right = torch.zeros((), dtype=torch.float64)
        self.count = torch.zeros((), dtype=torch.float64)

    def update(self, fake: Tensor, real: Tensor) -> None:
        """Take in a batch of outputs and truths, N × C × H × W."""
        if real.is_floating_point():
            right = ((fake - real).abs() <= 0.5 / 255).all(1, keepdim=True)
        else:
            right = fake == real
        counts = torch.ones_like(right) if self.void is None else (real != self.void).all(1, keepdim=True)
        self.right += (right & counts).sum().cpu()
        self.count += counts.sum().cpu()

    def compute(self) -> Tensor:
        """Return the share over everything seen."""
        return self.right / self.count.clamp(min=1)
