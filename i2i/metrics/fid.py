"""The Fréchet Inception distance."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from i2i.backbones import Weights, library
from i2i.contracts import Images
from i2i.metrics.features import INCEPTION, Gathered


class FID:
    """The Fréchet distance between the features of all fake and of all real pictures; 0 is the same distribution.

    Heusel et al. 2017, "Experiments": the 2-Wasserstein distance of two Gaussians with the features' means and
    covariances, by torchmetrics, on pictures N × C × H × W in [0, 1]. It falls as pictures are added: compare values
    of as many.

    features: "inception", or a timm model in its place, which the name of the result then says. weights: a file for
    it; "random", for trials; by default its own, downloaded at the first use. minimum: fewer pictures are refused.
    """

    higher_is_better = False
    paired = False

    def __init__(
        self, *, features: str = INCEPTION, weights: Weights = None, minimum: Annotated[int, Ge(2)] = 50
    ) -> None:
        self.gathered = Gathered("fid", features, weights, minimum)
        self.variant = self.gathered.variant

    def update(self, fake: Tensor, real: Tensor, *, mask: Tensor | None = None, images: Images | None = None) -> None:
        """Take in N pictures, whole; UsageError for class indices."""
        self.gathered.add(fake, real)

    def compute(self) -> Tensor:
        """Return the distance, a scalar; DataError when there are too few pictures."""
        fake, real = self.gathered.both()
        if len(fake) + len(real) < fake.shape[1]:
            # The distance is the same within the span of the features, and of 100 pictures 100 times as fast.
            basis = torch.linalg.qr(torch.cat([fake, real]).T).Q
            fake, real = fake @ basis, real @ basis
        module = library("fid", "torchmetrics.image.fid")
        distance = module.FrechetInceptionDistance(nn.Identity(), input_img_size=fake.shape[1:])
        distance.update(fake, real=False)
        distance.update(real, real=True)
        value: Tensor = distance.compute()
        return value
