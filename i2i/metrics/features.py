"""The features of pretrained networks that compare pictures: of whole sets, pooled, or map by map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.backbones import Weights, body, existing, fetched, library, no_code_in_weights
from i2i.errors import DataError, UsageError
from i2i.metrics.pictures import check

INCEPTION = "inception"


class Gathered:
    """The features of the fake and of the real pictures of a whole set, on the host: what `fid` and `kid` compare.

    features: "inception", the Inception-v3 of 2015 with its resizing to 299 × 299, as published values have it (from
    torch-fidelity, 2048 numbers a picture); or a timm model, its pooled features. minimum: fewer pictures are refused.
    """

    def __init__(self, metric: str, features: str, weights: Weights, minimum: int) -> None:
        library(metric, "torchmetrics")
        self.metric, self.minimum = metric, minimum
        self.network = Inception(metric, weights) if features == INCEPTION else Backbone(metric, features, weights)
        self.variant = variant(features, weights, INCEPTION)
        self.features: tuple[list[Tensor], list[Tensor]] = ([], [])

    def add(self, fake: Tensor, real: Tensor) -> None:
        """Take in N pictures of 1 or 3 channels; UsageError for class indices."""
        check(self.metric, fake, real)
        self.network.to(real.device)
        for gathered, pictures in zip(self.features, (fake, real), strict=True):
            gathered.append(self.network(in_colour(self.metric, pictures)).cpu().double())

    def both(self) -> tuple[Tensor, Tensor]:
        """Return the features of fake and of real, float64 N × d; DataError when there are too few pictures."""
        count = sum(map(len, self.features[0]))
        if count < self.minimum:
            raise DataError(
                f"{self.metric}: {count} picture(s) are too few to tell a distribution by: hold out at least "
                f"{self.minimum}, or set its 'minimum'."
            )
        return torch.cat(self.features[0]), torch.cat(self.features[1])


class Inception(nn.Module):
    """The Inception-v3 whose features define the FID: N × 3 × H × W in [0, 1], taken in 8 bits, to N × 2048."""

    def __init__(self, metric: str, weights: Weights) -> None:
        super().__init__()
        if str(weights) == "random":
            raise UsageError(f"{metric}: random weights are for timm models: name one as 'features'.")
        module = library(metric, "torch_fidelity.feature_extractor_inceptionv3")
        path = Path(weights) if weights else fetched(metric, module.URL_INCEPTION_V3)
        with no_code_in_weights():
            self.network = module.FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(existing(path))
            )

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        """Return the pooled features."""
        features: Tensor = self.network((pictures * 255).round().to(torch.uint8))[0]
        return features


class Backbone(nn.Module):
    """A timm model without its classifier, for pictures N × 3 × H × W in [0, 1].

    Random weights are the same each time, for trials.
    """

    network: Any
    mean: Tensor
    std: Tensor

    def __init__(self, metric: str, name: str, weights: Weights) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = body(metric, name, weights).eval().requires_grad_(False)
        config = self.network.pretrained_cfg
        self.size = tuple(config["input_size"][1:])
        for buffer in ("mean", "std"):
            self.register_buffer(buffer, torch.tensor(config[buffer]).view(1, 3, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        """Return the pooled features N × d of the pictures at the size that the model was trained at."""
        resized = F.interpolate(pictures.float(), self.size, mode="bilinear", antialias=True)
        features: Tensor = self.network((resized - self.mean) / self.std)
        return features.flatten(1)

    @torch.no_grad()
    def maps(self, pictures: Tensor) -> list[Tensor]:
        """Return the feature maps of the model's stages, N × C × h × w, of the pictures at their own size."""
        maps: list[Tensor] = self.network.forward_intermediates(
            (pictures.float() - self.mean) / self.std, intermediates_only=True
        )
        return maps


def variant(features: str, weights: Weights, default: str) -> str:
    """Return what the name of a measure must say of its network: nothing where it is the measure's own."""
    if weights is None:
        return "" if features == default else features
    return f"{features}, {'random weights' if str(weights) == 'random' else Path(weights).name}"


def in_colour(metric: str, pictures: Tensor) -> Tensor:
    """Return pictures of 1 or 3 channels as N × 3 × H × W; DataError for others."""
    if pictures.shape[1] not in (1, 3):
        raise DataError(f"{metric} measures grey or RGB pictures, and these have {pictures.shape[1]} channels.")
    return pictures.expand(-1, 3, -1, -1)
