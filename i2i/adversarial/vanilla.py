"""The original objective of adversarial networks, in both of its forms."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


class Vanilla:
    """Cross-entropy on logits (Goodfellow et al. 2014, section 3): D parts real from fake, G passes fakes for real.

    Both objectives are means over the logits of a map, and over the maps. An undecided discriminator scores 2 ln 2.
    form: "minimax" is the value of equation 1, of which G minimises what D maximises; "non_saturating" has the same
    fixed point, and does not fade for G where D is sure of itself.
    """

    def __init__(self, *, form: Literal["non_saturating", "minimax"] = "non_saturating") -> None:
        self.form = form

    def generator(self, fake: list[Tensor]) -> Tensor:
        """Return the mean of -log D(fake), or for "minimax" of log(1 - D(fake)), which is below 0."""
        if self.form == "minimax":
            return -torch.stack([F.softplus(logits.float()).mean() for logits in fake]).mean()
        return torch.stack([F.softplus(-logits.float()).mean() for logits in fake]).mean()

    def discriminator(self, real: list[Tensor], fake: list[Tensor]) -> Tensor:
        """Return the mean of -log D(real) plus the mean of -log(1 - D(fake))."""
        right = torch.stack([F.softplus(-logits.float()).mean() for logits in real]).mean()
        wrong = torch.stack([F.softplus(logits.float()).mean() for logits in fake]).mean()
        return right + wrong
