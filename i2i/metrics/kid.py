"""The kernel Inception distance."""

from __future__ import annotations

import warnings
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from i2i.backbones import Weights, library
from i2i.contracts import Images
from i2i.metrics.features import INCEPTION, Gathered

SUBSET = 1000
SUBSETS = 100


class KID:
    """The squared maximum mean discrepancy between the features of fake and real pictures; around 0 is no difference.

    Bińkowski et al. 2018, section 4: the unbiased estimate with the kernel (x·y / d + 1)³, by torchmetrics, on pictures
    N × C × H × W in [0, 1]. Of up to 1000 pictures it is that of them all; of more, the mean over 100 subsets of 1000,
    as in the paper, the same at each call. It does not fall as pictures are added, and may be below 0.

    features: "inception", or a timm model in its place, which the name of the result then says. weights: a file for
    it; "random", for trials; by default its own, downloaded at the first use. minimum: fewer pictures are refused.
    """

    higher_is_better = False
    paired = False

    def __init__(
        self, *, features: str = INCEPTION, weights: Weights = None, minimum: Annotated[int, Ge(2)] = 50
    ) -> None:
        self.gathered = Gathered("kid", features, weights, minimum)
        self.variant = self.gathered.variant

    def update(self, fake: Tensor, real: Tensor, *, mask: Tensor | None = None, images: Images | None = None) -> None:
        """Take in N pictures, whole; UsageError for class indices."""
        self.gathered.add(fake, real)

    def compute(self) -> Tensor:
        """Return the distance, a scalar; DataError when there are too few pictures."""
        fake, real = self.gathered.both()
        subsets, size = (1, len(fake)) if len(fake) <= SUBSET else (SUBSETS, SUBSET)
        module = library("kid", "torchmetrics.image.kid")
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")  # that it keeps all features in memory, which are there already
            torch.manual_seed(0)
            distance = module.KernelInceptionDistance(nn.Identity(), subsets=subsets, subset_size=size)
            distance.update(fake, real=False)
            distance.update(real, real=True)
            value: Tensor = distance.compute()[0]
        return value
