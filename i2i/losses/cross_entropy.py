"""The cross-entropy between predicted probabilities and true classes."""

from __future__ import annotations

import torch
from torch import Tensor


class CrossEntropy:
    """The mean of -log(probability of the true class) over the pixels that have one, in nats; 0 at its best.

    fake: probabilities N × K × H × W, as the task `segmentation` activates them. real: one-hot, N × K × H × W; a row of
    zeros marks a pixel that counts for nothing. Without any pixel that counts the loss is 0.
    """

    def __call__(self, fake: Tensor, real: Tensor) -> Tensor:
        """Compute the loss, a scalar in float32."""
        real = real.float()
        # Only below the least normal number is the gradient cut: a larger floor would freeze the pixels most in error.
        surprise = -fake.float().clamp(min=torch.finfo(torch.float32).tiny).log()
        return (real * surprise).sum() / real.sum().clamp(min=1)
