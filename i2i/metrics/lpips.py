"""The perceptual distance of two pictures in the features of a network."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from i2i.backbones import Weights, fetched, library, no_code_in_weights
from i2i.contracts import Images
from i2i.errors import DataError, UsageError
from i2i.metrics.features import Backbone, in_colour, variant
from i2i.metrics.pictures import Mean, check

CALIBRATED = {"alex": "AlexNet_Weights", "vgg": "VGG16_Weights", "squeeze": "SqueezeNet1_1_Weights"}
LEAST = 32
"""Pixels a side, below which the deepest of these networks have no feature left."""


class LPIPS:
    """The learned perceptual distance of fake and real, N × C × H × W in [0, 1]; 0 is equal.

    Zhang et al. 2018, section 3, version 0.1 by torchmetrics: the squared differences of unit-length features at five
    depths (seven of SqueezeNet), weighted as people judge, their mean over pixels and sum over depths; then the mean
    over pictures. features: "alex" (the authors' choice for measuring), "vgg" or "squeeze"; or any timm model in their
    place, whose differences are not weighted, and which the name of the result then says. weights: a file for a timm
    model; "random", for trials; by default its own, downloaded at the first use.
    """

    higher_is_better = False

    def __init__(self, *, features: str = "alex", weights: Weights = None) -> None:
        self.calibrated = features in CALIBRATED
        self.network: Any = _calibrated(features, weights) if self.calibrated else Backbone("lpips", features, weights)
        self.variant = variant(features, weights, "alex")
        self.mean = Mean("lpips")

    @torch.no_grad()
    def update(self, fake: Tensor, real: Tensor, *, mask: Tensor | None = None, images: Images | None = None) -> None:
        """Take in N pictures of at least 32 × 32, whole; UsageError for class indices."""
        check("lpips", fake, real)
        if min(real.shape[2:]) < LEAST:
            size = f"{real.shape[3]}x{real.shape[2]}"
            raise DataError(f"lpips needs {LEAST} pixels a side, and these pictures are {size}: use 'ssim'.")
        self.network.to(real.device)
        x, y = (in_colour("lpips", picture).float() for picture in (fake, real))
        if self.calibrated:
            distances: Tensor = self.network(x, y, normalize=True).flatten(1).sum(1)
        else:
            pairs = zip(self.network.maps(x), self.network.maps(y), strict=True)
            distances = torch.stack([(F.normalize(a) - F.normalize(b)).square().sum(1).mean((1, 2)) for a, b in pairs])
            distances = distances.sum(0)
        self.mean.add(distances.cpu().double())

    def compute(self) -> Tensor:
        """Return the mean over all pictures so far, a scalar; DataError if there are none."""
        return self.mean.compute()


def _calibrated(features: str, weights: Weights) -> Any:
    """Return one of the authors' networks, its weights of ImageNet from torchvision, the judgements in torchmetrics."""
    if weights is not None:
        raise UsageError(f"lpips: 'weights' are for a timm model, and features = {features!r} is none: leave them out.")
    module = library("lpips", "torchmetrics.image.lpip")
    fetched("lpips", getattr(library("lpips", "torchvision.models"), CALIBRATED[features]).DEFAULT.url)
    with no_code_in_weights():
        return module.LearnedPerceptualImagePatchSimilarity(features).net
