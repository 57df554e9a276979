"""The perceptual loss: how far apart two pictures are in the features of a network that knows pictures."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.backbones import Frozen, Weights
from i2i.contracts import Natural, Weight
from i2i.errors import UsageError


class Perceptual(nn.Module):
    """The mean squared difference of a frozen network's feature maps, weighted and summed over the maps.

    Johnson et al. 2016, section 3.2, equation 2. fake and real: N × 3 × H × W in [-1, 1]; grey pictures N × 1 × H × W
    are repeated, others raise UsageError. It compares what is seen and not where each pixel lies, so it seldom stands
    alone: the loss "sum" puts it beside "l1".

    backbone: a timm model; of "vgg16" map 0 is relu1_2, then relu2_2, relu3_3, relu4_3, relu5_3 and the last pooling.
    weights: a file; "random", for trials; by default the model's own, downloaded at the first use. layers: which maps,
    counted from 0; all by default. layer_weights: one number a map; 1 each by default. distance: "l1" takes absolute
    differences, as later work does (pix2pixHD, Wang et al. 2018). The frozen weights are part of every training state
    (80 MB of "vgg19"), so that a resumed run asks nobody for them.
    """

    def __init__(
        self,
        *,
        backbone: str = "vgg16",
        weights: Weights = None,
        layers: tuple[Natural, ...] | None = None,
        layer_weights: tuple[Weight, ...] | None = None,
        distance: Literal["l2", "l1"] = "l2",
    ) -> None:
        super().__init__()
        self.distance = F.mse_loss if distance == "l2" else F.l1_loss
        self.features = Frozen("perceptual", backbone, weights, layers)
        count = len(self.features.channels)
        if layer_weights is not None and len(layer_weights) != count:
            raise UsageError(
                f"perceptual: 'layer_weights' has {len(layer_weights)} numbers, and there are {count} feature maps: "
                "give one for each."
            )
        self.layer_weights = (1.0,) * count if layer_weights is None else layer_weights

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Compute the loss, a scalar in float32."""
        with torch.no_grad():
            truth = self.features(real)
        pairs = zip(self.layer_weights, self.features(fake), truth, strict=True)
        return torch.stack([weight * self.distance(x.float(), y.float()) for weight, x, y in pairs]).sum()
