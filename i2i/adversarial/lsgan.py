"""The least-squares objective of adversarial networks."""

from __future__ import annotations

import torch
from torch import Tensor


class LSGAN:
    """Squared distance from 1 for real and 0 for fake (Mao et al. 2017, section 3.2, with a = 0 and b = c = 1).

    Both objectives are means over a map, and over the maps; the paper's factor 1/2 is left out.
    """

    def generator(self, fake: list[Tensor]) -> Tensor:
        """Return the mean of (D(fake) - 1)²."""
        return torch.stack([(scores.float() - 1).square().mean() for scores in fake]).mean()

    def discriminator(self, real: list[Tensor], fake: list[Tensor]) -> Tensor:
        """Return the mean of (D(real) - 1)² plus the mean of D(fake)²."""
        right = torch.stack([(scores.float() - 1).square().mean() for scores in real]).mean()
        wrong = torch.stack([scores.float().square().mean() for scores in fake]).mean()
        return right + wrong
