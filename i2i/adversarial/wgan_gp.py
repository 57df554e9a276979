"""The Wasserstein objective of adversarial networks, with a gradient penalty."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
from torch import Tensor

from i2i.contracts import Weight


class WassersteinGP:
    """The critic's mean scores of fake and real are parted, its slope held at 1 (Gulrajani et al. 2017, section 4).

    The score of a picture is the mean over its maps of their means. weight: λ of the penalty. The paper's critic has no
    batch normalisation (section 4), which would make a picture's slope depend on its neighbours, and takes 5 steps for
    each step of the generator.
    """

    def __init__(self, *, weight: Weight = 10.0) -> None:
        self.weight = weight

    def generator(self, fake: list[Tensor]) -> Tensor:
        """Return the mean of -D(fake), which has no bound."""
        return -_score(fake).mean()

    def discriminator(self, real: list[Tensor], fake: list[Tensor]) -> Tensor:
        """Return the mean of D(fake) minus the mean of D(real): minus an estimate of their distance."""
        return _score(fake).mean() - _score(real).mean()

    def penalty(self, judge: Callable[[Tensor], list[Tensor]], real: Tensor, fake: Tensor) -> Tensor:
        """Return λ times the mean of (|slope| - 1)², at a random point between each picture and its fake.

        The slope is the gradient of a picture's score in all its channels and pixels. Made in float32: a slope of
        slopes in bfloat16 keeps too few digits. Costs as much again as the rest of the critic's turn.
        """
        with _full_precision(real.device.type):
            share = torch.rand(len(real), 1, 1, 1, device=real.device)
            between = torch.lerp(fake.detach().float(), real.detach().float(), share).requires_grad_()
            (slope,) = torch.autograd.grad(_score(judge(between)).sum(), between, create_graph=True)
            excess: Tensor = torch.linalg.vector_norm(slope.flatten(1), dim=1) - 1
            return self.weight * excess.square().mean()


def _score(maps: list[Tensor]) -> Tensor:
    """Return a score a picture, N, from maps N × 1 × h × w."""
    return torch.stack([scores.float().flatten(1).mean(1) for scores in maps]).mean(0)


def _full_precision(device: str) -> contextlib.AbstractContextManager[object]:
    # The meta device, on which shapes are tried, knows no autocast and refuses even to have it switched off.
    known = torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if known else contextlib.nullcontext()
