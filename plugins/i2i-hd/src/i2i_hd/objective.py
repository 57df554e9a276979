"""What both methods ask of their players: to fool and to tell, to match features, and to reconstruct if one likes."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.contracts import Adversarial, Loss
from i2i.errors import UsageError

Features = list[list[Tensor]]
"""What a discriminator makes of pictures: for each scale the maps of its layers, the logits last."""


class Objective(nn.Module):
    """The terms of a generator and of its discriminator; no player, as it has nothing to train.

    features: the weight of feature matching. reconstruction, weight: a loss between fake and real, and its weight.
    """

    def __init__(
        self, adversarial: Adversarial, *, features: float, reconstruction: Loss | None, weight: float
    ) -> None:
        super().__init__()
        self.adversarial, self.reconstruction = adversarial, reconstruction
        self.features, self.weight = features, weight

    def seen(self, discriminator: nn.Module, pictures: Tensor) -> Features:
        """Show pictures to a discriminator; UsageError where its features are to be matched and it has none to tell."""
        if tell := getattr(discriminator, "features", None):
            features: Features = tell(pictures)
            return features
        if self.features:
            raise UsageError(
                f"the discriminator {type(discriminator).__name__} has no 'features' that could be matched: "
                "set feature_weight = 0, or choose another, such as 'multiscale'"
            )
        return [[logits] for logits in discriminator(pictures)]

    def for_generator(self, fake: Tensor, real: Tensor, of_fake: Features, of_real: Features) -> dict[str, Tensor]:
        """Return the generator's terms from fake and real pictures, N × C × H × W, and what was seen in them."""
        terms = {"adversarial": self.adversarial.generator(logits(of_fake))}
        if self.features:
            terms["features"] = self.features * mismatch(of_fake, of_real)
        if self.reconstruction is not None:
            terms["reconstruction"] = self.weight * self.reconstruction(fake, real)
        return terms

    def for_discriminator(
        self, judge: Callable[[Tensor], Features], fake: Tensor, real: Tensor, of_real: Features, share: float = 1.0
    ) -> dict[str, Tensor]:
        """Return the discriminator's terms; share: what its objective, save for a penalty, is multiplied by."""
        fake = fake.detach()
        terms = {"adversarial": share * self.adversarial.discriminator(logits(of_real), logits(judge(fake)))}
        if penalty := getattr(self.adversarial, "penalty", None):
            terms["penalty"] = penalty(lambda pictures: logits(judge(pictures)), real, fake)
        return terms


def logits(features: Features) -> list[Tensor]:
    """Return each scale's map of logits."""
    return [maps[-1] for maps in features]


def mismatch(fake: Features, real: Features) -> Tensor:
    """Return how far features of fakes are from those of real pictures, which get no gradient.

    The mean over a map, summed over the layers before the logits (Wang et al. 2018, equation 4, and the authors' code),
    and the mean over the scales: equation 5 sums there, but it sums the adversarial terms as well.
    """
    scales = []
    for ones, others in zip(fake, real, strict=True):
        layers = [F.l1_loss(one.float(), other.detach().float()) for one, other in zip(ones, others, strict=True)]
        scales.append(torch.stack(layers[:-1]).sum())
    return torch.stack(scales).mean()
