"""The original objective of adversarial networks, in its non-saturating form."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class Vanilla:
    """Cross-entropy on logits (Goodfellow et al. 2014, section 3): D parts real from fake, G passes fakes for real.

    Both objectives are means over the logits of a map, and over the maps. An undecided discriminator scores 2 ln 2.
    """

    def generator(self, fake: list[Tensor]) -> Tensor:
        """Return the mean of -log D(fake): unlike log(1 - D(fake)), it does not fade where D is sure of itself."""
        return torch.stack([F.softplus(-logits.float()).mean() for logits in fake]).mean()

    def discriminator(self, real: list[Tensor], fake: list[Tensor]) -> Tensor:
        """Return the mean of -log D(real) plus the mean of -log(1 - D(fake))."""
        right = torch.stack([F.softplus(-logits.float()).mean() for logits in real]).mean()
        wrong = torch.stack([F.softplus(logits.float()).mean() for logits in fake]).mean()
        return right + wrong
