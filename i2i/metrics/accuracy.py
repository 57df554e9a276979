"""Per-pixel accuracy of class maps."""

from __future__ import annotations

import torch
from torch import Tensor

from i2i.contracts import Images
from i2i.errors import UsageError


class Accuracy:
    """The share of pixels given their true class, over all pixels of the set that count (are not void), in [0, 1].

    update: class indices, N × 1 × H × W.
    """

    higher_is_better = True

    def __init__(self) -> None:
        self.right = torch.zeros((), dtype=torch.float64)
        self.count = torch.zeros((), dtype=torch.float64)

    def update(self, fake: Tensor, real: Tensor, *, mask: Tensor | None = None, images: Images | None = None) -> None:
        """Take in N class maps; UsageError for pictures."""
        if real.is_floating_point():
            raise UsageError("accuracy measures class indices, and these are pictures: use 'l1', 'psnr' or 'ssim'.")
        counts = torch.ones_like(real, dtype=torch.bool) if mask is None else mask > 0
        self.right += ((fake == real) & counts).sum().cpu()
        self.count += counts.sum().cpu()

    def compute(self) -> Tensor:
        """Return the share over everything seen."""
        return self.right / self.count.clamp(min=1)
