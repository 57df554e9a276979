"""Several losses as one, each with a weight."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from i2i.contracts import MakeLoss, Weight
from i2i.errors import UsageError


class Sum(nn.Module):
    """The weighted sum of losses of the same (fake, real), N × C × H × W.

    weights: one number a loss; 1 each by default. Other numbers raise UsageError. A method's own weight multiplies the
    whole:

    ```toml
    [method]
    name = "pix2pix"
    weight = 100.0

    [method.reconstruction]
    name = "sum"
    losses = ["l1", { name = "perceptual", layers = [1, 2, 3] }]
    weights = [1.0, 0.1]
    ```
    """

    def __init__(
        self, *, losses: tuple[MakeLoss, ...] = (nn.L1Loss,), weights: tuple[Weight, ...] | None = None
    ) -> None:
        super().__init__()
        if not losses or (weights is not None and len(weights) != len(losses)):
            given = 0 if weights is None else len(weights)
            raise UsageError(f"sum: {len(losses)} losses and {given} weights: give a loss or more, and each a weight.")
        self.weights = (1.0,) * len(losses) if weights is None else weights
        self.losses = [make() for make in losses]
        # A loss with weights of its own moves to the device with this one, and is saved with it.
        self.with_weights = nn.ModuleList(loss for loss in self.losses if isinstance(loss, nn.Module))

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Compute the sum, a scalar in float32."""
        pairs = zip(self.weights, self.losses, strict=True)
        return torch.stack([weight * loss(fake, real).float() for weight, loss in pairs]).sum()
