"""The hinge objective of adversarial networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class Hinge:
    """The discriminator stops learning from what it tells by a margin of 1 (Lim and Ye 2017; Miyato et al. 2018).

    Both objectives are means over a map, and over the maps.
    """

    def generator(self, fake: list[Tensor]) -> Tensor:
        """Return the mean of -D(fake), which has no bound."""
        return -torch.stack([scores.float().mean() for scores in fake]).mean()

    def discriminator(self, real: list[Tensor], fake: list[Tensor]) -> Tensor:
        """Return the mean of max(0, 1 - D(real)) plus the mean of max(0, 1 + D(fake))."""
        right = torch.stack([F.relu(1 - scores.float()).mean() for scores in real]).mean()
        wrong = torch.stack([F.relu(1 + scores.float()).mean() for scores in fake]).mean()
        return right + wrong
