"""An adversarial objective with soft labels, registered in pyproject.toml."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


class Placeholder:
    """Cross-entropy with one-sided label smoothing (Salimans et al. 2016, section 3.4).

    The arguments are a discriminator's lists of maps of logits; the objectives are means over a map, and over the maps.
    smoothing: how far the label of real pictures stays below 1, for the discriminator alone.
    """

    def __init__(self, *, smoothing: Annotated[float, Ge(0), Lt(0.5)] = 0.1) -> None:
        self.smoothing = smoothing

    def generator(self, fake: list[Tensor]) -> Tensor:
        """Return how far the fakes are from being taken for real."""
        return _entropy(fake, 1.0)

    def discriminator(self, real: list[Tensor], fake: list[Tensor]) -> Tensor:
        """Return how far real and fake are from being told apart, no surer than the smoothing allows."""
        return _entropy(real, 1.0 - self.smoothing) + _entropy(fake, 0.0)


def _entropy(maps: list[Tensor], label: float) -> Tensor:
    floats = [scores.float() for scores in maps]  # in half precision a sure logit has no finite cross-entropy
    return torch.stack([binary_cross_entropy_with_logits(x, torch.full_like(x, label)) for x in floats]).mean()
